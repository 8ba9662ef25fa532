"""``qtinter-inspect doctor``: whether this machine can show programs, and if not, why.

It looks at the runtime directory, the daemon, the packages and the system, and then
tries the whole path: a program of its own in a directory of its own, a daemon, a tool,
and the stack of a thread that hangs.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import importlib.util
import os
import platform
import select
import shutil
import stat
import subprocess
import sys
import tempfile
from typing import TYPE_CHECKING, Any, Iterator

from .._version import __version__
from .errors import InspectError
from .segment import runtime_directory

if TYPE_CHECKING:
    import argparse
    from collections.abc import Generator

OK, NOTE, BAD = "ok", "note", "bad"

BINDINGS = ("PyQt6", "PySide6", "PyQt5", "PySide2")
EXTRA = "pip install 'qtinter[inspect]'"

_PATIENCE = 30.0  # seconds, for each step of the self-test
_SOCKET_NAME_MAX = 107  # sun_path of Linux, without the final 0
_START_SECONDS = 10.0

_VICTIM = """\
import asyncio, os, qtinter
from qtinter.bindings import QtCore

def hang():
    os.read(0, 1)

async def patient():
    await asyncio.sleep(3600)

def obey():
    if os.read(0, 1):
        hang()
    app.quit()

app = QtCore.QCoreApplication([])
with qtinter.using_asyncio_from_qt() as loop:
    task = loop.create_task(patient())
    loop.add_reader(0, obey)
    (app.exec if hasattr(app, "exec") else app.exec_)()
    task.cancel()
