"""asyncslot: overlap and cancel_with."""

import asyncio

import pytest

from qtinter import asyncslot

from .driving import settle

# --- overlap and cancel_with ---------------------------------------------------------


@pytest.fixture(params=["function", "method", "decorated"])
def make_slot(request, qt):
    """make_slot(fn, **options): fn as a slot, and what to keep alive for it."""

    def make(fn, **options):
        if request.param == "function":
            return asyncslot(fn, **options), None

        class Receiver(qt.QtCore.QObject):
            async def method(self, *args):
                return await fn(*args)

        if request.param == "decorated":
            Receiver.method = asyncslot(Receiver.method, **options)
            Receiver.method.__qualname__ = "Receiver.method"
            receiver = Receiver()
            return receiver.method, receiver
        receiver = Receiver()
        return asyncslot(receiver.method, **options), receiver

    return make


class Gate:
    """A coroutine function whose calls end when they are told to."""

    def __init__(self):
        self.log = []
        self.gates = {}

    async def __call__(self, key):
        self.log.append(f"{key} begins")
        self.gates[key] = asyncio.Event()
        try:
            await self.gates[key].wait()
            self.log.append(f"{key} ends")
        except asyncio.CancelledError:
            await asyncio.sleep(0)  # clean-up that takes its time
            self.log.append(f"{key} cancelled")
            raise


def test_overlap_allow(run, emitter, make_slot):
    """1.3, the default."""

    async def main():
        gate = Gate()
        slot, _keep = make_slot(gate)
        emitter.one.connect(slot)
        emitter.one.emit(1)
        emitter.one.emit(2)
        assert gate.log == ["1 begins", "2 begins"]
        for event in gate.gates.values():
            event.set()
        await settle()

    run(main())


def test_overlap_drop(run, make_slot):
    """1.3: the pending task is returned."""

    async def main():
        gate = Gate()
        slot, _keep = make_slot(gate, overlap="drop")
        first = slot(1)
        assert slot(2) is first
        assert gate.log == ["1 begins"]
        gate.gates[1].set()
        await first
        await settle()
        third = slot(3)
        assert third is not first
        gate.gates[3].set()
        await third
        assert gate.log == ["1 begins", "1 ends", "3 begins", "3 ends"]

    run(main())


def test_overlap_restart(run, make_slot):
    """1.3: the new one begins when the clean-up of the old ones is over."""

    async def main():
        gate = Gate()
        slot, _keep = make_slot(gate, overlap="restart")
        first, second, third = slot(1), slot(2), slot(3)
        await settle(12)
        assert first.cancelled()
        assert second.cancelled()
        assert gate.log == ["1 begins", "1 cancelled", "3 begins"]
        gate.gates[3].set()
        await third
        assert gate.log[-1] == "3 ends"

    run(main())


def test_overlap_queue(run, make_slot):
    """1.3: in order, one at a time; a cancelled one does not hold up the others."""

    async def main():
        gate = Gate()
        slot, _keep = make_slot(gate, overlap="queue")
        tasks = [slot(i) for i in range(4)]
        assert gate.log == ["0 begins"]
        tasks[1].cancel()
        await settle()
        assert gate.log == ["0 begins"]
        gate.gates[0].set()
        await settle(12)
        assert gate.log == ["0 begins", "0 ends", "2 begins"]
        gate.gates[2].set()
        await settle(12)
        gate.gates[3].set()
        await tasks[3]
        assert gate.log[3:] == ["2 ends", "3 begins", "3 ends"]

    run(main())


def test_receivers_overlap_separately(run, qt):
    """1.3."""

    class Receiver(qt.QtCore.QObject):
        async def wrapped(self, gate, key):
            await gate(key)

        @asyncslot(overlap="drop")
        async def decorated(self, gate, key):
            await gate(key)

    async def main():
        gate = Gate()
        a, b = Receiver(), Receiver()
        a.decorated(gate, "a")
        b.decorated(gate, "b")
        asyncslot(a.wrapped, overlap="drop")(gate, "c")
        asyncslot(b.wrapped, overlap="drop")(gate, "d")
        asyncslot(b.wrapped, overlap="drop")(gate, "e")
        assert gate.log == [f"{key} begins" for key in "abcd"]
        for event in gate.gates.values():
            event.set()
        await settle()

    run(main())


def test_cancel_with_an_object(run, qt, make_slot):
    """S28: pending invocations are cancelled when the object is destroyed."""

    async def main():
        gate, window = Gate(), qt.QtCore.QObject()
        slot, _keep = make_slot(gate, cancel_with=window)
        task = slot(1)
        await settle()
        assert not task.done()
        qt.delete(window)
        await settle()
        assert task.cancelled()

    run(main())


def test_cancel_with_the_receiver(run, qt):
    """S28."""

    class Receiver(qt.QtCore.QObject):
        async def wrapped(self, gate):
            await gate(1)

        @asyncslot(cancel_with="receiver")
        async def decorated(self, gate):
            await gate(2)

    async def main():
        gate, a, b = Gate(), Receiver(), Receiver()
        first = asyncslot(a.wrapped, cancel_with="receiver")(gate)
        second = b.decorated(gate)
        await settle()
        qt.delete(a)
        await settle()
        assert (first.cancelled(), second.done()) == (True, False)
        qt.delete(b)
        await settle()
        assert second.cancelled()

    run(main())


def test_not_cancelled_by_default(run, qt):
    """S28."""

    class Receiver(qt.QtCore.QObject):
        async def wrapped(self, gate):
            await gate(1)

    async def main():
        gate, receiver = Gate(), Receiver()
        task = asyncslot(receiver.wrapped)(gate)
        qt.delete(receiver)
        await settle()
        assert not task.done()
        gate.gates[1].set()
        await task

    run(main())


def test_cancel_with_something_else():
    """1.6."""
    with pytest.raises(TypeError, match="must be a QObject or 'receiver', not 3"):
        asyncslot(settle, cancel_with=3)
