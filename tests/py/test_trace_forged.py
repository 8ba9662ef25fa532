"""Recordings that somebody has put together, with checksums that are right."""
# ruff: noqa: F811 - fixtures that are imported

import json
import os
import pathlib
import sys

import pytest

from qtinter import _core, trace
from qtinter.inspect import recorded as told
from qtinter.inspect.lanes import Lanes
from qtinter.inspect.loads import Loads
from qtinter.trace import TraceIncomplete, _source, commands
from qtinter.trace.export import write

from .recordings import ENTITIES, KINDS, program, recorded, ref  # noqa: F401

TESTS = pathlib.Path(__file__).resolve().parents[1]
sys.path.insert(0, str(TESTS / "tools"))
import trace_forge as forge  # noqa: E402
from trace_damage import ask_everything  # noqa: E402

sys.path.remove(str(TESTS / "tools"))

if not hasattr(_core, "TraceReader"):
    pytest.skip("this build is without recordings", allow_module_level=True)

ZSTD = 1


def marks_of(seq, first, count):
    """A chunk of marks, one each microsecond."""
    records = [
        (1_000_000 + 1000 * number, KINDS["MARK"], 1, number + 1, 0, 0)
        for number in range(first, first + count)
    ]
    names = {number + 1: f"mark {number}" for number in range(first, first + count)}
    return forge.chunk(seq, records, entries=names, first=first)


def names_in(path):
    found = trace.open(path, allow_gaps=True)
    return [event.fields["name"] for event in found.events("mark")]


@pytest.fixture
def path(tmp_path):
    return tmp_path / "forged.qtrace"


# --- values --------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(12))
def test_values_that_make_no_sense(recorded, path, capsys, seed):
    odd = forge.Nonsense(seed, (0.002, 0.02, 0.2)[seed % 3])
    entries = {key: odd.entry(value) for key, value in recorded.entries.items()}
    rows = [odd.row(row) for _, rows in recorded.keyframes() for row in rows]
    records = [odd.record(record[1:]) for record in recorded.records()]
    path.write_bytes(forge.head() + forge.chunk(0, records, rows, entries))
    found = trace.open(path, allow_gaps=True)
    assert found.problems == [
        "there is no footer: the recording did not end in good order"
    ]
    ask_everything(found)
    for at in (None, 0, found.duration / 2):
        commands._show_state(str(path), found, at, 20)
        assert json.dumps(commands._state(str(path), found, at, 20))
    told.stalls_of(found)
    told.lints_of(found)
    lanes = Lanes()
    Loads(lanes)
    for row in found.snapshot(0).of_kind(1):
        lanes.know(row)
    lanes.feed(record[1:] for record in found.raw_records())
    assert lanes.version == 1


def test_a_job_that_is_no_job(path):
    """What a task waits for says that it is one kind of thing and refers to another."""
    records = [
        (10, KINDS["TASK_CREATED"], 1, 0, 1, 0),
        (30, KINDS["TASK_WAIT"], 1, 6, 1, ref("object", 7)),
        (40, KINDS["TASK_WAKE"], 1, 0, 1, 0),
    ]
    rows = [[ENTITIES["object"], 7, 0, 0]]
    path.write_bytes(forge.head() + forge.chunk(0, records, rows))
    with open(os.devnull, "wb") as out:
        assert write(trace.open(path).source, out, "perfetto")["events"] > 0


# --- chunks --------------------------------------------------------------------------


def test_chunks_in_any_order_and_twice_are_read_once(path):
    parts = [marks_of(seq, 10 * seq, 10) for seq in range(4)]
    whole = [f"mark {number}" for number in range(40)]
    damaged = bytearray(parts[1])
    damaged[100] ^= 1
    for order in (
        [3, 1, 0, 2],
        [0, 1, 1, 2, 3, 0],
        [damaged, 0, 1, 2, 3],
        [0, 1, damaged, 2, 3],
    ):
        made = [parts[one] if isinstance(one, int) else bytes(one) for one in order]
        path.write_bytes(forge.head() + b"".join(made))
        assert names_in(path) == whole
        found = trace.open(path)
        assert found.gaps == []
        assert any("comes after" in problem for problem in found.problems)


def test_a_chunk_of_something_else_is_left_out(path):
    """It says that it is the one that is there already, and that it has more."""
    made = [marks_of(0, 0, 10), marks_of(1, 5, 10), marks_of(2, 10, 5)]
    path.write_bytes(forge.head() + b"".join(made))
    assert names_in(path) == [f"mark {number}" for number in range(15)]


