"""The command qtinter-inspect."""

import asyncio
import json
import os
import subprocess
import sys

import pytest

import qtinter
from qtinter import inspect
from qtinter.inspect import cli, errors
from qtinter.inspect.segment import read_snapshot

pytest.importorskip("msgpack", reason="the tools need msgpack")
feed = pytest.importorskip("qtinter.inspect.feed")

COMMANDS = ("ls", "ps", "slots", "waits", "loops", "timers")


@pytest.fixture
def segment(no_leaks, emitter, run_attached, tmp_path):
    """Path of a segment with tasks, an asyncslot, a signal wait and a timer."""
    was_on = inspect.is_enabled()
    inspect.disable()
    path = tmp_path / "some.qiseg"
    emitter.setObjectName("source")

    async def waits():
        await qtinter.asyncsignal(emitter.one, sender=emitter)

    async def on_none():
        await asyncio.sleep(99)

    async def main():
        loop = asyncio.get_running_loop()
        slot = qtinter.asyncslot(on_none)
        emitter.none.connect(slot)
        emitter.none.emit()
        task = loop.create_task(waits(), name="[waits]")
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        inspect.dump(path)
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.wait(others)
        emitter.none.disconnect(slot)

    inspect.enable(connect=False, directory=tmp_path, name="some")
    try:
        run_attached(main())
    finally:
        inspect.disable()
        if was_on:
            inspect.enable_from_environment()
    return path


class FakeFeed:
    """What connect() gives: one application, as its segment shows it."""

    started = False  # the daemon ran before

    def __init__(self, process, changes=()):
        self.processes = {process.info["pid"]: process}
        self.subscriptions = []
        self._changes = changes

    async def __aenter__(self):
        return self

    async def __aexit__(self, *exc):
        pass

    async def list(self):
        return [{"pid": pid} for pid in self.processes]

    async def subscribe(self, pid, **options):
        self.subscriptions.append((pid, options))

    async def __aiter__(self):
        for change in self._changes:
            yield change


@pytest.fixture
def process(segment):
    return read_snapshot(segment)


@pytest.fixture
def fake(process, monkeypatch):
    made = FakeFeed(process)
    monkeypatch.setattr(feed, "connect", lambda *args, **options: made)
    return made


def test_tables_on_a_pipe(fake, process, capsys):
    """A line is a row, whatever its length, without colours."""
    expected = {
        "ls": "some",
        "ps": "[waits]",
        "slots": "on_none",
        "waits": "Emitter 'source'",
        "loops": "attached",
        "timers": "_set_result_unless_cancelled",
    }
    for command in COMMANDS:
        assert cli.main([command]) == 0
        out = capsys.readouterr().out
        assert expected[command] in out, command
        assert "\x1b" not in out
        (row,) = [line for line in out.splitlines() if expected[command] in line][:1]
        assert not row.endswith(" ")


def test_json_is_one_document(fake, process, capsys):
    for command in COMMANDS:
        assert cli.main([command, "--json"]) == 0
        value = json.loads(capsys.readouterr().out)
        assert value[0]["pid"] == process.info["pid"], command
    cli.main(["waits", "--json"])
    (row,) = json.loads(capsys.readouterr().out)[0]["rows"]
    assert row["task_name"] == "[waits]"


def test_task(fake, process, capsys):
    ident = next(t["id"] for t in process.tasks() if t["name"] == "[waits]")
    assert cli.main(["task", str(ident)]) == 0
    out = capsys.readouterr().out
    assert "signal one of Emitter 'source'" in out
    assert cli.main(["task", str(ident), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["waits_for"]["signal"] == "one"
    assert cli.main(["task", "999999"]) == 3
    assert "there is no task 999999" in capsys.readouterr().err


def test_pid(fake, process, capsys):
    assert cli.main(["ps", "--pid", str(process.info["pid"])]) == 0
    assert cli.main(["ps", "--pid", "1"]) == 3
    assert "no application with pid 1" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.InspectError("no daemon"), 3),
        (FileNotFoundError("no socket"), 3),
        (ImportError("no msgpack"), 3),
        (PermissionError("not yours"), 4),
        (errors.IncompatibleError("protocol 9"), 5),
    ],
)
def test_exit_codes(monkeypatch, capsys, error, code):
    def refuse(*args, **options):
        raise error

    monkeypatch.setattr(feed, "connect", refuse)
    assert cli.main(["ps"]) == code
    out = capsys.readouterr()
    assert out.err == f"qtinter-inspect: {error}\n"
    assert out.out == ""


