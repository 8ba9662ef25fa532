"""Reaching the daemon of another machine, through ssh.

ssh starts ``qtinter-inspect proxy --stdio`` there, which has the key of that machine's
runtime directory and enters with it (:mod:`qtinter.inspect.proxy`).  Who may do that is
ssh's to decide; the key stays where it is, and nothing listens on a network.
"""

from __future__ import annotations

import asyncio
import contextlib
import copy
import os
import shlex
import socket
import subprocess
from typing import TYPE_CHECKING, Any

from .errors import IncompatibleError, InspectError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

SSH_VARIABLE = "QTINTER_SSH"
PROGRAM_VARIABLE = "QTINTER_REMOTE_COMMAND"

_LAST_BYTES = 4096  # of what ssh says on stderr
_END_SECONDS = 2.0  # that ssh has to end after its connection

# Exit codes: of the shell, of ssh, and of qtinter-inspect (cli.py).
_NOT_FOUND, _SSH_FAILED, _PERMISSION, _INCOMPATIBLE = 127, 255, 4, 5


def add_options(parser: argparse.ArgumentParser, **more: Any) -> None:
    """Add ``--host``, ``--ssh-command`` and ``--remote-command`` to a command line.

    :param more: ``default=argparse.SUPPRESS``, where a parser above has them, too.
    """
    group = parser.add_argument_group("another machine")
    group.add_argument(
        "--host",
        metavar="[USER@]HOST",
        type=_host,
        help="look at the programs of that machine, through ssh",
        **more,
    )
    group.add_argument(
        "--ssh-command",
        metavar="COMMAND",
        help=f"how to call ssh (${SSH_VARIABLE}, or ssh)",
        **more,
    )
    group.add_argument(
        "--remote-command",
        metavar="COMMAND",
        help=f"qtinter-inspect on that machine, if it is not on PATH there "
        f"(${PROGRAM_VARIABLE})",
        **more,
    )


def _host(text: str) -> str:
    return Remote(text, "ssh").host  # argparse shows the ValueError


def address_of(options: Any) -> Remote | str | None:
    """What these options and ``--socket`` mean to :func:`~qtinter.inspect.connect`."""
    socket: str | None = getattr(options, "socket", None)
    if getattr(options, "host", None) is None:
        return socket
    return Remote(options.host, options.ssh_command, options.remote_command, socket)


def run_there(argv: Sequence[str]) -> int:
    """Run a whole command on the other machine, one that looks at files there.

    :param argv: the command line, with ``--host``.
    :returns: its exit code.
    """
    import argparse

    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    add_options(parser)
    options, words = parser.parse_known_args(argv)
    remote = Remote(options.host, options.ssh_command, options.remote_command)
    command = remote.command(*words)
    try:
        code = subprocess.run(command, stdin=subprocess.DEVNULL).returncode
    except OSError as exc:
        raise InspectError(f"{command[0]} cannot be started: {exc}") from exc
    return 3 if code in (_NOT_FOUND, _SSH_FAILED) else code


