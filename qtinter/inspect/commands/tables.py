"""``ls ps slots waits loops timers``: what there is, a line each."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Callable

from ..fields import TaskFields
from ..model import JOB, LOOP, OBJECT, SLOT, TASK, TIMER, WAIT, Process
from .output import place, print_json, print_table, seconds, sender, show
from .sources import state

if TYPE_CHECKING:
    import argparse

    from . import Command
    from .output import Columns


def add_commands(command: Command) -> None:
    command(
        "ls",
        "List the applications. For each: the states of its loops, how many tasks, "
        "asyncslots and signal waits it has, its longest delay of a loop, the number "
        "of findings (see lint), and the level of inspection.",
        _ls,
        target=False,
    )
    for name, text, run, table in (
        (
            "ps",
            "List the tasks. For each: what it waits for, how long it has been in its "
            "state (since) and has existed (age), the time that its steps have used "
            "(busy) and their number.",
            _ps,
            "tasks",
        ),
        (
            "slots",
            "List the asyncslots and their invocations. For each: how often it was "
            "called, how many of its calls have not ended (live), the most there were "
            "at once, what is done with a call meanwhile (overlap), the longest call, "
            "and the ids of its tasks.",
            _slots,
            "slots",
        ),
        (
            "waits",
            "List the signal waits. For each: the signal, the object that sends it and "
            "whether that still exists, the task that waits and since when, how often "
            "the signal came, and how many of a stream nobody has taken (buffered).",
            _waits,
            "waits",
        ),
        (
            "loops",
            "List the loops. For each: what it runs now and for how long; how many "
            "tasks, timers and watched files it has; the time that its thread spent in "
            "asyncio, in Qt and asleep; and the longest that something ready had to "
            "wait (max lag).",
            _loops,
            "loops",
        ),
        (
            "timers",
            "List the timers. For each: when it is due, what it calls, and the task "
            "that asked for it.",
            _timers,
            "timers",
        ),
    ):
        made = command(name, text, run, table=table)
        made.add_argument("--all", action="store_true", help="also those that ended")


TASK_COLUMNS: Columns = {
    "id": lambda t: str(t["id"]),
    "state": lambda t: str(t["state"]),
    "name": lambda t: str(t["name"]),
    "code": lambda t: place(t["code"]),
    "waits for": lambda t: t["waits_for"]["text"] if t["waits_for"] else "",
    "since": lambda t: seconds(t["since"]),
    "age": lambda t: seconds(t["age"]),
    "busy": lambda t: seconds(t["busy"]),
    "steps": lambda t: str(t["steps"]),
    "slot": lambda t: t["slot"] or "",
}

_SLOT_COLUMNS: Columns = {
    "id": lambda s: str(s["id"]),
    "name": lambda s: str(s["name"]),
    "code": lambda s: place(s["code"]),
    "receiver": lambda s: s["receiver"] or "",
    "calls": lambda s: str(s["calls"]),
    "live": lambda s: str(s["live"]),
    "most": lambda s: str(s["overlap_max"]),
    "overlap": lambda s: str(s["policy"]),
    "longest": lambda s: seconds(s["max"]),
    "last call": lambda s: seconds(s["last_call"]),
    "pending tasks": lambda s: " ".join(map(str, s["pending"])),
}

_WAIT_COLUMNS: Columns = {
    "id": lambda w: str(w["id"]),
    "signal": lambda w: str(w["signal"]),
    "sender": sender,
    "form": lambda w: str(w["form"]),
    "task": lambda w: f"{w['task']} {w['task_name'] or ''}" if w["task"] else "",
    "since": lambda w: seconds(w["since"]),
    "fired": lambda w: str(w["fired"]),
    "buffered": lambda w: str(w["buffered"]),
}

_LOOP_COLUMNS: Columns = {
    "id": lambda s: str(s["number"]),
    "state": lambda s: str(s["state"]),
    "mode": lambda s: str(s["mode"]),
    "host": lambda s: str(s["host"]),
    "runs": lambda s: s["current"] or "",
    "for": lambda s: seconds(s["busy_for"]),
    "tasks": lambda s: str(s["tasks"]),
    "timers": lambda s: str(s["timers"]),
    "watches": lambda s: str(s["watches"]),
    "callbacks": lambda s: str(s["callbacks"]),
    "asyncio": lambda s: seconds(s["asyncio"]),
    "Qt": lambda s: seconds(s["qt_busy"]),
    "asleep": lambda s: seconds(s["qt"] - s["qt_busy"]),
    "max lag": lambda s: seconds(s["max_lag"]),
}

_TIMER_COLUMNS: Columns = {
    "id": lambda t: str(t["id"]),
    "due in": lambda t: seconds(max(0, t["due_in"])),
    "callback": lambda t: place(t["code"]),
    "task": lambda t: str(t["task"] or ""),
}


def _ls(options: argparse.Namespace) -> None:
    processes = state(options, [TASK, LOOP, SLOT, WAIT])
    found = [_application(process) for process in processes]
    if options.json:
        print_json(found)
        return
    print_table(
        "",
        ("pid", "name", "loops", "tasks", "slots", "waits", "max lag", "findings",
         "level", "with"),
        [
            [
                str(row["pid"]),
                str(row["name"]),
                " ".join(row["loops"]),
                str(row["tasks"]),
                str(row["slots"]),
                str(row["waits"]),
                seconds(row["max_lag"]),
                str(row["lints"]) + (f", {row['lost']} LOST" if row["lost"] else ""),
                str(row["level"]),
                " ".join(f"{k} {v}" for k, v in row["versions"].items() if v),
            ]
            for row in found
        ],
    )  # fmt: skip


def _application(process: Process) -> dict[str, Any]:
    loops = process.loops()
    return {
        "pid": process.info["pid"],
        "name": process.info.get("name", ""),
        "loops": [loop["state"] for loop in loops],
        "tasks": process.count(TASK),
        "slots": process.count(SLOT),
        "waits": process.count(WAIT),
        "max_lag": max((loop["max_lag"] for loop in loops), default=0.0),
        "level": process.info.get("level", 0),
        "versions": process.info.get("versions", {}),
        "lints": len(process.lints),
        "lost": process.lost,
    }


def _ps(options: argparse.Namespace) -> None:
    processes = state(
        options, [TASK, SLOT, WAIT, OBJECT, TIMER, LOOP, JOB], options.all
    )

    def tasks(process: Process) -> list[TaskFields]:
        lints: dict[int, list[str]] = {}
        for ident, ref in process.lints:
            lints.setdefault(ref, []).append(ident)

        def lints_of(ident: int) -> Callable[[], list[str]]:
            return lambda: sorted(lints.get(TASK << 56 | ident, ()))

        rows = sorted(process.of_kind(TASK, options.all), key=lambda row: row.id)
        return [TaskFields(process, row, lints_of(row.id)) for row in rows]

    show(options, processes, tasks, TASK_COLUMNS)


def _slots(options: argparse.Namespace) -> None:
    processes = state(options, [TASK, SLOT, OBJECT], options.all)
    show(options, processes, lambda p: p.slots(options.all), _SLOT_COLUMNS)


def _waits(options: argparse.Namespace) -> None:
    processes = state(options, [TASK, WAIT, OBJECT], options.all)
    show(options, processes, lambda p: p.waits(options.all), _WAIT_COLUMNS)


def _loops(options: argparse.Namespace) -> None:
    processes = state(options, [LOOP, TASK, SLOT, WAIT, OBJECT, TIMER], options.all)
    show(options, processes, lambda p: p.loops(options.all), _LOOP_COLUMNS)


def _timers(options: argparse.Namespace) -> None:
    processes = state(options, [TIMER, TASK], options.all)
    show(options, processes, Process.timers, _TIMER_COLUMNS)
