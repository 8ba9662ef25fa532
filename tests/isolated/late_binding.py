"""A program that is watched before it has a binding; each line of input leads on.

It records itself into argv[1].
"""

import asyncio
import sys

import qtinter
from qtinter import inspect

inspect.enable(level=3, name="late")
recording = inspect.record(sys.argv[1])
print("ready", flush=True)
sys.stdin.readline()


async def main():
    task = asyncio.ensure_future(asyncio.sleep(3600))
    await asyncio.sleep(0)
    inspect.mark("there")
    print("attached", flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.readline)
    task.cancel()


from qtinter.bindings import QtCore  # noqa: E402 - late on purpose

application = QtCore.QCoreApplication(sys.argv[:1])
with qtinter.using_qt_from_asyncio():
    asyncio.run(main())
inspect.save(sys.argv[1] + ".saved")
recording.stop()
