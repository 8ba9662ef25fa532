"""``crash``: what a program that has died left behind."""

from __future__ import annotations

import shutil
import textwrap
from typing import TYPE_CHECKING, Any

from .. import _tables, analysis
from ..model import TASK, Process, Row
from ..segment import read_snapshot, segments
from .arguments import count
from .output import print_json, print_table, safe, seconds, sender
from .sources import NoTargetError
from .tables import TASK_COLUMNS

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

    from . import Command

_REASONS = 10
_PARAGRAPH_WIDTH = 100


def add_commands(command: Command) -> None:
    made = command(
        "crash",
        "Show what a program that has died left behind. Needs no daemon: it reads the "
        "segment of the program, a file in the runtime directory: its last state, why "
        "its tasks did not go on, and its last events.",
        _crash,
        target=False,
    )
    one_of = made.add_mutually_exclusive_group()
    one_of.add_argument(
        "file", nargs="?", help="the segment; by default the newest one"
    )
    one_of.add_argument("--list", action="store_true", help="only list what there is")
    made.add_argument(
        "--events",
        type=count,
        default=20,
        metavar="N",
        help="how many of the last events (20)",
    )
    made.add_argument(
        "--reasons",
        type=count,
        default=_REASONS,
        metavar="N",
        help="of how many tasks to say why they did not go on: those that had waited "
        f"longest first, those that slept last ({_REASONS}); --json has all",
    )


def _crash(options: argparse.Namespace) -> None:
    if options.list:
        _list(options)
        return
    if options.file:
        path, process = options.file, read_snapshot(options.file)
    else:
        found = next(_dead(), None)
        if found is None:
            raise NoTargetError("no segment of a program that died was found")
        path, process = found
    records = process.records[-options.events :] if options.events > 0 else []
    events = [process.event(record) for record in records]
    if options.json:
        reasons = [
            {"task": row.id, "text": analysis.why(process, row.id).text}
            for row in process.of_kind(TASK)
        ]
        print_json(
            {
                "file": path,
                "process": process.info,
                "alive": process.alive,
                "loops": process.loops(),
                "tasks": process.tasks(),
                "slots": process.slots(),
                "waits": process.waits(),
                "why": reasons,
                "events": events,
                "lost": process.lost,
            }
        )
        return
    _print(process, path, events, options.reasons)


def _print(
    process: Process, path: str, events: list[dict[str, Any]], reasons: int
) -> None:
    name = safe(process.info["name"])
    print(f"{name}, pid {process.info['pid']}, {_state(process)}; {safe(path)}")
    for loop in process.loops():
        text = f"loop {loop['number']} ({loop['mode']}): {loop['state']}"
        if loop["current"]:
            text += f", running {loop['current']} for {seconds(loop['busy_for'])}"
        print(safe(text))
    print_table(
        "tasks",
        list(TASK_COLUMNS),
        [[show(task) for show in TASK_COLUMNS.values()] for task in process.tasks()],
    )
    print_table(
        "signal waits",
        ("id", "signal", "sender", "task", "since"),
        [
            [str(w["id"]), w["signal"], sender(w), w["task_name"] or "",
             seconds(w["since"])]
            for w in process.waits()
        ],
    )  # fmt: skip
    _print_reasons(process, reasons)
    last = process.info["last"]
    print_table(
        f"last events ({process.lost} older ones lost)"
        if process.lost
        else "last events",
        ("before the end", "event", "what"),
        [
            [
                seconds((last - event.pop("ts")) * 1e-9),
                event.pop("event"),
                ", ".join(f"{k} {v}" for k, v in event.items() if v not in ("", 0)),
            ]
            for event in events
        ],
    )


def _print_reasons(process: Process, most: int) -> None:
    """What ``why`` says of the tasks that had waited longest."""
    rows = [row for row in process.of_kind(TASK) if not row.is_over]

    def order(row: Row) -> tuple[bool, int, int]:
        """Those that go on by themselves are of least interest."""
        sleeps = _tables.WAIT_KINDS.get(row["wait_kind"]) == "timer"
        return sleeps, int(row["changed"]) or process.info["last"], row.id

    rows.sort(key=order)
    shown = rows[: max(0, most)]
    if not shown:
        return
    print("why they did not go on")
    width = min(shutil.get_terminal_size().columns, _PARAGRAPH_WIDTH)
    for row in shown:
        text = safe(analysis.why(process, row.id).text)
        print(
            textwrap.fill(
                text,
                width,
                initial_indent="- ",
                subsequent_indent="  ",
                break_long_words=False,
                break_on_hyphens=False,
            )
        )
    if len(rows) > len(shown):
        print(f"... and {len(rows) - len(shown):,} more: --reasons, --json")


def _state(process: Process) -> str:
    if process.alive:
        return "is alive"
    return "has ended" if process.info["closed"] else "died"


def _list(options: argparse.Namespace) -> None:
    found = [
        {
            "file": path,
            "pid": process.info["pid"],
            "name": process.info["name"],
            "ended": process.wall(process.info["last"]),
            "tasks": process.count(TASK),
        }
        for path, process in _dead()
    ]
    if options.json:
        print_json(found)
        return
    import time

    print_table(
        "",
        ("pid", "name", "last seen", "tasks", "file"),
        [
            [
                str(row["pid"]),
                row["name"],
                time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(row["ended"])),
                str(row["tasks"]),
                row["file"],
            ]
            for row in found
        ],
    )


def _dead() -> Iterator[tuple[str, Process]]:
    """Segments of programs that died, the newest first."""
    for path in segments():
        try:
            process = read_snapshot(path)
        except (OSError, ValueError):
            continue  # not a segment, or gone since
        if not process.alive and not process.info["closed"]:
            yield path, process
