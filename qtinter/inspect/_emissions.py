"""The signal whose emission calls a slot, as far as Qt and the binding tell.

Qt knows what it delivers to a QObject.  PySide delivers to the receiver itself if the
slot is a method that was decorated; anything else is called by an object of its own,
about which nothing can be asked.  PyQt calls through an object of its own, too, but
passes on its sender; which signal it was is known if no other one of that sender is
connected.
"""

from __future__ import annotations

import functools
import weakref
from typing import Any

from .. import _qt
from ..bindings import QtCore

_signals: Any = weakref.WeakKeyDictionary()  # class: its signals, as (name, method)


def signal_of_call(receiver: Any) -> str:
    """Name of the signal that has called a slot of this object; "" if it is not known.

    :param receiver: the object whose method it is, None for a function.

    To be called on the receiver's thread, before the slot returns.
    """
    asked = receiver if isinstance(receiver, QtCore.QObject) else _anybody()
    if asked is None or _qt.is_deleted(asked):
        return ""
    sender = asked.sender()
    if sender is None:
        return ""
    index = asked.senderSignalIndex()
    if index >= 0:
        return _name(sender.metaObject().method(index))
    return _only_connected(sender) if _qt.IS_PYQT else ""


@functools.lru_cache(maxsize=None)
def _anybody() -> Any:
    """An object that PyQt answers for what it calls just now; None: not of PyQt."""
    return QtCore.QObject() if _qt.IS_PYQT else None


def _only_connected(sender: Any) -> str:
    names = {
        name for name, method in _signals_of(sender) if sender.isSignalConnected(method)
    }
    names.discard("destroyed")  # by whoever wants to know that it is gone
    return names.pop() if len(names) == 1 else ""


def _signals_of(sender: Any) -> list[tuple[str, Any]]:
    found: list[tuple[str, Any]] | None = _signals.get(type(sender))
    if found is not None:
        return found
    meta = sender.metaObject()
    kinds = getattr(QtCore.QMetaMethod, "MethodType", QtCore.QMetaMethod)
    methods = [meta.method(index) for index in range(meta.methodCount())]
    found = [
        (_name(method), method)
        for method in methods
        if method.methodType() == kinds.Signal
    ]
    # The wrapper of an object from C++ may be of a class that is more general.
    if meta.className() == type(sender).__name__:
        _signals[type(sender)] = found
    return found


def _name(method: Any) -> str:
    return bytes(method.name()).decode("utf-8", "replace")
