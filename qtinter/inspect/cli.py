"""The command ``qtinter-inspect``.

Exit codes: 0 done, 1 findings, 2 usage, 3 no such application or daemon, 4 no
permission, 5 incompatible versions.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
from typing import TYPE_CHECKING, Any, Callable

from .._version import __version__
from .errors import IncompatibleError, InspectError
from .model import LOOP, OBJECT, SLOT, TASK, TIMER, WAIT, Process
from .segment import read_snapshot, segments

if TYPE_CHECKING:
    from collections.abc import Sequence

EXIT_FINDINGS = 1
EXIT_USAGE = 2
EXIT_NO_TARGET = 3
EXIT_PERMISSION = 4
EXIT_INCOMPATIBLE = 5

WATCH_HZ = 20

_EPILOG = """\
A program is shown if it was started with QTINTER_INSPECT=1 in its environment (or a
level from 1 to 4, or the path of the daemon's socket), or has called
qtinter.inspect.enable().  Levels: 1 state, 2 also events, 3 also where tasks were
created and where they wait, 4 also the repr of what they wait for.

The commands speak to the daemon qtinterd and start it if it does not run; only "crash"
needs none.  Without --pid they show all programs.

examples:
  qtinter-inspect ls                     which programs there are
  qtinter-inspect ps --pid 4242          what their tasks do and wait for
  qtinter-inspect task 17 --json         everything about a task
  qtinter-inspect watch --events | jq .  what happens, as it happens
  qtinter-inspect crash                  the last moments of one that died

exit status:
  0  done                        3  no such program, task, file or daemon
  1  there are findings          4  no permission
  2  wrong use of the command    5  the daemon's version does not fit

environment:
  QTINTER_RUNTIME_DIR  where sockets and segments are, by default
                       $XDG_RUNTIME_DIR/qtinter or /tmp/qtinter-UID
  QTINTERD             path of the daemon, if it is not found on PATH
"""


class NoTargetError(Exception):
    """There is no such application, or more than one."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    options = _parser().parse_args(argv)
    try:
        code = int(options.run(options) or 0)
        sys.stdout.flush()  # here, where a reader that is gone is no error
        return code
    except NoTargetError as exc:
        return _fail(str(exc), EXIT_NO_TARGET)
    except IncompatibleError as exc:
        return _fail(str(exc), EXIT_INCOMPATIBLE)
    except PermissionError as exc:
        return _fail(str(exc), EXIT_PERMISSION)
    except BrokenPipeError:
        # Not to fail again when the interpreter flushes what nobody reads.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except KeyboardInterrupt:
        return 0
    except (ImportError, InspectError, OSError, ValueError) as exc:
        return _fail(str(exc), EXIT_NO_TARGET)


def _fail(text: str, code: int) -> int:
    print(f"qtinter-inspect: {text}", file=sys.stderr)
    return code


# --- arguments -----------------------------------------------------------------------


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="qtinter-inspect",
        description="Show what the asyncio loops of running Qt programs do.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=__version__)
    parser.add_argument(
        "--socket", metavar="PATH", help="the daemon's socket, if not the usual one"
    )
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)

    def command(
        name: str, text: str, run: Callable[[Any], Any], target: bool = True
    ) -> argparse.ArgumentParser:
        made = commands.add_parser(name, help=text, description=text)
        made.add_argument("--json", action="store_true", help="machine-readable output")
        if target:
            made.add_argument(
                "-p", "--pid", type=int, help="the application, if there are several"
            )
        made.set_defaults(run=run)
        return made

    command("ls", "List the applications.", _ls, target=False)
    for name, text, run in (
        ("ps", "List the tasks.", _ps),
        ("slots", "List the asyncslots and their invocations.", _slots),
        ("waits", "List the signal waits.", _waits),
        ("loops", "List the loops.", _loops),
        ("timers", "List the timers.", _timers),
    ):
        made = command(name, text, run)
        made.add_argument("--all", action="store_true", help="also those that ended")
    made = command("task", "Show everything about one task.", _task)
    made.add_argument("id", type=int, help="number of the task, as ps shows it")
    made = command(
        "watch", "Print changes as they happen, one JSON object a line.", _watch
    )
    made.add_argument("--jsonl", action="store_true", help="(the default form)")
    made.add_argument("--events", action="store_true", help="also each event")
    made.add_argument("--hz", type=int, default=WATCH_HZ, help="most updates a second")
    made = command(
        "crash", "Show what a program that has died left behind.", _crash, target=False
    )
    made.add_argument("file", nargs="?", help="the segment; by default the newest one")
    made.add_argument(
        "--events", type=int, default=20, help="how many of the last events"
    )
    return parser


