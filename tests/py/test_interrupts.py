"""Ctrl+C, SystemExit and signals; the programs are tests/isolated/interrupt*.py.

Each case is a process of its own: its exit status and all it prints are asserted.
"""

import asyncio
import itertools
import os
import pathlib
import signal
import socket
import sys

import pytest

import qtinter
from qtinter import QiLoopMode

from .driving import MODES, drive

DOCUMENTATION = pathlib.Path(__file__).parents[2] / "docs" / "interrupts.md"
HEADER = "| situation | attached | nested | inner | native |"


def documented_cases():
    """(mode, situation, outcome) for each cell of the table in docs/interrupts.md."""
    lines = iter(DOCUMENTATION.read_text(encoding="utf-8").splitlines())
    cases = []
    for line in lines:
        if line == HEADER:
            modes = cells_of(line)[1:]
            next(lines)
            for row in itertools.takewhile(bool, lines):
                situation, *outcomes = cells_of(row)
                cases += zip(modes, [situation] * len(modes), outcomes)
    return cases


def cells_of(line):
    return [cell.strip() for cell in line.strip("|").split("|")]


NO_SUCH_SITUATION = "–"
ALL_CASES = documented_cases()
CASES = [case for case in ALL_CASES if case[2] != NO_SUCH_SITUATION]


def test_the_table_is_complete():
    modes = {mode for mode, _, _ in ALL_CASES}
    situations = {situation for _, situation, _ in ALL_CASES}
    assert modes == {"attached", "nested", "inner", "native"}
    assert situations >= {
        *("waiting", "slot", "callback", "coroutine", "clean-up"),
        *("`modal`, waiting", "slot, second", "clean-up, second"),
    }
    assert len(ALL_CASES) == len(modes) * len(situations)
    missing = {case[:2] for case in ALL_CASES} - {case[:2] for case in CASES}
    assert missing == {
        *(("native", "slot"), ("native", "slot, second")),
        ("native", "own Qt loop, slot, second"),
    }


def is_raised_in_a_slot(situation, outcome):
    """Whether the binding gets the exception; see docs/interrupts.md, "Python 3.14"."""
    in_slot = situation.startswith("slot") or situation.startswith("own Qt loop, slot")
    return in_slot and outcome.startswith("at once")


@pytest.mark.parametrize(
    ("mode", "situation", "outcome"),
    CASES,
    ids=[" - ".join(case[:2]) for case in CASES],
)
def test_the_table_is_true(run_isolated, mode, situation, outcome):
    """docs/interrupts.md, cell by cell; nothing is printed, nothing is left behind."""
    result = run_isolated("interrupt_table.py", mode, situation)
    assert result.stderr == ""
    assert result.stdout == f"{outcome}\nKeyboardInterrupt\n"
    noted = sys.version_info >= (3, 14) and is_raised_in_a_slot(situation, outcome)
    assert result.returncode == (-signal.SIGINT if noted else 0)


PLACES = ["idle", "slot", "callback", "coroutine", "modal", "busy callback"]


@pytest.mark.parametrize("sender", ["thread", "parent"])
@pytest.mark.parametrize("mode", ["nested", "attached"])
@pytest.mark.parametrize("place", PLACES)
def test_ctrl_c(run_isolated, mode, place, sender):
    """KeyboardInterrupt leaves run_forever() or the block; nothing is printed."""
    result = run_isolated("interrupt.py", mode, place, sender)
    assert result.stderr == ""
    assert result.stdout == "KeyboardInterrupt\ncleaned up\n"
    assert result.returncode == 0


@pytest.mark.parametrize("mode", ["nested", "attached"])
@pytest.mark.parametrize("place", ["callback", "coroutine", "modal"])
def test_system_exit(run_isolated, mode, place):
    result = run_isolated("interrupt.py", mode, place, "exit")
    assert result.stderr == ""
    assert result.stdout == "SystemExit 5\ncleaned up\n"


@pytest.mark.parametrize("mode", ["nested", "attached"])
def test_an_uncaught_interrupt_ends_the_process_as_python_does(run_isolated, mode):
    result = run_isolated("interrupt.py", mode, "idle", "uncaught")
    assert result.returncode == (-signal.SIGINT if sys.version_info >= (3, 8) else 1)
    assert result.stderr.rstrip().endswith("KeyboardInterrupt")
    assert "Fatal" not in result.stderr


@pytest.mark.parametrize("mode", ["nested", "attached"])
def test_an_uncaught_system_exit_gives_its_status(run_isolated, mode):
    result = run_isolated("interrupt.py", mode, "callback", "uncaught exit")
    assert (result.returncode, result.stdout, result.stderr) == (5, "", "")


def test_ctrl_c_while_cleaning_up(run_isolated):
    """The wait for a task that refuses to end is interrupted; the loop is closed."""
    result = run_isolated("interrupt_cleanup.py")
    assert result.returncode == 0
    assert result.stdout.splitlines() == ["KeyboardInterrupt", "closed: True"]
    assert "Fatal" not in result.stderr


def test_ctrl_c_under_asyncio_run(run_isolated):
    """asyncio's Runner cancels the main task first (E10)."""
    result = run_isolated("interrupt_runner.py")
    assert result.stderr == ""
    assert result.stdout == "cancelled\nKeyboardInterrupt\n"


