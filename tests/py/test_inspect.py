"""qtinter.inspect: what the core and the package write into the segment."""

import asyncio
import functools
import gc
import os
import socket
import sys
import threading
import time

import pytest

import qtinter
from qtinter import _core, _probe, inspect
from qtinter._tasks import coroutine_of
from qtinter.inspect import model

from .driving import create_named as create

MODES = ("attached", "nested", "native")

# Of the thread that runs the tests; 3.7 tells no other.
native_id = getattr(threading, "get_native_id", os.getpid)


class Shown:
    """What the segment of this process shows, in words."""

    def tasks(self, ended=True):
        return {task["name"]: task for task in inspect.snapshot().tasks(ended)}

    def task(self, name):
        return self.tasks()[name]

    def waits_for(self, name):
        return self.task(name)["waits_for"]["kind"]

    def slots(self, ended=False):
        return inspect.snapshot().slots(ended)

    def waits(self, ended=False):
        return inspect.snapshot().waits(ended)

    def loops(self, ended=False):
        return inspect.snapshot().loops(ended)

    def rows(self, kind, ended=False):
        return list(inspect.snapshot().of_kind(kind, ended))

    def events(self, *names):
        """The records of these kinds, oldest first."""
        process = inspect.snapshot()
        found = [process.event(record) for record in process.records]
        return [event for event in found if event["event"] in names]

    def names(self, *names):
        return [event["event"] for event in self.events(*names)]


@pytest.fixture
def off(no_leaks):
    """Inspection is off, also if the environment has switched it on."""
    was_on = inspect.is_enabled()
    inspect.disable()
    yield
    inspect.disable()
    if was_on:
        inspect.enable_from_environment()


@pytest.fixture
def shown(off, tmp_path):
    """Inspection is on, at level 2; the test leaves nothing known."""
    inspect.enable(connect=False, directory=tmp_path)
    yield Shown()
    if inspect.is_enabled():
        gc.collect()
        assert inspect.statistics()["known"] == 0
        assert _probe.active is None or _probe.active.on


def run_native(coro):
    loop = qtinter.new_event_loop()
    loop.set_mode(qtinter.QiLoopMode.NATIVE)
    try:
        return loop.run_until_complete(coro)
    finally:
        loop.close()


@pytest.fixture(params=MODES)
def run_mode(request, app, run_attached):
    """run_mode(coro) in each of the three modes of a qtinter loop."""
    if request.param == "attached":
        return run_attached
    return qtinter.run if request.param == "nested" else run_native


async def settle(rounds=4):
    for _ in range(rounds):
        await asyncio.sleep(0)


async def wait(future):
    await future


def name_this_task(name):
    if sys.version_info >= (3, 8):
        asyncio.current_task().set_name(name)


tasks_have_names = pytest.mark.skipif(
    sys.version_info < (3, 8), reason="3.7's tasks have no names to find them by"
)


async def end(*tasks):
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)


# --- tasks ---------------------------------------------------------------------------


def test_a_life(shown, run_mode):
    async def main():
        future = asyncio.get_running_loop().create_future()
        name_this_task("main")
        await asyncio.sleep(0)
        task = create(wait(future), "life")
        me = next(t for t in shown.tasks().values() if t["state"] == "running")
        made = next(t for t in shown.tasks().values() if t["state"] == "ready")
        assert made["code"]["name"] == "wait"
        assert made["code"]["file"] == __file__
        assert made["creator"].startswith(f"task {me['id']} ")
        await settle()
        waiting = shown.task("life")
        assert (waiting["state"], waiting["steps"]) == ("waiting", 1)
        assert waiting["waits_for"] == {"kind": "future", "text": "future"}
        future.set_result(None)
        await settle()
        done = shown.task("life")
        assert (done["state"], done["steps"], done["wakes"]) == ("done", 2, 1)
        assert done["woken_by"].startswith("callback") or done["woken_by"].startswith(
            f"task {me['id']} "
        )
        assert done["id"] == waiting["id"]
        assert done["exception"] is None
        assert task.done()
        ident = done["id"]
        life = [
            event["event"]
            for event in shown.events(
                "task_created", "task_step", "task_wait", "task_wake", "task_ended"
            )
            if event["task"] == ident
        ]
        assert life == [
            "task_created", "task_step", "task_wait", "task_wake", "task_step",
            "task_ended",
        ]  # fmt: skip

    run_mode(main())
    assert shown.tasks(ended=False) == {}


def test_how_tasks_end(shown, run_mode):
    async def fail():
        await asyncio.sleep(0)
        raise LookupError("no")

    async def fail_at_once():
        raise KeyError

    async def main():
        failing = create(fail(), "failing")
        at_once = create(fail_at_once(), "at once")
        cancelled = create(asyncio.sleep(99), "cancelled")
        early = create(asyncio.sleep(99), "early")
        early.cancel()
        await settle()
        cancelled.cancel()
        await asyncio.wait([failing, at_once, cancelled, early])
        failing.exception(), at_once.exception()
        me = shown.task("cancelled")["canceller"]
        assert me.startswith("task ")

    run_mode(main())
    tasks = inspect.snapshot().tasks(ended=True)
    assert [(t["state"], t["exception"]) for t in tasks if t["name"] == "failing"] == [
        ("failed", "LookupError")
    ]
    at_once = shown.task("at once")
    assert (at_once["state"], at_once["exception"]) == ("failed", "KeyError")
    assert [t["state"] for t in tasks if t["code"]["name"] == "sleep"] == [
        "cancelled"
    ] * 2
    assert shown.task("cancelled")["cancels"] == 1


