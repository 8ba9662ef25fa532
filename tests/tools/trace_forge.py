"""Recordings made by hand, whose checksums are right whatever is in them; for tests.

See proto/TRACE.md for the format.
"""

import random
import struct

import msgpack

INTERN, STATE, EVENTS, NOTE, LOST = 11, 13, 15, 200, 201
CHUNK, FOOTER = 1, 2
RAW = 0
HEAD = {0: 1, 1: 0, 2: 4321, 3: 1, 4: "app", 5: 0, 6: 10**18, 7: 2, 12: "application"}


def _table():
    for number in range(256):
        crc = number
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
        yield crc


_TABLE = tuple(_table())


def crc32c(data):
    crc = 0xFFFFFFFF
    for byte in data:
        crc = crc >> 8 ^ _TABLE[(crc ^ byte) & 0xFF]
    return crc ^ 0xFFFFFFFF


def head(fields=HEAD):
    """The beginning of a file."""
    packed = msgpack.packb(fields)
    return b"\x89QTRACE\n" + struct.pack("<II", len(packed), crc32c(packed)) + packed


def frame(message, body):
    packed = msgpack.packb([message, 0, body])
    return struct.pack("<I", len(packed)) + packed


def block(kind, stored, seq, t0=0, t1=0, first=0, n=0, *, codec=RAW, raw=None, flags=0):
    """A block with a good head.  ``raw`` is the size that it says it unpacks to."""
    rest = struct.pack(
        "<HBBIIIQqqQII",
        64, kind, codec, len(stored), len(stored) if raw is None else raw,
        crc32c(stored), seq, t0, t1, first, n, flags,
    )  # fmt: skip
    return b"QTBK" + struct.pack("<I", crc32c(rest)) + rest + stored


def chunk(seq, records=(), rows=(), entries=(), *, first=0, notes=(), t0=None, t1=None):
    """A chunk.

    :param records: (ts, kind, loop, x, a, b) each.
    :param rows: [kind, id, state, loop, columns...] each.
    :param entries: id to a text, or to what the id of a location or stack stands for.
    :param notes: (ts, number of a message, body) each.
    """
    times = [record[0] for record in records]
    t0 = min(times, default=0) if t0 is None else t0
    t1 = max(times, default=0) if t1 is None else t1
    body = [frame(INTERN, {0: [_entry(*item)]}) for item in dict(entries).items()]
    body += [frame(STATE, {0: t0, 1: [list(row)]}) for row in rows]
    flat, before = [], 0
    for ts, kind, loop, x, a, b in records:
        flat += [_signed(ts - before), kind, loop, x, a, b]
        before = ts
    if flat:
        body.append(frame(EVENTS, {0: first, 1: 0, 2: flat}))
    body += [frame(NOTE, {0: ts, 1: number, 2: about}) for ts, number, about in notes]
    return block(CHUNK, b"".join(body), seq, t0, t1, first, len(records))


def _signed(number):
    """As the sum of 64-bit numbers wraps around."""
    return (number + (1 << 63)) % (1 << 64) - (1 << 63)


def _entry(ident, value):
    if isinstance(value, str):
        return [ident, "t", value]
    return [ident, "c" if len(value) == 3 else "k", list(value)]


def footer(places, at):
    """The end of a file.

    :param places: (offset, size, seq, t0, t1, first, n, flags) of each chunk.
    :param at: where it begins.
    """
    flat = [number for place in places for number in place]
    seq = max((place[2] for place in places), default=-1) + 1
    dropped = places[0][2] if places else 0
    made = block(FOOTER, msgpack.packb({0: flat, 1: dropped}), seq)
    return made + struct.pack("<Q", at) + b"QTRACEND"


# --- values that nobody writes -------------------------------------------------------

_EDGES = (
    0, 1, 1 << 31, 1 << 32, 1 << 55, 1 << 62, 1 << 63, (1 << 64) - 1,
    1 << 56 | 1, 3 << 56 | 1, 5 << 56 | 7, 8 << 56 | 1, 255 << 56 | 5,
)  # fmt: skip


class Nonsense:
    """Changes a part of the values to ones that cannot be, within what a field holds.

    :param often: the part, from 0 to 1.
    """

    def __init__(self, seed, often):
        self._random = random.Random(seed)
        self._often = often

    def number(self, value, bits):
        choose = self._random
        if choose.random() >= self._often:
            return value
        edges = [edge for edge in _EDGES if edge < 1 << bits]
        return choose.choice([*edges, value ^ 1, choose.randrange(12)])

    def record(self, record):
        ts, kind, loop, x, a, b = record
        if self._random.random() < self._often / 20:
            ts = self._random.choice((-(1 << 63), -1, 0, 1 << 62, (1 << 63) - 1))
        return (
            ts,
            self.number(kind, 8),
            self.number(loop, 16),
            self.number(x, 32),
            self.number(a, 64),
            self.number(b, 64),
        )

    def row(self, row):
        kind, ident, state, loop, *columns = row
        return [
            self.number(kind, 3) or 1,
            self.number(ident, 56),
            self.number(state, 8),
            self.number(loop, 16),
            *(self.number(value, 64) if value >= 0 else value for value in columns),
        ]

    def entry(self, value):
        if isinstance(value, str):
            odd = ("", "\x1b[31m</script>\0", "=1+1", "{}%s", "x" * 300, "\u202e\n")
            return self._random.choice([value] * 40 + list(odd))
        return [self.number(number, 20) for number in value]
