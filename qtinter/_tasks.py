"""run_task: a task whose first step runs before the call returns.

Our loops do this in C (first_step.c).  On another loop, asyncio does it from Python
3.12 on (``eager_start``); before, and under a task factory, the task is created as
asyncio does it, the handle of its first step is taken back from the loop, and the step
is run here.
"""

from __future__ import annotations

import asyncio
import functools
import inspect
import sys
from asyncio.tasks import _enter_task, _leave_task
from typing import TYPE_CHECKING, Any, Callable, TypeVar

if TYPE_CHECKING:
    from collections.abc import Coroutine
    from contextvars import Context

from . import _core, _probe

__all__ = ("run_task",)

_T = TypeVar("_T")

_HAS_EAGER_START = sys.version_info >= (3, 12)
_EAGER_TASK_FACTORY = getattr(asyncio, "eager_task_factory", None)

_current_task = asyncio.current_task
_get_running_loop = asyncio._get_running_loop
_new_task = asyncio.Task.__new__


def run_task(
    coro: Coroutine[Any, Any, _T],
    *,
    allow_task_nesting: bool = True,
    name: str | None = None,
    context: Context | None = None,
) -> asyncio.Task[_T]:
    """Create a task and run it up to its first suspension before returning.

    The first step has the caller on its stack and runs ahead of everything that is
    queued in the loop; later steps are run by the loop.  A coroutine that never
    suspends has ended when this returns.

    :param coro: the coroutine to run; it belongs to the task from here on.
    :param allow_task_nesting: whether this may be called from a task.  The calling task
        is suspended for the length of the step: ``asyncio.current_task()`` is the new
        task in it and the caller again afterwards.
    :param name: name of the task; tasks have none before Python 3.8.
    :param context: context of the task; a copy of the current one if None.  Needs
        Python 3.11.
    :returns: the task.  Keep a reference to it: asyncio itself does not.

    An exception of the coroutine is stored in the task.  KeyboardInterrupt and
    SystemExit raised in the first step are also raised here, and then no task is
    returned.

    Works on every asyncio event loop, with any task factory (a task that the factory
    has started eagerly is returned as it is).  To be called on the thread of the
    running loop.

    :raises RuntimeError: no event loop is running on this thread, or this was called
        from a task and `allow_task_nesting` is False.
    :raises TypeError: `coro` is not a coroutine, or `context` is given before
        Python 3.11.
    """
    loop = _get_running_loop()
    if loop is None:
        raise RuntimeError(
            "no running event loop: run_task runs the first step at once, which needs "
            "the event loop of this thread to be running"
        )
    if not allow_task_nesting and _current_task(loop) is not None:
        raise RuntimeError(
            "cannot call run_task from a running task when allow_task_nesting is False"
        )
    factory = loop.get_task_factory()
    if factory is not None and factory is not _EAGER_TASK_FACTORY:
        return _run_made_task(loop, coro, name, context)
    try:
        start = loop._start_task  # type: ignore[attr-defined]
    except AttributeError:  # another loop
        if _HAS_EAGER_START:
            return _run_eager_task(loop, coro, name, context)
        return _run_captured_task(loop, asyncio.Task, coro, name, context)
    return start(coro, name, context)  # type: ignore[no-any-return]


def run_queued_step(loop: Any, task: Any) -> None:
    """Runs the first step of a task, whose handle is somewhere in the ready queue."""
    for handle in reversed(tuple(loop._ready)):
        if getattr(handle._callback, "__self__", None) is task:
            run, step = handle._context.run, handle._callback
            handle.cancel()
            _run_first_step(loop, task, run, step)
            break


def _run_made_task(
    loop: Any, coro: Coroutine[Any, Any, _T], name: str | None, context: Context | None
) -> asyncio.Task[_T]:
    """Has the loop's task factory make the task."""
    try:
        loop._hold_turns()
    except AttributeError:  # another loop
        return _run_captured_task(loop, loop.create_task, coro, name, context)
    try:
        return _run_captured_task(loop, loop.create_task, coro, name, context)
    finally:
        loop._let_turns_go()


