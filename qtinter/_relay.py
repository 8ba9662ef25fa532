"""Callables with the lifetime of a bound method.

A Qt binding connects a bound method weakly: the connection lives as long as the
method's object.  What we connect in place of a user's bound method must live the same
way, so it is a bound method too, of a Relay that belongs to the user's object:

    signal --weak--> relay <--owned by-- user's object
                       |---weak--------------^

While somebody holds the bound method of a relay, the relay holds the user's object as
well, so that keeping the wrapper keeps the connection working.  The cycle this makes is
visible to the garbage collector, and is undone when the wrapper is dropped.
"""

from __future__ import annotations

import contextlib
import importlib
import sys
import types
import weakref
from typing import Any, Callable, Hashable

from ._arguments import taking_all

__all__ = ("Relay", "relay_for")

_ATTRIBUTE = "_qtinter_relays"


class _Relays(dict):  # type: ignore[type-arg]
    """The relays of one object, stored in its __dict__.

    They are about this very object: a copy or a pickle of it starts without.

    They outlive it by a round of Qt's events: PySide keeps no reference to the object
    whose method is to be called by a queued emission, and would call into freed memory.
    What they would have called is let go at once, as a loop may hang on it.
    """

    def __del__(self) -> None:
        if not self or sys.is_finalizing():
            return
        qt = sys.modules.get("qtinter._qt")
        if qt is not None:
            relays = [relay for relay in self.values() if isinstance(relay, Relay)]
            for relay in relays:
                relay.end()
            qt.release_later(relays)

    def __reduce__(self) -> Any:
        return _Relays, ()

    def __copy__(self) -> _Relays:
        return _Relays()

    def __deepcopy__(self, memo: Any) -> _Relays:
        return _Relays()


# Relays of objects without a __dict__ of their own: by id(), removed when the object
# dies.  Holding the wrapper does not keep such an object alive.
_homeless: dict[int, tuple[Any, _Relays]] = {}


def _nothing(*_: Any) -> None:
    """What is left to do when the receiver is gone."""


def _call_slot(args: tuple[Any, ...]) -> Any:
    relay = args[0]
    receiver = relay.receiver()
    if receiver is None:
        return None  # an emission that was on its way when the receiver died
    return relay.run(receiver, *args[1:])


class Relay:
    """Calls ``run(receiver, *args)`` for as long as the receiver lives.

    :param receiver: the object that the relay belongs to; held weakly.
    :param run: held strongly; must not refer to the receiver.
    :raises TypeError: `receiver` does not support weak references.
    """

    def __init__(self, receiver: Any, run: Callable[..., Any]) -> None:
        self.receiver = weakref.ref(receiver)
        self.run = run
        self._held: Any = None  # the receiver, while a wrapper is held
        # Weak references to these wrappers, by id(): wrappers are equal to each other.
        self._wrappers: dict[int, Any] = {}

    slot = taking_all(_call_slot)

    def end(self) -> None:
        """Lets go of what it calls, and of the receiver, which is going."""
        self.run = _nothing
        self._held = None  # a collector finds it unreachable only without this

    def wrapper(self, name: str = "slot") -> Callable[..., Any]:
        """Returns the bound method to connect; holding it holds the receiver."""
        method: Callable[..., Any] = getattr(self, name)
        if self._can_hold():
            self._held = self.receiver()
            weak_self = weakref.ref(self)

            def dropped(reference: Any) -> None:
                relay = weak_self()
                if relay is not None:
                    del relay._wrappers[id(reference)]
                    if not relay._wrappers:
                        relay._held = None

            reference = weakref.ref(method, dropped)
            self._wrappers[id(reference)] = reference
        return method

    def _can_hold(self) -> bool:
        return _own_dict(self.receiver()) is not None


def _own_dict(obj: Any) -> dict[str, Any] | None:
    found = getattr(obj, "__dict__", None)
    return found if type(found) is dict else None  # a class has a mappingproxy


def relays_of(receiver: Any) -> dict[Any, Any]:
    """Returns the relays that belong to an object; they live as long as it does.

    :raises TypeError: `receiver` does not support weak references.
    """
    attributes = _own_dict(receiver)
    if attributes is not None:
        relays = attributes.get(_ATTRIBUTE)
        if relays is None:
            weakref.ref(receiver)  # raises here, before anything is stored
            relays = attributes[_ATTRIBUTE] = _Relays()
        return relays
    key = id(receiver)
    entry = _homeless.get(key)
    if entry is None:
        reference = weakref.ref(receiver, lambda _: _homeless.pop(key, None))
        entry = _homeless[key] = (reference, _Relays())
    return entry[1]


def relay_for(receiver: Any, key: Hashable, make: Callable[[], Relay]) -> Any:
    """Returns the relay of `receiver` under `key`, made by ``make()`` if there is none.

    The same key gives the same relay, whose wrappers are equal; so a signal can be
    disconnected from a wrapper that was made for the purpose.
    """
    relays = relays_of(receiver)
    found = relays.get(key)
    # A shallow copy made by other means than copy.copy() shares the relays: one of
    # them that belongs to the original is not ours.
    if found is None or found.receiver() is not receiver:
        found = relays[key] = make()
        _prepare_release()
    return found


def _prepare_release() -> None:
    """Loads what _Relays.__del__() needs: a finalizer is no place for that."""
    if "PySide6.QtCore" in sys.modules and "qtinter._qt" not in sys.modules:
        with contextlib.suppress(ImportError):  # it is not decided which binding counts
            importlib.import_module("qtinter._qt")


def unbind(method: Any) -> tuple[Any, Callable[..., Any]] | None:
    """Returns (object, function) of a bound method, or None for anything else."""
    if isinstance(method, types.MethodType):
        return method.__self__, method.__func__
    return None
