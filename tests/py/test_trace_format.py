"""Recordings: the reader, and what the recorder writes against what happened."""
# ruff: noqa: F811 - fixtures that are imported

import asyncio
import gc
import os
import pathlib
import struct
import sys
import time

import pytest

import qtinter
import qtinter.trace
from qtinter import _core, inspect
from qtinter.inspect import _tables

TESTS = pathlib.Path(__file__).resolve().parents[1]
sys.path.insert(0, str(TESTS / "tools"))
from trace_contents import MARK, RECORD, Contents, marks  # noqa: E402
from trace_damage import crc32c  # noqa: E402

from .driving import create_named  # noqa: E402
from .observing import apart, off, run_native  # noqa: E402, F401

sys.path.remove(str(TESTS / "tools"))

if not hasattr(_core, "TraceReader"):
    pytest.skip("this build is without recordings", allow_module_level=True)

KEPT = TESTS / "data" / "trace"


async def work(first, last):
    for name in marks(first, last):
        inspect.mark(name)
        await asyncio.sleep(0)


# --- the reader ----------------------------------------------------------------------


@pytest.mark.parametrize("name", ["v1.0.qtrace", "v1.0-raw.qtrace"])
def test_recordings_of_released_versions_are_read(name):
    reader = _core.TraceReader(KEPT / name)
    if any("without it" in problem for problem in reader.problems):
        pytest.skip("this build is without zstd")
    assert (reader.problems, reader.complete) == ([], True)
    assert reader.header == {
        "format": (1, 0),
        "pid": 42,
        "start": 7,
        "name": "the program",
        "mono0": 1000,
        "wall0": -5,
        "level": 2,
        "control": False,
        "versions": {"qtinter": "1.2.3", "python": "", "binding": "", "qt": ""},
        "host": "box",
        "redacted": True,
        "writer": "application",
        "trace_id": "",
    }
    assert [chunk[:6] for chunk in reader.chunks] == [
        (0, -5000, 34000, 0, 40, 0),
        (1, 500, 74000, 40, 40, 0),
        (2, 500, 121000, 87, 40, 0),
    ]
    chunk = reader.read(2)
    assert chunk["first"] == 87
    assert chunk["gaps"] == [(80, 7, "ring", 1, 2)]
    assert chunk["notes"] == [(700, "stall", {"loop": 1})]
    assert chunk["state_ts"] == 500
    assert [row[:4] for row in chunk["rows"]] == [[1, 1, 3, 1], [1, 2, 1, 1]]
    assert [row[:4] for row in chunk["ended"]] == [[1, 3, 6, 1]]
    assert chunk["rows"][0][4 + 5] == -3  # created
    assert chunk["entries"] == [
        (1, "t", "text 1"),
        (2, "t", "text 2"),
        (3, "t", "text 3"),
        (10, "c", [1, 2, 77]),
        (11, "k", [10]),
    ]
    records = list(RECORD.iter_unpack(chunk["records"]))
    assert records[0] == (82000, 11, 1, 0, 37, 87 * 977 % 100000)
    assert records[3] == (85000, 10, 1, 10, 40, 10 << 56 | 3)


def test_bytes_are_read_as_a_file_is(tmp_path):
    data = (KEPT / "v1.0-raw.qtrace").read_bytes()
    for source in (data, bytearray(data), memoryview(data)):
        reader = _core.TraceReader(source)
        assert reader.complete
        assert len(reader.read(0)["records"]) == 40 * RECORD.size
    os.symlink(KEPT / "v1.0-raw.qtrace", tmp_path / "link")
    assert _core.TraceReader(str(tmp_path / "link")).complete


def test_what_is_no_recording_is_refused_by_name(tmp_path):
    path = tmp_path / "letters.qtrace"
    with pytest.raises(FileNotFoundError, match=r"letters\.qtrace"):
        _core.TraceReader(path)
    with pytest.raises(IsADirectoryError):
        _core.TraceReader(tmp_path)
    path.write_bytes(b"Dear reader")
    with pytest.raises(ValueError, match=r"letters\.qtrace: not a qtinter recording"):
        _core.TraceReader(path)
    path.write_bytes((KEPT / "v1.0-raw.qtrace").read_bytes()[:50])
    with pytest.raises(
        ValueError, match=r"letters\.qtrace: the recording's head is dam"
    ):
        _core.TraceReader(path)
    with pytest.raises(ValueError, match="<bytes>: not a qtinter recording"):
        _core.TraceReader(b"")
    with pytest.raises(TypeError):
        _core.TraceReader(5)
    with pytest.raises(TypeError):
        _core.TraceReader()


