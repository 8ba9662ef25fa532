"""A program that knows Qt only through qtpy, with asynchronous slots."""

import asyncio
import sys

# qtpy alone decides.  qtinter comes first, which must not choose anything.
import qtinter

# isort: split
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


async def main():
    counter = Counter()
    timer = QtCore.QTimer()
    timer.setSingleShot(True)
    timer.timeout.connect(counter.count)
    async with qtinter.asyncsignalstream(counter.counted) as numbers:
        timer.start(0)
        seen = [await numbers.__anext__() for _ in range(3)]
    await qtinter.modal(QtCore.QCoreApplication.processEvents)()
    return seen


app = QtCore.QCoreApplication(sys.argv)
with qtinter.using_asyncio_from_qt() as loop:
    task = loop.create_task(main())
    task.add_done_callback(lambda _: app.quit())
    (getattr(app, "exec", None) or app.exec_)()

from qtinter import bindings  # noqa: E402  # it chooses, so it comes last

loaded = sorted(name for name in bindings.SUPPORTED if name in sys.modules)
print(qtpy.API_NAME, bindings.binding_name, loaded)
print(task.result(), loop.host_name)
