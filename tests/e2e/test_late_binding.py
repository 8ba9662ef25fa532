"""A program that is watched before it has chosen a binding of Qt."""

import pathlib
import subprocess
import sys

import pytest

from qtinter import trace
from qtinter.bindings import QtCore, binding_name
from qtinter.inspect import feed as feed_module

SCRIPT = pathlib.Path(__file__).resolve().parents[1] / "isolated" / "late_binding.py"
PATIENCE = 60  # seconds; only a safety net
CHOSEN = (binding_name, QtCore.qVersion())


class Late:
    def __init__(self, path):
        self.process = subprocess.Popen(
            [sys.executable, str(SCRIPT), str(path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            bufsize=1,
        )
        self.pid = self.process.pid
        assert self.process.stdout.readline() == "ready\n"

    def go_on(self):
        self.process.stdin.write("\n")
        self.process.stdin.flush()

    def attach(self):
        self.go_on()
        assert self.process.stdout.readline() == "attached\n"


@pytest.fixture
def late(daemon, path, known):
    late = Late(path)
    yield known(late)
    late.process.kill()
    late.process.communicate(timeout=PATIENCE)


def names_of(process):
    """Of the coroutine functions; texts come again with what says the binding."""
    return {task["code"]["name"] for task in process.tasks() if task["code"]}


def chosen_in(versions):
    return versions.get("binding"), versions.get("qt")


def test_tools_are_told(late, run, until):
    """Those that were there before; rows and names are as they were."""

    async def main():
        async with feed_module.connect() as feed:
            await feed.subscribe()
            process = feed.processes[late.pid]
            before = chosen_in(process.info["versions"])
            late.attach()
            await until(feed, lambda: names_of(process) >= {"main", "sleep"})
            (listed,) = await feed.list()
            return before, process, listed["process"]

    before, process, listed = run(main())
    assert before == ("", "")
    assert chosen_in(process.info["versions"]) == CHOSEN
    assert listed[8] == process.info["versions"]
    (loop,) = process.loops()
    assert loop["host"]


def test_recordings_name_it(late, path, ask, tmp_path):
    """Of the program and of the daemon, which began before, and one made at the end."""
    daemons = tmp_path / "daemon.qtrace"
    ask("RECORD", pid=late.pid, path=str(daemons))
    late.attach()
    late.go_on()
    assert late.process.wait(PATIENCE) == 0
    for file in (path, pathlib.Path(f"{path}.saved"), daemons):
        found = trace.open(file)
        assert not found.problems, file
        assert chosen_in(found.info["versions"]) == CHOSEN, file
        assert f"with {binding_name} (Qt {CHOSEN[1]}" in found.text(), file
        (mark,) = found.events("mark")
        assert "there" in str(mark), file
