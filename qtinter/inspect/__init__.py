"""Showing what the loops of this process do, to tools outside of it.

``qtinter.inspect.enable()`` (or ``QTINTER_INSPECT=1`` in the environment) makes the
loop core write the state of tasks, asyncslots, signal waits, timers and watches, and an
event for each step, into a memory-mapped segment, from where a daemon mirrors them to
tools such as ``qtinter-inspect``.  The program never waits for any of them, and does
not notice whether they are there.

Levels: 0 nothing, 1 state only, 2 state and events, 3 also where tasks were created and
where they wait, 4 also the repr of what they wait for.
"""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import os
import sys
import warnings
from typing import TYPE_CHECKING, Any

from .. import _core, _probe
from .._version import __version__
from . import _lints, _record, _stacks
from ._observer import Observer
from ._record import flight, record, save

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = [
    "connect",
    "disable",
    "dump",
    "enable",
    "flight",
    "is_enabled",
    "mark",
    "record",
    "save",
    "segment_path",
    "snapshot",
    "span",
    "statistics",
]

_EXIT_TIMEOUT_MS = 200
_LAST = -100  # priority among what multiprocessing does at the end of a child
_watches_multiprocessing = False
_keeps_segment = False  # at the exit; see keep_segment()
_ends: list[Any] = []  # what multiprocessing would do at the end; one, or none


def enable(
    level: int = 2,
    name: str | None = None,
    address: str | os.PathLike[str] | None = None,
    control: bool = False,
    *,
    directory: str | os.PathLike[str] | None = None,
    ring: int | None = None,
    connect: bool = True,
    stack_signal: int | None = None,
    lints: Mapping[str, Any] | bool | None = None,
) -> None:
    """Begin to show the loops of this process; if they are shown, change the level.

    :param level: 1 to 4, see above.
    :param name: what tools call the program; by default the name of its executable.
    :param address: path of the daemon's socket; by default ``qtinterd.sock`` in the
        runtime directory.
    :param control: let tools cancel tasks.
    :param directory: where the segment is made; by default ``$QTINTER_RUNTIME_DIR``,
        ``$XDG_RUNTIME_DIR/qtinter`` or ``/tmp/qtinter-UID``.
    :param ring: how many events are kept, a power of two; 65,536 by default (2 MiB).
    :param connect: look for a daemon.  Without, only the segment is written.
    :param stack_signal: the signal by which the stack of a loop's thread is taken that
        hangs; 0: none.  By default ``$QTINTER_INSPECT_SIGNAL`` (a number or a name),
        else ``SIGRTMAX - 3``.  If it is in use there are no such stacks:
        ``statistics()["stacks_state"]`` says so.
    :param lints: what the program wants of findings, as the table
        ``[tool.qtinter.lints]`` of its pyproject.toml, which is read if this is None;
        False: the defaults.
    :raises ValueError: an argument is out of range, or that table is not as it must be.
    :raises OSError: the segment cannot be made.

    To be called on the thread of a loop, or before loops run.  Tasks that exist already
    are shown from here on.  In the server process of :mod:`multiprocessing` that forks
    children ("forkserver") each child is shown instead, from its beginning on.
    """
    if not 1 <= level <= 4:
        raise ValueError(f"level must be 1 to 4, not {level!r}")
    _record.keep_enabled()
    if _core.inspect_is_open():
        _set_level(level)
        return
    number = _stacks.number_of(stack_signal)
    wanted = _lints.configuration(lints)
    if _is_forkserver():
        _enable_in_children(
            level=level, name=name, address=address, control=control,
            directory=directory, ring=ring, connect=connect,
            stack_signal=stack_signal, lints=lints,
        )  # fmt: skip
        return
    binding, qt = _loaded_binding()
    _core.inspect_open(
        {
            "level": level,
            "name": name if name is not None else _program_name(),
            "address": None if address is None else os.fspath(address),
            "control": int(control),
            "directory": None if directory is None else os.fspath(directory),
            "ring": ring,
            "connect": int(connect),
            "qtinter": __version__,
            "python": sys.version.split()[0],
            "binding": binding,
            "qt": qt,
            "trace_id": _trace_id(),
            "lints": wanted,
            "answer": _answer,
        }
    )
    if connect:
        _stacks.begin(number)
    _probe.active = Observer()
    atexit.register(_disable_at_exit)
    _end_with_multiprocessing()
    _watch_forks()
    _adopt_running_loop()


