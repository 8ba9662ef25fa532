"""A connection to the daemon, as an asyncio client.

::

    async with qtinter.inspect.connect() as feed:
        await feed.subscribe()
        async for change in feed:
            print([task["name"] for task in feed.processes[change.pid].tasks()])

It runs on any asyncio loop and knows neither Qt nor the loops it shows.
"""

from __future__ import annotations

import asyncio
import collections
import contextlib
import gc
import os
import shutil
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any, AsyncIterator

from .._version import __version__
from . import wire
from ._backlog import Backlog
from ._backlog import Change as Change
from .errors import IncompatibleError, InspectError
from .model import Process, forget_ended, rows_decode
from .remote import Remote
from .segment import SOCKET_NAME as SOCKET_NAME
from .segment import running_applications, runtime_directory

if TYPE_CHECKING:
    from collections.abc import Coroutine, Iterator, Sequence
    from types import TracebackType

HANDSHAKE_SECONDS = 5.0
START_SECONDS = 5.0
REQUEST_SECONDS = 10.0
APPLICATION_SECONDS = 2.0
_LARGE = 1 << 16  # bytes received at once


def connect(
    address: str | os.PathLike[str] | Remote | None = None,
    *,
    role: str = "observe",
    start: bool = False,
) -> Feed:
    """Return a connection to the daemon, to be entered with ``async with``.

    :param address: path of its socket, by default that of the runtime directory; or a
        :class:`~qtinter.inspect.remote.Remote`: the daemon of another machine, which is
        started if there is none.
    :param role: ``"observe"``, or ``"control"`` to cancel tasks and change levels.
    :param start: start a daemon if there is none.
    """
    return Feed(address, role, start)


