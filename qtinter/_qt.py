"""What differs between the Qt bindings: signals, their senders, connections.

Importing this module chooses the binding (see bindings.py), so the rest of the package
imports it inside the functions that need it.

The two families connect Python code to a signal in ways of their own, and each has one
way that is fast, leaves nothing behind and tells when the sender is gone:

PyQt
    A receiver QObject whose slot is decorated with the signal's own signature is
    connected like a C++ slot, without a proxy object.  It lives in the connecting
    thread, so Qt delivers there.  The sender is found in the signal, and its
    ``destroyed`` is connected to the same receiver.
PySide
    A function connected with Qt.DirectConnection is owned by the connection.  When the
    sender dies, the function is released, which a weak reference to it tells.  It is
    called in the emitting thread; the callbacks given to connect() must cope.

An explicit deletion of QObjects is not used, nor is ``signal.disconnect()`` except in
PySide2, which has nothing else: the latter crashes in PyQt if the sender is gone, and
both lose references to True and None in PySide6 6.12.
"""

from __future__ import annotations

import functools
import importlib
import re
import struct
import weakref
from typing import Any, Callable

from . import _core
from ._arguments import taking_all
from .bindings import QtCore, binding_name

IS_PYQT = binding_name.startswith("PyQt")

if IS_PYQT:
    _sip: Any = importlib.import_module(binding_name + ".sip")
    BoundSignal: Any = QtCore.pyqtBoundSignal
    _UnboundSignal: Any = QtCore.pyqtSignal

    #: is_deleted(obj): whether the C++ part of the QObject `obj` is gone.
    is_deleted: Callable[[Any], bool] = _sip.isdeleted

    def address(obj: Any) -> int:
        """Address of the C++ part of the QObject `obj`."""
        return int(_sip.unwrapinstance(obj))

else:
    _shiboken: Any = importlib.import_module(
        "shiboken2" if binding_name == "PySide2" else "shiboken6"
    )
    BoundSignal = QtCore.SignalInstance
    _DIRECT_CONNECTION = QtCore.Qt.ConnectionType.DirectConnection
    _UnboundSignal = QtCore.Signal

    def _is_invalid(obj: Any) -> bool:
        return not _shiboken.isValid(obj)

    is_deleted = _is_invalid

    def address(obj: Any) -> int:
        """Address of the C++ part of the QObject `obj`."""
        return int(_shiboken.getCppPointer(obj)[0])


# --- names ---------------------------------------------------------------------------


def signal_signature(signal: Any) -> str:
    """Returns "name(types)" of a bound signal, or "" where the binding hides it."""
    if IS_PYQT:
        # PyQt keeps Qt's SIGNAL() code, the digit 2, in front.
        return str(signal.signal)[1:]
    found = re.search(r"SignalInstance (.*?\)) at ", repr(signal))
    return found.group(1) if found is not None else ""


def describe_object(obj: Any) -> str:
    """Returns class and objectName of a QObject, dead or alive, for messages."""
    text = type(obj).__name__
    if is_deleted(obj):
        return text
    name = obj.objectName()
    return f"{text} {name!r}" if name else text


def describe_signal(signal: Any, sender: Any = None) -> str:
    """Returns a text for messages, such as "clicked(bool) of QPushButton 'save'"."""
    if not isinstance(signal, BoundSignal):
        return repr(signal)
    text = signal_signature(signal) or "signal"
    return text if sender is None else f"{text} of {describe_object(sender)}"


# --- senders -------------------------------------------------------------------------


_POINTER_SIZE = struct.calcsize("P")


def _points_at_itself(address: int) -> bool:
    """Whether the second pointer there leads to one whose second pointer leads back."""
    private = _core._pointer_at(address + _POINTER_SIZE)
    return private is not None and _core._pointer_at(private + _POINTER_SIZE) == address