def with_map(data, at, value):
    """The recording with a byte of its head's map changed, and a good checksum."""
    data = bytearray(data)
    data[16 + at] = value
    (size,) = struct.unpack_from("<I", data, 8)
    struct.pack_into("<I", data, 12, crc32c(data[16 : 16 + size]))
    return bytes(data)


def test_another_major_is_refused_and_another_minor_is_not():
    data = (KEPT / "v1.0-raw.qtrace").read_bytes()
    with pytest.raises(
        ValueError, match=r"a recording of version 2\.0; this qtinter rea"
    ):
        _core.TraceReader(with_map(data, 2, 2))
    reader = _core.TraceReader(with_map(data, 4, 99))
    assert reader.complete
    assert reader.header["format"] == (1, 99)
    # A head that leaves a field out, or has another type there: here, key 2 is gone.
    assert _core.TraceReader(with_map(data, 5, 77)).header["pid"] == 0


def test_a_damaged_chunk_is_named_and_the_others_are_read():
    data = bytearray((KEPT / "v1.0-raw.qtrace").read_bytes())
    second = data.index(b"QTBK", data.index(b"QTBK") + 4)
    data[second + 100] ^= 1
    reader = _core.TraceReader(data)
    assert reader.problems == ["bad checksum in chunk 1"]
    assert not reader.complete
    assert len(reader.chunks) == 3
    with pytest.raises(ValueError, match="<bytes>: chunk 1: bad checksum"):
        reader.read(1)
    assert reader.read(2)["first"] == 87
    with pytest.raises(IndexError, match="chunks 0 to 2, not 3"):
        reader.read(3)
    with pytest.raises(IndexError):
        reader.read(-1)
    with pytest.raises(TypeError):
        reader.read("1")


def test_what_is_missing_is_said():
    data = (KEPT / "v1.0-raw.qtrace").read_bytes()
    starts = [at for at in range(len(data)) if data.startswith(b"QTBK", at)]
    torn = _core.TraceReader(data[: starts[2] + 70])
    assert torn.problems == [
        "the end is torn: chunk 2 is cut short",
        "there is no footer: the recording did not end in good order",
    ]
    hole = _core.TraceReader(data[: starts[1]] + data[starts[2] :])
    assert "chunk 1 is missing" in hole.problems
    assert [chunk[0] for chunk in hole.chunks] == [0, 2]
    noise = _core.TraceReader(data[: starts[0]] + b"noise" + data[starts[0] :])
    assert noise.problems[0] == f"5 damaged bytes at {starts[0]}"
    assert len(noise.chunks) == 3


def test_readers_are_freed():
    data = (KEPT / "v1.0-raw.qtrace").read_bytes()
    before = sys.getrefcount(_core.TraceReader)
    references = sys.getrefcount(data)
    for _ in range(100):
        reader = _core.TraceReader(data)
        reader.read(0)
        with pytest.raises(ValueError, match="no"):
            _core.TraceReader(b"x")
    del reader
    gc.collect()
    assert sys.getrefcount(_core.TraceReader) <= before + 1
    assert sys.getrefcount(data) == references


# --- the recorder --------------------------------------------------------------------


def test_what_the_program_did_is_in_it(apart, tmp_path):
    path = tmp_path / "a.qtrace"

    async def main():
        await work(0, 10)
        first = inspect.snapshot().info["records"]
        handle = _core.inspect_record_start(path, {})
        sleeper = create_named(asyncio.sleep(60), "sleeper")
        await work(10, 2000)
        stats = _core.inspect_record_stats(handle)
        assert stats["state"] == "recording"
        stats = _core.inspect_record_stop(handle)
        last = inspect.snapshot().info["records"]
        sleeper.cancel()
        return first, last, stats

    inspect.enable(connect=False)
    first, last, stats = run_native(main())
    contents = Contents(path)
    assert contents.reader.complete
    assert contents.marks() == marks(10, 2000)
    assert contents.reader.chunks[0][3] == first
    assert contents.end == last
    assert len(contents.records) + contents.lost == last - first
    assert contents.lost == 0
    assert stats["state"] == "ended"
    assert stats["records"] == last - first
    assert stats["bytes"] < path.stat().st_size <= stats["bytes"] + 1000  # the footer
    assert path.stat().st_mode & 0o777 == 0o600
    # The last chunk has the state at the end.
    assert "sleeper" in contents.names(contents.rows[-1])
    assert contents.reader.header["pid"] == os.getpid()
    assert contents.reader.header["writer"] == "application"
    assert contents.reader.header["versions"]["qtinter"] == qtinter.__version__


