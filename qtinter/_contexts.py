"""Context managers that put a loop in place and clean up after it."""

from __future__ import annotations

import asyncio
import contextlib
import io
import threading
import warnings
from asyncio import events
from typing import TYPE_CHECKING, Any, Callable, Iterator

from ._loop import QiBaseEventLoop, QiLoopMode
from ._policy import (
    QiDefaultEventLoop,
    current_event_loop,
    default_policy,
    new_event_loop,
)
from ._slots import forget_abandoned_tasks

if TYPE_CHECKING:
    from collections.abc import Coroutine
    from types import TracebackType
    from typing import TypeVar

    T = TypeVar("T")

__all__ = ["QiRunner", "run", "using_asyncio_from_qt", "using_qt_from_asyncio"]

DEFAULT_SHUTDOWN_TIMEOUT = 10.0


class QiRunner(contextlib.ContextDecorator):
    """Attach an asyncio event loop to this thread's Qt event loop.

    ::

        with qtinter.QiRunner() as loop:
            app.exec()

    Between entry and exit the loop is running: ``asyncio.create_task()`` works in any
    slot.  Its callbacks run while a Qt event loop does.  On exit the loop is stopped,
    its tasks are cancelled and awaited, asynchronous generators and the default
    executor are shut down, and it is closed; for that Qt is not needed.

    It can also decorate a function, each call of which is then such a block.

    A ``KeyboardInterrupt`` or ``SystemExit`` in a callback stops the loop, quits the Qt
    event loop, and is raised on exit.

    :param debug: Debug mode of the loop; None leaves asyncio's default.
    :param loop_factory: Makes the loop, a :class:`QiBaseEventLoop`;
        :func:`new_event_loop` by default.
    :param shutdown_timeout: Seconds to wait on exit for cancelled tasks, and again for
        executor threads; what is left then is named in a :exc:`RuntimeWarning`.  None
        waits for ever.
    :raises TypeError: A parameter is of the wrong type; *loop_factory* made no loop of
        qtinter.
    :raises ValueError: *shutdown_timeout* is negative or NaN.
    :raises RuntimeError: On entry: another event loop runs on this thread, or there is
        no application object.
    """

    def __init__(
        self,
        *,
        debug: bool | None = None,
        loop_factory: Callable[[], QiBaseEventLoop] | None = None,
        shutdown_timeout: float | None = DEFAULT_SHUTDOWN_TIMEOUT,
    ) -> None:
        if loop_factory is not None and not callable(loop_factory):
            raise TypeError(
                "loop_factory must be a callable that returns a QiBaseEventLoop, not "
                f"{loop_factory!r}"
            )
        # Checked here: on exit it would be too late.
        if shutdown_timeout is not None:
            if not isinstance(shutdown_timeout, (int, float)):
                raise TypeError(
                    "shutdown_timeout must be a number of seconds or None, not "
                    f"{shutdown_timeout!r}"
                )
            if not shutdown_timeout >= 0:
                raise ValueError(
                    "shutdown_timeout must be at least 0 s, or None to wait for ever, "
                    f"not {shutdown_timeout!r}"
                )
        self._debug = debug
        self._loop_factory = loop_factory
        self._shutdown_timeout = shutdown_timeout
        self._loop: QiBaseEventLoop | None = None
        self._previous: asyncio.AbstractEventLoop | None = None

    def _recreate_cm(self) -> QiRunner:
        # What ContextDecorator enters for one call: calls may overlap on threads.
        return QiRunner(
            debug=self._debug,
            loop_factory=self._loop_factory,
            shutdown_timeout=self._shutdown_timeout,
        )

    def __enter__(self) -> QiBaseEventLoop:
        if self._loop is not None:
            raise RuntimeError("this QiRunner is already in use; make a new one")
        if events._get_running_loop() is not None:
            raise RuntimeError(
                "Cannot run the event loop while another loop is running on this thread"
            )
        loop = (self._loop_factory or QiDefaultEventLoop)()
        if not isinstance(loop, QiBaseEventLoop):
            raise TypeError(
                f"loop_factory must return a QiBaseEventLoop, but it returned {loop!r}"
            )
        previous = current_event_loop()
        try:
            if self._debug is not None:
                loop.set_debug(self._debug)
            loop.set_mode(QiLoopMode.GUEST)
            loop.start()
        except BaseException:
            loop.close()
            raise
        self._loop, self._previous = loop, previous
        asyncio.set_event_loop(loop)
        return loop

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        loop, self._loop = self._loop, None
        previous, self._previous = self._previous, None
        if loop is None:
            raise RuntimeError("this QiRunner is not in use: it has not been entered")
        if loop.is_running():
            loop.stop()
        interruption, loop._interruption = loop._interruption, None
        left: list[str] = []
        try:
            if not loop.is_closed():  # by the program, which may stop it as well
                loop.set_mode(QiLoopMode.NATIVE)
                left = _shut_down(loop, self._shutdown_timeout)
        finally:
            asyncio.set_event_loop(previous)
            loop.close()
            forget_abandoned_tasks()
        for what in left:
            warnings.warn(what, RuntimeWarning, stacklevel=2)
        if interruption is not None:
            try:
                raise interruption
            finally:
                del interruption  # its traceback refers to this frame


