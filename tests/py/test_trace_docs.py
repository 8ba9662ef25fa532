"""The examples of docs/traces.md, as they are there, in a suite."""

import contextlib
import io
import pathlib
import re
import sys

import pytest

from .suites import needs

pytestmark = pytest.mark.skipif(
    not sys.platform.startswith("linux"), reason="inspection is on Linux only so far"
)

PAGE = pathlib.Path(__file__).resolve().parents[2] / "docs" / "traces.md"

PROGRAM = """
import asyncio
import pytest
import qtinter
from qtinter.bindings import QtCore, binding_name
import importlib

Qt = QtCore.Qt
QtWidgets = importlib.import_module(binding_name + ".QtWidgets")
Signal = getattr(QtCore, "Signal", None) or QtCore.pyqtSignal


class Reply(QtCore.QObject):
    finished = Signal()


class Window(QtWidgets.QWidget):
    saved = Signal()
    answers = True

    def __init__(self):
        super().__init__()
        self.save_button = QtWidgets.QPushButton("Save", self)
        self.save_button.clicked.connect(self.on_save)

    @qtinter.asyncslot
    async def on_save(self):
        reply = Reply(self)
        reply.setObjectName("put")
        if self.answers:
            QtCore.QTimer.singleShot(20, reply.finished.emit)
        await qtinter.asyncsignal(reply.finished, sender=reply)
        self.saved.emit()


async def ticker():
    while True:
        await asyncio.sleep(0.01)


@pytest.fixture
def window(qtbot, qtinter_loop):
    task = qtinter_loop.create_task(ticker(), name="ticker")
    window = Window()
    qtbot.addWidget(window)
    window.show()
    yield window
    task.cancel()
"""

FAILS = """
def test_save(qtbot, window):
    window.answers = False
    with qtbot.waitSignal(window.saved, timeout=300):
        qtbot.mouseClick(window.save_button, Qt.MouseButton.LeftButton)
"""


def examples(heading):
    """The blocks of Python under a heading."""
    text = PAGE.read_text("utf-8").partition(f"\n## {heading}\n")[2]
    section = text.partition("\n## ")[0]
    found = re.findall(r"^```(?:python)?\n(.*?)^```$", section, re.M | re.S)
    assert found, heading
    return found


@pytest.mark.parametrize(
    "heading", ["Demands on the event loop", "Asking in a test: the fixture looptrace"]
)
def test_tests(suite, heading):
    needs("pytestqt")
    (example,) = (text for text in examples(heading) if "def test_" in text)
    suite.write("test_save.py", PROGRAM + example)
    output = suite.run(plugins=("pytestqt.plugin",))
    assert "1 passed" in output, output


def test_questions(suite, monkeypatch):
    needs("pytestqt")
    suite.write("test_save.py", PROGRAM + FAILS)
    output = suite.run(plugins=("pytestqt.plugin",))
    assert "1 failed" in output, output
    monkeypatch.chdir(suite.folder)
    (example,) = examples("Why did it fail?")
    names = {}
    printed = io.StringIO()
    # The usual one keeps what it has shown last, and so the file open.
    monkeypatch.setattr(sys, "displayhook", lambda value: print(repr(value)))
    with contextlib.redirect_stdout(printed):
        for line in re.findall(r"^>>> (.*)$", example, re.M):
            exec(compile(line, "traces.md", "single"), names)
    names.clear()
    for wanted in (
        "Window.on_save",
        "  for signal finished of Reply 'put'",
        "<no path: after on_save",
        "<wait for finished of Reply 'put'",
    ):
        assert wanted in example
        assert wanted in printed.getvalue()
