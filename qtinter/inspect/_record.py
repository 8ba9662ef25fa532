"""Recording what the loops of this process do into a file, by a thread in C.

The program never waits for the disk: what the thread does not come round to is counted
as lost, in the file itself.  Files are read with :mod:`qtinter.trace` and
``qtinter-inspect replay``.
"""

from __future__ import annotations

import os
import warnings
from typing import TYPE_CHECKING, Any

from .. import _core

if TYPE_CHECKING:
    from types import TracebackType

_KEEP = ("always", "on_error")
_STOP_TIMEOUT_MS = 5000
_MAX_BYTES_LEAST = 65_536  # room for a chunk and what is live

# The recordings in progress and the level that each wants; the level without them; the
# level that was set for them; and whether inspection was switched on for them.
_users: dict[Recording, int] = {}
_base_level = 0
_our_level = 0
_enabled_here = False


def record(
    path: str | os.PathLike[str],
    *,
    keep: str = "always",
    max_bytes: int | None = None,
    max_age: float | None = None,
    level: int | None = None,
) -> Recording:
    """Begin to record the loops of this process into a file, and return the recording.

    ::

        with qtinter.inspect.record("save.qtrace"):
            await window.save()

    :param path: of the file; a recording of the same user is replaced, any other file
        is an error.
    :param keep: ``"always"``, or ``"on_error"``: the file is removed unless an
        exception leaves the block.
    :param max_bytes: keep the file below it, 65,536 or more: the oldest part goes.
    :param max_age: seconds; what is older goes.
    :param level: of the inspection meanwhile, 2 to 4, if it is lower now.
    :raises OSError: the file cannot be made (``FileExistsError``: see above, or it is
        being recorded into already).
    :raises ValueError: an argument is out of range.

    If inspection is off it is switched on, without looking for a daemon, until the end
    of the last such recording.  To be called where :func:`enable` may be.
    """
    if keep not in _KEEP:
        raise ValueError(f"keep must be 'always' or 'on_error', not {keep!r}")
    options = {"max_bytes": _bytes(max_bytes), "max_age_ns": _ns("max_age", max_age)}
    return Recording(path, options, level=level, keep=keep)


def flight(
    path: str | os.PathLike[str],
    *,
    on: str = "stall>200ms",
    max_bytes: int | None = 64 << 20,
    max_age: float | None = None,
    pre: float = 10.0,
    post: float = 2.0,
    level: int | None = None,
) -> Recording:
    """Keep the last seconds, and write them to a file when something happens.

    :param path: of the file, which holds the last capture; see :func:`record`.
        Meanwhile ``path.part`` holds what a capture would be made of: it is removed at
        the end, and is what a killed process leaves.
    :param on: ``"stall>200ms"`` (a step or callback runs that long, or Qt does
        something else for so long after a timer of the loop was due), ``"exception"``
        (a task fails or a callback raises), ``"lint"`` (a task blocked for 100 ms, was
        destroyed while pending, or failed unobserved; a sender that is awaited was
        destroyed; a nested loop was entered in a task), or several, with ``|`` between.
    :param max_bytes: of ``path.part``.
    :param max_age: seconds that are kept; at least ``pre`` + ``post``.
    :param pre: seconds before the trigger that are in the capture.
    :param post: seconds after it.

    A stall that outlasts ``post`` is captured while it lasts, and once more when it
    ends.  Parameters and errors otherwise as those of :func:`record`.
    """
    options = {
        "max_bytes": _bytes(max_bytes),
        "max_age_ns": _ns("max_age", max_age),
        "on": on,
        "pre_ns": _ns("pre", pre),
        "post_ns": _ns("post", post),
    }
    return Recording(path, options, level=level)


def save(path: str | os.PathLike[str], first: int = 0) -> None:
    """Write the events that are still in memory, and the state now, as a recording.

    :param first: number of the first event; those before it are left out.
    :raises RuntimeError: inspection is not enabled.
    :raises OSError: the file cannot be written.
    """
    _core.inspect_save_trace(path, first)


