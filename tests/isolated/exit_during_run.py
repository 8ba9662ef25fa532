"""QCoreApplication.quit() and exit() in the middle of a nested run."""

import asyncio
import importlib
import os
import warnings

import qtinter

QtCore = importlib.import_module(os.environ["QTINTERBINDING"] + ".QtCore")
app = QtCore.QCoreApplication([])


async def main():
    QtCore.QTimer.singleShot(0, lambda: app.exit(0))
    await asyncio.get_running_loop().create_future()


def run_application():
    # A QEventLoop cannot run after exit() until exec() has.
    QtCore.QTimer.singleShot(0, app.quit)
    (app.exec if hasattr(app, "exec") else app.exec_)()


loop = qtinter.new_event_loop()
task = loop.create_task(main())
try:
    loop.run_until_complete(task)
except RuntimeError as exc:
    print(f"quit: {exc}")
run_application()
task.cancel()
loop.set_mode(qtinter.QiLoopMode.NATIVE)
loop.run_until_complete(asyncio.wait([task]))
loop.close()


async def ends_the_application():
    app.exit(0)
    await asyncio.sleep(0)


async def cleans_up(code):
    QtCore.QTimer.singleShot(0, lambda: app.exit(code))
    try:
        await asyncio.get_running_loop().create_future()
    finally:
        await asyncio.sleep(0.001)
        print("cleaned up")


for code in (0, 3):
    try:
        qtinter.run(cleans_up(code))
    except RuntimeError as exc:
        print("qtinter.run:", str(exc).partition(":")[0])
    run_application()


# The coroutine of asyncio's clean-up cannot run either, and is dropped.
warnings.simplefilter("ignore", RuntimeWarning)
try:
    with qtinter.using_qt_from_asyncio():
        asyncio.run(ends_the_application())
except RuntimeError as exc:
    print(f"asyncio.run: {exc}")
