"""What the user does with each example, and what the user must see.

Each function is a generator played by ``driver.py``.  An assertion after a ``click``
without a ``yield`` in between checks what happens inside the click itself.
"""

import asyncio
import base64
import importlib
import os
import sys
import time

from driver import BINDING, EXITED, QtCore, QtWidgets

QtGui = importlib.import_module(f"{BINDING}.QtGui")
QtTest = importlib.import_module(f"{BINDING}.QtTest")


def click(button):
    assert button.isEnabled(), button.text()
    QtTest.QTest.mouseClick(button, QtCore.Qt.MouseButton.LeftButton)


def find(kind):
    """Return the visible window of a class, given itself or by name, or None."""
    for widget in QtWidgets.QApplication.topLevelWidgets():
        if kind in (type(widget), type(widget).__name__) and widget.isVisible():
            return widget
    return None


def shown(kind):
    return lambda: find(kind) is not None


def example_module():
    return sys.modules["__main__"]


# --- the README's examples -----------------------------------------------------------


def sleep():
    yield shown(QtWidgets.QPushButton)
    button = find(QtWidgets.QPushButton)
    assert button.text() == "Sleep for one second"
    for _ in range(2):
        click(button)
        assert not button.isEnabled()
        yield button.isEnabled
    button.close()


def color_accepted():
    yield shown(QtWidgets.QColorDialog)
    dialog = find(QtWidgets.QColorDialog)
    dialog.setCurrentColor(QtGui.QColor("#336699"))
    dialog.accept()


def color_rejected():
    yield shown(QtWidgets.QColorDialog)
    dialog = find(QtWidgets.QColorDialog)
    dialog.setCurrentColor(QtGui.QColor("#336699"))
    dialog.reject()


# --- clock ---------------------------------------------------------------------------


def clock():
    until_next_second = example_module().until_next_second
    assert until_next_second(10.25) == 0.75
    assert until_next_second(11.0) == 1.0

    yield shown("Clock")
    label = find("Clock")
    seen = [label.text()]
    while len(seen) < 3:
        yield lambda: label.text() != seen[-1]
        seen.append(label.text())
    seconds = [time.strptime(text, "%H:%M:%S") for text in seen]
    seconds = [t.tm_hour * 3600 + t.tm_min * 60 + t.tm_sec for t in seconds]
    steps = [(b - a) % 86400 for a, b in zip(seconds, seconds[1:])]
    assert all(0 < step < 3600 for step in steps), seen
    label.close()


# --- stopwatch -----------------------------------------------------------------------


def stopwatch():
    yield shown("Stopwatch")
    window = find("Stopwatch")
    buttons = [window.start_button, window.stop_button, window.reset_button]

    def enabled():
        return [button.isEnabled() for button in buttons]

    assert window.display.text() == "00:00.00"
    assert enabled() == [True, False, True]

    click(window.start_button)
    assert enabled() == [False, True, False]
    yield lambda: window.elapsed > 0.1
    click(window.stop_button)
    yield lambda: enabled() == [True, False, True]
    assert window.task.cancelled()
    first = window.elapsed
    assert window.display.text() != "00:00.00"

    click(window.start_button)
    yield lambda: window.elapsed > first
    click(window.stop_button)
    yield window.task.done
    assert enabled() == [True, False, True]

    window.show_elapsed(59.999)
    assert window.display.text() == "00:59.99"
    window.show_elapsed(125.5)
    assert window.display.text() == "02:05.50"

    click(window.reset_button)
    assert window.display.text() == "00:00.00"
    window.close()


def stopwatch_cancelled_at_once():
    """Start and Stop in one go: the cancelled coroutine still cleans up."""
    yield shown("Stopwatch")
    window = find("Stopwatch")
    click(window.start_button)
    click(window.stop_button)
    yield window.start_button.isEnabled
    assert window.task.cancelled()
    assert not window.stop_button.isEnabled()
    window.close()


def stopwatch_closed_while_running():
    yield shown("Stopwatch")
    window = find("Stopwatch")
    click(window.start_button)
    window.close()
    yield EXITED
    assert window.task.cancelled()


