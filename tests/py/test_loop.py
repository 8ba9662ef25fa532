"""The loop object: its methods, handles, queues, hooks and debug mode."""

import asyncio
import contextvars
import importlib.util
import inspect
import logging
import socket
import sys
import threading
import time
import weakref

import pytest

import qtinter
from qtinter import _core

from .driving import MODES, drive

NAN, INF = float("nan"), float("inf")


def run_ready(loop):
    """One iteration."""
    loop.call_soon(loop.stop)
    loop.run_forever()


# --- arguments -----------------------------------------------------------------------

CALLS = [
    ("call_soon", ()),
    ("call_soon_threadsafe", ()),
    ("call_later", (0,)),
    ("call_at", (0,)),
]


@pytest.mark.parametrize(("method", "leading"), CALLS)
def test_a_callback_is_required(loop, method, leading):
    with pytest.raises(TypeError):
        getattr(loop, method)(*leading)
    with pytest.raises(TypeError):
        getattr(loop, method)()


@pytest.mark.parametrize(("method", "leading"), CALLS)
@pytest.mark.parametrize("context", [5, "x", object(), contextvars.Context])
def test_context_must_be_a_context(loop, method, leading, context):
    with pytest.raises(TypeError, match="context"):
        getattr(loop, method)(*leading, print, context=context)


@pytest.mark.parametrize(("method", "leading"), CALLS)
def test_unknown_keywords_are_refused(loop, method, leading):
    with pytest.raises(TypeError, match="colour"):
        getattr(loop, method)(*leading, print, colour="red")


@pytest.mark.parametrize(("method", "leading"), CALLS)
def test_callback_may_be_a_keyword_as_in_asyncio(loop, method, leading):
    ran = []
    getattr(loop, method)(*leading, callback=lambda: ran.append(1))
    run_ready(loop)
    run_ready(loop)
    assert ran == [1]


def test_delay_and_when_may_be_keywords_as_in_asyncio(loop):
    ran = []
    loop.call_later(delay=0, callback=lambda: ran.append(1))
    loop.call_at(when=0, callback=lambda: ran.append(2))
    run_ready(loop)
    run_ready(loop)
    assert sorted(ran) == [1, 2]


@pytest.mark.parametrize(("method", "leading"), CALLS)
def test_a_closed_loop_refuses(loop, method, leading):
    loop.close()
    with pytest.raises(RuntimeError, match="Event loop is closed"):
        getattr(loop, method)(*leading, print)


@pytest.mark.parametrize("method", ["call_later", "call_at"])
@pytest.mark.parametrize("seconds", [None, "1", b"1", object(), [], 1j])
def test_times_must_be_numbers(loop, method, seconds):
    with pytest.raises(TypeError):
        getattr(loop, method)(seconds, print)


@pytest.mark.parametrize("method", ["call_later", "call_at"])
def test_nan_is_no_time(loop, method):
    with pytest.raises(ValueError, match="NaN"):
        getattr(loop, method)(NAN, print)


@pytest.mark.parametrize("method", ["call_later", "call_at"])
@pytest.mark.parametrize("seconds", [-INF, -1e300, -1, 0])
def test_the_past_is_now(loop, method, seconds):
    ran = []
    getattr(loop, method)(seconds, ran.append, seconds)
    loop.call_later(0.001, loop.stop)
    loop.run_forever()
    assert ran == [seconds]


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("seconds", [INF, 1e300, 1e10, 1e9])
def test_never_is_never(app, loop, mode, seconds):
    ran = []
    handle = loop.call_later(seconds, ran.append, seconds)
    loop.call_later(0.001, loop.stop)
    drive(loop, mode)
    assert ran == []
    handle.cancel()


def test_numbers_of_other_types_are_times(loop):
    import decimal
    import fractions

    for when in (fractions.Fraction(1, 3), decimal.Decimal("0.5"), 1 << 30):
        assert loop.call_at(when, print).when() == float(when)
    with pytest.raises(OverflowError):
        loop.call_at(10**400, print)

    class Broken:
        def __float__(self):
            raise LookupError

    with pytest.raises(LookupError):
        loop.call_later(Broken(), print)


