"""The commands of qtinter-inspect that make recordings and work on them."""
# ruff: noqa: F811 - fixtures that are imported

import csv
import io
import json
import os
import subprocess
import sys
import types

import pytest

from qtinter import inspect, trace
from qtinter.inspect import cli, segment
from qtinter.trace import commands

from .recordings import HOSTILE, Recorder, program, small  # noqa: F401

BEGIN = Recorder.BEGIN


@pytest.fixture
def run(capsys):
    """run(*arguments): exit code, output, errors of qtinter-inspect."""

    def run_it(*arguments):
        try:
            code = cli.main([str(argument) for argument in arguments])
        except SystemExit as exc:
            code = exc.code
        found = capsys.readouterr()
        return code, found.out, found.err

    return run_it


@pytest.fixture
def made_up(monkeypatch):
    """made_up(name, source): what is opened by that name."""
    known = {}

    def open_it(path, allow_gaps=False):
        if path in known:
            return trace.Trace(known[path], allow_gaps=allow_gaps)
        return trace.open(path, allow_gaps=allow_gaps)

    monkeypatch.setattr(commands, "open_trace", open_it)
    return known.__setitem__


# --- export ---------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["perfetto", "chrome", "jsonl", "csv", "html"])
def test_export(run, program, name):
    code, out, err = run("export", program, f"--{name}")
    suffix = {"perfetto": ".pftrace"}.get(name, f".{name}")
    path = str(program)[: -len(".qiseg")] + suffix.replace(".chrome", ".json")
    assert (code, out) == (0, "")
    assert err.startswith(f"wrote {path}: ")
    with open(path, "rb") as file:
        begin = file.read(16)
    expected = {
        "perfetto": b"\n", "chrome": b'{"traceEvents":[', "jsonl": b'{"process":',
        "csv": b"ts,mono,event", "html": b"<!DOCTYPE html>",
    }[name]  # fmt: skip
    assert begin.startswith(expected)


def test_export_to_a_place(run, program, tmp_path):
    code, out, _ = run(
        "export", program, "--chrome", "-o", tmp_path / "x.trace", "--json"
    )
    value = json.loads(out)
    with open(tmp_path / "x.trace", encoding="utf-8") as file:
        events = json.load(file)["traceEvents"]
    assert code == 0
    assert value["events"] == len(events)
    assert (value["path"], value["format"]) == (str(tmp_path / "x.trace"), "chrome")


@pytest.mark.parametrize("to_file", [True, False])
def test_export_to_standard_output(program, tmp_path, to_file):
    """A pipe, or a file of the shell's, that stays the file that it is."""
    command = [sys.executable, "-m", "qtinter.inspect", "export", str(program)]
    path = tmp_path / "out.csv"
    with open(path, "wb") as file:
        process = subprocess.run(
            [*command, "--csv", "-o", "-"],
            stdout=file if to_file else subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=str(tmp_path),
            env=dict(os.environ, QTINTER_INSPECT=""),
            timeout=60,
        )
    assert (process.returncode, process.stderr) == (0, b"")
    data = path.read_bytes() if to_file else process.stdout
    rows = list(csv.DictReader(io.StringIO(data.decode(), newline="")))
    assert rows[0]["event"] == "loop_created"
    assert len(rows) > 20
    assert sorted(os.listdir(tmp_path)) == ["out.csv", "program.qiseg"]


def test_export_of_a_part(run, made_up, tmp_path):
    made_up("small", small().source())
    times = {}
    for arguments in (
        (),
        ("--from", "100us", "--to=905us"),
        ("--from=-110us",),
    ):
        code, _, _ = run("export", "small", "--jsonl", "-o", tmp_path / "x", *arguments)
        assert code == 0
        with open(tmp_path / "x", encoding="utf-8") as file:
            lines = [json.loads(line) for line in file][1:]
        found = [(line["mono"] - BEGIN) / 1000 for line in lines]
        times[arguments] = (found[0], found[-1])
    assert list(times.values()) == [(0, 151_110), (100, 905), (151_000, 151_110)]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["export", "x"], "one of the arguments --perfetto --chrome"),
        (["export", "x", "--csv", "--html"], "not allowed with argument"),
        (["export", "x", "--csv", "--from", "soon"], "'soon' is no duration"),
        (["diff", "a"], "the following arguments are required: after"),
        (["diff", "a", "b", "--fail-on", "speed:+1"], "there is no metric 'speed'"),
        (["replay", "x", "--at", "3 parsec"], "is no duration"),
        (["replay", "x", "--events", "-3"], "'-3' is no count"),
        (["dump", "me"], "'me' is no pid"),
    ],
)
def test_wrong_use(run, arguments, words):
    code, out, err = run(*arguments)
    assert (code, out) == (2, "")
    assert words in err


