"""Writes the first files of tests/fuzz/corpus; what a fuzzer found stays beside them.

frame: the golden vectors, each behind the byte that says in which pieces it arrives.
segment: small segments made here from the description in proto/segment.h.
"""

import struct
import sys

import protocol_defs as defs

CORPUS = defs.ROOT / "tests" / "fuzz" / "corpus"
PREFIX = "seed-"

SLOTS = 8
RING = 8
HEADER = 4096
SLOT = 128
RECORD = 32


def frames():
    golden = sorted(defs.PROTO.glob("golden/*.bin"))
    for path in golden:
        yield path.stem, b"\xff" + path.read_bytes()
    stream = b"".join(path.read_bytes() for path in golden)
    yield "all-in-small-pieces", b"\x00" + stream
    yield "all-in-large-pieces", b"\xff" + stream


def slot(seq, kind, state, number):
    return struct.pack("<IBBBBQ", seq, kind, state, 1, 0, number) + bytes(range(112))


def entry(kind, contents):
    padding = -len(contents) % 8
    return struct.pack("<IB3x", len(contents), ord(kind)) + contents + bytes(padding)


def segment(head, seq):
    """A segment whose ring was written head times; seq: of every slot."""
    slots = b"".join(slot(seq, 1 + i, 0, i + 1) for i in range(SLOTS))
    records = b"".join(struct.pack("<qHHIQQ", i, 11, 1, 0, i, i) for i in range(RING))
    arena = (
        entry("t", b"main.py")
        + entry("t", b"f")
        + entry("c", struct.pack("<3I", 7, 1, 2))
    )
    arena += entry("k", struct.pack("<2I", 3, 3))
    dirty_at = HEADER + SLOTS * SLOT
    ring_at = dirty_at + SLOTS
    arena_at = ring_at + RING * RECORD
    arena_size = 256
    total = arena_at + arena_size
    header = struct.pack(
        "<8s6I6Q3Q2q64s32s32s32s32s6Q2IQ",
        *(b"QTINSEG1", 1, HEADER, SLOT, SLOTS, RECORD, RING),
        *(HEADER, dirty_at, ring_at, arena_at, arena_size, total),
        *(4711, 99, 1000, 5, 6),
        *(b"app", b"1.0", b"3.13", b"PyQt6", b"6.8"),
        *(head, len(arena), 4, 0, SLOTS, 0),
        *(2, 0, 1),
    )
    body = header.ljust(HEADER, b"\0") + slots + bytes(SLOTS) + records + arena
    return body.ljust(total, b"\0")


def segments():
    yield "fresh", segment(0, 0)
    yield "half", segment(4, 2)
    yield "round", segment(100, 2)
    yield "torn", segment(100, 3)
    yield "cut", segment(100, 2)[:-1]


def main():
    for folder, seeds in (("frame", frames()), ("segment", segments())):
        for path in (CORPUS / folder).glob(PREFIX + "*"):
            path.unlink()
        for name, contents in seeds:
            (CORPUS / folder / (PREFIX + name)).write_bytes(contents)
    return 0


if __name__ == "__main__":
    sys.exit(main())
