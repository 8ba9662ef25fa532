"""Private names of asyncio's loops and handles that programs read and assign.

Debuggers, virtual clocks, nest_asyncio and profilers reach into them; each test runs
the same lines on asyncio's loop, which says what is right.
"""

import asyncio
import collections
import contextvars
import heapq
import threading
from unittest import mock

import pytest

import qtinter

from .driving import MODES, drive

SAFETY_NET = 30  # seconds


@pytest.fixture(params=["qtinter", "asyncio"])
def loop(request):
    if request.param == "asyncio":
        loop = asyncio.SelectorEventLoop()
    else:
        loop = qtinter.new_event_loop()
        loop.set_mode(qtinter.QiLoopMode.NATIVE)
    yield loop
    loop.close()
    request.node.funcargs.clear()  # pytest holds the loop beyond no_leaks otherwise


@pytest.fixture(params=[*MODES, "asyncio"])
def driven(request, app):
    """A loop and what runs it until it stops: each of our modes, and asyncio's own."""
    if request.param == "asyncio":
        loop = asyncio.SelectorEventLoop()
        yield loop, loop.run_forever
    else:
        loop = qtinter.new_event_loop()
        yield loop, lambda: drive(loop, request.param)
    loop.close()
    request.node.funcargs.clear()


def test_whatever_an_asyncio_loop_has_ours_has():
    theirs, ours = asyncio.SelectorEventLoop(), qtinter.new_event_loop()
    try:
        missing = [name for name in dir(theirs) if not hasattr(ours, name)]
        assert missing == []
        # What is a number, a dict, None ... there is one here.
        other_types = {
            name: (type(value), type(getattr(ours, name)))
            for name, value in vars(theirs).items()
            if name != "_selector" and type(value) is not type(getattr(ours, name))
        }
        assert other_types == {}
    finally:
        theirs.close()
        ours.close()


@pytest.mark.parametrize("debug", [False, True])
def test_handles_show_what_asyncios_show(loop, debug):
    loop.set_debug(debug)
    soon = loop.call_soon(print, 1, 2)
    later = loop.call_later(1000, print)
    assert (soon._callback, soon._args, soon._cancelled) == (print, (1, 2), False)
    assert (later._callback, later._args, later._cancelled) == (print, (), False)
    assert soon._loop is later._loop is loop
    assert soon._repr is later._repr is None
    assert later._when == later.when()
    assert later._scheduled is True
    assert [bool(h._source_traceback) for h in (soon, later)] == [debug, debug]
    for handle in (soon, later):
        handle.cancel()
        assert (handle._callback, handle._args) == (None, None)
        assert handle._cancelled is True
        assert isinstance(handle._repr, str) is debug
    assert loop._timer_cancelled_count == 1


@pytest.mark.parametrize("name", ["_ready", "_scheduled"])
def test_queues_are_of_asyncios_types(loop, name):
    loop.call_soon(print)
    loop.call_later(1000, print)
    expected = {"_ready": collections.deque, "_scheduled": list}[name]
    assert type(getattr(loop, name)) is expected
    assert len(getattr(loop, name)) == 1
    setattr(loop, name, expected())
    assert len(getattr(loop, name)) == 0


def test_callback_and_arguments_can_be_exchanged(driven):
    """What profilers do: put a wrapper around each callback that waits."""
    loop, run = driven
    seen = []

    def traced(callback, *args):
        seen.append(("before", args))
        callback(*args)

    calls = [(), (1,), (1, 2), (1, 2, 3)]
    for args in calls:
        loop.call_soon(lambda *args: seen.append(args), *args)
    for handle in list(loop._ready):
        assert handle._args in calls
        handle._args = (handle._callback, *handle._args)
        handle._callback = traced
        assert handle._callback is traced
    timer = loop.call_later(0, seen.append, "wrong")
    timer._args = ["timer"]
    loop.call_later(0.001, loop.stop)
    run()
    assert seen == [x for args in calls for x in (("before", args), args)] + ["timer"]


