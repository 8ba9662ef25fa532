"""The loop core under a hand-cranked host: order and counts, no Qt and no clock."""

import asyncio
import os
import random
import sys

import pytest

import qtinter
from qtinter import _core

from . import fake_host
from .fake_host import FakeHost, attached, run_nested

MS = 1_000_000
TICK = 1_953_125  # 1/512 s: exact in nanoseconds and as a float


@pytest.fixture
def loop(request):
    loop = qtinter.new_event_loop()
    loop.set_mode(qtinter.QiLoopMode.GUEST)
    yield loop
    loop.close()
    request.node.funcargs.clear()  # pytest holds the loop beyond no_leaks otherwise


@pytest.fixture
def host(loop):
    host = FakeHost()
    with attached(loop, host):
        host.settle()
        host.calls.clear()
        yield host


def wakes(host):
    return host.calls.count("wake")


# --- turns ---------------------------------------------------------------------------


def test_attaching_starts_the_host_and_asks_for_one_turn(loop):
    ran = []
    loop.call_soon(ran.append, "queued before")
    host = FakeHost()
    with attached(loop, host):
        assert host.calls == ["start", "wake"]
        assert ran == []
        if _core.poller == "epoll":
            assert os.readlink(f"/proc/self/fd/{host.fd}") == "anon_inode:[eventpoll]"
        assert host.settle() == 1
        assert ran == ["queued before"]
        assert loop.host_name == "fake"
    assert host.calls[-1] == "stop"
    assert loop.host_name == "fake"


def test_many_call_soon_ask_for_one_wakeup(loop, host):
    ran = []
    for i in range(100):
        loop.call_soon(ran.append, i)
    assert wakes(host) == 1
    assert ran == []
    assert host.settle() == 1
    assert ran == list(range(100))
    loop.call_soon(ran.append, "again")
    assert wakes(host) == 2


def test_call_soon_threadsafe_on_the_loop_thread_asks_once(loop, host):
    ran = []
    for i in range(5):
        loop.call_soon_threadsafe(ran.append, i)
    assert wakes(host) == 1
    host.settle()
    assert ran == [0, 1, 2, 3, 4]


def test_call_soon_inside_a_turn_asks_for_nothing(loop, host):
    ran = []

    def first():
        loop.call_soon(ran.append, "second")
        loop.call_soon_threadsafe(ran.append, "third")

    loop.call_soon(first)
    assert host.settle() == 1
    assert ran == ["second", "third"]
    assert wakes(host) == 1


def test_callbacks_of_callbacks_run_in_the_next_iteration(loop, host):
    ran = []

    def first():
        ran.append("first")
        loop.call_soon(ran.append, "child")

    before = loop.statistics()["iterations"]
    loop.call_soon(first)
    loop.call_soon(ran.append, "second")
    host.settle()
    assert ran == ["first", "second", "child"]
    assert loop.statistics()["iterations"] - before >= 2


def test_a_turn_inside_a_turn_runs_nothing_and_pauses_the_watch(loop, host):
    ran = []

    def outer():
        loop.call_soon(ran.append, "inner")
        host.turn(fake_host.TURN_FD)
        host.turn(fake_host.TURN_WAKE)
        host.turn(fake_host.TURN_FD)
        ran.append(("outer ends", host.watching))

    loop.call_soon(outer)
    host.settle()
    assert ran == [("outer ends", False), "inner"]
    assert host.watching
    assert host.calls == ["wake", "watch 0", "watch 1"]


def test_a_turn_that_arrives_after_stop_does_nothing(loop, host):
    ran = []
    loop.call_soon(ran.append, "never here")
    turn = host.turn
    loop.stop()
    assert not loop.is_running()
    turn(fake_host.TURN_WAKE)
    turn(fake_host.TURN_FD)
    assert ran == []
    assert loop.statistics()["callbacks"] == 0
    loop.call_soon(ran.append, "nor this")
    assert host.calls == ["wake", "stop"]


def test_a_turn_that_arrives_after_the_loop_is_gone_does_nothing():
    loop = qtinter.new_event_loop()
    loop.set_mode(qtinter.QiLoopMode.GUEST)
    host = FakeHost()
    with attached(loop, host):
        pass
    loop.close()
    del loop
    host.turn(fake_host.TURN_WAKE)
    host.turn(fake_host.TURN_FD)


def test_turn_refuses_a_reason_that_is_no_number(loop, host):
    with pytest.raises(TypeError):
        host.turn("soon")
    with pytest.raises(TypeError):
        host.turn()


