"""Ctrl+C while the block waits for a task that refuses to be cancelled."""

import asyncio
import importlib
import os
import signal
import threading

import qtinter

QtCore = importlib.import_module(os.environ["QTINTERBINDING"] + ".QtCore")
app = QtCore.QCoreApplication([])
run_app = app.exec if hasattr(app, "exec") else app.exec_  # PySide2: exec_ only


async def stubborn():
    while True:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            thread = threading.Thread(target=os.kill, args=(os.getpid(), signal.SIGINT))
            loop.call_soon(thread.start)


try:
    with qtinter.using_asyncio_from_qt(shutdown_timeout=None) as loop:
        task = loop.create_task(stubborn())
        QtCore.QTimer.singleShot(10, app.quit)
        run_app()
except KeyboardInterrupt:
    print("KeyboardInterrupt")
print("closed:", loop.is_closed())
task._log_destroy_pending = False
