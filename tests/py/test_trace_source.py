"""qtinter.trace._source: what a recording holds, unchanged."""

import asyncio
import os
import time

import pytest

from qtinter import inspect, trace
from qtinter.trace import _source

MARK = 90


@pytest.fixture
def off(no_leaks):
    """Inspection is off, also if the environment has switched it on."""
    was_on = inspect.is_enabled()
    inspect.disable()
    yield
    inspect.disable()
    if was_on:
        inspect.enable_from_environment()


def test_a_list():
    records = [(10 * i, MARK, 1, 7, 0, 0) for i in range(1, 5)]
    rows = [[1, 5, 3, 1]]
    source = _source.ListSource(
        {"pid": 3}, {7: "here"}, records, [(45, rows)], first=100
    )
    assert source.info == {"pid": 3, "mono0": 10, "begin": 10, "wall0": 0, "last": 45}
    assert list(source.records()) == [(100 + i, *r) for i, r in enumerate(records)]
    assert [record[0] for record in source.records(20, 30)] == [101, 102]
    assert list(source.keyframes()) == [(45, rows)]
    assert source.entries == {7: "here"}


def test_a_segment_of_this_process(off, run_attached, tmp_path):
    inspect.enable(connect=False, directory=tmp_path)

    async def main():
        inspect.mark("one")
        await asyncio.sleep(0)
        inspect.mark("two")

    run_attached(main())
    source = _source.open_source(inspect.segment_path())
    marks = [r for r in source.records() if r[2] == MARK]
    assert [source.entries[record[4]] for record in marks] == ["one", "two"]
    assert marks[0][0] < marks[1][0], "numbers ascend"
    assert source.info["pid"] == os.getpid()
    ((ts, rows),) = source.keyframes()
    assert ts == source.info["last"] >= marks[1][1]
    assert [row for row in rows if row[0] == 1], "the task is in the state"
    assert (source.gaps, source.notes, source.problems) == ([], [], [])


def test_a_recording_begins_when_it_was_begun(off, tmp_path):
    """And not when the process was."""
    inspect.enable(connect=False, directory=tmp_path)
    inspect.mark("before")
    begun = time.monotonic_ns()
    with inspect.record(tmp_path / "a.qtrace"):
        inspect.mark("while")
    ended = time.monotonic_ns()
    found = trace.open(tmp_path / "a.qtrace")
    assert found.source.info["mono0"] < begun <= found.t0 <= found.t1 <= ended
    assert found.duration == pytest.approx((found.t1 - found.t0) * 1e-9)
    (mark,) = found.events("mark")
    assert 0 <= mark.at <= found.duration


@pytest.mark.parametrize("kind", range(1, 9))
def test_rows_of_a_version_that_had_fewer_columns(kind):
    source = _source.ListSource(
        {"mono0": 0, "last": 50},
        {},
        [(20, MARK, 1, 7, 0, 0)],
        [(45, [[kind, 5, 0, 1]])],
    )
    found = trace.Trace(source)
    assert found.text()
    assert [task.id for task in found.tasks()] == [5] * (kind == 1)
    assert [wait.id for wait in found.waits()] == [5] * (kind == 3)


def test_a_ring_that_went_around_has_a_gap(off, tmp_path):
    inspect.enable(connect=False, directory=tmp_path, ring=1024)
    for _ in range(3000):
        inspect.mark("again")
    source = _source.open_source(inspect.segment_path())
    (gap,) = source.gaps
    numbers = [record[0] for record in source.records()]
    assert gap.first == 0
    assert numbers == list(range(gap.count, 3000)), "what is there, and what is not"
    assert gap.cause == "ring"
    assert source.info["mono0"] <= gap.t0 <= gap.t1 <= next(source.records())[1]


def test_what_is_no_recording(tmp_path):
    with pytest.raises(FileNotFoundError):
        _source.open_source(tmp_path / "none")
    (tmp_path / "cut").write_bytes(b"QTINSEG1 and nothing else")
    with pytest.raises(ValueError, match="cut"):
        _source.open_source(tmp_path / "cut")
