"""For spreadsheets and data frames: one event a row, as RFC 4180 says."""

from __future__ import annotations

import csv
import io
from typing import IO, TYPE_CHECKING, Any

from ._events import events

if TYPE_CHECKING:
    from .._source import Source

# What most events have, in columns of their own; the rest goes to the last one.
COLUMNS = (
    "ts", "mono", "event", "loop", "task", "task_name", "slot_name", "wait_text",
    "code", "duration", "why", "by", "details",
)  # fmt: skip
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def write(
    source: Source, out: IO[bytes], *, t0: int | None = None, t1: int | None = None
) -> dict[str, Any]:
    """Write the events of a recording as CSV, see :func:`.perfetto.write`."""
    text = io.TextIOWrapper(
        out, encoding="utf-8", errors="replace", newline="", write_through=True
    )
    count = 0
    try:
        rows = csv.writer(text)
        rows.writerow(COLUMNS)
        for event in events(source, t0, t1):
            row = [_cell(event.pop(column, "")) for column in COLUMNS[:-1]]
            row.append(
                " ".join(f"{k}={v}" for k, v in event.items() if v not in ("", 0))
            )
            rows.writerow(row)
            count += 1
    finally:
        text.detach()  # not to close what is the caller's
    return {"events": count}


def _cell(value: Any) -> Any:
    """A name that begins like a formula is no formula to a spreadsheet."""
    if isinstance(value, str) and value.startswith(_FORMULA):
        return "'" + value
    return value