def test_the_slice_ends_a_turn_and_the_rest_of_the_batch_is_first(loop, host):
    loop.slice_ms = 2
    ran = []

    def step(i):
        ran.append(i)
        loop.call_soon(ran.append, -i)
        host.clock += 1 * MS

    for i in range(1, 6):
        loop.call_soon(step, i)
    loop.call_at(0.5e-3, ran.append, "timer")
    host.crank()
    assert ran == [1, 2]
    polls = loop.statistics()["polls"]
    assert host.woken, "the rest needs a turn"
    host.crank()
    assert ran == [1, 2, 3, 4]
    assert loop.statistics()["polls"] == polls, "the batch goes on before a poll"
    host.settle()
    assert ran == [1, 2, 3, 4, 5, -1, -2, -3, -4, -5, "timer"]
    assert loop.statistics()["slices"] == 2


def test_stop_waits_for_the_rest_of_a_sliced_batch(loop, host):
    loop.slice_ms = 1
    ran = []

    def step(i):
        ran.append(i)
        host.clock += 2 * MS

    loop.call_soon(loop.stop)
    for i in range(3):
        loop.call_soon(step, i)
    loop.call_soon(loop.call_soon, ran.append, "next iteration")
    host.settle()
    assert ran == [0, 1, 2]
    assert not loop.is_running()


def test_slow_callbacks_give_a_turn_each(loop, host):
    def slow():
        host.clock += 50 * MS

    for _ in range(10):
        loop.call_soon(slow)
    assert host.settle() in (10, 11)  # the last one may find nothing to do
    assert loop.statistics()["slices"] == 10


# --- stop ----------------------------------------------------------------------------


def test_stop_outside_a_callback_is_immediate(loop, host):
    loop.stop()
    assert not loop.is_running()
    assert asyncio._get_running_loop() is None
    assert host.calls == ["stop"]


def test_stop_in_a_callback_ends_after_the_iteration(loop, host):
    ran = []

    def first():
        loop.stop()
        ran.append(("running", loop.is_running()))
        loop.call_soon(ran.append, "next iteration")

    loop.call_soon(first)
    loop.call_soon(ran.append, "same iteration")
    host.settle()
    assert ran == [("running", True), "same iteration"]
    assert not loop.is_running()


def test_a_loop_can_be_attached_again(loop):
    ran = []
    for i in range(3):
        host = FakeHost()
        with attached(loop, host):
            loop.call_soon(ran.append, i)
            host.settle()
            loop.stop()
    assert ran == [0, 1, 2]


def test_attaching_twice_is_refused(loop, host):
    with pytest.raises(RuntimeError, match="already running"):
        loop._attach(FakeHost())
    with pytest.raises(RuntimeError, match="already running"):
        loop._run_nested(FakeHost())


# --- nested --------------------------------------------------------------------------


def test_nested_run_ends_with_leave(loop):
    host = FakeHost()
    host.on_enter = host.run_until_left
    ran = []
    loop.set_mode(qtinter.QiLoopMode.OWNER)
    loop.call_later(5, loop.stop)
    loop.call_later(3, ran.append, 3)
    loop.call_later(9, ran.append, 9)
    host.clock = round(loop.time() * 1e9)
    run_nested(loop, host)
    assert ran == [3]
    assert host.calls[:3] == ["start", "wake", "enter"]
    assert host.calls[-2:] == ["leave", "stop"]


def test_nested_run_that_others_end(loop):
    host = FakeHost()
    run_nested(loop, host)  # code 0: returns
    host.on_enter = lambda: 7
    with pytest.raises(RuntimeError, match="Qt event loop exited with code '7'"):
        run_nested(loop, host)
    host.on_enter = lambda: -1
    with pytest.raises(RuntimeError, match="exited with code '-1'"):
        run_nested(loop, host)


@pytest.mark.parametrize("kind", [SystemExit, KeyboardInterrupt])
def test_nested_run_raises_what_ended_it(loop, kind):
    exception = kind(3)
    host = FakeHost()
    host.on_enter = host.run_until_left
    ran = []

    def fail():
        raise exception

    loop.set_mode(qtinter.QiLoopMode.OWNER)
    loop.call_soon(fail)
    loop.call_soon(ran.append, "not in this run")
    with pytest.raises(kind) as info:
        run_nested(loop, host)
    assert info.value is exception
    assert ran == []