# --- in this process: what is saved and restored -------------------------------------


@pytest.fixture
def loop(request, app):
    loop = qtinter.new_event_loop()
    yield loop
    loop.close()
    request.node.funcargs.clear()  # pytest holds the loop beyond no_leaks otherwise


def current_wakeup_fd():
    fd = signal.set_wakeup_fd(-1)
    signal.set_wakeup_fd(fd, warn_on_full_buffer=False)
    return fd


@pytest.fixture
def wakeup_socket():
    ours, theirs = socket.socketpair()
    theirs.setblocking(False)
    before = signal.set_wakeup_fd(theirs.fileno())
    yield theirs
    signal.set_wakeup_fd(before)
    ours.close()
    theirs.close()


@pytest.mark.parametrize("mode", MODES)
def test_the_wakeup_fd_is_saved_and_restored(loop, mode, wakeup_socket):
    seen = []
    assert current_wakeup_fd() == wakeup_socket.fileno()
    for _ in range(2):
        loop.call_soon(lambda: seen.append(current_wakeup_fd()))
        loop.call_soon(loop.stop)
        drive(loop, mode)
        assert current_wakeup_fd() == wakeup_socket.fileno()
    assert seen == [loop._csock.fileno()] * 2


@pytest.mark.parametrize("mode", MODES)
def test_other_loops_do_not_take_the_wakeup_fd_away(loop, mode):
    seen = []

    def callback():
        other = qtinter.new_event_loop()
        other.close()
        seen.append(current_wakeup_fd() == loop._csock.fileno())
        loop.add_signal_handler(signal.SIGUSR1, print)
        loop.remove_signal_handler(signal.SIGUSR1)
        seen.append(current_wakeup_fd() == loop._csock.fileno())
        loop.stop()

    loop.call_soon(callback)
    drive(loop, mode)
    assert seen == [True, True]
    assert current_wakeup_fd() == -1


@pytest.mark.parametrize("mode", MODES)
def test_a_wakeup_fd_that_is_gone_when_the_loop_ends(loop, mode):
    """Its owner closed it during the run: nothing to restore, and no harm."""
    ours, theirs = socket.socketpair()
    theirs.setblocking(False)
    signal.set_wakeup_fd(theirs.fileno())

    def callback():
        ours.close()
        theirs.close()
        loop.stop()

    loop.call_soon(callback)
    try:
        drive(loop, mode)
    finally:
        running = loop.is_running()
        if running:  # as it should not be; for the tests that follow
            loop._thread_id = None
            asyncio._set_running_loop(None)
    assert not running
    assert current_wakeup_fd() == -1


@pytest.mark.parametrize("mode", MODES)
def test_the_sigint_handler_is_replaced_and_restored(loop, mode):
    before = signal.getsignal(signal.SIGINT)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        loop.call_soon(loop.stop)
        drive(loop, mode)
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("when", ["before", "during"])
def test_a_sigint_handler_of_the_user_is_honoured(loop, mode, when):
    got = []

    def handler(signum, frame):
        got.append(signum)
        loop.stop()

    before = signal.signal(
        signal.SIGINT, handler if when == "before" else signal.default_int_handler
    )
    try:
        if when == "during":
            loop.call_soon(signal.signal, signal.SIGINT, handler)
        loop.call_later(0.001, os.kill, os.getpid(), signal.SIGINT)
        drive(loop, mode)
        assert got == [signal.SIGINT]
        assert signal.getsignal(signal.SIGINT) is handler
    finally:
        signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("signum", [signal.SIGUSR1, signal.SIGINT])
def test_signal_handlers_run_as_callbacks(loop, mode, signum):
    got = []

    def handler(*args):
        got.append((args, asyncio.get_running_loop() is loop))
        loop.stop()

    loop.add_signal_handler(signum, handler, 1, 2)
    loop.call_later(0.001, os.kill, os.getpid(), signum)
    drive(loop, mode)
    assert got == [((1, 2), True)]
    assert loop.remove_signal_handler(signum) is True
    assert loop.remove_signal_handler(signum) is False


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("kind", [SystemExit, KeyboardInterrupt])
def test_an_interrupt_leaves_the_loop_usable(loop, mode, kind):
    ran = []

    def fail():
        raise kind(7)

    loop.call_soon(fail)
    loop.call_soon(ran.append, "next run")
    with pytest.raises(kind) as info:
        drive(loop, mode)
    assert info.value.args == (7,)
    del info
    assert ran == []
    assert not loop.is_running()
    loop.call_soon(loop.stop)
    drive(loop, mode)
    assert ran == ["next run"]
    assert loop.mode is not QiLoopMode.OWNER or mode == "nested"


@pytest.mark.parametrize("mode", MODES)
def test_an_exception_that_is_none_is_treated_as_asyncio_does(loop, mode):
    """Reported from Python 3.8 on; before, it ends the run."""

    class Unusual(BaseException):
        pass

    def fail():
        raise Unusual

    reported = []
    loop.set_exception_handler(lambda loop, context: reported.append(context))
    loop.call_soon(fail)
    loop.call_soon(loop.stop)
    if sys.version_info >= (3, 8):
        drive(loop, mode)
        assert type(reported.pop()["exception"]) is Unusual
    else:
        with pytest.raises(Unusual):
            drive(loop, mode)
        drive(loop, mode)
    assert reported == []
