"""The signal by which qtinter.inspect takes stacks: which, when not, and given back."""

import os
import signal
import subprocess
import sys

import pytest

from qtinter import inspect

pytestmark = pytest.mark.skipif(
    not sys.platform.startswith("linux"), reason="needs tgkill(2), that is Linux"
)

DEFAULT = signal.SIGRTMAX - 3 if hasattr(signal, "SIGRTMAX") else None


@pytest.fixture
def enable(no_leaks, tmp_path, monkeypatch):
    """Enables inspection in a directory of the test's own; returns the state."""
    monkeypatch.delenv("QTINTER_INSPECT_SIGNAL", raising=False)
    tmp_path.chmod(0o700)
    was_on = inspect.is_enabled()
    inspect.disable()

    def enable(**options):
        inspect.enable(directory=tmp_path, **options)
        return inspect.statistics()["stacks_state"]

    yield enable
    inspect.disable()
    monkeypatch.undo()
    if was_on:
        inspect.enable_from_environment()


def is_free(number):
    """Whether no handler is installed; getsignal() knows Python's own ones only."""
    with open("/proc/self/status", encoding="ascii") as file:
        caught = next(line for line in file if line.startswith("SigCgt:"))
    return not int(caught.split()[1], 16) >> (number - 1) & 1


def test_the_default_and_its_end(enable):
    assert is_free(DEFAULT)
    for _ in range(3):
        assert enable() == "on"
        assert not is_free(DEFAULT)
        inspect.disable()
        assert is_free(DEFAULT)


@pytest.mark.parametrize(
    ("value", "number"), [("SIGUSR2", signal.SIGUSR2), (str(DEFAULT - 1), DEFAULT - 1)]
)
def test_from_the_environment(enable, monkeypatch, value, number):
    monkeypatch.setenv("QTINTER_INSPECT_SIGNAL", value)
    assert enable() == "on"
    assert not is_free(number)
    assert is_free(DEFAULT)
    inspect.disable()
    assert is_free(number)
    # The argument counts more.
    assert enable(stack_signal=0) == "off: no signal is chosen for it"
    assert is_free(number)


def test_switched_off(enable, monkeypatch):
    monkeypatch.setenv("QTINTER_INSPECT_SIGNAL", "0")
    assert enable().startswith("off: no signal")
    assert is_free(DEFAULT)


def test_a_word_that_is_no_signal(enable, monkeypatch):
    monkeypatch.setenv("QTINTER_INSPECT_SIGNAL", "SIG_DFL")
    with pytest.raises(ValueError, match="QTINTER_INSPECT_SIGNAL=SIG_DFL: neither"):
        enable()
    assert not inspect.is_enabled()


@pytest.mark.parametrize("number", [signal.SIGKILL, 1000, -1, signal.SIGSEGV])
def test_a_number_that_cannot_be(enable, number):
    assert enable(stack_signal=number).startswith("off: ")
    assert inspect.is_enabled()  # all else works


def test_a_signal_that_is_in_use(enable):
    def mine(number, frame):
        pass

    before = signal.signal(signal.SIGUSR1, mine)
    try:
        said = enable(stack_signal=signal.SIGUSR1)
        assert said == f"off: signal {int(signal.SIGUSR1)} is in use"
        assert signal.getsignal(signal.SIGUSR1) is mine
        inspect.disable()
        assert signal.getsignal(signal.SIGUSR1) is mine
    finally:
        signal.signal(signal.SIGUSR1, before)


USED_LATER = """
import os, signal, sys
from qtinter import inspect
inspect.enable(directory=sys.argv[1], stack_signal=signal.SIGUSR1)
assert inspect.statistics()["stacks_state"] == "on"
seen = []
signal.signal(signal.SIGUSR1, lambda *_: seen.append(1))
inspect.disable()
os.kill(os.getpid(), signal.SIGUSR1)
assert seen == [1]
"""


def test_a_signal_that_is_used_later(tmp_path):
    # In a process of its own: what the handler needs is kept until its end.
    tmp_path.chmod(0o700)
    subprocess.run(
        [sys.executable, "-c", USED_LATER, str(tmp_path)], check=True, cwd="/"
    )


def test_somebody_elses_signal_does_nothing(enable, capfd):
    assert enable() == "on"
    os.kill(os.getpid(), DEFAULT)
    assert inspect.statistics()["stacks"] == 0
    assert capfd.readouterr() == ("", "")


# From 3.12 on for the thread of the sender, if Python sees it.
@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")
def test_a_child_gives_it_back(enable):
    assert enable() == "on"
    child = os.fork()
    if child == 0:
        os._exit(0 if is_free(DEFAULT) and not inspect.is_enabled() else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert inspect.statistics()["stacks_state"] == "on"
    assert not is_free(DEFAULT)


def test_without_a_sender_nobody_could_ask(enable):
    assert enable(connect=False).startswith("off: ")
    assert is_free(DEFAULT)