@pytest.mark.parametrize("kind", [SystemExit, KeyboardInterrupt])
def test_attached_run_keeps_what_ended_it_and_quits_the_host(loop, host, kind):
    exception = kind(3)

    def fail():
        raise exception

    loop.call_soon(fail)
    host.settle()
    assert not loop.is_running()
    assert loop._interruption is exception
    assert host.calls[-2:] == ["quit", "stop"]


# --- broken hosts --------------------------------------------------------------------


def test_a_host_needs_all_its_methods(loop):
    for name in ("start", "stop", "watch", "wake", "enter", "leave", "quit", "depth"):

        class Missing(FakeHost):
            def __getattribute__(self, attribute, name=name):
                if attribute == name:
                    raise AttributeError(name)
                return super().__getattribute__(attribute)

        with pytest.raises(TypeError, match=rf"no method {name}\(\)"):
            loop._attach(Missing())
    for thing in (None, 5, object(), "host"):
        with pytest.raises(TypeError, match="cannot be a host"):
            loop._run_nested(thing)


def test_a_start_that_fails_leaves_the_loop_as_it_was(loop):
    class Failing(FakeHost):
        def start(self, fd, turn):
            raise LookupError("no Qt today")

    with pytest.raises(LookupError, match="no Qt today"):
        loop._attach(Failing())
    assert not loop.is_running()
    host = FakeHost()
    with attached(loop, host):
        assert host.calls[0] == "start"


@pytest.mark.parametrize("result", ["code", None, 1.5])
def test_an_exit_code_must_be_a_number(loop, result):
    host = FakeHost()
    host.on_enter = lambda: result
    with pytest.raises(TypeError):
        run_nested(loop, host)
    assert host.calls[-1] == "stop"
    assert not loop.is_running()


def test_an_exception_of_enter_comes_out(loop):
    host = FakeHost()

    def fail():
        raise LookupError("enter")

    host.on_enter = fail
    with pytest.raises(LookupError, match="enter"):
        run_nested(loop, host)


@pytest.mark.skipif(
    sys.version_info < (3, 8), reason="3.7 has no sys.unraisablehook to see them with"
)
def test_other_exceptions_of_a_host_are_unraisable(loop, monkeypatch):
    seen = []
    monkeypatch.setattr(sys, "unraisablehook", lambda args: seen.append(args.exc_type))

    class Failing(FakeHost):
        def wake(self):
            raise LookupError("wake")

    with attached(loop, Failing()):
        loop.call_soon(print)
    assert seen == [LookupError]


# --- timers --------------------------------------------------------------------------


def test_timers_run_in_order_and_never_early(loop, host):
    ran = []
    for delay in (30, 10, 20):
        loop.call_at(delay * 1e-3, ran.append, delay)
    host.settle()
    assert host.deadline == 10 * MS
    host.advance(10 * MS - 1)
    assert ran == []
    host.advance(1)
    assert ran == [10]
    assert host.deadline == 20 * MS
    host.advance(100 * MS)
    assert ran == [10, 20, 30]
    assert host.deadline == -1


def test_equal_deadlines_run_first_in_first_out(loop, host):
    ran = []
    for i in range(50):
        loop.call_at(1.0, ran.append, i)
    host.advance(2_000 * MS)
    assert ran == list(range(50))


def test_call_later_counts_from_now(loop, host):
    host.clock = 5_000 * MS
    assert loop.time() == 5.0
    handle = loop.call_later(2.5, print)
    assert handle.when() == 7.5
    handle.cancel()


def test_due_timers_follow_what_is_ready(loop, host):
    ran = []
    loop.call_at(0, ran.append, "timer")
    loop.call_soon(ran.append, "ready")
    host.settle()
    assert ran == ["ready", "timer"]


def test_a_timer_is_not_due_within_its_own_iteration(loop, host):
    ran = []

    def again():
        ran.append(len(ran))
        if len(ran) < 5:
            loop.call_later(0, again)

    before = loop.statistics()["iterations"]
    loop.call_soon(again)
    host.settle()
    assert ran == [0, 1, 2, 3, 4]
    assert loop.statistics()["iterations"] - before >= 5


@pytest.mark.parametrize("when", [float("-inf"), -1e300, -1.0, 0.0])
def test_deadlines_in_the_past_are_due_at_once(loop, host, when):
    ran = []
    loop.call_at(when, ran.append, when)
    host.settle()
    assert ran == [when]


@pytest.mark.parametrize("when", [float("inf"), 1e300, 1e10])
def test_far_deadlines_do_not_wake(loop, host, when):
    handle = loop.call_at(when, print)
    host.advance(3600 * 1000 * MS)
    assert handle.when() == when
    assert not host.crank()
    handle.cancel()


