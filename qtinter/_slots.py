"""asyncslot: connecting signals to coroutine functions.

How a call goes (the path of the default options)::

    emission -> wrapper(*args) -> fn(*first n args) -> task_runner(coroutine)
                    |                                       |
             a running loop,                          first step runs here,
             the right one?                           inside the emission

in slot_call.c if everything is as usual, otherwise in _Slot.called().

A plain callable is wrapped in a plain function, which bindings hold strongly when it is
connected, and which becomes a method (held weakly) when it is defined in a class.  A
bound method gets a relay (see _relay.py), which lives and is compared like the method.
"""

from __future__ import annotations

import asyncio
import functools
import inspect
import logging
import sys
import threading
import time
import weakref
from typing import TYPE_CHECKING, Any, Callable, TypeVar, overload

from . import _core, _hosts, _probe
from ._arguments import taking_all
from ._relay import Relay, relay_for, relays_of, unbind
from ._tasks import run_task

if TYPE_CHECKING:
    from collections.abc import Coroutine
    from typing import Literal

    from typing_extensions import ParamSpec

    _P = ParamSpec("_P")
    _Overlap = Literal["allow", "drop", "restart", "queue"]

__all__ = ("asyncslot",)

_T = TypeVar("_T")

_OVERLAPS = ("allow", "drop", "restart", "queue")

_PACKAGE = __name__.partition(".")[0]

# asyncio holds tasks weakly: these are the pending tasks of all slots.
_live: set[Any] = set()

_groups: weakref.WeakValueDictionary[int, _Group] = weakref.WeakValueDictionary()

_get_running_loop = asyncio._get_running_loop

_logger = logging.getLogger("qtinter.slots")


@overload
def asyncslot(
    fn: Callable[_P, Coroutine[Any, Any, _T]],
    *,
    task_runner: Callable[[Coroutine[Any, Any, _T]], asyncio.Task[_T]] = ...,
    overlap: _Overlap = ...,
    cancel_with: Any = ...,
    name: str | None = ...,
) -> Callable[_P, asyncio.Task[_T]]: ...


@overload
def asyncslot(
    fn: None = None,
    *,
    task_runner: Callable[[Coroutine[Any, Any, Any]], asyncio.Task[Any]] = ...,
    overlap: _Overlap = ...,
    cancel_with: Any = ...,
    name: str | None = ...,
) -> Callable[
    [Callable[_P, Coroutine[Any, Any, _T]]], Callable[_P, asyncio.Task[_T]]
]: ...


