"""qtinter-inspect record and dump, with a daemon and a program."""

import json
import os
import signal
import subprocess
import sys

import pytest

from qtinter import trace

PATIENCE = 60  # seconds; only a safety net


@pytest.fixture
def victim(daemon, start_application, known):
    return known(start_application("--control"))


class Command:
    """A qtinter-inspect that goes on until something ends it."""

    def __init__(self, *words):
        self.process = subprocess.Popen(
            [sys.executable, "-m", "qtinter.inspect", *map(str, words)],
            cwd="/",
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def wait_for_begin(self):
        line = self.process.stderr.readline()
        assert line.startswith("recording victim, pid "), line

    def end(self):
        """Exit code, output, errors after the line that it has begun."""
        out, err = self.process.communicate(timeout=PATIENCE)
        return self.process.returncode, out, err


@pytest.fixture
def start():
    commands = []

    def start(*words):
        commands.append(Command(*words))
        return commands[-1]

    yield start
    for command in commands:
        if command.process.poll() is None:
            command.process.kill()
        command.process.communicate()


def names(path):
    return {task.name for task in trace.open(path).tasks()}


def test_for_some_time(victim, inspect, path):
    done = inspect("record", "-o", str(path), "--for", "50ms", "--json")
    assert done.returncode == 0, done.stderr
    assert done.stderr == f"recording victim, pid {victim.pid}, into {path}\n"
    value = json.loads(done.stdout)
    assert (value["pid"], value["path"], value["end"]) == (
        victim.pid,
        str(path),
        "time",
    )
    assert (value["state"], value["lost"]) == ("ended", 0)
    assert names(path) >= {"alpha", "beta", "gamma"}


def test_until_the_program_ends(victim, start, path):
    command = start("record", victim.pid, "-o", path)
    command.wait_for_begin()
    victim.ask("task fresh")
    victim.send("quit")
    code, out, err = command.end()
    assert (code, out) == (0, "")
    assert err.startswith(f"wrote {path}: ")
    found = trace.open(path)
    assert found.tasks("fresh").one().state == "cancelled"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_until_a_signal(victim, start, path, number):
    command = start("record", "-o", path, "--json", "--max-age", "1h")
    command.wait_for_begin()
    victim.ask("task fresh")
    victim.ask("state")  # the loop has had a turn
    command.process.send_signal(number)
    code, out, err = command.end()
    assert (code, err) == (0, "")
    assert json.loads(out)["end"] == "signal"
    assert "fresh" in names(path)


@pytest.mark.parametrize("post", ["0s", "1s"])
def test_until_it_happens(victim, start, path, post):
    """Also if it goes on when the time after it is over."""
    command = start(
        "record", "-o", path, "--trigger", "stall>50ms", "--post", post, "--json"
    )
    command.wait_for_begin()
    victim.ask("busy 0.3")
    code, out, _ = command.end()
    value = json.loads(out)
    assert (code, value["end"]) == (0, "trigger")
    assert value["captures"] >= 1
    found = trace.open(path)
    assert found.max_step.duration >= 0.3
    assert "alpha" in names(path)
    assert sorted(os.listdir(path.parent)) == [path.name]


def test_it_says_what_has_happened(victim, start, path):
    command = start("record", "-o", path, "--trigger", "stall>50ms", "--post", "0s")
    command.wait_for_begin()
    victim.ask("busy 0.3")
    code, _, err = command.end()
    assert code == 0
    wrote, what = err.strip().split("\n")[-2:]
    assert wrote.startswith(f"wrote {path}")
    assert what.startswith("  QI101 W: ")


def test_nothing_happens(victim, inspect, path):
    done = inspect("record", "-o", str(path), "--trigger", "exception", "--for", "10ms")
    assert done.returncode == 3
    assert "nothing happened that 'exception' is about" in done.stderr
    assert os.listdir(path.parent) == []


def test_the_level_meanwhile(victim, inspect, run, path):
    from qtinter.inspect import connect

    async def level():
        async with connect() as feed:
            await feed.subscribe(victim.pid)
            return feed.processes[victim.pid].info["level"]

    done = inspect("record", "-o", str(path), "--for", "10ms", "--level", "2")
    assert done.returncode == 0, done.stderr
    levels = trace.open(path).events("level")
    assert [event.fields["level"] for event in levels][:1] == [2]


def test_what_cannot_be_recorded(daemon, start_application, known, inspect, path):
    def refused(*words):
        done = inspect("record", "-o", str(path), *words)
        assert done.returncode == 3, done.stderr
        return done.stderr

    assert "no program runs that is inspected" in refused()
    first = known(start_application())
    assert "there is no program with pid 1 " in refused("1")
    assert "it must be 'stall>200ms'" in refused("--trigger", "boredom")
    path.write_text("not a recording")
    assert path.name in refused("--for", "10ms")
    assert path.read_text() == "not a recording"
    second = known(start_application())
    pids = [str(pid) for pid in sorted((first.pid, second.pid))]
    error = refused()
    assert "several programs run: say which of" in error
    assert all(pid in error for pid in pids)


@pytest.mark.parametrize(
    ("words", "error"),
    [
        ([], "required: -o/--output"),
        (["-o", "x", "--max-bytes", "much"], "'much' is no size"),
        (["-o", "x", "--for=-1s"], "'-1s' is less than no time"),
        (["-o", "x", "--level", "1"], "invalid choice: 1"),
    ],
)
def test_wrong_use(inspect, words, error):
    done = inspect("record", *words)
    assert done.returncode == 2
    assert error in done.stderr


@pytest.mark.parametrize("alive", [True, False])
def test_dump(start_application, inspect, path, alive):
    """Of a program that runs or has been killed; needs no daemon."""
    application = start_application()
    application.ask("task fresh")
    application.ask("state")  # the loop has had a turn
    if not alive:
        application.kill()
    done = inspect("dump", str(application.pid), "-o", str(path))
    assert done.returncode == 0, done.stderr
    assert done.stderr.startswith(f"wrote {path}: ")
    assert names(path) >= {"alpha", "beta", "gamma", "fresh"}
    shown = inspect("replay", str(path))
    assert "victim, pid" in shown.stdout
    assert "fresh" in shown.stdout