def test_cancelled_timers_do_not_run_and_are_dropped(loop, host):
    ran = []
    handles = [loop.call_at(i, ran.append, i) for i in range(1, 1001)]
    for handle in handles[::2]:
        handle.cancel()
    for handle in handles[400:]:
        handle.cancel()
    assert loop._timer_cancelled_count == 800
    loop.call_soon(lambda: None)
    host.settle()
    assert loop._timer_cancelled_count == 0, "more than half were cancelled"
    assert len(loop._scheduled) == 200
    host.advance(2_000_000 * MS)
    assert ran == list(range(2, 401, 2))


def test_a_timer_cancelled_while_due_does_not_run(loop, host):
    ran = []
    second = None

    def first():
        second.cancel()

    loop.call_at(1, first)
    second = loop.call_at(1, ran.append, "second")
    host.advance(2_000 * MS)
    assert ran == []
    assert second.cancelled()


def test_cancelling_twice_or_after_the_run_counts_once(loop, host):
    handle = loop.call_at(1, lambda: None)
    other = loop.call_at(2, lambda: None)
    other.cancel()
    other.cancel()
    assert loop._timer_cancelled_count == 1
    host.advance(1_500 * MS)
    handle.cancel()
    assert loop._timer_cancelled_count <= 1
    host.advance(1_500 * MS)
    assert loop._timer_cancelled_count == 0