def test_a_callback_that_cannot_be_called_is_reported(loop):
    reports = []
    loop.set_exception_handler(lambda loop, context: reports.append(context))
    loop.call_soon(None)
    loop.call_later(0, 5)
    loop.call_later(0.001, loop.stop)
    loop.run_forever()
    assert [type(report["exception"]) for report in reports] == [TypeError] * 2


@pytest.mark.parametrize("method", ["call_soon", "call_later", "call_at"])
def test_debug_mode_checks_callback_and_thread(loop, method):
    leading = () if method == "call_soon" else (0,)
    loop.set_debug(True)
    call = getattr(loop, method)

    async def coroutine():
        pass

    with pytest.raises(TypeError, match="coroutine"):
        call(*leading, coroutine)
    with pytest.raises(TypeError):
        call(*leading, None)
    errors = []

    def wrong_thread():
        try:
            call(*leading, print)
        except RuntimeError as exc:
            errors.append(str(exc))
        loop.call_soon_threadsafe(loop.stop)

    loop.call_soon(lambda: threading.Thread(target=wrong_thread).start())
    loop.run_forever()
    assert len(errors) == 1
    assert "Non-thread-safe operation" in errors[0]


@pytest.mark.parametrize("count", range(6))
def test_arguments_arrive(loop, count):
    got = []
    arguments = tuple(object() for _ in range(count))
    handle = loop.call_soon(lambda *args: got.append(args), *arguments)
    assert handle._args == arguments
    run_ready(loop)
    assert got == [arguments]


def test_callbacks_run_in_their_context(loop):
    variable = contextvars.ContextVar("variable", default="none")
    got = []
    context = contextvars.copy_context()
    context.run(variable.set, "given")
    variable.set("current")
    handle = loop.call_soon(lambda: got.append(variable.get()), context=context)
    copied = loop.call_soon(lambda: got.append(variable.get()))
    variable.set("later")
    loop.call_later(0, lambda: variable.set("inside"), context=context)
    run_ready(loop)
    run_ready(loop)
    assert got == ["given", "current"]
    assert handle._context is context
    assert copied._context is not context
    assert context[variable] == "inside"
    assert variable.get() == "later"


def test_a_context_that_is_entered_already_is_reported(loop, caplog):
    reports = []
    loop.set_exception_handler(lambda loop, context: reports.append(context))
    context = contextvars.copy_context()
    loop.call_soon(print, context=context)
    context.run(run_ready, loop)
    if sys.version_info >= (3, 12):
        # asyncio runs the handler in that context too, and logs that it cannot.
        assert "is already entered" in caplog.text
        caplog.clear()  # its traceback leads to the loop
    else:
        assert [type(report["exception"]) for report in reports] == [RuntimeError]


# --- handles -------------------------------------------------------------------------


def test_handles_are_asyncios(loop):
    handle, timer = loop.call_soon(print), loop.call_at(5, print)
    assert isinstance(handle, asyncio.Handle)
    assert not isinstance(handle, asyncio.TimerHandle)
    assert isinstance(timer, asyncio.TimerHandle)
    assert timer.when() == 5
    assert handle._loop is loop
    assert handle._callback is print
    assert handle._source_traceback is None
    assert weakref.ref(handle)() is handle
    for made in (type(handle), type(timer)):
        with pytest.raises(TypeError):
            made(print, (), loop)
        with pytest.raises(TypeError):
            made()
        with pytest.raises(TypeError):
            type("Sub", (made,), {})


def test_repr_tells_state(loop):
    def callback():
        pass

    handle, timer = loop.call_soon(callback), loop.call_at(5, callback)
    for each, name in ((handle, "Handle"), (timer, "TimerHandle")):
        assert repr(each).startswith(f"<{name}")
        assert "callback" in repr(each)
        assert "cancelled" not in repr(each)
        each.cancel()
        assert repr(each).startswith(f"<{name} cancelled")
    assert "when=5" in repr(timer)
    loop.set_debug(True)
    told = loop.call_soon(callback)
    told.cancel()
    assert "callback" in repr(told), "debug mode keeps the description"


