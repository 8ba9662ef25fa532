"""The event loop classes: asyncio's own loops over the C core.

``qtinter._core.Loop`` holds what is touched for every callback.  The classes here put
asyncio's loops underneath it, so that servers, TLS, subprocesses, pipes, executors and
signals are asyncio's code, and add what only a loop inside Qt needs: the modes, the
application object, Ctrl+C.

Thread: a loop belongs to the thread that runs it; only ``call_soon_threadsafe()`` may
be called from another one.
"""

from __future__ import annotations

import asyncio
import contextlib
import enum
import selectors
import signal
import sys
import threading
from asyncio import (
    base_events,
    events,
    format_helpers,
    proactor_events,
    selector_events,
    tasks,
)
from typing import TYPE_CHECKING, Any, Callable, Iterator, Mapping, NoReturn

from . import _core, _probe, _streams, _tasks
from ._interrupts import SignalListening

if TYPE_CHECKING:
    from collections.abc import Coroutine
    from contextvars import Context
    from typing import TypeVar

    T = TypeVar("T")

__all__ = [
    "QiBaseEventLoop",
    "QiBaseProactorEventLoop",
    "QiBaseSelectorEventLoop",
    "QiLoopMode",
    "QiSelector",
    "QiSelectorEventLoop",
]


# What asyncio's run_until_complete() says; it does not know of the Qt event loop.
_STOPPED_TOO_EARLY = "Event loop stopped before Future completed."


# Whether asyncio's _make_socket_transport() does (from some 3.11 on).
_REFUSES_DESCRIPTORS_IN_USE = (
    "_ensure_fd_no_transport"
    in selector_events.BaseSelectorEventLoop._make_socket_transport.__code__.co_names  # type: ignore[attr-defined]
)


class QiLoopMode(enum.Enum):
    """Who drives a loop."""

    OWNER = "OWNER"
    """``run_forever()`` executes a Qt event loop, nested if one runs already."""

    GUEST = "GUEST"
    """Attached: the loop lives inside the Qt event loop that the program executes."""

    NATIVE = "NATIVE"
    """Plain asyncio without Qt; used to clean up after Qt has gone."""

    NESTED = "OWNER"
    ATTACHED = "GUEST"


class _SelectorMap(Mapping[Any, selectors.SelectorKey]):
    """Read-only live view of what a selector watches."""

    def __init__(self, selector: QiSelector) -> None:
        self._selector = selector

    def __len__(self) -> int:
        return len(self._selector._descriptors())

    def __getitem__(self, fileobj: Any) -> selectors.SelectorKey:
        return self._selector.get_key(fileobj)

    def __iter__(self) -> Iterator[int]:
        return iter(self._selector._descriptors())


class QiSelector(_core.Selector, selectors.BaseSelector):
    """The selector of a qtinter loop: one kernel object that Qt can watch.

    A :class:`selectors.BaseSelector` in every respect; it also carries the loop's next
    deadline and its wakeups, which its methods do not show.
    """

    def get_map(self) -> Mapping[Any, selectors.SelectorKey]:
        """Return what is watched, by file object or descriptor; None once closed."""
        if self.closed:
            return None  # type: ignore[return-value]  # as the selectors of asyncio do
        return _SelectorMap(self)


def _require_application() -> None:
    from .bindings import QtCore

    if QtCore.QCoreApplication.instance() is None:
        raise RuntimeError(
            "An instance of QCoreApplication or its derived class must be created in "
            "order to run QiBaseEventLoop. Create it first, e.g. "
            "app = QtWidgets.QApplication([])"
        )


