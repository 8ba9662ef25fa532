"""nest_asyncio, as in notebooks: run_until_complete() inside of a callback of the loop.

The loop is attached to Qt.  A nested run is asyncio alone (nest_asyncio's own code);
Qt is served again when the innermost has returned.
"""

import asyncio
import sys

import nest_asyncio

import qtinter
from qtinter.bindings import QtCore


async def level(number):
    await asyncio.sleep(0.002)
    if number == 3:
        return number
    return asyncio.get_running_loop().run_until_complete(level(number + 1))


async def main():
    result = await level(1)
    timer = QtCore.QTimer()
    timer.start(1)
    for _ in range(5):
        await qtinter.asyncsignal(timer.timeout)
    timer.stop()
    return result


app = QtCore.QCoreApplication(sys.argv)
with qtinter.using_asyncio_from_qt() as loop:
    nest_asyncio.apply(loop)
    task = loop.create_task(main())
    task.add_done_callback(lambda _: app.quit())
    (getattr(app, "exec", None) or app.exec_)()
print("result:", task.result(), "levels")
