"""qtinter.inspect: loops, levels, switching on and off, processes."""
# ruff: noqa: F811 - fixtures that are imported

import asyncio
import functools
import gc
import os
import sys
import threading
import time

import pytest

import qtinter
from qtinter import _core, _probe, inspect
from qtinter._tasks import coroutine_of
from qtinter.inspect import model

from .driving import create_named as create
from .driving import settle
from .observing import (  # noqa: F401
    Shown,
    end,
    native_id,
    off,
    run_mode,
    run_native,
    shown,
    tasks_have_names,
    wait,
)

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


def test_every_task_has_the_stack_that_made_it(shown, run_mode):
    """Also one that a finalizer makes while another one's stack is read."""

    async def main():
        made = []

        def make(name):
            made.append(create(asyncio.sleep(99), name))

        def here(name):
            make(name)

        def there(name):
            make(name)

        class Cycle:
            def __init__(self, name):
                self.me, self.name = self, name

            def __del__(self):
                there(self.name)

        inspect.enable(level=3)
        before = gc.get_threshold()
        try:
            for i in range(20):
                Cycle(f"there {i}")
                gc.set_threshold(1, 1, 1)
                here(f"here {i}")
                gc.set_threshold(*before)
                gc.collect()
                there(f"there {i} again")
                here(f"here {i} again")
        finally:
            gc.set_threshold(*before)
        await settle()
        names = {name.split()[0] for name in shown.tasks() if "here" in name}
        assert names == {"here", "there"}
        for name, task in shown.tasks().items():
            if "here" in name:
                callers = [code["name"].split(".")[-1] for code in task["stack"]]
                at = callers.index("make")
                assert callers[at + 1] == name.split()[0], name
        await end(*made)

    run_mode(main())


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

        monkeypatch.setattr(_core, "inspect_row_new", broken)
        slot = qtinter.asyncslot(on_none)
        emitter.none.connect(slot)
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
    "what",
    [
        "fork", "child", "exit", "disabled", "thread", "raise", "multiprocessing",
        "preloaded",
    ],
)  # fmt: skip
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