def asyncslot(
    fn: Callable[..., Any] | None = None,
    *,
    task_runner: Callable[[Any], Any] = run_task,
    overlap: _Overlap = "allow",
    cancel_with: Any = None,
    name: str | None = None,
) -> Any:
    """Wrap a coroutine function so that it can be connected to a Qt signal.

    ``button.clicked.connect(asyncslot(self.save))``, or as a decorator, with or without
    arguments; ``Slot``/``pyqtSlot`` may stand outside or inside of it.

    :param fn: a coroutine function, or any callable that returns a coroutine.  If it
        takes n positional arguments, only the first n of an emission are passed; a
        parameter with a default counts (so ``clicked(bool)`` fills it); ``*args``
        takes all.
    :param task_runner: called with the coroutine; makes the task of an invocation and
        returns it (an object with ``add_done_callback``).  The default,
        :func:`run_task`, runs the code before the first suspension within the emission.
    :param overlap: what an emission does while the invocation of an earlier one is
        pending; receivers of a method count separately.
        ``"allow"`` starts another one; ``"drop"`` starts nothing and returns the
        pending task; ``"restart"`` cancels the pending ones and starts when they have
        ended; ``"queue"`` starts when they have ended.
    :param cancel_with: a QObject whose destruction cancels pending invocations (they
        go on otherwise), or ``"receiver"`` for the QObject whose method `fn` is.
    :param name: name of the tasks, and of the slot in messages.
    :returns: a callable that starts an invocation and returns its task.  The task is
        kept alive until it is done.  It returns None instead of a task if nothing was
        started on this thread (see below).

    *Lifetime.*  The wrapper of a bound method is connected weakly, as the method would
    be: the connection lives as long as the object, and somebody who holds the wrapper
    holds the object.  Wrappers of one method (and the same options) are equal, so
    ``signal.disconnect(asyncslot(obj.method))`` works.  Any other callable is held by
    the connection.

    *Thread.*  A slot runs in the event loop that was running where ``asyncslot`` was
    called; an emission from another thread is handed over to it and returns None.  If
    no loop was running there, or that one has stopped, the running loop of the emitting
    thread is used.

    *Errors.*  An exception that ends the task is reported once, through
    ``loop.call_exception_handler()`` with the keys ``message``, ``exception``,
    ``task``, ``slot`` and, if known, ``signal``, three iterations of the loop after the
    task has ended; unless by then somebody has retrieved it (by awaiting the task,
    ``asyncio.wait()`` and ``result()``, ``exception()``).  Cancellation is silent.
    KeyboardInterrupt and SystemExit before the first suspension stop a qtinter loop
    that runs within Qt, as they do in any callback; elsewhere they propagate.

    :raises TypeError: `fn` or `task_runner` is not callable; `fn` needs a keyword
        argument, does not tell its parameters (some built-in functions), or is a method
        of an object that does not support weak references.  When called: `fn` did not
        return a coroutine, or `task_runner` a task.
    :raises ValueError: `overlap` is none of the four.
    :raises RuntimeError: (when called) no event loop is running on this thread.  If it
        is known that Qt is calling, this is logged instead: PyQt would abort.
    """
    if overlap not in _OVERLAPS:
        raise ValueError(
            f"asyncslot: overlap must be one of {', '.join(_OVERLAPS)}, not {overlap!r}"
        )
    if not callable(task_runner):
        raise TypeError(
            "asyncslot: task_runner must be a callable that takes a coroutine and "
            f"returns its task, not {task_runner!r}"
        )
    options = (task_runner, overlap, cancel_with, name)
    if fn is None:
        return lambda function: _wrap(function, options)
    return _wrap(fn, options)


def _wrap(fn: Any, options: Any) -> Callable[..., Any]:
    if not callable(fn):
        raise TypeError(
            "asyncslot expects a coroutine function, but got non-callable object "
            f"{fn!r}"
            + (
                ": pass the function itself, do not call it"
                if inspect.iscoroutine(fn)
                else ""
            )
        )
    bound = unbind(fn)
    if bound is not None:
        return _wrap_method(fn, *bound, options)
    original = getattr(fn, "_qtinter_slot_of", fn)
    return _make_function(_Slot(original, options), original)


# --- signatures ----------------------------------------------------------------------


def get_positional_parameter_count(fn: Callable[..., Any]) -> int:
    """Returns how many positional arguments `fn` takes at most, -1 with ``*args``.

    :raises TypeError: `fn` has a keyword-only parameter without default, or does not
        tell what parameters it has.
    """
    try:
        signature = inspect.signature(fn)
    except ValueError:
        raise TypeError(
            f"asyncslot cannot find out which arguments {fn!r} takes: wrap it in a "
            "coroutine function that calls it"
        ) from None
    count = 0
    for parameter in signature.parameters.values():
        if parameter.kind is parameter.VAR_POSITIONAL:
            count = -1
        elif parameter.kind is parameter.KEYWORD_ONLY:
            if parameter.default is parameter.empty:
                raise TypeError(
                    f"asyncslot cannot call {fn!r}: its keyword-only parameter "
                    f"{parameter.name!r} has no default, and a signal carries no "
                    "keyword arguments"
                )
        elif parameter.kind is not parameter.VAR_KEYWORD and count >= 0:
            count += 1
    return count


# --- wrappers ------------------------------------------------------------------------


def _make_function(slot: _Slot, fn: Any) -> Callable[..., Any]:
    """Returns the function that starts an invocation of `slot`: the hot path."""
    call = _core.SlotCall(
        slot, slot.fn, slot.limit, slot.is_simple, slot.called, _copy, _live
    )
    slot.started = call.start
    slot.finished = call.finished
    wrapper = taking_all(call.start)
    slot.wrapper = weakref.ref(wrapper)
    if fn is not None:
        functools.update_wrapper(wrapper, fn)
        wrapper._qtinter_slot_of = fn  # type: ignore[attr-defined]
        signature = vars(wrapper).get("__pyqtSignature__")
        if signature is not None:
            # A list to which an outer pyqtSlot appends: not to that of fn.
            wrapper.__pyqtSignature__ = list(signature)  # type: ignore[attr-defined]
    return wrapper


