"""What users of such loops ran into: slots and signals.

Ids are those of tests/statements.ini.
"""

import asyncio
import inspect
import sys
import types

import pytest

import qtinter
from qtinter import asyncsignal, asyncsignalstream, asyncslot, multisignal

from .driving import settle


def test_positional_parameter_count():
    """V1: what asyncslot goes by."""
    from qtinter._slots import get_positional_parameter_count as count

    assert count(lambda: None) == 0
    assert count(lambda a, b=1, *, c=2, **d: None) == 2
    assert count(lambda a, *args: None) == -1
    with pytest.raises(TypeError, match="speed"):
        count(lambda a, *, speed: None)


def test_auto_connection_by_name(run, qt):
    """S22: a pyqtSlot or Slot beside asyncslot chooses the overload."""
    Signal = qt.Signal
    overloads = ([int], [str]) if qt.is_pyqt else ((int,), (str,))

    class Source(qt.QtCore.QObject):
        changed = Signal(*overloads)

    class Receiver(qt.QtCore.QObject):
        @asyncslot
        @qt.Slot(int)
        async def on_number_changed(self, x):
            log.append(("number", x))

        @qt.Slot(str)
        @asyncslot
        async def on_text_changed(self, x):
            log.append(("text", x))

        @asyncslot
        async def on_any_changed(self, x):
            log.append(("any", x))

    log = []

    async def main():
        receiver = Receiver()
        expected = []
        for name in ("number", "text", "any"):
            source = Source(receiver)
            source.setObjectName(name)
        qt.QtCore.QMetaObject.connectSlotsByName(receiver)
        for name in ("number", "text", "any"):
            source = receiver.findChild(qt.QtCore.QObject, name)
            source.changed[int].emit(1)
            source.changed[str].emit("x")
        expected = [("number", 1), ("text", "x")]
        if qt.is_pyqt:  # PySide connects only what is decorated
            expected += [("any", 1), ("any", "x")]
        await settle()
        assert log == expected

    run(main())


def test_slot_decoration_of_a_plain_receiver(run, qt, emitter):
    """S23: wrapped, a decorated method of any object can be connected."""

    class Receiver:
        @qt.Slot(int)
        async def method(self, x):
            log.append(x)

    log = []

    async def main():
        receiver = Receiver()
        emitter.one.connect(asyncslot(receiver.method))
        emitter.one.emit(3)
        await settle()
        assert log == [3]

    run(main())


@pytest.mark.parametrize("kind", ["function", "method"])
def test_a_call_looks_at_no_signature_and_makes_one_task(
    run, emitter, monkeypatch, kind
):
    """1.3/h."""

    class Receiver:
        async def method(self, x):
            await asyncio.sleep(0)

    async def function(x):
        await asyncio.sleep(0)

    async def main():
        receiver = Receiver()
        fn = function if kind == "function" else receiver.method
        emitter.one.connect(asyncslot(fn))
        looked = []
        monkeypatch.setattr(inspect, "signature", looked.append)
        before = asyncio.all_tasks()
        for i in range(5):
            emitter.one.emit(i)
        assert len(asyncio.all_tasks() - before) == 5
        assert looked == []
        await settle()

    run(main())


def test_the_waiter_resumes_after_the_emission(run, emitter):
    """G14: emit() returns first, so a slot's immediate answer cannot come from here."""

    async def main():
        log = []

        def emit():
            emitter.one.emit(1)
            log.append("emitted")

        asyncio.get_running_loop().call_soon(emit)
        await asyncsignal(emitter.one)
        log.append("resumed")
        assert log == ["emitted", "resumed"]

    run(main())


def test_signals_of_another_binding(run, binding):
    """1.5/e, pain 43: refused with the names of both."""
    other = "PySide2" if binding != "PySide2" else "PyQt5"
    foreign = types.new_class("Foreign", (), {})
    foreign.__module__ = other + ".QtCore"
    foreign.connect = lambda self, slot: None
    signal = foreign()

    async def main():
        with pytest.raises(TypeError, match=f"signal of {other}.*uses {binding}"):
            await asyncsignal(signal)

    run(main())
    for use in (asyncsignalstream, lambda each: multisignal({each: 1}).connect(print)):
        with pytest.raises(TypeError, match=f"signal of {other}.*uses {binding}"):
            use(signal)


def test_a_slots_task_is_a_handle(run, emitter):
    """Pain 58: what started it can cancel it, and name it."""

    async def main():
        tasks = []

        @asyncslot(name="download")
        async def slot():
            await asyncio.get_running_loop().create_future()

        emitter.none.connect(lambda: tasks.append(slot()))
        emitter.none.emit()
        (task,) = tasks
        if sys.version_info >= (3, 8):
            assert task.get_name() == "download"
        task.cancel()
        await settle()
        assert task.cancelled()

    run(main())


@pytest.mark.skipif(sys.version_info < (3, 8), reason="3.7's tasks have no names")
def test_run_task_of_the_loop(run_qt):
    """1.1/d: run_task, for the running loop only."""

    async def work():
        log.append(asyncio.current_task().get_name())
        await asyncio.sleep(0)
        return 7

    log = []
    other = qtinter.new_event_loop()
    coro = work()
    with pytest.raises(RuntimeError, match="is not the running event loop"):
        other.run_task(coro)
    coro.close()
    other.close()

    async def main():
        task = asyncio.get_running_loop().run_task(work(), name="Anna")
        assert log == ["Anna"]
        assert await task == 7

    run_qt(main())


def test_a_slot_called_by_a_task_has_its_task(run, emitter):
    """I5: a plain slot within a task's step; in the slot of an event there is none."""

    async def main():
        tasks = []
        emitter.none.connect(lambda: tasks.append(asyncio.current_task()))
        emitter.none.emit()
        asyncio.get_running_loop().call_soon(emitter.none.emit)
        await settle()
        assert tasks == [asyncio.current_task(), None]

    run(main())