# --- modal dialog --------------------------------------------------------------------


def modal_dialog():
    yield shown("Window")
    window = find("Window")
    Button = QtWidgets.QMessageBox.StandardButton
    yield from answer_dialog(window, Button.No)
    assert window.count >= 3
    yield from answer_dialog(window, Button.Yes)
    assert window.count < 3
    window.close()


def answer_dialog(window, answer):
    """Open the dialog, see that the ticker goes on behind it, and answer it."""
    yield lambda: window.count >= 3
    window.answer.clear()
    asked_at = window.count
    click(window.button)
    yield shown(QtWidgets.QMessageBox)
    box = find(QtWidgets.QMessageBox)
    assert box.isModal()
    assert f"was at {asked_at} " in box.text()
    yield lambda: window.count >= asked_at + 3
    assert find(QtWidgets.QMessageBox) is box
    assert window.answer.text() == ""
    click(box.button(answer))
    yield lambda: window.answer.text() != ""
    assert int(window.answer.text().split()[0]) >= 3


# --- signal stream -------------------------------------------------------------------


def signal_stream():
    yield shown("Window")
    window = find("Window")
    values = [3, 1, 4, 1, 5, 9, 2, 6]
    for value in values:
        window.slider.setValue(value)
    assert window.emitted == len(values)
    assert window.followed == []
    assert window.label.text() == "8 movements, 8 waiting"
    yield lambda: len(window.followed) == 2
    assert window.dial.value() == 1
    window.slider.setValue(50)  # while the coroutine is busy with earlier ones
    yield lambda: len(window.followed) == len(values) + 1
    assert window.followed == [*values, 50]
    assert window.dial.value() == 50
    assert window.label.text() == "9 movements, 0 waiting"
    window.close()


# --- subprocess viewer ---------------------------------------------------------------


def subprocess_output():
    """The command writes a line, waits for us to open "gate", and ends with 3."""
    yield shown("SubprocessViewer")
    window = find("SubprocessViewer")
    assert not window.kill_button.isEnabled()
    click(window.run_button)
    assert not window.run_button.isEnabled()
    yield lambda: window.output.toPlainText() == "ready: é\n"
    assert window.kill_button.isEnabled()
    assert window.status.text() == f"Process {window.process.pid} is running."
    with open("gate", "w") as gate:
        gate.write("open")
    yield window.run_button.isEnabled
    text = window.output.toPlainText()
    assert text == "ready: é\nerror: open\n", text
    assert window.status.text() == f"Process {window.process.pid} ended with 3."
    assert not window.kill_button.isEnabled()
    window.close()


def subprocess_killed():
    """The command writes without end; the Kill button still gets its click."""
    yield shown("SubprocessViewer")
    window = find("SubprocessViewer")
    click(window.run_button)
    yield lambda: window.output.blockCount() > 1000
    assert window.kill_button.isEnabled()
    click(window.kill_button)
    yield window.run_button.isEnabled
    assert window.status.text() == f"Process {window.process.pid} ended with -9."
    assert window.output.blockCount() <= 10_000
    window.close()


def subprocess_cannot_run():
    yield shown("SubprocessViewer")
    window = find("SubprocessViewer")
    for command in ("no-such-command-anywhere", "", "'unbalanced"):
        window.command.setText(command)
        window.status.setText("")
        click(window.run_button)
        yield window.run_button.isEnabled
        assert window.status.text().startswith("Cannot run this command: ")
        assert not window.kill_button.isEnabled()
    window.close()


def subprocess_closed_while_running():
    """Closing the window leaves no process behind."""
    yield shown("SubprocessViewer")
    window = find("SubprocessViewer")
    click(window.run_button)
    yield window.kill_button.isEnabled
    pid = window.process.pid
    os.kill(pid, 0)
    window.close()
    yield EXITED
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return
    raise AssertionError("the process is still there")


# --- worker thread -------------------------------------------------------------------


