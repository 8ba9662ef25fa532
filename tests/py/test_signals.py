"""asyncsignal and signalwait."""

import asyncio
import gc
import sys
import threading
import types
import weakref

import pytest

import qtinter
from qtinter import SenderDestroyedError, asyncsignal, signalwait

from .driving import settle


def soon(callback, *args):
    """Calls it after what is ready now, so after a wait that begins now."""
    asyncio.get_running_loop().call_soon(callback, *args)


# --- values --------------------------------------------------------------------------


def test_values(run, emitter):
    """1.2, G2: None, the value, a tuple; always a tuple on request."""

    async def main():
        soon(emitter.none.emit)
        assert await asyncsignal(emitter.none) is None
        soon(emitter.one.emit, 5)
        assert await asyncsignal(emitter.one) == 5
        soon(emitter.two.emit, 5, "x")
        assert await asyncsignal(emitter.two) == (5, "x")
        for signal, args in (
            (emitter.none, ()),
            (emitter.one, (5,)),
            (emitter.two, (5, "x")),
        ):
            soon(signal.emit, *args)
            assert await asyncsignal(signal, astuple=True) == args

    run(main())


def test_a_tuple_as_value(run, emitter):
    """1.2: one argument that is a tuple is not taken apart or wrapped."""

    async def main():
        soon(emitter.any.emit, (1, 2))
        assert await asyncsignal(emitter.any) == (1, 2)

    run(main())


def test_identity_of_python_objects(run, emitter):
    """G6."""

    async def main():
        value = object()
        soon(emitter.any.emit, value)
        assert await asyncsignal(emitter.any) is value

    run(main())


def test_lent_arguments_are_copied(run, qt):
    """G6, V2, pain 66: a model index outlives the emission that lent it."""

    async def main():
        model = qt.QtCore.QStringListModel(["a", "b"])
        soon(model.setData, model.index(1), "x")
        first, last, _roles = await asyncsignal(model.dataChanged)
        gc.collect()
        assert (first.row(), last.row()) == (1, 1)
        assert first.data() == "x"

    run(main())


def test_a_type_that_a_slot_cannot_name(run, qt, emitter, monkeypatch):
    """PyQt5 may name QVector<int> differently in signal and slot."""
    from qtinter import _qt

    if not qt.is_pyqt:
        pytest.skip("only PyQt has decorated slots")
    wrong = _qt._make_receiver_class("QString")
    monkeypatch.setattr(_qt, "_class_for_signature", lambda signature: wrong)

    async def main():
        soon(emitter.one.emit, 5)
        assert await asyncsignal(emitter.one) == 5

    run(main())


def test_copy_signal_arguments(qt):
    """V2: QObjects and Python objects as they are, values of Qt copied in PyQt."""
    from qtinter._qt import copy_signal_arguments

    obj, point, value = qt.QtCore.QObject(), qt.QtCore.QPoint(1, 2), object()
    args = (obj, point, value, 3)
    copied = copy_signal_arguments(args)
    assert copied[0] is obj
    assert copied[1] == point
    assert (copied[1] is point) != qt.is_pyqt
    assert copied[2] is value
    assert copied[3] == 3
    assert copy_signal_arguments(()) == ()


def test_dialog_example(run_qt, qt):
    """1.2: the README compares the result of finished."""
    QtWidgets = pytest.importorskip(qt.QtCore.__name__[:-6] + "QtWidgets")

    async def main():
        dialog = QtWidgets.QDialog()
        soon(dialog.accept)
        result = await asyncsignal(dialog.finished)
        assert result == QtWidgets.QDialog.DialogCode.Accepted

    run_qt(main())


# --- waiting -------------------------------------------------------------------------


def test_connects_when_it_starts(run, emitter):
    """G1, G3: a coroutine; calling it connects nothing."""

    async def main():
        wait = asyncsignal(emitter.one)
        assert isinstance(wait, types.CoroutineType)
        emitter.one.emit(1)
        soon(emitter.one.emit, 2)
        assert await wait == 2

    run(main())


def test_the_first_emission_wins(run, emitter):
    """G5."""

    async def main():
        def emit():
            emitter.one.emit(1)
            emitter.one.emit(2)

        soon(emit)
        assert await asyncsignal(emitter.one) == 1
        soon(emitter.one.emit, 3)
        assert await asyncsignal(emitter.one) == 3

    run(main())


def count_receivers(qt, emitter):
    if qt.is_pyqt:
        return emitter.receivers(emitter.one)
    return emitter.receivers("2one(int)")


