"""Sorting more than fits into memory."""

from __future__ import annotations

import heapq
import struct
import tempfile
from operator import itemgetter
from typing import IO, Iterator

_HEAD = struct.Struct("<qI")
_time = itemgetter(0)


class TimeSorter:
    """Pieces of bytes by time; those of the same time stay in their order.

    :param limit: how many of them may be in memory; more go to a temporary file.

    To be used as a context manager, which removes the file.
    """

    def __init__(self, limit: int = 200_000) -> None:
        self._limit = limit
        self._run: list[tuple[int, bytes]] = []
        self._file: IO[bytes] | None = None
        self._ends: list[int] = []  # of the runs in the file

    def __enter__(self) -> TimeSorter:
        return self

    def __exit__(self, *exc: object) -> None:
        if self._file is not None:
            self._file.close()

    def add(self, ts: int, piece: bytes) -> None:
        """Take in a piece."""
        self._run.append((ts, piece))
        if len(self._run) >= self._limit:
            self._spill()

    def __iter__(self) -> Iterator[tuple[int, bytes]]:
        """The pieces that were added, sorted."""
        self._run.sort(key=_time)
        if self._file is None:
            return iter(self._run)
        begins = [0, *self._ends[:-1]]
        runs = [self._read(begin, end) for begin, end in zip(begins, self._ends)]
        return heapq.merge(*runs, self._run, key=_time)

    def _spill(self) -> None:
        if self._file is None:
            self._file = tempfile.TemporaryFile(prefix="qtinter-")  # noqa: SIM115
        self._run.sort(key=_time)
        for ts, piece in self._run:
            self._file.write(_HEAD.pack(ts, len(piece)))
            self._file.write(piece)
        self._ends.append(self._file.tell())
        self._run = []

    def _read(self, begin: int, end: int) -> Iterator[tuple[int, bytes]]:
        """A run of the file; the runs are read in turns, a block at a time."""
        assert self._file is not None
        buffer, at = b"", 0
        while begin < end or at < len(buffer):
            while len(buffer) - at < _HEAD.size or (
                len(buffer) - at < _HEAD.size + _HEAD.unpack_from(buffer, at)[1]
            ):
                self._file.seek(begin)
                block = self._file.read(min(1 << 16, end - begin))
                begin += len(block)
                buffer, at = buffer[at:] + block, 0
            ts, size = _HEAD.unpack_from(buffer, at)
            at += _HEAD.size
            yield ts, buffer[at : at + size]
            at += size
