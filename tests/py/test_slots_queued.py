"""S15, S24: queued emissions to receivers that are gone when Qt delivers them."""

import asyncio
import gc

import pytest

from qtinter import asyncslot, multisignal


def plain(qt, log):
    class Receiver:
        async def method(self, *args):
            log.append(args)

        def tagged(self, value, args):
            log.append(args)

    return Receiver()


def qobject(qt, log):
    class Receiver(qt.QtCore.QObject):
        async def method(self, *args):
            log.append(args)

        def tagged(self, value, args):
            log.append(args)

    return Receiver()


def without_dict(qt, log):
    class Receiver:
        __slots__ = ("__weakref__",)

        async def method(self, *args):
            log.append(args)

        def tagged(self, value, args):
            log.append(args)

    return Receiver()


class QueuedSignal:
    """A signal for a multisignal, which leaves the kind of connection open."""

    def __init__(self, signal, queued):
        self._signal, self._queued = signal, queued

    def connect(self, slot):
        return self._signal.connect(slot, self._queued)


@pytest.mark.parametrize("kind", ["asyncslot", "multisignal"])
@pytest.mark.parametrize(
    ("make", "end"),
    [
        (plain, "dropped"),
        (plain, "in a cycle"),
        (qobject, "dropped"),
        (qobject, "in a cycle"),
        (qobject, "deleted"),
        (without_dict, "dropped"),
    ],
)
def test_the_receiver_is_gone_at_delivery(run_qt, qt, emitter, make, kind, end):
    queued = qt.QtCore.Qt.ConnectionType.QueuedConnection
    log = []

    async def main():
        receiver = make(qt, log)
        if end == "in a cycle":
            receiver.cycle = receiver
        if kind == "asyncslot":
            emitter.one.connect(asyncslot(receiver.method), queued)
        else:
            signal = QueuedSignal(emitter.one, queued)
            multisignal({signal: 1}).connect(receiver.tagged)
        emitter.one.emit(1)
        if end == "deleted":
            qt.delete(receiver)
        del receiver
        gc.collect()
        # After what is queued now: a queued emission to somebody who lives.
        delivered = asyncio.get_running_loop().create_future()
        emitter.two.connect(lambda *args: delivered.set_result(args), queued)
        emitter.two.emit(2, "end")
        assert await delivered == (2, "end")
        emitter.one.emit(3)
        await asyncio.sleep(0)
        assert log == []

    run_qt(main())
