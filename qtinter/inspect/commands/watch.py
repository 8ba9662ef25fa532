"""``watch``: changes as they happen, one JSON object a line."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from ..model import LOOP, SLOT, TASK, WAIT, Process
from .arguments import MOST_HZ, hertz
from .sources import connected, known, pid_of, run

if TYPE_CHECKING:
    import argparse

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
    from ..feed import records_of

    async with connected(options) as feed:
        pid = pid_of(options)
        if pid is not None:
            await known(feed, pid)
        await feed.subscribe(pid, hz=options.hz, events=options.events)
        async for change in feed:
            process = feed.processes.get(change.pid) or Process({"pid": change.pid})
            line: dict[str, Any] = {"what": change.what, "pid": change.pid}
            if change.what == "rows":
                line["changed"] = [
                    _row_in_words(process, kind, ident)
                    for kind, ident, _ in change.data["upsert"]
                ]
                line["gone"] = change.data["gone"]
            elif change.what == "snapshot":
                line["tasks"] = process.tasks()
                line["slots"] = process.slots()
                line["waits"] = process.waits()
            elif change.what == "events":
                line["events"] = [process.event(r) for r in records_of(change.data)]
            elif change.what == "up":
                line["process"] = process.info
            else:
                line.update(change.data)
            print(json.dumps(line, ensure_ascii=False, default=str), flush=True)


def _row_in_words(process: Process, kind: int, ident: int) -> dict[str, Any]:
    row = process.rows.get((kind, ident))
    if row is None:
        return {"kind": kind, "id": ident}
    if kind == TASK:
        return {"kind": "task", **process.task(row)}
    tables = {SLOT: process.slots, WAIT: process.waits, LOOP: process.loops}
    for found in tables[kind](True) if kind in tables else ():
        if found["id"] == ident:
            return {"kind": {SLOT: "slot", WAIT: "wait", LOOP: "loop"}[kind], **found}
    return {"kind": kind, "id": ident, "state": row.state}
