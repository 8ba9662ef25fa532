"""``qtinter-inspect proxy --stdio``: the daemon's socket on standard input and output.

It is what ``--host`` starts on the other machine.  The tool at the far end has no key,
so its AUTH has an empty proof; the proxy puts its own in its place, checks the
daemon's, and from then on only moves bytes (proto/PROTOCOL.md, section 3).
"""

from __future__ import annotations

import asyncio
import os
import select
import socket
import struct
import sys
import threading
from typing import TYPE_CHECKING, Any, Callable

from . import wire
from .errors import InspectError
from .feed import HANDSHAKE_SECONDS, connect

if TYPE_CHECKING:
    import argparse

_LENGTH = struct.Struct("<I")
_CHUNK = 1 << 16
_HANDSHAKE_MAX = 4096  # bytes of a frame; the daemon's limit, too


def run(options: argparse.Namespace) -> int:
    """The command; ``options.socket`` is the daemon's socket, None for the usual one.

    Nothing but the protocol is written to standard output.

    :raises InspectError: the daemon cannot be reached or breaks the protocol.
    """
    if sys.stdin.isatty():
        print(
            "qtinter-inspect: proxy speaks a binary protocol, to a qtinter-inspect "
            "--host on another machine, which starts it",
            file=sys.stderr,
        )
        return 2
    address = asyncio.run(_prepare(options.socket))
    with socket.socket(socket.AF_UNIX) as daemon:
        daemon.settimeout(HANDSHAKE_SECONDS)
        daemon.connect(address)
        if _introduce(daemon, os.path.dirname(address)):
            daemon.settimeout(None)
            _relay(daemon)
    return 0


async def _prepare(address: str | None) -> str:
    """Sees to it that a daemon runs and knows the applications; returns its address."""
    async with connect(address, start=True) as feed:
        if feed.started:
            await feed.wait_for_applications()
        return feed.address


def _introduce(daemon: socket.socket, directory: str) -> bool:
    """The handshake; returns whether the daemon has welcomed the tool."""
    hello = _receive(daemon.recv, "the daemon")
    _write(hello)
    name, _, offer = _message(hello)
    auth = _receive(_read_input, "the tool")
    asked, seq, fields = _message(auth)
    if name != "HELLO" or asked != "AUTH":
        raise InspectError(f"a handshake of {name} and {asked}")
    key = wire.read_key(directory)
    nonce = os.urandom(32)
    fields.update(
        client=f"{fields['client']} via proxy",
        nonce=nonce,
        hmac=wire.client_proof(key, offer["nonce"], nonce, fields["role"]),
    )
    daemon.sendall(wire.encode(asked, seq, **fields))
    answer = _receive(daemon.recv, "the daemon")
    name, _, welcome = _message(answer)
    if name == "WELCOME" and welcome["hmac"] != wire.server_proof(
        key, offer["nonce"], nonce
    ):
        raise InspectError("whoever listens on the daemon's socket has not the key")
    _write(answer)
    return name == "WELCOME"


def _relay(daemon: socket.socket) -> None:
    """Moves bytes both ways until one side ends."""
    threading.Thread(target=_feed_daemon, args=(daemon,), daemon=True).start()
    try:
        while True:
            data = daemon.recv(_CHUNK)
            if not data:
                return
            _write(data)
    except (BrokenPipeError, ConnectionResetError):
        return  # one of the two is gone, which is how this ends


def _feed_daemon(daemon: socket.socket) -> None:
    try:
        while True:
            data = os.read(0, _CHUNK)
            if not data:
                break
            daemon.sendall(data)
        daemon.shutdown(socket.SHUT_RDWR)  # wakes the other thread
    except OSError:
        pass  # the daemon is gone, which the other thread sees, too


# --- frames --------------------------------------------------------------------------


def _receive(read: Callable[[int], bytes], whose: str) -> bytes:
    """One whole frame, and no byte more."""
    header = _exactly(read, _LENGTH.size, whose)
    (size,) = _LENGTH.unpack(header)
    if not 1 <= size <= _HANDSHAKE_MAX:
        raise InspectError(f"{whose} sent a frame of {size} bytes in the handshake")
    return header + _exactly(read, size, whose)


def _exactly(read: Callable[[int], bytes], size: int, whose: str) -> bytes:
    data = b""
    while len(data) < size:
        more = read(size - len(data))
        if not more:
            raise InspectError(f"{whose} closed the connection in the handshake")
        data += more
    return data


def _read_input(size: int) -> bytes:
    if not select.select([0], [], [], HANDSHAKE_SECONDS)[0]:
        raise InspectError("the tool did not answer in time")
    return os.read(0, size)


def _write(data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(1, view) :]


def _message(frame: bytes) -> tuple[str, int, dict[str, Any]]:
    try:
        found = wire.decode(frame[_LENGTH.size :])
    except wire.ProtocolError as exc:
        raise InspectError(str(exc)) from exc
    return found if found is not None else ("an unknown message", 0, {})
