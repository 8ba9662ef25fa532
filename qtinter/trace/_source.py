"""Where a recording comes from: a trace file, a segment, or lists.

A source hands out what was recorded, unchanged; what it means is for
:class:`qtinter.trace.Trace` and the exporters.  Times are nanoseconds of the monotonic
clock of the recorded process; ``info["wall0"]`` is the time of day at
``info["mono0"]``.
"""

from __future__ import annotations

import abc
import dataclasses
import itertools
import os
import shutil
import struct
import time
from typing import Any, Iterable, Iterator, List, Tuple

from .. import _core
from ..inspect.model import TASK

# kind, id, state, loop, and the columns of proto/entities.def.
RowList = List[Any]
# (number since the segment was made, ts, kind, loop, x, a, b), see proto/records.def.
Record = Tuple[int, int, int, int, int, int, int]
Key = Tuple[int, int]  # kind and id of an entity

_ROWS_CUT = 1  # flag of a chunk
_NOTES_MAX = 250_000  # of a recording: stalls and findings

_RECORD = struct.Struct("<qHHIQQ")  # as in the file and in the segment
_BLOCK = 10_000  # records
# Parts of a chunk, see _core.pyi.
_TEXTS, _ROWS, _ENDED, _RECORDS = 1, 2, 4, 8


@dataclasses.dataclass(frozen=True)
class Gap:
    """Records that are missing, and when they were made (0: not known)."""

    first: int
    count: int
    cause: str
    t0: int
    t1: int


@dataclasses.dataclass(frozen=True)
class Note:
    """What was noticed while recording: kind "stall" or "lint", and its fields."""

    ts: int
    kind: str
    fields: dict[str, Any]