@pytest.mark.parametrize("gone", [(0,), (3,), (0, 1), (2, 3), (1,), (0, 3)])
def test_chunks_that_only_the_footer_has_are_gaps(path, gone):
    parts = [marks_of(seq, 10 * seq, 10) for seq in range(4)]
    places = [
        (0, len(part), seq, 1_000_000 + 10_000 * seq, 1_009_000 + 10_000 * seq,
         10 * seq, 10, 0)
        for seq, part in enumerate(parts)
    ]  # fmt: skip
    data = forge.head() + b"".join(
        part for seq, part in enumerate(parts) if seq not in gone
    )
    path.write_bytes(data + forge.footer(places, len(data)))
    found = trace.open(path)
    missing = {
        number
        for gap in found.gaps
        for number in range(gap.first, gap.first + gap.count)
    }
    assert missing == {10 * seq + i for seq in gone for i in range(10)}
    assert {gap.cause for gap in found.gaps} == {"damaged"}
    assert found.duration == pytest.approx(39e-6)
    with pytest.raises(TraceIncomplete):
        found.tasks().none()
    there = [
        f"mark {10 * seq + i}" for seq in range(4) if seq not in gone for i in range(10)
    ]
    assert names_in(path) == there


def test_a_footer_that_lies(path):
    data = forge.head() + marks_of(0, 0, 10)
    for places in (
        [(0, 0, 9, 0, 0, 1 << 63, (1 << 64) - 1, 0)],
        [(1 << 64) - 2] * 16,
        [(0, 0, 5, -(1 << 63), (1 << 63) - 1, 1 << 62, 1000, 0)],
        [(0, 0, 5, 3, 2, 100, 5, 0), (0, 0, 6, 1, 0, 50, 5, 0)],
    ):
        if not isinstance(places[0], tuple):
            places = [tuple(places[:8]), tuple(places[8:])]
        path.write_bytes(data + forge.footer(places, len(data)))
        found = trace.open(path, allow_gaps=True)
        assert found.problems
        assert len(found.events("mark").all()) == 10
        ask_everything(found)


def test_more_notes_than_are_kept(path, monkeypatch):
    monkeypatch.setattr(_source, "_NOTES_MAX", 25)
    notes = [(1_000_000 + i, 17, {0: 1, 1: i, 2: 5}) for i in range(10)]
    made = [forge.chunk(seq, notes=notes, first=0) for seq in range(4)]
    path.write_bytes(forge.head() + b"".join(made))
    found = trace.open(path)
    assert len(found.source.notes) == 25
    assert "15 notes are left out: there are too many" in found.problems


def test_a_chunk_of_notes_alone_is_nobodys(path):
    most = [(1, 17, {})] * 16_384
    path.write_bytes(forge.head() + forge.chunk(0, notes=most) + marks_of(1, 0, 3))
    assert len(trace.open(path).source.notes) == len(most)
    notes = [*most, most[0]]
    path.write_bytes(forge.head() + forge.chunk(0, notes=notes) + marks_of(1, 0, 3))
    found = trace.open(path, allow_gaps=True)
    assert f"{path}: chunk 0: its contents are damaged" in found.problems
    assert found.source.notes == []
    assert names_in(path) == ["mark 0", "mark 1", "mark 2"]


# --- what is no file -----------------------------------------------------------------


@pytest.fixture
def views():
    """What opens a file in the terminal, and in the window."""
    if sys.version_info < (3, 9):
        return []
    pytest.importorskip("rich", reason="the terminal view needs rich")
    from qtinter.inspect.gui import files as in_window
    from qtinter.inspect.tui import files as in_terminal

    return [in_terminal.open_file, in_window.open_file]


def test_what_is_no_file_makes_nobody_wait(tmp_path, views):
    fifo = tmp_path / "fifo.qtrace"
    os.mkfifo(fifo)
    for name in (fifo, pathlib.Path("/dev/zero"), pathlib.Path("/dev/null")):
        for opens in (trace.open, *views):
            with pytest.raises(ValueError, match=f"{name}: not a qtinter recording"):
                opens(str(name))
    (tmp_path / "empty.qtrace").touch()
    with pytest.raises(ValueError, match=r"empty\.qtrace: not a qtinter recording"):
        trace.open(tmp_path / "empty.qtrace")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    with pytest.raises(OSError, match="loop"):
        trace.open(tmp_path / "loop")
    (tmp_path / "folder").mkdir()
    with pytest.raises(
        ValueError, match=r"there is no \.qtrace and no \.qiseg file in"
    ):
        trace.open(tmp_path / "folder")


def test_a_folder_in_which_another_process_left_nothing_that_is_whole(tmp_path, views):
    (tmp_path / "trace.qtrace").write_bytes(forge.head() + marks_of(0, 0, 3))
    (tmp_path / "trace-p7.qtrace").write_bytes(b"")
    (tmp_path / "trace-p8.qtrace").write_bytes(forge.head() + marks_of(0, 0, 2))
    (tmp_path / "7-1.qiseg").write_bytes(b"QTINSEG1")
    for opens in views:
        assert opens(str(tmp_path))
    found = trace.open(tmp_path, allow_gaps=True)
    assert len(found.events("mark").all()) == 3
    assert [len(other.events("mark").all()) for other in found.others] == [2]
    problems = "\n".join(found.problems)
    assert f"{tmp_path / 'trace-p7.qtrace'}: not a qtinter recording" in problems
    assert "7-1.qiseg" in problems
    (tmp_path / "trace.qtrace").write_bytes(b"")
    with pytest.raises(ValueError, match=r"trace\.qtrace: not a qtinter recording"):
        trace.open(tmp_path)
