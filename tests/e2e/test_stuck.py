"""examples/stuck: what lint, why and stack say of each of them."""

import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

import pytest
from conftest import PATIENCE, Daemon

from qtinter.inspect import connect

EXAMPLES = pathlib.Path(__file__).resolve().parents[2] / "examples" / "stuck"
NAMES = sorted(path.stem for path in EXAMPLES.glob("*.py"))

# What is found in each of them, in the end.
FINDINGS = {
    "await_cycle": "QI403",
    "blocking_call": "QI101",
    "cancelled_lock": "QI406",
    "dead_sender": "QI301",
    "lost_wakeup": "QI302",  # after half a minute
    "nested_exec": "QI502",
}


class Stuck:
    """A daemon and all of the programs, in a runtime directory of their own."""

    def __init__(self, program):
        self.runtime = tempfile.mkdtemp(prefix="qi")
        environment = dict(
            os.environ,
            QTINTER_RUNTIME_DIR=self.runtime,
            QTINTER_INSPECT="3",
            QT_QPA_PLATFORM="offscreen",
        )
        self.daemon = Daemon(program, environment=environment)
        self.daemon.log.wait_for("listening on")
        self.processes = {
            name: subprocess.Popen(
                [sys.executable, str(EXAMPLES / f"{name}.py")],
                cwd="/",
                env=environment,
                stderr=subprocess.PIPE,
            )
            for name in NAMES
        }

    def end(self):
        for process in self.processes.values():
            process.kill()
            process.wait(PATIENCE)
            process.stderr.close()
        self.daemon.stop()
        self.daemon.log.rest()
        self.daemon.process.stderr.close()
        shutil.rmtree(self.runtime, ignore_errors=True)


@pytest.fixture(scope="module")
def all_of_them(program):
    stuck = Stuck(program)
    yield stuck
    stuck.end()


@pytest.fixture
def stuck(all_of_them, runtime, monkeypatch):
    monkeypatch.setenv("QTINTER_RUNTIME_DIR", all_of_them.runtime)
    return all_of_them


@pytest.fixture
def wait_for_finding(stuck, run):
    """Waits until the finding that belongs to a program is in force; returns it."""

    async def follow(pid, wanted):
        async with connect() as feed:
            await feed.subscribe()
            changes = feed.__aiter__()
            while True:
                process = feed.processes.get(pid)
                for lint in process.lints.values() if process else ():
                    if lint["id"] == wanted:
                        return lint
                await changes.__anext__()

    def wait_for_finding(name, wanted=None):
        pid = stuck.processes[name].pid
        return run(follow(pid, wanted or FINDINGS[name]))

    return wait_for_finding


@pytest.fixture
def task_of(stuck, inspect):
    """The number of the task that runs a function."""

    def task_of(name, function):
        result = inspect("ps", str(stuck.processes[name].pid), "--json")
        assert result.returncode == 0, result.stderr
        (found,) = json.loads(result.stdout)
        (task,) = [t for t in found["rows"] if t["code"]["name"].endswith(function)]
        return task["id"]

    return task_of


@pytest.fixture
def why(stuck, inspect, task_of):
    """What why --json says of the task that runs a function."""

    def why(name, function):
        pid = str(stuck.processes[name].pid)
        words = ("why", str(task_of(name, function)), "--pid", pid)
        result = inspect(*words, "--json")
        assert result.returncode == 0, result.stderr
        found = json.loads(result.stdout)
        plain = inspect(*words)
        # The same in words, but for how long it takes until one is asked.
        assert plain.stdout.split(";")[0] == found["text"].split(";")[0]
        return found

    return why


@pytest.fixture
def stack(stuck, inspect):
    def stack(name):
        result = inspect("stack", str(stuck.processes[name].pid))
        assert result.returncode == 0, result.stderr
        return result.stdout

    return stack


def place(name, text):
    """ "name.py:LINE" of the only line of a program in which a text is."""
    lines = (EXAMPLES / f"{name}.py").read_text(encoding="utf-8").splitlines()
    (number,) = [i for i, line in enumerate(lines, 1) if text in line]
    return f"{name}.py:{number}"


def test_each_has_a_finding_of_its_own():
    assert sorted(FINDINGS) == NAMES
    assert len(set(FINDINGS.values())) == len(NAMES)


