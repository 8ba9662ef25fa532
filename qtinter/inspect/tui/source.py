"""Where a view's processes come from: the daemon, over and over, or a file."""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from typing import TYPE_CHECKING, Any, Callable, NamedTuple

from .. import wire
from ..errors import InspectError
from ..feed import Change, Feed, connect, records_of
from ..model import LOOP, Process, forget_ended
from ..remote import Remote
from ..segment import is_running

if TYPE_CHECKING:
    from collections.abc import Sequence

Listener = Callable[[Change], None]

LIVE_HZ = 20
SURVEY_HZ = 4
SURVEY_SUB = 1  # the number of a connection's first subscription
EVENTS_HZ = 10
RETRY_SECONDS = 0.25
SETTLE_SECONDS = 2.0  # that a first screen is waited for before all else
# A daemon that is being restarted by others gets so long before we start one.
START_AFTER_SECONDS = 3.0


class Source:
    """What there is to be seen.

    :ivar processes: pid to :class:`~qtinter.inspect.model.Process`; one that has ended
        stays, with ``alive`` false.
    :ivar followed: the pid of which everything is known, not only its loops.
    :ivar connection: the state of the connection, a word or two.
    :ivar is_connected: whether what is shown is current.
    :ivar can_follow: whether there is more to come.
    """

    can_follow = True

    def __init__(self) -> None:
        self.processes: dict[int, Process] = {}
        self.followed: int | None = None
        self.connection = "connecting"
        self.is_connected = False
        self.problem = ""
        self._listeners: list[Listener] = []

    def listen(self, listener: Listener) -> None:
        """Have a function called for each change, after it was taken in."""
        self._listeners.append(listener)

    def _tell(self, change: Change) -> None:
        for listener in self._listeners:
            listener(change)

    async def run(self) -> None:
        """Take in what comes, until it is cancelled."""

    async def settle(self) -> None:
        """Wait, while it runs, for what is shown first."""

    async def follow(self, pid: int | None) -> None:
        """Have everything about an application, instead of about the one before."""
        self.followed = pid

    async def follow_events(self, pid: int | None) -> None:
        """Have its events told, too; None: no more."""

    async def request(self, name: str, **fields: Any) -> Any:
        """Ask the daemon.

        :raises InspectError: it refused, or there is none.
        """
        raise InspectError("this is a file, not a program that runs")


class FileSource(Source):
    """A recording or a segment: what it shows, at one moment.

    :param snapshots: gives the process at a time, in seconds since the begin; None for
        a file that knows its last state only.
    :param stalls: the fields of STALL for each, and what ran.
    :param lints: the fields of LINT for each.
    """

    can_follow = False

    def __init__(
        self,
        path: str,
        process: Process,
        snapshots: Callable[[float], Process] | None = None,
        length: float = 0.0,
        stalls: Sequence[dict[str, Any]] = (),
        lints: Sequence[dict[str, Any]] = (),
    ) -> None:
        super().__init__()
        self.stalls: list[tuple[int, dict[str, Any]]] = []  # of which pid
        self.path = path
        self.at = length
        self.length = length
        self._snapshots = snapshots
        self._parts: list[_Part] = []
        self.pid = int(process.info["pid"])
        self.connection = os.path.basename(path)
        self.is_connected = True
        self.followed = self.pid
        self.add(process, snapshots, 0.0, length, stalls, lints)

    def add(
        self,
        process: Process,
        snapshots: Callable[[float], Process] | None,
        offset: float,
        length: float,
        stalls: Sequence[dict[str, Any]],
        lints: Sequence[dict[str, Any]],
    ) -> None:
        """Another process of the same test; its times begin at the offset."""
        pid = int(process.info["pid"])
        part = _Part(pid, snapshots, offset, length, lints)
        self._parts.append(part)
        self.stalls += [(pid, fields) for fields in stalls]
        self._show(part, process)

    @property
    def has_times(self) -> bool:
        """Whether :meth:`go_to` goes anywhere."""
        return self._snapshots is not None

    def go_to(self, at: float) -> None:
        """Show the state at another time, seconds since the begin."""
        if self._snapshots is None:
            return
        self.at = max(0.0, min(self.length, at))
        for part in self._parts:
            if part.snapshots is not None:
                its = max(0.0, min(part.length, self.at - part.offset))
                self._show(part, part.snapshots(its))
                self._tell(Change("snapshot", part.pid, {}))

    def _show(self, part: _Part, process: Process) -> None:
        now = process.now()
        for lint in part.lints:
            if lint["since"] <= now:
                process.lints[lint["id"], lint["ref"]] = lint
        self.processes[part.pid] = process