def test_what_tasks_wait_for(shown, run_mode):
    async def outer(task):
        await task

    async def main():
        loop = asyncio.get_running_loop()
        future, lock, release = loop.create_future(), asyncio.Lock(), threading.Event()
        await lock.acquire()

        async def locked():
            async with lock:
                pass

        async def gathering():
            await asyncio.gather(wait(future), asyncio.sleep(99))

        async def in_thread():
            await loop.run_in_executor(None, release.wait)

        async def by_hand():
            return await asyncio.wait_for(wait(future), 99)

        tasks = [create(wait(future), "future"), create(asyncio.sleep(99), "timer")]
        tasks.append(create(outer(tasks[0]), "task"))
        tasks.append(create(locked(), "lock"))
        tasks.append(create(gathering(), "gather"))
        tasks.append(create(in_thread(), "job"))
        await settle()
        assert shown.waits_for("future") == "future"
        assert shown.waits_for("timer") == "timer"
        assert shown.task("timer")["waits_for"]["text"].startswith("sleep, 9")
        waits = shown.task("task")["waits_for"]
        assert waits["kind"] == "task"
        assert waits["id"] == shown.task("future")["id"]
        assert shown.waits_for("lock") == "future"
        assert shown.waits_for("gather") == "gather"
        assert shown.waits_for("job") == "job"
        (job,) = shown.rows(model.JOB)
        assert job["task"] == shown.task("job")["id"]
        assert "wait" in inspect.snapshot().code_text(job["code"])
        release.set()
        await tasks.pop()
        assert shown.rows(model.JOB) == []
        assert shown.names("job_submitted", "job_ended") == [
            "job_submitted",
            "job_ended",
        ]
        await end(*tasks)

    run_mode(main())
    assert shown.rows(model.TIMER) == []


def test_who_wakes(shown, run_mode):
    async def sleeper():
        await asyncio.sleep(0)
        await asyncio.sleep(0.001)

    async def main():
        loop = asyncio.get_running_loop()
        future, from_thread = loop.create_future(), loop.create_future()

        async def waker():
            future.set_result(None)

        task, slow = create(wait(future), "woken"), create(sleeper(), "sleeper")
        foreign = create(wait(from_thread), "foreign")
        await settle()
        await create(waker(), "waker")
        await task
        thread = threading.Thread(
            target=loop.call_soon_threadsafe, args=(from_thread.set_result, None)
        )
        thread.start()
        await asyncio.wait([slow, foreign])
        thread.join()
        waker = next(
            t for t in shown.tasks().values() if t["code"]["name"].endswith("waker")
        )
        assert shown.task("woken")["woken_by"].startswith(f"task {waker['id']} ")
        assert shown.task("sleeper")["woken_by"].startswith("timer")
        assert shown.task("sleeper")["self_wakes"] == 1
        assert "set_result" in shown.task("foreign")["woken_by"]

    run_mode(main())


def test_a_cancelled_future_is_no_cancellation_of_its_waiter(shown, app):
    if sys.version_info < (3, 11):
        pytest.skip("asyncio counts requests to cancel from 3.11 on")

    async def catches(future):
        try:
            await future
        except asyncio.CancelledError:
            await asyncio.sleep(0)

    async def main():
        future = asyncio.get_running_loop().create_future()
        task = create(catches(future), "waiter")
        await settle()
        future.cancel()
        await task

    run_native(main())
    task = shown.task("waiter")
    assert (task["state"], task["cancels"], task["canceller"]) == ("done", 0, None)


def test_a_cancellation_that_is_refused_is_shown(shown, app):
    async def stubborn():
        try:
            await asyncio.sleep(99)
        except asyncio.CancelledError:
            await asyncio.sleep(99)

    async def main():
        task = create(stubborn(), "stubborn")
        await settle()
        task.cancel()
        await settle()
        assert shown.task("stubborn")["state"] == "cancelling"
        assert shown.task("stubborn")["cancels"] == 1
        task.cancel()
        await asyncio.wait([task])

    run_native(main())


@tasks_have_names
def test_tasks_of_other_makes(shown, run_mode):
    """asyncio.Task(...), a factory's tasks, a subclass, tasks in Python."""

    class Own(asyncio.Task):
        pass

    async def main():
        loop = asyncio.get_running_loop()
        future = loop.create_future()
        python = asyncio.tasks._PyTask
        tasks = [
            asyncio.Task(wait(future), loop=loop, name="direct"),
            Own(wait(future), loop=loop, name="own"),
            python(wait(future), loop=loop, name="python"),
        ]
        loop.set_task_factory(lambda loop, coro, **kw: Own(coro, loop=loop, **kw))
        tasks.append(create(wait(future), "factory"))
        loop.set_task_factory(None)
        await settle()
        names = ("direct", "own", "python", "factory")
        for name in names:
            assert shown.task(name)["state"] == "waiting", name
            assert shown.waits_for(name) == "future"
            assert shown.task(name)["code"]["name"] == "wait"
        future.set_result(None)
        await asyncio.wait(tasks)
        for name in names:
            assert (shown.task(name)["state"], shown.task(name)["steps"]) == ("done", 2)

    run_mode(main())


@tasks_have_names
def test_methods_of_tasks_as_callbacks_are_no_steps(shown, app):
    class Own(asyncio.Task):
        def poke(self):
            pass

    async def main():
        loop = asyncio.get_running_loop()
        task = Own(asyncio.sleep(99), loop=loop, name="poked")
        await settle()
        for callback in (task.poke, task.get_name, task.cancelled):
            loop.call_soon(callback)
        await settle()
        assert (shown.task("poked")["steps"], shown.task("poked")["wakes"]) == (1, 0)
        assert shown.task("poked")["state"] == "waiting"
        loop.call_soon(task.cancel)
        await asyncio.wait([task])
        assert shown.task("poked")["steps"] == 2
        assert "cancel" in shown.task("poked")["canceller"]

    run_native(main())


@pytest.mark.skipif(sys.version_info < (3, 12), reason="eager tasks came with 3.12")
def test_eager_tasks(shown, run_mode):
    async def at_once():
        pass

    async def main():
        loop = asyncio.get_running_loop()
        future = loop.create_future()
        loop.set_task_factory(asyncio.eager_task_factory)
        over = create(at_once(), "over")
        waits = create(wait(future), "waits")
        loop.set_task_factory(None)
        assert over.done()
        assert shown.waits_for("waits") == "future"
        future.set_result(None)
        await waits
        assert shown.task("waits")["state"] == "done"
        ended = [
            t for t in shown.tasks().values() if t["code"]["name"].endswith("at_once")
        ]
        assert [t["state"] for t in ended] == ["done"]

    run_mode(main())


