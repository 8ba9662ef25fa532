"""Waiting for Qt signals: asyncsignal, signalwait, asyncsignalstream, multisignal."""

from __future__ import annotations

import asyncio
import collections
import weakref
from threading import get_ident
from typing import TYPE_CHECKING, Any, Callable, Generic, TypeVar

from . import _probe
from ._arguments import taking_all
from ._relay import Relay, relay_for, unbind

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping
    from types import TracebackType
    from typing import Literal

    from typing_extensions import Self

__all__ = (
    "SenderDestroyedError",
    "asyncsignal",
    "asyncsignalstream",
    "multisignal",
    "signalwait",
)

_V = TypeVar("_V")

_get_running_loop = asyncio._get_running_loop

# The module _qt, once a binding is needed.
_qt: Any = None


def _load_qt() -> Any:
    global _qt
    from . import _qt as module

    _qt = module
    return module


class SenderDestroyedError(RuntimeError):
    """The object whose signal was waited for has been destroyed."""


def _value_of(args: tuple[Any, ...], astuple: bool) -> Any:
    """Returns what a wait gives for an emission: None, the argument, or a tuple."""
    if astuple or len(args) > 1:
        return args
    return args[0] if args else None


class _Subscription:
    """The connection to a signal, delivering on the thread that made it.

    :param signal: a bound signal, a multisignal, or an object with ``connect(slot)``.
    :param emitted: called with the tuple of arguments of each emission.
    :param gone: called once with a text when the sender has been destroyed (for a
        multisignal: all of them).
    :param sender: the sender, where the binding does not reveal it.
    :param user: name of the public function, for messages.
    :raises RuntimeError: the sender has been deleted.
    :raises TypeError: `signal` cannot be connected to.
    """

    __slots__ = (
        "__weakref__",
        "_emitted",
        "_gone",
        "_links",
        "_living",
        "_loop",
        "_signal",
        "_thread",
        "record",
    )

    def __init__(
        self,
        signal: Any,
        emitted: Callable[[tuple[Any, ...]], Any],
        gone: Callable[[str], Any],
        sender: Any,
        user: str,
    ) -> None:
        qt = _qt or _load_qt()
        self._emitted = emitted
        self._gone = gone
        self._loop = _get_running_loop()
        self._thread = get_ident()
        self._signal = signal
        self._living = 1
        self._links: list[Any] = []
        self.record: Any = None
        if isinstance(signal, multisignal):
            self._connect_all(signal, user)
        else:
            qt.check_signal(signal, user)
            self._links.append(qt.connect(signal, self._on_emit, self._on_gone, sender))
        observer = _probe.active
        self.record = (  # of the inspector, None while that is off
            None
            if observer is None
            else observer.wait_began(self._loop, signal, sender, user)
        )

    def _connect_all(self, signals: multisignal[Any], user: str) -> None:
        self._living = len(signals.signal_map)
        signals._check(user)
        for signal, value in signals.signal_map.items():
            self._links.append(
                _qt.connect(signal, self._tagging_callback(value), self._on_gone)
            )

    def _tagging_callback(self, value: Any) -> Callable[..., None]:
        def on_emit(*args: Any) -> None:
            self._deliver(self._emitted, (value, _qt.copy_signal_arguments(args)))

        return on_emit

    def _on_emit(self, *args: Any) -> None:
        if args:
            args = _qt.copy_signal_arguments(args)
        if get_ident() != self._thread:
            self._deliver(self._emitted, args)
        elif self.record is None:
            self._emitted(args)
        else:
            self._emit_observed(args)

    def _emit_observed(self, args: tuple[Any, ...]) -> None:
        record = self.record
        record.emitted(len(args))
        try:
            self._emitted(args)
        finally:
            record.delivered()

    def _on_gone(self) -> None:
        self._living -= 1
        if self._living == 0:
            if self.record is not None:
                self.record.sender_gone()
            self._deliver(self._gone, _qt.describe_signal(self._signal))

    def _deliver(self, callback: Callable[[Any], Any], value: Any) -> None:
        if get_ident() == self._thread or self._loop is None:
            if self.record is not None and callback == self._emitted:
                self._emit_observed(value)
            else:
                callback(value)
        else:
            _post(self._loop, callback, value)

    def close(self) -> None:
        """Ends the connection; no callback is called any more.  On its own thread."""
        self._emitted = self._gone = _ignore
        if self.record is not None:
            self.record.ended()
            self.record = None
        for link in self._links:
            link.close()
        self._links.clear()
        self._signal = None


