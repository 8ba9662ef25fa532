"""``watch``: changes as they happen, one JSON object a line."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from .. import _tables
from ..model import LOOP, SLOT, TASK, TIMER, WAIT, Process
from .arguments import MOST_HZ, hertz
from .sources import connected, known, pid_of, run

if TYPE_CHECKING:
    import argparse

    from .._backlog import Change
    from . import Command

WATCH_HZ = 20


def add_commands(command: Command) -> None:
    made = command(
        "watch",
        "Print changes as they happen, one JSON object a line. It ends with Ctrl+C, or "
        "with whoever reads its output.",
        _watch,
    )
    made.add_argument("--jsonl", action="store_true", help="(the default form)")
    made.add_argument("--events", action="store_true", help="also each event")
    made.add_argument(
        "--hz",
        type=hertz,
        default=WATCH_HZ,
        help=f"most updates a second, 1 to {MOST_HZ} ({WATCH_HZ})",
    )


def _watch(options: argparse.Namespace) -> None:
    run(_watch_changes(options))


async def _watch_changes(options: argparse.Namespace) -> None:
    async with connected(options) as feed:
        pid = pid_of(options)
        if pid is not None:
            await known(feed, pid)
        await feed.subscribe(pid, hz=options.hz, events=options.events)
        async for change in feed:
            process = feed.processes.get(change.pid) or Process({"pid": change.pid})
            line = {"what": change.what, "pid": change.pid, **_said(process, change)}
            print(json.dumps(line, ensure_ascii=False, default=str), flush=True)


def _said(process: Process, change: Change) -> dict[str, Any]:
    """A change in words."""
    from .. import wire
    from ..feed import records_of

    what, data = change.what, change.data
    if what == "rows":
        words = _Words(process)
        return {
            "changed": [words.of(kind, ident) for kind, ident, _ in data["upsert"]],
            "gone": [
                {"kind": _kind(kind), "id": ident} for kind, ident in data["gone"]
            ],
        }
    if what == "snapshot":
        return {
            "tasks": process.tasks(),
            "slots": process.slots(),
            "waits": process.waits(),
            "loops": process.loops(),
            "timers": process.timers(),
        }
    if what == "events":
        return {"events": [process.event(record) for record in records_of(data)]}
    if what == "up":
        return {"process": process.info}
    if what == "stall":
        stall = wire.named("STALL", data["stall"])
        return {
            "loop": stall["loop"],
            "since": stall["since"],
            "duration": stall["duration"] * 1e-9,
            "current": process.describe(stall["current"]) or None,
            "stack": stall.get("stack") or None,
            "over": stall["over"],
        }
    if what == "lint":
        return {"about": process.describe(data["ref"]), **data}
    return dict(data)


def _kind(kind: int) -> str:
    name, _ = _tables.ENTITIES.get(kind, (str(kind), ()))
    return name


class _Words:
    """Rows in words, as the commands for them have them, each table made once."""

    def __init__(self, process: Process) -> None:
        self._process = process
        self._tables: dict[int, dict[int, dict[str, Any]]] = {}

    def of(self, kind: int, ident: int) -> dict[str, Any]:
        process = self._process
        row = process.rows.get((kind, ident))
        found = {"kind": _kind(kind), "id": ident}
        if row is None:
            return found
        if kind == TASK:
            return {**found, **process.task(row)}
        if kind not in self._tables:
            make = {
                SLOT: lambda: process.slots(True),
                WAIT: lambda: process.waits(True),
                LOOP: lambda: process.loops(True),
                TIMER: process.timers,
            }.get(kind, list)
            self._tables[kind] = {row["id"]: row for row in make()}
        return {**found, **self._tables[kind].get(ident, {})}
