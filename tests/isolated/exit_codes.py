"""What ends a nested run from outside, and which error tells it."""

import asyncio
import importlib
import os

import qtinter

QtCore = importlib.import_module(os.environ["QTINTERBINDING"] + ".QtCore")
app = QtCore.QCoreApplication([])
run_app = app.exec if hasattr(app, "exec") else app.exec_  # PySide2: exec_ only


def attempt(title, before=lambda: None, **kwargs):
    loop = qtinter.new_event_loop()

    async def main():
        before()
        await asyncio.sleep(kwargs.get("seconds", 60))
        return 42

    try:
        result = loop.run_until_complete(main())
    except RuntimeError as exc:
        result = exc
    print(f"{title}: {result}")
    for task in asyncio.all_tasks(loop):
        task.cancel()
    loop.set_mode(qtinter.QiLoopMode.NATIVE)
    loop.run_until_complete(asyncio.sleep(0))
    loop.close()


def run_application():
    # A QEventLoop cannot run after exit() until exec() has.
    QtCore.QTimer.singleShot(0, app.quit)
    run_app()


app.exit()
attempt("exit before")
run_application()
attempt("quit", lambda: QtCore.QTimer.singleShot(0, lambda: app.exit(0)))
run_application()
attempt("exit 3", lambda: QtCore.QTimer.singleShot(0, lambda: app.exit(3)))
run_application()
attempt("after application exec", seconds=0)
