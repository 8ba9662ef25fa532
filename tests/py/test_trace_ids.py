"""QTINTER_TRACE_ID: the recordings of all processes of one test."""

import json
import subprocess
import sys

import pytest

import qtinter.trace
from qtinter.inspect import cli

pytestmark = pytest.mark.skipif(
    not sys.platform.startswith("linux"), reason="inspection is on Linux only so far"
)

PROGRAM = """
import asyncio, os, qtinter
from qtinter.bindings import QtCore
app = QtCore.QCoreApplication([])

async def in_the_program():
    asyncio.ensure_future(asyncio.sleep(3600))
    await asyncio.sleep(0)
    print(os.environ["QTINTER_TRACE_ID"])
    os.abort()

qtinter.run(in_the_program())
"""
TEST = """
import os
import subprocess
import sys

def test_it(saving):
    subprocess.run([sys.executable, "program.py"])
    if "STRANGE" in os.environ:
        env = dict(os.environ, QTINTER_TRACE_ID="strange")
        subprocess.run([sys.executable, "program.py"], env=env)
    saving.clicked.emit()
    assert False
"""
FOLDER = "test_it.py-test_it"


@pytest.fixture
def kept(suite, capsys):
    """kept(env): the folder of the test, what pytest printed."""

    def run(**env):
        suite.write("program.py", PROGRAM)
        suite.tests(TEST)
        output = suite.run(env=env)
        assert "1 failed" in output, output
        return suite.kept()[FOLDER], output

    return run


@pytest.fixture
def replay(capsys):
    def run(*options):
        assert cli.main(["replay", *map(str, options)]) == 0
        return capsys.readouterr().out

    return run


def test_one_id_for_all_processes_of_a_test(kept, replay):
    folder, output = kept()
    trace = qtinter.trace.open(folder)
    (other,) = trace.others
    session = folder.parent.name
    assert session in output.split("Captured stdout")[1]  # the program's variable
    assert trace.info["trace_id"] == other.info["trace_id"] == f"{session}/{FOLDER}"
    assert trace.problems == []
    assert f"trace id {session}/{FOLDER}\n" in replay(folder)


def test_an_id_from_outside(kept):
    folder, _ = kept(QTINTER_TRACE_ID="job 7")
    trace = qtinter.trace.open(folder)
    assert [each.info["trace_id"] for each in (trace, *trace.others)] == [
        f"job 7/{FOLDER}"
    ] * 2


def test_one_with_another_id_is_named(kept, replay):
    folder, _ = kept(STRANGE="1")
    trace = qtinter.trace.open(folder)
    ids = {other.info["trace_id"] for other in trace.others}
    assert ids == {"strange", trace.info["trace_id"]}
    (problem,) = trace.problems
    assert "is of another trace: its id is strange, not " in problem
    assert f"problem: {problem}" in replay(folder)


def test_replay_shows_all_processes(kept, replay):
    """Their tasks, and the last events of all in their order, in one time."""
    folder, _ = kept()
    trace = qtinter.trace.open(folder)
    (other,) = trace.others
    begins = (other.zero - trace.zero) * 1e-9
    text = replay(folder, "--events", 10_000)
    name = f"program.py, pid {other.info['pid']}"
    heading = f"\n{name}, from {begins:.6f} s to {begins + other.duration:.6f} s\n"
    before, _, after = text.partition(heading)
    assert "in_the_program" not in before
    tasks, _, events = after.partition("\nlast events\n")
    assert "in_the_program" in tasks
    lines = events.splitlines()[1:]
    times = [float(line.split()[0]) for line in lines]
    assert times == sorted(times)
    told = [each.last_records(10_000) for each in (trace, other)]
    assert len(times) == sum(map(len, told))
    mine = [name in line for line in lines]
    first, last = mine.index(True), len(mine) - mine[::-1].index(True)
    assert 0 < first < last < len(lines)  # it began and ended within the test
    # Before it began it is not there; afterwards it is as it was last.
    assert name not in replay(folder, "--at", f"{begins * 0.9:.6f}s")
    assert name in replay(folder, "--at=-0.000001s")
    state = json.loads(replay(folder, "--json"))
    assert [each["process"]["pid"] for each in state["others"]] == [other.info["pid"]]
    assert state["others"][0]["tasks"]


@pytest.mark.parametrize("value", ["shared", None])
def test_programs_that_record_themselves(run_isolated, tmp_path, value):
    path = tmp_path / "a.qtrace"
    env = {"QTINTER_TRACE_ID": value, "QTINTER_INSPECT": None}
    done = run_isolated("recorded.py", "plain", path, env=env)
    assert done.returncode == 0, done.stderr
    assert qtinter.trace.open(path).info["trace_id"] == (value or "")


def test_an_id_that_is_no_text(tmp_path):
    """What is no UTF-8 becomes a question mark; what is too long is cut."""
    code = (
        "import qtinter.inspect, sys;r = qtinter.inspect.record(sys.argv[1]); r.stop()"
    )
    path = tmp_path / "a.qtrace"
    subprocess.run(
        [sys.executable, "-c", code, str(path)],
        env={b"QTINTER_TRACE_ID": b"\xff" + b"x" * 100},
        cwd="/",
        check=True,
        timeout=60,
    )
    assert qtinter.trace.open(path).info["trace_id"] == "?" + "x" * 62