@pytest.mark.parametrize("arguments", [[], ["nonsense"], ["task"], ["task", "x"]])
def test_wrong_use(arguments, capsys):
    with pytest.raises(SystemExit) as exit_info:
        cli.main(arguments)
    assert exit_info.value.code == 2
    assert "usage: qtinter-inspect" in capsys.readouterr().err


def test_help_tells_the_exit_codes(capsys):
    with pytest.raises(SystemExit) as exit_info:
        cli.main(["--help"])
    assert exit_info.value.code == 0
    out = capsys.readouterr().out
    for words in ("exit status", "QTINTER_INSPECT=1", "QTINTER_RUNTIME_DIR", *COMMANDS):
        assert words in out


def test_no_daemon_is_installed(monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("QTINTER_RUNTIME_DIR", str(tmp_path))
    monkeypatch.setattr(feed, "find_daemon", lambda: None)
    assert cli.main(["ls"]) == 3
    assert "qtinterd is not installed" in capsys.readouterr().err


def test_watch(process, monkeypatch, capsys):
    pid = process.info["pid"]
    row = next(t["id"] for t in process.tasks() if t["name"] == "[waits]")
    changes = [
        feed.Change("snapshot", pid, {}),
        feed.Change("rows", pid, {"upsert": [[1, row, {-1: 3}]], "gone": []}),
        feed.Change("rows", pid, {"upsert": [[6, 99, {}]], "gone": [[1, 2]]}),
        feed.Change("events", pid, {"ts": 1, "records": [5, 11, 1, 0, row, 1000]}),
        feed.Change("gap", 0, {"count": 3, "cause": "ring"}),
    ]
    made = FakeFeed(process, changes)
    monkeypatch.setattr(feed, "connect", lambda *args, **options: made)
    assert cli.main(["watch", "--events", "--hz", "5"]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["what"] for line in lines] == [change.what for change in changes]
    assert lines[1]["changed"][0]["name"] == "[waits]"
    assert lines[2]["gone"] == [[1, 2]]
    assert lines[3]["events"][0]["event"] == "task_step"
    assert lines[4]["count"] == 3
    assert made.subscriptions == [(None, {"hz": 5, "events": True})]


def test_crash(segment, capsys):
    assert cli.main(["crash", str(segment)]) == 0
    out = capsys.readouterr().out
    assert "[waits]" in out
    assert "task_wait" in out
    assert cli.main(["crash", str(segment), "--json", "--events", "3"]) == 0
    value = json.loads(capsys.readouterr().out)
    assert len(value["events"]) == 3
    assert {task["name"] for task in value["tasks"]} >= {"[waits]"}


def test_crash_of_what_is_no_segment(tmp_path, monkeypatch, capsys):
    (tmp_path / "bad").write_bytes(b"x" * 100)
    assert cli.main(["crash", str(tmp_path / "bad")]) == 3
    assert cli.main(["crash", str(tmp_path / "none")]) == 3
    monkeypatch.setenv("QTINTER_RUNTIME_DIR", str(tmp_path))
    (tmp_path / "bad.qiseg").write_bytes(b"x" * 100)
    assert cli.main(["crash"]) == 3
    assert "no segment of a program that died" in capsys.readouterr().err


def test_a_reader_that_goes_away(segment):
    """As in: qtinter-inspect crash | head -1."""
    reading, writing = os.pipe()
    os.close(reading)
    process = subprocess.run(
        [sys.executable, "-m", "qtinter.inspect", "crash", str(segment)],
        stdout=writing,
        stderr=subprocess.PIPE,
        cwd=str(segment.parent),
        env=dict(os.environ, QTINTER_INSPECT=""),
        timeout=60,
    )
    os.close(writing)
    assert (process.returncode, process.stderr) == (0, b"")
