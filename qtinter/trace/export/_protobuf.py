"""Writing protocol buffers, as far as a trace of Perfetto needs them.

A message is the concatenation of its fields, so functions return bytes and messages are
made by joining them.  See "Encoding" in the documentation of Protocol Buffers.
"""

from __future__ import annotations

import struct

_VARINT, _FIXED64, _LENGTH = 0, 1, 2
_SMALL = [bytes((i,)) for i in range(128)]
_PAIRS = [bytes((i & 127 | 128, i >> 7 | 128)) for i in range(1 << 14)]
_MASK = (1 << 64) - 1
_double = struct.Struct("<d")
_fixed = struct.Struct("<Q")


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


class Ascending:
    """Varints of numbers that have their upper bits in common with the one before."""

    def __init__(self) -> None:
        self._upper = -1
        self._end = b""

    def varint(self, value: int) -> bytes:
        """An integer from 0 to 2**64 - 1."""
        if value >> 28 != self._upper:
            self._upper = value >> 28
            self._end = varint(self._upper)
        return _PAIRS[value & 0x3FFF] + _PAIRS[value >> 14 & 0x3FFF] + self._end


def integer(field: int, value: int) -> bytes:
    """A field of type int32, int64, uint32, uint64, bool or an enum."""
    return varint(field << 3 | _VARINT) + varint(value)


def fixed64(field: int, value: int) -> bytes:
    """A field of type fixed64."""
    return varint(field << 3 | _FIXED64) + _fixed.pack(value & _MASK)


def double(field: int, value: float) -> bytes:
    """A field of type double."""
    return varint(field << 3 | _FIXED64) + _double.pack(value)


def message(field: int, content: bytes) -> bytes:
    """A field that holds a message."""
    return varint(field << 3 | _LENGTH) + varint(len(content)) + content


def text(field: int, value: str) -> bytes:
    """A field of type string; what is no text (half a surrogate pair) is replaced."""
    return message(field, value.encode("utf-8", "replace"))