def _post(loop: Any, callback: Callable[..., Any], *args: Any) -> None:
    """Calls it on the thread of a loop, if that still runs."""
    try:
        loop.call_soon_threadsafe(callback, *args)
    except RuntimeError:
        pass  # the loop is closed: on its thread nobody waits any more


def _ignore(_: Any) -> None:
    pass


def _is_awaited(future: asyncio.Future[Any]) -> bool:
    """Whether to complete it: a closed loop would refuse, in the middle of a slot."""
    return not future.done() and not future.get_loop().is_closed()


def _destroyed_error(text: str) -> SenderDestroyedError:
    return SenderDestroyedError(
        f"the sender was destroyed while {text} was waited for; it will never be "
        "emitted"
    )


# --- one emission --------------------------------------------------------------------


async def asyncsignal(signal: Any, *, astuple: bool = False, sender: Any = None) -> Any:
    """Wait for the next emission of a signal.

    :param signal: a bound signal, a :class:`multisignal`, or any object with a method
        ``connect(slot)``.
    :param astuple: give the arguments as a tuple, however many there are.
    :param sender: the object that emits `signal`.  Only needed in PyQt for an object
        that belongs to C++ and whose Python wrapper is not kept, and only to learn of
        its destruction.
    :returns: None for an emission without arguments, the argument itself if there is
        one, a tuple of all if there are more.  For a :class:`multisignal`:
        ``(value, arguments)``.

    The signal is connected when the returned coroutine starts to run, and the first
    emission after that counts: to start an action that may emit at once, use
    :class:`signalwait`.  Arguments that PyQt only lends are copied.  An emission from
    another thread is delivered on this one.  When the wait ends, in whatever way, the
    connection is gone and nothing of it is left.  The sender is not kept alive.

    :raises SenderDestroyedError: the sender was destroyed before it emitted.
    :raises RuntimeError: the sender was deleted before the call.
    :raises TypeError: `signal` is not a signal, or `sender` not a QObject.
    :raises ImportError: no Qt binding could be chosen.
    """
    future = asyncio.get_running_loop().create_future()
    wait = _Wait(future, astuple)
    subscription = _Subscription(signal, wait.emitted, wait.gone, sender, "asyncsignal")
    if subscription.record is not None:
        subscription.record.waits(future)
    try:
        return await future
    finally:
        subscription.close()
        # An exception that is kept keeps this frame; nothing of ours stays in it.
        del subscription, wait, future


class _Wait:
    """Completes a future with the first emission or the end of the sender."""

    __slots__ = ("_astuple", "_future")

    def __init__(self, future: asyncio.Future[Any], astuple: bool) -> None:
        self._future = future
        self._astuple = astuple

    def emitted(self, args: tuple[Any, ...]) -> None:
        if _is_awaited(self._future):
            self._future.set_result(_value_of(args, self._astuple))

    def gone(self, text: str) -> None:
        if _is_awaited(self._future):
            self._future.set_exception(_destroyed_error(text))


