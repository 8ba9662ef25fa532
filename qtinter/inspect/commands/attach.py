"""``attach``: have a program show itself that did not ask for it.

CPython 3.14 runs a script in another of its processes (PEP 768), when that next runs
Python code.  A program whose loop sleeps in Qt runs none; so the loop is woken.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import sys
import tempfile
import time
from typing import TYPE_CHECKING, Iterator

from ..errors import InspectError
from .arguments import pid
from .output import print_json
from .sources import NoTargetError

if TYPE_CHECKING:
    import argparse

    from . import Command

PATIENCE = 10.0  # seconds
_WAKE_SECONDS = 0.5  # between two wakeups
_LOOK_SECONDS = 0.02  # between two looks at the report
_PIDFD_GETFD = 438  # the number of the system call

# It removes its folder if nobody waits any more for what it reports.
_SCRIPT = """\
def _qtinter_attach(folder, level):
    import os, shutil
    try:
        import qtinter.inspect
        qtinter.inspect.enable(level=level)
        text = "ok"
        if qtinter.inspect.statistics()["state"] == "off":
            text = "it is being recorded, or has chosen to look for no daemon"
    except BaseException as exc:
        text = f"{{type(exc).__name__}}: {{exc}}"
    report = os.path.join(folder, "report")
    with open(report + ".part", "w") as file:
        file.write(text)
    os.rename(report + ".part", report)
    if os.path.exists(os.path.join(folder, "left")):
        shutil.rmtree(folder, ignore_errors=True)

try:
    _qtinter_attach({folder!r}, {level})
finally:
    del _qtinter_attach  # it may be the program's main module
"""


def add_commands(command: Command) -> None:
    made = command(
        "attach",
        "Begin to show a program that did not ask for it. It and this command must run "
        "on the same version of CPython, 3.14 or newer, qtinter must be installed for "
        "it, and the system must let its user trace processes (see doctor).",
        _attach,
        target=False,
    )
    made.add_argument("target", metavar="PID", type=pid, help="a process of yours")
    made.add_argument(
        "--level",
        type=int,
        default=2,
        choices=range(1, 5),
        help="1 to 4, as of level (2)",
    )


def _attach(options: argparse.Namespace) -> None:
    attach(options.target, options.level)
    if options.json:
        print_json({"pid": options.target, "attached": True, "level": options.level})
    else:
        print(f"{options.target} is shown at level {options.level}")


def attach(target: int, level: int) -> None:
    """Have a process enable inspection.

    :raises NoTargetError: there is no such process.
    :raises PermissionError: the system does not let us into it.
    :raises InspectError: it is no such program, or does not run the script in time.
    """
    if not hasattr(sys, "remote_exec"):
        raise InspectError(
            f"Python {sys.version_info[0]}.{sys.version_info[1]} cannot attach to a "
            "running program (sys.remote_exec came with 3.14, for programs of the same "
            "version); start the program with QTINTER_INSPECT=1 instead"
        )
    folder = tempfile.mkdtemp(prefix="qtinter-attach-")
    script = os.path.join(folder, "attach.py")
    with open(script, "w") as file:
        file.write(_SCRIPT.format(folder=folder, level=level))
    keep = False
    try:
        _execute(target, script)
        text = _report(target, folder)
        keep = text is None  # or the program would complain that it is not there
    finally:
        if not keep:
            shutil.rmtree(folder, ignore_errors=True)
    if text is None:
        raise InspectError(
            f"the program {target} has run no Python code for {PATIENCE:.0f} s: it is "
            "idle outside of a loop of qtinter, or hangs in C code; it will be shown "
            "as soon as it runs some"
        )
    if text != "ok":
        raise InspectError(f"the program {target} could not enable inspection: {text}")


def _execute(target: int, script: str) -> None:
    if not os.path.exists(f"/proc/{target}") and os.path.exists("/proc/self"):
        raise NoTargetError(f"there is no process {target}")
    try:
        sys.remote_exec(target, script)  # type: ignore[attr-defined]
    except ProcessLookupError:
        raise NoTargetError(f"there is no process {target}") from None
    except (OSError, RuntimeError) as exc:
        if any(isinstance(cause, PermissionError) for cause in _causes(exc)):
            raise PermissionError(
                f"the system does not let this user into the process {target} (see "
                "qtinter-inspect doctor)"
            ) from exc
        raise InspectError(
            f"cannot attach to the process {target}: it must be a CPython "
            f"{sys.version_info[0]}.{sys.version_info[1]}, as this one is ({exc})"
        ) from exc


def _causes(exc: BaseException | None) -> Iterator[BaseException]:
    while exc is not None:
        yield exc
        exc = exc.__cause__ or exc.__context__


def _report(target: int, folder: str) -> str | None:
    """What the script wrote; None: it has not run in time, and cleans up if it does."""
    report = os.path.join(folder, "report")
    end = time.monotonic() + PATIENCE
    woken = 0.0
    while time.monotonic() < end:
        with contextlib.suppress(FileNotFoundError), open(report) as file:
            return file.read()
        if time.monotonic() - woken >= _WAKE_SECONDS:
            woken = time.monotonic()
            with contextlib.suppress(OSError):  # then it runs when it runs
                wake(target)
        time.sleep(_LOOK_SECONDS)  # no other process tells that a file has come
    with open(os.path.join(folder, "left"), "w"):
        pass
    return None


def wake(target: int) -> int:
    """Wake the event loops of a process that sleep, for no reason of theirs.

    An event loop on epoll has an eventfd by which other threads wake it, and takes a
    wakeup that means nothing for what it is.  Others are left alone: what is written to
    an eventfd of something else might mean something.  Linux only.

    :returns: how many were woken.
    :raises OSError: the system does not allow it.
    """
    if not hasattr(os, "pidfd_open"):
        return 0
    import ctypes

    syscall = ctypes.CDLL(None, use_errno=True).syscall
    process = os.pidfd_open(target)
    woken = 0
    try:
        for number in _wakeups(target):
            fd = syscall(_PIDFD_GETFD, process, number, 0)
            if fd < 0:
                code = ctypes.get_errno()
                raise OSError(code, os.strerror(code))
            try:
                os.write(fd, (1).to_bytes(8, sys.byteorder))
                woken += 1
            finally:
                os.close(fd)
    finally:
        os.close(process)
    return woken


def _wakeups(target: int) -> list[int]:
    """The eventfds of a process that one of its epolls watches."""
    folder = f"/proc/{target}"
    eventfds: set[int] = set()
    watched: set[int] = set()
    for name in os.listdir(f"{folder}/fd"):
        with contextlib.suppress(OSError):  # closed since
            what = os.readlink(f"{folder}/fd/{name}")
            if what == "anon_inode:[eventfd]":
                eventfds.add(int(name))
            elif what == "anon_inode:[eventpoll]":
                with open(f"{folder}/fdinfo/{name}") as file:
                    found = re.findall(r"^tfd: +(\d+)", file.read(), re.MULTILINE)
                    watched.update(map(int, found))
    return sorted(eventfds & watched)
