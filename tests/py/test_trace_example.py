"""A test as the documentation has it, and the signals that it names."""

import asyncio
import functools
import sys

import pytest

import qtinter
from qtinter import inspect

from .observing import off  # noqa: F401
from .suites import needs

pytestmark = pytest.mark.skipif(
    not sys.platform.startswith("linux"), reason="inspection is on Linux only so far"
)

APPLICATION = """
import pytest
import qtinter
import qtinter.inspect
from qtinter.bindings import QtCore, QtNetwork, QtWidgets


class MainWindow(QtWidgets.QMainWindow):
    def __init__(self):
        super().__init__()
        self.save_button = QtWidgets.QPushButton("save", self)
        self.label = QtWidgets.QLabel(self)
        self.network = QtNetwork.QNetworkAccessManager(self)
        self.save_button.clicked.connect(self.on_save)

    @qtinter.asyncslot
    async def on_save(self):
        url = QtCore.QUrl("data:,saved")
        reply = self.network.get(QtNetwork.QNetworkRequest(url))
        await qtinter.asyncsignal(reply.finished)
        with qtinter.inspect.span("Label.setText"):
            self.label.setText(bytes(reply.readAll()).decode())


@pytest.fixture
def win(qtbot, qtinter_loop):
    window = MainWindow()
    qtbot.addWidget(window)
    window.show()
    return window


class Qt:
    LeftButton = getattr(QtCore.Qt, "MouseButton", QtCore.Qt).LeftButton

"""
EXAMPLE = """
def test_save(qtbot, looptrace, win):
    with looptrace.span("click save") as s:
        qtbot.mouseClick(win.save_button, Qt.LeftButton)
        looptrace.wait(slot="MainWindow.on_save", state="done", timeout=5)
    call = s.slots("on_save").one()
    assert call.signal == "clicked" and call.max_step < 50
    assert s.overlaps("on_save") == 0
    assert s.max_step.duration < 50, s.max_step.where
    assert s.path("clicked", "on_save", "QNetworkReply.finished", "Label.setText")
    looptrace.assert_clean(ignore=["ticker"])
    assert win.label.text() == "saved"
"""


def test_the_example(suite, binding):
    needs("pytestqt")
    suite.write("test_it.py", APPLICATION + EXAMPLE)
    output = suite.run(
        plugins=["pytestqt.plugin"],
        env={"PYTEST_QT_API": binding.lower(), "QT_QPA_PLATFORM": "offscreen"},
    )
    assert "1 passed" in output, output
    assert suite.kept() == {}


@pytest.fixture
def called(off, run_attached, emitter, qt, tmp_path):  # noqa: F811
    """called(connect): the signals that calls in connect(emitter, receiver) name."""
    signal = getattr(qt.QtCore, "Signal", None) or qt.QtCore.pyqtSignal

    class Receiver(qt.QtCore.QObject):
        other = signal()

        @qtinter.asyncslot
        async def decorated(self):
            await asyncio.sleep(0)

        async def plain(self):
            await asyncio.sleep(0)

    def called(connect, level=3):
        receiver = Receiver()

        async def main():
            inspect.enable(level=level, connect=False, directory=tmp_path)
            connect(emitter, receiver)
            process = inspect.snapshot()
            events = [process.event(record) for record in process.records]
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            return [e["signal"] for e in events if e["event"] == "slot_called"]

        return run_attached(main())

    return called


def emit(signal, slot):
    signal.connect(slot)
    signal.emit()
    signal.disconnect(slot)


def test_a_decorated_method(called):
    def connect(emitter, receiver):
        emit(emitter.none, receiver.decorated)
        emit(receiver.other, receiver.decorated)

    assert called(connect) == ["none", "other"]


def test_other_slots(called, binding):
    """PyQt tells of all; PySide calls them by an object of its own."""

    def connect(emitter, receiver):
        emit(emitter.none, qtinter.asyncslot(receiver.plain))
        emit(emitter.none, qtinter.asyncslot(functools.partial(asyncio.sleep, 0)))

    known = "none" if binding.startswith("PyQt") else ""
    assert called(connect) == [known, known]


def test_one_of_several_signals(called, binding):
    """PyQt tells the sender alone: no signal is better than a wrong one."""

    def connect(emitter, receiver):
        emitter.one.connect(print)
        emit(emitter.none, receiver.decorated)
        emitter.one.disconnect(print)

    assert called(connect) == ["" if binding.startswith("PyQt") else "none"]


def test_a_call_without_an_emission(called):
    assert called(lambda emitter, receiver: receiver.decorated()) == [""]


def test_below_level_3_nobody_asks(called):
    def connect(emitter, receiver):
        emit(emitter.none, receiver.decorated)

    assert called(connect, level=2) == [""]
