"""The object that a bound signal belongs to, also where the binding does not tell.

PySide's signals do not offer their object, but its library has a function that gives it
to PySide's other modules, ``PySide::Signal::getObject()``.  It is called by ctypes, and
only if it has given the right answer for a signal whose object is known: whether it
gives a reference away has changed between the versions, too.
"""

from __future__ import annotations

import functools
import sys
from typing import Any, Callable

_GET_OBJECT = "_ZN6PySide6Signal9getObjectEP20PySideSignalInstance"


def sender_of(signal: Any) -> Any:
    """The QObject of a signal, None if it is unknown.

    :param signal: a bound signal that has just been connected to: its object is there.
    """
    from .. import _qt

    if not isinstance(signal, _qt.BoundSignal):
        return None
    if _qt.IS_PYQT:
        return _qt.signal_sender(signal)
    find = _pyside_finder()
    return None if find is None else find(signal)


@functools.lru_cache(maxsize=None)
def _pyside_finder() -> Callable[[Any], Any] | None:
    """A function that gives the object of a signal of PySide; None: there is none."""
    from ..bindings import QtCore

    try:
        import ctypes

        # The loader looks in what QtCore is linked to, which PySide's library is.
        get = ctypes.PyDLL(QtCore.__file__)[_GET_OBJECT]
    except (ImportError, OSError, AttributeError):
        return None
    get.argtypes = (ctypes.py_object,)
    get.restype = ctypes.c_void_p
    probe = QtCore.QObject()
    signal = probe.objectNameChanged
    before = sys.getrefcount(probe)
    if get(signal) != id(probe):
        return None
    given = sys.getrefcount(probe) - before

    def borrowed(signal: Any) -> Any:
        address = get(signal)
        return ctypes.cast(address, ctypes.py_object).value if address else None

    def owned(signal: Any) -> Any:
        try:
            return get(signal)
        except ValueError:  # it is a null pointer: the object is gone
            return None

    if given == 0:
        return borrowed
    if given != 1:
        return None
    get.restype = ctypes.py_object  # takes the reference over
    ctypes.pythonapi.Py_DecRef(ctypes.py_object(probe))  # that of the first call
    return owned