class _SenderFinder:
    """Finds the sender in a PyQt bound signal.

    PyQt's bound signal does not offer its QObject, keeps no reference to it and crashes
    when it is used after the QObject is gone.  It holds three pointers: to the unbound
    signal, to the wrapper of the QObject and to the C++ object (the same from PyQt5 5.0
    to PyQt6 6.11).  That is verified on a live object before it is relied on; where it
    differs, no sender is found and users say ``sender=obj``.

    A QObject and its private part point at each other (Qt 5 and 6), which ends when the
    memory is freed or becomes something else's; that is verified, too.
    """

    def __init__(self) -> None:
        self._types: set[int] = set()
        probe = QtCore.QObject()
        # The addresses of the sender's wrapper and of its C++ object.
        expected = (id(probe), _sip.unwrapinstance(probe))
        try:
            self._usable = _core._pointers_in(probe.destroyed, 1, 2) == expected
        except ValueError:  # it holds less
            self._usable = False
        self._life_shows = self._usable and _points_at_itself(expected[1])

    def is_gone(self, signal: Any) -> bool:
        """Whether the C++ object has been deleted for sure."""
        return self._life_shows and not _points_at_itself(
            _core._pointers_in(signal, 1, 2)[1]
        )

    def _learn_types(self) -> None:
        types = [QtCore.QObject]
        for cls in types:  # grows while it is walked
            types.extend(type.__subclasses__(cls))
        self._types = {id(cls) for cls in types}

    def find(self, signal: Any) -> Any:
        """Returns the wrapper of the sender, dead or alive, or None if it is unknown.

        Objects that belong to C++ lose their wrapper when nobody refers to it, as in
        ``view.selectionModel().selectionChanged``: then the memory is not a QObject
        wrapper any more (no references, or another type, or another C++ object).
        """
        if not self._usable:
            return None
        wrapper, cpp = _core._pointers_in(signal, 1, 2)
        found = _core._object_at(wrapper, self._types)
        if found is None:
            self._learn_types()  # perhaps its class is new
            found = _core._object_at(wrapper, self._types)
        if found is None or is_deleted(found) or _sip.unwrapinstance(found) == cpp:
            return found
        return None


@functools.lru_cache(maxsize=None)
def _sender_finder() -> _SenderFinder:
    return _SenderFinder()


def is_of_other_thread(obj: Any) -> bool:
    """Whether a QObject belongs to another thread than this one."""
    return address(obj.thread()) != address(QtCore.QThread.currentThread())


def signal_sender(signal: Any) -> Any:
    """Returns the QObject that a bound signal belongs to, or None if it is unknown.

    :raises RuntimeError: the QObject has been deleted, as far as the binding tells
        (PySide tells when the signal is connected).
    """
    if not IS_PYQT or not isinstance(signal, BoundSignal):
        return None
    finder = _sender_finder()
    sender = finder.find(signal)
    if sender is not None:
        check_alive(sender, signal)
    elif finder.is_gone(signal):
        raise _deleted_error(signal)
    return sender


def _deleted_error(signal: Any) -> RuntimeError:
    return RuntimeError(
        f"cannot connect to {describe_signal(signal)}: its sender has been deleted. "
        "Keep the object alive for as long as its signals are waited for"
    )


def check_alive(sender: Any, signal: Any) -> None:
    """Raises RuntimeError if `sender` is a deleted QObject, TypeError if it is none."""
    if not isinstance(sender, QtCore.QObject):
        raise TypeError(
            f"the sender of {describe_signal(signal)} must be a QObject, but sender is "
            f"{sender!r}"
        )
    if is_deleted(sender):
        raise RuntimeError(
            f"cannot connect to {describe_signal(signal)}: its sender, a "
            f"{type(sender).__name__}, has been deleted. Keep the object alive for as "
            "long as its signals are waited for"
        )


def check_signal(signal: Any, user: str) -> None:
    """Raises TypeError if nothing can be connected to `signal`."""
    if isinstance(signal, BoundSignal):
        return
    family = type(signal).__module__.partition(".")[0]
    if family in ("PyQt5", "PyQt6", "PySide2", "PySide6") and family != binding_name:
        raise TypeError(
            f"{user} got a signal of {family}, but this process uses {binding_name}: "
            "objects of two bindings cannot meet. Set QTINTERBINDING to the binding "
            "of the program"
        )
    if isinstance(signal, _UnboundSignal):
        raise TypeError(
            f"{user} expects a bound signal, but got the unbound {signal!r}: use the "
            "signal of an object, not that of its class"
        )
    if isinstance(signal, type) or not callable(getattr(signal, "connect", None)):
        raise TypeError(
            f"{user} expects a bound signal or an object with a method connect(slot), "
            f"but got {signal!r}"
        )


# --- arguments -----------------------------------------------------------------------