@pytest.mark.parametrize("command", ["export", "replay", "diff"])
def test_no_such_file(run, tmp_path, command):
    more = {"export": ["--csv"], "diff": [tmp_path / "other"]}.get(command, [])
    code, out, err = run(command, tmp_path / "none", *more)
    assert (code, out) == (3, "")
    assert "none" in err
    (tmp_path / "bad").write_bytes(b"what is this?" * 10)
    more = [tmp_path / "bad"] if command == "diff" else more
    code, _, err = run(command, tmp_path / "bad", *more)
    assert code == 3
    assert err.startswith("qtinter-inspect: ")


# --- diff -----------------------------------------------------------------------------


def test_diff(run, made_up):
    r = small()
    made_up("a", r.source())
    r.task(151_200, 9, "new")
    r.step(151_900, 9, 600)
    made_up("b", r.source())
    code, out, err = run("diff", "a", "b")
    assert (code, err) == (0, "")
    lines = [" ".join(line.split()) for line in out.splitlines()]
    assert "tasks 2 3 +50 %" in lines
    assert "max_step 150 ms 150 ms" in lines
    assert "new (app.py) - > 1 new - > 1 new - > 600 µs new - > 600 µs new" in " ".join(
        lines
    )
    code, out, err = run(
        "diff", "a", "b", "--fail-on", "tasks:+2", "--fail-on", "tasks:+40%"
    )
    assert code == 1
    assert err == "tasks went from 2 to 3 (+50 %); allowed is +40%\n"
    code, out, err = run("diff", "a", "b", "--json", "--fail-on", "tasks:+0")
    value = json.loads(out)
    assert code == 1
    assert value["exceeded"] == [err.strip()]
    (tasks,) = [c for c in value["changes"] if c["metric"] == "tasks"]
    assert tasks == {"metric": "tasks", "before": 2, "after": 3, "percent": 50}


def test_diff_of_what_is_incomplete(run, made_up):
    gap = trace.Gap(4, 31, "ring", BEGIN + 150_000, BEGIN + 160_000)
    made_up("a", small().source())
    made_up("b", small().source(gaps=[gap]))
    code, out, err = run("diff", "a", "b")
    assert (code, err) == (0, "")
    assert out.startswith("INCOMPLETE after: 31 records are missing\n")
    code, out, err = run("diff", "a", "b", "--fail-on", "tasks:+1")
    assert (code, out) == (1, "")
    assert "31 records are missing" in err
    assert "--allow-gaps" in err
    assert run("diff", "a", "b", "--fail-on", "tasks:+1", "--allow-gaps")[0] == 0


# --- replay ---------------------------------------------------------------------------


def test_replay(run, program):
    code, out, err = run("replay", program)
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert lines[0].startswith(f"program, pid {os.getpid()}, recorded 2")
    assert any("sleeper" in line and "waiting" in line for line in lines)
    assert not any("failing" in line and "waiting" in line for line in lines)
    assert "last events" in lines
    code, out, _ = run("replay", program, "--json", "--events", "3")
    value = json.loads(out)
    assert {task["name"] for task in value["tasks"]} >= {"sleeper"}
    assert len(value["events"]) == 3
    assert value["figures"]["slots"] == 1
    assert value["at"] == value["duration"]


def test_replay_of_a_moment(run, made_up):
    made_up("small", small().source())
    code, out, _ = run("replay", "small", "--at", "500us")
    assert code == 0
    assert "state at 0.000500 s of 0.151110 s" in out
    rows = [line for line in out.splitlines() if "waiting" in line]
    assert len(rows) == 2
    assert f"task 2 {HOSTILE}" in rows[0]
    assert "signal finished" in rows[1]
    value = json.loads(run("replay", "small", "--at=-0.5ms", "--json")[1])
    assert value["at"] == pytest.approx(0.15061)
    states = {task["id"]: task["state"] for task in value["tasks"]}
    assert states == {1: "waiting", 2: "ready"}
    assert value["events"][-1]["event"] == "wait_ended"
    code, _, err = run("replay", "small", "--at", "5s")
    assert code == 3
    assert "5.0 s after the beginning is outside of the recording" in err