def test_cancelling_lets_go_of_callback_and_arguments(loop):
    class Thing:
        def __call__(self, *args):
            raise AssertionError("cancelled")

    for count in range(5):
        callback, arguments = Thing(), [Thing() for _ in range(count)]
        references = [weakref.ref(each) for each in [callback, *arguments]]
        handle = loop.call_soon(callback, *arguments)
        handle.cancel()
        handle.cancel()
        del callback, arguments
        assert [reference() for reference in references] == [None] * (count + 1)
        assert handle.cancelled() is True
        assert handle._callback is None
        assert handle._args is None
    run_ready(loop)


def test_a_callback_may_cancel_its_own_handle(loop):
    ran = []

    def callback(*args):
        handles.pop().cancel()
        ran.append(args)

    for arguments in ((), ([1],), ([1], [2]), ([1], [2], [3])):
        handles = [loop.call_soon(callback, *arguments)]
        run_ready(loop)
    assert ran == [(), ([1],), ([1], [2]), ([1], [2], [3])]


def test_a_cancelled_flag_taken_back_does_no_harm(run_isolated):
    result = run_isolated("handle_abuse.py", "uncancel")
    assert (result.returncode, result.stdout) == (0, "ok\n"), result.stderr


def test_a_long_chain_of_handles_is_released(run_isolated):
    """Each handle is an argument of the next: their deaths must not nest."""
    result = run_isolated("handle_abuse.py", "chain")
    assert (result.returncode, result.stdout) == (0, "ok\n"), result.stderr


def test_queues_survive_callbacks_from_the_collector(run_isolated):
    """Finalizers call call_soon() while _ready and _scheduled are handed out."""
    result = run_isolated("handle_abuse.py", "collector")
    assert (result.returncode, result.stdout) == (0, "ok\n"), result.stderr


@pytest.mark.skipif(
    importlib.util.find_spec("_testcapi") is None,
    reason="CPython came without _testcapi",
)
def test_any_allocation_may_fail(run_isolated):
    result = run_isolated("no_memory.py", timeout=120)
    assert (result.returncode, result.stdout) == (0, "ok\n"), result.stderr


def test_handles_compare_as_asyncios(loop):
    early, late = loop.call_at(1, print), loop.call_at(2, print)
    assert early < late
    assert late >= early
    assert early == early
    assert early != late
    assert hash(early) == hash(early.when())
    assert loop.call_soon(print) != loop.call_soon(print)


def test_running_a_cancelled_handle_is_an_error(loop):
    handle = loop.call_soon(print)
    handle.cancel()
    with pytest.raises(RuntimeError, match="cancelled"):
        handle._run()


# --- the queues as others see them ---------------------------------------------------


@pytest.mark.parametrize("mode", MODES)
def test_foreign_handles_in_the_queues(app, loop, mode):
    ran = []
    loop._ready.append(asyncio.Handle(ran.append, ("handle",), loop))
    cancelled = asyncio.Handle(ran.append, ("cancelled",), loop)
    cancelled.cancel()
    loop._ready.append(cancelled)
    timer = asyncio.TimerHandle(loop.time(), ran.append, ("timer",), loop)
    timer._scheduled = True
    loop._scheduled.append(timer)
    gone = asyncio.TimerHandle(loop.time(), ran.append, ("gone",), loop)
    gone._scheduled = True
    loop._scheduled.append(gone)
    gone.cancel()
    loop._add_callback(asyncio.Handle(ran.append, ("added",), loop))
    loop.call_later(0.001, loop.stop)
    drive(loop, mode)
    assert ran == ["handle", "added", "timer"]
    assert timer._scheduled is False


@pytest.mark.parametrize("mode", MODES)
def test_a_held_queue_is_the_queue(app, loop, mode):
    ran = []
    ready, scheduled = loop._ready, loop._scheduled
    loop.call_soon(ran.append, "ready")
    later = loop.call_later(0.001, ran.append, "timer")
    assert [handle._args for handle in ready] == [("ready",)]
    assert scheduled == [later]
    assert loop._ready is ready
    assert loop._scheduled is scheduled
    loop.call_later(0.002, loop.stop)
    drive(loop, mode)
    assert ran == ["ready", "timer"]
    assert not ready
    assert not scheduled