def copy_signal_arguments(args: tuple[Any, ...]) -> tuple[Any, ...]:
    """Returns the arguments of an emission in a form that outlives the emission.

    PyQt lends C++ values (QModelIndex, QItemSelection, ...) that are gone when the
    slot returns; these are copied through QVariant.  QObjects and Python objects are
    passed as they are, and so is everything in PySide, which makes copies itself.
    """
    if not IS_PYQT:
        return args
    for arg in args:
        if isinstance(arg, _sip.simplewrapper):
            return tuple(map(_copy_argument, args))
    return args


def _copy_argument(arg: Any) -> Any:
    if isinstance(arg, _sip.simplewrapper) and not isinstance(arg, QtCore.QObject):
        return QtCore.QVariant(arg).value()
    return arg


# --- connections ---------------------------------------------------------------------


def connect_slot(signal: Any, slot: Any, *options: Any) -> Any:
    """Returns ``signal.connect(slot, *options)``.

    :raises RuntimeError: the sender has been deleted.
    """
    try:
        return signal.connect(slot, *options)
    except RuntimeError as exc:
        # PySide tells, but not of what.
        if not isinstance(signal, BoundSignal) or "deleted" not in str(exc):
            raise
        raise _deleted_error(signal) from exc


def release_later(objects: list[Any]) -> None:
    """Keeps objects alive until the events that are queued on this thread are over.

    Only where it matters: elsewhere a queued emission holds what it will call, or is
    dropped with it.
    """
    if binding_name != "PySide6" or not _releases_functions():
        return
    if QtCore.QAbstractEventDispatcher.instance() is None:
        return  # no event will be delivered here any more
    QtCore.QTimer.singleShot(0, functools.partial(objects.clear))


class SlotObject(QtCore.QObject):  # type: ignore[misc]
    """A QObject that relays ``slot(*args)`` to a callback.

    Its deletion (dropping the last reference is enough) ends its connections.
    """

    def __init__(
        self,
        callback: Callable[..., Any],
        gone: Callable[[], Any] | None = None,
    ) -> None:
        super().__init__()
        self._callback = callback
        self._gone = gone

    def slot(self, *args: Any) -> None:
        self._callback(*args)

    def gone(self) -> None:
        if self._gone is not None:
            self._gone()


class Link:
    """One connection; closing or dropping it ends the connection.

    Close it on the thread that made it.
    """

    __slots__ = ("_receiver",)

    def __init__(self, receiver: Any) -> None:
        self._receiver = receiver  # the connection lives as long

    def close(self) -> None:
        """Ends the connection.  May be called again, and when the sender is dead."""
        self._receiver = None

    def sender_gone(self) -> None:
        """Ends the connection while its sender is being destroyed."""
        self.close()


class _FunctionLink(Link):
    """A connection that needs to be told its end."""

    __slots__ = ("_disconnect", "_watch")

    def __init__(self, disconnect: Callable[[], object], watch: Any) -> None:
        self._disconnect: Callable[[], object] | None = disconnect
        self._watch = watch

    def close(self) -> None:
        # First of all: the function that the disconnection releases must not be
        # mistaken for one released by the death of the sender.
        self._watch = None
        disconnect, self._disconnect = self._disconnect, None
        if disconnect is not None:
            disconnect()

    def sender_gone(self) -> None:
        # Qt disconnects by itself, and PySide2 crashes when asked for it then.
        self._disconnect = None
        self.close()

    def __del__(self) -> None:
        self.close()


def connect(
    signal: Any,
    callback: Callable[..., Any],
    gone: Callable[[], Any],
    sender: Any = None,
) -> Link:
    """Connects `callback` to `signal` until the link is closed or dropped.

    :param signal: a bound signal, or an object with ``connect(slot)``.
    :param callback: called with the arguments of each emission; on the connecting
        thread in PyQt and old PySide6, on the emitting thread in PySide.  Must not
        raise.
    :param gone: called when the sender has been destroyed, if that can be told; on the
        thread of `callback`, or wherever the sender was destroyed in PySide.
    :param sender: the sender, for signals that do not reveal theirs.
    :raises RuntimeError: the sender has been deleted.
    """
    found = signal_sender(signal)
    if sender is None:
        sender = found
    else:
        check_alive(sender, signal)
    if IS_PYQT or not isinstance(signal, BoundSignal) or not _releases_functions():
        return _connect_receiver(signal, callback, gone, sender)
    return _connect_function(signal, callback, gone)