@pytest.mark.parametrize("seed", range(20))
def test_random_timers_agree_with_the_model(loop, host, seed):
    """The model: of all pending (when, number), those that are due, in order."""
    rng = random.Random(seed)
    pending, handles, ran = {}, {}, []
    held = None
    for number in range(600):
        action = rng.random()
        if action < 0.5:
            # Few different deadlines: many equal ones.
            when = (host.clock // TICK + rng.randint(-1, 20)) / 512
            pending[number] = when
            handles[number] = loop.call_at(when, ran.append, number)
        elif action < 0.65 and pending:
            key = rng.choice(list(pending))
            handles[key].cancel()
            del pending[key]
        elif action < 0.7:
            # Somebody looks at the heap, and may keep it for a while.
            held = loop._scheduled if held is None else None
        else:
            ran.clear()
            host.advance(rng.randint(0, 5) * TICK)
            end = loop.time() + loop._clock_resolution
            due = [key for key, when in pending.items() if when < end]
            due.sort(key=lambda key: (pending[key], key))
            for key in due:
                del pending[key]
            if held is None:
                assert ran == due
            else:
                # heapq has no order among equal deadlines.
                assert sorted(ran) == sorted(due)
    held = None
    alive = [handle for handle in loop._scheduled if not handle.cancelled()]
    assert sorted(handle.when() for handle in alive) == sorted(pending.values())
    for handle in alive:
        handle.cancel()


def test_timers_fire_while_somebody_holds_the_heap(loop, host):
    """loop._scheduled is the queue for as long as it is held."""
    ran = []
    loop.call_at(1, ran.append, 1)
    heap = loop._scheduled
    loop.call_at(2, ran.append, 2)
    host.settle()
    assert host.deadline == 1_000 * MS
    host.advance(1_000 * MS)
    assert ran == [1]
    assert host.deadline == 2_000 * MS
    host.advance(1_000 * MS)
    assert ran == [1, 2]
    assert heap == []


# --- modal functions -----------------------------------------------------------------


def test_modal_function_runs_after_the_callback_before_the_others(loop, host):
    ran = []

    def callback():
        loop.exec_modal(lambda: ran.append("modal"))
        ran.append("callback")

    loop.call_soon(callback)
    loop.call_soon(ran.append, "other")
    host.settle()
    assert ran == ["callback", "modal", "other"]


def test_turns_inside_a_modal_function_run_callbacks(loop, host):
    ran = []

    def modal():
        assert asyncio.current_task() is None
        ran.append(("watching", host.watching))
        host.settle()
        loop.call_soon(ran.append, "from modal")
        host.settle()
        ran.append("modal ends")

    loop.call_soon(loop.exec_modal, modal)
    loop.call_soon(ran.append, "other")
    host.settle()
    assert ran == [("watching", True), "other", "from modal", "modal ends"]


def test_a_timer_fires_inside_a_modal_function(loop, host):
    ran = []

    def modal():
        host.advance(10 * MS)
        ran.append("modal ends")

    loop.call_at(5e-3, ran.append, "timer")
    loop.call_soon(loop.exec_modal, modal)
    host.settle()
    assert ran == ["timer", "modal ends"]


def test_modal_functions_nest(loop, host):
    ran = []

    def inner():
        ran.append("inner")
        host.settle()

    def outer():
        loop.call_soon(loop.exec_modal, inner)
        loop.call_soon(ran.append, "beside")
        host.settle()
        ran.append("outer ends")

    loop.call_soon(loop.exec_modal, outer)
    host.settle()
    assert ran == ["inner", "beside", "outer ends"]
    assert loop._modal_depth == 0


def test_stop_inside_a_modal_function_takes_effect_after_it(loop, host):
    ran = []

    def modal():
        loop.stop()
        loop.call_soon(ran.append, "too late")
        host.settle()
        ran.append(("running", loop.is_running()))

    loop.call_soon(loop.exec_modal, modal)
    host.settle()
    assert ran == [("running", True)]
    assert not loop.is_running()


def test_stop_then_modal_still_runs_the_rest_of_the_iteration(loop, host):
    ran = []

    def callback():
        loop.stop()
        loop.exec_modal(lambda: ran.append("modal"))

    loop.call_soon(callback)
    loop.call_soon(ran.append, "same iteration")
    host.settle()
    assert not loop.is_running()
    assert ran == ["modal", "same iteration"]


def test_exec_modal_errors(loop, host):
    errors = []

    def attempt(fn):
        try:
            loop.exec_modal(fn)
        except Exception as exc:
            errors.append((type(exc), str(exc)))

    attempt(print)
    assert errors.pop()[1] == ("exec_modal must be called from a coroutine or callback")

    def callback():
        attempt(None)
        attempt(lambda: attempt(print))
        attempt(print)

    loop.call_soon(callback)
    host.settle()
    kinds = [kind for kind, _ in errors]
    assert kinds == [TypeError, RuntimeError, RuntimeError]
    assert "callable" in errors[0][1]
    assert "already scheduled and pending" in errors[1][1]
    assert "must be called from a coroutine or callback" in errors[2][1]


def test_an_exception_of_a_modal_function_is_reported(loop, host):
    reports, ran = [], []
    loop.set_exception_handler(lambda loop, context: reports.append(context))

    def modal():
        raise LookupError("modal")

    loop.call_soon(loop.exec_modal, modal)
    loop.call_soon(ran.append, "goes on")
    host.settle()
    assert [type(report["exception"]) for report in reports] == [LookupError]
    assert "exec_modal" in reports[0]["message"]
    assert ran == ["goes on"]


@pytest.mark.parametrize("kind", [SystemExit, KeyboardInterrupt])
def test_an_interrupt_in_a_modal_function_ends_the_run(loop, host, kind):
    exception = kind(3)

    def modal():
        raise exception

    loop.call_soon(loop.exec_modal, modal)
    host.settle()
    assert not loop.is_running()
    assert loop._interruption is exception


@pytest.mark.parametrize("kind", [SystemExit, KeyboardInterrupt])
def test_an_interrupt_in_a_callback_inside_a_modal_function(loop, host, kind):
    exception = kind(3)
    ran = []

    def fail():
        raise exception

    def modal():
        loop.call_soon(fail)
        loop.call_soon(ran.append, "never here")
        host.settle()
        ran.append(("running", loop.is_running()))

    loop.call_soon(loop.exec_modal, modal)
    host.settle()
    assert ran == [("running", False)]
    assert loop._interruption is exception
    assert loop._modal_depth == 0


# --- interrupts handed over by slots -------------------------------------------------


def test_interrupt_from_a_slot_ends_the_run(loop, host):
    exception = SystemExit(4)
    loop._interrupt(exception)
    assert not loop.is_running()
    assert loop._interruption is exception
    assert host.calls == ["quit", "stop"]


def test_interrupt_from_inside_a_callback_ends_the_run_after_it(loop, host):
    exception, ran = KeyboardInterrupt(), []

    def callback():
        loop._interrupt(exception)
        loop._interrupt(SystemExit(9))
        ran.append(loop.is_running())

    loop.call_soon(callback)
    loop.call_soon(ran.append, "not run")
    host.settle()
    assert ran == [True]
    assert loop._interruption is exception


def test_interrupt_takes_exceptions_only(loop, host):
    for thing in (None, 5, KeyboardInterrupt, "stop"):
        with pytest.raises(TypeError):
            loop._interrupt(thing)
    assert loop.is_running()
