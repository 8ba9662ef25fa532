"""inspect.record() and flight() where the world is not as they would have it."""
# ruff: noqa: F811 - fixtures that are imported

import asyncio
import os
import pathlib
import shutil
import sys
import time

import pytest

from qtinter import _core, inspect, trace

from .observing import apart, off, run_native  # noqa: F401

if not hasattr(_core, "TraceReader"):
    pytest.skip("this build is without recordings", allow_module_level=True)


async def work(count=10):
    for number in range(count):
        inspect.mark(f"mark {number}")
        await asyncio.sleep(0)


async def fails():
    raise RuntimeError("on purpose")


async def until(recording, is_so):
    deadline = time.monotonic() + 60  # a safety net
    while not is_so(recording.statistics()) and time.monotonic() < deadline:
        await asyncio.sleep(0.005)


def marks(path):
    return len(trace.open(path).events("mark").all())


# --- files ---------------------------------------------------------------------------


def test_a_file_that_was_removed_is_said(apart, tmp_path):
    path = tmp_path / "a.qtrace"
    recording = inspect.record(path)
    run_native(work())
    path.unlink()
    with pytest.warns(RuntimeWarning, match=r"a\.qtrace is not complete: the file was"):
        stats = recording.stop()
    assert stats["state"] == "failed"
    assert not path.exists()


def test_a_capture_without_a_place_is_said(apart, tmp_path):
    folder = tmp_path / "folder"
    folder.mkdir()

    async def main():
        flight = inspect.flight(folder / "a.qtrace", on="exception", post=0)
        await work()
        shutil.rmtree(folder)
        await asyncio.gather(fails(), return_exceptions=True)
        await until(flight, lambda stats: stats["reason"])
        assert flight.statistics()["state"] == "recording"  # there may be room again
        with pytest.warns(RuntimeWarning, match="not complete: capture: No such file"):
            flight.stop()

    run_native(main())


def test_one_file_has_one_recording_at_a_time(apart, tmp_path, monkeypatch):
    path = tmp_path / "a.qtrace"
    monkeypatch.chdir(tmp_path)
    with inspect.record(path):
        for make in (inspect.record, inspect.flight):
            with pytest.raises(FileExistsError, match="is being recorded into already"):
                make("a.qtrace")
        run_native(work())
    assert marks(path) == 10
    with inspect.record(path):  # now it may
        run_native(work(5))
    assert marks(path) == 5


def test_one_too_many_replaces_nothing(apart, tmp_path):
    path = tmp_path / "kept.qtrace"
    with inspect.record(path):
        run_native(work())
    made = []
    with pytest.raises(ValueError, match="there are 8 recordings already"):
        for number in range(9):
            name = path if number == 8 else tmp_path / f"{number}.qtrace"
            made.append(inspect.record(name))
    for recording in made:
        recording.stop()
    assert marks(path) == 10
    assert not inspect.is_enabled()


@pytest.mark.skipif(sys.platform == "darwin", reason="file names there are UTF-8")
@pytest.mark.parametrize(
    "name", [b"b\xff.qtrace", "s\udcff.qtrace", "\u00fc \n.qtrace"]
)
def test_any_name_of_a_file(apart, tmp_path, name):
    folder = os.fsencode(tmp_path) if isinstance(name, bytes) else str(tmp_path)
    path = os.path.join(folder, name)
    with inspect.record(path) as recording:
        run_native(work())
    assert recording.path == os.fsdecode(path)
    assert marks(path) == 10


def test_a_path_is_where_it_was(apart, tmp_path, monkeypatch):
    """Also for a capture, which is made later."""
    other = tmp_path / "other"
    other.mkdir()
    monkeypatch.chdir(tmp_path)

    async def main():
        with inspect.record("a.qtrace"), inspect.flight(
            "b.qtrace", on="exception", post=0
        ) as flight:
            await work(5)
            monkeypatch.chdir(other)
            await asyncio.gather(fails(), return_exceptions=True)
            await until(flight, lambda stats: stats["captures"])
            await work(5)

    run_native(main())
    assert os.listdir(other) == []
    assert marks(tmp_path / "a.qtrace") == 10
    assert marks(tmp_path / "b.qtrace") == 5