def test_cancellation_disconnects(run, emitter, qt, reports):
    """G8, pain 57: later emissions are harmless."""

    async def main():
        contexts = reports()
        task = asyncio.get_running_loop().create_task(asyncsignal(emitter.one))
        await settle()
        assert count_receivers(qt, emitter) == 1
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert count_receivers(qt, emitter) == 0
        emitter.one.emit(1)
        await settle()
        assert contexts == []

    run(main())


def test_nothing_is_left(run, emitter, qt, sender_is_missed):
    """G12: on any way out, also while the exception and its traceback are kept."""

    async def main():
        from qtinter import _qt

        links = []
        original = _qt.connect

        def connect(*args):
            if hasattr(args[1], "__self__"):  # not the inspector's, if that is on
                links.append(weakref.ref(args[1].__self__))
            return original(*args)

        _qt.connect = connect
        try:
            soon(emitter.one.emit, 1)
            await asyncsignal(emitter.one)
            task = asyncio.get_running_loop().create_task(asyncsignal(emitter.one))
            await settle()
            task.cancel()
            kept = None
            try:
                await task
            except asyncio.CancelledError as exc:
                kept = exc
            other = qt.Emitter()
            soon(qt.delete, other)
            destroyed = None
            try:
                await asyncsignal(other.one)
            except SenderDestroyedError as exc:
                destroyed = exc
        finally:
            _qt.connect = original
        assert kept is not None
        assert destroyed is not None
        assert len(links) == 3
        assert [link() for link in links] == [None] * 3
        assert count_receivers(qt, emitter) == 0

    gc.disable()
    try:
        run(main())
    finally:
        gc.enable()


def test_the_sender_is_not_kept_alive(run, qt, reports, sender_is_missed):
    """G13."""

    async def main():
        emitter = qt.Emitter()
        reference = weakref.ref(emitter)
        task = asyncio.get_running_loop().create_task(asyncsignal(emitter.one))
        await settle()
        del emitter
        assert reference() is None
        # PyQt deletes the sender right then; both bindings tell.
        with pytest.raises(SenderDestroyedError):
            await task

    run(main())


def test_emission_from_another_thread(run_qt, emitter):
    """G7: delivered on the awaiting thread."""

    async def main():
        def emit():
            emitter.two.emit(7, "other")

        thread = threading.Thread(target=emit)
        soon(thread.start)
        assert await asyncsignal(emitter.two) == (7, "other")
        thread.join()

    run_qt(main())


def test_any_object_that_connects(run):
    """G4."""

    class Source:
        def connect(self, slot):
            self.slot = slot

    async def main():
        source = Source()
        soon(lambda: source.slot(1, 2))
        assert await asyncsignal(source) == (1, 2)

    run(main())


# --- senders -------------------------------------------------------------------------


def test_destroyed_while_waiting(run, qt, name_of_one, sender_is_missed):
    """1.2, G9: the wait ends."""

    async def main():
        emitter = qt.Emitter()
        soon(qt.delete, emitter)
        with pytest.raises(SenderDestroyedError, match=f"while {name_of_one}") as info:
            await asyncsignal(emitter.one)
        assert isinstance(info.value, RuntimeError)

    run(main())


def test_a_named_sender_destroyed(run, qt):
    """1.2: with every binding."""

    async def main():
        emitter = qt.Emitter()
        soon(qt.delete, emitter)
        with pytest.raises(SenderDestroyedError):
            await asyncsignal(emitter.one, sender=emitter)

    run(main())


def test_a_child_destroyed_with_its_parent(run, qt, sender_is_missed):
    """1.2: destroyed by C++, not through its wrapper."""

    async def main():
        parent = qt.QtCore.QObject()
        child = qt.QtCore.QTimer(parent)
        soon(qt.delete, parent)
        with pytest.raises(SenderDestroyedError):
            await asyncsignal(child.timeout)

    run(main())


def test_waiting_for_destroyed(run, qt):
    """1.2, G10: completes normally."""

    async def main():
        emitter = qt.Emitter()
        soon(qt.delete, emitter)
        await asyncsignal(emitter.destroyed)

    run(main())


def test_sender_given(run, qt):
    """1.2: for signals that do not reveal theirs."""

    class Source:
        def connect(self, slot):
            self.slot = slot

    async def main():
        sender = qt.QtCore.QObject()
        soon(qt.delete, sender)
        with pytest.raises(SenderDestroyedError):
            await asyncsignal(Source(), sender=sender)
        with pytest.raises(RuntimeError, match="has been deleted"):
            await asyncsignal(Source(), sender=sender)

    run(main())


