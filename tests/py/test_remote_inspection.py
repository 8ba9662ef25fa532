"""``python -m asyncio ps`` and ``pstree`` see the tasks of an attached application.

They read the other process's memory: where the interpreter keeps the running loop of
each thread and the list of its tasks.
"""

import pathlib
import subprocess
import sys

import pytest

SCRIPT = pathlib.Path(__file__).resolve().parents[1] / "isolated" / "attached_tasks.py"
TIMEOUT = 60  # seconds, a safety net

pytestmark = pytest.mark.skipif(
    sys.version_info < (3, 14),
    reason="python -m asyncio ps and pstree exist from Python 3.14 on",
)


@pytest.fixture
def attached_pid():
    """The process of an attached application whose tasks all wait."""
    process = subprocess.Popen(
        [sys.executable, str(SCRIPT)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        try:
            assert process.stdout.readline() == "ready\n"
            yield process.pid
        finally:
            process.stdin.close()
            try:
                process.wait(TIMEOUT)
            except subprocess.TimeoutExpired:
                process.kill()
                raise
    assert process.returncode == 0


def inspect(command, pid):
    """What `python -m asyncio COMMAND PID` prints."""
    run = subprocess.run(
        [sys.executable, "-m", "asyncio", command, str(pid)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=TIMEOUT,
    )
    if "PermissionError" in run.stdout or "ermission denied" in run.stdout:
        pytest.skip("this machine does not let us read another process's memory")
    assert run.returncode == 0, run.stdout
    return run.stdout


def test_ps_lists_the_tasks(attached_pid):
    lines = inspect("ps", attached_pid).splitlines()
    rows = {
        name: line
        for line in lines
        for name in ("the-child", "the-parent", "the-slot")
        if name in line.split()
    }
    assert set(rows) == {"the-child", "the-parent", "the-slot"}
    assert "wait_for_ever" in rows["the-child"]
    assert "the-parent" in rows["the-child"]  # who awaits it
    assert "in_slot" in rows["the-slot"]


def test_pstree_shows_who_awaits_whom(attached_pid):
    lines = inspect("pstree", attached_pid).splitlines()

    def depth(name):
        (line,) = [line for line in lines if f"(T) {name}" in line]
        return line.index("(T)")

    assert depth("the-child") > depth("the-parent")
    assert depth("the-slot") == depth("the-parent")