def _wrap_method(
    method: Any, receiver: Any, function: Any, options: Any
) -> Callable[..., Any]:
    function = getattr(function, "_qtinter_slot_of", function)
    key = ("asyncslot", function, *options)
    relay = relay_for(receiver, key, lambda: _new_relay(receiver, function, options))
    slot = relay.run_slot
    if slot.home is None or not _is_running(slot.home()):
        slot.home = _running_home()
    if _probe.active is not None:
        _probe.active.slot_made(slot, receiver)
    wrapper: Callable[..., Any] = relay.wrapper(relay.slot_name)
    return wrapper


def _call_method(args: tuple[Any, ...]) -> Any:
    relay = args[0]
    receiver = relay.receiver()
    if receiver is None or (
        relay._is_deleted is not None and relay._is_deleted(receiver)
    ):
        return None  # an emission that was on its way when the receiver died
    return relay.start((receiver, *args[1:]))


class _MethodRelay(Relay):
    """Relay of an asyncslot."""

    slot_name = "slot"
    slot = taking_all(_call_method)

    def __init__(self, receiver: Any, slot: _Slot) -> None:
        Relay.__init__(self, receiver, _make_function(slot, None))
        self.run_slot: _Slot | None = slot
        self.start: Any = slot.started  # what run() does, with a tuple
        self._is_deleted = _deletion_test(receiver)

    def end(self) -> None:
        Relay.end(self)
        self.run_slot = self.start = None


def _new_relay(receiver: Any, function: Any, options: Any) -> Relay:
    slot = _Slot(function, options, is_method=True)
    decorations = getattr(function, "__pyqtSignature__", None)
    if decorations is None:
        return _MethodRelay(receiver, slot)
    relay_class = _decorated_relay_class(function.__name__, decorations)
    relay: Relay = relay_class(receiver, slot)
    return relay


_decorated_relay_classes: dict[Any, Any] = {}


def _decorated_relay_class(name: str, decorations: Any) -> Any:
    """Returns a relay class whose slot has the signatures of a pyqtSlot.

    PyQt connects a decorated method by its signature, and for that it must be a method
    of a QObject.
    """
    key = (name, *decorations)
    found = _decorated_relay_classes.get(key)
    if found is None:
        from .bindings import QtCore

        copy = taking_all(_call_method)
        copy.__name__ = name
        copy.__pyqtSignature__ = list(decorations)  # type: ignore[attr-defined]

        def __init__(self: Any, receiver: Any, slot: _Slot) -> None:
            QtCore.QObject.__init__(self)
            _MethodRelay.__init__(self, receiver, slot)

        members = {"__init__": __init__, name: copy, "slot_name": name}
        found = type("SlotRelay", (_MethodRelay, QtCore.QObject), members)
        _decorated_relay_classes[key] = found
    return found


def _deletion_test(receiver: Any) -> Callable[[Any], bool] | None:
    """Returns the test whether the C++ part is gone, None for a plain receiver."""
    if not _is_qobject(receiver):
        return None
    from . import _qt

    return _qt.is_deleted


def _is_qobject(obj: Any) -> bool:
    """Whether obj is a QObject, without choosing a binding to find out."""
    return any(
        cls.__name__ == "QObject" and cls.__module__.endswith(".QtCore")
        for cls in type(obj).__mro__
    )


def _copy(args: tuple[Any, ...]) -> tuple[Any, ...]:
    """Returns args without values that PyQt only lends for the emission."""
    for arg in args:
        if type(arg).__module__.startswith("PyQt"):
            from . import _qt

            return _qt.copy_signal_arguments(args)
    return args


def _line_of_user() -> tuple[str, int] | None:
    """File and line of the innermost frame that is not of this package."""
    frame: Any = sys._getframe(1)
    while frame is not None:
        if frame.f_globals.get("__name__", "").partition(".")[0] != _PACKAGE:
            return frame.f_code.co_filename, frame.f_lineno
        frame = frame.f_back
    return None


# --- loops and threads ---------------------------------------------------------------


def _running_home() -> Any:
    loop = _get_running_loop()
    return None if loop is None else weakref.ref(loop)


def _is_running(loop: Any) -> Any:
    return loop is not None and not loop.is_closed() and loop.is_running()


