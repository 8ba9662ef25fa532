"""One allocation of a run fails, each in turn; what the loop is afterwards is checked.

Prints how many runs met a MemoryError; a crash, or a loop that stays running or can
not run again, is a failure.
"""

import _testcapi
import asyncio
import os
import sys
import threading

import qtinter
from qtinter.bindings import QtCore

# shiboken aborts when its hook into import gets no memory, and a run in Qt imports.
IN_QT = not QtCore.__name__.startswith("PySide")
MOST = 400  # allocations of one run, 50 to 150
app = QtCore.QCoreApplication([])
sys.unraisablehook = lambda unraisable: None


def run(loop):
    for number in range(3):
        loop.call_soon(id, number)
    loop.call_later(0, id, loop)
    loop.call_later(60, id, loop).cancel()
    asyncio.ensure_future(asyncio.sleep(0), loop=loop)
    loop.call_soon(loop.call_soon, loop.call_soon, loop.stop)
    loop.run_forever()


def run_short_of_memory(loop, nth):
    """Fails the nth allocation; returns whether one failed."""
    failed = False
    # What ends the run may be what got no memory.
    rescue = threading.Timer(2, loop.call_soon_threadsafe, (loop.stop,))
    rescue.daemon = True
    rescue.start()
    _testcapi.set_nomemory(nth, nth + 1)
    try:
        run(loop)
    except Exception:  # MemoryError, or what CPython makes of it
        failed = True
    finally:
        _testcapi.remove_mem_hooks()
    rescue.cancel()
    return failed


failures = 0
for nth in range(MOST):
    loop = qtinter.new_event_loop()
    if not IN_QT:
        loop.set_mode(qtinter.QiLoopMode.NATIVE)
    reported = []
    loop.set_exception_handler(lambda loop, context, to=reported: to.append(context))
    if nth == 0:
        run(loop)  # what only a first run does
    failed = run_short_of_memory(loop, nth) or bool(reported)
    failures += failed
    assert not loop.is_running(), nth
    if asyncio._get_running_loop() is not None:
        # The one call of the clean-up that allocates is asyncio's.
        asyncio._set_running_loop(None)
    for task in asyncio.all_tasks(loop):
        task.cancel()
    loop._ready.clear()
    loop._stopping = False
    loop.call_soon(loop.stop)
    loop.run_forever()
    loop.close()
    if nth > 150 and not failed:
        break
print("ok" if failures > 20 else f"only {failures} runs met a failure")
sys.stdout.flush()
os._exit(0)
