"""qtinter.trace: what a recording answers."""

import asyncio
import json
import os
import time

import pytest

import qtinter
import qtinter.trace
from qtinter import _core, inspect
from qtinter.trace import _source, _state

from .driving import create_named

TASK, SLOT, WAIT = 1, 2, 3
MS = 1_000_000


@pytest.fixture(params=["segment", "file"])
def take(no_leaks, tmp_path, request):
    """take() gives the recording of this process so far; inspection is on."""
    if request.param == "file" and not hasattr(_core, "segment_to_trace"):
        pytest.skip("built without recordings")
    was_on = inspect.is_enabled()
    inspect.disable()
    inspect.enable(level=3, connect=False, directory=tmp_path)
    count = 0

    def taken():
        nonlocal count
        count += 1
        path = tmp_path / f"taken-{count}.qiseg"
        inspect.dump(path)
        if request.param == "file":
            segment, path = path, path.with_suffix(".qtrace")
            _core.segment_to_trace(segment, path)
            segment.unlink()
        return qtinter.trace.open(path)

    yield taken
    inspect.disable()
    if was_on:
        inspect.enable_from_environment()


async def settle(*tasks):
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def turns(n=3):
    for _ in range(n):
        await asyncio.sleep(0)


def test_tasks(run_attached, take):
    async def child():
        await asyncio.sleep(0)

    async def fails():
        raise KeyError("x")

    async def main():
        task = create_named(child(), "the child")
        await asyncio.gather(asyncio.create_task(fails()), return_exceptions=True)
        await task
        waiting = create_named(asyncio.sleep(99), "sleeper")
        await turns()
        trace = take()
        await settle(waiting)
        return trace

    trace = run_attached(main())
    found = trace.tasks("the child").one()
    assert (found.state, found.is_pending, found.steps) == ("done", False, 2)
    assert found.code.name.endswith("child")
    assert found.code.file == __file__
    assert trace.tasks("child").one().id == found.id, "by its coroutine function"
    assert found.creator.startswith("task ")
    assert found.created <= found.ended
    assert any(code.name.endswith("main") for code in found.stack)
    failed = trace.tasks(filter="state==failed").one()
    assert failed.exception == "KeyError"
    sleeper = trace.tasks("sleeper").one()
    assert sleeper.state == "waiting"
    assert sleeper.waits_for.startswith("sleep, ")
    assert sleeper.where.name == "sleep"
    assert trace.tasks(filter="state==waiting and waits_for.kind==timer").count() == 1
    assert trace.tasks("nobody").none()
    assert not trace.tasks("sleeper").none()
    assert len(trace.tasks()) == len(trace.tasks().all()) == 4


def test_one_tells_what_there_is(run_attached, take):
    async def main():
        await asyncio.gather(*(create_named(turns(), n) for n in "ab"))
        return take()

    trace = run_attached(main())
    with pytest.raises(qtinter.trace.NotFound, match="found no tasks named 'c'"):
        trace.tasks("c").one()
    with pytest.raises(LookupError, match=r"expected one of .*: done; task \d+ b"):
        trace.tasks("turns").one()
    with pytest.raises(ValueError, match="use =="):
        trace.tasks(filter="state=done")
    with pytest.raises(ValueError, match="no events of the kind 'step'"):
        trace.events("step")