# --- sources -------------------------------------------------------------------------


def _state(options: argparse.Namespace, kinds: list[int]) -> list[Process]:
    """The chosen applications, with their rows of these kinds."""
    return asyncio.run(_fetch(options, kinds))


async def _fetch(options: argparse.Namespace, kinds: list[int]) -> list[Process]:
    from .feed import connect

    async with connect(options.socket, start=True) as feed:
        if feed.started:
            await feed.wait_for_applications()
        pid = getattr(options, "pid", None)
        if pid is not None:
            known = [row["pid"] for row in await feed.list()]
            if pid not in known:
                raise NoTargetError(
                    f"there is no application with pid {pid} (is inspection enabled "
                    "in it? see qtinter-inspect ls)"
                )
        await feed.subscribe(
            pid, kinds=kinds or None, hz=1, history=getattr(options, "all", False)
        )
        return [
            process
            for number, process in sorted(feed.processes.items())
            if process.alive and pid in (None, number)
        ]


# --- output --------------------------------------------------------------------------


def _print_json(value: Any) -> None:
    json.dump(value, sys.stdout, ensure_ascii=False)
    print()


def _table(title: str, columns: Sequence[str], rows: list[list[str]]) -> None:
    if not sys.stdout.isatty():  # for other programs: a line is a row
        _plain_table(title, columns, rows)
        return
    try:
        from rich import box
        from rich.console import Console
        from rich.table import Table
    except ImportError:  # plain columns without it
        _plain_table(title, columns, rows)
        return
    table = Table(title=title or None, title_justify="left", box=box.SIMPLE_HEAD)
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*(cell.replace("[", "\\[") for cell in row))
    Console().print(table)


def _plain_table(title: str, columns: Sequence[str], rows: list[list[str]]) -> None:
    widths = [max(map(len, cells)) for cells in zip(columns, *rows)]
    if title:
        print(title)
    for row in [list(columns), *rows]:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip())


def _seconds(value: float | None) -> str:
    if value is None:
        return ""
    if value < 1e-3:
        return f"{value * 1e6:.0f} us"
    if value < 1:
        return f"{value * 1e3:.1f} ms"
    if value < 120:
        return f"{value:.1f} s"
    if value < 7200:
        return f"{value / 60:.1f} min"
    return f"{value / 3600:.1f} h"


def _code(code: dict[str, Any] | None) -> str:
    if code is None:
        return ""
    if not code["file"]:
        return str(code["name"])
    return f"{code['name']} ({os.path.basename(code['file'])}:{code['line']})"


def _title(process: Process, processes: list[Process]) -> str:
    text = f"{process.info.get('name', '?')}, pid {process.info['pid']}"
    if process.lost:
        text += f", {process.lost} events LOST"
    return text if len(processes) > 1 or process.lost else ""


def _sender(row: dict[str, Any]) -> str:
    text = row["sender_class"] or ""
    if row["sender_name"]:
        text += f" {row['sender_name']!r}"
    if not row["sender_alive"]:
        text += " DESTROYED"
    return text.strip()


def _show(
    options: argparse.Namespace,
    processes: list[Process],
    rows_of: Callable[[Process], list[dict[str, Any]]],
    columns: dict[str, Callable[[dict[str, Any]], str]],
) -> None:
    if options.json:
        _print_json([{"pid": p.info["pid"], "rows": rows_of(p)} for p in processes])
        return
    for process in processes:
        cells = [[show(row) for show in columns.values()] for row in rows_of(process)]
        _table(_title(process, processes), list(columns), cells)