def test_deleted_before(run, qt):
    """1.2, pain 66: RuntimeError, no crash, and no report of its own."""

    async def main():
        emitter = qt.Emitter()
        signal = emitter.one
        qt.delete(emitter)
        with pytest.raises(RuntimeError, match="deleted"):
            await asyncsignal(signal)
        with pytest.raises(RuntimeError, match="deleted"):
            async with signalwait(signal):
                pass

    run(main())


def test_sender_whose_wrapper_is_not_kept(run_qt, qt):
    """G13, PyQt: objects of C++ whose wrapper comes and goes are fine senders."""
    if not hasattr(qt.QtCore, "QItemSelectionModel"):
        return

    async def main():
        QtWidgets = sys.modules[qt.QtCore.__name__[:-6] + "QtWidgets"]
        view = QtWidgets.QListView()
        model = qt.QtCore.QStringListModel(["a", "b"])
        view.setModel(model)
        soon(lambda: view.setCurrentIndex(model.index(1)))
        current, _ = await asyncsignal(view.selectionModel().currentChanged)
        assert current.row() == 1

    run_qt(main())


def test_signal_sender(qt, emitter):
    """G9: what PyQt knows about the sender; PySide tells nothing."""
    from qtinter._qt import signal_sender

    expected = emitter if qt.is_pyqt else None
    for signal in (emitter.one, emitter.destroyed, emitter.objectNameChanged):
        assert signal_sender(signal) is expected


@pytest.mark.parametrize("value", [None, 3, "clicked", object()])
def test_not_a_signal(run, qt, value):
    """1.6."""

    async def main():
        with pytest.raises(TypeError, match="asyncsignal expects a bound signal"):
            await asyncsignal(value)

    run(main())


def test_unbound_signal(run, qt):
    """1.6."""

    async def main():
        with pytest.raises(TypeError, match="unbound"):
            await asyncsignal(qt.Emitter.one)

    run(main())


def test_without_loop(qt, emitter):
    """G15: needs a running loop, and connects nothing without."""
    wait = asyncsignal(emitter.one)
    with pytest.raises(RuntimeError, match="no running event loop"):
        wait.send(None)


# --- signalwait ----------------------------------------------------------------------


def test_signalwait(run, emitter):
    """1.2, G16: an emission before the await is not missed."""

    async def main():
        async with signalwait(emitter.one) as wait:
            emitter.one.emit(1)
            emitter.one.emit(2)
            assert await wait == 1
            assert await wait == 1
        async with signalwait(emitter.one, astuple=True) as wait:
            soon(emitter.one.emit, 3)
            assert await wait == (3,)

    run(main())


def test_signalwait_survives_a_cancelled_await(run, emitter):
    """1.2."""

    async def main():
        async with signalwait(emitter.one) as wait:
            with pytest.raises(asyncio.TimeoutError):
                await asyncio.wait_for(wait, 0.001)
            emitter.one.emit(1)
            assert await wait == 1

    run(main())


def test_signalwait_disconnects(run, emitter, qt, reports):
    """1.2: also when nobody awaited, when the block failed, and for a dead sender."""

    async def main():
        contexts = reports()
        async with signalwait(emitter.one) as wait:
            assert count_receivers(qt, emitter) == 1
        assert count_receivers(qt, emitter) == 0
        with pytest.raises(RuntimeError, match="has been left"):
            await wait
        with pytest.raises(ZeroDivisionError):
            async with signalwait(emitter.one):
                raise ZeroDivisionError
        assert count_receivers(qt, emitter) == 0
        other = qt.Emitter()
        async with signalwait(other.one):
            qt.delete(other)
            await settle()
        gc.collect()
        assert contexts == []

    run(main())


def test_signalwait_sender_destroyed(run, qt, sender_is_missed):
    """1.2."""

    async def main():
        emitter = qt.Emitter()
        async with signalwait(emitter.one) as wait:
            qt.delete(emitter)
            with pytest.raises(SenderDestroyedError):
                await wait

    run(main())


def test_signalwait_misuse(run, emitter):
    """1.6."""

    async def main():
        wait = signalwait(emitter.one)
        with pytest.raises(RuntimeError, match="inside of its block"):
            await wait
        async with wait:
            with pytest.raises(RuntimeError, match="only once"):
                await wait.__aenter__()

    run(main())


def test_names():
    """1.1."""
    assert issubclass(qtinter.SenderDestroyedError, RuntimeError)
    assert qtinter.signalwait is signalwait