@pytest.mark.parametrize("path", ["", ".", "/"])
def test_a_folder_is_no_file(apart, path):
    with pytest.raises(OSError, match="Is a directory"):
        inspect.record(path)


# --- arguments -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "error", "text"),
    [
        ({"level": "3"}, TypeError, "level must be 2 to 4, not '3'"),
        ({"level": 2.5}, TypeError, "level must be 2 to 4, not 2.5"),
        ({"max_bytes": 1}, ValueError, "max_bytes must be 65536 or more, not 1"),
        ({"max_bytes": -1}, ValueError, "max_bytes must be 65536 or more, not -1"),
        ({"max_bytes": 1 << 70}, ValueError, "max_bytes must be 65536 or more"),
        ({"max_bytes": "64MB"}, TypeError, "max_bytes must be a whole number, not '64"),
        ({"max_age": "1s"}, TypeError, "max_age must be a number of seconds, not '1s'"),
        ({"max_age": float("nan")}, ValueError, "max_age must be seconds, 0 or more"),
    ],
)
def test_arguments_that_are_none(apart, tmp_path, arguments, error, text):
    for make in (inspect.record, inspect.flight):
        with pytest.raises(error, match=text):
            make(tmp_path / "a.qtrace", **arguments)
    assert os.listdir(tmp_path) == ["runtime"]
    assert not inspect.is_enabled()


def test_times_around_a_trigger_are_numbers(apart, tmp_path):
    with pytest.raises(TypeError, match="post must be a number of seconds, not '2s'"):
        inspect.flight(tmp_path / "a.qtrace", post="2s")


def test_what_has_ended_is_not_entered(apart, tmp_path):
    with inspect.record(tmp_path / "a.qtrace") as recording:
        run_native(work())
    with pytest.raises(RuntimeError, match=r"a\.qtrace' ended> cannot be entered"):
        recording.__enter__()
    assert marks(recording.path) == 10


# --- ends ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "error", [SystemExit, KeyboardInterrupt, asyncio.CancelledError, GeneratorExit]
)
def test_an_end_that_is_no_exception_is_an_error_too(apart, tmp_path, error):
    path = tmp_path / "a.qtrace"
    with pytest.raises(error), inspect.record(path, keep="on_error"):
        run_native(work())
        raise error
    assert marks(path) == 10


def test_a_recording_is_of_no_thread(apart, tmp_path):
    """Begun and ended by threads that have no loop, while that of another one runs."""
    path = tmp_path / "a.qtrace"

    async def main():
        loop = asyncio.get_running_loop()
        await work(5)
        recording = await loop.run_in_executor(None, inspect.record, path)
        await work(7)
        await loop.run_in_executor(None, recording.stop)
        await work(5)

    run_native(main())
    assert marks(path) == 7


# --- limits --------------------------------------------------------------------------


def test_what_is_alive_leaves_room_for_what_happens(apart, tmp_path):
    """The state of 10,000 tasks is more than the file may have."""
    path = tmp_path / "a.qtrace"
    largest = 0

    async def main():
        nonlocal largest
        event = asyncio.Event()
        tasks = [asyncio.ensure_future(event.wait()) for _ in range(10_000)]
        await asyncio.sleep(0)
        with inspect.record(path, max_bytes=100_000) as recording:
            for chunks in range(1, 4):
                while recording.statistics()["chunks"] < chunks:
                    await work(100)
                    largest = max(largest, path.stat().st_size)
        event.set()
        await asyncio.gather(*tasks)

    run_native(main())
    assert max(largest, pathlib.Path(path).stat().st_size) <= 100_000
    found = trace.open(path)
    assert len(found.events("mark").all()) > 0
    assert any("no room for the state" in problem for problem in found.problems)
