"""The live applications: a connection to the daemon that comes back by itself.

No widgets here: what happens is told by signals.
"""

from __future__ import annotations

import asyncio
from typing import Any

import qtinter

from ..errors import IncompatibleError, InspectError
from ..feed import Change, Feed, connect
from ..model import LOOP
from ..remote import Remote
from ..segment import is_running
from .application import GONE, LIVE, Application
from .qt import QtCore, Signal

RETRY_SECONDS = 2.0
OVERVIEW_HZ = 2
HZ = 20

DIED = "it died; this is its last state"


class Live(QtCore.QObject):
    """The applications that the daemon knows.

    :param address: the daemon's socket, or a
        :class:`~qtinter.inspect.remote.Remote`; None: the usual one.
    :ivar host: the other machine, if it is one.
    """

    appeared = Signal(object)  # an Application
    changed = Signal(object)  # an Application: up, down
    status = Signal(str, bool)  # what the connection does; whether it is there
    retry = Signal()  # emitted by whoever does not want to wait

    def __init__(self, address: Any = None, parent: Any = None) -> None:
        super().__init__(parent)
        self.address = address
        self.host = address.host if isinstance(address, Remote) else ""
        self.applications: dict[int, Application] = {}
        self.followed: Application | None = None
        self.feed: Feed | None = None
        self._sub: int | None = None
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Connects, from a running loop; and again whenever the connection is lost."""
        self._task = asyncio.ensure_future(self._run())

    def cancel(self) -> None:
        """Begins to end the connection."""
        if self._task is not None:
            self._task.cancel()

    async def stop(self) -> None:
        """Ends the connection."""
        if self._task is not None:
            task, self._task = self._task, None
            task.cancel()
            await asyncio.wait([task])

    async def _run(self) -> None:
        while True:
            try:
                async with connect(self.address, start=True) as feed:
                    self.feed = feed
                    await self._serve(feed)
            except IncompatibleError as exc:
                self._lost(str(exc))
                await qtinter.asyncsignal(self.retry)
            except (InspectError, OSError, asyncio.TimeoutError) as exc:
                self._lost(str(exc) or "the daemon does not answer")
                await self._pause()
            finally:
                self.feed = None

    async def _pause(self) -> None:
        """Waits a little, or until somebody asks for a retry."""
        try:
            await asyncio.wait_for(qtinter.asyncsignal(self.retry), RETRY_SECONDS)
        except asyncio.TimeoutError:
            pass

    def _lost(self, why: str) -> None:
        self._sub = None
        for application in self.applications.values():
            if application.kind == LIVE:
                application.take("down", {})
                application.cut_off = True
                application.problem = "the daemon is gone; this is the last known state"
                self.changed.emit(application)
        self._look_who_died()
        self.status.emit(why, False)

    def _look_who_died(self) -> None:
        """Without a daemon nobody tells that an application ends."""
        if isinstance(self.address, Remote):
            return
        for application in list(self.applications.values()):
            info = application.source.info
            if application.cut_off and not is_running(
                application.pid, int(info.get("start", 0))
            ):
                application.cut_off = False
                application.problem = DIED
                self.changed.emit(application)

    async def _serve(self, feed: Feed) -> None:
        overview = asyncio.ensure_future(
            feed.subscribe(kinds=[LOOP], hz=OVERVIEW_HZ, history=True)
        )
        where = f" on {self.host}" if self.host else ""
        self.status.emit(f"connected to {feed.server}{where}", True)
        try:
            await overview
            followed = self.followed
            if followed is not None and self._is_known(feed, followed):
                await self._subscribe(followed.pid)
            async for change in feed:
                self._take(feed, change)
        finally:
            overview.cancel()
        raise InspectError("the daemon has gone away")

    def _take(self, feed: Feed, change: Change) -> None:
        process = feed.processes.get(change.pid)
        if process is None:
            return
        application = self.applications.get(change.pid)
        if application is not None and application.source is not process:
            if application.source.info.get("start") == process.info.get("start"):
                application.source = process  # another connection
                application.all_changed()
            else:
                application = None  # another process with that number
        if application is None:
            if "name" not in process.info:
                return
            application = self.applications[change.pid] = Application(process)
            if not process.alive:
                application.kind = GONE
            self.appeared.emit(application)
        application.take(change.what, change.data)
        if change.what == "up":
            application.problem = ""
            application.cut_off = False
            self.changed.emit(application)
        elif change.what == "down":
            cause = change.data.get("cause", "")
            application.problem = {
                "goodbye": "it has ended; this is its last state",
                "died": DIED,
            }.get(cause, f"it is gone ({cause}); this is its last state")
            self.changed.emit(application)

    def forget(self, application: Application) -> None:
        """Knows it no more, until there is news of it."""
        if self.applications.get(application.pid) is application:
            del self.applications[application.pid]

    @qtinter.asyncslot(overlap="restart")
    async def follow(self, application: Any) -> None:
        """Has everything of one application told, instead of another one's."""
        self.followed = application
        feed = self.feed
        if feed is None:
            return
        try:
            if self._sub is not None:
                sub, self._sub = self._sub, None
                await feed.unsubscribe(sub)
            if application is not None and self._is_known(feed, application):
                await self._subscribe(application.pid)
        except (InspectError, asyncio.TimeoutError) as exc:
            if self.feed is feed:
                self.status.emit(str(exc), True)

    @staticmethod
    def _is_known(feed: Feed, application: Application) -> bool:
        """Whether the daemon can tell of it: also of one that has ended lately."""
        process = feed.processes.get(application.pid)
        return process is not None and (
            process.info.get("start") == application.source.info.get("start")
        )

    async def _subscribe(self, pid: int) -> None:
        assert self.feed is not None
        self._sub = await self.feed.subscribe(pid, hz=HZ, events=True, history=True)

    async def request(self, name: str, **fields: Any) -> Any:
        """Asks the daemon.

        :raises InspectError: there is none, or it refused.
        """
        if self.feed is None:
            raise InspectError("there is no connection to the daemon")
        return await self.feed.request(name, **fields)

    async def control(self, name: str, **fields: Any) -> Any:
        """Asks for something that changes an application.

        :raises InspectError: it was refused.
        """
        async with connect(self.address, role="control") as feed:
            return await feed.request(name, **fields)