@pytest.mark.parametrize("mode", MODES)
def test_queues_modified_while_running(app, loop, mode):
    ran = []

    def callback():
        ready = loop._ready
        ran.append(len(ready))
        ready.clear()
        loop.call_soon(ran.append, "after")
        loop.call_later(0.001, loop.stop)

    loop.call_soon(callback)
    loop.call_soon(ran.append, "cleared")
    loop.call_soon(ran.append, "cleared too")
    drive(loop, mode)
    assert ran == [2, "after"]


def test_wrong_queues_are_refused_or_fail_when_used(loop):
    with pytest.raises(TypeError):
        loop._scheduled = ()
    with pytest.raises(AttributeError):
        del loop._ready
    with pytest.raises(AttributeError):
        del loop._scheduled
    loop._ready = 5
    with pytest.raises(AttributeError):
        loop.call_soon(print)
    with pytest.raises((TypeError, AttributeError)):
        loop.run_forever()
    assert not loop.is_running()
    loop._ready = []
    loop._ready.append(None)
    with pytest.raises(AttributeError):
        loop.run_forever()
    loop._ready.clear()
    loop._scheduled.append(object())
    with pytest.raises(AttributeError):
        loop.run_forever()
    loop._scheduled.clear()


# --- exceptions and debug mode -------------------------------------------------------


@pytest.mark.parametrize("mode", MODES)
def test_exceptions_go_to_the_handler_and_the_loop_goes_on(app, loop, mode):
    reports, ran = [], []
    loop.set_exception_handler(lambda loop, context: reports.append(context))

    def fail():
        raise LookupError("fail")

    handle = loop.call_soon(fail)
    loop.call_soon(ran.append, "goes on")
    loop.call_later(0.001, loop.stop)
    drive(loop, mode)
    assert ran == ["goes on"]
    assert len(reports) == 1
    assert isinstance(reports[0]["exception"], LookupError)
    assert reports[0]["handle"] is handle
    assert "fail" in reports[0]["message"]
    assert "source_traceback" not in reports[0]


@pytest.mark.parametrize("mode", MODES)
def test_a_failing_exception_handler_does_not_end_the_loop(app, loop, mode, caplog):
    ran = []

    def handler(loop, context):
        raise ValueError("handler")

    def fail():
        raise LookupError("fail")

    loop.set_exception_handler(handler)
    loop.call_soon(fail)
    loop.call_soon(ran.append, "goes on")
    loop.call_later(0.001, loop.stop)
    drive(loop, mode)
    assert ran == ["goes on"]
    assert "Unhandled error in exception handler" in caplog.text
    caplog.clear()  # its records hold tracebacks


@pytest.mark.parametrize("mode", MODES)
def test_debug_mode_reports_slow_callbacks(app, loop, mode, caplog):
    caplog.set_level(logging.WARNING, logger="asyncio")
    loop.set_debug(True)
    loop.slow_callback_duration = 0  # every callback is slow

    def slow():
        assert loop._current_handle is not None

    loop.call_soon(slow)
    loop.call_later(0.001, loop.stop)
    drive(loop, mode)
    messages = [record.getMessage() for record in caplog.records]
    assert any("Executing" in text and "slow" in text for text in messages), messages
    assert loop._current_handle is None
    caplog.clear()
    loop.slow_callback_duration = 1e9
    loop.call_soon(slow)
    loop.call_later(0.001, loop.stop)
    drive(loop, mode)
    assert "Executing" not in caplog.text


def test_the_source_traceback_ends_where_the_call_was_made(loop):
    loop.set_debug(True)
    here = inspect.currentframe()
    for made in (
        lambda: loop.call_soon(print),
        lambda: loop.call_later(1, print),
        lambda: loop.call_at(1, print),
        lambda: loop.call_soon_threadsafe(print),
    ):
        handle = made()
        last = handle._source_traceback[-1]
        assert last.filename == here.f_code.co_filename
        assert last.lineno == made.__code__.co_firstlineno
        handle.cancel()


def test_debug_mode_tells_where_a_failed_callback_came_from(loop):
    reports = []
    loop.set_exception_handler(lambda loop, context: reports.append(context))
    loop.set_debug(True)

    def fail():
        raise LookupError("fail")

    handle = loop.call_soon(fail)
    run_ready(loop)
    assert reports[0]["source_traceback"] is handle._source_traceback