def test_the_context_of_a_handle_can_be_exchanged(driven):
    loop, run = driven
    variable = contextvars.ContextVar("variable", default="outside")
    context = contextvars.copy_context()
    context.run(variable.set, "inside")
    seen = []
    handle = loop.call_soon(lambda: seen.append(variable.get()))
    handle._context = context
    assert handle._context is context
    loop.call_soon(loop.stop)
    run()
    assert seen == ["inside"]


@pytest.mark.parametrize("heapify", [False, True])
def test_deadlines_can_be_moved(driven, heapify):
    """Virtual clocks rewrite the deadlines of the timers that wait."""
    loop, run = driven
    ran = []
    far = loop.call_later(100_000, ran.append, "far")
    near = loop.call_later(50_000, ran.append, "near")
    for handle in loop._scheduled if heapify else (far, near):
        handle._when -= 100_000
    if heapify:
        heapq.heapify(loop._scheduled)
    assert far._when == far.when()
    loop.call_later(0.001, loop.stop)
    run()
    assert sorted(ran) == ["far", "near"]
    assert not loop._scheduled


def test_a_moved_deadline_wakes_an_attached_loop(app, QtCore):
    with qtinter.using_asyncio_from_qt() as loop:
        timer = loop.call_later(100_000, app.quit)
        QtCore.QTimer.singleShot(0, lambda: setattr(timer, "_when", loop.time()))
        assert app.exec() == 0
        assert not loop._scheduled


def test_the_ready_queue_can_be_rearranged(driven):
    loop, run = driven
    ran = []

    def rearrange():
        loop._ready.reverse()
        loop._ready.appendleft(asyncio.Handle(ran.append, ("first",), loop))
        loop.call_soon(loop.stop)

    loop.call_soon(rearrange)
    for i in range(3):
        loop.call_soon(ran.append, i)
    run()
    assert ran == ["first", 2, 1, 0]


def test_another_ready_queue_can_be_assigned(driven):
    loop, run = driven
    ran = []
    loop.call_soon(ran.append, "dropped")
    loop._ready = collections.deque(
        [
            asyncio.Handle(ran.append, ("kept",), loop),
            asyncio.Handle(loop.stop, (), loop),
        ]
    )
    run()
    assert ran == ["kept"]


def test_timers_can_be_taken_out(driven):
    loop, run = driven
    ran = []
    loop.call_later(0, ran.append, "taken out")
    kept = loop.call_later(0, ran.append, "kept")
    heapq.heappop(loop._scheduled)
    assert loop._scheduled == [kept]
    loop.call_later(0.001, loop.stop)
    run()
    assert ran == ["kept"]


def test_clock_resolution_can_be_assigned(driven):
    """A timer is due when it lies less than the resolution ahead."""
    loop, run = driven
    loop._clock_resolution = 3600.0
    assert loop._clock_resolution == 3600.0
    ran = []
    loop.call_later(1800, ran.append, "due")
    loop.call_later(7200, ran.append, "not due")
    loop.call_soon(loop.call_soon, loop.stop)
    run()
    assert ran == ["due"]


def test_clock_resolution_can_be_patched(loop):
    before = loop._clock_resolution
    with mock.patch.object(loop, "_clock_resolution", 0.5):
        assert loop._clock_resolution == 0.5
    assert loop._clock_resolution == before


def test_time_can_be_replaced_while_running(driven):
    loop, run = driven
    ran = []
    loop.call_later(1000, ran.append, "later")
    loop.call_later(1000.5, loop.stop)
    real_time = loop.time

    def replace():
        loop.time = lambda: real_time() + 1001

    loop.call_soon(replace)
    run()
    assert ran == ["later"]
    del loop.time