def _called_by_qt(receiver: Any) -> bool:
    """Whether Qt is calling a slot, as far as the binding tells (PyQt does)."""
    if _sender_of_call() is not None:
        return True  # through a proxy
    for name in ("PyQt6", "PyQt5"):
        QtCore = sys.modules.get(name + ".QtCore")
        if QtCore is not None and isinstance(receiver, QtCore.QObject):
            from . import _qt

            return not _qt.is_deleted(receiver) and receiver.sender() is not None
    return False


def _sender_of_call() -> Any:
    """Returns the sender of the signal that Qt is delivering, if it is told.

    A callback of the loop is not called by a signal, even if its host is.
    """
    for name in ("PyQt6", "PyQt5"):
        QtCore = sys.modules.get(name + ".QtCore")
        if QtCore is not None:
            sender = QtCore.QObject().sender()
            if sender is None or sender.objectName() == _hosts.OBJECT_NAME:
                return None
            return sender
    return None


def _describe_sender(sender: Any) -> str | None:
    if sender is None:
        return None
    from . import _qt

    return f"signal of {_qt.describe_object(sender)}"


# --- invocations ---------------------------------------------------------------------


def _is_abandoned(task: Any) -> bool:
    get_loop = getattr(task, "get_loop", None)
    return get_loop is not None and bool(get_loop().is_closed())


def forget_abandoned_tasks() -> None:
    """Lets go of the pending tasks of loops that have been closed.

    Other threads change both collections meanwhile; a group is left to its own thread.
    """
    _live.difference_update([task for task in list(_live) if _is_abandoned(task)])
    for reference in _groups.valuerefs():
        group = reference()
        if group is not None and group.thread == threading.get_ident():
            group.forget_abandoned()


class _Group:
    """The pending tasks of one slot and one receiver, oldest first."""

    __slots__ = ("__weakref__", "link", "tasks", "thread")

    def __init__(self) -> None:
        self.tasks: list[Any] = []
        self.link: Any = None  # connection to the destruction of cancel_with
        self.thread = threading.get_ident()
        _groups[id(self)] = self

    def forget_abandoned(self) -> None:
        """Lets go of tasks that will never end, because their loop has been closed."""
        self.tasks = [task for task in self.tasks if not _is_abandoned(task)]

    def cancel(self) -> None:
        for task in list(self.tasks):
            task.cancel()

    def cancel_from_any_thread(self) -> None:
        """Called by Qt, into which nothing is to be raised."""
        for task in list(self.tasks):
            if _is_abandoned(task):
                continue
            loop = task.get_loop()
            if threading.get_ident() == self.thread:
                try:
                    task.cancel()
                except Exception as exc:
                    context = {
                        "message": "Exception while a task was cancelled because the "
                        "object given to asyncslot as cancel_with was destroyed",
                        "exception": exc,
                        "task": task,
                    }
                    _call_handler(loop, context)
                continue
            try:
                loop.call_soon_threadsafe(task.cancel)
            except RuntimeError:
                continue  # that loop is closed, its tasks have ended