def test_a_ring_that_is_too_small_is_a_loss_that_is_counted(apart, tmp_path):
    path = tmp_path / "a.qtrace"

    async def main():
        first = inspect.snapshot().info["records"]
        handle = _core.inspect_record_start(path, {})
        # The recorder runs while the GIL is held, and is too slow for 64 records.
        for name in marks(0, 20000):
            inspect.mark(name)
        stats = _core.inspect_record_stop(handle)
        return first, inspect.snapshot().info["records"], stats

    inspect.enable(connect=False, ring=64)
    first, last, stats = run_native(main())
    contents = Contents(path)
    assert contents.reader.complete
    assert contents.lost > 0
    assert len(contents.records) + contents.lost == last - first
    assert (stats["records"], stats["lost"]) == (len(contents.records), contents.lost)
    assert set(contents.marks()) <= set(marks(0, 20000))


def test_tasks_that_ended_are_in_it_as_they_ended(apart, tmp_path):
    path = tmp_path / "a.qtrace"

    async def fails():
        raise RuntimeError

    async def main():
        with inspect.record(path):
            failed = create_named(fails(), "failed")
            await asyncio.wait([failed])
            assert failed.exception() is not None

    run_native(main())
    contents = Contents(path)
    (row,) = [r for r in contents.ended if contents.entries.get(r[4]) == "failed"]
    columns = [name for name, _ in _tables.ENTITIES[1][1]]
    assert contents.entries[row[4 + columns.index("exception")]] == "RuntimeError"


def test_short_tasks_have_names_in_it_however_many_they_are(apart, tmp_path):
    """A row stays long enough for the recorder, which looks ten times a second."""
    path = tmp_path / "a.qtrace"

    async def main():
        loop = asyncio.get_running_loop()
        with inspect.record(path):
            for _ in range(100):
                future = loop.create_future()
                tasks = [create_named(wait_for(future), "short") for _ in range(100)]
                await asyncio.sleep(0)
                await asyncio.sleep(0)
                future.set_result(None)
                await asyncio.gather(*tasks)

    async def wait_for(future):
        await future

    run_native(main())
    tasks = qtinter.trace.open(path).tasks("short")
    assert len(tasks) == 10_000


def test_a_recording_at_once(apart, tmp_path):
    path = tmp_path / "a.qtrace"

    async def main():
        await work(0, 100)
        inspect.save(path)
        whole = Contents(path)
        assert whole.marks() == marks(0, 100)
        assert whole.reader.complete
        (middle,) = [
            number
            for number, record in enumerate(whole.records)
            if record[1] == MARK and whole.entries[record[3]] == "mark 60"
        ]
        inspect.save(path, middle)
        assert Contents(path).marks() == marks(60, 100)

    inspect.enable(connect=False)
    run_native(main())
    inspect.disable()
    with pytest.raises(RuntimeError, match="not enabled"):
        inspect.save(path)


def test_files_of_others_are_left_alone(apart, tmp_path):
    letters = tmp_path / "letters"
    letters.write_text("Dear reader")
    inspect.enable(connect=False)
    for make in (inspect.save, inspect.record, inspect.flight):
        with pytest.raises(FileExistsError, match="letters"):
            make(letters)
    assert letters.read_text() == "Dear reader"
    with pytest.raises(OSError, match="nowhere"):
        inspect.record(tmp_path / "nowhere" / "a.qtrace")
    with pytest.raises(ValueError, match="there is no recording 77"):
        _core.inspect_record_stop(77)
    with pytest.raises(ValueError, match="max_bytes must not be negative"):
        _core.inspect_record_start(tmp_path / "a", {"max_bytes": -1})
    assert os.listdir(tmp_path / "runtime") != []
    inspect.disable()
    assert sorted(os.listdir(tmp_path)) == ["letters", "runtime"]


# --- record() ------------------------------------------------------------------------


