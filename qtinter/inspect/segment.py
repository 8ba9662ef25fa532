"""Reading a segment file: of this process, of another one, of one that has died."""

from __future__ import annotations

import glob
import os
import stat
from typing import Any

from .. import _core
from .model import TASK, Process

_MAGIC = b"QTINSEG1"
SOCKET_NAME = "qtinterd.sock"  # of the daemon, in the runtime directory


def runtime_directory() -> str:
    """Where segments and the daemon's socket are; the same rule as in C."""
    chosen = os.environ.get("QTINTER_RUNTIME_DIR")
    if chosen:
        return chosen
    base = os.environ.get("XDG_RUNTIME_DIR")
    if base:
        return os.path.join(base, "qtinter")
    return f"/tmp/qtinter-{os.getuid()}"


def is_segment(path: str | os.PathLike[str]) -> bool:
    """Whether a file begins as a segment does; nobody waits for a FIFO.

    :raises OSError: there is none, or it cannot be opened.
    """
    if not stat.S_ISREG(os.stat(path).st_mode):
        return False
    with open(path, "rb") as file:
        return file.read(len(_MAGIC)) == _MAGIC


def read_snapshot(path: str | os.PathLike[str]) -> Process:
    """Return what a segment file shows.

    :returns: a :class:`~qtinter.inspect.model.Process`; its ``records`` are the events
        that the file still holds, oldest first, as (ts, kind, loop, x, a, b).
    :raises OSError: the file cannot be opened.
    :raises ValueError: it is no segment, or is damaged.
    """
    data: dict[str, Any] = _core.inspect_read_segment(os.fspath(path))
    info = data["header"]
    process = Process(info)
    process.entries = data["entries"]
    for row in data["rows"]:
        process.put(row)
    process.records = data["records"]
    process.lost = data["lost"] + data["first"]
    process.alive = is_running(info["pid"], info["start"])
    last = [row["changed"] for row in process.of_kind(TASK, ended=True)]
    last += [record[0] for record in data["records"][-1:]]
    info["last"] = max(last, default=info["mono0"])
    info["segment"] = os.fspath(path)
    return process


def is_running(pid: int, start: int) -> bool:
    """Whether that very process is still there."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as stat:
            fields = stat.read().rpartition(b")")[2].split()
    except OSError:
        return False
    # Field 22 of proc(5), the 20th after the name; a zombie runs no more.
    return fields[0] not in (b"Z", b"X") and (not start or int(fields[19]) == start)


def segments(directory: str | None = None) -> list[str]:
    """Paths of the segments in the runtime directory, newest first."""
    pattern = os.path.join(glob.escape(directory or runtime_directory()), "*.qiseg")
    return sorted(glob.glob(pattern), key=_mtime, reverse=True)


def running_applications(directory: str | None = None) -> list[int]:
    """Pids of the processes that run and have a segment in the runtime directory."""
    found = []
    for path in segments(directory):
        pid = running_owner(path)
        if pid:
            found.append(pid)
    return found


def running_owner(path: str) -> int:
    """Pid of the process whose segment has this path; 0 if it does not run any more."""
    pid, _, rest = os.path.basename(path).partition("-")
    start = rest.partition(".")[0].partition("-")[0]
    known = pid.isdigit() and start.isdigit()
    return int(pid) if known and is_running(int(pid), int(start)) else 0


def _mtime(path: str) -> float:
    try:
        return os.stat(path).st_mtime
    except OSError:  # removed since
        return 0.0