# --- commands ------------------------------------------------------------------------


def _ls(options: argparse.Namespace) -> None:
    processes = _state(options, [TASK, LOOP, SLOT, WAIT])
    found = []
    for process in processes:
        loops = process.loops()
        states = [loop["state"] for loop in loops]
        found.append(
            {
                "pid": process.info["pid"],
                "name": process.info.get("name", ""),
                "loops": states,
                "tasks": len(process.tasks()),
                "slots": len(process.slots()),
                "waits": len(process.waits()),
                "level": process.info.get("level", 0),
                "versions": process.info.get("versions", {}),
                "lints": len(process.lints),
                "lost": process.lost,
            }
        )
    if options.json:
        _print_json(found)
        return
    _table(
        "",
        ("pid", "name", "loops", "tasks", "slots", "waits", "level", "with"),
        [
            [
                str(row["pid"]),
                str(row["name"]),
                " ".join(row["loops"]),
                str(row["tasks"]),
                str(row["slots"]),
                str(row["waits"]),
                str(row["level"]),
                " ".join(f"{k} {v}" for k, v in row["versions"].items() if v),
            ]
            for row in found
        ],
    )


def _task_columns() -> dict[str, Callable[[dict[str, Any]], str]]:
    return {
        "id": lambda t: str(t["id"]),
        "state": lambda t: str(t["state"]),
        "name": lambda t: str(t["name"]),
        "code": lambda t: _code(t["code"]),
        "waits for": lambda t: t["waits_for"]["text"] if t["waits_for"] else "",
        "since": lambda t: _seconds(t["since"]),
        "age": lambda t: _seconds(t["age"]),
        "busy": lambda t: _seconds(t["busy"]),
        "steps": lambda t: str(t["steps"]),
        "slot": lambda t: t["slot"] or "",
    }


def _ps(options: argparse.Namespace) -> None:
    processes = _state(options, [TASK, SLOT, WAIT, OBJECT, TIMER, LOOP, 7])
    _show(options, processes, lambda p: p.tasks(options.all), _task_columns())


def _slots(options: argparse.Namespace) -> None:
    processes = _state(options, [TASK, SLOT, OBJECT])
    _show(
        options,
        processes,
        lambda p: p.slots(options.all),
        {
            "id": lambda s: str(s["id"]),
            "name": lambda s: str(s["name"]),
            "code": lambda s: _code(s["code"]),
            "receiver": lambda s: s["receiver"] or "",
            "calls": lambda s: str(s["calls"]),
            "live": lambda s: str(s["live"]),
            "most": lambda s: str(s["overlap_max"]),
            "overlap": lambda s: str(s["policy"]),
            "longest": lambda s: _seconds(s["max"]),
            "last call": lambda s: _seconds(s["last_call"]),
            "pending tasks": lambda s: " ".join(map(str, s["pending"])),
        },
    )


def _waits(options: argparse.Namespace) -> None:
    processes = _state(options, [TASK, WAIT, OBJECT])
    _show(
        options,
        processes,
        lambda p: p.waits(options.all),
        {
            "id": lambda w: str(w["id"]),
            "signal": lambda w: str(w["signal"]),
            "sender": _sender,
            "form": lambda w: str(w["form"]),
            "task": lambda w: (
                f"{w['task']} {w['task_name'] or ''}" if w["task"] else ""
            ),
            "since": lambda w: _seconds(w["since"]),
            "fired": lambda w: str(w["fired"]),
            "buffered": lambda w: str(w["buffered"]),
        },
    )


def _loops(options: argparse.Namespace) -> None:
    processes = _state(options, [LOOP, TASK, SLOT, WAIT, OBJECT, TIMER])
    _show(
        options,
        processes,
        lambda p: p.loops(options.all),
        {
            "id": lambda s: str(s["number"]),
            "state": lambda s: str(s["state"]),
            "mode": lambda s: str(s["mode"]),
            "host": lambda s: str(s["host"]),
            "runs": lambda s: s["current"] or "",
            "for": lambda s: _seconds(s["busy_for"]),
            "tasks": lambda s: str(s["tasks"]),
            "timers": lambda s: str(s["timers"]),
            "watches": lambda s: str(s["watches"]),
            "callbacks": lambda s: str(s["callbacks"]),
            "max lag": lambda s: _seconds(s["max_lag"]),
        },
    )


