"""``cancel level``: what changes the program that is looked at."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .arguments import pid, row_id
from .output import print_json
from .sources import (
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
