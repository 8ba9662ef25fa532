"""Writing protocol buffers, as far as a trace of Perfetto needs them.

A message is the concatenation of its fields, so functions return bytes and messages are
made by joining them.  See "Encoding" in the documentation of Protocol Buffers.
"""

from __future__ import annotations

_VARINT, _LENGTH = 0, 2
_SMALL = [bytes((i,)) for i in range(128)]
_MASK = (1 << 64) - 1


def varint(value: int) -> bytes:
    """An integer in base 128; negative ones as 64 bits."""
    if 0 <= value < 128:
        return _SMALL[value]
    value &= _MASK
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)
    return bytes(out)


def integer(field: int, value: int) -> bytes:
    """A field of type int32, int64, uint32, uint64, bool or an enum."""
    return varint(field << 3 | _VARINT) + varint(value)


def message(field: int, content: bytes) -> bytes:
    """A field that holds a message."""
    return varint(field << 3 | _LENGTH) + varint(len(content)) + content


def text(field: int, value: str) -> bytes:
    """A field of type string; what is no text (half a surrogate pair) is replaced."""
    return message(field, value.encode("utf-8", "replace"))