@tasks_have_names
def test_first_step_of_run_task(shown, run_mode):
    async def inner(future):
        child = create(asyncio.sleep(0), "child")
        await future
        await child

    async def main():
        future = asyncio.get_running_loop().create_future()
        task = qtinter.run_task(inner(future), name="outer")
        outer = shown.task("outer")
        assert (outer["state"], outer["steps"]) == ("waiting", 1)
        assert outer["code"]["name"].endswith("inner")
        running = [t for t in shown.tasks().values() if t["state"] == "running"]
        assert len(running) == 1, "the caller runs on"
        child = next(t for t in shown.tasks().values() if t["code"]["name"] == "sleep")
        assert child["creator"].startswith(f"task {outer['id']} ")
        future.set_result(None)
        await task
        assert shown.task("outer")["state"] == "done"

    run_mode(main())


def test_run_task_without_a_name(shown, run_mode):
    async def inner(future):
        await future

    async def main():
        future = asyncio.get_running_loop().create_future()
        task = qtinter.run_task(inner(future))
        found = [t for t in shown.tasks().values() if t["state"] == "waiting"]
        assert [t["code"]["name"].rpartition(".")[2] for t in found] == ["inner"]
        assert [t["steps"] for t in found] == [1]
        future.set_result(None)
        await task

    run_mode(main())


def test_run_task_that_fails_at_once(shown, run_mode):
    async def fail():
        raise LookupError

    async def main():
        task = qtinter.run_task(fail())
        with pytest.raises(LookupError):
            await task
        made = [t for t in shown.tasks().values() if t["code"]["name"].endswith("fail")]
        assert [(t["state"], t["exception"]) for t in made] == [
            ("failed", "LookupError")
        ]

    run_mode(main())


def test_the_names_of_many_tasks_take_no_room(shown, app):
    async def main():
        for _ in range(3):
            await asyncio.gather(*(asyncio.sleep(0) for _ in range(100)))

    run_native(main())
    before = len(inspect.snapshot().entries)
    run_native(main())
    assert len(inspect.snapshot().entries) == before


def test_a_task_that_dies_pending(shown, app):
    """Its address may be another one's soon."""

    async def main():
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda loop, context: None)

        async def lost():
            await loop.create_future()

        task = create(lost(), "lost")
        await settle()
        del task
        gc.collect()
        assert shown.task("lost")["state"] == "destroyed"
        silent = create(lost(), "silent")
        await settle()
        silent._log_destroy_pending = False
        address = id(silent)
        del silent
        gc.collect()
        kept = []
        for _ in range(1000):
            task = create(asyncio.sleep(0), "heir")
            if id(task) == address:
                break
            kept.append(task)
        else:
            return  # the allocator did not give the address again
        await asyncio.wait([*kept, task])
        assert shown.task("silent")["state"] == "destroyed"
        heir = inspect.snapshot().tasks(ended=True)[-1]
        assert (heir["code"]["name"], heir["state"]) == ("sleep", "done")

    run_native(main())
    assert "task_destroyed" in shown.names("task_destroyed")


def test_an_exception_that_nobody_retrieves(shown, app):
    async def fail():
        raise LookupError

    async def main():
        asyncio.get_running_loop().set_exception_handler(lambda loop, context: None)
        task = create(fail(), "failing")
        await settle()
        del task
        gc.collect()

    run_native(main())
    (event,) = shown.events("task_unretrieved")
    assert event["exception"] == "LookupError"


# --- tasks from before ---------------------------------------------------------------


def test_tasks_that_exist_when_it_begins(off, tmp_path, run_mode):
    shown = Shown()

    async def main():
        loop = asyncio.get_running_loop()
        name_this_task("main")
        future = loop.create_future()
        tasks = [create(wait(future), "waits"), create(asyncio.sleep(0.01), "sleeps")]
        tasks.append(create(wait(tasks[0]), "waits for task"))
        await settle()
        tasks.append(create(asyncio.sleep(0), "new"))
        inspect.enable(connect=False, directory=tmp_path)
        assert [loop["state"] for loop in shown.loops()] == ["busy"]
        assert shown.waits_for("sleeps") == "timer", "timers are adopted too"
        assert shown.rows(model.WATCH), "and watches: of the loop's own socket"
        states = {t["name"]: t["state"] for t in shown.tasks().values()}
        assert states["waits"] == states["sleeps"] == "waiting"
        assert sorted(states.values()) == ["ready", "running", *["waiting"] * 3]
        assert shown.waits_for("waits for task") == "task"
        made = create(asyncio.sleep(0), "made")
        await settle()
        main = next(t for t in shown.tasks().values() if t["state"] == "running")
        assert main["code"]["name"].endswith("main")
        ids = {t["id"] for t in shown.tasks().values() if "main" in t["creator"]}
        assert ids, "what the enabling step made is its doing"
        future.set_result(None)
        await asyncio.wait([*tasks, made])
        assert shown.task("waits")["state"] == "done"

    run_mode(main())
    assert shown.tasks(ended=False) == {}
    assert inspect.statistics()["known"] == 0


def test_the_step_that_enables_is_seen_to_wait(off, tmp_path, run_mode):
    shown = Shown()

    async def enabling():
        inspect.enable(connect=False, directory=tmp_path)
        await asyncio.sleep(99)

    async def main():
        task = create(enabling(), "enabling")
        await settle()
        assert shown.task("enabling")["state"] == "waiting"
        assert shown.waits_for("enabling") == "timer"
        await end(task)
        assert shown.task("enabling")["state"] == "cancelled"

    run_mode(main())
    assert inspect.statistics()["known"] == 0


def test_a_callback_that_enables(off, tmp_path, run_mode):
    async def main():
        loop = asyncio.get_running_loop()
        loop.call_soon(
            functools.partial(inspect.enable, connect=False, directory=tmp_path)
        )
        await settle()
        assert [loop["state"] for loop in Shown().loops()] == ["busy"]

    run_mode(main())
    assert inspect.statistics()["known"] == 0


# --- callbacks, timers, watches ------------------------------------------------------


