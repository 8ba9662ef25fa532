"""Which signal Qt is delivering, as far as the binding tells."""

from __future__ import annotations

import weakref
from typing import Any

from .._slots import _is_qobject, _sender_of_call

# By class, and by what its metaobject is called at the time: its signals.
_signals: weakref.WeakKeyDictionary[type, dict[str, list[tuple[str, Any]]]] = (
    weakref.WeakKeyDictionary()
)


def signal_of_call(receiver: Any) -> str:
    """The name of the signal whose emission calls a slot now; "" if it is not known.

    :param receiver: whose method the slot is; None: a function.

    Qt tells a slot of a QObject.  Between the signal and another callable PyQt has an
    object of its own, and tells only the sender: the signal is known then if no other
    one of the sender is connected.  PySide tells nothing then.
    """
    if receiver is not None and _is_qobject(receiver):
        from .. import _qt

        if not _qt.is_deleted(receiver):
            index = receiver.senderSignalIndex()
            sender = receiver.sender() if index >= 0 else None
            if sender is not None:
                return _name_of(sender.metaObject().method(index))
    sender = _sender_of_call()
    return "" if sender is None else _only_connected(sender)


def _only_connected(sender: Any) -> str:
    names = {
        name for name, signal in _signals_of(sender) if sender.isSignalConnected(signal)
    }
    if len(names) > 1:
        names.discard("destroyed")  # PyQt connects to it, for each slot
    return names.pop() if len(names) == 1 else ""


def _signals_of(sender: Any) -> list[tuple[str, Any]]:
    # While it is destroyed it is of a base class, for Qt.
    meta = sender.metaObject()
    known = _signals.setdefault(type(sender), {})
    found = known.get(meta.className())
    if found is None:
        methods = [meta.method(i) for i in range(meta.methodCount())]
        found = known[meta.className()] = [
            (_name_of(method), method) for method in methods if _is_signal(method)
        ]
    return found


def _is_signal(method: Any) -> bool:
    kinds = type(method).MethodType
    return bool(method.methodType() == getattr(kinds, "Signal", None)) or (
        hasattr(type(method), "Signal") and method.methodType() == type(method).Signal
    )


def _name_of(method: Any) -> str:
    return bytes(method.name()).decode()