def when_destroyed(obj: Any, callback: Callable[[], Any]) -> Link:
    """Calls `callback` when a QObject is destroyed, until the link is closed.

    :param obj: alive; a wrapper that belongs to it.
    :param callback: called as `gone` of :func:`connect` is.  Must not raise.
    """
    if IS_PYQT or not _releases_functions():
        make = _make_receiver_class("") if IS_PYQT else SlotObject
        receiver = make(_nothing, callback)
        obj.destroyed.connect(receiver.gone)
        return Link(receiver)
    return _connect_function(obj.destroyed, lambda *_: callback(), _nothing)


def _nothing(*_: Any) -> None:
    pass


@functools.lru_cache(maxsize=None)
def _releases_functions() -> bool:
    """Whether PySide lets go of a function whose connection has ended.

    6.6, the last one for Python 3.8, keeps it for good, also when the sender is dead.
    """
    if binding_name == "PySide2":  # it does, if the function is named
        return True
    sender, slot = QtCore.QObject(), functools.partial(int)
    connection = sender.objectNameChanged.connect(slot, _DIRECT_CONNECTION)
    kept = weakref.ref(slot)
    del slot
    QtCore.QObject.disconnect(connection)
    return kept() is None


def _connect_receiver(
    signal: Any, callback: Callable[..., Any], gone: Callable[[], Any], sender: Any
) -> Link:
    receiver = _receiver_class(signal)(callback, gone)
    try:
        connect_slot(signal, receiver.slot)
    except TypeError:
        if not IS_PYQT:
            raise
        # PyQt5 takes a type such as QVector<int> in a slot, once something has
        # registered it with Qt, for another one than in the signal.
        receiver = _make_receiver_class("*")(callback, gone)
        connect_slot(signal, receiver.slot)
    if sender is not None:
        sender.destroyed.connect(receiver.gone)
    return Link(receiver)


def _connect_function(
    signal: Any, callback: Callable[..., Any], gone: Callable[[], Any]
) -> Link:
    slot = taking_all(lambda args: callback(*args))  # released with the connection
    connection = connect_slot(signal, slot, _DIRECT_CONNECTION)
    if binding_name == "PySide2":  # connect() returns True
        disconnect = functools.partial(_disconnect_slot, signal, weakref.ref(slot))
    else:
        disconnect = functools.partial(QtCore.QObject.disconnect, connection)
    return _FunctionLink(disconnect, weakref.ref(slot, lambda _: gone()))


def _disconnect_slot(signal: Any, slot: Any) -> None:
    """Disconnects the function of a weak reference, if the connection still has it."""
    function = slot()
    if function is None:
        return  # released: the sender is gone, and the connection with it
    try:
        signal.disconnect(function)
    except RuntimeError:
        pass  # as PySide2 says it: the sender is being deleted


def _receiver_class(signal: Any) -> Any:
    """Returns the class of receivers for a signal: one for each list of types."""
    if not IS_PYQT:
        return SlotObject
    return _class_for_signature(
        signal.signal if isinstance(signal, BoundSignal) else "(*)"
    )


# A program has so many signals; those that are waited for again are found at once.
@functools.lru_cache(maxsize=256)
def _class_for_signature(signature: str) -> Any:
    types = signature[signature.index("(") + 1 : signature.rindex(")")]
    return _make_receiver_class(types)


@functools.lru_cache(maxsize=None)
def _make_receiver_class(types: str) -> Any:
    members: dict[str, Any] = {"gone": _decorated(SlotObject.gone, ())}
    if types != "*":
        try:
            members["slot"] = _decorated(SlotObject.slot, _split_types(types))
        except TypeError:
            # A C++ type that PyQt can emit but cannot name in a slot: the undecorated
            # slot() is connected through a proxy, which works, only more slowly.
            members.pop("slot", None)
    return type("SlotObject", (SlotObject,), members)


def _decorated(function: Callable[..., Any], types: tuple[str, ...]) -> Any:
    from types import FunctionType

    copy = FunctionType(function.__code__, function.__globals__, function.__name__)
    return QtCore.pyqtSlot(*types)(copy)


def _split_types(types: str) -> tuple[str, ...]:
    """Splits "QMap<int,int>,bool" at the commas between arguments."""
    parts, depth, start = [], 0, 0
    for position, char in enumerate(types):
        depth += (char == "<") - (char == ">")
        if char == "," and depth == 0:
            parts.append(types[start:position])
            start = position + 1
    parts.append(types[start:])
    return tuple(part for part in parts if part)