def test_callbacks(shown, run_mode):
    def named():
        pass

    async def main():
        loop = asyncio.get_running_loop()
        loop.call_soon(named)
        loop.call_soon(functools.partial(named))
        loop.call_soon(len, ())
        await settle()

    run_mode(main())
    codes = [event["code"] for event in shown.events("callback")]
    assert sum("named" in code for code in codes) == 2
    assert "len" in codes


def test_a_callback_that_raises(shown, run_mode):
    def fail():
        raise LookupError

    async def main():
        loop = asyncio.get_running_loop()
        contexts = []
        loop.set_exception_handler(lambda loop, context: contexts.append(context))
        loop.call_soon(fail)
        await settle()
        assert [type(c["exception"]) for c in contexts] == [LookupError]

    run_mode(main())
    assert any("fail" in event["code"] for event in shown.events("callback"))


def test_timers(shown, run_mode):
    async def main():
        loop = asyncio.get_running_loop()
        fired = loop.create_future()
        base = len(shown.rows(model.TIMER))
        late = loop.call_later(99, fired.set_result, None)
        soon = loop.call_later(0.001, fired.set_result, None)
        timers = inspect.snapshot().timers()
        assert len(timers) == base + 2
        due = [
            timer["due_in"] for timer in timers if "set_result" in timer["code"]["name"]
        ]
        assert due[0] < 1 < 90 < due[1] <= 99
        assert timers[0]["task"] is not None
        await fired
        late.cancel()
        late.cancel()
        assert len(shown.rows(model.TIMER)) == base
        del soon
        due_but_cancelled = loop.call_at(loop.time(), fired.cancel)
        loop.call_soon(due_but_cancelled.cancel)
        await settle()
        assert len(shown.rows(model.TIMER)) == base

    run_mode(main())
    assert shown.names("timer_fired").count("timer_fired") >= 1
    assert len(shown.events("timer_cancelled")) >= 2
    assert shown.rows(model.TIMER) == []


def test_watches(shown, run_mode):
    async def main():
        loop = asyncio.get_running_loop()
        base = len(shown.rows(model.WATCH))
        here, there = socket.socketpair()
        readable = loop.create_future()

        def on_readable():
            if not readable.done():
                readable.set_result(None)

        loop.add_reader(here, on_readable)
        loop.add_writer(here, len, ())
        rows = shown.rows(model.WATCH)
        assert len(rows) == base + 1
        assert (rows[-1]["fd"], rows[-1]["events"]) == (here.fileno(), 3)
        loop.remove_writer(here)
        assert shown.rows(model.WATCH)[-1]["events"] == 1
        there.send(b"x")
        await readable
        assert shown.rows(model.WATCH)[-1]["fired"] >= 1
        loop.remove_reader(here)
        assert len(shown.rows(model.WATCH)) == base
        here.close()
        there.close()

    run_mode(main())
    wanted = ["watch_added", "watch_removed", "watch_fired"]
    assert set(shown.names(*wanted)) == set(wanted)


def test_debug_mode_and_foreign_handles(shown, app):
    async def main():
        loop = asyncio.get_running_loop()
        loop.set_debug(True)
        future = loop.create_future()
        task = create(wait(future), "debugged")
        await settle()
        assert shown.waits_for("debugged") == "future"
        future.set_result(None)
        await task
        loop._ready.append(asyncio.Handle(len, ((),), loop))
        await settle()
        assert shown.task("debugged")["steps"] == 2

    run_native(main())


# --- slots ---------------------------------------------------------------------------


def test_slots(shown, emitter, run_qt):
    async def main():
        release = asyncio.Event()

        async def on_one(value):
            await release.wait()

        slot = qtinter.asyncslot(on_one)
        emitter.one.connect(slot)
        (row,) = shown.slots()
        assert row["name"].endswith("on_one")
        assert (row["calls"], row["live"], row["policy"]) == (0, 0, "allow")
        emitter.one.emit(1)
        emitter.one.emit(2)
        (row,) = shown.slots()
        assert (row["calls"], row["live"], row["overlap_max"]) == (2, 2, 2)
        tasks = inspect.snapshot().tasks(ended=False)
        calls = [t for t in tasks if t["role"] == "slot_call"]
        assert sorted(t["id"] for t in calls) == row["pending"]
        assert {t["slot_id"] for t in calls} == {row["id"]}
        assert {t["creator"] for t in calls} == {f"slot {row['name']}"}
        release.set()
        await settle(6)
        (row,) = shown.slots()
        assert (row["calls"], row["live"]) == (2, 0)
        assert row["max"] > 0
        assert row["pending"] == []
        emitter.one.disconnect(slot)

    run_qt(main())
    gc.collect()
    called, ended = shown.events("slot_called"), shown.events("slot_ended")
    assert [e["task"] for e in called] == [e["task"] for e in ended]
    assert all(e["task"] for e in called)
    assert [e["state"] for e in ended] == [5, 5]
    assert len(shown.events("slot_registered")) == 1


def test_a_slot_that_ends_at_once(shown, emitter, run_qt):
    async def main():
        async def on_none():
            pass

        async def on_one(value):
            raise LookupError

        contexts = []
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda loop, context: contexts.append(context))
        emitter.none.connect(qtinter.asyncslot(on_none))
        emitter.one.connect(qtinter.asyncslot(on_one))
        emitter.none.emit()
        emitter.one.emit(1)
        await settle()
        assert [type(c["exception"]) for c in contexts] == [LookupError]
        assert [s["calls"] for s in shown.slots()] == [1, 1]
        assert [s["live"] for s in shown.slots()] == [0, 0]

    run_qt(main())
    assert [e["state"] for e in shown.events("slot_ended")] == [5, 6]
    tasks = {t["id"]: t["state"] for t in inspect.snapshot().tasks(ended=True)}
    assert [tasks[e["task"]] for e in shown.events("slot_called")] == ["done", "failed"]


