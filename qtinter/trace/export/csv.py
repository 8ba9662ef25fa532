"""For spreadsheets and data frames: one event a row, as RFC 4180 says."""

from __future__ import annotations

from typing import IO, TYPE_CHECKING, Any

from ... import _core
from ._events import BLOCK, events

if TYPE_CHECKING:
    from .._source import Source

# What most events have, in columns of their own; the rest goes to one behind them.
COLUMNS = (
    "ts", "mono", "event", "loop", "task", "task_name", "slot_name", "wait_text",
    "code", "duration", "why", "by",
)  # fmt: skip


def write(
    source: Source, out: IO[bytes], *, t0: int | None = None, t1: int | None = None
) -> dict[str, Any]:
    """Write the events of a recording as CSV, see :func:`.perfetto.write`."""
    lines = bytearray(",".join((*COLUMNS, "details")).encode() + b"\r\n")
    columns = dict.fromkeys(COLUMNS)
    count = 0
    for event in events(source, t0, t1):
        _core.put_csv_line(lines, columns, event)
        count += 1
        if len(lines) > BLOCK:
            out.write(lines)
            lines.clear()
    out.write(lines)
    return {"events": count}
