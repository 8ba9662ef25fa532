"""For speedscope, chrome://tracing and others: the JSON trace-event format.

The form is that of Google's document "Trace Event Format": an object with
``traceEvents``, times in microseconds.  Tracks are shown as threads.  Perfetto calls
this format legacy; :mod:`.perfetto` loses nothing and is smaller.
"""

from __future__ import annotations

import json
from typing import IO, TYPE_CHECKING, Any

from ._timeline import Count, Instant, Slice, Timeline, Track
from ._words import versions_of

if TYPE_CHECKING:
    from .._source import Source

_encode = json.JSONEncoder(ensure_ascii=True, separators=(",", ":")).encode
_RANKS = {"loop": 0, "modal": 1, "span": 2, "task": 1000}


def write(
    source: Source, out: IO[bytes], *, t0: int | None = None, t1: int | None = None
) -> dict[str, Any]:
    """Write a recording as trace-event JSON, see :func:`.perfetto.write`."""
    timeline = Timeline(source, t0, t1)
    writer = _Writer(source, out)
    for item in timeline.items():
        writer.put(item)
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
        out.write(b'{"traceEvents":[\n')
        name = source.info.get("name") or "program"
        self._metadata("process_name", 0, {"name": name}, b"")

    def put(self, item: Slice | Instant | Count) -> None:
        track = item.track
        if isinstance(item, Count):
            key = {"lag": "ns", "ready": "tasks", "timers": "timers"}[track.kind]
            name = f"{track.name} of loop {track.loop}"
            args = _encode({key: item.value})
            self._event(f'"ph":"C","name":{_encode(name)},"args":{args}', item.ts, 0)
            return
        if track.number not in self.tracks:
            self._describe(track)
        head = f'"name":{_encode(item.name)},"cat":"{item.category}"'
        args = _encode(item.args) if item.args else "{}"
        if isinstance(item, Instant):
            self._event(f'"ph":"i","s":"t",{head},"args":{args}', item.ts, track.number)
        else:
            duration = _microseconds(item.end - item.start)
            self._event(
                f'"ph":"X","dur":{duration},{head},"args":{args}',
                item.start,
                track.number,
            )
            # At the very start chrome://tracing finds the slice that ends there.
            inside = item.start + (item.end > item.start)
            for flow in item.targets:
                self._flow("f", flow, inside, track, ',"bp":"e"')
        for flow, left in item.sources:
            self._flow("s", flow, left, track, "")

    def end(self) -> None:
        wall = self._info.get("wall0", 0)
        other = {**versions_of(self._info), "begin_unix_ns": str(wall)}
        tail = f'\n],"displayTimeUnit":"ms","otherData":{_encode(other)}}}\n'
        self._out.write(tail.encode())

    def _flow(self, phase: str, flow: int, ts: int, track: Track, more: str) -> None:
        fields = f'"ph":"{phase}","id":{flow},"name":"wake","cat":"wake"{more}'
        self._event(fields, ts, track.number)

    def _event(self, fields: str, ts: int, tid: int) -> None:
        when = _microseconds(ts - self._zero)
        line = f',\n{{{fields},"ts":{when},"pid":{self._pid},"tid":{tid}}}'
        self._out.write(line.encode())
        self.events += 1

    def _describe(self, track: Track) -> None:
        self.tracks.add(track.number)
        rank = _RANKS.get(track.kind, 10) + 16 * track.loop
        if track.kind == "task":
            rank = _RANKS["task"] + track.ident
        name = f"{track.name} ({track.title})" if track.title else track.name
        self._metadata("thread_name", track.number, {"name": name}, b",\n")
        self._metadata("thread_sort_index", track.number, {"sort_index": rank}, b",\n")

    def _metadata(self, name: str, tid: int, args: Any, before: bytes) -> None:
        event = {"ph": "M", "name": name, "pid": self._pid, "tid": tid, "args": args}
        self._out.write(before + _encode(event).encode())
        self.events += 1


def _microseconds(ns: int) -> str:
    """Exact: a float would lose digits after some hours."""
    sign, ns = ("-", -ns) if ns < 0 else ("", ns)
    return f"{sign}{ns // 1000}.{ns % 1000:03d}"