class QiBaseEventLoop(_core.Loop, asyncio.BaseEventLoop):
    """Base of the loops that run inside a Qt event loop.

    A new loop is in mode :attr:`QiLoopMode.OWNER`.  It has the whole interface of
    :class:`asyncio.AbstractEventLoop`; see the classes derived from it.
    """

    _mode = QiLoopMode.OWNER
    _ended_by_qt = False  # the last nested run, by somebody other than this loop
    # Whether what follows such an end runs without Qt, which would end it at once.
    _native_after_qt = False

    # ------------------------------------------------------------------ modes

    @property
    def mode(self) -> QiLoopMode:
        """The mode in force, a :class:`QiLoopMode`; see :meth:`set_mode`."""
        return self._mode

    def set_mode(self, mode: QiLoopMode) -> None:
        """Choose who will drive the loop.

        :param mode: A :class:`QiLoopMode`.
        :raises RuntimeError: The loop is closed, running or stopping, or another loop
            runs on this thread.
        :raises TypeError: *mode* is not a :class:`QiLoopMode`.
        """
        self._check_closed()
        self._check_running()
        if self._stopping:
            raise RuntimeError("cannot call set_mode when the loop is stopping")
        if not isinstance(mode, QiLoopMode):
            raise TypeError(f"mode must be a QiLoopMode, not {mode!r}")
        self._mode = mode

    def set_guest(self, guest: bool) -> None:
        """Choose attached (True) or nested use (False); see :meth:`set_mode`."""
        self.set_mode(QiLoopMode.GUEST if guest else QiLoopMode.OWNER)

    # ---------------------------------------------------------------- running

    def run_forever(self) -> None:
        """Run until :meth:`stop`; in mode OWNER inside a Qt event loop of its own.

        :raises RuntimeError: The loop is closed, running, or in mode GUEST; another
            loop runs on this thread; there is no application object; the Qt event loop
            was ended with an exit code other than 0.
        """
        self._check_closed()
        self._check_running()
        if self._mode is QiLoopMode.NATIVE:
            self._run_forever_setup()
            try:
                self._run_native()
            finally:
                self._run_forever_cleanup()
            self._raise_late_sigint()
            return
        if self._mode is QiLoopMode.GUEST:
            self._refuse_in_guest_mode("run_forever")
        host = self._new_host()
        self._run_forever_setup()
        try:
            self._ended_by_qt = True  # if this raises RuntimeError
            self._ended_by_qt = not self._run_nested(host)
        finally:
            self._run_forever_cleanup()
        self._raise_late_sigint()

    def run_until_complete(self, future: Any) -> Any:
        """Run until *future* (or coroutine) is done and return its result.

        :raises RuntimeError: As :meth:`run_forever`, or the loop was stopped, or its Qt
            event loop was ended, before the future was done.
        """
        if self._thread_id == threading.get_ident():
            raise RuntimeError(
                "This event loop is already running: what is called by it or by Qt "
                "(callbacks, slots, event handlers) cannot wait for a coroutine; await "
                "it in one, or start it with qtinter.run_task() or asyncslot()"
            )
        if self._mode is QiLoopMode.GUEST and not self.is_running():
            self._check_closed()
            self._refuse_in_guest_mode("run_until_complete")
        self._ended_by_qt = False
        try:
            return super().run_until_complete(future)
        except RuntimeError as exc:
            if self._ended_by_qt and self._native_after_qt:
                self._mode = QiLoopMode.NATIVE
            if self._ended_by_qt and exc.args == (_STOPPED_TOO_EARLY,):
                raise RuntimeError(
                    "Event loop stopped before Future completed: the Qt event loop in "
                    "which it ran was ended by QCoreApplication.quit(), exit() or "
                    "something like it, and not by the asyncio loop"
                ) from exc
            raise

    def _refuse_in_guest_mode(self, method: str) -> NoReturn:
        raise RuntimeError(
            f"{method} cannot be called for a loop operating in GUEST mode; "
            "run the Qt event loop instead, e.g. app.exec()"
        )

    def start(self) -> None:
        """Attach the loop to this thread's Qt event loop; it is running on return.

        Callbacks run while a Qt event loop does.  :meth:`stop` ends it.

        :raises RuntimeError: The loop is not in mode GUEST, is closed or running;
            another loop runs on this thread; there is no application object.
        """
        self._check_closed()
        self._check_running()
        if self._mode is not QiLoopMode.GUEST:
            raise RuntimeError(
                "start can only be called for a loop operating in GUEST mode; "
                f"this one is in {self._mode.value} mode: "
                "call set_mode(QiLoopMode.GUEST) or run_forever()"
            )
        host = self._new_host()
        self._run_forever_setup()
        try:
            self._attach(host)
        except BaseException:
            self._run_forever_cleanup()
            raise

    def stop(self) -> None:
        """Stop the loop after the current iteration.

        Attached, and called outside of any callback, it has stopped on return.

        :raises RuntimeError: The loop is in mode GUEST and not running, or not
            running on this thread.
        """
        if self._mode is not QiLoopMode.GUEST:
            self._stopping = True
            return
        if not self.is_running():
            raise RuntimeError(
                "stop can only be called when a loop operating in GUEST mode is running"
            )
        if threading.get_ident() != self._thread_id:
            raise RuntimeError(
                "stop must be called on the thread that runs the loop; from another "
                "one, loop.call_soon_threadsafe(loop.stop)"
            )
        if self._in_turn or self._modal_depth:
            self._stopping = True
        else:
            self._attached_run_ended()

    def _attached_run_ended(self) -> None:
        """Leave the Qt event loop; the core calls this after the last iteration."""
        self._keep_late_sigint()
        if self._interruption is not None:
            self._quit_host()
        self._detach()
        self._run_forever_cleanup()
        self._keep_late_sigint()

    def _new_host(self) -> Any:
        from . import _hosts

        _require_application()
        return _hosts.new_host()

    if sys.version_info < (3, 8):

        def _check_running(self) -> None:
            self._check_runnung()  # asyncio's spelling in 3.7

    # These two names are asyncio's own since 3.13, for embedders like this one.

    def _run_forever_setup(self) -> None:
        self._check_closed()
        self._check_running()
        self._read_limits()
        self._sigint_pending = False
        self._asyncgen_hooks_before = sys.get_asyncgen_hooks()
        try:
            self._thread_id = threading.get_ident()
            sys.set_asyncgen_hooks(
                firstiter=self._asyncgen_firstiter_hook,
                finalizer=self._asyncgen_finalizer_hook,
            )
            self._set_coroutine_origin_tracking(self._debug)
            events._set_running_loop(self)
            self._take_signals()
        except BaseException:
            self._run_forever_cleanup()
            raise

    def _run_forever_cleanup(self) -> None:
        try:
            self._give_signals_back()
        finally:  # not running any more, whatever became of the signals
            self._stopping = False
            self._thread_id = None
            events._set_running_loop(None)
            self._set_coroutine_origin_tracking(False)
            sys.set_asyncgen_hooks(*self._asyncgen_hooks_before)

    # Ctrl+C in a slot waits for a turn, and the run may end without another one.

    def _raise_late_sigint(self) -> None:
        if self._sigint_pending:
            self._sigint_pending = False
            raise KeyboardInterrupt

    def _keep_late_sigint(self) -> None:
        if self._sigint_pending:
            self._sigint_pending = False
            if self._interruption is None:
                self._interruption = KeyboardInterrupt()

    def _take_signals(self) -> None:
        """Listen for signals while running; loops with a self-pipe do."""

    def _give_signals_back(self) -> None:
        """Undo :meth:`_take_signals`."""

    def close(self) -> None:
        """Close the loop and its descriptors; a second call does nothing.

        :raises RuntimeError: The loop is running.
        """
        observer = _probe.active
        if observer is not None and not self.is_running():
            observer.loop_closes(self)
        super().close()
        self._close_waiter()

    # ------------------------------------------------------------------ tasks

    def run_task(
        self,
        coro: Coroutine[Any, Any, T],
        *,
        name: str | None = None,
        context: Context | None = None,
    ) -> asyncio.Task[T]:
        """Wrap *coro* in a task and run it at once up to its first suspension.

        :param coro: A coroutine object.
        :param name: Name of the task (Python 3.8+).
        :param context: Context to run in instead of a copy of the current one
            (Python 3.11+).
        :raises RuntimeError: This loop is not the running one.
        """
        from ._tasks import run_task

        if events._get_running_loop() is not self:
            raise RuntimeError(f"{self!r} is not the running event loop")
        return run_task(coro, name=name, context=context)

    def exec_modal(self, fn: Callable[[], object]) -> None:
        """Have *fn* called right after the current callback, outside of any callback.

        Inside *fn* a nested Qt event loop (a modal dialog) does not hold the asyncio
        loop up.  Coroutines use :func:`qtinter.modal`, which also brings the result
        back.  An exception of *fn* goes to the loop's exception handler.

        :param fn: Called without arguments, on this thread.
        :raises TypeError: *fn* is not callable.
        :raises RuntimeError: Called outside of any callback or coroutine; in mode
            NATIVE; or while an earlier *fn* waits to be called.
        """
        if not callable(fn):
            raise TypeError(f"exec_modal expects a callable, but got {fn!r}")
        if self._mode is QiLoopMode.NATIVE:
            raise RuntimeError("exec_modal is not supported in NATIVE mode")
        if not self._in_turn and not (
            self.is_running() and tasks.current_task(self) is not None
        ):
            raise RuntimeError("exec_modal must be called from a coroutine or callback")
        if self._modal_pending():
            raise RuntimeError(
                "exec_modal: a function is already scheduled and pending; "
                "call it again after that one has run"
            )
        self._request_modal(fn)

    def _modal_failed(self, exc: BaseException) -> None:
        self.call_exception_handler(
            {
                "message": "Exception in a function given to exec_modal()",
                "exception": exc,
            }
        )

    def run_in_executor(  # type: ignore[override]
        self, executor: Any, func: Callable[..., Any], *args: Any
    ) -> Any:
        """Call *func* in a thread or process of an executor; see asyncio."""
        if (
            sys.version_info >= (3, 15)
            and executor is None
            and self._default_executor is None
            and not self._executor_shutdown_called
        ):
            # asyncio imports it lazily, which does not work beside PySide6 6.11: its
            # hook into import leaves attributes of modules unresolved.
            from concurrent.futures.thread import ThreadPoolExecutor

            self._default_executor = ThreadPoolExecutor(thread_name_prefix="asyncio")
        future = super().run_in_executor(executor, func, *args)
        if _probe.active is not None:
            _probe.active.job_submitted(self, future, func)
        return future

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        """Report an error to the exception handler; see asyncio."""
        if _probe.active is not None:
            _probe.active.exception_reported(self, context)
        super().call_exception_handler(context)

    # -------------------------------------------------------------- callbacks

    def _callback_failed(self, handle: Any, exc: BaseException) -> None:
        """Report what a callback raised; the core calls this."""
        where = format_helpers._format_callback_source(handle._callback, handle._args)
        context = {
            "message": f"Exception in callback {where}",
            "exception": exc,
            "handle": handle,
        }
        if handle._source_traceback:
            context["source_traceback"] = handle._source_traceback
        self.call_exception_handler(context)

    def _run_queued_step(self, task: Any) -> None:
        _tasks.run_queued_step(self, task)

    def _run_timed(self, handle: Any) -> None:
        """Debug mode: run a callback and report it when it took long."""
        self._current_handle = handle
        begin = self.time()
        try:
            handle._run()
            seconds = self.time() - begin
            if seconds >= self.slow_callback_duration:
                base_events.logger.warning(  # type: ignore[attr-defined]
                    "Executing %s took %.3f seconds",
                    base_events._format_handle(handle),  # type: ignore[attr-defined]
                    seconds,
                )
        finally:
            self._current_handle = None
            # The traceback of a task's exception leads to this frame: without this the
            # task would stay alive for as long as its own exception does.
            handle = None

    def _watch_foreign_selector(self) -> None:
        """Let Qt watch what a selector from the :mod:`selectors` module watches.

        The core calls this before the host sleeps.  Everything is registered anew,
        because a descriptor that was closed and opened again looks the same.
        """
        selector = self._selector
        waiter = self._waiter
        if selector is waiter or self._opaque_selector:
            return
        for fd in waiter._descriptors():
            waiter.unregister(fd)
        if hasattr(selector, "fileno"):
            waiter.register(selector.fileno(), selectors.EVENT_READ)
            return
        for key in (selector.get_map() or {}).values():
            waiter.register(key.fd, key.events)


