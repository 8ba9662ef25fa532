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
import shlex
import shutil
import socket as sockets
import stat
import struct
import subprocess
import sys
import tempfile
from typing import TYPE_CHECKING, Any, Iterator

from .._version import __version__
from .errors import InspectError
from .segment import SOCKET_NAME, runtime_directory

if TYPE_CHECKING:
    import argparse
    from collections.abc import Generator

OK, NOTE, BAD = "ok", "note", "bad"

BINDINGS = ("PyQt6", "PySide6", "PyQt5", "PySide2")

_PATIENCE = 30.0  # seconds, for each step of the self-test
_SOCKET_NAME_MAX = 107  # sun_path of Linux, without the final 0
_SEGMENT_BYTES = 32 << 20  # that the state of a program can grow to
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
    :ivar remedy: the command for a shell that mends it; "" if there is none.
    """

    def __init__(self, what: str, status: str, text: str, remedy: str = "") -> None:
        self.what = what
        self.status = status
        self.text = text
        self.remedy = remedy


def run(options: argparse.Namespace) -> int:
    """The command; its exit code is 1 if something is bad."""
    from .commands.output import print_json, print_table, safe

    findings = list(examine(options.socket))
    if options.json:
        print_json([vars(finding) for finding in findings])
    else:
        rows = [[finding.status, finding.what, finding.text] for finding in findings]
        print_table("", ("", "what", "found"), rows)
        mended = [finding for finding in findings if finding.remedy]
        if mended:
            print("\nWhat mends it:")
        for finding in mended:  # not in the table, which might break the line
            print(f"  {safe(finding.remedy)}    # {finding.what}")
    return int(any(finding.status == BAD for finding in findings))


def examine(socket: str | None = None) -> Iterator[Finding]:
    """Do all checks.

    :param socket: path of the daemon's socket, if not the usual one.
    """
    directory = os.path.dirname(socket) if socket else runtime_directory()
    yield Finding("qtinter", OK, f"{__version__}, Python {platform.python_version()}")
    binding = yield from _bindings()
    has_wire = yield from _packages()
    places = (
        _directory(directory),
        _key(os.path.join(directory, "key")),
        _socket_name(socket or os.path.join(directory, SOCKET_NAME)),
    )
    for place in places:
        if place.remedy == _ELSEWHERE:
            place.remedy = _elsewhere()
        yield place
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
        yield Finding("bindings", BAD, "none is installed", _pip("PyQt6"))
    chosen = os.environ.get("QTINTERBINDING", "")
    names = [name for name, version in found.items() if version is not None]
    if chosen and chosen not in names and names:
        text = f"{chosen} is chosen for programs, and is not installed"
        yield Finding("QTINTERBINDING", BAD, text, "unset QTINTERBINDING")
    return chosen if chosen in names else next(iter(names), "")


def _pip(package: str) -> str:
    """The command that installs a package where this program runs."""
    return f"{shlex.quote(sys.executable)} -m pip install {package}"


def _packages() -> Generator[Finding, None, bool]:
    version = _version_of("msgpack")
    if version is None:
        yield Finding("msgpack", BAD, "missing, no tool can work", _pip("msgpack"))
    else:
        yield Finding("msgpack", OK, version)
    for name, why in (("rich", "tables are plain"), ("textual", "no terminal view")):
        found = _version_of(name)
        if found is None and name == "textual" and sys.version_info < (3, 9):
            yield Finding(name, NOTE, f"needs Python 3.9, {why}")
        elif found is None:
            yield Finding(name, NOTE, f"missing, {why}", _pip(name))
        else:
            yield Finding(name, OK, found)
    return version is not None


# --- places --------------------------------------------------------------------------


_ELSEWHERE = "elsewhere"  # the remedy is another folder


def _elsewhere() -> str:
    """The command that chooses a folder in which all is well, instead of a socket."""
    user = os.getuid()
    for path in (
        os.path.expanduser("~/.qtinter"),
        f"/tmp/qtinter-{user}",
        f"/tmp/qi-{user}-{os.getpid()}",
    ):
        name = os.path.join(path, SOCKET_NAME)
        places = (_directory(path), _key(os.path.join(path, "key")), _socket_name(name))
        if all(place.status == OK for place in places):
            break
    return f"export QTINTER_RUNTIME_DIR={shlex.quote(path)}"


def _directory(path: str) -> Finding:
    what = "runtime directory"
    try:
        found = os.lstat(path)
    except FileNotFoundError:
        parent = os.path.dirname(os.path.abspath(path))
        if os.access(parent, os.W_OK | os.X_OK):
            return Finding(what, OK, f"{path} will be made when it is needed")
        text = f"{path} cannot be made: no folder {parent} that is yours to write in"
        return Finding(what, BAD, text, _ELSEWHERE)
    except OSError as exc:
        return Finding(what, BAD, str(exc), _ELSEWHERE)
    mode = stat.S_IMODE(found.st_mode)
    if stat.S_ISLNK(found.st_mode) or stat.S_ISREG(found.st_mode):
        return Finding(what, BAD, f"{path} is no directory", f"rm {shlex.quote(path)}")
    if not stat.S_ISDIR(found.st_mode):
        return Finding(what, BAD, f"{path} is no directory", _ELSEWHERE)
    if found.st_uid != os.getuid():
        text = f"{path} belongs to user {found.st_uid}"
        return Finding(what, BAD, text, _ELSEWHERE)
    if mode != 0o700:
        remedy = f"chmod 700 {shlex.quote(path)}"
        return Finding(what, BAD, f"{path} has mode {mode:04o}", remedy)
    space = os.statvfs(path)
    free = space.f_bavail * space.f_frsize
    if free < _SEGMENT_BYTES:
        text = f"{path}: only {free >> 10:,} KiB are free, a program may need 32 MiB"
        return Finding(what, NOTE, text, _ELSEWHERE)
    return Finding(what, OK, f"{path}, mode 0700")


def _key(path: str) -> Finding:
    try:
        found = os.lstat(path)
    except FileNotFoundError:
        return Finding("key", OK, "will be made when it is needed")
    except OSError as exc:
        return Finding("key", BAD, str(exc), _ELSEWHERE)
    mode = stat.S_IMODE(found.st_mode)
    # Another one is made when it is needed.
    remove = f"rm -r {shlex.quote(path)}"
    if not stat.S_ISREG(found.st_mode):
        return Finding("key", BAD, f"{path} is no file", remove)
    if found.st_uid != os.getuid():
        return Finding("key", BAD, f"{path} belongs to user {found.st_uid}", remove)
    if mode & 0o077:
        text = f"{path} has mode {mode:04o}: others have read it, perhaps"
        return Finding("key", BAD, text, f"chmod 600 {shlex.quote(path)}")
    if found.st_size != 32:
        text = f"{path} has {found.st_size} bytes, not 32"
        return Finding("key", BAD, text, remove)
    return Finding("key", OK, f"32 bytes, mode {mode:04o}")


def _socket_name(path: str) -> Finding:
    length = len(os.fsencode(path))
    if length > _SOCKET_NAME_MAX:
        text = f"{path} has {length} bytes, more than a socket's name can have"
        return Finding("socket", BAD, text, _ELSEWHERE)
    return Finding("socket", OK, path)


# --- the daemon ----------------------------------------------------------------------


_REBUILD = (
    "sudo apt-get install qt6-base-dev libmsgpack-dev && "
    f"{shlex.quote(sys.executable)} -m pip install --force-reinstall --no-deps "
    "--no-binary qtinter qtinter"
)


def _program() -> Finding:
    from . import feed

    program = feed.find_daemon()
    if program is None:
        return Finding(
            "qtinterd",
            BAD,
            "not installed: qtinter was built without Qt 6 Network or msgpack-c; "
            "if there is one elsewhere, QTINTERD says its path",
            _REBUILD,
        )
    chosen = "unset QTINTERD" if os.environ.get("QTINTERD") else ""
    try:
        result = subprocess.run(
            [program, "--version"],
            env=feed.daemon_environment(),
            capture_output=True,
            timeout=_PATIENCE,
        )
    except (OSError, subprocess.TimeoutExpired) as exc:
        text = f"{program} does not run: {exc}"
        return Finding("qtinterd", BAD, text, chosen or _REBUILD)
    if result.returncode != 0:
        said = result.stderr.decode(errors="replace").strip().splitlines()
        return Finding(
            "qtinterd",
            BAD,
            f"{program} does not run: {said[-1] if said else result.returncode}; it "
            "needs Qt 6 Core and Network, of PyQt6, PySide6 or the system",
            chosen or _pip("PyQt6"),
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
        return Finding(what, BAD, str(exc), _end_of(socket))
    except OSError as exc:
        return Finding(what, BAD, str(exc), _end_of(socket))
    return Finding(what, OK, f"{text}, which knows {known} programs")


def _end_of(path: str | None) -> str:
    """The command that ends who listens there; a tool starts another one then."""
    path = path or os.path.join(runtime_directory(), SOCKET_NAME)
    size = struct.calcsize("3i")
    with sockets.socket(sockets.AF_UNIX) as peer, contextlib.suppress(OSError):
        peer.settimeout(1)
        peer.connect(path)
        found = peer.getsockopt(sockets.SOL_SOCKET, sockets.SO_PEERCRED, size)
        return f"kill -9 {struct.unpack('3i', found)[0]}"
    return f"rm -r {shlex.quote(path)}"


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
        return Finding(what, BAD, str(exc), f"unset {_stacks.VARIABLE}")
    if number == 0 or not sys.platform.startswith("linux"):
        text = "none: stacks of programs that hang cannot be taken"
        chosen = os.environ.get(_stacks.VARIABLE)
        return Finding(what, NOTE, text, f"unset {_stacks.VARIABLE}" if chosen else "")
    return Finding(what, OK, f"{number} (${_stacks.VARIABLE} chooses another one)")


_SHOWN = "export QTINTER_INSPECT=1"  # and start them


def _attaching() -> Finding:
    """Whether ``attach`` works; the tools themselves never need ptrace."""
    what = "attach"
    if not hasattr(sys, "remote_exec"):
        text = "needs Python 3.14 (sys.remote_exec); let programs show themselves"
        return Finding(what, NOTE, text, _SHOWN)
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
        "sudo sysctl kernel.yama.ptrace_scope=0",
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
