"""1.2, G9, J8: a signal of a deleted object raises, also if its wrapper is gone."""

import ctypes
import gc
import mmap
import os
import struct

import pytest

from qtinter import (
    _core,
    asyncsignal,
    asyncsignalstream,
    multisignal,
    signalwait,
)

pytestmark = pytest.mark.skipif(
    "asan" in os.environ.get("LD_PRELOAD", ""),
    reason="AddressSanitizer leaves freed memory as it was, by which PyQt is deceived",
)


def with_name(qt):
    sender = qt.Emitter()
    return sender.one


def own_signal_of_qt(qt):
    return qt.QtCore.QTimer().timeout


def without_name(qt):
    return qt.Emitter().none


def by_its_parent(qt):
    parent = qt.QtCore.QObject()
    child = qt.QtCore.QTimer(parent)
    signal = child.timeout
    del child
    qt.delete(parent)
    return signal


SENDERS = (with_name, own_signal_of_qt, without_name, by_its_parent)


@pytest.fixture
def signals_hold_senders(binding):
    """PySide2's do not: connecting one reads memory that was freed, also without us."""
    if binding == "PySide2":
        pytest.skip("PySide2 itself crashes with the signal of an object that is gone")


@pytest.mark.usefixtures("signals_hold_senders")
@pytest.mark.parametrize("sender", SENDERS)
def test_waiting_for_a_dead_sender(run, qt, sender):
    async def main():
        # Alive, and not the sender.  Made later it would take the sender's place in the
        # memory, which cannot be told from the sender.
        other = qt.Emitter()
        signal = sender(qt)
        with pytest.raises(RuntimeError, match="has been deleted"):
            await asyncsignal(signal)
        with pytest.raises(RuntimeError, match="has been deleted"):
            await asyncsignal(signal, sender=other)
        with pytest.raises(RuntimeError, match="has been deleted"):
            async with signalwait(signal):
                pass
        with pytest.raises(RuntimeError, match="has been deleted"):
            asyncsignalstream(signal)

    run(main())


@pytest.mark.usefixtures("signals_hold_senders")
@pytest.mark.parametrize("sender", SENDERS)
def test_a_multisignal_of_a_dead_sender(qt, emitter, sender):
    with pytest.raises(RuntimeError, match="has been deleted"):
        multisignal({sender(qt): 1}).connect(print)
    # Its wrapper is gone when the multisignal is made, the object itself later.
    if not hasattr(qt.QtCore, "QItemSelectionModel"):
        pytest.skip("no QItemSelectionModel in this QtCore")
    model = qt.QtCore.QStringListModel(["a"])
    signals = multisignal({qt.QtCore.QItemSelectionModel(model, model).modelChanged: 1})
    signals.connect(print)
    qt.delete(model)
    with pytest.raises(RuntimeError, match="has been deleted"):
        signals.connect(print)


def test_pointer_at():
    size = struct.calcsize("P")
    memory = mmap.mmap(-1, mmap.PAGESIZE)
    view = (ctypes.c_void_p * 2).from_buffer(memory)
    address = ctypes.addressof(view)
    view[1] = address
    assert _core._pointer_at(address) == 0
    assert _core._pointer_at(address + size) == address
    assert _core._pointer_at(address + 1) is None  # not aligned
    assert _core._pointer_at(0) is None
    del view
    gc.collect()
    memory.close()
    assert _core._pointer_at(address) is None  # not mapped any more
    with pytest.raises(TypeError, match="not str"):
        _core._pointer_at("0")