class signalwait:
    """Wait for a signal that an action inside of the block emits.

    ::

        async with qtinter.signalwait(reply.finished) as wait:
            reply.start()
            result = await wait

    The signal is connected when the block is entered, so an emission between starting
    the action and awaiting it is not missed.  ``await wait`` gives what
    :func:`asyncsignal` gives, as often as it is awaited; cancelling one await (by
    ``asyncio.wait_for``, say) leaves the wait intact.  Leaving the block disconnects.

    Parameters and errors are those of :func:`asyncsignal`; the errors of connecting are
    raised when the block is entered.
    """

    def __init__(
        self, signal: Any, *, astuple: bool = False, sender: Any = None
    ) -> None:
        self._signal = signal
        self._astuple = astuple
        self._sender = sender
        self._future: asyncio.Future[Any] | None = None
        self._subscription: _Subscription | None = None

    async def __aenter__(self) -> Self:
        if self._future is not None:
            raise RuntimeError("a signalwait can be entered only once")
        future = asyncio.get_running_loop().create_future()
        wait = _Wait(future, self._astuple)
        self._subscription = _Subscription(
            self._signal, wait.emitted, wait.gone, self._sender, "signalwait"
        )
        self._future = future
        self._signal = self._sender = None
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        subscription, self._subscription = self._subscription, None
        if subscription is not None:
            subscription.close()
        future = self._future
        if future is None or future.cancel() or future.cancelled():
            return
        future.exception()  # of no interest if nobody awaited it

    def __await__(self) -> Generator[Any, None, Any]:
        if self._future is None:
            raise RuntimeError(
                "a signalwait is awaited inside of its block: "
                "async with signalwait(signal) as wait: ...; await wait"
            )
        if not self._future.done():
            yield from self._until_done().__await__()
        if self._future.cancelled():
            raise RuntimeError("the block of this signalwait has been left")
        return self._future.result()

    async def _until_done(self) -> None:
        """Waits for the future; cancelling this does not cancel that."""
        assert self._future is not None
        waiter = self._future.get_loop().create_future()

        def wake(_: Any) -> None:
            if not waiter.done():
                waiter.set_result(None)

        record = None if self._subscription is None else self._subscription.record
        if record is not None:
            record.waits(waiter)
        self._future.add_done_callback(wake)
        try:
            await waiter
        finally:
            self._future.remove_done_callback(wake)
            if record is not None:
                record.waits_no_more(waiter)


# --- many emissions ------------------------------------------------------------------


class _Buffer:
    """What arrived and was not taken yet; knows nothing of the stream that reads it."""

    __slots__ = (
        "astuple", "dropped", "end", "ended", "items", "maxsize", "overflow", "record",
        "waiters",
    )  # fmt: skip

    def __init__(self, maxsize: int, overflow: str) -> None:
        self.items: collections.deque[Any] = collections.deque()
        self.maxsize = maxsize
        self.overflow = overflow
        self.dropped = 0
        self.record: Any = None  # of the inspector
        self.ended = False
        self.end: BaseException | None = None  # raised once the items are taken
        self.waiters: collections.deque[asyncio.Future[None]] = collections.deque()

    def put(self, args: tuple[Any, ...]) -> None:
        if self.ended:
            return
        if 0 < self.maxsize <= len(self.items) and not self._make_room():
            self.tell(False)
            return
        self.items.append(_value_of(args, False))
        self.tell(True)
        self._wake_one()

    def tell(self, pushed: bool) -> None:
        """Tells the inspector what is in the buffer."""
        if self.record is not None:
            self.record.buffered(len(self.items), self.dropped, pushed)

    def _make_room(self) -> bool:
        self.dropped += 1
        if self.overflow == "drop-oldest":
            self.items.popleft()
            return True
        if self.overflow == "raise":
            self.end = asyncio.QueueFull(
                f"asyncsignalstream: more than {self.maxsize} emissions were waiting; "
                "take them faster, or choose a larger maxsize or another overflow"
            )
            self.finish()
        return False

    def finish(self, _: Any = None) -> None:
        self.ended = True
        for waiter in self.waiters:
            _wake(waiter)

    def _wake_one(self) -> None:
        for waiter in self.waiters:
            if not waiter.done():
                _wake(waiter)
                break