class _Part(NamedTuple):
    """One process of a file."""

    pid: int
    snapshots: Callable[[float], Process] | None
    offset: float
    length: float
    lints: Sequence[dict[str, Any]]


class LiveSource(Source):
    """The daemon; it may come and go.

    :param address: path of its socket; None: the usual one.
    :param pid: the application to follow; None: the first one that is there.
    """

    def __init__(
        self, address: str | Remote | None = None, pid: int | None = None
    ) -> None:
        super().__init__()
        self.wanted = pid
        self._address = address
        self._feed: Feed | None = None
        self._sub: int | None = None
        self._events_pid: int | None = None
        self._events_sub: int | None = None
        self._lock: asyncio.Lock | None = None
        self._settled = False  # there was a connection, or there can be none
        self._settling: asyncio.Future[None] | None = None
        self._failure: Exception | None = None  # the last one

    # --- connection

    async def settle(self) -> None:
        """Wait for the first state; not if the daemon must be started for it.

        Of another machine until it is there, or cannot be had: ssh may ask for a
        password, and must have the terminal for it.

        :raises InspectError: the other machine, or its daemon, cannot be reached.
        :raises PermissionError: we may not enter there.
        """
        if not self._settled:
            await self._wait_for_first()
        is_remote = isinstance(self._address, Remote)
        if is_remote and not self.is_connected and self._failure is not None:
            raise self._failure

    async def _wait_for_first(self) -> None:
        self._settling = asyncio.get_running_loop().create_future()
        limit = None if isinstance(self._address, Remote) else SETTLE_SECONDS
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(self._settling, limit)

    def _settle(self) -> None:
        self._settled = True
        if isinstance(self._address, Remote):
            self._address = self._address.unattended()
        if self._settling is not None and not self._settling.done():
            self._settling.set_result(None)

    async def run(self) -> None:
        self._lock = asyncio.Lock()
        lost_at: float | None = None  # none was lost: one is started at once
        while True:
            waited = lost_at is None or time.monotonic() - lost_at > START_AFTER_SECONDS
            try:
                async with connect(self._address, start=waited) as feed:
                    await self._serve(feed)
            except (
                InspectError,
                OSError,
                asyncio.TimeoutError,
                wire.ProtocolError,
            ) as exc:
                self.problem = str(exc) or "the daemon does not answer"
                self._failure = exc
            self._feed = None
            if self.is_connected:
                lost_at = time.monotonic()
            self._disconnected()
            await asyncio.sleep(RETRY_SECONDS * (4 if waited else 1))

    async def _serve(self, feed: Feed) -> None:
        """Takes in what comes until the connection ends."""
        self._feed = feed
        self._sub = self._events_sub = None
        taking = asyncio.ensure_future(self._take(feed))
        try:
            if feed.started:
                self.connection = "waiting for applications"
                self._settle()
                await feed.wait_for_applications()
            pid = self.followed or self.wanted or await self._choose(feed)
            # Loops first: what a later subscription brings replaces what is known.
            survey = asyncio.ensure_future(
                feed.subscribe(None, kinds=[LOOP], hz=SURVEY_HZ)
            )
            await asyncio.sleep(0)
            await self._follow(pid)
            await survey
            if self._events_pid is not None:
                await self.follow_events(self._events_pid)
            self.connection, self.is_connected, self.problem = "live", True, ""
            self._settle()
            await taking
        finally:
            taking.cancel()
            with contextlib.suppress(asyncio.CancelledError, InspectError, OSError):
                await taking

    async def _choose(self, feed: Feed) -> int | None:
        rows = await feed.list()
        pids = sorted(row["pid"] for row in rows)
        alive = [pid for pid in pids if self._is_alive(feed, pid)]
        return next(iter(alive or pids), None)

    @staticmethod
    def _is_alive(feed: Feed, pid: int) -> bool:
        process = feed.processes.get(pid)
        return process is not None and process.alive

    def _disconnected(self) -> None:
        was = self.is_connected
        self._settle()
        self.connection, self.is_connected = "no daemon", False
        is_here = not isinstance(self._address, Remote)
        for process in self.processes.values():
            # Without a daemon nobody tells that it ends.
            if is_here and process.alive and not _runs(process):
                _mark_ended(process, "died")
        if was:
            self._tell(Change("lost", 0, {}))

    async def _take(self, feed: Feed) -> None:
        async for change in feed:
            pid = change.pid
            process = feed.processes.get(pid)
            if process is not None:
                self._adopt(
                    pid,
                    process,
                    change.what == "snapshot"
                    and (pid != self.followed or change.data["sub"] != SURVEY_SUB),
                )
            if change.what == "down":
                forget_ended(self.processes, keep=self.followed)
            is_new = change.what == "up" and self.followed is None
            if is_new and self.wanted in (None, pid):
                asyncio.ensure_future(self._follow_quietly(pid))
            self._tell(change)

    def _adopt(self, pid: int, process: Process, is_complete: bool) -> None:
        """The state of before a new connection stays until there is a new one."""
        known = self.processes.get(pid)
        if known is process:
            return
        if known is None or not known.rows or is_complete:
            if known is not None:
                process.lost += known.lost
            self.processes[pid] = process

    # --- following

    async def follow(self, pid: int | None) -> None:
        if pid != self.followed:
            await self._follow(pid)

    async def _follow_quietly(self, pid: int) -> None:
        with contextlib.suppress(InspectError, OSError, asyncio.TimeoutError):
            await self.follow(pid)

    async def _follow(self, pid: int | None) -> None:
        self.followed = pid
        feed = self._feed
        if feed is None or self._lock is None:
            return
        async with self._lock:
            before, self._sub = self._sub, None
            if before is not None:
                await feed.unsubscribe(before)
            if pid is not None and pid == self.followed:
                self._sub = await feed.subscribe(pid, hz=LIVE_HZ)

    async def follow_events(self, pid: int | None) -> None:
        self._events_pid = pid
        feed = self._feed
        if feed is None or self._lock is None:
            return
        async with self._lock:
            before, self._events_sub = self._events_sub, None
            if before is not None:
                await feed.unsubscribe(before)
            if pid is not None:
                # With those that the daemon still has.
                self._events_sub = await feed.subscribe(
                    pid, kinds=[], hz=EVENTS_HZ, events=True, history=True
                )

    async def request(self, name: str, **fields: Any) -> Any:
        if self._feed is None:
            raise InspectError("there is no connection to the daemon")
        try:
            return await self._feed.request(name, **fields)
        except (OSError, asyncio.TimeoutError) as exc:
            raise InspectError(str(exc) or "the daemon does not answer") from exc


def records_of_change(change: Change) -> Sequence[tuple[int, int, int, int, int, int]]:
    """The records (ts, kind, loop, x, a, b) of a change ``"events"``."""
    return records_of(change.data)


def _runs(process: Process) -> bool:
    return is_running(
        int(process.info.get("pid", 0)), int(process.info.get("start", 0))
    )


def _mark_ended(process: Process, cause: str) -> None:
    process.info.setdefault("last", time.monotonic_ns() + process.clock_offset)
    process.info["cause"] = cause
    process.alive = False
