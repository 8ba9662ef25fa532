"""For jq and scripts: one JSON object a line.

The first line tells of the process, each other one of an event: docs/trace-export.md.
"""

from __future__ import annotations

import json
from typing import IO, TYPE_CHECKING, Any

from ... import _core
from ._events import BLOCK, events

if TYPE_CHECKING:
    from .._source import Source

_encode = json.JSONEncoder(
    ensure_ascii=False, separators=(",", ":"), default=str
).encode


def write(
    source: Source, out: IO[bytes], *, t0: int | None = None, t1: int | None = None
) -> dict[str, Any]:
    """Write the events of a recording as lines of JSON, see :func:`.perfetto.write`."""
    head = {
        "process": source.info,
        "lost": sum(gap.count for gap in source.gaps),
        "problems": source.problems,
    }
    out.write(_encode(head).encode("utf-8", "replace") + b"\n")
    lines = bytearray()
    count = 0
    for event in events(source, t0, t1):
        _core.put_json_line(lines, event)
        count += 1
        if len(lines) > BLOCK:
            out.write(lines)
            lines.clear()
    out.write(lines)
    return {"events": count}