def test_record_switches_inspection_on_for_itself(apart, tmp_path):
    async def main():
        assert not inspect.is_enabled()
        with inspect.record(tmp_path / "a.qtrace") as outer:
            await work(0, 5)
            assert _core.inspect_level() == 2
            assert inspect.statistics()["state"] == "off"  # it looks for no daemon
            with inspect.record(tmp_path / "b.qtrace", level=3):
                assert _core.inspect_level() == 3
                await work(5, 10)
            assert _core.inspect_level() == 2
            assert inspect.is_enabled()
            await work(10, 15)
        assert not inspect.is_enabled()
        assert outer.statistics()["state"] == "ended"
        assert outer.stop() == outer.statistics()

    run_native(main())
    assert Contents(tmp_path / "a.qtrace").marks() == marks(0, 15)
    inner = Contents(tmp_path / "b.qtrace")
    assert inner.marks() == marks(5, 10)
    assert inner.reader.header["level"] == 3
    assert os.listdir(tmp_path / "runtime") == []


def test_record_leaves_inspection_as_it_was(apart, tmp_path):
    inspect.enable(level=1, connect=False)
    with inspect.record(tmp_path / "a.qtrace"):
        assert _core.inspect_level() == 2  # without events there is nothing to record
    assert _core.inspect_level() == 1
    # Who switches it on meanwhile wants it on.
    inspect.disable()
    with inspect.record(tmp_path / "a.qtrace"):
        inspect.enable(level=3, connect=False)
    assert inspect.is_enabled()
    assert _core.inspect_level() == 3
    with pytest.raises(ValueError, match="level must be 2 to 4, not 1"):
        inspect.record(tmp_path / "a.qtrace", level=1)


def test_disable_ends_a_recording_in_good_order(apart, tmp_path):
    path = tmp_path / "a.qtrace"

    async def main():
        with inspect.record(path) as recording:
            await work(0, 5)
            inspect.disable()
            inspect.enable(connect=False)
            with inspect.record(tmp_path / "b.qtrace") as other:
                assert recording.stop()["state"] == "ended"
                assert other.statistics()["state"] == "recording"
        assert inspect.is_enabled()

    run_native(main())
    contents = Contents(path)
    assert contents.reader.complete
    assert contents.marks() == marks(0, 5)


@pytest.mark.parametrize("keep", ["always", "on_error"])
@pytest.mark.parametrize("fails", [False, True])
def test_what_is_kept(apart, tmp_path, keep, fails):
    path = tmp_path / "a.qtrace"

    def block():
        with inspect.record(path, keep=keep):
            run_native(work(0, 5))
            if fails:
                raise KeyError("mine")

    if fails:
        with pytest.raises(KeyError, match="mine"):
            block()
    else:
        block()
    assert path.exists() == (fails or keep == "always")
    if path.exists():
        assert Contents(path).marks() == marks(0, 5)


def test_keep_is_checked(tmp_path):
    with pytest.raises(
        ValueError, match="keep must be 'always' or 'on_error', not 'no'"
    ):
        inspect.record(tmp_path / "a.qtrace", keep="no")
    with pytest.raises(ValueError, match="max_age must be seconds"):
        inspect.record(tmp_path / "a.qtrace", max_age=-1)


def test_a_limit_keeps_the_newest(apart, tmp_path):
    path = tmp_path / "a.qtrace"

    async def main():
        with inspect.record(path, max_bytes=200_000) as recording:
            number = 0
            while recording.statistics()["chunks_dropped"] == 0:
                await work(number, number + 1000)
                number += 1000
            await work(number, number + 10)
        return number + 10

    last = run_native(main())
    contents = Contents(path)
    assert contents.reader.complete
    assert contents.reader.chunks[0][0] > 0
    assert path.stat().st_size <= 200_000
    assert contents.marks()[-10:] == marks(last - 10, last)
    assert contents.lost == 0


# --- flight() ------------------------------------------------------------------------


async def until(recording, name, value):
    while recording.statistics()[name] < value:
        await asyncio.sleep(0.001)


def test_a_flight_captures_an_exception(apart, tmp_path):
    path = tmp_path / "a.qtrace"

    async def fails():
        raise RuntimeError

    async def main():
        with inspect.flight(path, on="exception", post=0) as flight:
            await work(0, 50)
            assert not path.exists()
            assert (tmp_path / "a.qtrace.part").exists()
            await asyncio.gather(fails(), return_exceptions=True)
            await until(flight, "captures", 1)
            assert flight.statistics()["last_trigger"] == "exception"
            captured = Contents(path)
            assert captured.reader.complete
            assert captured.marks() == marks(0, 50)
            await work(50, 60)
        assert not (tmp_path / "a.qtrace.part").exists()

    run_native(main())
    assert Contents(path).marks() == marks(0, 50)


