"""Writes the first files of tests/fuzz/corpus; what a fuzzer found stays beside them.

frame: the golden vectors, each behind the byte that says in which pieces it arrives.
segment: small segments made here from the description in proto/segment.h.
trace: the kept recordings of tests/data/trace, damaged in the ways of proto/TRACE.md.
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


def crc32c(data):
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


def block(data, offset, **changes):
    """The recording with fields of the block's head changed, and good checksums."""
    places = {"kind": (10, "B"), "codec": (11, "B"), "stored": (12, "I")}
    places.update(raw=(16, "I"), seq=(24, "Q"), n=(56, "I"))
    head = bytearray(data[offset : offset + 64])
    for name, value in changes.items():
        at, code = places[name]
        struct.pack_into("<" + code, head, at, value)
    stored = min(struct.unpack_from("<I", head, 12)[0], len(data) - offset - 64)
    contents = data[offset + 64 : offset + 64 + stored]
    struct.pack_into("<I", head, 20, crc32c(contents))
    struct.pack_into("<I", head, 4, crc32c(head[8:]))
    return data[:offset] + bytes(head) + data[offset + 64 :]


def traces():
    whole = (defs.ROOT / "tests/data/trace/v1.0-raw.qtrace").read_bytes()
    first = whole.index(b"QTBK")
    second = whole.index(b"QTBK", first + 4)
    yield "head", whole[:first]
    yield "cut", whole[: second + 100]
    yield "no-end", whole[:-16]
    yield "hole", whole[:first] + whole[second:]
    yield "noise", whole[: first + 70] + bytes(50) + whole[first + 120 :]
    yield "raw-size", block(whole, first, raw=0xFFFFFFFF)
    yield "stored-size", block(whole, first, stored=0xFFFFFFFF)
    yield "short", block(whole, first, stored=100, raw=100)
    yield "records", block(whole, first, n=1 << 20)
    yield "not-zstd", block(whole, first, codec=1)
    yield "later-codec", block(whole, first, codec=7)
    yield "later-kind", block(whole, first, kind=9)
    yield "backwards", block(whole, second, seq=0)


def main():
    kinds = (("frame", frames()), ("segment", segments()), ("trace", traces()))
    for folder, seeds in kinds:
        for path in (CORPUS / folder).glob(PREFIX + "*"):
            path.unlink()
        for name, contents in seeds:
            (CORPUS / folder / (PREFIX + name)).write_bytes(contents)
    return 0


if __name__ == "__main__":
    sys.exit(main())
