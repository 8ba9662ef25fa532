"""For ui.perfetto.dev and trace_processor: TrackEvent packets.

The field numbers are those of Perfetto's published protos/perfetto/trace/*.proto.
A file begins with the clock, the tracks and the interned texts; events follow, sorted
by time, each with the time since the one before.  They are made in C
(_native/export_perfetto.c).
"""

from __future__ import annotations

import tempfile
from typing import IO, TYPE_CHECKING, Any, Iterator

from ... import _core
from ._protobuf import integer, message, text
from ._timeline import Item, Timeline, Track

if TYPE_CHECKING:
    from .._source import Source

_SEQUENCE = 1
_MONOTONIC, _REALTIME, _BOOTTIME = 3, 1, 6  # enum BuiltinClock
_SINCE = 64  # a clock of this sequence: times are since the packet before
_STATE_CLEARED = 1  # enum TracePacket.SequenceFlags
_EXPLICIT = 3  # enum TrackDescriptor.ChildTracksOrdering
_UNIT_NS, _UNIT_COUNT = 1, 2  # enum CounterDescriptor.Unit

_ROOM = 16 << 20  # bytes of packets in memory; more go to a temporary file
_MAX_NAMES = 50_000  # of a kind that are interned; later ones are written out

_PROCESS, _TASKS = 1, 2  # tracks that are there in every file
_FIRST_TRACK = 16
# The order in which kinds of tracks are shown.
_RANKS = {"loop": 0, "modal": 1, "ready": 3, "timers": 4, "lag": 5, "span": 6}
_TASKS_RANK = 1000


def write(
    source: Source, out: IO[bytes], *, t0: int | None = None, t1: int | None = None
) -> dict[str, Any]:
    """Write a recording as a Perfetto trace.

    :param source: what was recorded.
    :param out: a binary file.
    :param t0: leave out what is before, ns of the recorded process's clock.
    :param t1: leave out what is after.
    :returns: how many ``events`` and ``tracks`` were written.
    """
    with tempfile.TemporaryFile(prefix="qtinter-") as file:
        writer = _Writer(source, file.fileno())
        for items in Timeline(source, t0, t1).batches():
            writer.put(items)
        writer.write(out)
        return {"events": writer.events, "tracks": len(writer.tracks)}


class _Writer:
    """
    :param fd: of a temporary file, for what is too much for memory.
    """

    def __init__(self, source: Source, fd: int) -> None:
        self.tracks: dict[int, bytes] = {}  # number -> descriptor
        self._info = source.info
        # Several files can be looked at together.
        self._base = (int(source.info.get("pid", 0)) & 0xFFFFFF) << 32
        self._packets = _core.PerfettoPackets(
            self._base, _FIRST_TRACK, fd, _ROOM, _MAX_NAMES
        )

    @property
    def events(self) -> int:
        return self._packets.events

    def put(self, items: list[Item]) -> None:
        self._packets.take(items, self._begin_track)

    def write(self, out: IO[bytes]) -> None:
        """All of the file; nothing can be put in afterwards."""
        self._packets.close()
        begin = int(self._info.get("mono0", 0))
        if self._packets.events:
            begin = min(begin, self._packets.first)
        for packet in self._head(begin):
            out.write(message(1, packet + integer(10, _SEQUENCE)))
        self._packets.write(out.write, begin)

    def _begin_track(self, track: Track) -> None:
        if track.kind == "loop" and not self._packets.common_track:
            self._packets.common_track = track.number
        self.tracks[track.number] = self._descriptor(track)

    def _uuid(self, track: int) -> int:
        return self._base | _FIRST_TRACK + track

    # --- the head of the file

    def _head(self, begin: int) -> Iterator[bytes]:
        """Everything that events refer to; the clocks as they were at a time."""
        wall = self._info.get("wall0", 0)
        clocks = [
            integer(1, clock) + integer(2, begin) for clock in (_MONOTONIC, _BOOTTIME)
        ]
        clocks.append(integer(1, _SINCE) + integer(2, begin) + integer(3, 1))
        if wall:
            wall -= int(self._info.get("mono0", 0)) - begin
            clocks.append(integer(1, _REALTIME) + integer(2, wall))
        snapshot = integer(2, _MONOTONIC) + b"".join(message(1, c) for c in clocks)
        names, categories, keys, values = self._packets.tables
        interned = (
            _entries(1, categories)
            + _entries(2, names)
            + _entries(3, keys)
            + _entries(29, values)
        )
        defaults = integer(58, _SINCE)
        common = self._packets.common_track
        if common:
            defaults += message(11, integer(11, self._uuid(common)))
        first = (
            integer(13, _STATE_CLEARED) + message(59, defaults) + message(12, interned)
        )
        yield message(6, snapshot)
        yield first
        yield from self._common_tracks()
        for number in sorted(self.tracks):
            yield message(60, self.tracks[number])

    def _common_tracks(self) -> list[bytes]:
        name = self._info.get("name") or "program"
        process = integer(1, self._info.get("pid", 0)) + text(6, name)
        argv = self._info.get("argv") or ()
        process += b"".join(text(2, str(word)) for word in argv)
        process_track = (
            integer(1, self._base | _PROCESS)
            + message(3, process)
            + integer(11, _EXPLICIT)
        )
        tasks = (
            integer(1, self._base | _TASKS)
            + integer(5, self._base | _PROCESS)
            + text(2, "tasks")
            + integer(11, _EXPLICIT)
            + integer(12, _TASKS_RANK)
        )
        return [message(60, process_track), message(60, tasks)]

    def _descriptor(self, track: Track) -> bytes:
        is_task = track.kind == "task"
        parent = _TASKS if is_task else _PROCESS
        # Tasks by their ids, which count up; all else by loop and kind.
        rank = (
            track.ident & 0x7FFFFFFF
            if is_task
            else 16 * track.loop + _RANKS[track.kind]
            if track.kind != "span"
            else _TASKS_RANK - 100 + track.ident
        )
        name = track.name
        if track.loop > 1 and track.kind not in ("loop", "task", "span"):
            name = f"{name}, loop {track.loop}"
        elif track.kind == "loop" and track.title:
            name = f"{name} ({track.title})"
        out = (
            integer(1, self._uuid(track.number))
            + integer(5, self._base | parent)
            + text(2, name)
            + integer(12, rank)
        )
        if is_task and track.title:
            out += text(14, track.title)
        if track.kind in ("ready", "timers", "lag"):
            unit = _UNIT_NS if track.kind == "lag" else _UNIT_COUNT
            out += message(8, integer(3, unit))
        return out


def _entries(field: int, numbers: dict[str, int]) -> bytes:
    """A field of InternedData, once for each text."""
    return b"".join(
        message(field, integer(1, number) + text(2, name))
        for name, number in numbers.items()
    )
