"""The command qtinter-inspect."""

import asyncio
import io
import json
import os
import subprocess
import sys

import pytest

import qtinter
from qtinter import inspect
from qtinter.inspect import _tables, cli, errors
from qtinter.inspect.commands import tasks
from qtinter.inspect.fields import FIELDS
from qtinter.inspect.segment import read_snapshot

from .driving import create_named

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
        slot = qtinter.asyncslot(on_none)
        emitter.none.connect(slot)
        emitter.none.emit()
        create_named(waits(), "[waits]")
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
        self.requests = []
        self.answers = {}
        self._changes = changes

    async def __aenter__(self):
        return self

    async def __aexit__(self, *exc):
        pass

    async def list(self):
        return [{"pid": pid} for pid in self.processes]

    async def subscribe(self, pid, **options):
        self.subscriptions.append((pid, options))

    async def request(self, name, **fields):
        self.requests.append((name, fields))
        answer = self.answers[name]
        if isinstance(answer, Exception):
            raise answer
        return answer

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


@pytest.fixture
def one_is_called(binding):
    """The name that the signal `one` reveals; PySide2 hides it."""
    return "" if binding == "PySide2" else "one"


def test_task(fake, process, capsys, one_is_called):
    ident = next(t["id"] for t in process.tasks() if t["name"] == "[waits]")
    assert cli.main(["task", str(ident)]) == 0
    out = capsys.readouterr().out
    assert f"signal {one_is_called} of Emitter 'source'" in out
    assert cli.main(["task", str(ident), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["waits_for"]["signal"] == one_is_called
    assert cli.main(["task", "999999"]) == 3
    assert "there is no task 999999" in capsys.readouterr().err


def test_pid(fake, process, capsys):
    assert cli.main(["ps", "--pid", str(process.info["pid"])]) == 0
    assert cli.main(["ps", str(process.info["pid"])]) == 0
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


@pytest.mark.parametrize(
    "arguments", [["nonsense"], ["task"], ["task", "x"], ["ps", "-f", "age >"]]
)
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
        feed.Change("stall", pid, {"stall": {0: 1, 1: 7, 2: 5 * 10**8, 3: 0, 5: True}}),
        feed.Change("lint", pid, {"id": "QI101", "ref": 1 << 56 | row}),
        feed.Change("up", pid, {"pid": pid, "process": {0: pid, 2: "some"}}),
    ]
    made = FakeFeed(process, changes)
    monkeypatch.setattr(feed, "connect", lambda *args, **options: made)
    assert cli.main(["watch", "--events", "--hz", "5"]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["what"] for line in lines] == [change.what for change in changes]
    assert lines[1]["changed"][0]["name"] == "[waits]"
    assert lines[2]["changed"] == [{"kind": "watch", "id": 99}]
    assert lines[2]["gone"] == [{"kind": "task", "id": 2}]
    assert lines[3]["events"][0]["event"] == "task_step"
    assert lines[4]["count"] == 3
    stall = {"loop": 1, "since": 7, "duration": 0.5, "current": None, "stack": None}
    assert lines[5] == {"what": "stall", "pid": pid, **stall, "over": True}
    assert lines[6]["about"] == f"task {row} [waits]"
    assert lines[7]["process"]["name"] == "some"
    assert made.subscriptions == [(None, {"hz": 5, "events": True})]


def test_graphs(fake, process, capsys, one_is_called):
    def edges(by):
        assert cli.main(["tree", "--dot", "--by", by]) == 0
        out = capsys.readouterr().out
        assert out.startswith("digraph tasks {")
        assert out.endswith("}\n")
        pid = process.info["pid"]
        return [
            line.strip(" ;").replace(f"{pid}/", "").replace('"', "")
            for line in out.splitlines()
            if " -> " in line
        ]

    ids = {task["name"]: task["id"] for task in process.tasks()}
    waits, main = process.rows[1, ids["[waits]"]], min(ids.values())
    signal = f"signal {one_is_called} of Emitter 'source'"
    assert f"{waits.id} -> {signal}" in edges("await")
    assert f"{main} -> {waits.id}" in edges("creator")
    assert edges("object") == []
    # Two that wait for each other.
    other = next(i for i in ids.values() if i not in (main, waits.id))
    columns = [name for name, _ in _tables.ENTITIES[1][1]]
    for one, two in ((waits.id, other), (other, waits.id)):
        process.change(1, one, {columns.index("wait_ref"): 1 << 56 | two})
    assert {f"{waits.id} -> {other}", f"{other} -> {waits.id}"} <= set(edges("await"))


def test_texts_in_a_graph():
    assert tasks._quoted('a "b" \\ \x1b\nc') == '"a \\"b\\" \\\\ \\\\x1b\\nc"'


def wrong_use(*words):
    with pytest.raises(SystemExit) as info:
        cli.main(list(words))
    return info.value.code


@pytest.mark.parametrize("command", ["ps", "slots", "waits", "loops", "timers"])
def test_a_condition_on_what_is_not_there(command, capsys):
    assert wrong_use(command, "-f", "nonsense==1") == 2
    assert "there is no field 'nonsense'" in capsys.readouterr().err


def test_fields_are_those_of_the_tables(process):
    for name in ("tasks", "slots", "waits", "loops", "timers"):
        rows = getattr(process, name)()
        assert rows, name
        more = ["lint"] if name == "tasks" else []
        assert sorted(FIELDS[name]) == sorted([*rows[0], *more])


def test_findings_of_a_task(fake, process, capsys):
    tasks = {task["name"]: task["id"] for task in process.tasks()}
    for ident in ("QI302", "QI101"):
        key = (ident, 1 << 56 | tasks["[waits]"])
        process.lints[key] = {"id": ident, "ref": key[1]}
    assert cli.main(["ps", "--json", "-f", "lint==QI101"]) == 0
    ((row,),) = (found["rows"] for found in json.loads(capsys.readouterr().out))
    assert (row["name"], row["lint"]) == ("[waits]", ["QI101", "QI302"])
    assert cli.main(["ps", "--json", "-f", "not lint"]) == 0
    (found,) = json.loads(capsys.readouterr().out)
    assert {row["name"] for row in found["rows"]} == {*tasks} - {"[waits]"}


@pytest.mark.parametrize("command", ["top", "gui"])
def test_a_filter_of_a_view_that_is_none(command, monkeypatch, capsys):
    monkeypatch.setenv("QT_QPA_PLATFORM", "offscreen")
    if command == "top":
        pytest.importorskip("textual", reason="the terminal view needs Textual")
    assert cli.main([command, "-f", "nonsense=="]) == 2
    assert "nonsense" in capsys.readouterr().err


@pytest.mark.parametrize("stream", ["__stdin__", "__stderr__"])
def test_top_without_a_terminal(stream, monkeypatch, capsys):
    pytest.importorskip("textual", reason="the terminal view needs Textual")

    class Tty(io.StringIO):
        def isatty(self):
            return True

    monkeypatch.delenv("TEXTUAL_DRIVER", raising=False)
    for name in ("__stdin__", "__stderr__"):
        monkeypatch.setattr(sys, name, io.StringIO() if name == stream else Tty())
    assert cli.main(["top"]) == 2
    what = "input" if stream == "__stdin__" else "error output"
    assert f"needs a terminal, and its standard {what}" in capsys.readouterr().err


def test_a_file_that_is_not_there(capsys):
    assert cli.main(["crash", "/nowhere/at all"]) == 3
    err = capsys.readouterr().err
    assert err == "qtinter-inspect: /nowhere/at all: No such file or directory\n"


def test_watching_what_is_not_there(fake, capsys):
    assert cli.main(["watch", "1"]) == 3
    assert "no application with pid 1" in capsys.readouterr().err


def test_crash(segment, capsys):
    assert cli.main(["crash", str(segment)]) == 0
    out = capsys.readouterr().out
    assert "[waits]" in out
    assert "task_wait" in out
    assert cli.main(["crash", str(segment), "--json", "--events", "3"]) == 0
    value = json.loads(capsys.readouterr().out)
    assert len(value["events"]) == 3
    assert {task["name"] for task in value["tasks"]} >= {"[waits]"}


def test_crash_says_why(segment, capsys, one_is_called):
    def reasons(*words):
        assert cli.main(["crash", str(segment), *words]) == 0
        out = capsys.readouterr().out
        _, head, rest = out.partition("why they did not go on\n")
        return head and " ".join(rest.partition("last events")[0].split())

    text = reasons()
    assert "'[waits]'" in text
    assert f"for the signal {one_is_called} of".replace("  ", " ") in text
    assert "more: --reasons" not in text
    assert reasons("--reasons", "1").endswith("more: --reasons, --json")
    assert reasons("--reasons", "0") == ""


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


# --- filters, order, forms -----------------------------------------------------------


def test_filter_and_sort(fake, process, capsys):
    assert cli.main(["ps", "-f", 'name=="[waits]" and wait.kind==signal']) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2
    assert "[waits]" in lines[1]
    assert cli.main(["ps", "--json", "--sort", "id"]) == 0
    (shown,) = json.loads(capsys.readouterr().out)
    ids = [row["id"] for row in shown["rows"]]
    assert ids == sorted(ids, reverse=True)
    assert len(ids) > 1
    assert cli.main(["ps", "--json", "--sort=-id"]) == 0
    (shown,) = json.loads(capsys.readouterr().out)
    assert [row["id"] for row in shown["rows"]] == ids[::-1]
    assert wrong_use("ps", "--sort", "nonsense") == 2
    assert "there is no 'nonsense'; there are age, " in capsys.readouterr().err


def test_csv(fake, process, capsys):
    assert cli.main(["waits", "--csv"]) == 0
    header, row = capsys.readouterr().out.splitlines()
    assert header.startswith("pid,id,signal,sender")
    assert row.startswith(f"{process.info['pid']},")


def test_texts_of_the_program_cannot_control_the_terminal(fake, process, capsys):
    row = next(r for r in process.rows.values() if r.kind == 1)
    process.entries[77777] = "evil\x1b[31m\x07\nname"
    row.change({0: 77777})
    for command in (["ps"], ["tree"], ["task", str(row.id)]):
        assert cli.main(command) == 0
        out = capsys.readouterr().out
        assert "evil\\x1b[31m\\x07\\nname" in out, command
        assert "\x1b" not in out


# --- tree, why, lint, stack, lag -----------------------------------------------------


def test_tree(fake, process, capsys):
    for by in ("await", "creator", "object"):
        assert cli.main(["tree", "--by", by]) == 0
        assert "[waits]" in capsys.readouterr().out, by
    assert cli.main(["tree", "--by", "object", "--json"]) == 0
    (shown,) = json.loads(capsys.readouterr().out)
    (no_object,) = shown["trees"]
    assert no_object["text"] == "no object"
    assert len(no_object["children"]) == len(process.tasks())


def test_why(fake, process, capsys, one_is_called):
    ident = next(t["id"] for t in process.tasks() if t["name"] == "[waits]")
    fake.answers["STACK"] = (
        "task: pending\n"
        '  File "/app.py", line 7, in waits\n    await it\n'
        '  File "/lib.py", line 9, in asyncsignal\n'
    )
    assert cli.main(["why", str(ident)]) == 0
    out = capsys.readouterr().out
    signal = f"the signal {one_is_called} of Emitter 'source'"
    assert f"{signal} at asyncsignal (/lib.py:9)" in out
    goes_on = f"the task goes on when it emits {one_is_called}."
    assert f"The sender is alive; {goes_on}" in out
    assert "  /app.py:7 in waits\n  /lib.py:9 in asyncsignal\n" in out
    assert fake.requests == [("STACK", {"pid": process.info["pid"], "task": ident})]
    assert cli.main(["why", str(ident), "--json"]) == 0
    value = json.loads(capsys.readouterr().out)
    assert value["verdict"] == "alive"
    assert [frame["line"] for frame in value["chain"][0]["frames"]] == [7, 9]


def test_why_of_a_program_that_does_not_answer(fake, process, capsys):
    ident = process.tasks()[0]["id"]
    fake.answers["STACK"] = errors.InspectError("it hangs")
    assert cli.main(["why", str(ident)]) == 0
    assert "did not tell its frames: it hangs" in capsys.readouterr().out
    assert cli.main(["why", "999999"]) == 3


def finding(ident, severity, ref=0):
    return {
        "id": ident, "severity": severity, "ref": ref, "text": "something",
        "count": 2, "since": 0, "active": True,
    }  # fmt: skip


def test_lint(fake, process, capsys):
    assert cli.main(["lint"]) == 0
    assert "nothing was found" in capsys.readouterr().out
    process.lints = {1: finding("QI201", "W"), 2: finding("QI105", "I")}
    assert cli.main(["lint"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "QI201" in lines[1]
    assert "warning" in lines[1]
    assert "QI105" in lines[2]
    assert cli.main(["lint", "--fail-on", "W"]) == 1
    process.lints[3] = finding("QI301", "E")
    assert cli.main(["lint", "--json"]) == 1
    capsys.readouterr()
    assert cli.main(["lint", "--json"]) == 1
    found = json.loads(capsys.readouterr().out)
    assert [f["id"] for f in found] == ["QI301", "QI201", "QI105"]
    assert found[0]["help"] == "docs/lints.md#qi301"


def test_stack(fake, process, capsys):
    fake.answers["STACK"] = 'Stack:\n  File "a\x1b.py", line 1, in f\n'
    assert cli.main(["stack"]) == 0
    assert capsys.readouterr().out == 'Stack:\n  File "a\\x1b.py", line 1, in f\n'
    for option in ("task", "loop"):
        assert cli.main(["stack", f"--{option}", "5"]) == 0
        assert fake.requests[-1][1] == {"pid": process.info["pid"], option: 5}
    fake.answers["STACK"] = errors.InspectError("it is stopped")
    assert cli.main(["stack"]) == 3
    assert "it is stopped" in capsys.readouterr().err


def test_stack_of_the_next_stall(fake, process, capsys):
    pid = process.info["pid"]
    fake._changes = [
        feed.Change("stall", pid, {"stall": {0: 1, 5: False}}),
        feed.Change("stall", pid, {"stall": {0: 1, 4: "in hang\n", 5: False}}),
    ]
    assert cli.main(["stack", "--wait"]) == 0
    assert capsys.readouterr().out.endswith("in hang\n")
    fake._changes = [feed.Change("down", pid, {})]
    assert cli.main(["stack", "--wait"]) == 3
    assert "has ended" in capsys.readouterr().err


def test_lag(fake, process, capsys):
    numbers = {"count": 3, "p50": 1000, "p90": 2000, "p99": 3000, "max": 4_000_000}
    fake.answers["HISTOGRAM"] = {"steps": numbers, "calls": None}
    assert cli.main(["lag"]) == 0
    out = capsys.readouterr().out
    assert "step of a task  3      1 us" in out
    assert "4.0 ms" in out
    assert cli.main(["lag", "--json"]) == 0
    (shown,) = json.loads(capsys.readouterr().out)
    assert shown["histogram"]["steps"] == numbers


# --- control -------------------------------------------------------------------------


def test_cancel(fake, process, capsys):
    fake.answers["CANCEL"] = None
    ident = process.tasks()[0]["id"]
    process.info["control"] = False
    assert cli.main(["cancel", str(ident)]) == 4
    assert "enable(control=True)" in capsys.readouterr().err
    assert fake.requests == []
    process.info["control"] = True
    assert cli.main(["cancel", str(ident), "--message", "enough"]) == 0
    fields = {"pid": process.info["pid"], "task": ident, "message": "enough"}
    assert fake.requests == [("CANCEL", fields)]
    assert cli.main(["cancel", "999999"]) == 3


def test_level(fake, process, capsys):
    fake.answers["SET_LEVEL"] = None
    pid = process.info["pid"]
    assert cli.main(["level", str(pid), "3"]) == 0
    assert fake.requests == [("SET_LEVEL", {"pid": pid, "level": 3})]
    assert cli.main(["level", "1", "3"]) == 3
    with pytest.raises(SystemExit):
        cli.main(["level", str(pid), "9"])


@pytest.mark.skipif(hasattr(sys, "remote_exec"), reason="this Python can attach")
def test_attach_needs_a_newer_python(capsys):
    assert cli.main(["attach", str(os.getpid())]) == 3
    assert "QTINTER_INSPECT=1" in capsys.readouterr().err


def test_crashes_are_listed(segment, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("QTINTER_RUNTIME_DIR", str(tmp_path))
    assert cli.main(["crash", "--list", "--json"]) == 0
    # The process that wrote it is alive.
    assert json.loads(capsys.readouterr().out) == []
