"""attach: a program that did not ask for it, and sleeps in Qt. Needs CPython 3.14."""

import json
import os
import subprocess
import sys

import pytest

if not hasattr(sys, "remote_exec"):
    pytest.skip("sys.remote_exec came with CPython 3.14", allow_module_level=True)

PROGRAM = """
import asyncio
import qtinter
from qtinter.bindings import QtCore

async def main():
    print("ready", flush=True)
    await asyncio.sleep(3600)

app = QtCore.QCoreApplication([])
with qtinter.using_asyncio_from_qt() as loop:
    task = loop.create_task(main(), name="the task")
    app.exec()
"""


@pytest.fixture
def asleep(tmp_path):
    path = tmp_path / "asleep.py"
    path.write_text(PROGRAM)
    process = subprocess.Popen(
        [sys.executable, str(path)],
        stdout=subprocess.PIPE,
        text=True,
        env={k: v for k, v in os.environ.items() if k != "QTINTER_TRACE_DIR"},
    )
    assert process.stdout.readline() == "ready\n"
    yield process
    process.kill()
    process.wait()
    process.stdout.close()


def test_a_program_that_sleeps(daemon, asleep, inspect):
    pid = str(asleep.pid)
    result = inspect("attach", pid, "--json")
    assert (result.returncode, result.stderr) == (0, "")
    assert json.loads(result.stdout) == {
        "pid": asleep.pid,
        "attached": True,
        "level": 2,
    }
    while inspect("ps", pid).returncode == 3:
        pass  # it looks for the daemon about once a second
    result = inspect("ps", pid, "--json")
    ((row,),) = (found["rows"] for found in json.loads(result.stdout))
    assert (row["name"], row["waits_for"]["kind"]) == ("the task", "timer")
    again = inspect("attach", pid, "--level", "3")
    assert (again.returncode, again.stderr) == (0, "")


def test_a_process_that_is_no_python(inspect):
    process = subprocess.Popen(["sleep", "60"])
    try:
        result = inspect("attach", str(process.pid))
    finally:
        process.kill()
        process.wait()
    assert result.returncode == 3
    assert "must be a CPython" in result.stderr
    assert "Traceback" not in result.stderr