def _wake(waiter: asyncio.Future[None]) -> None:
    if _is_awaited(waiter):
        waiter.set_result(None)


class asyncsignalstream:
    """The emissions of a signal, as an asynchronous iterator.

    ::

        async with qtinter.asyncsignalstream(timer.timeout) as ticks:
            async for tick in ticks:
                ...

    :param signal: as for :func:`asyncsignal`; connected here and now.
    :param maxsize: how many emissions may wait to be taken; 0 for any number.
    :param overflow: what happens to an emission when `maxsize` are waiting:
        ``"drop-oldest"`` drops the one that has waited longest, ``"drop-newest"``
        drops the new one, ``"raise"`` drops it and ends the stream with
        :exc:`asyncio.QueueFull` after those that wait have been taken.
    :param sender: as for :func:`asyncsignal`.

    Items are what :func:`asyncsignal` returns.  None is lost between iterations.
    Several consumers share the items.  The stream ends when it is closed, and, after
    the items that wait, when the sender is destroyed.  It disconnects when it is
    closed or when nobody refers to it; leaving ``async for`` by ``break`` does not
    close it.  Emissions of other threads arrive on the thread that made the stream.

    :raises RuntimeError: the sender has been deleted.
    :raises TypeError: `signal` is not a signal, `sender` not a QObject, or `maxsize`
        not an int.
    :raises ValueError: `maxsize` is negative, or `overflow` none of the three.
    """

    def __init__(
        self,
        signal: Any,
        *,
        maxsize: int = 0,
        overflow: Literal["drop-oldest", "drop-newest", "raise"] = "drop-oldest",
        sender: Any = None,
    ) -> None:
        if not isinstance(maxsize, int):
            raise TypeError(
                f"asyncsignalstream: maxsize must be an int, not {maxsize!r}"
            )
        if maxsize < 0:
            raise ValueError(f"asyncsignalstream: maxsize must be >= 0, not {maxsize}")
        if overflow not in ("drop-oldest", "drop-newest", "raise"):
            raise ValueError(
                "asyncsignalstream: overflow must be 'drop-oldest', 'drop-newest' or "
                f"'raise', not {overflow!r}"
            )
        self._buffer = _Buffer(maxsize, overflow)
        self._subscription = _Subscription(
            signal,
            self._buffer.put,
            self._buffer.finish,
            sender,
            "asyncsignalstream",
        )
        self._buffer.record = self._subscription.record

    def __del__(self) -> None:
        # Not reached by way of the connection: that knows the buffer only.
        subscription = getattr(self, "_subscription", None)
        if subscription is not None:
            subscription.close()

    @property
    def dropped(self) -> int:
        """How many emissions did not fit into `maxsize`."""
        return self._buffer.dropped

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Any:
        buffer = self._buffer
        while not buffer.items:
            if buffer.ended:
                end, buffer.end = buffer.end, None
                raise StopAsyncIteration if end is None else end
            waiter = asyncio.get_running_loop().create_future()
            buffer.waiters.append(waiter)
            record = self._subscription.record
            if record is not None:
                record.waits(waiter)
            try:
                await waiter
            except asyncio.CancelledError:
                if waiter.done() and not waiter.cancelled() and buffer.items:
                    buffer._wake_one()  # woken for an item that another one can take
                raise
            finally:
                buffer.waiters.remove(waiter)
                if record is not None:
                    record.waits_no_more(waiter)
        item = buffer.items.popleft()
        buffer.tell(False)
        return item

    async def aclose(self) -> None:
        """Disconnects and ends the stream; items not taken are dropped, uncounted."""
        self._subscription.close()
        self._buffer.items.clear()
        self._buffer.finish()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()


# --- several signals -----------------------------------------------------------------


