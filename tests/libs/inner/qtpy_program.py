"""A program that knows Qt only through qtpy, with asynchronous slots."""

import asyncio
import os
import sys

# qtpy alone decides.  qtinter is imported first, which must not choose anything.
import qtinter  # noqa: I001
import qtpy
from qtpy import QtCore


class Counter(QtCore.QObject):
    counted = QtCore.Signal(int)

    @QtCore.Slot()
    @qtinter.asyncslot
    async def count(self):
        for number in range(3):
            await asyncio.sleep(0.001)
            self.counted.emit(number)


async def main(app):
    counter = Counter()
    timer = QtCore.QTimer()
    timer.setSingleShot(True)
    timer.timeout.connect(counter.count)
    async with qtinter.asyncsignalstream(counter.counted) as numbers:
        timer.start(0)
        seen = [await numbers.__anext__() for _ in range(3)]
    await qtinter.modal(lambda: QtCore.QCoreApplication.processEvents())()
    app.quit()
    return seen


app = QtCore.QCoreApplication(sys.argv)
with qtinter.using_asyncio_from_qt() as loop:
    task = loop.create_task(main(app))
    (getattr(app, "exec", None) or app.exec_)()
from qtinter import bindings

loaded = sorted(name for name in bindings.SUPPORTED if name in sys.modules)
print(os.environ.get("QT_API"), qtpy.API_NAME, bindings.binding_name, loaded)
print(task.result(), loop.host_name)