def using_asyncio_from_qt(
    *,
    debug: bool | None = None,
    loop_factory: Callable[[], QiBaseEventLoop] | None = None,
    shutdown_timeout: float | None = DEFAULT_SHUTDOWN_TIMEOUT,
) -> QiRunner:
    """Enable asyncio in the Qt program that the block runs; gives the loop.

    ::

        app = QtWidgets.QApplication([])
        with qtinter.using_asyncio_from_qt():
            app.exec()

    Returns a :class:`QiRunner`, which documents parameters and errors.
    """
    return QiRunner(
        debug=debug, loop_factory=loop_factory, shutdown_timeout=shutdown_timeout
    )


@contextlib.contextmanager
def using_qt_from_asyncio() -> Iterator[None]:
    """Let ``asyncio.run()`` inside the block use a loop that runs Qt.

    ::

        app = QtWidgets.QApplication([])
        with qtinter.using_qt_from_asyncio():
            asyncio.run(main())

    ``asyncio.run()`` without a ``loop_factory`` asks the event loop policy for a loop,
    so the block installs one, for the whole interpreter, and puts back what was there.
    Programs with loops in several threads pass ``loop_factory=qtinter.new_event_loop``
    instead (Python 3.11 or 3.12 and later), or call :func:`run`.
    """
    from . import QiDefaultEventLoopPolicy

    with default_policy(QiDefaultEventLoopPolicy()):
        yield


def run(main: Coroutine[Any, Any, T], *, debug: bool | None = None) -> T:
    """Run a coroutine to its end on a new qtinter loop, as ``asyncio.run()`` does.

    A ``QCoreApplication`` is made for the duration if there is no application object;
    programs with windows make a ``QApplication`` first.

    If somebody ends the Qt event loop meanwhile (``QCoreApplication.exit()``), tasks
    are cancelled and awaited without Qt, and RuntimeError tells of it.

    :param main: A coroutine object.
    :param debug: Debug mode; None leaves asyncio's default.
    :raises RuntimeError: Another event loop runs on this thread, or the Qt event loop
        was ended before `main` was.
    """
    from .bindings import QtCore

    if events._get_running_loop() is not None:
        raise RuntimeError("qtinter.run() cannot be called from a running event loop")
    if QtCore.QCoreApplication.instance() is not None:
        return _run(main, debug)
    app = QtCore.QCoreApplication([])
    try:
        return _run(main, debug)
    finally:
        if hasattr(app, "shutdown"):  # PySide keeps the object alive otherwise
            app.shutdown()


def _run(main: Coroutine[Any, Any, T], debug: bool | None) -> T:
    runner = getattr(asyncio, "Runner", None)
    if runner is not None:  # since 3.11
        with runner(debug=debug, loop_factory=_loop_for_run) as r:
            result: T = r.run(main)
        return result
    from . import QiDefaultEventLoopPolicy

    policy = QiDefaultEventLoopPolicy()
    policy._loop_factory = _loop_for_run
    with default_policy(policy):
        return asyncio.run(main, debug=debug)


def _loop_for_run() -> QiDefaultEventLoop:
    loop = new_event_loop()
    loop._native_after_qt = True
    return loop


# ------------------------------------------------------------------ cleaning up


def _shut_down(loop: QiBaseEventLoop, timeout: float | None) -> list[str]:
    """Shut the loop down; returns a text for each thing that did not end in time."""
    left: list[str] = []
    tasks = asyncio.all_tasks(loop)
    # Before anything runs again: a task that never began is not to begin now.
    for task in tasks:
        task.cancel()
    if tasks:
        left += loop.run_until_complete(_end_tasks(loop, tasks, timeout))
    loop.run_until_complete(loop.shutdown_asyncgens())
    left += loop.run_until_complete(_end_executor(loop, timeout))
    return left


async def _end_tasks(
    loop: QiBaseEventLoop, tasks: set[asyncio.Task[Any]], timeout: float | None
) -> list[str]:
    done, pending = await asyncio.wait(tasks, timeout=timeout)
    for task in done:
        if not task.cancelled() and task.exception() is not None:
            loop.call_exception_handler(
                {
                    "message": "unhandled exception while the event loop was shut down",
                    "exception": task.exception(),
                    "task": task,
                }
            )
    for task in pending:
        # It is named now, so not once more when it is collected.
        task._log_destroy_pending = False  # type: ignore[attr-defined]
    return [
        f"{task!r} did not end within {timeout} s of being cancelled and is "
        f"abandoned. It is at:\n{_stack_of(task)}"
        for task in pending
    ]


def _stack_of(task: asyncio.Task[Any]) -> str:
    text = io.StringIO()
    task.print_stack(file=text)
    return text.getvalue()


async def _end_executor(loop: QiBaseEventLoop, timeout: float | None) -> list[str]:
    """Shut the default executor down as asyncio does, but not for ever.

    asyncio gained a time limit in 3.12; before, its clean-up joins the helper thread
    whatever happens.
    """
    loop._executor_shutdown_called = True
    executor = loop._default_executor
    if executor is None:
        return []
    done = loop.create_future()

    def wait_for_threads() -> None:
        executor.shutdown(wait=True)
        with contextlib.suppress(RuntimeError):  # closed: nobody waits any more
            loop.call_soon_threadsafe(done.cancel)

    helper = threading.Thread(
        target=wait_for_threads, name="qtinter executor shutdown", daemon=True
    )
    helper.start()
    await asyncio.wait({done}, timeout=timeout)
    if done.done():
        helper.join()
        return []
    busy = sorted(
        thread.name for thread in getattr(executor, "_threads", ()) if thread.is_alive()
    )
    return [
        f"threads of the event loop's default executor did not end within {timeout} s: "
        f"{', '.join(busy) or 'unknown'}"
    ]