def worker_thread():
    yield shown("Window")
    window = find("Window")
    yield window.start_button.isEnabled
    assert window.worker.isRunning()
    assert asyncio._get_running_loop() is None, "the loop belongs to the worker"
    percents = []
    window.worker.progress.connect(lambda percent, found: percents.append(percent))

    window.limit.setValue(10_000_000)
    click(window.start_button)
    assert not window.start_button.isEnabled()
    assert window.stop_button.isEnabled()
    yield lambda: len(percents) >= 3
    click(window.stop_button)
    yield window.start_button.isEnabled
    assert window.result.text().startswith("Stopped after ")
    assert not window.stop_button.isEnabled()

    percents.clear()
    window.limit.setValue(10_000)
    click(window.start_button)
    yield window.start_button.isEnabled
    assert window.result.text() == "There are 1229 primes below 10000."
    assert percents == sorted(percents)
    assert percents[-1] == window.bar.value() == 100
    window.close()


def worker_thread_closed_while_counting():
    yield shown("Window")
    window = find("Window")
    yield window.start_button.isEnabled
    window.limit.setValue(10_000_000)
    click(window.start_button)
    yield lambda: window.result.text().endswith("so far.")
    finished = []
    window.worker.finished.connect(
        lambda: finished.append(True), QtCore.Qt.ConnectionType.DirectConnection
    )
    window.close()
    yield EXITED
    assert finished == [True]


# --- HTTP window ---------------------------------------------------------------------


def http_downloads():
    yield shown("HttpWindow")
    window = find("HttpWindow")
    yield from download_all(window)
    yield from download_all(window)  # the window can be used again
    window.close()


def download_all(window):
    """The last URL takes a second; the others are done before it."""
    *quick, slow = window.downloads
    click(window.start_button)
    assert not window.start_button.isEnabled()
    assert window.cancel_button.isEnabled()
    assert not slow.done
    frames = window.spinner.frames
    yield lambda: all(download.done for download in quick)
    assert not slow.done
    yield lambda: window.spinner.frames > frames + 5
    yield window.start_button.isEnabled
    assert not window.cancel_button.isEnabled()
    for download in window.downloads:
        digest = base64.b64encode(download.sha256.digest()).decode()
        assert download.headers["Repr-Digest"] == f"sha-256=:{digest}:"
        assert download.size == int(download.url.partition("/bytes/")[2].split("?")[0])
        assert download.status.text() == f"{download.size:,} bytes"
    count = len(window.downloads)
    size = sum(download.size for download in window.downloads)
    assert window.bar.value() == window.bar.maximum() == 100 * count
    text = f"{count} of {count} downloads done, {size:,} bytes"
    assert window.status.text() == text


def http_cancelled():
    yield shown("HttpWindow")
    window = find("HttpWindow")
    click(window.start_button)
    yield lambda: all(download.size for download in window.downloads)
    click(window.cancel_button)
    yield window.start_button.isEnabled
    assert [d.status.text() for d in window.downloads] == ["cancelled"] * 2
    assert window.task.cancelled()
    assert not window.cancel_button.isEnabled()
    window.close()


def http_closed_while_downloading():
    yield shown("HttpWindow")
    window = find("HttpWindow")
    click(window.start_button)
    yield lambda: all(download.size for download in window.downloads)
    window.close()
    yield EXITED
    assert window.task.cancelled()


def http_failures():
    """Nobody listens; not found; not trusted; not a URL; and one that works."""
    yield shown("HttpWindow")
    window = find("HttpWindow")
    click(window.start_button)
    yield window.start_button.isEnabled
    refused, missing, untrusted, nonsense, good = window.downloads
    assert "Cannot connect" in refused.status.text()
    assert missing.status.text() == "404 Not Found"
    assert "certificate" in untrusted.status.text().lower()
    assert nonsense.status.text() == "nonsense"
    assert good.status.text() == "1,000 bytes"
    assert [d.done for d in window.downloads] == [False] * 4 + [True]
    assert window.status.text() == "1 of 5 downloads done, 1,000 bytes"
    window.close()