def test_replay_in_a_view(run, made_up, monkeypatch):
    """The window, and on a terminal the terminal view, get the file and the time."""
    made_up("small", small().source())
    seen = []
    for name in ("gui", "tui"):
        view = types.ModuleType(f"qtinter.inspect.{name}")
        view.run_file = lambda *args, name=name, **more: seen.append((name, args, more))
        monkeypatch.setitem(sys.modules, f"qtinter.inspect.{name}", view)
    assert run("replay", "small", "--gui", "--at", "1ms")[0] == 0
    monkeypatch.setattr(commands, "_is_terminal", lambda: True)
    assert run("replay", "small") == (0, "", "")
    assert run("replay", "small", "--at=-51.11ms") == (0, "", "")
    assert "state at" in run("replay", "small", "--text", "--at", "1ms")[1]
    assert seen == [
        ("gui", ("small",), {"at": 0.001}),
        ("tui", ("small",), {"at": None}),
        ("tui", ("small",), {"at": pytest.approx(0.1)}),
    ]
    sys.modules["qtinter.inspect.gui"].run_file = lambda path, at: 4
    assert run("replay", "small", "--gui") == (4, "", "")


def test_replay_without_the_view(run, made_up, monkeypatch):
    """Text instead of the terminal view; instead of the window nothing."""
    made_up("small", small().source())
    for name in ("gui", "tui"):
        monkeypatch.setitem(sys.modules, f"qtinter.inspect.{name}", None)
    monkeypatch.setattr(commands, "_is_terminal", lambda: True)
    code, out, err = run("replay", "small")
    assert code == 0
    assert "app, pid 4321" in out
    assert "the terminal view cannot be shown" in err
    code, out, err = run("replay", "small", "--gui")
    assert (code, out) == (3, "")
    assert "the window cannot be shown" in err

    def lacks(path, at):
        raise ImportError("it needs the package textual")

    view = types.ModuleType("qtinter.inspect.tui")
    view.run_file = lacks
    monkeypatch.setitem(sys.modules, "qtinter.inspect.tui", view)
    code, out, err = run("replay", "small")
    assert code == 0
    assert "app, pid 4321" in out
    assert "the terminal view cannot be shown: it needs the package textual" in err


# --- dump -----------------------------------------------------------------------------


@pytest.fixture
def shown(no_leaks, tmp_path, monkeypatch):
    """This process is inspected; nothing else runs in the runtime directory."""
    was_on = inspect.is_enabled()
    inspect.disable()
    monkeypatch.setenv("QTINTER_RUNTIME_DIR", str(tmp_path))
    inspect.enable(level=2, connect=False, directory=tmp_path, name="shown")
    yield tmp_path
    inspect.disable()
    monkeypatch.undo()
    if was_on:
        inspect.enable_from_environment()


def test_dump(run, shown, run_attached):
    async def main():
        inspect.mark("here")

    run_attached(main())
    path = shown / "now.qtrace"
    code, out, err = run("dump", "-o", path)
    assert (code, out) == (0, "")
    found = trace.open(path)
    assert err.startswith(f"wrote {path}: {len(found.events())} events")
    assert found.info["pid"] == os.getpid()
    assert found.events("mark").one().fields["name"] == "here"
    code, out, _ = run("dump", os.getpid(), "-o", path, "--json")
    assert json.loads(out) == {
        "pid": os.getpid(), "path": str(path), "events": len(found.events()), "lost": 0,
    }  # fmt: skip


def test_dump_of_nobody(run, shown, monkeypatch):
    code, _, err = run("dump", "1", "-o", shown / "x")
    assert code == 3
    assert f"there is no program with pid 1 in {shown}" in err
    running = segment.running_applications()
    monkeypatch.setattr(segment, "running_applications", lambda: [*running, 7])
    (shown / "7-1-1.qiseg").write_bytes(b"")
    code, _, err = run("dump", "-o", shown / "x")
    assert code == 3
    assert f"several programs run: say which of {os.getpid()}, 7" in err
    monkeypatch.setattr(segment, "running_applications", lambda: [])
    code, _, err = run("dump", "-o", shown / "x")
    assert code == 3
    assert "no program runs that is inspected" in err
    assert not (shown / "x").exists()