class Source(abc.ABC):
    """What a recording holds.

    :ivar info: of the process: ``pid``, ``name``, ``start``, ``mono0``, ``wall0``,
        ``level``, ``begin`` and ``last`` (the first and the latest time in it), and
        what else is known.
    :ivar entries: intern entries, as :attr:`qtinter.inspect.model.Process.entries`.
    :ivar gaps: what is missing, oldest first.
    :ivar notes: stalls and lints, oldest first.
    :ivar problems: what could not be read, one line each.
    :ivar path: of the file, None without one.
    """

    info: dict[str, Any]
    entries: dict[int, Any]
    gaps: list[Gap]
    notes: list[Note]
    problems: list[str]
    path: str | None = None

    @abc.abstractmethod
    def keyframes(self) -> Iterator[tuple[int, list[RowList]]]:
        """The states that were kept, oldest first: (ts, rows)."""

    def ended(self) -> Iterator[RowList]:
        """The last rows of what has ended, where the states do not have them."""
        return iter(())

    @abc.abstractmethod
    def records(self, t0: int | None = None, t1: int | None = None) -> Iterator[Record]:
        """The records with t0 <= ts <= t1, oldest first; holds one chunk at a time."""

    def blocks(
        self, t0: int | None = None, t1: int | None = None
    ) -> Iterator[tuple[int, bytes]]:
        """All of these records, and perhaps others: (number of the first, native ones).

        The records of a block follow each other without a hole.
        """
        block: list[bytes] = []
        first = after = 0
        for number, *record in self.records(t0, t1):
            if block and (number != after or len(block) == _BLOCK):
                yield first, b"".join(block)
                block.clear()
            if not block:
                first = number
            block.append(_RECORD.pack(*record))
            after = number + 1
        if block:
            yield first, b"".join(block)

    def last_rows(self, tasks: _core.TraceTasks) -> tuple[dict[Key, RowList], int]:
        """The last row that was kept of each entity, and when the last ones were kept.

        :param tasks: takes the rows of tasks.
        """
        rows: dict[Key, RowList] = {}
        last = 0
        for ts, keyframe in self.keyframes():
            last = ts
            _sort_out(keyframe, rows, tasks, False)
        _sort_out(self.ended(), rows, tasks, True)
        return rows, last

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write it to a file, in the format that it is in.

        :raises OSError: it cannot be written.
        :raises ValueError: it is in no file.
        """
        if self.path is None:
            raise ValueError("a recording that is in memory cannot be saved")
        shutil.copyfile(self.path, path)


def _sort_out(
    found: Iterable[RowList],
    rows: dict[Key, RowList],
    tasks: _core.TraceTasks,
    is_last: bool,
) -> None:
    for row in found:
        if row[0] == TASK:
            tasks.put(row, is_last)
        else:
            rows[row[0], row[1]] = row


class ListSource(Source):
    """A recording that is in memory already.

    :param records: (ts, kind, loop, x, a, b) each.
    :param keyframes: (ts, rows) each.
    :param first: number of the first record.
    """

    def __init__(
        self,
        info: dict[str, Any],
        entries: dict[int, Any],
        records: Iterable[tuple[int, int, int, int, int, int]],
        keyframes: Iterable[tuple[int, list[RowList]]] = (),
        *,
        first: int = 0,
        gaps: Iterable[Gap] = (),
        notes: Iterable[Note] = (),
        problems: Iterable[str] = (),
    ) -> None:
        self._records = list(records)
        self._keyframes = list(keyframes)
        self._first = first
        self.info = dict(info)
        self.entries = entries
        self.gaps = list(gaps)
        self.notes = list(notes)
        self.problems = list(problems)
        times = [ts for ts, _ in self._keyframes[-1:]]
        times += [record[0] for record in self._records[-1:]]
        self.info.setdefault("mono0", self._records[0][0] if self._records else 0)
        self.info.setdefault("begin", self.info["mono0"])
        self.info.setdefault("wall0", 0)
        self.info.setdefault("last", max(times, default=self.info["mono0"]))

    def keyframes(self) -> Iterator[tuple[int, list[RowList]]]:
        return iter(self._keyframes)

    def records(self, t0: int | None = None, t1: int | None = None) -> Iterator[Record]:
        for number, record in enumerate(self._records, self._first):
            if (t0 is None or record[0] >= t0) and (t1 is None or record[0] <= t1):
                yield (number, *record)


class SegmentSource(ListSource):
    """What a segment still holds: the last records, and the state at its end.

    :param since: ns; older records are left out.
    :raises OSError: the file cannot be opened.
    :raises ValueError: it is no segment, or is damaged.
    """

    def __init__(self, path: str | os.PathLike[str], since: int = 0) -> None:
        from ..inspect.segment import is_running

        self.path = os.fsdecode(path)
        data = _core.inspect_read_segment(self.path, since)
        info, records, oldest = data["header"], data["records"], data["oldest"]
        if is_running(info["pid"], info["start"]):
            ts = time.monotonic_ns()  # of this machine, as the segment is
        else:
            ts = max([info["mono0"]] + [record[0] for record in records[-1:]])
        gaps = []
        if oldest:
            # When the oldest one was made is known if it is among those that were read.
            until = records[0][0] if records and oldest == data["first"] else ts
            if oldest != data["first"]:
                until = min(until, since)
            gaps.append(Gap(0, oldest, "ring", info["mono0"], until))
        if data["lost"]:
            gaps.append(Gap(oldest, data["lost"], "ring", 0, 0))
        problems = []
        if data["torn"]:
            problems.append(f"{data['torn']} rows were being written when it was read")
        super().__init__(
            dict(info, segment=self.path),
            data["entries"],
            records,
            [(ts, data["rows"])],
            first=data["first"],
            gaps=gaps,
            problems=problems,
        )


class TraceSource(Source):
    """A trace file; a chunk of it is read when it is needed.

    :raises OSError: the file cannot be opened.
    :raises ValueError: it is no trace, or one of another major version.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = os.fsdecode(path)  # bytes would be a recording
        self._reader = _core.TraceReader(self.path)
        self._chunks: list[tuple[int, int, int]] = []  # index, t0, t1
        self.info = dict(self._reader.header)
        self.entries = {}
        self.gaps = []
        self.notes = []
        self.problems = list(self._reader.problems)
        before: tuple[int, int] | None = None  # number after the last record; its time
        left_out = 0
        chunks = self._reader.chunks
        # In a file that somebody has put together they may be in any order, or twice.
        order = sorted(range(len(chunks)), key=lambda index: chunks[index][:6])
        for place, copies in itertools.groupby(order, lambda index: chunks[index][:6]):
            seq, t0, t1, first, n, flags = place
            gaps: list[Gap] = []
            if before is not None and first < before[0]:
                continue  # of something else, as one of the problems says
            chunk = self._read_one(list(copies))
            if chunk is None:
                gaps.append(Gap(first, n, "damaged", t0, t1))
            else:
                self.entries.update((key, value) for key, _, value in chunk["entries"])
                gaps.extend(Gap(*gap) for gap in chunk["gaps"])
                room = _NOTES_MAX - len(self.notes)
                self.notes.extend(Note(*note) for note in chunk["notes"][:room])
                left_out += max(0, len(chunk["notes"]) - room)
            if flags & _ROWS_CUT:
                self.problems.append(
                    f"chunk {seq}: there was no room for the state of everything"
                )
            known = min((gap.first for gap in gaps), default=first)
            if before is not None and known > before[0]:
                # Chunks in between that are not there at all.
                number, ts = before
                until = max(ts, t0)
                self.gaps.append(Gap(number, known - number, "damaged", ts, until))
            self.gaps.extend(gaps)
            before = first + n, t1
        if left_out:
            self.problems.append(f"{left_out} notes are left out: there are too many")
        for first, count, t0, t1 in self._reader.missing:
            self.gaps.append(Gap(first, count, "damaged", t0, t1))
        self.gaps.sort(key=lambda gap: gap.first)
        times = [(t0, t1) for _, t0, t1, *_ in chunks]
        times += [(t0, t1) for _, _, t0, t1 in self._reader.missing]
        begin = min((t0 for t0, _ in times), default=None)
        self.info.setdefault("mono0", begin or 0)
        # mono0 is a moment at which the process began to be inspected.
        self.info["begin"] = self.info["mono0"] if begin is None else begin
        self.info["last"] = max((t1 for _, t1 in times), default=self.info["begin"])

    def _read_one(self, copies: list[int]) -> dict[str, Any] | None:
        """The first one that can be read of chunks that say the same of themselves."""
        for index in copies:
            try:
                chunk = self._reader.read(index, _TEXTS)
            except ValueError as exc:
                self.problems.append(str(exc))
            else:
                _, t0, t1, *_ = self._reader.chunks[index]
                self._chunks.append((index, t0, t1))
                return chunk
        return None

    def keyframes(self) -> Iterator[tuple[int, list[RowList]]]:
        for index, _, _ in self._chunks:
            chunk = self._reader.read(index, _ROWS)
            yield chunk["state_ts"], chunk["rows"]

    def ended(self) -> Iterator[RowList]:
        for index, _, _ in self._chunks:
            yield from self._reader.read(index, _ENDED)["ended"]

    def last_rows(self, tasks: _core.TraceTasks) -> tuple[dict[Key, RowList], int]:
        rows: dict[Key, RowList] = {}
        ended: dict[Key, RowList] = {}
        last = 0
        for index, _, _ in self._chunks:
            chunk = self._reader.read(index, _ROWS | _ENDED, tasks)
            last = chunk["state_ts"]
            rows.update(((row[0], row[1]), row) for row in chunk["rows"])
            ended.update(((row[0], row[1]), row) for row in chunk["ended"])
        rows.update(ended)
        return rows, last

    def blocks(
        self, t0: int | None = None, t1: int | None = None
    ) -> Iterator[tuple[int, bytes]]:
        for index, begins, ends in self._chunks:
            if (t0 is not None and ends < t0) or (t1 is not None and begins > t1):
                continue
            chunk = self._reader.read(index, _RECORDS)
            yield chunk["first"], chunk["records"]

    def records(self, t0: int | None = None, t1: int | None = None) -> Iterator[Record]:
        for number, records in self.blocks(t0, t1):
            for ts, kind, loop, x, a, b in _RECORD.iter_unpack(records):
                if (t0 is None or ts >= t0) and (t1 is None or ts <= t1):
                    yield number, ts, kind, loop, x, a, b
                number += 1


def open_source(path: str | os.PathLike[str]) -> Source:
    """The source for a file, by what the file is and not by its name.

    :raises OSError: the file cannot be opened.
    :raises ValueError: it is neither a trace nor a segment, or is damaged.
    """
    from ..inspect.segment import is_segment

    return SegmentSource(path) if is_segment(path) else TraceSource(path)
