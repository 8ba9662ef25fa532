"""The end of loops and of their threads: what stays behind is nothing."""

import asyncio
import concurrent.futures
import ctypes
import gc
import os
import threading
import time
import warnings
import weakref

import pytest

import qtinter
from qtinter import QiLoopMode, _core

from .driving import MODES, spin
from .in_threads import DEFERRED_DELETE, SAFETY_NET, THREADS, run, run_on


@pytest.mark.parametrize("mode", MODES)
def test_close_from_another_thread(app, start_thread, mode):
    """Refused while the loop runs, possible when it has stopped."""
    loop = qtinter.new_event_loop()

    async def main(loop):
        with concurrent.futures.ThreadPoolExecutor(1) as pool:
            with pytest.raises(RuntimeError, match="Cannot close a running event loop"):
                await loop.run_in_executor(pool, loop.close)
        return "still running"

    assert run_on(loop, mode, main) == "still running"
    start_thread("python", loop.close)()
    assert loop.is_closed()
    with pytest.raises(RuntimeError, match="Event loop is closed"):
        loop.call_soon_threadsafe(int)


@pytest.mark.parametrize("thread", THREADS)
@pytest.mark.parametrize("held", [False, True])
def test_a_thread_ends_without_closing_its_loop(app, start_thread, thread, held):
    """Its run has ended then; it goes with the last reference to it."""
    loops = []
    before = _core._debug_counts()["loops"]

    def work():
        loop = qtinter.new_event_loop()
        loop.set_mode(QiLoopMode.GUEST)
        loop.start()
        loop.call_soon(int)
        loop.call_later(3600, int)
        spin(lambda: loop.statistics()["turns"] > 0)
        loop.call_soon(int)
        loops.append(loop if held else weakref.ref(loop))

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        start_thread(thread, work)()
        loop = loops.pop()
        if held:
            wait_until(lambda: not loop.is_running())
            loop.call_soon_threadsafe(int)
            loop.close()
            loop = weakref.ref(loop)
        wait_until(lambda: loops_after_collection() == before)
    assert loop() is None


def wait_until(true):
    """A thread's last traces go a moment after it has been joined."""
    deadline = time.monotonic() + SAFETY_NET
    while not true():
        assert time.monotonic() < deadline
        os.sched_yield()


def loops_after_collection():
    """How many loops are left; what is to be collected may take several calls.

    A thread's last call into its loop comes while the thread ends, after join().  A
    collection that meets it has cleared weak references to the loop, and leaves the
    loop itself for the next collection.
    """
    gc.collect()
    return _core._debug_counts()["loops"]


def allocated_bytes():
    """What malloc() has given out, as glibc counts it; 0 elsewhere."""

    class Info(ctypes.Structure):
        _fields_ = [
            (name, ctypes.c_size_t)
            for name in (
                *("arena", "ordblks", "smblks", "hblks", "hblkhd"),
                *("usmblks", "fsmblks", "uordblks", "fordblks", "keepcost"),
            )
        ]

    try:
        mallinfo2 = ctypes.CDLL(None).mallinfo2
    except AttributeError:
        return 0
    mallinfo2.restype = Info
    return mallinfo2().uordblks


def settled(QtCore):
    """Counts of everything that a loop and its thread may leave behind."""
    for _ in range(4):
        QtCore.QCoreApplication.processEvents()
        QtCore.QCoreApplication.sendPostedEvents(None, DEFERRED_DELETE)
    gc.collect()
    return {
        **_core._debug_counts(),
        "fds": len(os.listdir("/proc/self/fd")),
        "threads": len(os.listdir("/proc/self/task")),
        "objects": len(gc.get_objects()),
        "bytes": allocated_bytes(),
    }


def test_qt_names_no_deleted_sender_after_turns_of_two_threads(
    app, start_thread, QtCore, binding
):
    """PyQt has one variable for the sender of all threads' slots, and restores it.

    With the turns of two threads entwined, it ends up with the sender of the first.
    """
    inside, outlived = threading.Event(), threading.Event()

    async def other(loop):
        inside.set()
        assert outlived.wait(SAFETY_NET)

    async def main(loop):
        joins.append(start_thread("python", run, "nested", other))
        assert inside.wait(SAFETY_NET)

    joins = []
    run("nested", main)
    outlived.set()
    joins.pop()()
    QtCore.QCoreApplication.sendPostedEvents(None, QtCore.QEvent.Type.DeferredDelete)
    if binding.startswith("PyQt"):
        sender = QtCore.QObject().sender()
        assert sender is None or sender.objectName() == "qtinter host"

    @qtinter.asyncslot
    async def slot():
        pass

    with pytest.raises(RuntimeError, match="no running event loop"):
        slot()  # raises, as it is not called by Qt


ALLOWED = {"objects": 300, "bytes": 300_000}  # caches; a leak has a thousand of each


@pytest.mark.slow
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("thread", THREADS)
def test_nothing_grows_over_a_thousand_threads(app, QtCore, start_thread, thread, mode):
    async def main(loop):
        await asyncio.sleep(0)
        loop.call_later(3600, int)
        loop.call_soon_threadsafe(int)

    def repeat(times):
        for _ in range(times):
            start_thread(thread, run, mode, main)()

    repeat(100)
    # A leak grows each time; what the allocator keeps for threads, once.
    for _ in range(3):
        before = settled(QtCore)
        repeat(1000)
        grown = growth_since(QtCore, before)
        if not grown:
            break
    assert not grown


@pytest.mark.slow
def test_nothing_grows_over_a_thousand_runs_in_one_qt_thread(in_qt_thread, QtCore):
    """Attached and detached in slots, with Qt's own exec() around them."""
    loops = []

    def attach(done):
        loop = qtinter.new_event_loop()
        loop.set_mode(QiLoopMode.GUEST)
        loop.start()
        loop.call_soon(done)
        loops.append(loop)

    def detach(done):
        loop = loops.pop()
        loop.stop()
        loop.close()
        done()

    before, grown = [], []
    in_qt_thread(
        *[attach, detach] * 100,
        lambda done: before.append(settled(QtCore)) or done(),
        *[attach, detach] * 1000,
        lambda done: grown.append(growth_since(QtCore, before[0])) or done(),
    )
    assert grown == [{}]


def growth_since(QtCore, before):
    """What there is more of than before, and more than caches explain."""
    # A thread's last traces go a moment after it has been joined.
    deadline = time.monotonic() + 10
    while True:
        after = settled(QtCore)
        grown = {
            name: (before[name], after[name])
            for name in before
            if after[name] - before[name] > ALLOWED.get(name, 2)
        }
        if not grown or time.monotonic() > deadline:
            return grown
        os.sched_yield()