def test_slot_policies(shown, emitter, run_qt):
    async def main():
        async def on_none():
            await asyncio.sleep(99)

        drop = qtinter.asyncslot(on_none, overlap="drop")
        emitter.none.connect(drop)
        emitter.none.emit()
        emitter.none.emit()
        emitter.none.emit()
        (row,) = shown.slots()
        assert (row["calls"], row["live"], row["refused"]) == (1, 1, 2)
        assert row["policy"] == "drop"
        emitter.none.disconnect(drop)
        for task in asyncio.all_tasks():
            if (
                task is not asyncio.current_task()
                and coroutine_of(task).__name__ == "on_none"
            ):
                task.cancel()
        await settle()
        assert [s["live"] for s in shown.slots()] == [0]

    run_qt(main())
    assert len(shown.events("slot_refused")) == 2
    assert shown.events("slot_ended")[-1]["state"] == 7


def test_methods_and_their_receivers(shown, qt, emitter, run_qt):
    class Receiver(qt.QtCore.QObject):
        async def on_one(self, value):
            pass

    async def main():
        receivers = [Receiver(), Receiver()]
        for number, receiver in enumerate(receivers):
            receiver.setObjectName(f"r{number}")
            emitter.one.connect(qtinter.asyncslot(receiver.on_one))
        assert [s["receiver"] for s in shown.slots()] == [
            "Receiver 'r0'", "Receiver 'r1'"
        ]  # fmt: skip
        emitter.one.emit(1)
        await settle()
        assert [s["calls"] for s in shown.slots()] == [1, 1]
        qt.delete(receivers[0])
        gone = [row for row in shown.rows(model.OBJECT, ended=True) if row["destroyed"]]
        assert len(gone) == 1
        del receiver, receivers
        gc.collect()

    run_qt(main())
    gc.collect()
    assert shown.slots() == []
    assert len(shown.events("slot_gone")) == 2


def test_a_runner_whose_result_is_no_task(shown, emitter, run_qt):
    async def main():
        future = asyncio.get_running_loop().create_future()

        def runner(coro):
            coro.close()
            return future

        async def on_none():
            pass

        slot = qtinter.asyncslot(on_none, task_runner=runner)
        emitter.none.connect(slot)
        emitter.none.emit()
        (row,) = shown.slots()
        assert (row["calls"], row["live"]) == (1, 1)
        future.set_result(None)
        await settle()
        assert [s["live"] for s in shown.slots()] == [0]
        emitter.none.disconnect(slot)

    run_qt(main())


# --- signal waits --------------------------------------------------------------------


@pytest.fixture
def one_is_called(binding):
    """The name that the signal `one` reveals; PySide2 hides it."""
    return "" if binding == "PySide2" else "one"


def test_asyncsignal(shown, emitter, run_qt, one_is_called):
    emitter.setObjectName("source")

    async def waits():
        return await qtinter.asyncsignal(emitter.one, sender=emitter)

    async def main():
        task = create(waits(), "waits")
        await settle()
        (row,) = shown.waits()
        assert row["signal"] == one_is_called
        assert (row["sender_class"], row["sender_name"]) == ("Emitter", "source")
        assert (row["form"], row["sender_alive"]) == ("signal", True)
        assert row["task"] == shown.task("waits")["id"]
        waiting = shown.task("waits")["waits_for"]
        assert (waiting["kind"], waiting["signal"]) == ("signal", one_is_called)
        assert waiting["sender_class"] == "Emitter"
        emitter.one.emit(7)
        assert await task == 7
        assert shown.waits() == []
        assert shown.task("waits")["woken_by"].startswith(f"signal {one_is_called}")

    run_qt(main())
    wanted = ["wait_began", "wait_fired", "wait_ended"]
    events = shown.events(*wanted)
    assert [event["event"] for event in events] == wanted
    assert events[0]["signal"] == one_is_called
    assert events[2]["how"] == 0


def test_a_wait_that_is_cancelled_and_one_whose_sender_dies(
    shown, qt, run_qt, one_is_called, sender_is_missed
):
    async def waits(signal):
        await qtinter.asyncsignal(signal)

    async def main():
        source = qt.Emitter()
        kept, lost = (
            create(waits(source.none), "kept"),
            create(waits(source.one), "lost"),
        )
        await settle()
        assert len(shown.waits()) == 2
        await end(kept)
        assert [w["signal"] for w in shown.waits()] == [one_is_called]
        qt.delete(source)
        await asyncio.wait([lost])
        assert isinstance(lost.exception(), qtinter.SenderDestroyedError)
        assert shown.task("lost")["exception"] == "SenderDestroyedError"
        assert shown.waits() == []

    run_qt(main())
    assert [e["how"] for e in shown.events("wait_ended")] == [1, 2]
    assert len(shown.events("sender_destroyed")) == 1


def test_signalwait(shown, emitter, run_qt):
    async def waits(entered):
        async with qtinter.signalwait(emitter.one) as signal:
            entered.set_result(None)
            with pytest.raises(asyncio.TimeoutError):
                await asyncio.wait_for(_as_coroutine(signal), 0)
            return await signal, await signal

    async def _as_coroutine(awaitable):
        return await awaitable

    async def main():
        entered = asyncio.get_running_loop().create_future()
        task = create(waits(entered), "waits")
        await entered
        await settle(8)
        (row,) = shown.waits()
        assert row["form"] == "signalwait"
        assert shown.waits_for("waits") == "signal"
        emitter.one.emit(3)
        assert await task == (3, 3)
        assert shown.waits() == []

    run_qt(main())


def test_asyncsignalstream(shown, emitter, run_qt):
    async def main():
        async def reads(stream):
            return [await stream.__anext__() for _ in range(3)]

        async with qtinter.asyncsignalstream(emitter.one, maxsize=2) as stream:
            for value in range(3):
                emitter.one.emit(value)
            (row,) = shown.waits()
            assert row["form"] == "stream"
            assert (row["fired"], row["buffered"], row["dropped"]) == (3, 2, 1)
            task = create(reads(stream), "reads")
            await settle()
            assert shown.waits_for("reads") == "signal"
            assert shown.waits()[0]["buffered"] == 0
            emitter.one.emit(3)
            assert await task == [1, 2, 3]
        assert shown.waits() == []

    run_qt(main())
    assert len(shown.events("stream_push")) == 4
    assert len(shown.events("stream_drop")) == 1