def disable() -> None:
    """Stop showing the loops of this process; does nothing if they are not shown."""
    _close(timeout_ms=1000, keep=False)


def _close(timeout_ms: int, keep: bool) -> None:
    global _keeps_segment
    _keeps_segment = False
    atexit.unregister(_disable_at_exit)
    while _ends:
        _ends.pop().cancel()
    _drop_observer()
    _stacks.end()
    _core.inspect_close(timeout_ms, int(keep))


def _end_with_multiprocessing(_: Any = None) -> None:
    """Sees to the end of a child of multiprocessing, which leaves past atexit.

    What a child has registered before its own work begins is dropped then, and whoever
    wants to know of that is called: this function, once more.
    """
    global _watches_multiprocessing
    util: Any = sys.modules.get("multiprocessing.util")
    if util is None:
        return
    if not _watches_multiprocessing:
        _watches_multiprocessing = True
        util.register_after_fork(_disable_at_exit, _end_with_multiprocessing)
    if _core.inspect_is_open():
        _ends[:] = [util.Finalize(None, _disable_at_exit, exitpriority=_LAST)]


def _is_forkserver() -> bool:
    """Whether the server that forks children for multiprocessing imports this.

    From Python 3.14 on it imports the program, so that its children need not.
    """
    frame = sys._getframe() if "multiprocessing.forkserver" in sys.modules else None
    while frame is not None:
        if frame.f_globals.get("__name__") == "multiprocessing.forkserver":
            return frame.f_code.co_name != "_serve_one"  # which a child runs
        frame = frame.f_back
    return False


def _enable_in_children(**options: Any) -> None:
    """Not in this process: one that forks should have no other thread."""
    from multiprocessing import util

    server = os.getpid()

    def in_child(_: Any) -> None:
        if os.getppid() == server:  # not a child's own child
            enable(**options)

    util.register_after_fork(enable, in_child)


def _drop_observer() -> None:
    observer, _probe.active = _probe.active, None
    if observer is not None:
        observer.close()


def _set_level(level: int) -> None:
    """Changes the level; at 0 nothing is observed, and nothing shown any more."""
    before = _core.inspect_level()
    if level == 0:
        _drop_observer()
    _core.inspect_level(level)
    if before == 0 < level:
        _probe.active = Observer()
        _adopt_running_loop()


_watches_forks = False


def _watch_forks() -> None:
    global _watches_forks
    if not _watches_forks:
        os.register_at_fork(after_in_child=_forget_in_child)
        _watches_forks = True


def _forget_in_child() -> None:
    # The segment is the parent's; a child that wants to be shown calls enable().
    if _core.inspect_is_open():
        observer, _probe.active = _probe.active, None
        if observer is not None:
            observer.on = False  # not close(): its rows are not there any more
        _close(timeout_ms=0, keep=False)
        if os.environ.get("QTINTER_TRACE_DIR"):
            from ..trace import _child

            _child.begin_after_fork()


def _disable_at_exit() -> None:
    _close(timeout_ms=_EXIT_TIMEOUT_MS, keep=_keeps_segment)


def keep_segment() -> None:
    """Have the segment stay when this process ends: who started it looks at it."""
    global _keeps_segment
    _keeps_segment = True


def is_enabled() -> bool:
    """Whether the loops of this process are shown."""
    return bool(_core.inspect_is_open())


def statistics() -> dict[str, Any]:
    """What the client did: connections, frames, bytes, rows, records, gaps, its state.

    Of the stacks taken by a signal: ``stacks``, how many; ``stack_longest``, the most
    nanoseconds that one took of its thread's time; ``stacks_state``, ``"on"`` or why
    there are none.

    :raises RuntimeError: inspection is not enabled.
    """
    found = _core.inspect_stats()
    if _stacks.reason:
        found["stacks_state"] = f"off: {_stacks.reason}"
    return found