def _run_eager_task(
    loop: Any, coro: Coroutine[Any, Any, _T], name: str | None, context: Context | None
) -> asyncio.Task[_T]:
    # Allocated apart from its initialisation: if the step raises KeyboardInterrupt,
    # the task is still at hand and can be kept from reporting it a second time.
    task: Any = _new_task(asyncio.Task)
    try:
        task.__init__(coro, loop=loop, name=name, context=context, eager_start=True)
    except (KeyboardInterrupt, SystemExit):
        task._log_traceback = False
        raise
    return task  # type: ignore[no-any-return]


def _run_captured_task(
    loop: Any,
    create: Callable[..., Any],
    coro: Coroutine[Any, Any, _T],
    name: str | None,
    context: Context | None,
) -> asyncio.Task[_T]:
    """Creates a task, watching which handle its first step gets.

    A task asks for its first step with loop.call_soon(); while the task is created, an
    attribute of the loop of that name sees the call.  Once the task is known, its
    handle is cancelled and the step is run here.  A task without a handle has been
    started by its factory.
    """
    keywords = _keywords(name, context)
    if create is asyncio.Task:
        keywords["loop"] = loop
    call_soon = loop.call_soon
    seen: list[tuple[Any, Any, Any]] = []

    def watch(callback: Any, *args: Any, context: Any = None) -> Any:
        handle = call_soon(callback, *args, context=context)
        if asyncio.isfuture(getattr(callback, "__self__", None)):
            seen.append((callback, handle, context))
        return handle

    shadowed = vars(loop).get("call_soon", seen)
    loop.call_soon = watch
    try:
        task = create(coro, **keywords)
    finally:
        if shadowed is seen:
            del loop.call_soon
        else:
            loop.call_soon = shadowed
    for callback, handle, step_context in seen:
        if callback.__self__ is task and not _has_begun(coro):
            handle.cancel()
            run = step_context.run if step_context is not None else _run_here
            _run_first_step(loop, task, run, callback)
            break
    return task  # type: ignore[no-any-return]


def _keywords(name: str | None, context: Context | None) -> dict[str, Any]:
    """Arguments for a task; before 3.8 tasks have no name, before 3.11 no context."""
    keywords: dict[str, Any] = {}
    if name is not None and sys.version_info >= (3, 8):
        keywords["name"] = name
    if context is not None:
        keywords["context"] = context
    return keywords


def coroutine_of(task: Any) -> Any:
    """The coroutine of a task; None of what is no task, or has given it up.

    An eager task that ended at once has none, and CPython 3.12.1 crashes in get_coro()
    then; 3.7 has no get_coro().
    """
    try:
        return task._coro
    except AttributeError:  # a task of another make, or none
        get_coro = getattr(task, "get_coro", None)
        return None if get_coro is None else get_coro()


def _has_begun(coro: Any) -> bool:
    """Whether a factory has run the first step: then the handle is that of the next."""
    try:
        return inspect.getcoroutinestate(coro) != inspect.CORO_CREATED
    except AttributeError:  # not a coroutine of the interpreter's own
        return False


def _run_here(callback: Callable[[], Any]) -> None:
    callback()


def _run_first_step(
    loop: Any, task: Any, run: Callable[..., Any], step: Callable[[], Any]
) -> None:
    """Runs step with no task current, as the loop would, and restores the caller's."""
    caller = _current_task(loop)
    if caller is not None:
        _leave_task(loop, caller)
    try:
        if _probe.active is None:
            run(step)
        else:
            _core.inspect_step(
                loop, task, coroutine_of(task), functools.partial(run, step)
            )
    except (KeyboardInterrupt, SystemExit):
        task._log_traceback = False  # it is raised here; not to be reported again
        raise
    finally:
        if caller is not None:
            _enter_task(loop, caller)