# --- hooks ---------------------------------------------------------------------------


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("where", ["class", "instance"])
@pytest.mark.parametrize(
    "name",
    ["_run_once", "_process_events", "time", "call_at", "_timer_handle_cancelled"],
)
def test_a_replaced_method_is_called(app, new_loop, mode, where, name):
    """Tests and tools of others replace these; see internals.md."""
    base = getattr(qtinter.QiSelectorEventLoop, name)
    called = []

    def replacement(self, *args, **kwargs):
        called.append(args)
        return base(self, *args, **kwargs)

    if where == "class":
        subclass = type("Sub", (qtinter.QiSelectorEventLoop,), {name: replacement})
        loop = new_loop(subclass)
    else:
        loop = new_loop()
        setattr(loop, name, replacement.__get__(loop))
    ran = []
    handle = loop.call_later(1000, print)
    loop.call_soon(handle.cancel)
    loop.call_soon(ran.append, 1)
    loop.call_later(0.001, loop.stop)
    drive(loop, mode)
    assert ran == [1]
    assert called
    if where == "instance":
        count = len(called)
        delattr(loop, name)
        loop.call_later(1000, print).cancel()
        loop.call_later(0.001, loop.stop)
        drive(loop, mode)
        assert len(called) == count


def test_call_later_goes_through_a_replaced_call_at(loop):
    got = []

    def call_at(when, callback, *args, context=None):
        got.append((when, callback, args, context))
        return "handle"

    loop.call_at = call_at
    context = contextvars.copy_context()
    before = loop.time()
    assert loop.call_later(5, print, 1, 2, context=context) == "handle"
    when, callback, args, given = got[0]
    assert before + 5 <= when <= loop.time() + 5
    assert (callback, args, given) == (print, (1, 2), context)
    del loop.call_at


@pytest.mark.parametrize("mode", MODES)
def test_a_clock_of_the_subclass(app, new_loop, mode):
    """Deadlines follow the replaced time(), however Qt waits."""

    class Jumping(qtinter.QiSelectorEventLoop):
        offset = 0.0

        def time(self):
            return super().time() + self.offset

    loop = new_loop(Jumping)
    ran = []

    def jump():
        loop.offset += 1_000_000

    loop.call_later(500_000, ran.append, "after the jump")
    loop.call_later(0.001, jump)
    loop.call_later(1_000_000.5, loop.stop)
    drive(loop, mode)
    assert ran == ["after the jump"]


def test_write_to_self_replaced(loop):
    woken = []
    loop._write_to_self = lambda: woken.append(1)
    loop.call_soon_threadsafe(print)
    assert woken == [1]
    loop._ready.clear()
    del loop._write_to_self


# --- attributes ----------------------------------------------------------------------


def test_slice_ms(loop):
    assert loop.slice_ms == 2
    loop.slice_ms = 0.5
    assert loop.slice_ms == 0.5
    for value in (0, -1, NAN, INF, 1000.1):
        with pytest.raises(ValueError, match="slice_ms"):
            loop.slice_ms = value
    for value in (None, "2", object()):
        with pytest.raises(TypeError):
            loop.slice_ms = value
    with pytest.raises(AttributeError):
        del loop.slice_ms
    assert loop.slice_ms == 0.5


def test_statistics_count(loop):
    before = loop.statistics()
    assert set(before) == {
        "turns", "iterations", "callbacks", "polls", "wakeups", "slices"
    }  # fmt: skip
    assert set(before.values()) == {0}
    for _ in range(10):
        loop.call_soon(lambda: None)
    run_ready(loop)
    after = loop.statistics()
    assert after["callbacks"] == 11
    assert after["iterations"] == 1
    assert after["turns"] == after["wakeups"] == 0


def test_host_name(app, loop, host_name):
    assert loop.host_name is None
    run_ready(loop)
    assert loop.host_name is None
    for mode in ("nested", "attached"):
        loop.call_soon(loop.stop)
        drive(loop, mode)
        assert loop.host_name == host_name
    with pytest.raises(AttributeError):
        loop.host_name = "mine"


