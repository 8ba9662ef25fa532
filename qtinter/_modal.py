"""modal: blocking Qt code, such as a dialog's exec(), in a coroutine."""

from __future__ import annotations

import asyncio
import contextvars
import functools
from typing import TYPE_CHECKING, Any, Callable, TypeVar

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from typing_extensions import ParamSpec

    _P = ParamSpec("_P")

__all__ = ("modal",)

_T = TypeVar("_T")


def modal(fn: Callable[_P, _T]) -> Callable[_P, Coroutine[Any, Any, _T]]:
    """Make a function that runs a nested Qt event loop usable in a coroutine.

    ``answer = await qtinter.modal(QMessageBox.question)(window, title, text)``

    :param fn: a function that may block in a Qt event loop, such as ``dialog.exec``.
    :returns: a coroutine function with the parameters of `fn`.  Awaited, it runs `fn`
        on this thread right after the awaiting task has suspended, outside of any task
        or callback, so that asyncio goes on inside of `fn`; and gives the result of
        `fn` or raises what it raised.

    Works in tasks, callbacks' tasks and the part of an ``asyncslot`` before its first
    suspension.  `fn` runs in a copy of the context of the awaiting task.

    Cancelling the await does not interrupt `fn`: it runs to its end and its result is
    dropped (an exception is then given to the loop's exception handler;
    KeyboardInterrupt and SystemExit stop the loop).  If the await is cancelled before
    `fn` has begun, `fn` is not run.

    When a second task uses modal() meanwhile, its function runs inside of the first
    one's, and the first cannot return before the second (a rule of Qt).

    :raises RuntimeError: (when awaited) the running loop is not a qtinter loop, or it
        runs in NATIVE mode, where there is no Qt event loop: for example while tasks
        are cancelled at the end of ``using_asyncio_from_qt()``.
    """

    async def wrapper(*args: _P.args, **kwargs: _P.kwargs) -> _T:
        from ._loop import QiBaseEventLoop

        loop = asyncio.get_running_loop()
        if not isinstance(loop, QiBaseEventLoop):
            raise RuntimeError(
                f"qtinter.modal() requires QiBaseEventLoop, but got {loop!r}: run the "
                "coroutine in using_asyncio_from_qt() or using_qt_from_asyncio()"
            )
        future: asyncio.Future[_T] = loop.create_future()
        call = functools.partial(fn, *args, **kwargs)
        context = contextvars.copy_context()
        loop.exec_modal(functools.partial(_run, context, call, future))
        return await future

    if hasattr(fn, "__name__"):
        return functools.wraps(fn)(wrapper)
    return wrapper


def _run(
    context: contextvars.Context, call: Callable[[], Any], future: asyncio.Future[Any]
) -> None:
    if future.done():
        return  # cancelled before its turn came
    try:
        result = context.run(call)
    except BaseException as exc:
        _deliver_exception(future, exc)
        # The traceback of exc holds this frame; let it not hold the future in turn.
        del future
    else:
        if not future.done():
            future.set_result(result)


def _deliver_exception(future: asyncio.Future[Any], exc: BaseException) -> None:
    if not future.done():
        if isinstance(exc, StopIteration):  # a future refuses it
            error = RuntimeError(
                "the function given to qtinter.modal() raised StopIteration"
            )
            error.__cause__ = exc
            exc = error
        future.set_exception(exc)
    elif isinstance(exc, Exception):
        future.get_loop().call_exception_handler(
            {
                "message": "Exception in a function given to qtinter.modal() whose "
                "await was cancelled",
                "exception": exc,
                "future": future,
            }
        )
    else:
        raise exc