def segment_path() -> str:
    """Path of the segment of this process.

    :raises RuntimeError: inspection is not enabled.
    """
    return _core.inspect_segment_path()


def dump(path: str | os.PathLike[str]) -> None:
    """Write a copy of the segment, for ``qtinter-inspect crash PATH``.

    :raises RuntimeError: inspection is not enabled.
    :raises OSError: the file cannot be written.
    """
    _core.inspect_dump(path)


def mark(name: str) -> None:
    """Leave a mark in the record of events; does nothing while inspection is off."""
    if _probe.active is not None:
        _probe.active.mark(asyncio._get_running_loop(), name)


@contextlib.contextmanager
def span(name: str) -> Iterator[None]:
    """Mark the beginning and the end of a block in the record of events."""
    observer = _probe.active
    end = None
    if observer is not None:
        end = observer.span(asyncio._get_running_loop(), name)
    try:
        yield
    finally:
        if end is not None:
            end()


def snapshot() -> Any:
    """Return the state of this process as tools see it, read from its own segment.

    :returns: a :class:`qtinter.inspect.model.Snapshot`.
    :raises RuntimeError: inspection is not enabled.
    """
    from .segment import read_snapshot

    return read_snapshot(segment_path())


def connect(address: str | os.PathLike[str] | None = None, **options: Any) -> Any:
    """Connect to the daemon; see :func:`qtinter.inspect.feed.connect`."""
    from .feed import connect

    return connect(address, **options)


def enable_from_environment() -> None:
    """Do what ``QTINTER_INSPECT`` says: a level, or the path of a daemon's socket."""
    value = os.environ.get("QTINTER_INSPECT", "")
    if value in ("", "0"):
        return
    try:
        if value.isdecimal():
            enable(level=2 if value == "1" else min(4, int(value)))
        else:
            enable(address=value)
    except (OSError, RuntimeError, ValueError) as exc:
        # Not a reason for the program not to start.
        warnings.warn(f"QTINTER_INSPECT={value}: {exc}", RuntimeWarning, stacklevel=2)


# --- helpers -------------------------------------------------------------------------


def _program_name() -> str:
    name = os.path.basename(sys.argv[0]) if sys.argv and sys.argv[0] else ""
    return name if name not in ("", "-c", "-m") else "python"


def _trace_id() -> str:
    """What recordings of processes that belong together have in common."""
    text = os.environ.get("QTINTER_TRACE_ID", "")
    return text.encode("utf-8", "replace").decode()


def _loaded_binding() -> tuple[str, str]:
    """Name and Qt version of the binding that is imported; chooses none.

    Where none, or more than one, is imported, bindings.py tells when one is chosen.
    """
    chosen = sys.modules.get("qtinter.bindings")
    if chosen is not None and hasattr(chosen, "QtCore"):
        return chosen.binding_name, str(chosen.QtCore.qVersion())
    names = ("PyQt6", "PySide6", "PyQt5", "PySide2")
    found = [name for name in names if sys.modules.get(name + ".QtCore") is not None]
    if len(found) == 1:
        return found[0], str(sys.modules[found[0] + ".QtCore"].qVersion())
    return "", ""


def _adopt_running_loop() -> None:
    loop: Any = asyncio._get_running_loop()
    if loop is None or not issubclass(type(loop), _core.Loop):
        return
    _core.inspect_adopt_loop(loop)
    current = asyncio.current_task(loop)
    others = [task for task in asyncio.all_tasks(loop) if task is not current]
    _core.inspect_adopt_tasks(loop, others)
    if current is not None:
        _core.inspect_adopt_running(loop, current)


def _answer(kind: str, task: Any, message: str, level: int) -> str:
    """Does what a tool asks for, on the thread of a loop; the core calls this."""
    if kind == "level":
        _set_level(level)
        return ""
    if kind == "cancel":
        task.cancel(message) if message and sys.version_info >= (
            3,
            9,
        ) else task.cancel()
        return "cancelled"
    if task is not None:
        from ._awaits import task_stack

        return task_stack(task)
    import traceback

    return "".join(traceback.format_stack())