def test_slots_and_a_path(run_attached, take, emitter):
    reply = emitter

    async def on_click():
        await qtinter.asyncsignal(reply.one, sender=reply)
        inspect.mark("shown")

    async def main():
        slot = qtinter.asyncslot(on_click)
        emitter.none.connect(slot)
        with inspect.span("two clicks"):
            emitter.none.emit()
            emitter.none.emit()
            pending = take()
            reply.one.emit(5)
            await turns(5)
        emitter.none.disconnect(slot)
        return pending, take()

    pending, trace = run_attached(main())
    assert pending.slots("on_click", filter="state==waiting").count() == 2
    assert pending.overlaps("on_click") == trace.overlaps("on_click") == 1
    lint = pending.lints("QI201").one()
    assert "on_click was called while 1 call of it pended" in lint.text
    first, second = trace.slots("on_click")
    assert (first.state, first.overlaps, second.overlaps) == ("done", 0, 1)
    assert first.task.role == "slot_call"
    assert first.task.slot == first.slot
    assert 0 < first.max_step <= trace.max_step.duration
    assert first.began < first.ended

    wait = trace.waits("one").all()[0]
    assert (wait.outcome, wait.fired, wait.sender_alive) == ("fired", 1, True)
    assert wait.sender.startswith("Emitter")
    assert trace.waits("Emitter.one").count() == 2
    assert wait.task.id == first.task.id

    assert trace.path("on_click", "one", "shown")
    assert trace.path("on_click", "Emitter.one")
    assert not trace.path("one", "on_click", "one", "on_click")
    missing = trace.path("on_click", "two")
    assert not missing
    assert missing.missing == "two"
    assert "nothing led to 'two'" in repr(missing)
    assert "on_click" in repr(missing)

    span = trace.span("two clicks")
    assert span.slots("on_click").count() == 2
    assert span.duration < trace.duration
    assert trace.between(0, span.t0 * 1e-9 - trace.zero * 1e-9).slots().none()


def test_the_await_graph_and_the_state_at_a_time(run_attached, take, emitter):
    async def inner():
        await qtinter.asyncsignal(emitter.two, sender=emitter)

    async def outer(task):
        await task

    async def main():
        with inspect.span("before"):
            await turns()
        task = create_named(inner(), "inner")
        other = create_named(outer(task), "outer")
        await turns()
        inspect.mark("now")
        trace = take()
        await settle(other, task)
        later = take()
        return trace, later

    trace, later = run_attached(main())
    text = str(trace.await_graph())
    first, second, third = text.split("\n")[-3:]
    assert "outer" in first
    assert first.startswith("task ")
    assert second.startswith("  task ")
    assert " inner" in second
    assert "    for signal two of Emitter" in third
    assert trace.await_graph().cycles == []
    assert len(trace.await_graph().edges) == 1

    assert later.tasks("outer").one().state == "cancelled"
    at = later.seconds(later.analysis.marks[0][0])
    (before,) = (span for span in later.spans("before"))
    names = {task["name"]: task for task in later.snapshot(at).tasks()}
    assert names["outer"]["waits_for"]["text"].endswith("inner")
    assert names["inner"]["waits_for"]["kind"] == "signal"
    assert "inner" not in {t["name"] for t in later.snapshot(before.ended).tasks()}
    assert "inner" in str(later.await_graph(at))


def test_a_circle(run_attached, take):
    async def guarded():
        gate = asyncio.get_running_loop().create_future()
        tasks = []

        async def first():
            await tasks[1]

        async def second():
            await gate

        tasks.append(create_named(first(), "first"))
        tasks.append(create_named(second(), "second"))
        await turns()
        trace = take()
        gate.set_result(None)
        await asyncio.gather(*tasks)
        return trace

    trace = run_attached(guarded())
    assert trace.await_graph().cycles == []
    # The same, with the second waiting for the first.
    source = trace.source
    tasks = {t.name: t.id for t in trace.tasks()}
    ts, rows = list(source.keyframes())[-1]
    column = 4 + _state.COLUMN[TASK]["wait_ref"]
    kind = 4 + _state.COLUMN[TASK]["wait_kind"]
    for row in rows:
        if row[:2] == [TASK, tasks["second"]]:
            row[column] = TASK << 56 | tasks["first"]
            row[kind] = 3
    trace = qtinter.trace.Trace(
        _source.ListSource(source.info, source.entries, [], [(ts, rows)])
    )
    assert trace.await_graph().cycles == [[tasks["first"], tasks["second"]]]
    assert "again: they wait for each other" in str(trace.await_graph())
    assert trace.lints("QI403").one().severity == "W"


