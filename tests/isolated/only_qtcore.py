"""Everything runs on QtCore alone."""

import asyncio
import importlib
import os
import sys

import qtinter

binding = os.environ["QTINTERBINDING"]
QtCore = importlib.import_module(binding + ".QtCore")
app = QtCore.QCoreApplication([])


async def main():
    timer = QtCore.QTimer()
    called = asyncio.Event()

    async def slot():
        called.set()

    timer.timeout.connect(qtinter.asyncslot(slot))
    timer.start(1)
    await qtinter.asyncsignal(timer.timeout)
    async with qtinter.asyncsignalstream(timer.timeout) as ticks:
        await ticks.__anext__()
    await called.wait()
    timer.stop()
    return await qtinter.modal(lambda: "modal")()


assert qtinter.run(main()) == "modal"
with qtinter.using_asyncio_from_qt() as loop:
    task = loop.create_task(main())
    task.add_done_callback(lambda _: app.quit())
    (app.exec if hasattr(app, "exec") else app.exec_)()
    assert task.result() == "modal"
modules = [name for name in sys.modules if name.startswith(binding + ".")]
assert not {binding + ".QtGui", binding + ".QtWidgets"} & set(modules), modules
print("ok")
