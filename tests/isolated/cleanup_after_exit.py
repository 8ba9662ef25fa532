"""Leaving the block cleans up after QCoreApplication.exit(), without Qt."""

import asyncio
import importlib
import os

import qtinter

QtCore = importlib.import_module(os.environ["QTINTERBINDING"] + ".QtCore")
app = QtCore.QCoreApplication([])
run_app = app.exec if hasattr(app, "exec") else app.exec_  # PySide2: exec_ only
log = []


async def worker():
    try:
        await asyncio.sleep(3600)
    finally:
        await asyncio.sleep(0.001)
        log.append("cleaned up")


with qtinter.using_asyncio_from_qt() as loop:
    loop.create_task(worker())
    QtCore.QTimer.singleShot(5, app.quit)
    run_app()
    app.exit(3)
assert log == ["cleaned up"]
assert loop.is_closed()

# The application object may go before the block does.
with qtinter.using_asyncio_from_qt() as loop:
    task = loop.create_task(worker())
    QtCore.QTimer.singleShot(5, app.quit)
    run_app()
    if hasattr(app, "shutdown"):
        app.shutdown()
    del app
assert log == ["cleaned up"] * 2, log
print("ok")
