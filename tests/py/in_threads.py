"""What tests of loops in threads share; start_thread and in_qt_thread are fixtures."""

import asyncio
import concurrent.futures

import qtinter
from qtinter import QiLoopMode

from .driving import drive

SAFETY_NET = 60  # seconds; a test that meets it fails
DEFERRED_DELETE = 52  # QEvent::DeferredDelete, which each binding spells its own way


class Outcome:
    """What a function that ran in a thread returned or raised."""

    def __init__(self, function, args):
        self._function, self._args = function, args
        self._future = concurrent.futures.Future()

    def run(self):
        try:
            self._future.set_result(self._function(*self._args))
        except BaseException as exc:
            self._future.set_exception(exc)

    def get(self):
        """The result, after the thread has ended."""
        return self._future.result(SAFETY_NET)


THREADS = ["python", "qthread"]


def run(mode, main):
    """Makes a loop, runs the coroutine function main(loop) in it and closes it."""
    loop = qtinter.new_event_loop()
    try:
        return run_on(loop, mode, main)
    finally:
        loop.close()


def run_on(loop, mode, main):
    task = loop.create_task(asyncio.wait_for(main(loop), SAFETY_NET))
    task.add_done_callback(lambda _: loop.stop())
    if mode == "nested":
        # Not drive(): what PyQt connects in a thread is not freed when that ends.
        loop.set_mode(QiLoopMode.OWNER)
        loop.run_forever()
    else:
        drive(loop, mode)
    return task.result()
