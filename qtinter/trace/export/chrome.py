"""For speedscope, chrome://tracing and others: the JSON trace-event format.

The form is that of Google's document "Trace Event Format": an object with
``traceEvents``, times in microseconds.  Tracks are shown as threads.  Perfetto calls
this format legacy; :mod:`.perfetto` loses nothing and is smaller.
"""

from __future__ import annotations

import json
from typing import IO, TYPE_CHECKING, Any

from ... import _core
from ._events import BLOCK
from ._timeline import Item, Timeline, Track
from ._words import versions_of

if TYPE_CHECKING:
    from .._source import Source

_encode = json.JSONEncoder(ensure_ascii=True, separators=(",", ":")).encode
_UNITS = {"lag": "ns", "ready": "tasks", "timers": "timers"}  # of counters
_RANKS = {"loop": 0, "modal": 1, "span": 2, "task": 1000}


def write(
    source: Source, out: IO[bytes], *, t0: int | None = None, t1: int | None = None
) -> dict[str, Any]:
    """Write a recording as trace-event JSON, see :func:`.perfetto.write`."""
    timeline = Timeline(source, t0, t1)
    writer = _Writer(source, out)
    for items in timeline.batches():
        writer.put(items)
    writer.end()
    return {"events": writer.events, "tracks": len(writer.tracks)}


class _Writer:
    def __init__(self, source: Source, out: IO[bytes]) -> None:
        self.events = 0
        self.tracks: set[int] = set()
        self._out = out
        self._info = source.info
        self._pid = int(source.info.get("pid", 0))
        self._zero = int(source.info.get("mono0", 0))
        self._lines = bytearray(b'{"traceEvents":[\n')
        self._counters: dict[int, bytes] = {}
        name = source.info.get("name") or "program"
        self._lines += self._metadata("process_name", 0, {"name": name})

    def put(self, items: list[Item]) -> None:
        count = _core.put_trace_events(
            self._lines, items, self._zero, self._pid, self.tracks, self._counters,
            self._describe,
        )  # fmt: skip
        self.events += count  # _describe() has counted, too
        if len(self._lines) > BLOCK:
            self._out.write(self._lines)
            self._lines.clear()

    def end(self) -> None:
        wall = self._info.get("wall0", 0)
        other = {**versions_of(self._info), "begin_unix_ns": str(wall)}
        tail = f'\n],"displayTimeUnit":"ms","otherData":{_encode(other)}}}\n'
        self._lines += tail.encode()
        self._out.write(self._lines)

    def _describe(self, track: Track) -> bytes:
        """What comes before the first event of a track, or begins each of a counter."""
        if track.kind in _UNITS:
            name = _encode(f"{track.name} of loop {track.loop}")
            head = f',\n{{"ph":"C","name":{name},"args":{{"{_UNITS[track.kind]}":'
            return head.encode()
        rank = _RANKS.get(track.kind, 10) + 16 * track.loop
        if track.kind == "task":
            rank = _RANKS["task"] + track.ident
        name = f"{track.name} ({track.title})" if track.title else track.name
        named = self._metadata("thread_name", track.number, {"name": name})
        ranked = self._metadata("thread_sort_index", track.number, {"sort_index": rank})
        return b",\n%s,\n%s" % (named, ranked)

    def _metadata(self, name: str, tid: int, args: Any) -> bytes:
        event = {"ph": "M", "name": name, "pid": self._pid, "tid": tid, "args": args}
        self.events += 1
        return _encode(event).encode()
