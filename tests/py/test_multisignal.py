"""multisignal."""

import asyncio
import gc
import threading
import weakref

import pytest

from qtinter import SenderDestroyedError, asyncsignal, asyncsignalstream, multisignal


def test_connect(qt, emitter):
    """J1, J2, J3, J5: slot(value, args), in the order of the mapping."""
    log = []
    signals = {emitter.two: 4, emitter.none: "A", emitter.one: emitter}
    several = multisignal(signals)
    assert several.signal_map is signals
    emitter.none.emit()
    assert several.connect(lambda *args: log.append(args)) is None
    emitter.none.emit()
    emitter.one.emit(3)
    emitter.two.emit(5, "x")
    assert log == [("A", ()), (emitter, (3,)), (4, (5, "x"))]


def test_empty():
    """J4."""
    assert multisignal({}).connect(print) is None


@pytest.mark.parametrize("kind", ["plain", "qobject"])
def test_bound_method_slots_are_held_weakly(qt, emitter, kind):
    """J6; J12: connected twice."""
    log = []

    class Receiver(qt.QtCore.QObject if kind == "qobject" else object):
        def slot(self, value, args):
            log.append((value, args))

    receiver = Receiver()
    several = multisignal({emitter.one: "one", emitter.none: []})
    several.connect(receiver.slot)
    several.connect(receiver.slot)
    gc.collect()
    emitter.one.emit(1)
    emitter.none.emit()
    assert log == [("one", (1,))] * 2 + [([], ())] * 2
    reference = weakref.ref(receiver)
    del receiver
    assert reference() is None
    emitter.one.emit(2)
    assert len(log) == 4


def test_other_slots_are_held(emitter):
    """J6."""
    log = []
    multisignal({emitter.one: 1}).connect(lambda *args: log.append(args))
    gc.collect()
    emitter.one.emit(2)
    assert log == [(1, (2,))]


def test_deleted_sender(qt, emitter):
    """J8: RuntimeError, and nothing is connected."""
    log = []
    other = qt.Emitter()
    several = multisignal({emitter.one: 1, other.one: 2})
    qt.delete(other)
    with pytest.raises(RuntimeError, match="deleted"):
        several.connect(lambda *args: log.append(args))
    emitter.one.emit(1)
    assert log == []


def test_not_a_signal(qt):
    """1.6."""
    with pytest.raises(TypeError, match="multisignal expects a bound signal"):
        multisignal({3: 4}).connect(print)


def test_with_asyncsignal(run, qt, emitter, sender_is_missed):
    """J10, and the end of all senders."""

    async def main():
        loop = asyncio.get_running_loop()
        several = multisignal({emitter.one: "one", emitter.none: "none"})
        loop.call_soon(emitter.one.emit, 3)
        assert await asyncsignal(several) == ("one", (3,))
        loop.call_soon(emitter.none.emit)
        which, args = await asyncsignal(several)
        assert (which, args) == ("none", ())
        stream = asyncsignalstream(several)
        emitter.one.emit(1)
        emitter.none.emit()
        assert [await stream.__anext__() for _ in range(2)] == [
            ("one", (1,)),
            ("none", ()),
        ]
        a, b = qt.Emitter(), qt.Emitter()
        task = loop.create_task(asyncsignal(multisignal({a.one: 1, b.one: 2})))
        await asyncio.sleep(0)
        qt.delete(a)
        await asyncio.sleep(0)
        assert not task.done()
        qt.delete(b)
        with pytest.raises(SenderDestroyedError):
            await task

    run(main())


def test_thread(run_qt, emitter):
    """J9: on the thread that connected, if a loop runs there."""

    async def main():
        called = asyncio.get_running_loop().create_future()

        def slot(value, args):
            called.set_result((threading.get_ident(), value, args))

        multisignal({emitter.one: "one"}).connect(slot)
        thread = threading.Thread(target=lambda: emitter.one.emit(1))
        thread.start()
        assert await called == (threading.get_ident(), "one", (1,))
        thread.join()

    run_qt(main())
