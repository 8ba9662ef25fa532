"""qtinter.inspect: tasks, callbacks, timers and watches in the segment."""
# ruff: noqa: F811 - fixtures that are imported

import asyncio
import functools
import gc
import socket
import sys
import threading

import pytest

import qtinter
from qtinter import inspect
from qtinter.inspect import model

from .driving import create_named as create
from .driving import settle
from .observing import (  # noqa: F401
    Shown,
    end,
    name_this_task,
    off,
    run_mode,
    run_native,
    shown,
    tasks_have_names,
    wait,
)

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
        assert made["code"]["file"] == wait.__code__.co_filename
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
