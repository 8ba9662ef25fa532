"""The commands that look at and change a program, as a user types them."""

import csv
import io
import json
import os
import pathlib
import subprocess
import sys

import pytest

from qtinter.inspect import commands


@pytest.fixture
def ps(inspect):
    def ps(application, *words):
        result = inspect("ps", str(application.pid), "--json", *words)
        assert result.returncode == 0, result.stderr
        ((found),) = json.loads(result.stdout)
        return found["rows"]

    return ps


@pytest.fixture
def shown(daemon, application, known):
    return known(application)


def test_filter_and_sort(shown, ps):
    names = [task["name"] for task in ps(shown, "-f", 'name~"a$" and state==waiting')]
    assert names == ["alpha", "beta", "gamma"]
    ids = [task["id"] for task in ps(shown, "--sort", "id")]
    assert ids == sorted(ids, reverse=True)
    assert [task["id"] for task in ps(shown, "--sort=-id")] == sorted(ids)


def test_csv(shown, inspect):
    result = inspect("ps", str(shown.pid), "--csv")
    rows = list(csv.DictReader(io.StringIO(result.stdout)))
    assert {"alpha", "beta"} <= {row["name"] for row in rows}
    assert {row["pid"] for row in rows} == {str(shown.pid)}


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["ps", "-f", "state=="], 2, "--filter"),
        (["tree", "--by", "size"], 2, "invalid choice"),
        (["nonsense"], 2, "invalid choice"),
        (["ps", "999999999"], 3, "no application with pid 999999999"),
        (["why", "999999999"], 3, "no task 999999999"),
        (["crash", "/nowhere"], 3, "/nowhere"),
        (["--host", "-x", "ps"], 2, "--host"),
    ],
)
def test_exit_codes(shown, inspect, words, code, said):
    result = inspect(*words)
    assert result.returncode == code, result.stderr
    assert said in result.stderr
    assert "Traceback" not in result.stderr


def test_a_program_that_does_not_let_itself_be_controlled(shown, ps, inspect):
    (alpha,) = ps(shown, "-f", "name==alpha")
    result = inspect("cancel", str(alpha["id"]))
    assert result.returncode == 4
    assert "enable(control=True)" in result.stderr
    assert "QTINTER_INSPECT_CONTROL=1" in result.stderr
    assert [task["name"] for task in ps(shown, "-f", "name==alpha")] == ["alpha"]


@pytest.fixture
def willing(daemon, start_application, known):
    """One that does; there is no other."""
    return known(start_application("--control"))


def test_cancel(willing, ps, inspect, run, until):
    from qtinter.inspect import connect

    (alpha,) = ps(willing, "-f", "name==alpha")
    result = inspect("cancel", str(alpha["id"]), "--message", "enough", "--json")
    assert json.loads(result.stdout) == {
        "pid": willing.pid,
        "task": alpha["id"],
        "cancelled": True,
    }

    async def gone():
        async with connect() as feed:
            await feed.subscribe(willing.pid)
            process = feed.processes[willing.pid]
            await until(
                feed, lambda: "alpha" not in {t["name"] for t in process.tasks()}
            )

    run(gone())


def test_level(willing, inspect):
    assert inspect("level", str(willing.pid), "1").returncode == 0
    assert willing.ask("level") == "1"
    while json.loads(inspect("ls", "--json").stdout)[0]["level"] != 1:
        pass  # the daemon learns it from the next events, at most half a second later
    assert inspect("level", str(willing.pid), "7").returncode == 2


def test_escape_sequences_in_names_are_shown_safely(willing, inspect):
    willing.ask("task \x1b[31mred\x07")
    result = inspect("ps")
    assert "\x1b" not in result.stdout
    assert "\\x1b[31mred\\x07" in result.stdout


# --- output that cannot be written

RECORDING = str(
    min((pathlib.Path(__file__).parents[1] / "data" / "trace").rglob("*.qtrace"))
)
# What has an output, with words so that there is some; {pid}, {task}: of the program.
PRINTING = {
    "ls": "",
    "ps": "{pid} --json",
    "slots": "{pid} --csv",
    "waits": "{pid}",
    "loops": "",
    "timers": "",
    "task": "{task}",
    "tree": "--dot",
    "why": "{task}",
    "lag": "",
    "lint": "",
    "stack": "{pid}",
    "cancel": "{task}",
    "level": "{pid} 3",
    "watch": "",
    "crash": "--list --json",
    "doctor": "",
    "completion": "bash",
    "record": "--for 0.1s -o {folder}/a.qtrace --json",
    "dump": "{pid} -o {folder}/b.qtrace --json",
    "replay": "{recording}",
    "export": "{recording} --jsonl -o -",
    "diff": "{recording} {recording}",
}
# top, gui: are no output.  proxy: its reader tells what it does not understand.
# attach: only Python 3.14 has it.
OTHERS = {"top", "gui", "proxy", "attach"}


def unwritten(*words, **streams):
    """Runs a command whose standard output has no room."""
    with open("/dev/full", "w") as full:
        return subprocess.run(
            [sys.executable, "-m", "qtinter.inspect", *words],
            cwd="/",
            stdout=full,
            **{"stderr": subprocess.PIPE, **streams},
            text=True,
            timeout=60,
        )


def test_every_command_is_tried():
    every = {name for names in commands._MODULES.values() for name in names}
    assert every == {*PRINTING, *OTHERS}


@pytest.mark.skipif(
    not os.path.exists("/dev/full"), reason="the system has no such file"
)
class TestNoRoom:
    SAID = "qtinter-inspect: the output cannot be written: No space left on device\n"

    @pytest.mark.parametrize("command", PRINTING)
    def test_it_is_said(self, willing, ps, command, tmp_path):
        (beta,) = ps(willing, "-f", "name==beta")
        words = PRINTING[command].format(
            pid=willing.pid, task=beta["id"], folder=tmp_path, recording=RECORDING
        )
        result = unwritten(command, *words.split())
        assert result.stderr.splitlines(True)[-1:] == [self.SAID]
        assert "Traceback" not in result.stderr
        assert "Exception ignored" not in result.stderr
        assert result.returncode == 6

    @pytest.mark.parametrize("words", [["--help"], ["ps", "--help"], ["--version"]])
    def test_of_what_needs_no_daemon(self, words):
        result = unwritten(*words)
        assert (result.returncode, result.stderr) == (6, self.SAID)

    def test_nobody_can_be_told(self):
        with open("/dev/full", "w") as full:
            assert unwritten("--help", stderr=full).returncode == 6
            assert unwritten("nonsense", stderr=full).returncode == 2
