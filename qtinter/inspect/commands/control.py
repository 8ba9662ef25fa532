"""``cancel level attach``: what changes the program that is looked at."""

from __future__ import annotations

import os
import sys
import tempfile
import time
from typing import TYPE_CHECKING, Any

from ..errors import InspectError
from .arguments import pid, row_id
from .output import print_json
from .sources import (
    NoTargetError,
    connected,
    known,
    pid_of,
    run,
    subscribed,
    with_task,
)

if TYPE_CHECKING:
    import argparse

    from . import Command


def add_commands(command: Command) -> None:
    made = command(
        "cancel",
        "Cancel a task. The application must allow it: enable(control=True), or "
        "QTINTER_INSPECT_CONTROL=1 in its environment.",
        _cancel,
        target="--pid",
    )
    made.add_argument("id", type=row_id, help="number of the task, as ps shows it")
    made.add_argument("--message", default="", help="for the CancelledError")
    made = command(
        "level",
        "Change how much an application shows. It stays so until it is changed again.",
        _level,
        target=False,
    )
    made.add_argument("target", metavar="PID", type=pid, help="the application")
    made.add_argument(
        "level",
        metavar="N",
        type=int,
        choices=range(5),
        help="0 nothing, 1 state, 2 also events, 3 also where tasks were created and "
        "wait, 4 also reprs",
    )
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


def _cancel(options: argparse.Namespace) -> None:
    pid = run(_ask_cancel(options))
    if options.json:
        print_json({"pid": pid, "task": options.id, "cancelled": True})
    else:
        print(f"task {options.id} of {pid} was asked to cancel")


async def _ask_cancel(options: argparse.Namespace) -> int:
    async with connected(options, "control") as feed:
        process = with_task(await subscribed(feed, pid_of(options), []), options.id)
        pid: int = process.info["pid"]
        if not process.info.get("control"):
            raise PermissionError(
                f"the application {pid} does not accept cancellations: it needs "
                "qtinter.inspect.enable(control=True), or QTINTER_INSPECT_CONTROL=1 in "
                "its environment"
            )
        fields: dict[str, Any] = {"pid": pid, "task": options.id}
        if options.message:
            fields["message"] = options.message
        await feed.request("CANCEL", **fields)
        return pid


def _level(options: argparse.Namespace) -> None:
    run(_set_level(options))
    if options.json:
        print_json({"pid": options.target, "level": options.level})
    else:
        print(f"level {options.level} is in force in {options.target}")


async def _set_level(options: argparse.Namespace) -> None:
    async with connected(options, "control") as feed:
        await known(feed, options.target)
        await feed.request("SET_LEVEL", pid=options.target, level=options.level)


_SCRIPT = """\
import sys
try:
    import qtinter.inspect
    qtinter.inspect.enable(level={level})
except BaseException as exc:
    open({report!r}, "w").write(f"{{type(exc).__name__}}: {{exc}}")
else:
    open({report!r}, "w").write("ok")
"""


def _attach(options: argparse.Namespace) -> None:
    remote_exec = getattr(sys, "remote_exec", None)
    if remote_exec is None:
        raise InspectError(
            f"Python {sys.version_info[0]}.{sys.version_info[1]} cannot attach to a "
            "running program (sys.remote_exec came with 3.14, for programs of the same "
            "version); start the program with QTINTER_INSPECT=1 instead"
        )
    with tempfile.TemporaryDirectory(prefix="qtinter-attach-") as folder:
        script = os.path.join(folder, "attach.py")
        report = os.path.join(folder, "report")
        with open(script, "w") as file:
            file.write(_SCRIPT.format(level=options.level, report=report))
        try:
            remote_exec(options.target, script)
        except ProcessLookupError:
            raise NoTargetError(f"there is no process {options.target}") from None
        text = _wait_for(report)
    if text != "ok":
        raise InspectError(f"the program could not enable inspection: {text}")
    if options.json:
        print_json({"pid": options.target, "attached": True, "level": options.level})
    else:
        print(f"{options.target} is shown at level {options.level}")


def _wait_for(report: str, limit: float = 10.0) -> str:
    """What the script wrote; the program runs it when its interpreter next can."""
    end = time.monotonic() + limit
    while time.monotonic() < end:
        if os.path.exists(report) and os.path.getsize(report):
            with open(report) as file:
                return file.read()
        time.sleep(0.05)  # no other process tells that a file has come
    raise InspectError(
        "the program has not run the script: its interpreter is busy, or in C code"
    )
