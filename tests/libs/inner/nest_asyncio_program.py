"""nest_asyncio: run_until_complete() inside of a callback of the same loop."""

import asyncio
import sys

import nest_asyncio

import qtinter
from qtinter.bindings import QtCore

app = QtCore.QCoreApplication(sys.argv)
beats = []
timer = QtCore.QTimer()
timer.timeout.connect(lambda: beats.append(1))
timer.start(1)


async def level(number):
    await asyncio.sleep(0.002)
    if number == 3:
        return number
    return asyncio.get_running_loop().run_until_complete(level(number + 1))


async def main():
    result = await level(1)
    while not beats:
        await asyncio.sleep(0.001)
    return result


loop = qtinter.new_event_loop()
nest_asyncio.apply(loop)
asyncio.set_event_loop(loop)
try:
    result = loop.run_until_complete(main())
finally:
    asyncio.set_event_loop(None)
    loop.close()
print("result:", result, "levels")
