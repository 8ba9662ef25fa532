"""What must not crash the process.  The argument names one case."""

import gc
import sys

import qtinter

loop = qtinter.new_event_loop()
loop.set_mode(qtinter.QiLoopMode.NATIVE)


def uncancel():
    handle = loop.call_soon(print, "x")
    timer = loop.call_later(0, print, "x")
    for each in (handle, timer):
        each.cancel()
        each._cancelled = False
    loop.set_exception_handler(lambda loop, context: None)
    loop.call_later(0.01, loop.stop)
    loop.run_forever()


def chain():
    handle = None
    for _ in range(500_000):
        handle = loop.call_soon(id, handle)
    del handle
    loop._ready.clear()


def collector():
    asked, ran = 0, []

    def ask():
        nonlocal asked
        asked += 1
        loop.call_soon(ran.append, asked)

    class Cycle:
        def __init__(self):
            self.me = self

        def __del__(self):
            ask()
            loop.call_later(1000, print).cancel()

    gc.set_threshold(3, 1000, 1000)
    for _ in range(3000):
        Cycle()
        held = loop._ready, loop._scheduled
        del held
        ask()
    gc.set_threshold(700, 10, 10)
    gc.collect()
    loop.call_later(0.01, loop.stop)
    loop.run_forever()
    assert sorted(ran) == list(range(1, asked + 1)), (asked, len(ran))


{"uncancel": uncancel, "chain": chain, "collector": collector}[sys.argv[1]]()
loop.close()
print("ok")
