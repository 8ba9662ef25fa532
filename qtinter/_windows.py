"""The proactor event loop of Windows, inside Qt.

asyncio's ``IocpProactor`` does the I/O, unchanged: it starts overlapped operations and
handles the packets of its completion port.  What it cannot do is wait for a packet
while Qt has the thread.  That is what a thread of the core does (``_native/windows``):
it sees a packet, leaves it in the port, and has Qt call the loop, which then lets the
proactor poll.
"""

from __future__ import annotations

import asyncio
import sys
from typing import Any

from ._loop import QiBaseProactorEventLoop

if sys.platform != "win32":
    raise ImportError("qtinter._windows is for Windows; this is " + sys.platform)
assert sys.platform == "win32"  # mypy reads no further elsewhere

__all__ = ["QiProactorEventLoop"]


class QiProactorEventLoop(QiBaseProactorEventLoop, asyncio.ProactorEventLoop):
    """asyncio's ``ProactorEventLoop``, inside Qt; the default on Windows.

    Sockets, pipes and subprocesses as in asyncio; like there, no ``add_reader()``.

    :param proactor: An ``asyncio.IocpProactor``; a new one by default.
    """

    def __init__(self, proactor: Any = None) -> None:
        super().__init__(asyncio.IocpProactor() if proactor is None else proactor)
        self._opaque_selector = False

    def _watch_foreign_selector(self) -> None:
        """Nothing to bring up to date: the core watches the port, not its handles."""

    def _run_forever_setup(self) -> None:
        super()._run_forever_setup()
        self._waiter._watch_port(self._proactor._iocp)
        self.call_soon(self._loop_self_reading)

    def _run_forever_cleanup(self) -> None:
        # From here on only this thread looks into the port: close() may close it.
        self._waiter._watch_port(None)
        self._end_self_reading()
        super()._run_forever_cleanup()

    def _end_self_reading(self) -> None:
        """Cancel the read of the self-pipe that is always under way while running."""
        future, self._self_reading_future = self._self_reading_future, None
        if future is None:
            return
        operation = future._ov
        future.cancel()
        # While Windows may still write into its buffer, the proactor keeps hold of the
        # operation; the packet that a later poll finds, at the latest in close(), lets
        # go of it.  The rule of CPython 3.13, good for the versions before as well.
        if operation is not None and not operation.pending:
            self._proactor._unregister(operation)