class Remote:
    """Another machine, and how to get there.

    :param host: what ssh calls it: ``box``, ``user@box``, or a name of its
        configuration.
    :param ssh: the command that is put before the host, as in a shell; by default
        ``$QTINTER_SSH``, else ``ssh``.
    :param program: the command ``qtinter-inspect`` on that machine, as in its shell; by
        default ``$QTINTER_REMOTE_COMMAND``, else ``qtinter-inspect``.
    :param socket: path of the daemon's socket there, if not the usual one.
    :raises ValueError: one of them cannot be meant.
    """

    def __init__(
        self,
        host: str,
        ssh: str | None = None,
        program: str | None = None,
        socket: str | None = None,
    ) -> None:
        if not host or host.startswith("-"):  # ssh would take it for an option
            raise ValueError(f"{host!r} is no name of a host")
        self.host = host
        self.socket = socket
        self._ssh = shlex.split(ssh or os.environ.get(SSH_VARIABLE, "") or "ssh")
        if not self._ssh:
            raise ValueError("the command for ssh is empty")
        self._program = (
            program or os.environ.get(PROGRAM_VARIABLE, "") or "qtinter-inspect"
        )
        self._attended = True
        self._process: subprocess.Popen[bytes] | None = None
        self._said = b""
        self._listener: asyncio.Task[None] | None = None
        self._said_writer: asyncio.StreamWriter | None = None

    @property
    def address(self) -> str:
        """What is meant, for messages."""
        return self.host if self.socket is None else f"{self.host}:{self.socket}"

    def fresh(self) -> Remote:
        """The same for another connection."""
        made = copy.copy(self)
        made._process = made._listener = made._said_writer = None
        made._said = b""
        return made

    def unattended(self) -> Remote:
        """The same, for when nobody can be asked for a password."""
        made = self.fresh()
        made._attended = False
        return made

    def command(self, *words: str) -> list[str]:
        """What to start here, so that there ``qtinter-inspect WORDS...`` runs."""
        there = " ".join([self._program, *map(shlex.quote, words)])
        return [*self._ssh, self.host, there]

    async def open(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Start the proxy there; returns the two ends of its input and output.

        :raises InspectError: ssh cannot be started.
        """
        where = [] if self.socket is None else ["--socket", self.socket]
        # Sockets, not pipes and a child watcher: every loop can do that.
        ours, theirs = socket.socketpair()
        said, saying = socket.socketpair()
        try:
            # ssh asks for passwords on the terminal of its session.
            self._process = subprocess.Popen(  # noqa: ASYNC220 - returns at once
                self.command(*where, "proxy", "--stdio"),
                stdin=theirs.fileno(),
                stdout=theirs.fileno(),
                stderr=saying.fileno(),
                start_new_session=not self._attended,
            )
        except OSError as exc:
            ours.close()
            said.close()
            raise InspectError(f"{self._ssh[0]} cannot be started: {exc}") from exc
        finally:
            theirs.close()
            saying.close()
        listening, self._said_writer = await asyncio.open_unix_connection(sock=said)
        self._listener = asyncio.ensure_future(self._listen(listening))
        return await asyncio.open_unix_connection(sock=ours)

    async def _listen(self, reader: asyncio.StreamReader) -> None:
        while True:
            data = await reader.read(_LAST_BYTES)
            if not data:
                return
            self._said = (self._said + data)[-_LAST_BYTES:]

    async def failure(self, default: str) -> Exception:
        """Why the connection has ended, as an exception that can be raised.

        :param default: what to say if nobody there says why.
        """
        code = await self._wait()
        if self._listener is not None:
            with contextlib.suppress(asyncio.TimeoutError, OSError):
                await asyncio.wait_for(asyncio.shield(self._listener), _END_SECONDS)
        lines = self._said.decode(errors="replace").strip().splitlines()
        text = lines[-1].strip() if lines else ""
        if code == _NOT_FOUND:
            text = (
                f"{self._program} is not on the PATH of that machine's shell; name it "
                f"with --remote-command or ${PROGRAM_VARIABLE} ({text})"
            )
        elif code == _SSH_FAILED:
            text = f"{self._ssh[0]} cannot connect: {text or 'no reason given'}"
        elif code:
            text = text.partition("qtinter-inspect: ")[2] or text
        text = f"{self.host}: {text or default}"
        if code == _PERMISSION:
            return PermissionError(text)
        if code == _INCOMPATIBLE:
            return IncompatibleError(text)
        return InspectError(text)

    async def close(self) -> None:
        """Wait until ssh has ended, and see that it does; its streams are closed."""
        await self._wait()
        if self._listener is not None:
            self._listener.cancel()
            with contextlib.suppress(asyncio.CancelledError, OSError):
                await self._listener
            self._listener = None
        if self._said_writer is not None:
            self._said_writer.close()
            self._said_writer = None

    async def _wait(self) -> int:
        process = self._process
        if process is None:
            return 0
        loop = asyncio.get_running_loop()
        for end in (None, process.terminate, process.kill):
            if end is not None:
                end()
            try:
                return await loop.run_in_executor(None, process.wait, _END_SECONDS)
            except subprocess.TimeoutExpired:
                continue
        return process.wait()  # the system does not let it end: so we wait