class _Slot:
    """What an asyncslot calls, how, and where."""

    def __init__(self, fn: Any, options: Any, is_method: bool = False) -> None:
        self.fn = fn
        self.runner, self.overlap, self.cancel_with, self.name = options
        self.limit = get_positional_parameter_count(fn)
        self.is_method = is_method
        self.home = _running_home()
        self.wrapper: Any = None
        self.group = _Group()
        self.started: Any = None  # an emission: starts an invocation; takes a tuple
        self.finished: Any = None  # the done callback of an invocation
        self.made_at = _line_of_user()
        self.is_simple = (
            self.overlap == "allow"
            and self.cancel_with is None
            and self.name is None
            and self.runner is run_task
        )
        if self.cancel_with is not None and self.cancel_with != "receiver":
            self._cancel_with(self.cancel_with, self.group)
        if _probe.active is not None and not is_method:
            _probe.active.slot_made(self)

    @property
    def label(self) -> str:
        """Name for messages."""
        return self.name or getattr(self.fn, "__qualname__", None) or repr(self.fn)

    # --- starting

    def called(self, args: tuple[Any, ...]) -> Any:
        """Does what an emission with these arguments asks for; returns the task.

        This is all of it, but most emissions are dealt with in slot_call.c.
        """
        loop = _get_running_loop()
        if loop is None or (self.home is not None and self.home() is not loop):
            loop = self.redirect(loop, args)
            if loop is None:
                return None
        return self.start(loop, _copy(args))

    def start(self, loop: Any, args: tuple[Any, ...]) -> Any:
        """Starts an invocation as the options say; returns its task."""
        group = self._group_of(args)
        observer, calling, task = _probe.active, None, None
        try:
            if group.tasks and _is_abandoned(group.tasks[0]):  # of an earlier loop
                group.forget_abandoned()
            if group.tasks and self.overlap != "allow":
                if self.overlap == "drop":
                    if observer is not None:
                        observer.slot_refused(self, self.receiver_of(args), loop)
                    return group.tasks[-1]
                if self.overlap == "restart":
                    group.cancel()
                coro = self._call_after(list(group.tasks), args)
            else:
                coro = self._call(args)
            if observer is not None:
                calling = observer.slot_calling(self, self.receiver_of(args))
            task = self._run(coro)
        except BaseException as exc:
            return self.failed(loop, args, exc)
        finally:
            if observer is not None and calling is not None:
                observer.slot_called(calling, loop, task, args)
        done = getattr(task, "done", None)
        if done is not None and done():
            self.ended_at_once(task)
            return task
        _live.add(task)
        group.tasks.append(task)
        task.add_done_callback(functools.partial(self._leave, group))
        task.add_done_callback(self.finished)
        return task

    def _call(self, args: tuple[Any, ...]) -> Any:
        return self.fn(*(args if self.limit < 0 else args[: self.limit]))

    async def _call_after(self, earlier: list[Any], args: tuple[Any, ...]) -> Any:
        emitted = time.monotonic_ns()
        await asyncio.wait(earlier)
        self._delayed(args, emitted)
        return await self._call(args)

    def _delayed(self, args: tuple[Any, ...], emitted: int) -> None:
        """An emission is only now about to call."""
        if _probe.active is not None:
            loop = _get_running_loop()
            _probe.active.slot_delayed(self, self.receiver_of(args), loop, emitted)

    def _handed_over(self, emitted: int, *args: Any) -> None:
        """An emission of another thread has come to the slot's own."""
        self._delayed(args, emitted)
        self.wrapper()(*args)

    def _run(self, coro: Any) -> Any:
        if self.runner is run_task:
            return run_task(coro, name=self.name)
        task = self.runner(coro)
        if not hasattr(task, "add_done_callback"):
            raise TypeError(
                f"the task_runner of asyncslot {self.label} must return the task of "
                f"the coroutine, but it returned {task!r}"
            )
        if self.name is not None and hasattr(task, "set_name"):
            task.set_name(self.name)
        return task

    # --- the inspection, for slot_call.c

    def observed_by(self, receiver: Any) -> Any:
        """What the invocations for a receiver are counted in, or None."""
        observer = _probe.active
        return None if observer is None else observer.slot_made(self, receiver)

    def answer_to(self, args: tuple[Any, ...]) -> str:
        """The class of an argument that wants an answer within the emission, or ""."""
        observer = _probe.active
        return "" if observer is None else observer.answer_to(args)

    def signal_to(self, receiver: Any) -> str:
        """Name of the signal whose emission is calling, or "" if it is not known."""
        observer = _probe.active
        return "" if observer is None else observer.signal_to(receiver)

    # --- groups

    def _group_of(self, args: tuple[Any, ...]) -> _Group:
        receiver = self.receiver_of(args)
        if receiver is None:
            return self.group
        groups = relays_of(receiver)
        key = ("group", self.fn, self.overlap, self.name)
        group = groups.get(key)
        if group is None:
            group = groups[key] = _Group()
            if isinstance(self.cancel_with, str):
                self._cancel_with(receiver, group)
            elif self.cancel_with is not None:
                self._cancel_with(self.cancel_with, group)
        return group

    def receiver_of(self, args: tuple[Any, ...]) -> Any:
        """Returns the object whose method is called, None for a function."""
        if self.is_method:
            return args[0]
        # A decorated function is a method if it is found in the class of its first
        # argument.
        wrapper = self.wrapper()
        if args:
            name = wrapper.__name__
            for cls in type(args[0]).__mro__:
                if cls.__dict__.get(name) is wrapper:
                    return args[0]
        return None

    def _cancel_with(self, obj: Any, group: _Group) -> None:
        if not _is_qobject(obj):
            raise TypeError(
                f"asyncslot: cancel_with must be a QObject or 'receiver', not {obj!r}"
            )
        from . import _qt

        if _qt.is_deleted(obj):
            raise RuntimeError(
                f"asyncslot: cancel_with is a {type(obj).__name__} that has been "
                "deleted; give an object that lives as long as the slot is to run"
            )
        weak_group = weakref.ref(group)

        def destroyed(*_: Any) -> None:
            group = weak_group()
            if group is not None:
                group.cancel_from_any_thread()

        group.link = _qt.connect(obj.destroyed, destroyed, lambda: None, obj)

    def _leave(self, group: _Group, task: Any) -> None:
        group.tasks.remove(task)

    # --- ending

    def ended_at_once(self, task: Any) -> None:
        """The invocation ended within the emission, whose sender is still known."""
        if getattr(task, "_log_traceback", False):
            self.report_later(task, _sender_of_call())

    def report_later(self, task: Any, sender: Any = None) -> None:
        """Reports the failure of a task unless somebody retrieves it first.

        Whoever begins to wait now, through asyncio.wait() or wait_for(), has a callback
        in the next iteration, wakes in the one after, and goes before us in the third.
        """
        loop = task.get_loop()
        signal = _describe_sender(sender)
        loop.call_soon(loop.call_soon, loop.call_soon, self._report, task, signal)

    def _report(self, task: Any, signal: str | None) -> None:
        if task._log_traceback:
            exc = task.exception()  # marks it retrieved: no report at collection
            self._call_handler(task.get_loop(), exc, signal, task)

    def _call_handler(
        self, loop: Any, exc: Any, signal: str | None, task: Any = None
    ) -> None:
        message = f"Exception in asyncslot {self.label}"
        context = {"message": message, "exception": exc, "slot": self.fn}
        if task is not None:
            context["task"] = task
        if signal is not None:
            context["message"] = f"{message}, called by a {signal}"
            context["signal"] = signal
        _call_handler(loop, context)

    def failed(self, loop: Any, args: tuple[Any, ...], exc: BaseException) -> None:
        """Deals with an exception that prevented the task: returns None or raises."""
        if isinstance(exc, (KeyboardInterrupt, SystemExit)):
            if not _interrupt(loop, exc):
                raise exc
        elif not _called_by_qt(args[0] if args else None):
            raise exc
        elif not isinstance(exc, asyncio.CancelledError):
            self._call_handler(loop, exc, _describe_sender(_sender_of_call()))

    # --- where to run

    def redirect(self, running: Any, args: tuple[Any, ...]) -> Any:
        """Called where the slot's own loop is not running.

        Returns the loop to use here, or None if the invocation was given to another.
        """
        home: Any = self.home() if self.home is not None else None
        if _is_running(home):
            try:
                copy = _copy(args)
                if _probe.active is None:
                    home.call_soon_threadsafe(self.wrapper(), *copy)
                else:
                    now = time.monotonic_ns()
                    home.call_soon_threadsafe(self._handed_over, now, *copy)
                return None
            except RuntimeError:
                pass  # closed since; its thread does not run slots any more
        if running is not None:
            return running
        problem = (
            f"no running event loop in thread {threading.current_thread().name!r} to "
            f"run asyncslot {self.label}: enter qtinter.using_asyncio_from_qt() before "
            "signals are emitted, and leave it after"
        )
        if not _called_by_qt(args[0] if args else None):
            raise RuntimeError(problem)
        _logger.error(problem)
        return None


def _call_handler(loop: Any, context: dict[str, Any]) -> None:
    """Calls the loop's exception handler, which may raise KeyboardInterrupt."""
    try:
        loop.call_exception_handler(context)
    except (KeyboardInterrupt, SystemExit) as exc:
        if not _interrupt(loop, exc):
            raise


def _interrupt(loop: Any, exc: BaseException) -> bool:
    """Hands KeyboardInterrupt or SystemExit to a loop that runs within Qt."""
    interrupt = getattr(loop, "_interrupt", None)
    if interrupt is None or loop.mode.name == "NATIVE":
        return False
    interrupt(exc)
    return True