class QiBaseSelectorEventLoop(
    SignalListening, QiBaseEventLoop, selector_events.BaseSelectorEventLoop
):
    """A loop over a selector.

    :param selector: A selector from the :mod:`selectors` module, or any object with its
        interface; by default a :class:`QiSelector`, whose waiting costs least.
    """

    _process_events = _core.Loop._process_selector_events

    def __init__(self, selector: selectors.BaseSelector | None = None) -> None:
        super().__init__(QiSelector() if selector is None else selector)

    def _make_socket_transport(
        self, sock: Any, protocol: Any, waiter: Any = None, **options: Any
    ) -> Any:
        if _REFUSES_DESCRIPTORS_IN_USE:
            self._ensure_fd_no_transport(sock)  # type: ignore[attr-defined]
        return _streams.socket_transport()(self, sock, protocol, waiter, **options)


class QiSelectorEventLoop(QiBaseSelectorEventLoop, asyncio.SelectorEventLoop):
    """asyncio's ``SelectorEventLoop``, inside Qt; the default except on Windows.

    :param selector: See :class:`QiBaseSelectorEventLoop`.
    """

    if _streams.IS_HOT:

        def _make_read_pipe_transport(
            self,
            pipe: Any,
            protocol: Any,
            waiter: Any = None,
            *args: Any,
            **options: Any,
        ) -> Any:
            return _streams.read_pipe_transport()(
                self, pipe, protocol, waiter, *args, **options
            )