def test_a_flight_captures_what_comes_after_its_trigger(apart, tmp_path):
    path = tmp_path / "a.qtrace"

    async def fails():
        raise RuntimeError

    async def main():
        with inspect.flight(path, on="lint|exception", post=3600):
            await asyncio.gather(fails(), return_exceptions=True)
            await work(0, 50)

    run_native(main())  # the end of the flight is the end of the wait
    assert Contents(path).marks() == marks(0, 50)


def test_a_flight_without_a_trigger_leaves_nothing(apart, tmp_path):
    async def main():
        with inspect.flight(tmp_path / "a.qtrace", on="stall>1000s"):
            await work(0, 50)

    run_native(main())
    assert os.listdir(tmp_path) == ["runtime"]


@pytest.mark.parametrize("on", ["", "stall>", "x", "lint|", None, 5])
def test_triggers_that_are_none(apart, tmp_path, on):
    with pytest.raises(ValueError, match="it must be 'stall>200ms', 'exception', 'lin"):
        inspect.flight(tmp_path / "a.qtrace", on=on)
    assert not inspect.is_enabled()


# --- ends of processes ---------------------------------------------------------------


@pytest.fixture
def run_recorded(run_isolated, tmp_path):
    def run(how):
        runtime = tmp_path / "runtime"
        env = {"QTINTER_RUNTIME_DIR": str(runtime), "QTINTER_INSPECT": None}
        # From 3.12 on, of fork() while there are threads: here, the recorder.
        env["PYTHONWARNINGS"] = "ignore::DeprecationWarning"
        return run_isolated("recorded.py", how, tmp_path / "a.qtrace", env=env)

    return run


@pytest.mark.parametrize("how", ["plain", "exits", "thread", "fork"])
def test_every_end_of_a_process_leaves_a_whole_recording(run_recorded, tmp_path, how):
    result = run_recorded(how)
    assert (result.returncode, result.stdout.split()) == (0, ["done"]), result.stderr
    assert result.stderr == ""
    contents = Contents(tmp_path / "a.qtrace")
    assert contents.reader.problems == []
    assert contents.marks() == marks(0, 50)
    if how == "fork":
        child = Contents(tmp_path / "a.qtrace.child")
        assert child.marks() == marks(100, 110)
        assert child.reader.header["pid"] != contents.reader.header["pid"]
    assert os.listdir(tmp_path / "runtime") == []


def test_a_killed_process_leaves_what_was_written_and_its_segment(
    run_recorded, tmp_path
):
    result = run_recorded("killed")
    assert result.returncode == -9, result.stderr
    contents = Contents(tmp_path / "a.qtrace")
    assert contents.reader.problems == [
        "there is no footer: the recording did not end in good order"
    ]
    assert Contents(tmp_path / "a.qtrace.2").marks() == marks(0, 50)
    # What was in no chunk yet is in the segment.
    (segment,) = (tmp_path / "runtime").iterdir()
    _core.segment_to_trace(segment, tmp_path / "b.qtrace")
    left = Contents(tmp_path / "b.qtrace")
    assert left.reader.complete
    assert left.reader.header["writer"] == "segment"
    assert left.marks() == marks(0, 50)
    with pytest.raises(ValueError, match=r"cannot read .*not a qtinter segment"):
        _core.segment_to_trace(tmp_path / "b.qtrace", tmp_path / "c.qtrace")
    with pytest.raises(FileNotFoundError):
        _core.segment_to_trace(tmp_path / "nothing", tmp_path / "c.qtrace")
    with pytest.raises(FileExistsError):
        _core.segment_to_trace(segment, segment)


def test_a_full_disk_ends_the_recording_and_not_the_program(run_recorded, tmp_path):
    result = run_recorded("full")
    assert (result.returncode, result.stdout.split()) == (0, ["done"]), result.stderr
    contents = Contents(tmp_path / "a.qtrace")
    assert contents.reader.problems == [
        "there is no footer: the recording did not end in good order"
    ]


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="stacks need tgkill()")
def test_the_stack_of_a_stall_is_in_the_capture(apart, tmp_path):
    path = tmp_path / "a.qtrace"

    def hang():
        # The first may be of what was before; one is taken when the last has been read.
        deadline = time.monotonic() + 60
        while inspect.statistics()["stacks"] < 3 and time.monotonic() < deadline:
            pass

    async def main():
        with inspect.flight(path, on="stall>50ms", post=0):
            hang()

    run_native(main())
    notes = [fields for _, kind, fields in Contents(path).notes if kind == "stall"]
    stacks = [fields["stack"] for fields in notes if "stack" in fields]
    assert any("in hang" in stack for stack in stacks), stacks
