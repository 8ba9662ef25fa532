"""A recording that the daemon makes of a running program."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import os
import signal
from typing import TYPE_CHECKING, Any, Awaitable, Callable, Iterator, Tuple

from ..inspect.errors import InspectError
from ._source import TraceSource

if TYPE_CHECKING:
    from ..inspect.feed import Feed

    _State = Tuple[int, int, int]
    _Wait = Tuple[Awaitable[Any], str]  # what is waited for, a word for it

_POLL = 0.1  # seconds between looks for a capture
_MIN_LEVEL = 2  # below it there are no events


@dataclasses.dataclass(frozen=True)
class Plan:
    """What is to be recorded.

    :ivar pid: of the program; None: the only one there is.
    :ivar path: of the file; one that exists and is no recording is not replaced.
    :ivar seconds: for how long; None: until the program ends or a signal comes.
    :ivar level: of the inspection meanwhile; None: as it is.
    :ivar max_bytes: of the file, the oldest part goes; None: no limit.
    :ivar max_age: seconds; what is older goes.
    :ivar trigger: ``stall>200ms``, ``exception``, ``lint``, or several with ``|``
        between: the file has what is about the first of them, and ends with it.
    :ivar pre: seconds before the trigger.
    :ivar post: seconds after it.
    """

    pid: int | None
    path: str
    seconds: float | None = None
    level: int | None = None
    max_bytes: int | None = None
    max_age: float | None = None
    trigger: str | None = None
    pre: float = 10.0
    post: float = 2.0

    @property
    def absolute(self) -> str:
        """The path for a process that runs elsewhere."""
        return os.path.abspath(self.path)


async def record(
    plan: Plan, address: str | None, told: Callable[[str], None]
) -> dict[str, Any]:
    """Record as planned.

    :param address: of the daemon, None: the usual one, which is started if needed.
    :param told: gets lines for people, the first one when it has begun.
    :returns: ``pid``, ``path``, ``end`` (``time``, ``signal``, ``program``,
        ``trigger``), and what the daemon counted: ``records``, ``lost``, ``bytes``...
    :raises InspectError: there is no such program, the daemon refuses, or the recording
        failed.

    SIGINT and SIGTERM end the recording and not the process.
    """
    from ..inspect.feed import connect

    path = plan.absolute
    async with connect(address, role="control", start=True) as feed:
        if feed.started:
            await feed.wait_for_applications()
        program = _choose(await feed.list(), plan.pid)
        pid, before = int(program["pid"]), int(program["process"]["level"])
        if plan.level is None and before < _MIN_LEVEL:
            raise InspectError(
                f"the level of inspection of program {pid} is {before}: there are no "
                "events below 2, use --level"
            )
        earlier = _state_of(path)
        fields: dict[str, Any] = {"path": path, "max_bytes": plan.max_bytes}
        if plan.max_age is not None:
            fields["max_age"] = _ms(plan.max_age)
        if plan.trigger is not None:
            times = {"pre": _ms(plan.pre), "post": _ms(plan.post)}
            fields.update(trigger=plan.trigger, **times)
        stopped = asyncio.Event()
        with _signals(stopped.set):
            await feed.request("RECORD", pid=pid, **fields)
            try:
                if plan.level is not None and plan.level != before:
                    await feed.request("SET_LEVEL", pid=pid, level=plan.level)
                name = program["process"].get("name", "program")
                told(f"recording {name}, pid {pid}, into {plan.path}")
                waits: list[_Wait] = [
                    (stopped.wait(), "signal"),
                    (_program_ended(feed, pid), "program"),
                ]
                if plan.trigger is not None:
                    waits.append((_captured(path, earlier, told), "trigger"))
                end = await _first(waits, plan.seconds)
            finally:
                totals = await feed.request("RECORD", pid=pid)
                if plan.level is not None and plan.level != before:
                    # A program that has ended has no level.
                    with contextlib.suppress(InspectError):
                        await feed.request("SET_LEVEL", pid=pid, level=before)
    if totals.get("state") == "failed":
        raise InspectError(f"the recording failed: {totals.get('reason')}")
    return {"pid": pid, **totals, "path": plan.path, "end": end}


def _choose(programs: list[dict[str, Any]], pid: int | None) -> dict[str, Any]:
    """The row of the program of a pid, or of the only one; its PROCESS by names."""
    from ..inspect import _tables, wire

    if pid is not None:
        programs = [row for row in programs if row["pid"] == pid]
    if len(programs) != 1:
        if pid is not None:
            raise InspectError(
                f"there is no program with pid {pid} (is inspection enabled in it? see "
                "qtinter-inspect ls)"
            )
        pids = ", ".join(str(row["pid"]) for row in programs)
        raise InspectError(
            f"several programs run: say which of {pids}"
            if programs
            else "no program runs that is inspected"
        )
    names = _tables.MESSAGES[wire.NUMBERS["PROCESS"]][2]
    fields = programs[0]["process"].items()
    process = {names[key][0]: value for key, value in fields if key in names}
    return {**programs[0], "process": process}


async def _first(waits: list[_Wait], seconds: float | None) -> str:
    """Waits for one of them, for some time at most; what it stands for, or time."""
    tasks = {asyncio.ensure_future(wait): word for wait, word in waits}
    try:
        done, _ = await asyncio.wait(
            set(tasks), timeout=seconds, return_when=asyncio.FIRST_COMPLETED
        )
    finally:
        for task in tasks:
            task.cancel()
    for task in done:
        task.result()  # the daemon may have gone
    return next((tasks[task] for task in done), "time")


async def _program_ended(feed: Feed, pid: int) -> None:
    async for change in feed:
        if change.what == "down" and change.pid == pid:
            return


async def _captured(
    path: str, earlier: _State | None, told: Callable[[str], None]
) -> None:
    """Waits for the daemon to put a capture there, which it does in one go.

    A stall that goes on is captured once more when it has ended.
    """
    while True:
        state = _state_of(path)
        if state not in (None, earlier):
            if not _goes_on(path):
                return
            earlier = state
            told("captured a stall that goes on; its end is waited for")
        await asyncio.sleep(_POLL)


def _goes_on(path: str) -> bool:
    stalls = [note.fields for note in TraceSource(path).notes if note.kind == "stall"]
    return bool(stalls) and not stalls[-1].get("over", True)


def _state_of(path: str) -> _State | None:
    """What tells a file from another one at its place, None if there is none."""
    try:
        found = os.stat(path)
    except FileNotFoundError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino


@contextlib.contextmanager
def _signals(stop: Callable[[], None]) -> Iterator[None]:
    loop = asyncio.get_event_loop()
    numbers = (signal.SIGINT, signal.SIGTERM)
    for number in numbers:
        loop.add_signal_handler(number, stop)
    try:
        yield
    finally:
        for number in numbers:
            loop.remove_signal_handler(number)


def _ms(seconds: float) -> int:
    return max(0, round(seconds * 1e3))