class Feed:
    """The daemon's view of the applications; see :func:`connect`.

    :ivar processes: pid to :class:`~qtinter.inspect.model.Process`, kept current for
        what is subscribed to.  Of those that have ended the last 16 stay, which are
        those that the daemon has, too.
    """

    def __init__(
        self,
        address: str | os.PathLike[str] | Remote | None,
        role: str,
        start: bool,
    ) -> None:
        self._remote: Remote | None = None
        if isinstance(address, Remote):
            self._remote = address.fresh()
            address = self._remote.address
        # Nanoseconds that the clock of the daemon's machine is ahead of ours.
        self._clock_offset = 0
        self.address: str = (
            os.fspath(address)
            if address is not None
            else os.path.join(runtime_directory(), SOCKET_NAME)
        )
        self.role = role
        self.server = ""
        self.started = False
        self.processes: dict[int, Process] = {}
        self._start = start
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None
        self._decoder = wire.Decoder(rows_decode)
        # Messages that came together with those of the handshake.
        self._early: collections.deque[tuple[str, int, dict[str, Any]]] = (
            collections.deque()
        )
        self._seq = 0
        self._subs = 0
        # What each subscription is about; None: everything.
        self._kinds: dict[int, frozenset[int] | None] = {}
        self._answers: dict[int, asyncio.Future[Any]] = {}
        self._begun: dict[tuple[int, int], asyncio.Future[None]] = {}
        self._directory = os.path.dirname(self.address)
        self._news = asyncio.Event()
        self._changes = Backlog(self._lost_by_backlog)
        self._receiver: asyncio.Task[None] | None = None
        self._failure: BaseException | None = None

    # --- connection

    async def __aenter__(self) -> Feed:
        try:
            if self._remote is None:
                await self._open()
                await self._in_time(self._handshake())
            else:
                await self._open_remote(self._remote)
        except BaseException:
            await self.aclose()
            raise
        self._receiver = asyncio.ensure_future(self._receive())
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close the connection; a second call does nothing."""
        if self._receiver is not None:
            self._receiver.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._receiver
            self._receiver = None
        if self._writer is not None:
            self._writer.close()
            with contextlib.suppress(OSError):
                await self._writer.wait_closed()
            self._writer = None
        if self._remote is not None:
            await self._remote.close()

    async def _open(self) -> None:
        connect = asyncio.open_unix_connection
        try:
            self._reader, self._writer = await connect(self.address)
        except (ConnectionError, FileNotFoundError) as exc:
            if not self._start:
                raise InspectError(
                    f"no daemon listens on {self.address}; start one with qtinterd"
                ) from exc
            await _start_daemon(self.address)
            self.started = True
            self._reader, self._writer = await connect(self.address)

    async def _open_remote(self, remote: Remote) -> None:
        self._reader, self._writer = await remote.open()
        try:
            # No limit: somebody may have to type a password for ssh.
            hello = await self._next()
        except wire.ProtocolError as exc:
            raise InspectError(
                f"what comes from {remote.host} is not the protocol ({exc}); does a "
                "start-up file of the shell there print something?"
            ) from exc
        except (InspectError, OSError) as exc:
            raise await remote.failure(str(exc)) from exc
        await self._in_time(self._authenticate(*hello))

    async def _in_time(self, handshake: Coroutine[Any, Any, None]) -> None:
        try:
            await asyncio.wait_for(handshake, HANDSHAKE_SECONDS)
        except asyncio.TimeoutError:
            raise InspectError(f"{self.address} does not answer in time") from None
        except wire.ProtocolError as exc:
            raise InspectError(f"{self.address} breaks the protocol: {exc}") from exc

    async def _next(self) -> tuple[str, int, dict[str, Any]]:
        while not self._early:
            assert self._reader is not None
            data = await self._reader.read(65536)
            if not data:
                raise InspectError("the daemon closed the connection")
            self._early.extend(self._decoder.feed(data))
        return self._early.popleft()

    async def _handshake(self) -> None:
        await self._authenticate(*await self._next())

    async def _authenticate(self, name: str, _: int, hello: dict[str, Any]) -> None:
        if name != "HELLO" or hello["magic"] != "QTI":
            raise InspectError(f"{self.address} is not the socket of a qtinter daemon")
        if hello["major"] != wire.MAJOR:
            raise IncompatibleError(
                f"the daemon ({hello['server']}) speaks protocol {hello['major']}."
                f"{hello['minor']}, this tool {wire.MAJOR}.{wire.MINOR}"
            )
        self.server = hello["server"]
        # Of another machine the proxy there has the key, and does the proving.
        key = wire.read_key(self._directory) if self._remote is None else None
        nonce = os.urandom(32)
        self._send(
            "AUTH",
            major=wire.MAJOR,
            minor=wire.MINOR,
            role=self.role,
            client=f"qtinter-inspect {__version__}",
            nonce=nonce,
            hmac=b""
            if key is None
            else wire.client_proof(key, hello["nonce"], nonce, self.role),
        )
        name, _, answer = await self._next()
        if name == "REFUSE":
            error = IncompatibleError if answer["code"] == 1 else InspectError
            raise error(answer["text"])
        if name != "WELCOME" or (
            key is not None
            and answer["hmac"] != wire.server_proof(key, hello["nonce"], nonce)
        ):
            raise InspectError(
                f"whoever listens on {self.address} does not know the key"
            )
        if key is None:
            self._clock_offset = answer["clock"] - time.monotonic_ns()
        self.role = answer["role"]

    def _send(self, name: str, seq: int = 0, **fields: Any) -> None:
        if self._writer is None:
            raise InspectError("the connection is closed")
        self._writer.write(wire.encode(name, seq, **fields))

    async def wait_for_applications(self) -> None:
        """Wait until the applications have found a daemon that was just started.

        They look for one about once a second.  Which there are, their segments tell.
        """
        wanted = set(running_applications(self._directory))
        try:
            await asyncio.wait_for(self._until_known(wanted), APPLICATION_SECONDS)
        except asyncio.TimeoutError:
            pass  # one of them is connected elsewhere, or hangs in its start

    async def _until_known(self, wanted: set[int]) -> None:
        while not wanted <= set(self.processes):
            self._news.clear()
            await self._news.wait()

    # --- requests

    async def request(self, name: str, **fields: Any) -> Any:
        """Send a request and return the value of its answer.

        :raises InspectError: the daemon or the application refused it, with its text.
        """
        if self._failure is not None:
            raise InspectError(str(self._failure))
        self._seq += 1
        seq = self._seq
        answer = asyncio.get_running_loop().create_future()
        self._answers[seq] = answer
        try:
            self._send(name, seq, **fields)
            return await asyncio.wait_for(answer, REQUEST_SECONDS)
        finally:
            self._answers.pop(seq, None)

    async def list(self) -> list[dict[str, Any]]:
        """Return the applications that the daemon knows."""
        rows = await self.request("LIST")
        return [wire.named("PROC_UP", row) for row in rows or ()]

    async def subscribe(
        self,
        pid: int | None = None,
        *,
        kinds: Sequence[int] | None = None,
        hz: int = 20,
        events: bool = False,
        history: bool = False,
    ) -> int:
        """Have :attr:`processes` kept current; return the number of the subscription.

        :param pid: the application; all of them if None.
        :param kinds: of entities; all if None.
        :param hz: most updates a second, 1 to 50.
        :param events: also tell each event.
        :param history: also entities that have ended.

        The first state is there when this returns, for applications that are there.
        """
        self._subs += 1
        sub = self._subs
        self._kinds[sub] = None if kinds is None else frozenset(kinds)
        await self.request(
            "SUBSCRIBE",
            sub=sub,
            pid=pid,
            kinds=None if kinds is None else [*kinds],
            hz=hz,
            events=events,
            history=history,
        )
        return sub

    async def unsubscribe(self, sub: int) -> None:
        """End a subscription."""
        await self.request("UNSUBSCRIBE", sub=sub)
        self._kinds.pop(sub, None)

    # --- what comes in

    def __aiter__(self) -> AsyncIterator[Change]:
        return self._iterate()

    async def _iterate(self) -> AsyncIterator[Change]:
        while True:
            change = await self._changes.take()
            if change is None:
                if isinstance(self._failure, Exception):
                    raise self._failure
                return
            yield change

    async def _receive(self) -> None:
        assert self._reader is not None
        try:
            while self._early:
                self._take(*self._early.popleft())
            while True:
                data = await self._reader.read(1 << 18)
                if not data:
                    self._failure = self._failure or InspectError(
                        "the daemon has gone away"
                        if self._remote is None
                        else f"the connection to {self._remote.host} has ended"
                    )
                    break
                with _no_collection(len(data)):
                    for name, seq, fields in self._decoder.feed(data):
                        self._take(name, seq, fields)
        except (OSError, wire.ProtocolError) as exc:
            self._failure = InspectError(f"the connection to the daemon broke: {exc}")
        finally:
            for answer in self._answers.values():
                if not answer.done():
                    answer.set_exception(
                        self._failure or InspectError("the connection was closed")
                    )
            self._changes.close()

    def _take(self, name: str, seq: int, fields: dict[str, Any]) -> None:
        if name == "RESULT":
            self._take_result(seq, fields)
            return
        handler = getattr(self, f"_on_{name.lower()}", None)
        if handler is None:
            return
        try:
            handler(fields)
        except (TypeError, ValueError, LookupError) as exc:
            # What is in a list or a map is looked at when it is used.
            raise wire.ProtocolError(f"a {name} that is none: {exc}") from exc

    def _take_result(self, seq: int, fields: dict[str, Any]) -> None:
        answer = self._answers.get(seq)
        if answer is None or answer.done():
            return
        if fields["ok"]:
            answer.set_result(fields.get("value"))
        else:
            answer.set_exception(InspectError(fields.get("error", "refused")))

    def _tell(self, what: str, pid: int, fields: dict[str, Any]) -> None:
        self._changes.put(Change(what, pid, fields))

    def _process(self, pid: int) -> Process:
        process = self.processes.get(pid)
        if process is None:
            process = self.processes[pid] = Process({"pid": pid})
            process.clock_offset = self._clock_offset
        return process

    def _on_refuse(self, fields: dict[str, Any]) -> None:
        # It has no memory left for us, and closes the connection.
        self._failure = InspectError(f"the daemon refuses: {fields['text']}")

    def _on_proc_up(self, fields: dict[str, Any]) -> None:
        process = self._process(fields["pid"])
        process.info.update(wire.named("PROCESS", fields["process"]))
        process.alive = True
        # The newest one now, also if it was there: they are forgotten in order.
        self.processes[fields["pid"]] = self.processes.pop(fields["pid"])
        self._news.set()
        self._tell("up", fields["pid"], fields)

    def _on_proc_down(self, fields: dict[str, Any]) -> None:
        process = self._process(fields["pid"])
        process.alive = False
        process.info["cause"] = fields["cause"]
        forget_ended(self.processes)
        self._tell("down", fields["pid"], fields)

    def _on_sub_begin(self, fields: dict[str, Any]) -> None:
        # Rows of other kinds are another subscription's.
        process = self._process(fields["pid"])
        kinds = self._kinds.get(fields["sub"])
        if kinds is None:
            process.rows.clear()
        else:
            for key in [key for key in process.rows if key[0] in kinds]:
                del process.rows[key]

    def _on_sub_rows(self, fields: dict[str, Any]) -> None:
        self._process(fields["pid"]).put_all(fields["rows"])

    def _on_sub_end(self, fields: dict[str, Any]) -> None:
        self._tell("snapshot", fields["pid"], fields)

    def _on_sub_intern(self, fields: dict[str, Any]) -> None:
        entries = self._process(fields["pid"]).entries
        for ident, _kind, value in fields["entries"]:
            entries[ident] = value

    def _on_delta(self, fields: dict[str, Any]) -> None:
        process = self._process(fields["pid"])
        process.info["last"] = fields["ts"]
        for kind, ident, columns in fields["upsert"]:
            process.change(kind, ident, columns)
        for kind, ident in fields["gone"]:
            process.remove(kind, ident)
        self._tell("rows", fields["pid"], fields)

    def _on_event_stream(self, fields: dict[str, Any]) -> None:
        self._tell("events", fields["pid"], fields)

    def _on_gap(self, fields: dict[str, Any]) -> None:
        pid = fields.get("pid", 0)
        if pid in self.processes:
            self.processes[pid].lost += fields["count"]
        self._tell("gap", pid, fields)

    def _lost_by_backlog(self, pid: int, count: int) -> None:
        if pid in self.processes:
            self.processes[pid].lost += count

    def _on_lint(self, fields: dict[str, Any]) -> None:
        process = self._process(fields["pid"])
        key = (fields["id"], fields["ref"])
        if fields["active"]:
            process.lints[key] = fields
        else:
            process.lints.pop(key, None)
        self._tell("lint", fields["pid"], fields)

    def _on_stall_note(self, fields: dict[str, Any]) -> None:
        self._tell("stall", fields["pid"], fields)


@contextlib.contextmanager
def _no_collection(size: int) -> Iterator[None]:
    """While much comes in: rows have no cycles, the collector would find nothing."""
    pause = size > _LARGE and gc.isenabled()
    if pause:
        gc.disable()
    try:
        yield
    finally:
        if pause:
            gc.enable()


def records_of(fields: dict[str, Any]) -> list[tuple[int, int, int, int, int, int]]:
    """The records (ts, kind, loop, x, a, b) of an EVENTS or EVENT_STREAM message."""
    ts = fields["ts"]
    flat = fields["records"]
    found = []
    for i in range(0, len(flat) - 5, 6):
        ts += flat[i]
        found.append((ts, *flat[i + 1 : i + 6]))
    return found


# --- starting a daemon ---------------------------------------------------------------


def find_daemon() -> str | None:
    """Path of the qtinterd program, None if there is none."""
    chosen = os.environ.get("QTINTERD")
    if chosen:
        return chosen
    beside = os.path.join(os.path.dirname(os.path.dirname(__file__)), "bin", "qtinterd")
    if os.access(beside, os.X_OK):
        return beside
    return shutil.which(
        "qtinterd", path=os.path.dirname(sys.executable)
    ) or shutil.which("qtinterd")


def run_daemon() -> None:
    """The command ``qtinterd``: becomes the program of that name in the package.

    The program itself cannot find the Qt that a binding brought along; see
    :func:`daemon_environment`.
    """
    package = os.path.dirname(os.path.dirname(__file__))
    program = os.path.join(package, "bin", "qtinterd")
    if not os.access(program, os.X_OK):
        sys.exit(
            "qtinterd: this installation of qtinter was built without the daemon: Qt 6 "
            "Network or msgpack-c was missing"
        )
    os.execve(program, [program, *sys.argv[1:]], daemon_environment())


def daemon_environment() -> dict[str, str]:
    """The environment for a daemon: with the Qt of the installed binding to load."""
    environment = dict(os.environ)
    libraries = _binding_libraries()
    if libraries is not None:
        before = environment.get("LD_LIBRARY_PATH")
        environment["LD_LIBRARY_PATH"] = (
            f"{libraries}:{before}" if before else libraries
        )
    return environment


def _binding_libraries() -> str | None:
    """Folder of libQt6Core in an installed PyQt6 or PySide6 wheel; imports neither."""
    import importlib.util

    for name, folder in (("PyQt6", "Qt6/lib"), ("PySide6", "Qt/lib")):
        spec = importlib.util.find_spec(name)
        for base in (spec.submodule_search_locations or ()) if spec else ():
            libraries = os.path.join(base, *folder.split("/"))
            if os.path.exists(os.path.join(libraries, "libQt6Network.so.6")):
                return libraries
    return None


async def _start_daemon(address: str) -> None:
    program = find_daemon()
    if program is None:
        raise InspectError("the program qtinterd is not installed")
    process = subprocess.Popen(  # noqa: ASYNC220 - it returns at once
        [program, "--socket", address],
        env=daemon_environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    # The parent returns once the daemon listens.
    loop = asyncio.get_running_loop()
    try:
        _, errors = await asyncio.wait_for(
            loop.run_in_executor(None, process.communicate), START_SECONDS
        )
    except asyncio.TimeoutError:
        process.kill()
        raise InspectError("qtinterd did not start in time") from None
    if process.returncode != 0:
        text = errors.decode(errors="replace").strip().splitlines()
        raise InspectError(
            f"qtinterd cannot start: {text[-1] if text else 'no reason given'}"
        )
