"""Where a task of this process waits, in words: for a tool that asks (STACK).

A suspended coroutine knows what it awaits, and so on down to a future.  asyncio's
``Task.print_stack()`` shows only the outermost of these frames; here are all of them,
and which lock, event or queue of asyncio's is behind the future, and who holds it.

Nothing here runs until somebody asks; then on the thread of the task's loop, while no
step of the task runs.  Names, locations and counts only: no values, no reprs.
"""

from __future__ import annotations

import asyncio
import linecache
from typing import Any, Iterator

from .._tasks import coroutine_of

__all__ = ["task_stack"]

_DEEPEST = 64
_NAMED = 8
_FLAGS = ("cr_frame", "gi_frame", "ag_frame")
_AWAITED = ("cr_await", "gi_yieldfrom", "ag_await")

# What the waiting methods of asyncio's primitives belong to.
_PRIMITIVES = (
    asyncio.Lock,
    asyncio.Event,
    asyncio.Condition,
    asyncio.Semaphore,
    asyncio.Queue,
    getattr(asyncio, "Barrier", asyncio.Lock),
)


def task_stack(task: Any) -> str:
    """The await chain of a task, outermost first, in the form of a traceback.

    Last come lines ``waits for: ...`` and ``held by: ...``, if that can be known.
    """
    lines = [f"{_name_of(task)}: {_state_of(task)}"]
    frames = list(_frames(coroutine_of(task)))
    for frame in frames:
        code = frame.f_code
        lines.append(
            f'  File "{code.co_filename}", line {frame.f_lineno}, in {code.co_name}'
        )
        text = linecache.getline(code.co_filename, frame.f_lineno).strip()
        if text:
            lines.append(f"    {text}")
    if not frames:
        lines.append("  its coroutine has no frame: it has ended, or is no coroutine")
    for text in _awaited_tasks(task, frames):
        lines.append(text)
    primitive = _primitive_of(frames)
    if primitive is not None:
        lines.append(f"waits for: {_describe(primitive)}")
        for holder, frame in _holders(primitive, task):
            lines.append(
                f'held by: {_name_of(holder)}, File "{frame.f_code.co_filename}", '
                f"line {frame.f_lineno}, in {frame.f_code.co_name}"
            )
    return "\n".join(lines) + "\n"


def _name_of(task: Any) -> str:
    name = task.get_name() if hasattr(task, "get_name") else "task"
    code = getattr(coroutine_of(task), "__qualname__", "")
    return f"task {name!r}" + (f" ({code})" if code else "")


def _state_of(task: Any) -> str:
    if task.done():
        return "has ended"
    if getattr(task, "_must_cancel", False) or (
        hasattr(task, "cancelling") and task.cancelling()
    ):
        return "pending, was cancelled"
    return "pending"


def _frames(coro: Any) -> Iterator[Any]:
    """The frames of a suspended coroutine and of what it awaits, outermost first."""
    for _ in range(_DEEPEST):
        frame = _first_of(coro, _FLAGS)
        if frame is None:
            # An object with __await__ may hide another coroutine; a future ends it.
            return
        yield frame
        coro = _first_of(coro, _AWAITED)
        if coro is None:
            return


def _first_of(obj: Any, names: tuple[str, ...]) -> Any:
    for name in names:
        found = getattr(obj, name, None)
        if found is not None:
            return found
    return None


def _primitive_of(frames: list[Any]) -> Any:
    """The lock, event, queue... in whose method the task waits."""
    for frame in reversed(frames):
        found = frame.f_locals.get("self")
        if isinstance(found, _PRIMITIVES):
            return found
    return None


def _awaited_tasks(task: Any, frames: list[Any]) -> Iterator[str]:
    """What gather() and wait() wait for, those that are not done."""
    awaited = getattr(getattr(task, "_fut_waiter", None), "_children", None)
    if awaited is None and frames and frames[-1].f_code.co_name == "_wait":
        awaited = frames[-1].f_locals.get("fs")
    if not awaited:
        return
    pending = [child for child in awaited if not child.done()]
    tasks = [child for child in pending[:_NAMED] if coroutine_of(child) is not None]
    names = [_name_of(task) for task in tasks]
    more = len(pending) - len(names)
    if more:
        names.append(f"{more} more")
    yield f"waits for: {len(pending)} of {len(awaited)}: {', '.join(names)}"


def _describe(primitive: Any) -> str:
    """Type and counts."""
    words = [f"asyncio.{type(primitive).__name__}"]
    locked = getattr(primitive, "locked", None)
    if callable(locked):
        words.append("locked" if locked() else "unlocked")
    if isinstance(primitive, asyncio.Event):
        words.append("set" if primitive.is_set() else "not set")
    if isinstance(primitive, asyncio.Queue):
        words.append(f"{primitive.qsize()} items")
    waiters = getattr(primitive, "_waiters", None)
    if waiters is None and isinstance(primitive, asyncio.Queue):
        waiters = [*primitive._getters, *primitive._putters]  # type: ignore[attr-defined]
    if waiters:
        words.append(f"{len(waiters)} waiting")
    return ", ".join(words)


def _holders(primitive: Any, waiting: Any) -> Iterator[tuple[Any, Any]]:
    """Tasks that are inside of a block that has the lock, and the frame of the block.

    A lock does not know who has it.  But a task that is suspended between taking and
    releasing it has a frame that can reach it and does not wait for it.
    """
    if not isinstance(primitive, (asyncio.Lock, asyncio.Semaphore, asyncio.Condition)):
        return
    if not primitive.locked():
        return
    for task in asyncio.all_tasks(waiting.get_loop()):
        if task is waiting or task.done():
            continue
        frames = list(_frames(coroutine_of(task)))
        if _primitive_of(frames) is primitive:
            continue  # it waits, too
        for frame in reversed(frames):
            if _reaches(frame, primitive):
                yield task, frame
                break


def _reaches(frame: Any, primitive: Any) -> bool:
    """Whether a local variable is the object, or has it as an attribute."""
    names = frame.f_code.co_names  # attributes and globals that the code uses
    for value in frame.f_locals.values():
        if value is primitive:
            return True
        attributes = getattr(value, "__dict__", None)
        if isinstance(attributes, dict) and any(
            attributes.get(name) is primitive for name in names
        ):
            return True
    return any(frame.f_globals.get(name) is primitive for name in names)
