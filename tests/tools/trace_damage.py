"""Cutting and corrupting recordings, and what readers must make of them; for tests."""

import io
import random
import struct

from qtinter import _core
from qtinter.trace import TraceIncomplete
from qtinter.trace.export import FORMATS, write

CHUNK = 1
HEAD = 64  # bytes of a block
NEAR = 70  # bytes around the ends of blocks: a head has 64


def blocks(data):
    """Begin, end and kind of each block of a recording; see proto/TRACE.md."""
    at = 16 + struct.unpack_from("<I", data, 8)[0]
    found = []
    while data[at : at + 4] == b"QTBK":
        head, kind = struct.unpack_from("<HB", data, at + 8)
        (stored,) = struct.unpack_from("<I", data, at + 12)
        found.append((at, at + head + stored, kind))
        at += head + stored
    return found


def crc32c(data):
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


def forged(data, seed):
    """A recording with some bytes of a chunk's contents changed, and good checksums.

    :param data: of a recording that is not compressed.
    """
    chance, data = random.Random(seed), bytearray(data)
    begin, end, _ = chance.choice([b for b in blocks(data) if b[2] == CHUNK])
    for _ in range(chance.randrange(1, 4)):
        at = chance.randrange(begin + HEAD, end)
        odd = (0, 1, 127, 128, 255, 0xCF, 0xD3, data[at] ^ 1, data[at] ^ 128)
        data[at] = chance.choice(odd)
    struct.pack_into("<I", data, begin + 20, crc32c(data[begin + HEAD : end]))
    struct.pack_into("<I", data, begin + 4, crc32c(data[begin + 8 : begin + HEAD]))
    return bytes(data)


class Whole:
    """A recording as it was written, to compare damaged copies with.

    :param data: its bytes; a footer may be missing, and nothing else.
    """

    def __init__(self, data):
        self.data = data
        self.blocks = blocks(data)
        reader = _core.TraceReader(data)
        assert [kind for *_, kind in self.blocks].count(CHUNK) == len(reader.chunks)
        self.places = list(reader.chunks)
        self.chunks = {
            place[0]: (place, reader.read(index))
            for index, place in enumerate(reader.chunks)
        }

    def cuts(self, seed, count):
        """Where to cut: about every end of a block, and anywhere."""
        generator = random.Random(seed)
        size = len(self.data)
        places = {generator.randrange(size) for _ in range(count)}
        places |= {0, 1, 7, 8, 15, 16, 17}
        for begin, end, _ in self.blocks:
            for edge in (begin, end):
                places.update(range(edge - NEAR, edge + NEAR))
        return sorted(place for place in places if 0 <= place < size)

    def check_cut(self, cut):
        """Whole chunks are read, and what comes after them is said to be missing."""
        left = self.data[:cut]
        if cut < self.blocks[0][0]:
            try:
                _core.TraceReader(left)
            except ValueError:
                return
            raise AssertionError(f"{cut} bytes pass for a recording")
        reader = _core.TraceReader(left)
        ends = [end for _, end, kind in self.blocks if kind == CHUNK and end <= cut]
        assert reader.chunks == self.places[: len(ends)], cut
        for index, place in enumerate(reader.chunks):
            if index >= len(ends) - 2:  # those before were read for the cut before
                assert reader.read(index) == self.chunks[place[0]][1], cut
        assert not reader.complete, cut
        edges = {edge for begin, end, _ in self.blocks for edge in (begin, end)}
        problems = " ".join(reader.problems)
        assert "no footer" in problems or "end of the file is damaged" in problems
        if cut not in edges:
            assert "torn" in problems or "end of the file" in problems, (cut, problems)

    def damaged(self, seed, count):
        """Copies with damage of any kind."""
        generator = random.Random(seed)
        for _ in range(count):
            changed = bytearray(self.data)
            for _ in range(generator.choice((1, 1, 1, 3))):
                generator.choice(_DAMAGES)(generator, changed)
            if changed != self.data:
                yield bytes(changed)

    def check_damaged(self, changed):
        """It is noticed; what is read nevertheless is as it was written."""
        try:
            reader = _core.TraceReader(changed)
        except ValueError:
            assert changed[: self.blocks[0][0]] != self.data[: self.blocks[0][0]]
            return
        assert not reader.complete
        assert reader.problems
        for index, place in enumerate(reader.chunks):
            try:
                chunk = reader.read(index)
            except ValueError as exc:
                assert f"chunk {place[0]}: " in str(exc)
                continue
            assert (place, chunk) == self.chunks[place[0]]


def _place(generator, data):
    begin = generator.randrange(len(data))
    return begin, min(len(data), begin + generator.choice((1, 4, 64, 512, 4096)))


def _flip(generator, data):
    at = generator.randrange(len(data))
    data[at] ^= 1 << generator.randrange(8)


def _zero(generator, data):
    """As a page that was never written."""
    begin, end = _place(generator, data)
    data[begin:end] = bytes(end - begin)


def _scribble(generator, data):
    begin, end = _place(generator, data)
    data[begin:end] = bytes(generator.randrange(256) for _ in range(end - begin))


def _copy(generator, data):
    """From another place of it, with marks and heads that may be good."""
    begin, end = _place(generator, data)
    size = end - begin
    from_ = generator.randrange(len(data) - size + 1)
    data[begin:end] = data[from_ : from_ + size]


def _remove(generator, data):
    begin, end = _place(generator, data)
    if end - begin < len(data):
        del data[begin:end]


def _repeat(generator, data):
    begin, end = _place(generator, data)
    data[begin:begin] = data[begin:end]


_DAMAGES = (_flip, _zero, _scribble, _copy, _remove, _repeat)


def ask_everything(trace):
    """Every question and every export: an answer, or that records are missing."""
    questions = (
        trace.text,
        trace.figures,
        trace.shape,
        trace.await_graph,
        trace.lints,
        trace.stalls,
        lambda: trace.max_step,
        lambda: trace.lag.p99,
        lambda: trace.path("a", "b"),
        lambda: trace.spans(),
        lambda: [str(task) for task in trace.tasks()],
        lambda: [str(call) for call in trace.slots()],
        lambda: [str(wait) for wait in trace.waits()],
        lambda: [str(step) for step in trace.steps()],
        lambda: [str(event) for event in trace.events()],
        lambda: trace.snapshot(trace.duration / 2).tasks(),
    )
    for question in questions:
        try:
            assert question() is not None
        except TraceIncomplete:
            assert trace.gaps
    for name in FORMATS:
        write(trace.source, io.BytesIO(), name)
