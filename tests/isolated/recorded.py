"""A process that records itself into argv[2]; argv[1] says how it ends."""

import asyncio
import os
import resource
import signal
import sys
import threading
import warnings

import qtinter
from qtinter import inspect

PATH = sys.argv[2]


def run(coro):
    loop = qtinter.new_event_loop()
    loop.set_mode(qtinter.QiLoopMode.NATIVE)
    try:
        return loop.run_until_complete(coro)
    finally:
        loop.close()


async def work(first, last):
    for number in range(first, last):
        inspect.mark(f"mark {number}")
        await asyncio.sleep(0)


async def until(recording, is_so):
    while not is_so(recording.statistics()):
        await asyncio.sleep(0.001)


def plain():
    with inspect.record(PATH):
        run(work(0, 50))
    print("done")


def exits():
    """It is never stopped."""
    inspect.record(PATH)
    run(work(0, 50))
    print("done", flush=True)


def killed():
    """By a signal that nobody can handle, with the first part in the file."""
    inspect.record(PATH, max_bytes=64 << 10)

    async def main():
        recording = inspect.record(PATH + ".2")
        await work(0, 50)
        recording.stop()
        os.kill(os.getpid(), signal.SIGKILL)

    run(main())


def thread():
    """The recorder's thread ends although another thread goes on."""
    threading.Thread(target=threading.Event().wait, args=(1,), daemon=True).start()
    plain()


def fork():
    """The child has no part in it, may record itself, and leaves it alone."""
    with inspect.record(PATH) as recording:
        run(work(0, 25))
        pid = os.fork()
        if pid == 0:
            assert not inspect.is_enabled()
            before = recording.statistics()
            assert recording.stop() == before
            with inspect.record(PATH + ".child"):
                run(work(100, 110))
            sys.exit(0)
        _, status = os.waitpid(pid, 0)
        assert status == 0, status
        run(work(25, 50))
    print("done")


def full():
    """The disk is full: the program goes on, and is told at the end."""

    async def main():
        with inspect.record(PATH) as recording:
            recording_fails = recording.statistics
            _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
            resource.setrlimit(resource.RLIMIT_FSIZE, (8192, hard))
            number = 0
            while recording_fails()["state"] == "recording":
                await work(number, number + 1000)
                number += 1000
            assert recording_fails()["reason"] == os.strerror(27)
            await work(0, 10)
            resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        run(main())
    (warning,) = caught
    assert "is not complete: File too large" in str(warning.message), warning
    print("done")


globals()[sys.argv[1]]()
