"""The signal that has called an asyncslot, in a recording."""

import asyncio

import pytest

import qtinter
from qtinter import inspect, trace


@pytest.fixture
def recorded(no_leaks, run_attached, tmp_path):
    """recorded(begin, end): the trace of what begin() does in a loop."""
    was_on = inspect.is_enabled()
    inspect.disable()

    def run(begin):
        path = tmp_path / "program.qiseg"

        async def main():
            begin()
            await asyncio.sleep(0)
            inspect.dump(path)

        inspect.enable(connect=False, directory=tmp_path)
        try:
            run_attached(main())
        finally:
            inspect.disable()
        return trace.open(path)

    yield run
    inspect.disable()
    if was_on:
        inspect.enable_from_environment()


async def on_signal():
    await asyncio.sleep(0)


@pytest.fixture
def receiver(qt, QtCore):
    class Receiver(QtCore.QObject):
        @qtinter.asyncslot
        async def on_signal(self):
            await asyncio.sleep(0)

        @qt.Slot()
        @qtinter.asyncslot
        async def on_signal_of_qt(self):
            await asyncio.sleep(0)

    receiver = Receiver()
    yield receiver
    qt.delete(receiver)


def test_a_slot_of_an_object_knows_it(recorded, emitter, receiver):
    """Also if other signals of the sender are connected."""

    def begin():
        slots = [
            (emitter.none, receiver.on_signal_of_qt),
            (emitter.one, receiver.on_signal),
        ]
        for signal, slot in slots:
            signal.connect(slot)
        emitter.none.emit()

    found = recorded(begin)
    assert found.slots("on_signal_of_qt").one().signal == "none"
    assert found.path("none", "on_signal_of_qt")
    assert not found.path("one", "on_signal_of_qt")


def test_the_only_signal_that_is_connected(recorded, emitter, receiver, binding):
    slots = [(emitter.none, receiver.on_signal)]
    if binding.startswith("PyQt"):
        slots.append((emitter.none, qtinter.asyncslot(on_signal)))

    def begin():
        for signal, slot in slots:
            signal.connect(slot)
        emitter.none.emit()

    calls = list(recorded(begin).slots())
    assert [call.signal for call in calls] == ["none"] * len(slots)


def test_which_of_two_is_not_guessed(recorded, emitter):
    slots = [
        (emitter.none, qtinter.asyncslot(on_signal)),
        (emitter.one, qtinter.asyncslot(on_signal)),
    ]

    def begin():
        for signal, slot in slots:
            signal.connect(slot)
        emitter.none.emit()

    assert recorded(begin).slots().one().signal == ""


def test_a_call_by_hand_has_none(recorded):
    def begin():
        qtinter.asyncslot(on_signal)()

    assert recorded(begin).slots().one().signal == ""