def test_the_selectors_select_can_be_replaced_while_running(driven):
    """As aiotools.VirtualClock and looptime do."""
    loop, run = driven
    ran, timeouts = [], []
    select, real_time = loop._selector.select, loop.time
    skipped = 0.0

    def no_waiting(timeout=None):
        nonlocal skipped
        timeouts.append(timeout)
        skipped += timeout or 0
        return select(0)

    def replace():
        loop._selector.select = no_waiting
        loop.time = lambda: real_time() + skipped

    loop.call_soon(replace)
    loop.call_later(3600, ran.append, "an hour")
    loop.call_later(7200, loop.stop)
    run()
    assert ran == ["an hour"]
    assert max(timeout or 0 for timeout in timeouts) > 3000
    del loop._selector.select, loop.time


def test_a_class_changed_while_running_is_noticed(driven):
    """nest_asyncio assigns methods of the class, looptime another class."""
    loop, run = driven
    called = []

    class Counting(type(loop)):
        def _run_once(self):
            called.append("class")
            super()._run_once()

    class Empty(type(loop)):
        pass

    def later_run_once(self):
        called.append("method")
        super(Empty, self)._run_once()

    def change_method():
        loop.__class__ = Empty
        Empty._run_once = later_run_once
        loop.call_later(0.001, loop.stop)

    def change_class():
        loop.__class__ = Counting
        loop.call_later(0.001, change_method)

    loop.call_later(0.001, change_class)
    run()
    assert set(called) == {"class", "method"}


def test_a_new_class_counts_at_once(loop):
    class Ahead(type(loop)):
        def time(self):
            return super().time() + 1000

    now = loop.time()
    loop.__class__ = Ahead
    assert loop.call_later(1, print).when() >= now + 1001
    loop.__class__ = Ahead.__base__
    assert loop.call_later(1, print).when() < now + 1001


def test_run_of_asyncios_handles_can_be_replaced(driven, monkeypatch):
    """Reporters of slow callbacks wrap asyncio.Handle._run."""
    loop, run = driven
    seen = []
    original = asyncio.Handle._run

    def instrumented(self):
        seen.append((type(self).__name__, self._args))
        return original(self)

    def instrument():
        monkeypatch.setattr(asyncio.Handle, "_run", instrumented)
        loop.call_soon(seen.append, "soon")
        loop.call_later(0, seen.append, "timer")
        loop.call_later(0.001, loop.stop)

    loop.call_soon(instrument)
    run()
    assert seen[:4] == [
        ("Handle", ("soon",)),
        "soon",
        ("TimerHandle", ("timer",)),
        "timer",
    ]
    monkeypatch.undo()
    count = len(seen)
    loop.call_soon(loop.stop)
    run()
    assert len(seen) == count


def test_run_once_can_be_called_by_hand(loop):
    ran = []
    loop.call_soon(ran.append, "ready")
    loop.call_later(0, ran.append, "timer")
    while len(ran) < 2:
        loop._run_once()
    assert sorted(ran) == ["ready", "timer"]


def test_select_by_hand_does_not_lose_wakeups(driven):
    """A loop that somebody else has driven (nest_asyncio) still hears threads."""
    loop, run = driven
    heard = []

    def by_hand():
        thread = threading.Thread(target=loop.call_soon_threadsafe, args=[print])
        thread.start()
        thread.join()
        loop._ready.clear()
        loop._process_events(loop._selector.select(0))
        threading.Thread(target=talk).start()

    def talk():
        # Waiting for the answer lets the loop go to sleep before the next call.
        for _ in range(20):
            answer = threading.Event()
            loop.call_soon_threadsafe(answer.set)
            heard.append(answer.wait(SAFETY_NET))
        loop.call_soon_threadsafe(loop.stop)

    loop.call_soon(by_hand)
    run()
    assert heard == [True] * 20


def test_write_to_self_wakes(driven):
    loop, run = driven
    woken = threading.Event()

    def append_and_wake():
        loop._ready.append(asyncio.Handle(loop.stop, (), loop))
        loop._write_to_self()
        woken.set()

    loop.call_later(0.001, lambda: threading.Thread(target=append_and_wake).start())
    run()
    assert woken.wait(SAFETY_NET)
