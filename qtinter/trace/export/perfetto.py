"""For ui.perfetto.dev and trace_processor: TrackEvent packets.

The field numbers are those of Perfetto's published protos/perfetto/trace/*.proto.
A file begins with the clock, the tracks and the interned names; events follow, sorted
by time.
"""

from __future__ import annotations

from typing import IO, TYPE_CHECKING, Any

from ._protobuf import Ascending, double, fixed64, integer, message, text, varint
from ._sorting import TimeSorter
from ._timeline import Args, Count, Instant, Slice, Timeline, Track

if TYPE_CHECKING:
    from .._source import Source

_SEQUENCE = 1
_MONOTONIC, _REALTIME, _BOOTTIME = 3, 1, 6  # enum BuiltinClock
_SLICE_BEGIN, _SLICE_END, _INSTANT, _COUNTER = 1, 2, 3, 4  # enum TrackEvent.Type
_STATE_CLEARED, _NEEDS_STATE = 1, 2  # enum TracePacket.SequenceFlags
_EXPLICIT = 3  # enum TrackDescriptor.ChildTracksOrdering
_UNIT_NS, _UNIT_COUNT = 1, 2  # enum CounterDescriptor.Unit

# What is in each packet of an event: tags of fields, and what it ends with.
_END = integer(10, _SEQUENCE) + integer(13, _NEEDS_STATE)
_TIMESTAMP, _TRACK_EVENT, _PACKET = (
    varint(8 << 3),
    varint(11 << 3 | 2),
    varint(1 << 3 | 2),
)
_MAX_NAMES = 50_000  # that are interned; later ones are written out

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
    with TimeSorter() as sorter:
        writer = _Writer(source, sorter)
        for item in Timeline(source, t0, t1).items():
            writer.put(item)
        writer.close_slices()
        out.write(writer.head())
        for _, packet in sorter:
            out.write(packet)
        return {"events": writer.events, "tracks": len(writer.tracks)}


class _Names:
    """Texts that packets name by number, up to a limit."""

    def __init__(self, limit: int = 1000) -> None:
        self.numbers: dict[str, int] = {}
        self._limit = limit

    def number(self, name: str) -> int:
        """The number of a text, 0 if there are too many of them."""
        number = self.numbers.get(name)
        if number is None:
            if len(self.numbers) >= self._limit:
                return 0
            number = self.numbers[name] = len(self.numbers) + 1
        return number

    def entries(self, field: int) -> bytes:
        """The field of InternedData that defines them."""
        return b"".join(
            message(field, integer(1, number) + text(2, name))
            for name, number in self.numbers.items()
        )


class _Writer:
    def __init__(self, source: Source, sorter: TimeSorter) -> None:
        self.events = 0
        self.tracks: dict[int, bytes] = {}  # number -> descriptor
        self._info = source.info
        self._sorter = sorter
        self._names = _Names(_MAX_NAMES)
        self._categories = _Names()
        self._keys = _Names()
        self._ends: dict[int, list[int]] = {}  # of open slices, by track
        # Bytes that come again and again.
        self._time = Ascending()
        self._heads: dict[tuple[int, int], bytes] = {}  # by track and type
        self._titles: dict[tuple[str, str], bytes] = {}  # by name and category
        self._values: dict[tuple[str, Any], bytes] = {}  # by key and value
        # Several files can be looked at together.
        self._base = (int(source.info.get("pid", 0)) & 0xFFFFFF) << 32

    def put(self, item: Slice | Instant | Count) -> None:
        track = item.track
        if track.number not in self.tracks:
            self.tracks[track.number] = self._descriptor(track)
        if isinstance(item, Count):
            self._event(item.ts, track.number, _COUNTER, integer(30, item.value))
            return
        start = item.ts if isinstance(item, Instant) else item.start
        ends = self._ends.setdefault(track.number, [])
        while ends and ends[-1] <= start:
            if isinstance(item, Instant) and ends[-1] == start:
                break
            self._event(ends.pop(), track.number, _SLICE_END, b"")
        body = self._named(item.name, item.category) + self._arguments(item.args)
        for flow, _ in item.sources:
            body += fixed64(47, self._base | flow)
        if isinstance(item, Instant):
            self._event(start, track.number, _INSTANT, body)
            return
        for flow in item.targets:
            body += fixed64(48, self._base | flow)
        self._event(start, track.number, _SLICE_BEGIN, body)
        ends.append(item.end)

    def close_slices(self) -> None:
        """Ends what is open on any track."""
        for track, ends in self._ends.items():
            while ends:
                self._event(ends.pop(), track, _SLICE_END, b"")

    # --- packets

    def _event(self, ts: int, track: int, kind: int, body: bytes) -> None:
        head = self._heads.get((track, kind))
        if head is None:
            head = integer(9, kind) + integer(11, self._uuid(track))
            self._heads[track, kind] = head
        # message(1, integer(8, ts) + message(11, head + body) + ...), as it is quick
        time = self._time.varint(max(ts, 0))
        size = varint(len(head) + len(body))
        packet = b"".join((_TIMESTAMP, time, _TRACK_EVENT, size, head, body, _END))
        self._sorter.add(ts, _PACKET + varint(len(packet)) + packet)
        self.events += 1

    def _uuid(self, track: int) -> int:
        return self._base | _FIRST_TRACK + track

    def _named(self, name: str, category: str) -> bytes:
        title = self._titles.get((name, category))
        if title is None:
            number = self._names.number(name)
            title = integer(10, number) if number else text(23, name)
            title += integer(3, self._categories.number(category))
            if number:
                self._titles[name, category] = title
        return title

    def _arguments(self, args: Args) -> bytes:
        out = b""
        for pair in args.items():
            if type(pair[1]) is not str:  # True and 1 are the same key
                out += self._argument(*pair)
                continue
            encoded = self._values.get(pair)
            if encoded is None:
                if len(self._values) >= _MAX_NAMES:
                    self._values.clear()
                encoded = self._values[pair] = self._argument(*pair)
            out += encoded
        return out

    def _argument(self, key: str, value: str | int | float | bool) -> bytes:
        content = integer(1, self._keys.number(key))
        if isinstance(value, bool):
            content += integer(2, value)
        elif isinstance(value, int):
            content += integer(4, value)
        elif isinstance(value, float):
            content += double(5, value)
        else:
            content += text(6, value)
        return message(4, content)

    # --- the head of the file

    def head(self) -> bytes:
        """Everything that events refer to."""
        mono, wall = self._info.get("mono0", 0), self._info.get("wall0", 0)
        clocks = [(_MONOTONIC, mono), (_BOOTTIME, mono)]
        if wall:
            clocks.append((_REALTIME, wall))
        snapshot = integer(2, _MONOTONIC) + b"".join(
            message(1, integer(1, clock) + integer(2, ts)) for clock, ts in clocks
        )
        interned = (
            self._categories.entries(1) + self._names.entries(2) + self._keys.entries(3)
        )
        first = (
            integer(13, _STATE_CLEARED)
            + message(59, integer(58, _MONOTONIC))
            + message(12, interned)
        )
        packets = [message(6, snapshot), first, *self._common_tracks()]
        packets += [
            message(60, descriptor) for _, descriptor in sorted(self.tracks.items())
        ]
        return b"".join(
            message(1, packet + integer(10, _SEQUENCE)) for packet in packets
        )

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
