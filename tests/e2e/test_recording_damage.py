"""Recordings by the daemon that are cut or corrupted: read as far as they are whole."""

import pathlib
import signal
import sys

import pytest

from qtinter import trace

TOOLS = str(pathlib.Path(__file__).resolve().parents[1] / "tools")
sys.path.insert(0, TOOLS)
from trace_damage import Whole, ask_everything  # noqa: E402

sys.path.remove(TOOLS)

SEED = 20261129


@pytest.fixture
def application(daemon, start_application, known):
    return known(start_application("--control"))


def work(application, first, last):
    """Marks, tasks, signals and a stall, over several chunks."""
    for number in range(first, last, 1000):
        application.ask(f"marks {number} {number + 1000}")
        application.ask("tasks 200")
        application.ask("click")
    application.ask("busy 0.12")
    application.ask("state")


@pytest.fixture
def whole(application, ask, path):
    """A recording that ended in good order."""
    # Chunks have an eighth of the limit; it is not reached.
    ask("RECORD", pid=application.pid, path=str(path), max_bytes=1_000_000)
    work(application, 0, 20_000)
    assert ask("RECORD", pid=application.pid)["state"] == "ended"
    found = Whole(path.read_bytes())
    assert len(found.chunks) >= 4
    assert min(found.chunks) == 0
    return found


@pytest.fixture
def ring(daemon, application, ask, path):
    """The flight of a daemon that was killed: the last chunks, and no footer."""
    ask(
        "RECORD",
        pid=application.pid,
        path=str(path),
        max_bytes=100_000,
        trigger="stall>3600s",
    )
    part = path.with_name(path.name + ".part")
    first = 0
    while not (part.exists() and _drops(part)):
        work(application, first, first + 10_000)
        first += 10_000
        assert first < 10_000_000
    daemon.stop(signal.SIGKILL)
    found = Whole(part.read_bytes())
    assert len(found.chunks) >= 2
    return found


def _drops(path):
    found = trace.open(path, allow_gaps=True).source
    return bool(found._reader.chunks) and found._reader.chunks[0][0] > 0


@pytest.mark.parametrize("name", ["whole", "ring"])
def test_cut_anywhere(request, name, tmp_path):
    recording = request.getfixturevalue(name)
    cuts = recording.cuts(SEED, 50)[::5]  # each takes a while in a long recording
    for cut in cuts:
        recording.check_cut(cut)
    copy = tmp_path / "copy.qtrace"
    copy.write_bytes(recording.data)
    for cut in reversed(cuts[:: len(cuts) // 4]):
        with open(copy, "r+b") as file:
            file.truncate(cut)
        if cut < recording.blocks[0][0]:
            with pytest.raises(ValueError, match="copy"):
                trace.open(copy)
            continue
        found = trace.open(copy)
        ask_everything(found)
        assert found.problems
        assert f"problem: {found.problems[0]}" in found.text()


@pytest.mark.parametrize("name", ["whole", "ring"])
def test_corrupted_anywhere(request, name, tmp_path):
    recording = request.getfixturevalue(name)
    copy = tmp_path / "copy.qtrace"
    for number, changed in enumerate(recording.damaged(SEED, 40)):
        recording.check_damaged(changed)
        if number % 10:
            continue
        copy.write_bytes(changed)
        try:
            found = trace.open(copy)
        except ValueError:
            continue
        assert found.problems
        ask_everything(found)


def test_chunks_that_are_gone_are_a_gap(whole, tmp_path):
    """Their records are missing, whatever has become of their bytes."""
    begin, end, _ = whole.blocks[1]
    copy = tmp_path / "copy.qtrace"
    copy.write_bytes(whole.data[:begin] + whole.data[end:])
    found = trace.open(copy)
    assert "chunk 1 is missing" in found.problems
    (gap,) = found.gaps
    *_, first, count, _, _ = whole.places[1]
    assert (gap.first, gap.count, gap.cause) == (first, count, "damaged")
    # A chunk may begin before the one before it ends: threads write at once.
    until = max(whole.places[0][2], whole.places[2][1])
    assert (gap.t0, gap.t1) == (whole.places[0][2], until)
    with pytest.raises(trace.TraceIncomplete, match=r"records are missing .damaged."):
        found.tasks().count()
    before = found.between(0, found.seconds(whole.places[0][2] - 1000))
    assert before.tasks("alpha").count() == 1, "what is before it is whole"
    assert trace.open(copy, allow_gaps=True).tasks("alpha").count() == 1


def test_the_commands_on_a_recording_that_is_cut(whole, inspect, tmp_path):
    copy = tmp_path / "copy.qtrace"
    copy.write_bytes(whole.data[: whole.blocks[2][1] + 10])
    torn = "the end is torn: 10 bytes behind the last whole chunk"
    shown = inspect("replay", "--text", str(copy))
    assert shown.returncode == 0, shown.stderr
    assert f"problem: {torn}" in shown.stdout
    assert "alpha" in shown.stdout
    done = inspect("export", "--jsonl", str(copy))
    assert done.returncode == 0, done.stderr
    assert torn in (tmp_path / "copy.jsonl").read_text("utf-8")
    done = inspect("diff", str(copy), str(copy))
    assert done.returncode == 0, done.stderr
    assert torn in done.stdout + done.stderr