def _timers(options: argparse.Namespace) -> None:
    processes = _state(options, [TIMER, TASK])
    _show(
        options,
        processes,
        Process.timers,
        {
            "id": lambda t: str(t["id"]),
            "due in": lambda t: _seconds(max(0, t["due_in"])),
            "callback": lambda t: _code(t["code"]),
            "task": lambda t: str(t["task"] or ""),
        },
    )


def _task(options: argparse.Namespace) -> None:
    options.all = True
    found = [
        (process, process.rows[TASK, options.id])
        for process in _state(options, [])
        if (TASK, options.id) in process.rows
    ]
    if len(found) != 1:
        raise NoTargetError(
            f"there is no task {options.id}"
            if not found
            else f"several applications have a task {options.id}: choose with --pid"
        )
    process, row = found[0]
    task = process.task(row)
    if options.json:
        _print_json({"pid": process.info["pid"], **task})
        return
    waits = task.pop("waits_for")
    task["code"], task["where"] = _code(task["code"]), _code(task["where"])
    for name in ("since", "age", "busy", "scheduled", "max_step"):
        task[name] = _seconds(task[name])
    stack = task.pop("stack")
    task["waits_for"] = waits["text"] if waits else ""
    for name, value in task.items():
        if value not in (None, "", 0):
            print(f"{name.replace('_', ' '):>12}  {value}")
    for code in stack:
        print(f"{'created at':>12}  {_code(code)}")


def _watch(options: argparse.Namespace) -> None:
    asyncio.run(_watch_changes(options))


async def _watch_changes(options: argparse.Namespace) -> None:
    from .feed import connect, records_of

    async with connect(options.socket, start=True) as feed:
        await feed.subscribe(options.pid, hz=options.hz, events=options.events)
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


def _crash(options: argparse.Namespace) -> None:
    path = options.file or _newest_dead_segment()
    process = read_snapshot(path)
    records = process.records[-options.events :] if options.events > 0 else []
    events = [process.event(record) for record in records]
    if options.json:
        _print_json(
            {
                "file": path,
                "process": process.info,
                "alive": process.alive,
                "loops": process.loops(),
                "tasks": process.tasks(),
                "slots": process.slots(),
                "waits": process.waits(),
                "events": events,
                "lost": process.lost,
            }
        )
        return
    state = "is alive" if process.alive else "has ended"
    if not process.alive and not process.info["closed"]:
        state = "died"
    print(f"{process.info['name']}, pid {process.info['pid']}, {state}; {path}")
    for loop in process.loops():
        text = f"loop {loop['number']} ({loop['mode']}): {loop['state']}"
        if loop["current"]:
            text += f", running {loop['current']} for {_seconds(loop['busy_for'])}"
        print(text)
    columns = _task_columns()
    _table(
        "tasks",
        list(columns),
        [[show(task) for show in columns.values()] for task in process.tasks()],
    )
    _table(
        "signal waits",
        ("id", "signal", "sender", "task", "since"),
        [
            [str(w["id"]), w["signal"], _sender(w), w["task_name"] or "",
             _seconds(w["since"])]
            for w in process.waits()
        ],
    )  # fmt: skip
    last = process.info["last"]
    _table(
        f"last events ({process.lost} older ones lost)"
        if process.lost
        else "last events",
        ("before the end", "event", "what"),
        [
            [
                _seconds((last - event.pop("ts")) * 1e-9),
                event.pop("event"),
                ", ".join(f"{k} {v}" for k, v in event.items() if v not in ("", 0)),
            ]
            for event in events
        ],
    )


def _newest_dead_segment() -> str:
    for path in segments():
        try:
            process = read_snapshot(path)
        except (OSError, ValueError):
            continue  # not a segment, or gone since
        if not process.alive and not process.info["closed"]:
            return path
    raise NoTargetError("no segment of a program that died was found")


if __name__ == "__main__":
    sys.exit(main())