@pytest.mark.parametrize("value", ["Native", "qt", " "])
def test_an_unknown_host_is_refused(app, loop, monkeypatch, value):
    monkeypatch.setenv("QTINTER_HOST", value)
    loop.set_mode(qtinter.QiLoopMode.OWNER)
    with pytest.raises(RuntimeError, match=r"QTINTER_HOST.*'native' and 'binding'"):
        loop.run_forever()
    loop.set_mode(qtinter.QiLoopMode.GUEST)
    with pytest.raises(RuntimeError, match="QTINTER_HOST"):
        loop.start()
    assert not loop.is_running()
    assert asyncio._get_running_loop() is None


def test_an_empty_host_variable_is_none(app, loop, monkeypatch):
    monkeypatch.setenv("QTINTER_HOST", "")
    loop.call_soon(loop.stop)
    drive(loop, "nested")
    assert loop.host_name in ("native", "binding")


def test_isinstance_of_asyncios_loops(loop):
    assert isinstance(loop, asyncio.SelectorEventLoop)
    assert isinstance(loop, asyncio.BaseEventLoop)
    assert isinstance(loop, _core.Loop)
    assert loop.get_debug() is False
    loop.set_debug(True)
    assert loop.get_debug() is True
    assert "closed=False" in repr(loop)


def test_a_loop_that_was_not_initialised_raises(loop):
    bare = qtinter.QiSelectorEventLoop.__new__(qtinter.QiSelectorEventLoop)
    bare._closed = True  # its finalizer leaves it alone
    with pytest.raises(AttributeError):
        _core.Loop()
    for call in (
        lambda: bare.call_soon(print),
        lambda: bare.add_reader(0, print),
        lambda: bare.run_forever(),
    ):
        with pytest.raises((RuntimeError, AttributeError)):
            call()


@pytest.mark.parametrize("mode", MODES)
def test_callbacks_from_threads_wake_the_loop(app, loop, mode):
    got = []

    def add(i):
        got.append(i)
        if len(got) == 300:
            loop.stop()

    def post(first):
        for i in range(first, first + 100):
            loop.call_soon_threadsafe(add, i)

    threads = [threading.Thread(target=post, args=(i * 100,)) for i in range(3)]
    loop.call_soon(lambda: [thread.start() for thread in threads])
    drive(loop, mode)
    for thread in threads:
        thread.join()
    assert sorted(got) == list(range(300))
    for first in (0, 100, 200):
        mine = [i for i in got if first <= i < first + 100]
        assert mine == sorted(mine), "in the order of the calls, per thread"


def test_a_due_timer_runs_in_the_next_iteration_of_a_hot_chain(loop):
    """Although the clock is not read for each quick callback, nor the kernel asked."""
    near, far = socket.socketpair()
    near.setblocking(False)
    trace, runs = [], 0

    def chain():
        nonlocal runs
        runs += 1
        if runs < 100:
            loop.call_soon(chain)
        else:
            end = time.monotonic() + 0.002  # far more than the readings may be old
            while time.monotonic() < end:
                pass
            far.send(b"x")
            loop.call_later(0, trace.append, "timer")
            loop.call_soon(first)

    def first():
        trace.append("first")
        loop.call_soon(trace.append, "second")
        loop.call_soon(loop.stop)

    with near, far:
        loop.add_reader(near, lambda: trace.append(near.recv(1)))
        loop.call_soon(chain)
        loop.run_forever()
        loop.remove_reader(near)
    assert trace == ["first", b"x", "timer", "second"]


def test_async_generator_hooks_and_origin_tracking_are_restored(app, loop):
    import sys

    before = sys.get_asyncgen_hooks(), sys.get_coroutine_origin_tracking_depth()
    loop.set_debug(True)
    for mode in MODES:
        seen = []

        def look(seen=seen):
            seen.append(sys.get_asyncgen_hooks().firstiter is not None)
            seen.append(sys.get_coroutine_origin_tracking_depth() > 0)
            loop.stop()

        loop.call_soon(look)
        drive(loop, mode)
        assert seen == [True, True]
        now = sys.get_asyncgen_hooks(), sys.get_coroutine_origin_tracking_depth()
        assert now == before