def test_dead_sender(wait_for_finding, why, stack, stuck, inspect):
    wait_for_finding("dead_sender")
    found = why("dead_sender", "on_save")
    text = found["text"]
    assert "is a call of the asyncslot Window.on_save of Window" in text
    assert place("dead_sender", "nobody will set it") in text
    assert "asyncio.Event, not set" in text
    assert "finished of Upload 'upload', which was destroyed" in text
    assert found["verdict"] == "dead"
    assert "QI301" in [finding["id"] for finding in found["findings"]]
    # Its name is known everywhere, although it is gone.
    pid = str(stuck.processes["dead_sender"].pid)
    assert "Upload 'upload' DESTROYED" in inspect("waits", pid).stdout
    lint = inspect("lint", "--json", pid)
    assert lint.returncode == 1
    (about,) = [f["about"] for f in json.loads(lint.stdout) if f["id"] == "QI301"]
    assert about == "signal finished of Upload 'upload', which was destroyed"
    assert "in main" in stack("dead_sender")  # nothing hangs


def test_await_cycle(wait_for_finding, why, task_of):
    finding = wait_for_finding("await_cycle")
    assert "waits for itself by way of" in finding["text"]
    found = why("await_cycle", "on_reload")
    catalogue = task_of("await_cycle", "load_catalogue")
    prices = task_of("await_cycle", "load_prices")
    assert found["verdict"] == "circle"
    assert found["circle"] == [catalogue, prices]
    assert f"waits for task {prices}" in found["text"]
    assert "That is a circle" in found["text"]
    frames = [link["frames"][-1] for link in found["chain"][1:]]
    assert [f"{os.path.basename(f['file'])}:{f['line']}" for f in frames] == [
        place("await_cycle", "await self.prices"),
        place("await_cycle", "which waits for us"),
    ]


def test_lost_wakeup(wait_for_finding, why):
    found = why("lost_wakeup", "on_fetch")
    assert "for the signal finished of Reply 'reply'" in found["text"]
    assert place("lost_wakeup", "too late") in found["text"]
    assert "The sender is alive" in found["text"]
    assert found["verdict"] == "alive"
    assert "over 30 s" in wait_for_finding("lost_wakeup")["text"]


def test_blocking_call(wait_for_finding, why, stack, stuck, inspect):
    wait_for_finding("blocking_call")
    text = stack("blocking_call")
    assert "in on_fetch\n" in text
    assert "in urlopen\n" in text
    assert text.index("in on_fetch\n") < text.index("in urlopen\n")
    found = why("blocking_call", "on_fetch")
    assert found["verdict"] == "runs"
    assert "nothing else can run on this loop meanwhile" in found["text"]
    assert "called by way of on_fetch" in found["text"]
    assert place("blocking_call", "the mistake") in found["text"]
    # Only what belongs to the task, not how Qt came to call it.
    assert found["chain"][0]["frames"][0]["name"] == "on_fetch"
    pid = str(stuck.processes["blocking_call"].pid)
    lint = json.loads(inspect("lint", "--json", pid).stdout)
    (finding,) = [f for f in lint if f["id"] == "QI101"]
    assert re.search(r"kept the loop for \d+ m?s in \w+ \(", finding["text"])


def test_cancelled_lock(wait_for_finding, why):
    wait_for_finding("cancelled_lock")
    text = why("cancelled_lock", "on_save")["text"]
    assert "asyncio.Lock, locked" in text
    assert re.search(r"It is held by task '.*' \(Window.synchronise\)", text)
    assert "That task was cancelled by task" in text
    assert "goes on nevertheless" in text
    holder = why("cancelled_lock", "synchronise")
    assert place("cancelled_lock", "no limit") in holder["text"]
    assert "It was cancelled by task" in holder["text"]
    names = [frame["name"] for frame in holder["chain"][0]["frames"]]
    assert names[:2] == ["synchronise", "say_goodbye"]
    assert "QI406" in [finding["id"] for finding in holder["findings"]]


def test_nested_exec(wait_for_finding, why, stack):
    assert "use modal()" in wait_for_finding("nested_exec")["text"]
    assert "in on_quit\n" in stack("nested_exec")
    who = why("nested_exec", "on_quit")
    assert "is in a nested Qt event loop" in who["text"]
    assert place("nested_exec", "QMessageBox.question(self") in who["text"]
    victim = why("nested_exec", "load")
    assert victim["verdict"] == "blocked"
    assert "a nested Qt event loop runs inside of task" in victim["text"]
    assert "Window.on_quit" in victim["text"]
    # It is paused, and nothing is lost: it goes on when the dialog is closed.
    # Who asks is not kept waiting for what cannot be had.
    assert victim["no_frames_because"].endswith("does not answer within 0.3 s")


def test_they_say_nothing_themselves(stuck, wait_for_finding):
    """They are stuck as a user sees it: no message, no end."""
    for name in NAMES:
        wait_for_finding(name)
    for name, process in stuck.processes.items():
        assert process.poll() is None, name
        os.set_blocking(process.stderr.fileno(), False)
        said = process.stderr.read() or b""
        assert b"Traceback" not in said, said.decode()
        assert b"Cannot enter into task" not in said
