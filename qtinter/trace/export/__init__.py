"""Recordings in the formats of others: Perfetto, Chrome, JSON lines, CSV, a web page.

Each format is a module with ``write(source, out, *, t0=None, t1=None)``.  None of them
keeps a whole recording in memory.
"""

from __future__ import annotations

import importlib
import os
from typing import IO, TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .._source import Source

__all__ = ["FORMATS", "export", "write"]

# Name: what files of it are called.
FORMATS = {
    "perfetto": ".pftrace",
    "chrome": ".json",
    "jsonl": ".jsonl",
    "csv": ".csv",
    "html": ".html",
}


def write(
    source: Source,
    out: IO[bytes],
    format: str,  # noqa: A002 - the word that users know
    *,
    t0: int | None = None,
    t1: int | None = None,
) -> dict[str, Any]:
    """Write a recording to an open binary file, which stays open.

    :raises ValueError: there is no such format.

    See :func:`export`.
    """
    _check(format)
    module = importlib.import_module(f"{__name__}.{format}")
    counts: dict[str, Any] = module.write(source, out, t0=t0, t1=t1)
    return counts


def export(
    source: Source,
    path: str | os.PathLike[str],
    format: str,  # noqa: A002
    *,
    t0: int | None = None,
    t1: int | None = None,
) -> dict[str, Any]:
    """Write a recording to a file, which appears when it is complete.

    :param source: what was recorded: :attr:`qtinter.trace.Trace.source`.
    :param path: where to; an existing file is replaced.
    :param format: a key of :data:`FORMATS`.
    :param t0: leave out what is before, ns of the recorded process's clock.
    :param t1: leave out what is after.
    :returns: counts of what was written, ``events`` among them.
    :raises ValueError: there is no such format, or the file is the recording itself.
    :raises OSError: the file cannot be written.
    """
    _check(format)
    path = os.fsdecode(path)
    if source.path is not None and _is_same(source.path, path):
        raise ValueError(f"{path} is the recording itself: write to another file")
    if os.path.exists(path) and not os.path.isfile(path):  # a pipe, a terminal
        with open(path, "wb") as out:
            return write(source, out, format, t0=t0, t1=t1)
    part = f"{path}.{os.getpid()}.part"
    with open(part, "xb") as out:
        try:
            counts = write(source, out, format, t0=t0, t1=t1)
            out.close()
            os.replace(part, path)
        except BaseException:
            os.unlink(part)
            raise
    return counts


def _is_same(path: str, other: str) -> bool:
    try:
        return os.path.samefile(path, other)
    except OSError:  # one of them does not exist
        return False


def _check(name: str) -> None:
    if name not in FORMATS:
        known = ", ".join(FORMATS)
        raise ValueError(f"there is no format {name!r}: choose one of {known}")
