"""Ctrl+C under asyncio.run(), while Qt is idle."""

import asyncio
import importlib
import os
import signal
import threading

import qtinter

QtCore = importlib.import_module(os.environ["QTINTERBINDING"] + ".QtCore")
app = QtCore.QCoreApplication([])


async def main():
    thread = threading.Thread(target=os.kill, args=(os.getpid(), signal.SIGINT))
    QtCore.QTimer.singleShot(10, thread.start)
    try:
        await asyncio.sleep(60)
    except asyncio.CancelledError:
        print("cancelled")
        raise


try:
    with qtinter.using_qt_from_asyncio():
        asyncio.run(main())
except KeyboardInterrupt:
    print("KeyboardInterrupt")
