"""``qtinter-inspect attach``, with something else in the place of sys.remote_exec."""

import os
import runpy
import subprocess
import sys
import threading

import pytest

from qtinter import inspect
from qtinter.inspect import cli, errors
from qtinter.inspect.commands import attach as module
from qtinter.inspect.commands.sources import NoTargetError

SLEEPER = """
import os, select
watched, other = os.eventfd(0, os.EFD_NONBLOCK), os.eventfd(0, os.EFD_NONBLOCK)
epoll = select.epoll()
epoll.register(watched, select.EPOLLIN)
print("ready", flush=True)
((fd, _),) = epoll.poll()
assert fd == watched and os.eventfd_read(fd) == 1
try:
    os.eventfd_read(other)
except BlockingIOError:
    print("woken, and no more", flush=True)
"""


@pytest.fixture
def enabled(monkeypatch):
    """The levels with which inspection was enabled, instead of enabling it."""
    levels = []
    monkeypatch.setattr(inspect, "enable", lambda level: levels.append(level))
    monkeypatch.setattr(inspect, "statistics", lambda: {"state": "connecting"})
    return levels


@pytest.fixture
def remote_exec(monkeypatch, tmp_path):
    """Sets what is done in the place of sys.remote_exec(pid, path)."""
    monkeypatch.setattr(module.tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(module, "wake", lambda pid: 0)

    def set_to(function):
        monkeypatch.setattr(sys, "remote_exec", function, raising=False)

    return set_to


@pytest.mark.skipif(not hasattr(os, "eventfd"), reason="os.eventfd came with 3.10")
def test_only_what_an_event_loop_waits_for_is_woken():
    process = subprocess.Popen(
        [sys.executable, "-c", SLEEPER], stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout.readline() == "ready\n"
        assert module.wake(process.pid) == 1
        assert process.stdout.readline() == "woken, and no more\n"
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def test_a_program_that_runs_the_script(remote_exec, enabled, tmp_path, capsys):
    remote_exec(lambda pid, path: runpy.run_path(path))
    assert cli.main(["attach", "--level", "3", str(os.getpid())]) == 0
    assert enabled == [3]
    assert capsys.readouterr().out == f"{os.getpid()} is shown at level 3\n"
    assert os.listdir(tmp_path) == []


def test_the_script_leaves_no_name_in_the_program(remote_exec, enabled):
    names = []
    remote_exec(lambda pid, path: names.append(runpy.run_path(path)))
    module.attach(os.getpid(), 2)
    assert [name for name in names[0] if not name.startswith("__")] == []


def test_a_program_that_is_asleep_is_woken(remote_exec, enabled, monkeypatch):
    paths, started = [], []
    remote_exec(lambda pid, path: paths.append(path))

    def wake(pid):
        if not started:
            started.append(threading.Thread(target=runpy.run_path, args=(paths[0],)))
            started[0].start()
        return 1

    monkeypatch.setattr(module, "wake", wake)
    module.attach(os.getpid(), 2)
    started[0].join()
    assert enabled == [2]


def test_what_is_wrong_in_the_program_is_said(remote_exec, monkeypatch):
    def fail(level):
        raise ValueError("not now")

    monkeypatch.setattr(inspect, "enable", fail)
    remote_exec(lambda pid, path: runpy.run_path(path))
    with pytest.raises(errors.InspectError, match="ValueError: not now"):
        module.attach(os.getpid(), 2)


def test_a_program_that_looks_for_no_daemon(remote_exec, enabled, monkeypatch):
    monkeypatch.setattr(inspect, "statistics", lambda: {"state": "off"})
    remote_exec(lambda pid, path: runpy.run_path(path))
    with pytest.raises(errors.InspectError, match="look for no daemon"):
        module.attach(os.getpid(), 2)


def test_a_program_that_runs_it_later_finds_it(
    remote_exec, enabled, monkeypatch, tmp_path
):
    paths = []
    remote_exec(lambda pid, path: paths.append(path))
    monkeypatch.setattr(module, "PATIENCE", 0.1)
    with pytest.raises(errors.InspectError, match="as soon as it runs some"):
        module.attach(os.getpid(), 2)
    runpy.run_path(paths[0])
    assert enabled == [2]
    assert os.listdir(tmp_path) == []


def refused():
    try:
        raise PermissionError("not yours")
    except PermissionError as exc:
        raise RuntimeError("cannot read the memory") from exc


def other_version():
    raise RuntimeError("Can't send commands from 3.15 to 3.14")


@pytest.mark.parametrize(
    ("function", "error", "text"),
    [
        (refused, PermissionError, "does not let this user"),
        (other_version, errors.InspectError, "from 3.15 to 3.14"),
    ],
)
def test_a_process_that_cannot_be_entered(remote_exec, tmp_path, function, error, text):
    remote_exec(lambda pid, path: function())
    with pytest.raises(error, match=text):
        module.attach(os.getpid(), 2)
    assert os.listdir(tmp_path) == []


@pytest.mark.skipif(not os.path.exists("/proc/self"), reason="there is no /proc")
def test_a_process_that_is_not_there(remote_exec):
    remote_exec(lambda pid, path: pytest.fail("it was asked for"))
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    with pytest.raises(NoTargetError):
        module.attach(process.pid, 2)