class Recording:
    """A recording in progress; a context manager that stops it.

    :ivar path: of the file, absolute.
    """

    path: str

    def __init__(
        self,
        path: str | os.PathLike[str],
        options: dict[str, Any],
        *,
        level: int | None = None,
        keep: str = "always",
    ) -> None:
        self.path = os.path.abspath(os.fsdecode(path))
        self._keep = keep
        self._pid = os.getpid()
        self._last: dict[str, Any] = {}
        self._running = False
        _begin(self, level)
        try:
            self._handle = _core.inspect_record_start(self.path, options)
        except BaseException:
            _end(self)
            raise
        self._running = True

    def statistics(self) -> dict[str, Any]:
        """What is in it: records, lost, chunks, bytes, captures; and its state.

        ``state`` is "recording", "ended" or "failed", and ``reason`` then says why.
        """
        if self._running and self._pid == os.getpid():
            try:
                self._last = _core.inspect_record_stats(self._handle)
            except (RuntimeError, ValueError):
                self._last = dict(self._last, state="ended")  # disable() ended it
        return self._last

    def stop(self) -> dict[str, Any]:
        """End it, and return its statistics; nothing happens the second time.

        A recording that failed (the disk is full, the file was removed), or of which a
        capture did, is a ``RuntimeWarning``.
        """
        if not self._running or self._pid != os.getpid():
            return self._last  # in a forked child: the parent goes on
        self._running = False
        try:
            self._last = _core.inspect_record_stop(self._handle, _STOP_TIMEOUT_MS)
        except (RuntimeError, ValueError):
            self._last = dict(self._last, state="ended")  # disable() ended it
        except OSError as exc:
            self._last = dict(self._last, state="failed", reason=str(exc))
        finally:
            _end(self)
        if self._last.get("reason"):
            # "capture: ..." if it went on nevertheless.
            warnings.warn(
                f"the recording {self.path} is not complete: {self._last['reason']}",
                RuntimeWarning,
                stacklevel=3,
            )
        return self._last

    def __enter__(self) -> Recording:
        if not self._running:
            raise RuntimeError(f"{self!r} cannot be entered: begin another one")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        was_running = self._running
        self.stop()
        if self._keep == "on_error" and kind is None and was_running:
            _remove(self.path)

    def __repr__(self) -> str:
        state = "recording" if self._running else "ended"
        return f"<{type(self).__name__} {self.path!r} {state}>"


# --- helpers -------------------------------------------------------------------------


def _ns(name: str, seconds: float | None) -> int | None:
    if seconds is None:
        return None
    if not isinstance(seconds, (int, float)):
        raise TypeError(f"{name} must be a number of seconds, not {seconds!r}")
    if not 0 <= seconds < 1e9:
        raise ValueError(f"{name} must be seconds, 0 or more, not {seconds!r}")
    return int(seconds * 1e9)


def _bytes(size: int | None) -> int | None:
    """Checks ``max_bytes``; 0 is no limit, as None is."""
    if size is None or size == 0:
        return None
    if not isinstance(size, int):
        raise TypeError(f"max_bytes must be a whole number, not {size!r}")
    if not _MAX_BYTES_LEAST <= size < 1 << 63:
        raise ValueError(f"max_bytes must be 65536 or more, not {size!r}")
    return size


def _begin(recording: Recording, level: int | None) -> None:
    """Sees to it that there is something to record."""
    global _base_level, _enabled_here
    from . import _stacks, enable

    if not hasattr(_core, "inspect_record_start"):
        raise RuntimeError(
            "this build of qtinter makes no recordings: msgpack-c was not found"
        )
    wanted = 2 if level is None else level
    if not isinstance(wanted, int):
        raise TypeError(f"level must be 2 to 4, not {level!r}")
    if not 2 <= wanted <= 4:
        raise ValueError(f"level must be 2 to 4, not {level!r}")
    if not _core.inspect_is_open():
        _users.clear()  # of an inspection that somebody has ended
        enable(wanted, connect=False)
        _stacks.begin(_stacks.number_of(None))  # a stall that is recorded has one
        _enabled_here = True
        _base_level = wanted
    elif not _users:
        _base_level = _core.inspect_level()
    _users[recording] = wanted
    _change_level(max(_core.inspect_level(), wanted))


def _end(recording: Recording) -> None:
    global _enabled_here
    from . import disable

    if _users.pop(recording, None) is None or not _core.inspect_is_open():
        return  # disable() was called meanwhile
    if _enabled_here and not _users:
        _enabled_here = False
        disable()
    elif _core.inspect_level() == _our_level:  # nobody else has changed it
        _change_level(max([_base_level, *_users.values()]))


def _change_level(level: int) -> None:
    global _our_level
    from . import _set_level

    _our_level = level
    if level != _core.inspect_level():
        _set_level(level)


def keep_enabled() -> None:
    """The program wants inspection itself: it stays on when the recordings end."""
    global _enabled_here
    _enabled_here = False


def _remove(path: str) -> None:
    try:
        os.unlink(path)
    except FileNotFoundError:
        pass  # somebody else did