def test_multisignal(shown, emitter, run_qt):
    async def main():
        both = qtinter.multisignal({emitter.one: 1, emitter.none: 2})
        task = create(_asyncsignal(both), "waits")
        await settle()
        (row,) = shown.waits()
        assert (row["signal"], row["form"]) == ("multisignal", "multi")
        emitter.none.emit()
        assert await task == (2, ())

    async def _asyncsignal(signal):
        return await qtinter.asyncsignal(signal)

    run_qt(main())
    assert len(shown.events("wait_fired")) == 1


# --- nesting -------------------------------------------------------------------------


def test_modal(shown, qt, run_qt):
    def blocks():
        assert shown.loops()[0]["state"] in ("nested", "busy")
        loop = qt.QtCore.QEventLoop()
        asyncio.get_running_loop().call_later(0.01, loop.quit)
        loop.exec() if hasattr(loop, "exec") else loop.exec_()
        return 5

    async def main():
        assert await qtinter.modal(blocks)() == 5
        await settle()

    run_qt(main())
    entered, left = shown.events("modal_entered", "modal_left")
    assert (entered["event"], left["event"]) == ("modal_entered", "modal_left")
    assert left["duration"] > 0
    assert entered["depth"] == 1


def test_a_bare_nested_loop(shown, qt, run_qt):
    async def main():
        loop = asyncio.get_running_loop()
        inner = qt.QtCore.QEventLoop()
        qt.QtCore.QTimer.singleShot(20, inner.quit)
        thread = threading.Thread(target=loop.call_soon_threadsafe, args=(len, ()))
        qt.QtCore.QTimer.singleShot(0, thread.start)
        inner.exec() if hasattr(inner, "exec") else inner.exec_()
        thread.join()
        await settle()
        assert [loop["state"] for loop in shown.loops()] == ["busy"]

    run_qt(main())
    assert shown.names("nested_entered", "nested_left") == [
        "nested_entered",
        "nested_left",
    ]


# --- loops ---------------------------------------------------------------------------


def test_loop_states(shown, run_mode, request):
    mode = request.node.callspec.params["run_mode"]

    async def main():
        (loop,) = shown.loops()
        assert (loop["state"], loop["mode"]) == ("busy", mode)
        assert loop["current"].startswith("task ")
        assert loop["thread"] == native_id()
        await asyncio.sleep(0.001)
        assert shown.loops()[0]["tasks"] >= 1, "told at the end of a turn"

    run_mode(main())
    (loop,) = shown.loops(ended=True)
    assert (loop["state"], loop["tasks"], loop["timers"]) == ("closed", 0, 0)
    names = shown.names("loop_created", "loop_started", "loop_stopped", "loop_closed")
    assert (names[0], names[-1]) == ("loop_created", "loop_closed")
    assert names.count("loop_started") == names.count("loop_stopped") >= 1


def test_a_loop_that_waits_in_the_selector_is_not_in_qt(shown, app):
    run_native(asyncio.sleep(0.01))
    (loop,) = shown.loops(ended=True)
    assert loop["qt"] == 0
    assert shown.events("idle")


needs_thread_time = pytest.mark.skipif(
    not hasattr(time, "thread_time"), reason="the system has no clock of a thread"
)


@needs_thread_time
def test_qt_busy_and_qt_asleep(shown, qt, run_qt):
    """By the thread's own clock, so that no other work on the machine matters."""
    busy, asleep = 0.05, 0.2
    tolerance = 0.002  # of turns that began within 0.2 ms of the last reading

    def between_turns():
        (loop,) = shown.loops()
        return loop["qt"], loop["qt_busy"]

    def work(done):
        end = time.thread_time() + busy
        while time.thread_time() < end:
            pass
        loop.call_soon_threadsafe(done.set_result, None)

    async def measure():
        nonlocal loop
        loop = asyncio.get_running_loop()
        await asyncio.sleep(0.001)
        await asyncio.sleep(0.001)  # the row is written at the end of a turn
        began = time.monotonic()
        _, busy_before = between_turns()
        used = time.thread_time()
        done = loop.create_future()
        qt.QtCore.QTimer.singleShot(0, lambda: work(done))
        await done
        await asyncio.sleep(0.001)
        qt_between, busy_between = between_turns()
        used = time.thread_time() - used
        assert busy - tolerance <= busy_between - busy_before <= used + tolerance
        assert busy_between <= qt_between

        used = time.thread_time()
        await asyncio.sleep(asleep)
        await asyncio.sleep(0.001)
        qt_after, busy_after = between_turns()
        used = time.thread_time() - used
        assert busy_after - busy_between <= used + tolerance
        slept = (qt_after - busy_after) - (qt_between - busy_between)
        assert slept >= asleep - used - tolerance
        assert slept <= time.monotonic() - began + tolerance

    loop = None
    run_qt(measure())


@needs_thread_time
def test_a_turn_that_sleeps_is_not_qt_asleep(shown, run_qt):
    async def main():
        await asyncio.sleep(0.001)
        (before,) = shown.loops()
        time.sleep(0.1)  # what is tested: a turn in which the thread does nothing
        await asyncio.sleep(0.001)
        (after,) = shown.loops()
        assert after["asyncio"] - before["asyncio"] >= 0.1
        assert after["qt_busy"] - before["qt_busy"] <= after["qt"] - before["qt"]

    run_qt(main())


@tasks_have_names
def test_a_loop_closed_with_pending_tasks(shown, app):
    loop = qtinter.new_event_loop()
    loop.set_mode(qtinter.QiLoopMode.NATIVE)
    task = loop.create_task(asyncio.sleep(99), name="left behind")
    loop.run_until_complete(asyncio.sleep(0))
    loop.close()
    assert shown.task("left behind")["state"] == "destroyed"
    assert shown.rows(model.TIMER) == []
    assert inspect.statistics()["known"] == 0
    task._log_destroy_pending = False
    task.get_coro().close()