def test_steps_lag_and_stalls(run_attached, take):
    async def blocks():
        time.sleep(0.12)

    async def main():
        await asyncio.gather(*(asyncio.create_task(turns()) for _ in range(3)))
        await asyncio.create_task(blocks())
        return take()

    trace = run_attached(main())
    step = trace.max_step
    assert step.duration >= 0.12
    assert "blocks" in step.where
    assert "test_trace.py:" in step.where
    assert trace.steps("blocks").one().duration == step.duration
    assert trace.steps(filter="duration>=120ms").count() == 1
    assert trace.step_times.count == trace.steps().count()
    assert trace.step_times.max == step.duration
    assert trace.step_times.p50 <= trace.step_times.p99 <= step.duration
    assert trace.lag.count > 0
    (stall,) = trace.stalls()
    assert stall.duration == step.duration
    assert "blocks" in stall.where
    lint = trace.lints("QI101").one()
    assert lint.severity in "WE"
    assert "the loop was blocked for" in lint.text
    text = trace.text()
    assert text.count("\n") < 40
    assert "longest step" in text
    assert "  QI101 " in text


def test_until_a_mark():
    entries = {1: "a/app.py", 2: "work", 3: (1, 2, 1), 4: "ends"}
    records = [
        (10 * MS, 10, 1, 3, 5, 0),
        (20 * MS, 90, 1, 4, 0, 0),
        (30 * MS, 15, 1, 5, 5, 0),
    ]
    trace = qtinter.trace.Trace(_source.ListSource({"mono0": 0}, entries, records))
    assert trace.tasks("work").one().state == "done"
    assert trace.until("ends").tasks("work").one().is_pending
    with pytest.raises(qtinter.trace.NotFound, match="no mark 'begins'"):
        trace.until("begins")


def test_a_stack_that_was_taken_in_a_stall():
    stack = (
        "Traceback (most recent call last):\n"
        '  File "a/app.py", line 3, in main\n'
        '  File "lib/json/encoder.py", line 200, in encode\n'
    )
    since = 1000 * MS
    stall = {"loop": 1, "since": since, "duration": 150 * MS, "current": 1 << 56 | 5}
    notes = [
        _source.Note(since + 150 * MS, "stall", dict(stall, stack=stack, over=False)),
        _source.Note(
            since + 212 * MS, "stall", dict(stall, duration=212 * MS, current=0)
        ),
    ]
    records = [
        (999 * MS, 10, 1, 3, 5, 0),
        (since + 212 * MS, 11, 1, 0, 5, 212 * MS),
    ]
    entries = {1: "a/app.py", 2: "Window.on_save", 3: (1, 2, 88)}
    trace = qtinter.trace.Trace(
        _source.ListSource({"mono0": 900 * MS}, entries, records, notes=notes)
    )
    assert trace.max_step.where == (
        "Window.on_save (a/app.py:88) → encode (json/encoder.py:200)"
    )
    (found,) = trace.stalls()
    assert (found.duration, found.stack) == (pytest.approx(0.212), stack)
    assert found.where == "Window.on_save (a/app.py:88)"
    first_said = stack.replace("last", "first")
    notes[0].fields["stack"] = first_said
    assert trace.max_step.where.endswith("→ main (a/app.py:3)")


def test_shapes(run_attached, take):
    async def child(n):
        await asyncio.sleep(0.001 * n)

    async def main():
        await asyncio.gather(
            asyncio.create_task(child(1)), asyncio.create_task(child(2))
        )

    async def again():
        inspect.mark("first")
        await asyncio.create_task(main())
        inspect.mark("second")
        await asyncio.create_task(main())
        inspect.mark("end")
        return take()

    trace = run_attached(again())
    a, b, c = (trace.seconds(ts) for ts, _, _ in trace.analysis.marks)
    shape = trace.between(a, b).shape()
    (root,) = shape
    assert root["task"].endswith("main")
    assert root["ends"] == "done"
    assert root["waits"] == ["gather"]
    assert [node["waits"] for node in root["creates"]] == [["timer"], ["timer"]]
    assert json.loads(json.dumps(shape)) == shape
    assert trace.between(b, c).shape() == shape, "no time and no id is in it"
    assert trace.between(a, c).shape() == shape * 2


