"""Frames and messages of the inspection protocol (proto/PROTOCOL.md), in Python.

Needs the package ``msgpack`` (``pip install qtinter[inspect]``).
"""

from __future__ import annotations

import hashlib
import hmac
import os
import stat
import struct
from typing import Any, Callable, Dict, Mapping, Optional, Tuple

from . import _tables

try:
    import msgpack
except ImportError as exc:  # pragma: no cover - depends on the installation
    raise ImportError(
        "the tools of qtinter.inspect need the package msgpack: "
        "pip install 'qtinter[inspect]'"
    ) from exc

MAJOR = 1
MINOR = 0
MAX_PAYLOAD = 1 << 20
MAX_NESTING = 16

NUMBERS = {name: number for number, (name, _, _) in _tables.MESSAGES.items()}
_KEYS = {
    name: {field: key for key, (field, _, _) in fields.items()}
    for name, _, fields in _tables.MESSAGES.values()
}
_LENGTH = struct.Struct("<I")
_TYPES: dict[str, Any] = {
    "u": int,
    "i": int,
    "f": (int, float),
    "b": bool,
    "s": str,
    "y": bytes,
    "m": dict,
    "l": (list, tuple),
}


Message = Tuple[str, int, Dict[str, Any]]  # name, seq, fields
RowsDecode = Callable[[bytes], Optional[Tuple[int, int, int, Any]]]


class ProtocolError(Exception):
    """The peer broke the protocol."""


def encode(__name: str, __seq: int = 0, **fields: Any) -> bytes:
    """Return the frame of a message; fields that are None are left out."""
    keys = _KEYS[__name]
    body = {keys[field]: value for field, value in fields.items() if value is not None}
    payload: bytes = msgpack.packb([NUMBERS[__name], __seq, body])
    return _LENGTH.pack(len(payload)) + payload


def named(message: str, fields: Mapping[Any, Any]) -> dict[str, Any]:
    """The fields of a message that is within another one, by their names.

    Those of a newer minor version are left out; those that have names keep them.
    """
    names = _tables.MESSAGES[NUMBERS[message]][2]
    return {
        names[key][0] if key in names else key: value
        for key, value in fields.items()
        if key in names or isinstance(key, str)
    }


class Decoder:
    """Cuts a byte stream into messages.

    :param rows_decode: returns (seq, sub, pid, rows) of a SUB_ROWS in a form of its
        own, None for another payload.
    """

    def __init__(self, rows_decode: RowsDecode | None = None) -> None:
        self._buffer = bytearray()
        self._rows_decode = rows_decode

    def feed(self, data: bytes) -> list[Message]:
        """Take in bytes; return the messages that are complete: (name, seq, fields).

        :raises ProtocolError: a frame breaks a limit or is no message.
        """
        self._buffer += data
        messages = []
        while len(self._buffer) >= _LENGTH.size:
            (size,) = _LENGTH.unpack_from(self._buffer)
            if not 1 <= size <= MAX_PAYLOAD:
                raise ProtocolError(f"a frame of {size} bytes")
            end = _LENGTH.size + size
            if len(self._buffer) < end:
                break
            payload = bytes(self._buffer[_LENGTH.size : end])
            del self._buffer[:end]
            message = self._decode_rows(payload) or decode(payload)
            if message is not None:
                messages.append(message)
        return messages

    def _decode_rows(self, payload: bytes) -> Message | None:
        if self._rows_decode is None:
            return None
        try:
            found = self._rows_decode(payload)
        except ValueError as exc:
            raise ProtocolError(f"SUB_ROWS: {exc}") from exc
        if found is None:
            return None
        seq, sub, pid, rows = found
        return "SUB_ROWS", seq, {"sub": sub, "pid": pid, "rows": rows}


def decode(payload: bytes) -> Message | None:
    """Return (name, seq, fields) of a payload, None for an unknown message.

    :raises ProtocolError: it is no message, or lacks a field, or has a wrong one.
    """
    try:
        value = msgpack.unpackb(payload, strict_map_key=False, use_list=True)
    except Exception as exc:  # msgpack documents no common base class
        raise ProtocolError(f"a frame is not msgpack: {exc}") from exc
    if not isinstance(value, list) or len(value) != 3:
        raise ProtocolError("a frame is not [number, seq, body]")
    number, seq, body = value
    if type(number) is not int or type(seq) is not int or not isinstance(body, dict):
        raise ProtocolError("a frame is not [number, seq, body]")
    known = _tables.MESSAGES.get(number)
    if known is None:
        return None
    name, _, fields = known
    message = {}
    for key, (field, kind, needed) in fields.items():
        if key not in body:
            if needed:
                raise ProtocolError(f"{name} lacks its field {field}")
            continue
        found = body[key]
        wanted = _TYPES.get(kind)
        is_bool = isinstance(found, bool)
        if wanted is not None and (
            not isinstance(found, wanted) or (is_bool and wanted is not bool)
        ):
            raise ProtocolError(f"{field} of {name} is {found!r}")
        message[field] = found
    return name, seq, message


# --- the handshake -------------------------------------------------------------------


def read_key(directory: str) -> bytes:
    """Return the shared secret of a runtime directory.

    :raises OSError: there is none, or it is not this user's alone.
    """
    path = os.path.join(directory, "key")
    with open(path, "rb", opener=_open_plain) as file:
        found = os.fstat(file.fileno())
        if not stat.S_ISREG(found.st_mode):
            raise OSError(f"{path} is not a file")
        if found.st_uid != os.getuid() or stat.S_IMODE(found.st_mode) & 0o077:
            raise PermissionError(f"{path} must belong to you alone (mode 0600)")
        key = file.read(64)
    if len(key) != 32:
        raise OSError(f"{path} does not hold 32 bytes")
    return key


def _open_plain(path: str, flags: int) -> int:
    """Opens without following a link, and without waiting for the writer of a pipe."""
    more = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
    return os.open(path, flags | more)


def client_proof(key: bytes, server_nonce: bytes, nonce: bytes, role: str) -> bytes:
    """The HMAC of AUTH."""
    data = b"client" + server_nonce + nonce + role.encode()
    return hmac.new(key, data, hashlib.sha256).digest()


def server_proof(key: bytes, server_nonce: bytes, nonce: bytes) -> bytes:
    """The HMAC of WELCOME."""
    return hmac.new(key, b"server" + nonce + server_nonce, hashlib.sha256).digest()