def test_loops_in_two_threads(shown, app):
    together = threading.Barrier(2)
    seen, errors = [], []

    async def main(number):
        task = create(asyncio.sleep(99), f"thread {number}")
        for _ in range(50):
            await asyncio.gather(*(asyncio.sleep(0) for _ in range(10)))
        together.wait(30)
        seen.append({loop["thread"] for loop in shown.loops()})
        mine = shown.task(f"thread {number}")
        assert mine["state"] == "waiting"
        together.wait(30)
        await end(task)

    def run(number):
        try:
            run_native(main(number))
        except BaseException as exc:
            errors.append(exc)
            together.abort()

    threads = [threading.Thread(target=run, args=(n,)) for n in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert [len(threads) for threads in seen] == [2, 2]
    assert len(shown.loops(ended=True)) == 2


def test_another_threads_loop_is_found_when_it_goes_on(off, tmp_path, app):
    running, go_on = threading.Event(), threading.Event()

    async def main():
        running.set()
        await asyncio.get_running_loop().run_in_executor(None, go_on.wait)
        await settle()
        return Shown().loops()

    found = []
    thread = threading.Thread(target=lambda: found.append(run_native(main())))
    thread.start()
    running.wait(30)
    inspect.enable(connect=False, directory=tmp_path)
    go_on.set()
    thread.join()
    ((loop,),) = found
    assert (loop["mode"], loop["state"]) == ("native", "busy")
    assert loop["thread"] not in (0, native_id())
    assert inspect.statistics()["known"] == 0


def test_two_threads_while_a_third_switches(off, tmp_path, app):
    """Nobody's memory goes while a hook is at work."""
    stop = threading.Event()
    errors = []

    class Slow:
        """A callable whose name takes Python code to find."""

        def __getattr__(self, name):
            for _ in range(50):
                pass
            raise AttributeError(name)

        def __call__(self):
            pass

    async def main():
        loop = asyncio.get_running_loop()
        while not stop.is_set():
            loop.call_soon(Slow())
            await asyncio.gather(*(asyncio.sleep(0) for _ in range(5)))

    def run():
        try:
            run_native(main())
        except BaseException as exc:
            errors.append(exc)

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    threads = [threading.Thread(target=run) for _ in range(2)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(20):
            inspect.enable(connect=False, directory=tmp_path)
            for _ in range(50):
                os.sched_yield()
            inspect.disable()
    finally:
        stop.set()
        for thread in threads:
            thread.join()
        sys.setswitchinterval(interval)
    assert errors == []
    assert os.listdir(tmp_path) == []


# --- on, off, levels -----------------------------------------------------------------


def test_off_and_on_again_inside_of_a_step(shown, emitter, run_qt, tmp_path):
    async def main():
        async def on_none():
            inspect.disable()
            inspect.enable(connect=False, directory=tmp_path)

        slot = qtinter.asyncslot(on_none)
        emitter.none.connect(slot)
        before = create(asyncio.sleep(99), "before")
        stream = qtinter.asyncsignalstream(emitter.one)
        await settle()
        inspect.disable()
        assert not inspect.is_enabled()
        await settle()
        inspect.enable(connect=False, directory=tmp_path)
        assert shown.waits_for("before") == "timer"
        emitter.none.emit()
        emitter.one.emit(1)
        await settle()
        assert shown.task("before")["state"] == "waiting"
        assert await stream.__anext__() == 1
        await stream.aclose()
        await end(before)
        assert shown.task("before")["state"] == "cancelled"
        emitter.none.disconnect(slot)

    run_qt(main())
    assert _probe.active is not None


def test_off_inside_of_a_callback(shown, run_mode):
    async def main():
        loop = asyncio.get_running_loop()
        loop.call_soon(inspect.disable)
        task = create(asyncio.sleep(0.001), "goes on")
        await task
        assert not inspect.is_enabled()
        assert _probe.active is None

    run_mode(main())
    for function in (inspect.statistics, inspect.segment_path, inspect.snapshot):
        with pytest.raises(RuntimeError, match="not enabled"):
            function()
    inspect.disable()
    inspect.mark("nobody looks")
    with inspect.span("nobody looks"):
        pass


def test_levels_while_running(shown, run_mode):
    async def main():
        loop = asyncio.get_running_loop()
        future = loop.create_future()
        steady = create(asyncio.sleep(99), "steady")
        await settle()
        inspect.enable(level=1)
        records = inspect.snapshot().info["records"]
        await create(asyncio.sleep(0), "silent")
        assert inspect.snapshot().info["records"] == records
        assert shown.task("steady")["stack"] == []
        inspect.enable(level=3)
        task = create(wait(future), "with stack")
        await settle()
        row = shown.task("with stack")
        assert any(code["name"].endswith("main") for code in row["stack"])
        assert row["where"]["name"] == "wait"
        inspect.enable(level=4)
        detailed = create(wait(future), "with repr")
        await settle()
        text = shown.task("with repr")["waits_for"]["text"]
        assert text.startswith("<Future pending")
        inspect.enable(level=2)
        await end(steady, task, detailed)

    run_mode(main())
    assert inspect.snapshot().info["level"] == 2
    with pytest.raises(ValueError, match="level"):
        inspect.enable(level=9)


def test_level_0_forgets_what_it_does_not_see(shown, emitter, run_qt):
    async def main():
        async def on_none():
            await asyncio.sleep(99)

        slot = qtinter.asyncslot(on_none)
        emitter.none.connect(slot)
        emitter.none.emit()
        task = create(asyncio.sleep(99), "kept")
        await settle()
        inspect._answer("level", None, "", 0)
        assert inspect.is_enabled()
        assert inspect.statistics()["known"] == 0
        state = inspect.snapshot()
        assert state.tasks() == state.slots() == state.waits() == state.timers() == []
        unseen = create(asyncio.sleep(0), "unseen")
        await unseen
        emitter.none.emit()
        assert inspect.snapshot().tasks() == []
        inspect._answer("level", None, "", 2)
        await settle()
        assert shown.task("kept")["state"] == "waiting"
        assert "unseen" not in shown.tasks()
        calls = [
            t for t in asyncio.all_tasks() if coroutine_of(t).__name__ == "on_none"
        ]
        assert len(calls) == 2
        await end(task, *calls)
        emitter.none.disconnect(slot)

    run_qt(main())


def test_marks_and_spans(shown, run_mode):
    async def main():
        inspect.mark("here")
        with inspect.span("work"):
            await asyncio.sleep(0)

    run_mode(main())
    inspect.mark("outside of loops")
    assert [e["name"] for e in shown.events("mark")] == ["here", "outside of loops"]
    began, ended = shown.events("span_began", "span_ended")
    assert began["span"] == ended["span"]
    assert began["task"] == ended["task"] != 0


def test_requests_of_tools(shown, app):
    async def main():
        task = create(asyncio.sleep(99), "patient")
        await settle()
        assert "sleep" in inspect._answer("stack", task, "", 0)
        assert "main" in inspect._answer("stack", None, "", 0)
        inspect._answer("cancel", task, "why", 0)
        await asyncio.wait([task])
        assert task.cancelled()

    run_native(main())


def test_a_failure_of_the_observer_stays_inside(
    shown, emitter, run_qt, monkeypatch, caplog
):
    def broken(*args):
        raise ZeroDivisionError

    async def main():
        called = []

        async def on_none():
            called.append(1)

        slot = qtinter.asyncslot(on_none)
        emitter.none.connect(slot)
        monkeypatch.setattr(_core, "inspect_row_set", broken)
        emitter.none.emit()
        await settle()
        monkeypatch.undo()
        emitter.none.emit()
        await settle()
        assert called == [1, 1]
        emitter.none.disconnect(slot)

    run_qt(main())
    assert "not shown any more" in caplog.text
    caplog.clear()
    assert _probe.active is None


def test_what_is_unusual_does_no_harm(shown, app):
    """Objects whose attributes raise, or are not what they seem to be."""

    class Odd:
        @property
        def func(self):
            raise ValueError("func")

        def __getattr__(self, name):
            raise RuntimeError(name)

        def __call__(self):
            called.append(self)

    class Awaitable:
        def __await__(self):
            return (yield from asyncio.sleep(0).__await__())

    called = []

    async def main():
        loop = asyncio.get_running_loop()
        inspect.enable(level=4)
        loop.call_soon(Odd())
        loop.call_later(0, Odd())
        loop.call_soon(functools.partial(functools.partial(Odd())))
        surrogates = create(asyncio.sleep(0.001), "\udc80")
        long_name = create(asyncio.sleep(0.001), "x" * 5000)
        await asyncio.wait([surrogates, long_name])
        await Awaitable()
        assert len(called) == 3

    run_native(main())


# --- the environment, processes ------------------------------------------------------


def test_arguments_of_enable(off, tmp_path):
    for level in (0, 5, -1):
        with pytest.raises(ValueError, match="level"):
            inspect.enable(level=level)
    with pytest.raises(ValueError, match="ring"):
        inspect.enable(ring=1000, connect=False, directory=tmp_path)
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="cannot enable"):
        inspect.enable(connect=False, directory=tmp_path / "file")
    assert not inspect.is_enabled()
    assert _probe.active is None


def test_dump(shown, tmp_path, app):
    async def main():
        task = create(asyncio.sleep(99), "dumped")
        await settle()
        inspect.dump(tmp_path / "copy")
        await end(task)

    from qtinter.inspect.segment import read_snapshot

    run_native(main())
    copy = read_snapshot(tmp_path / "copy")
    assert [t["name"] for t in copy.tasks() if t["state"] == "waiting"] == ["dumped"]
    with pytest.raises(OSError, match="cannot write"):
        inspect.dump(tmp_path)


@pytest.mark.parametrize(
    ("value", "level"), [("1", 2), ("2", 2), ("4", 4), ("9", 4), ("/nowhere/socket", 2)]
)
def test_the_environment(run_isolated, tmp_path, value, level):
    env = {"QTINTER_INSPECT": value, "QTINTER_RUNTIME_DIR": str(tmp_path)}
    result = run_isolated("inspected.py", "level", env=env)
    assert result.returncode == 0, result.stderr
    assert result.stdout.split() == [str(level)]
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("value", ["", "0", None])
def test_the_environment_says_no(run_isolated, value):
    result = run_isolated("inspected.py", "level", env={"QTINTER_INSPECT": value})
    assert result.stdout.split() == ["off"], result.stderr


def test_an_environment_that_cannot_be_followed(run_isolated, tmp_path):
    (tmp_path / "file").write_text("")
    env = {"QTINTER_INSPECT": "1", "QTINTER_RUNTIME_DIR": str(tmp_path / "file")}
    result = run_isolated("inspected.py", "level", env=env)
    assert result.returncode == 0
    assert result.stdout.split() == ["off"]
    assert "RuntimeWarning: QTINTER_INSPECT=1: cannot enable" in result.stderr


@pytest.mark.parametrize(
    "what", ["fork", "child", "exit", "disabled", "thread", "raise"]
)
def test_processes_and_their_ends(run_isolated, tmp_path, what):
    env = {"QTINTER_INSPECT": "2", "QTINTER_RUNTIME_DIR": str(tmp_path)}
    # From 3.12 on, of fork() while there are threads: here, the sender.
    env["PYTHONWARNINGS"] = "ignore::DeprecationWarning"
    result = run_isolated("inspected.py", what, env=env)
    assert result.returncode == (1 if what == "raise" else 0), result.stderr
    assert result.stdout.split() == ["done"], result.stderr
    if what != "raise":
        assert result.stderr == ""
    assert os.listdir(tmp_path) == []


def test_a_process_that_is_killed_leaves_its_segment(run_isolated, tmp_path):
    from qtinter.inspect.segment import read_snapshot, segments

    env = {"QTINTER_INSPECT": "2", "QTINTER_RUNTIME_DIR": str(tmp_path)}
    run_isolated("inspected.py", "kill", env=env)
    (path,) = segments(str(tmp_path))
    process = read_snapshot(path)
    assert not process.alive
    states = {t["code"]["name"]: t["state"] for t in process.tasks()}
    assert states["sleep"] == "waiting"
    assert "running" in states.values()
