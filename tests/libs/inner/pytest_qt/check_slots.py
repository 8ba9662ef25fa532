"""Asynchronous slots under pytest-qt's qtbot."""

import asyncio

import pytest

import qtinter
from qtinter.bindings import QtCore


def press(qtbot, button):
    qtbot.mouseClick(button, QtCore.Qt.MouseButton.LeftButton)


def test_a_click_runs_a_slot_to_its_end(qtbot, attached, window):
    async def clicked():
        await asyncio.sleep(0.01)
        window.label.setText("done")

    window.button.clicked.connect(qtinter.asyncslot(clicked))
    press(qtbot, window.button)
    assert window.label.text() == ""
    qtbot.waitUntil(lambda: window.label.text() == "done")


def test_the_first_step_runs_inside_of_the_click(qtbot, attached, window):
    async def clicked():
        window.button.setEnabled(False)
        await asyncio.sleep(0)
        window.button.setEnabled(True)

    window.button.clicked.connect(qtinter.asyncslot(clicked))
    press(qtbot, window.button)
    assert not window.button.isEnabled()
    qtbot.waitUntil(window.button.isEnabled)


def test_wait_signal_sees_what_a_task_emits(qtbot, attached, window):
    async def later():
        await asyncio.sleep(0.01)
        window.button.click()

    with qtbot.waitSignal(window.button.clicked):
        attached.create_task(later())


def test_a_task_sees_what_qtbot_does(qtbot, attached, window):
    async def wait():
        await qtinter.asyncsignal(window.button.clicked)
        window.label.setText("seen")

    attached.create_task(wait())
    qtbot.wait(1)  # lets the task begin
    press(qtbot, window.button)
    qtbot.waitUntil(lambda: window.label.text() == "seen")


def test_asyncio_goes_on_during_qtbot_wait(qtbot, attached):
    beats = []

    async def beat():
        while True:
            beats.append(len(beats))
            await asyncio.sleep(0.001)

    attached.create_task(beat())
    qtbot.waitUntil(lambda: len(beats) >= 10)


def test_an_error_of_a_slot_is_reported_once(qtbot, attached, window):
    contexts = []
    attached.set_exception_handler(lambda loop, context: contexts.append(context))

    async def clicked():
        await asyncio.sleep(0)
        raise LookupError("in a slot")

    window.button.clicked.connect(qtinter.asyncslot(clicked))
    press(qtbot, window.button)
    qtbot.waitUntil(lambda: bool(contexts))
    assert [type(context["exception"]) for context in contexts] == [LookupError]


def test_leaving_cancels_what_the_test_left(qtbot, qapp, window):
    ended = []

    async def clicked():
        try:
            await asyncio.Event().wait()
        finally:
            ended.append(True)

    with qtinter.using_asyncio_from_qt():
        window.button.clicked.connect(qtinter.asyncslot(clicked))
        press(qtbot, window.button)
    assert ended == [True]


def test_a_nested_loop_while_pytest_qt_runs(qtbot, qapp, window):
    async def main():
        asyncio.get_running_loop().call_soon(window.button.click)
        await qtinter.asyncsignal(window.button.clicked)
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(qtinter.asyncsignal(window.button.clicked), 0.01)
        return "awaited"

    assert qtinter.run(main()) == "awaited"