"""


class Finding:
    """What one check found.

    :ivar what: the thing that was looked at.
    :ivar status: :data:`OK`, :data:`NOTE` (works, but not everything) or :data:`BAD`.
    :ivar text: what was found.
    :ivar remedy: what to do about it, "" if nothing.
    """

    def __init__(self, what: str, status: str, text: str, remedy: str = "") -> None:
        self.what = what
        self.status = status
        self.text = text
        self.remedy = remedy


def run(options: argparse.Namespace) -> int:
    """The command; its exit code is 1 if something is bad."""
    from .commands.output import print_json, print_table

    findings = list(examine(options.socket))
    if options.json:
        print_json([vars(finding) for finding in findings])
    else:
        rows = [
            [f.status, f.what, f.text + (f": {f.remedy}" if f.remedy else "")]
            for f in findings
        ]
        print_table("", ("", "what", "found"), rows)
    return int(any(finding.status == BAD for finding in findings))


def examine(socket: str | None = None) -> Iterator[Finding]:
    """Do all checks.

    :param socket: path of the daemon's socket, if not the usual one.
    """
    directory = os.path.dirname(socket) if socket else runtime_directory()
    yield Finding("qtinter", OK, f"{__version__}, Python {platform.python_version()}")
    binding = yield from _bindings()
    has_wire = yield from _packages()
    yield _directory(directory)
    yield _key(os.path.join(directory, "key"))
    yield _socket_name(socket or os.path.join(directory, "qtinterd.sock"))
    has_program = False
    if has_wire:
        finding = _program()
        has_program = finding.status == OK
        yield finding
        yield _running(socket)
    yield _signal()
    yield _attaching()
    if binding and has_program:
        yield from _try_everything(binding)
    else:
        text = "not tried: " + ("no daemon" if binding else "no binding of Qt")
        yield Finding("self-test", NOTE, text)


# --- packages ------------------------------------------------------------------------


def _version_of(name: str) -> str | None:
    """Version of an installed package, "" if it does not tell; imports it not."""
    try:
        if importlib.util.find_spec(name) is None:
            return None
    except (ImportError, ValueError):
        return None
    try:
        metadata = importlib.import_module("importlib.metadata")
    except ImportError:  # before Python 3.8
        return ""
    for distribution in (name, f"{name}-Essentials"):
        with contextlib.suppress(metadata.PackageNotFoundError):
            return str(metadata.version(distribution))
    return ""


def _bindings() -> Generator[Finding, None, str]:
    found = {name: _version_of(name) for name in BINDINGS}
    there = [f"{name} {v}".strip() for name, v in found.items() if v is not None]
    if there:
        yield Finding("bindings", OK, ", ".join(there))
    else:
        yield Finding(
            "bindings", BAD, "none is installed", "pip install 'qtinter[PyQt6]'"
        )
    chosen = os.environ.get("QTINTERBINDING", "")
    names = [name for name, version in found.items() if version is not None]
    return chosen if chosen in names else next(iter(names), "")


def _packages() -> Generator[Finding, None, bool]:
    version = _version_of("msgpack")
    if version is None:
        yield Finding("msgpack", BAD, "missing, no tool can work", EXTRA)
    else:
        yield Finding("msgpack", OK, version)
    for name, why in (("rich", "tables are plain"), ("textual", "no terminal view")):
        found = _version_of(name)
        if found is None:
            yield Finding(name, NOTE, f"missing, {why}", EXTRA)
        else:
            yield Finding(name, OK, found)
    return version is not None


# --- places --------------------------------------------------------------------------


def _directory(path: str) -> Finding:
    what = "runtime directory"
    try:
        found = os.lstat(path)
    except FileNotFoundError:
        return Finding(what, OK, f"{path} will be made when it is needed")
    except OSError as exc:
        return Finding(what, BAD, str(exc))
    mode = stat.S_IMODE(found.st_mode)
    if not stat.S_ISDIR(found.st_mode):
        return Finding(what, BAD, f"{path} is no directory", "remove it")
    if found.st_uid != os.getuid():
        remedy = "choose another one with QTINTER_RUNTIME_DIR"
        return Finding(what, BAD, f"{path} belongs to user {found.st_uid}", remedy)
    if mode != 0o700:
        return Finding(what, BAD, f"{path} has mode {mode:04o}", f"chmod 700 {path}")
    return Finding(what, OK, f"{path}, mode 0700")


def _key(path: str) -> Finding:
    try:
        found = os.lstat(path)
    except FileNotFoundError:
        return Finding("key", OK, "will be made when it is needed")
    except OSError as exc:
        return Finding("key", BAD, str(exc))
    mode = stat.S_IMODE(found.st_mode)
    if found.st_uid != os.getuid() or mode & 0o077:
        text = f"{path} belongs to user {found.st_uid} and has mode {mode:04o}"
        return Finding("key", BAD, text, f"chmod 600 {path}")
    if found.st_size != 32:
        remedy = "remove it while no program and no daemon runs"
        return Finding("key", BAD, f"{path} has {found.st_size} bytes, not 32", remedy)
    return Finding("key", OK, "32 bytes, mode 0600")


def _socket_name(path: str) -> Finding:
    length = len(os.fsencode(path))
    if length > _SOCKET_NAME_MAX:
        return Finding(
            "socket",
            BAD,
            f"{path} has {length} bytes, more than a socket's name can have",
            "choose a shorter folder with QTINTER_RUNTIME_DIR",
        )
    return Finding("socket", OK, path)


# --- the daemon ----------------------------------------------------------------------


def _program() -> Finding:
    from . import feed

    program = feed.find_daemon()
    if program is None:
        return Finding(
            "qtinterd",
            BAD,
            "not installed: qtinter was built without Qt 6 Network or msgpack-c",
            "reinstall qtinter, or set QTINTERD to its path",
        )
    try:
        result = subprocess.run(
            [program, "--version"],
            env=feed.daemon_environment(),
            capture_output=True,
            timeout=_PATIENCE,
        )
    except (OSError, subprocess.TimeoutExpired) as exc:
        return Finding("qtinterd", BAD, f"{program} does not run: {exc}")
    if result.returncode != 0:
        said = result.stderr.decode(errors="replace").strip().splitlines()
        return Finding(
            "qtinterd",
            BAD,
            f"{program} does not run: {said[-1] if said else result.returncode}",
            "it needs Qt 6 Core and Network, of PyQt6, PySide6 or the system",
        )
    version = result.stdout.decode(errors="replace").strip()
    libraries = feed._binding_libraries() or "the system"
    return Finding("qtinterd", OK, f"{version}, {program}, with Qt of {libraries}")


def _running(socket: str | None) -> Finding:
    what = "running daemon"
    try:
        text, known = asyncio.run(_ask_running(socket))
    except InspectError as exc:
        if "no daemon listens" in str(exc):
            return Finding(what, OK, "none; a tool starts one when it is needed")
        return Finding(what, BAD, str(exc))
    except OSError as exc:
        return Finding(what, BAD, str(exc))
    return Finding(what, OK, f"{text}, which knows {known} programs")


async def _ask_running(socket: str | None) -> tuple[str, int]:
    from . import feed as feeds

    async with feeds.connect(socket) as feed:
        return feed.server, len(await feed.list())


# --- the system ----------------------------------------------------------------------


def _signal() -> Finding:
    from . import _stacks

    what = "stack signal"
    try:
        number = _stacks.number_of(None)
    except ValueError as exc:
        return Finding(what, BAD, str(exc))
    if number == 0 or not sys.platform.startswith("linux"):
        return Finding(what, NOTE, "none: stacks of programs that hang cannot be taken")
    return Finding(what, OK, f"{number} (${_stacks.VARIABLE} chooses another one)")


def _attaching() -> Finding:
    """Whether ``attach`` works; the tools themselves never need ptrace."""
    what = "attach"
    if not hasattr(sys, "remote_exec"):
        text = "needs Python 3.14 (sys.remote_exec)"
        return Finding(what, NOTE, text, "start programs with QTINTER_INSPECT=1")
    try:
        with open("/proc/sys/kernel/yama/ptrace_scope", encoding="ascii") as file:
            scope = file.read().strip()
    except OSError:
        return Finding(what, OK, "the system does not restrict ptrace")
    if scope == "0" or os.getuid() == 0:
        return Finding(what, OK, f"kernel.yama.ptrace_scope is {scope}")
    return Finding(
        what,
        NOTE,
        f"kernel.yama.ptrace_scope is {scope}, which forbids it",
        "sudo sysctl kernel.yama.ptrace_scope=0, or start programs with "
        "QTINTER_INSPECT=1",
    )


# --- the whole path ------------------------------------------------------------------


def _try_everything(binding: str) -> Iterator[Finding]:
    folder = tempfile.mkdtemp(prefix="qidoc")  # short: a socket's name is limited
    started: list[subprocess.Popen[bytes]] = []
    try:
        daemon = _start_daemon(folder)
        started.append(daemon)
        if not _listens(daemon):
            yield Finding("self-test: a daemon", BAD, "it does not begin to listen")
            return
        victim = _start_victim(binding, folder)
        started.append(victim)
        yield from asyncio.run(
            _self_test(binding, os.path.join(folder, "qtinterd.sock"), victim)
        )
    finally:
        for process in started:
            process.kill()
            process.wait()
            for stream in (process.stdin, process.stderr):
                if stream is not None:
                    stream.close()
        shutil.rmtree(folder, ignore_errors=True)


async def _self_test(
    binding: str, socket: str, victim: subprocess.Popen[bytes]
) -> list[Finding]:
    """Looks at the program, and lets it hang."""
    from . import feed as feeds

    findings: list[Finding] = []
    step = "self-test: a daemon"
    try:
        async with feeds.connect(socket) as feed:
            findings.append(Finding(step, OK, f"{feed.server} answers"))
            step = f"self-test: a program ({binding})"
            await asyncio.wait_for(_until_waiting(feed, victim.pid), _PATIENCE)
            text = "its task, and what it waits for, are seen"
            findings.append(Finding(step, OK, text))
            step = "self-test: a thread that hangs"
            assert victim.stdin is not None
            victim.stdin.write(b"h")
            victim.stdin.flush()
            await asyncio.wait_for(_until_hanging(feed, victim.pid), _PATIENCE)
            text = "its Python stack was taken by the signal"
            findings.append(Finding(step, OK, text))
    except (InspectError, OSError, asyncio.TimeoutError) as exc:
        text = str(exc) or f"nothing came within {_PATIENCE:.0f} s"
        if victim.poll() is not None and victim.stderr is not None:
            said = victim.stderr.read().decode(errors="replace").strip().splitlines()
            text = f"the program ended: {said[-1] if said else victim.returncode}"
        findings.append(Finding(step, BAD, text))
    return findings


def _start_daemon(folder: str) -> subprocess.Popen[bytes]:
    from . import feed as feeds

    program = feeds.find_daemon()
    assert program is not None  # or else this is not tried
    return subprocess.Popen(
        [program, "--foreground", "--socket", os.path.join(folder, feeds.SOCKET_NAME)],
        env=feeds.daemon_environment(),
        stdin=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )


def _listens(daemon: subprocess.Popen[bytes]) -> bool:
    """Waits until it says that it listens, or ends, or for a while."""
    assert daemon.stderr is not None
    said = b""
    while b"listening on" not in said:
        if not select.select([daemon.stderr], [], [], _START_SECONDS)[0]:
            return False
        data = os.read(daemon.stderr.fileno(), 4096)
        if not data:
            return False
        said += data
    return True


def _start_victim(binding: str, folder: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-c", _VICTIM],
        cwd="/",
        env=dict(
            os.environ,
            QTINTERBINDING=binding,
            QTINTER_INSPECT="2",
            QTINTER_RUNTIME_DIR=folder,
        ),
        stdin=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


async def _until_waiting(feed: Any, pid: int) -> None:
    """Until a task waits in this program."""
    await feed.subscribe()
    async for _ in feed:
        process = feed.processes.get(pid)
        if process is not None and any(task["waits_for"] for task in process.tasks()):
            return
    raise InspectError("the daemon has gone away")


async def _until_hanging(feed: Any, pid: int) -> None:
    """Until the stack of its thread shows where it hangs."""
    text = ""
    while "in hang" not in text:  # it takes a moment until it does
        text = await feed.request("STACK", pid=pid)