def test_what_is_missing_is_said(run_attached, take):
    records = [(MS * i, 90, 1, 1, 0, 0) for i in range(10, 20)]
    gap = _source.Gap(3, 7, "ring", 3 * MS, 10 * MS)
    trace = qtinter.trace.Trace(
        _source.ListSource({"mono0": 0}, {1: "m"}, records, gaps=[gap], first=10)
    )
    questions = (
        lambda t: t.tasks().count(),
        lambda t: t.tasks().none(),
        lambda t: t.tasks().one(),
        lambda t: bool(t.slots()),
        lambda t: t.max_step,
        lambda t: t.lag,
        lambda t: t.overlaps("x"),
        lambda t: t.path("m"),
        lambda t: t.shape(),
    )
    for question in questions:
        with pytest.raises(
            qtinter.trace.TraceIncomplete, match="7 records are missing"
        ):
            question(trace)
    assert "LOST 7 records" in trace.text()
    assert trace.lints().all()[0].id == "QI901"
    assert trace.events("mark").all(), "what is there can be looked at"
    assert trace.with_gaps().path("m")
    later = trace.between(0.010, 0.020)
    assert later.gaps == []
    assert later.tasks().none()
    assert trace.figures()["lost"] == 7


def test_a_folder_and_saving(run_attached, take, tmp_path):
    async def main():
        inspect.mark("one")
        return take()

    trace = run_attached(main())
    folder = tmp_path / "folder"
    folder.mkdir()
    with pytest.raises(ValueError, match=r"no \.qtrace and no \.qiseg"):
        qtinter.trace.open(folder)
    ending = os.path.splitext(trace.source.path)[1]
    trace.save(folder / f"trace{ending}")
    trace.save(folder / f"another-p5{ending}")
    opened = qtinter.trace.open(folder)
    assert opened.source.path == str(folder / f"trace{ending}")
    assert len(opened.others) == 1
    assert [e.fields["name"] for e in opened.events("mark")] == ["one"]
    in_memory = qtinter.trace.Trace(_source.ListSource({}, {}, []))
    with pytest.raises(ValueError, match="in memory"):
        in_memory.save(folder / "x")
    assert in_memory.text()
    trace.save_shape(folder / "shape.json")
    assert json.loads((folder / "shape.json").read_text()) == trace.shape()


def test_records_are_newer_than_the_state_before_them():
    columns = _state.COLUMN[TASK]
    row = [TASK, 5, 3, 1] + [0] * len(columns)
    row[4 + columns["created"]] = row[4 + columns["changed"]] = 10
    row[4 + columns["wait_kind"]] = 6  # a job
    before = qtinter.trace.Trace(
        _source.ListSource({"mono0": 0, "last": 40}, {}, [], [(15, [row])])
    )
    assert before.tasks().one().row()["waits_for"]["kind"] == "job"
    records = [(20, 12, 1, 6, 5, 0), (25, 11, 1, 0, 5, 3), (25, 13, 1, 5, 5, 0)]
    trace = qtinter.trace.Trace(
        _source.ListSource({"mono0": 0, "last": 40}, {}, records, [(15, [row])])
    )
    assert trace.tasks().one().row()["waits_for"]["kind"] == "timer"
    assert trace.tasks().one().steps == 1


def test_quantiles():
    histogram = _state.Histogram()
    for ns in range(1, 100_001):
        histogram.add(ns)
    for part in (0.5, 0.95, 0.99):
        assert histogram.quantile(part) == pytest.approx(part * 100_000, rel=0.032)
    assert histogram.quantile(1) == 100_000
    assert _state.Histogram().quantile(0.5) == 0
