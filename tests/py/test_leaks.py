"""Nothing grows over 1,000 loops, and a closed loop goes at once."""

import asyncio
import gc
import os
import sys
import weakref

import pytest

import qtinter
from qtinter import _core

from .driving import MODES, drive

LOOPS = 1000
TYPES = [
    _core.Handle,
    _core.TimerHandle,
    _core.Selector,
    _core.Loop,
    qtinter.QiSelectorEventLoop,
    qtinter._loop.QiSelector,
    qtinter.QiLoopMode,
]


def use_one_loop(mode):
    """Makes, runs and closes a loop and returns a weak reference to it."""
    loop = qtinter.new_event_loop()
    loop.call_soon(int)
    loop.call_later(0, int)
    loop.call_later(3600, int, 1, 2, 3)
    loop.call_later(3600, int).cancel()
    task = loop.create_task(asyncio.sleep(0))
    task.add_done_callback(lambda _: loop.call_later(0.0001, loop.stop))
    drive(loop, mode)
    loop.close()
    return weakref.ref(loop)


def settled_counts(QtCore):
    """Counts after Qt has deleted what was given to deleteLater()."""
    for _ in range(4):  # deleting an object posts the deletion of a binding's proxy
        qt_loop = QtCore.QEventLoop()
        QtCore.QTimer.singleShot(0, qt_loop.quit)
        qt_loop.exec()
    gc.collect()
    return {
        **_core._debug_counts(),
        "fds": len(os.listdir("/proc/self/fd")),
        "objects": len(gc.get_objects()),
        **{f"references to {each.__name__}": sys.getrefcount(each) for each in TYPES},
    }


@pytest.mark.parametrize("mode", MODES)
def test_a_closed_loop_is_freed_by_its_last_reference(app, mode):
    gc.collect()
    gc.disable()
    try:
        references = [use_one_loop(mode) for _ in range(3)]
        assert [reference() for reference in references] == [None] * 3
    finally:
        gc.enable()


def test_a_loop_that_never_ran_is_freed_too():
    gc.disable()
    try:
        loop = qtinter.new_event_loop()
        reference = weakref.ref(loop)
        loop.close()
        del loop
        assert reference() is None
    finally:
        gc.enable()


@pytest.mark.slow
@pytest.mark.parametrize("mode", MODES)
def test_nothing_grows_over_a_thousand_loops(app, QtCore, mode):
    for _ in range(20):  # caches fill
        use_one_loop(mode)
    before = settled_counts(QtCore)
    for _ in range(LOOPS):
        use_one_loop(mode)
    after = settled_counts(QtCore)
    # The binding's caches may hold some objects; a leak has a thousand.
    grown = {
        name: (before[name], after[name])
        for name in before
        if after[name] - before[name] > (100 if name == "objects" else 5)
    }
    assert grown == {}


@pytest.mark.slow
def test_nothing_grows_over_a_thousand_blocks(app, QtCore):
    def block():
        with qtinter.using_asyncio_from_qt() as loop:
            loop.create_task(asyncio.sleep(3600))
            app.processEvents()

    for _ in range(20):
        block()
    before = settled_counts(QtCore)
    for _ in range(LOOPS):
        block()
    after = settled_counts(QtCore)
    grown = {
        name: (before[name], after[name])
        for name in before
        if after[name] - before[name] > (100 if name == "objects" else 5)
    }
    assert grown == {}


def test_instances_hold_their_types():
    """Heap types: one reference for each instance, given back with it."""
    loop = qtinter.new_event_loop()
    before = [sys.getrefcount(each) for each in (_core.Handle, _core.TimerHandle)]
    handles = [loop.call_soon(int) for _ in range(1000)]
    timers = [loop.call_later(3600, int) for _ in range(1000)]
    during = [sys.getrefcount(each) for each in (_core.Handle, _core.TimerHandle)]
    loop._ready.clear()
    loop._scheduled.clear()
    del handles, timers
    after = [sys.getrefcount(each) for each in (_core.Handle, _core.TimerHandle)]
    loop.close()
    assert during == [count + 1000 for count in before]
    assert after == before


def test_a_cycle_through_a_loop_is_collected():
    class Thing:
        pass

    loop = qtinter.new_event_loop()
    thing = Thing()
    thing.loop = loop
    loop.call_soon(print, thing)
    loop.call_later(3600, print, thing, thing)
    loop.call_later(3600, print, thing, thing, thing)
    ours, theirs = os.pipe()
    loop.add_reader(ours, print, thing)
    reference = weakref.ref(thing)
    loop._closed = True  # its finalizer would warn of a loop that was not closed
    for each in (loop._ssock, loop._csock):
        each.close()
    del loop, thing
    gc.collect()
    assert reference() is None
    os.close(ours)
    os.close(theirs)