@contextlib.contextmanager
def _wakeup_fd_kept() -> Iterator[None]:
    """Put ``signal.set_wakeup_fd()`` back as it was, whatever happens inside."""
    if threading.get_ident() != threading.main_thread().ident:
        yield
        return
    before = signal.set_wakeup_fd(-1)
    try:
        yield
    finally:
        try:
            signal.set_wakeup_fd(before, warn_on_full_buffer=False)
        except (OSError, ValueError):  # its owner has closed it meanwhile
            signal.set_wakeup_fd(-1)


class QiBaseProactorEventLoop(
    SignalListening, QiBaseEventLoop, proactor_events.BaseProactorEventLoop
):
    """A loop over a proactor, which is told what to do instead of what to watch.

    On Windows :class:`qtinter.QiProactorEventLoop` is the one to use.  This class, like
    asyncio's own base class, exists everywhere, for proactors of the program.

    :param proactor: Starts operations and reports their ends from ``select(timeout)``,
        as asyncio's ``IocpProactor`` does.  If it has a method ``fileno()``, Qt watches
        that descriptor, which is to be readable whenever ``select(0)`` would report
        something.  If it has none, the thread waits in ``select()``, and Qt's events
        come only between two waits.
    """

    def __init__(self, proactor: Any) -> None:
        # asyncio's class listens for signals from here to close(), and forgets who did
        # before; ours does while it runs.
        with _wakeup_fd_kept():
            super().__init__(proactor)
        self._opaque_selector = not hasattr(proactor, "fileno")

    if sys.version_info < (3, 8):

        def _make_self_pipe(self) -> None:
            super()._make_self_pipe()
            # 3.7 reads it from here on; a loop that begins to read when it runs, as
            # from 3.8 on, would read it twice.
            self._ready[-1].cancel()

    def close(self) -> None:
        """Close the loop, its proactor and its descriptors; again does nothing.

        :raises RuntimeError: The loop is running.
        """
        with _wakeup_fd_kept():
            super().close()