class multisignal(Generic[_V]):
    """Several signals as one; each stands for a value.

    :param signal_map: maps bound signals to values of any kind.

    ``await asyncsignal(multisignal({ok.clicked: True, no.clicked: False}))`` waits for
    either and gives ``(value, arguments)``.  Making one connects nothing, and one may
    be connected often.

    :raises TypeError: `signal_map` is not a mapping.
    :raises RuntimeError: the sender of one of the signals has been deleted, as far as
        the binding tells.
    """

    def __init__(self, signal_map: Mapping[Any, _V]) -> None:
        if not hasattr(signal_map, "items"):
            raise TypeError(
                "multisignal expects a mapping of bound signals to values, such as "
                f"{{ok.clicked: True}}, but got {signal_map!r}"
            )
        self.signal_map = signal_map
        # The senders are alive now; later others may have taken their place.
        self._senders = [_known_sender(signal) for signal in signal_map]

    def connect(self, slot: Callable[[_V, tuple[Any, ...]], Any]) -> None:
        """Connects `slot` to each of the signals, in the order of the mapping.

        An emission of a signal calls ``slot(value, arguments)``, with the value it
        stands for and the tuple of its arguments; the result is ignored.  A bound
        method is held weakly, as by a signal; any other callable is held until the
        sender is destroyed.  If an event loop is running here, `slot` is called on this
        thread also when the signal is emitted on another; else on the emitting thread.

        :raises TypeError: `slot` is not callable, or a key is not a signal.
        :raises RuntimeError: one of the senders has been deleted; nothing is connected.
        """
        if not callable(slot):
            raise TypeError(f"multisignal.connect expects a callable, but got {slot!r}")
        self._check("multisignal")
        connected: list[tuple[Any, Any]] = []
        try:
            for signal, value in self.signal_map.items():
                tagged = _tagged_slot(slot, value)
                _qt.connect_slot(signal, tagged)
                connected.append((signal, tagged))
        except RuntimeError:  # PySide knows only now that a sender has been deleted
            for signal, tagged in connected:
                signal.disconnect(tagged)
            raise

    def __repr__(self) -> str:
        if _qt is None:  # no signal has been looked at: there is none
            return "multisignal()"
        return f"multisignal({', '.join(map(_qt.describe_signal, self.signal_map))})"

    def _check(self, user: str) -> None:
        qt = _qt or _load_qt()
        for signal, sender in zip(self.signal_map, self._senders):
            qt.check_signal(signal, user)
            if sender is None:
                qt.signal_sender(signal)  # raises if that is gone
            else:
                alive = sender()
                if alive is None or qt.is_deleted(alive):
                    raise RuntimeError(
                        f"cannot connect to {qt.describe_signal(signal)}: its sender "
                        "has been deleted"
                    )


def _known_sender(signal: Any) -> Any:
    sender = (_qt or _load_qt()).signal_sender(signal)
    return None if sender is None else weakref.ref(sender)


def _tagged_slot(slot: Any, value: Any) -> Callable[..., Any]:
    """Returns what is connected for one signal: calls slot(value, arguments)."""
    bound = unbind(slot)
    call = _delivering(value)
    if bound is None:
        return taking_all(lambda args: call(slot, args))
    receiver, function = bound

    def run(receiver: Any, *args: Any) -> None:
        call(function.__get__(receiver), args)

    # The value is not part of the key: it need not be hashable.
    relay = relay_for(
        receiver, ("multisignal", function, object()), lambda: Relay(receiver, run)
    )
    return relay.wrapper()  # type: ignore[no-any-return]


def _delivering(value: Any) -> Callable[[Any, tuple[Any, ...]], None]:
    running, thread = _get_running_loop(), get_ident()
    home = None if running is None else weakref.ref(running)
    del running  # a connection must not keep a closed loop

    def call(slot: Any, args: tuple[Any, ...]) -> None:
        args = _qt.copy_signal_arguments(args)
        loop = None if home is None else home()
        if get_ident() == thread or home is None:
            slot(value, args)
        elif loop is not None:
            _post(loop, slot, value, args)

    return call
