"""asyncio's transports for sockets and pipes, with their hot part in C.

The classes are asyncio's own but for what runs with each read and write, which is
``_native/stream.c``.  Whoever has replaced asyncio's class gets that one.

Thread: the loop's.
"""

from __future__ import annotations

import sys
from asyncio import selector_events
from typing import Any

from . import _core

_AsyncioSocketTransport: Any = selector_events._SelectorSocketTransport  # type: ignore[attr-defined]

IS_HOT = sys.platform != "win32"
"""Whether there is anything in C for them."""


class SocketTransport(_AsyncioSocketTransport):  # type: ignore[misc]
    """A connection over TCP or a Unix socket, without TLS."""

    if IS_HOT:
        __slots__ = _core.stream_slots()  # read from C by their place

        _read_ready = _core.stream_read_ready
        _read_ready__data_received = _core.stream_receive
        write = _core.stream_write

        def __init__(self, *args: Any, **kwargs: Any) -> None:
            self._sock = None  # for __del__(): the slot hides asyncio's default
            super().__init__(*args, **kwargs)


if IS_HOT:
    _core.stream_set_class(SocketTransport)


def socket_transport() -> Any:
    """The class for new connections."""
    current = selector_events._SelectorSocketTransport  # type: ignore[attr-defined]
    return SocketTransport if current is _AsyncioSocketTransport else current


if IS_HOT:
    from asyncio import unix_events

    _AsyncioReadPipeTransport: Any = unix_events._UnixReadPipeTransport  # type: ignore[attr-defined]

    class ReadPipeTransport(_AsyncioReadPipeTransport):  # type: ignore[misc]
        """The reading end of a pipe, as of a subprocess."""

        _read_ready = _core.stream_pipe_ready

    def read_pipe_transport() -> Any:
        """The class for new pipes."""
        current = unix_events._UnixReadPipeTransport  # type: ignore[attr-defined]
        return ReadPipeTransport if current is _AsyncioReadPipeTransport else current
