"""Recordings by the daemon."""

import os
import pathlib
import signal
import sys

import pytest

from qtinter.inspect import connect
from qtinter.inspect.errors import InspectError

TOOLS = str(pathlib.Path(__file__).resolve().parents[1] / "tools")
sys.path.insert(0, TOOLS)
from trace_contents import Contents, marks  # noqa: E402

sys.path.remove(TOOLS)


@pytest.fixture
def application(daemon, start_application, known):
    return known(start_application("--control"))


def start(ask, application, path, **options):
    ask("RECORD", pid=application.pid, path=str(path), **options)


def test_what_the_application_did_is_in_it(application, ask, path):
    application.ask("marks 0 10")
    start(ask, application, path)
    application.ask("marks 10 3000")
    application.ask("task fresh")
    application.ask("state")  # its first step has been by now: it has its name
    stats = ask("RECORD", pid=application.pid)
    contents = Contents(path)
    assert contents.reader.problems == []
    assert contents.reader.header["writer"] == "daemon"
    assert contents.reader.header["pid"] == application.pid
    assert contents.reader.header["name"] == "victim"
    assert contents.reader.header["level"] == 3
    assert contents.reader.header["versions"]["python"] == sys.version.split()[0]
    assert contents.marks() == marks(10, 3000)
    assert contents.lost == 0
    assert stats["state"] == "ended"
    assert stats["path"] == str(path)
    assert (stats["records"], stats["lost"]) == (len(contents.records), contents.lost)
    assert {"alpha", "beta", "gamma"} <= contents.names(contents.rows[0])
    assert {"alpha", "beta", "gamma", "fresh"} <= contents.names(contents.rows[-1])
    assert path.stat().st_mode & 0o777 == 0o600


def test_all_of_it_after_the_end_of_the_application(application, ask, path):
    """What was not sent is read from the segment of a process that has died."""
    start(ask, application, path)
    application.ask("marks 0 3000")
    application.kill()
    stats = ask("RECORD", pid=application.pid)
    contents = Contents(path)
    assert contents.reader.problems == []
    assert contents.marks() == marks(0, 3000)
    assert contents.lost == 0
    assert stats["records"] == len(contents.records)


def test_a_recording_goes_on_over_a_restart_of_the_tool(application, ask, path):
    start(ask, application, path)
    with pytest.raises(InspectError, match=r"recorded already, into .*a\.qtrace"):
        start(ask, application, path.with_name("b.qtrace"))
    application.ask("marks 0 5")
    application.kill()
    ask("RECORD", pid=application.pid)
    assert Contents(path).marks() == marks(0, 5)
    with pytest.raises(InspectError, match="it is not being recorded"):
        ask("RECORD", pid=application.pid)
    with pytest.raises(InspectError, match="the application has ended"):
        start(ask, application, path)


def test_what_is_refused(application, ask, path, tmp_path):
    with pytest.raises(InspectError, match="this needs the role control"):
        ask("RECORD", role="observe", pid=application.pid, path=str(path))
    with pytest.raises(InspectError, match="there is no such application"):
        ask("RECORD", pid=1, path=str(path))
    with pytest.raises(InspectError, match="must be absolute"):
        start(ask, application, "a.qtrace")
    with pytest.raises(InspectError, match="No such file"):
        start(ask, application, tmp_path / "nowhere" / "a.qtrace")
    with pytest.raises(InspectError, match="trigger: it must be 'stall>200ms'"):
        start(ask, application, path, trigger="full moon")
    with pytest.raises(InspectError, match="max_bytes must be 65536 or more"):
        start(ask, application, path, max_bytes=65_535)
    letters = tmp_path / "letters"
    letters.write_text("Dear reader")
    os.symlink(letters, path)
    with pytest.raises(InspectError, match="Is a directory"):
        start(ask, application, tmp_path)
    for place in (letters, path):
        with pytest.raises(InspectError, match="no recording of yours"):
            start(ask, application, place)
    assert letters.read_text() == "Dear reader"
    with pytest.raises(InspectError, match="it is not being recorded"):
        ask("RECORD", pid=application.pid)


def test_a_daemon_that_ends_leaves_a_whole_recording(daemon, application, ask, path):
    start(ask, application, path)
    assert daemon.stop() == 0
    contents = Contents(path)
    assert contents.reader.problems == []
    assert {"alpha", "beta", "gamma"} <= contents.names(contents.rows[-1])


def test_a_killed_daemon_leaves_what_was_written(daemon, application, ask, path):
    start(ask, application, path)
    daemon.stop(signal.SIGKILL)
    assert Contents(path).reader.problems == [
        "there is no footer: the recording did not end in good order"
    ]


def test_stalls_and_lints_are_notes(application, run, until, ask, path):
    async def main():
        async with connect(role="control") as feed:
            await feed.subscribe(pid=application.pid)
            process = feed.processes[application.pid]
            await feed.request("RECORD", pid=application.pid, path=str(path))
            application.send("busy 0.3")
            await until(feed, lambda: "QI101" in {lint for lint, _ in process.lints})
            return await feed.request("RECORD", pid=application.pid)

    run(main())
    notes = Contents(path).notes
    stalls = [fields for _, kind, fields in notes if kind == "stall"]
    assert any(not fields["over"] for fields in stalls)
    lints = [fields for _, kind, fields in notes if kind == "lint"]
    assert "QI101" in {fields["id"] for fields in lints}
    assert {fields["pid"] for fields in lints} == {application.pid}


def test_a_trigger_keeps_what_is_about_it(application, ask, path):
    start(ask, application, path, trigger="stall>3600s")
    application.ask("marks 0 5")
    assert ask("RECORD", pid=application.pid)["captures"] == 0
    assert os.listdir(path.parent) == []
    start(ask, application, path, trigger="stall>150ms", post=0)
    application.ask("busy 0.2")
    application.ask("state")  # is answered when it is busy no more
    application.kill()
    assert ask("RECORD", pid=application.pid)["captures"] >= 1
    assert os.listdir(path.parent) == ["a.qtrace"]
    assert Contents(path).reader.problems == []


def test_a_limit_is_kept(application, ask, path):
    start(ask, application, path, max_bytes=100_000)
    for number in range(0, 60_000, 5000):
        application.ask(f"marks {number} {number + 5000}")
    application.kill()
    stats = ask("RECORD", pid=application.pid)
    contents = Contents(path)
    assert contents.reader.problems == []
    assert contents.marks()[-5:] == marks(59_995, 60_000)
    assert path.stat().st_size <= 100_000
    assert stats["records"] + stats["lost"] >= 60_000
    assert stats["chunks_dropped"] == contents.reader.chunks[0][0]
