"""One program per row of the Ctrl+C table.

Arguments: mode (nested, attached), the place that is interrupted, and how: by a signal
from a "thread" of this process or from its "parent" process (a child stands in for
it), by raising SystemExit there ("exit"), or either without catching it.
"""

import asyncio
import importlib
import os
import signal
import subprocess
import sys
import threading

import qtinter

QtCore = importlib.import_module(os.environ["QTINTERBINDING"] + ".QtCore")
mode, place, how = sys.argv[1:]
app = QtCore.QCoreApplication([])
run_app = app.exec if hasattr(app, "exec") else app.exec_  # PySide2: exec_ only
interrupted = None


def send_signal():
    if how == "parent":
        code = f"import os, signal; os.kill({os.getpid()}, signal.SIGINT)"
        subprocess.Popen([sys.executable, "-c", code])
    else:
        thread = threading.Thread(target=os.kill, args=(os.getpid(), signal.SIGINT))
        thread.start()
        return thread


def be_interrupted():
    """Python code in which the signal arrives, if it returns before that."""
    global interrupted
    if place == "coroutine":
        interrupted = asyncio.current_task()
    if how.endswith("exit"):
        sys.exit(5)
    thread = send_signal()
    if thread is not None:
        thread.join()


def busy():
    send_signal()
    while True:
        pass


def modal():
    qt_loop = QtCore.QEventLoop()
    QtCore.QTimer.singleShot(0, modal_idle)
    (qt_loop.exec if hasattr(qt_loop, "exec") else qt_loop.exec_)()


def modal_idle():
    if how.endswith("exit"):
        loop.call_soon(sys.exit, 5)
    else:
        send_signal()


async def coroutine():
    await asyncio.sleep(0)
    be_interrupted()
    await asyncio.sleep(60)


async def main():
    if place == "idle":
        QtCore.QTimer.singleShot(10, send_signal)
    elif place == "slot":
        QtCore.QTimer.singleShot(0, be_interrupted)
    elif place == "callback":
        loop.call_soon(be_interrupted)
    elif place == "busy callback":
        loop.call_soon(busy)
    elif place == "coroutine":
        await coroutine()
    elif place == "modal":
        await qtinter.modal(modal)()
    await asyncio.sleep(60)


def run():
    global loop
    if mode == "attached":
        with qtinter.using_asyncio_from_qt() as loop:
            task = loop.create_task(main())
            run_app()
        assert task.done()
    else:
        loop = qtinter.new_event_loop()
        try:
            loop.create_task(main())
            loop.run_forever()
        finally:
            loop.set_mode(qtinter.QiLoopMode.NATIVE)
            for task in asyncio.all_tasks(loop):
                task.cancel()
            loop.run_until_complete(asyncio.sleep(0))
            loop.close()


if how.startswith("uncaught"):
    run()
else:
    try:
        run()
    except (KeyboardInterrupt, SystemExit) as exc:
        print(type(exc).__name__, *exc.args)
    if interrupted is not None and not interrupted.cancelled():
        interrupted.exception()  # retrieved: asyncio has nothing to complain about
    assert loop.is_closed()
    assert asyncio._get_running_loop() is None
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert signal.set_wakeup_fd(-1) == -1
    print("cleaned up")
