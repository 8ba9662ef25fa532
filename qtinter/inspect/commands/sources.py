"""Where the commands get their data from: the daemon."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any

from .. import remote
from ..errors import InspectError
from ..model import TASK, Process

if TYPE_CHECKING:
    import argparse
    from collections.abc import AsyncIterator, Coroutine, Iterable

    from ..feed import Feed


class NoTargetError(Exception):
    """There is no such application, or more than one."""


def run(main: Coroutine[Any, Any, Any]) -> Any:
    return asyncio.run(main)


@contextlib.asynccontextmanager
async def connected(
    options: argparse.Namespace, role: str = "observe"
) -> AsyncIterator[Feed]:
    """A connection to the daemon, which is started if it does not run."""
    from .. import feed as feeds

    arguments: dict[str, Any] = {"start": True}
    if role != "observe":
        arguments["role"] = role
    async with feeds.connect(remote.address_of(options), **arguments) as feed:
        if feed.started:
            await feed.wait_for_applications()
        yield feed


def state(
    options: argparse.Namespace, kinds: Iterable[int], history: bool = False
) -> list[Process]:
    """The chosen applications, with their rows of these kinds (of all, if empty)."""
    found: list[Process] = run(_state(options, [*kinds], history))
    return found


async def _state(
    options: argparse.Namespace, kinds: list[int], history: bool
) -> list[Process]:
    async with connected(options) as feed:
        return await subscribed(feed, pid_of(options), kinds, history)


async def known(feed: Feed, pid: int) -> None:
    """
    :raises NoTargetError: the daemon knows no such application.
    """
    if pid not in [row["pid"] for row in await feed.list()]:
        raise NoTargetError(
            f"there is no application with pid {pid} (is inspection enabled in it? "
            "see qtinter-inspect ls)"
        )


async def subscribed(
    feed: Feed, pid: int | None, kinds: list[int], history: bool = False
) -> list[Process]:
    """The applications that live, with their state."""
    if pid is not None:
        await known(feed, pid)
    await feed.subscribe(pid, kinds=kinds or None, hz=1, history=history)
    return [
        process
        for number, process in sorted(feed.processes.items())
        if process.alive and pid in (None, number)
    ]


def pid_of(options: argparse.Namespace) -> int | None:
    """The application that was asked for, as an argument or with --pid."""
    found: int | None = getattr(options, "target", None)
    return getattr(options, "pid", None) if found is None else found


def only(processes: list[Process]) -> Process:
    """The only application."""
    if not processes:
        raise NoTargetError(
            "there is no application (start one with QTINTER_INSPECT=1 set)"
        )
    if len(processes) > 1:
        pids = ", ".join(str(process.info["pid"]) for process in processes)
        raise NoTargetError(f"there are several applications; --pid chooses: {pids}")
    return processes[0]


def with_task(processes: list[Process], ident: int) -> Process:
    """The application that has this task."""
    found = [process for process in processes if (TASK, ident) in process.rows]
    if not found:
        raise NoTargetError(f"there is no task {ident} (see qtinter-inspect ps)")
    if len(found) > 1:
        pids = ", ".join(str(process.info["pid"]) for process in found)
        raise NoTargetError(f"task {ident} is in several applications; --pid: {pids}")
    return found[0]


async def stack_of(
    feed: Feed, pid: int, seconds: float | None = None, **fields: int
) -> tuple[str, str]:
    """(stack, why there is none) of a task or of a loop's thread.

    :param seconds: to wait for it; None: as long as the daemon does.
    """
    request = feed.request("STACK", pid=pid, **fields)
    try:
        return str(await asyncio.wait_for(request, seconds) or ""), ""
    except (InspectError, asyncio.TimeoutError) as exc:
        within = "" if seconds is None else f" within {seconds:g} s"
        return "", str(exc) or f"the application does not answer{within}"
