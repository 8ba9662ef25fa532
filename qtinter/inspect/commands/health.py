"""``lag lint stack``: what is wrong, and where the loop's thread is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..model import LOOP, Process
from .arguments import row_id
from .output import heading, print_json, print_table, safe, seconds
from .sources import (
    NoTargetError,
    connected,
    only,
    pid_of,
    run,
    stack_of,
    subscribed,
)

if TYPE_CHECKING:
    import argparse

    from . import Command

EXIT_FINDINGS = 1
_SEVERITIES = {"E": "error", "W": "warning", "I": "note"}
_ORDER = "EWI"
_DURATION_COLUMNS = ("duration of a", "count", "p50", "p90", "p99", "max")
DOCUMENTATION = "docs/lints.md"


def add_commands(command: Command) -> None:
    command(
        "lag",
        "Show how late the loops are, and what keeps them busy. Max lag is the longest "
        "that something ready had to wait; the shares are of the time since inspection "
        "began; of the durations of steps and of calls of asyncslots the median, the "
        "90th and 99th percentile and the longest are shown.",
        _lag,
    )
    made = command(
        "lint",
        "Show what is probably wrong. docs/lints.md tells what each finding means and "
        "how to mend it. The exit code is 1 if there are findings as severe as "
        "--fail-on.",
        _lint,
    )
    made.add_argument(
        "--fail-on",
        choices=_ORDER,
        default="E",
        metavar="E|W|I",
        help="the least severity that makes the exit code 1: error, warning, note (E)",
    )
    made = command(
        "stack",
        "Show the Python stack of a loop's thread, also while it hangs and the GIL is "
        "held; or of a task. On Linux it is taken by a signal, at once; elsewhere when "
        "the loop runs.",
        _stack,
    )
    one_of = made.add_mutually_exclusive_group()
    one_of.add_argument(
        "--task", type=row_id, help="the await chain of this task instead"
    )
    one_of.add_argument("--loop", type=row_id, help="the loop, if there are several")
    one_of.add_argument(
        "--wait",
        action="store_true",
        help="wait for the next stall, show its stack",
    )


# --- lag -----------------------------------------------------------------------------


def _lag(options: argparse.Namespace) -> None:
    found = run(_measure(options))
    if options.json:
        print_json([{"pid": p.info["pid"], **value} for p, value in found])
        return
    processes = [process for process, _ in found]
    for process, value in found:
        rows = []
        for loop in value["loops"]:
            idle = 1.0 - loop["asyncio_share"] - loop["qt_share"]
            rows.append(
                [
                    str(loop["number"]),
                    loop["state"],
                    seconds(loop["max_lag"]),
                    f"{loop['asyncio_share']:.1%}",
                    f"{loop['qt_busy_share']:.1%}",
                    f"{loop['qt_share'] - loop['qt_busy_share']:.1%}",
                    f"{max(0.0, idle):.1%}",
                    str(loop["ready"]),
                    loop["current"] or "",
                ]
            )
        print_table(
            heading(process, processes),
            ("loop", "state", "max lag", "asyncio", "Qt", "asleep", "rest", "ready",
             "runs"),
            rows,
        )  # fmt: skip
        rows = [
            [
                text,
                str(h["count"]),
                *(seconds(h[key] * 1e-9) for key in ("p50", "p90", "p99", "max")),
            ]
            for text, h in (
                ("step of a task", value["histogram"].get("steps")),
                ("call of an asyncslot", value["histogram"].get("calls")),
            )
            if h
        ]
        if rows:
            print_table(
                "", ("duration of a", "count", "p50", "p90", "p99", "max"), rows
            )


async def _measure(options: argparse.Namespace) -> list[tuple[Process, dict[str, Any]]]:
    found = []
    async with connected(options) as feed:
        for process in await subscribed(feed, pid_of(options), []):
            loops = process.loops()
            for loop in loops:
                row = process.rows[LOOP, loop["id"]]
                lived = max(1, process.now() - int(process.info.get("mono0", 0)))
                loop["asyncio_share"] = row["asyncio"] / lived
                loop["qt_share"] = row["qt"] / lived
                loop["qt_busy_share"] = row["qt_busy"] / lived
            histogram = await feed.request("HISTOGRAM", pid=process.info["pid"])
            found.append((process, {"loops": loops, "histogram": histogram or {}}))
    return found


# --- lint ----------------------------------------------------------------------------


def _lint(options: argparse.Namespace) -> int:
    processes = run(_find(options))
    found = [
        {
            "pid": process.info["pid"],
            "id": finding["id"],
            "severity": finding["severity"],
            "about": process.describe(finding["ref"]),
            "ref": finding["ref"],
            "text": finding["text"],
            "count": finding["count"],
            "for": process.age(finding["since"]),
            "help": f"{DOCUMENTATION}#{finding['id'].lower()}",
        }
        for process in processes
        for finding in process.lints.values()
    ]
    found.sort(key=lambda finding: (_ORDER.find(finding["severity"]), finding["id"]))
    if options.json:
        print_json(found)
    elif not found:
        print("nothing was found")
    else:
        print_table(
            "",
            ("pid", "id", "severity", "about", "what", "count", "for"),
            [
                [
                    str(finding["pid"]),
                    finding["id"],
                    _SEVERITIES.get(finding["severity"], finding["severity"]),
                    finding["about"],
                    finding["text"],
                    str(finding["count"]),
                    seconds(finding["for"]),
                ]
                for finding in found
            ],
        )
        print(f"What they mean and how to fix them: {DOCUMENTATION}")
    limit = _ORDER.index(options.fail_on)
    worst = min((_ORDER.find(f["severity"]) for f in found), default=len(_ORDER))
    return EXIT_FINDINGS if worst <= limit else 0


async def _find(options: argparse.Namespace) -> list[Process]:
    async with connected(options) as feed:
        return await subscribed(feed, pid_of(options), [])


# --- stack ---------------------------------------------------------------------------


def _stack(options: argparse.Namespace) -> int:
    pid, text, refusal = run(_ask_stack(options))
    if options.json:
        print_json({"pid": pid, "stack": text or None, "refused": refusal or None})
    elif refusal:
        raise NoTargetError(refusal)
    else:
        print(safe_lines(text), end="")
    return 3 if refusal else 0


def safe_lines(text: str) -> str:
    return "".join(safe(line) + "\n" for line in text.splitlines())


async def _ask_stack(options: argparse.Namespace) -> tuple[int, str, str]:
    from .. import wire

    async with connected(options) as feed:
        process = only(await subscribed(feed, pid_of(options), []))
        pid = process.info["pid"]
        if options.wait:
            async for change in feed:
                if change.what == "down" and change.pid == pid:
                    return pid, "", f"the application {pid} has ended"
                stall = change.data.get("stall") if change.what == "stall" else None
                if stall is not None and change.pid == pid:
                    text = str(wire.named("STALL", stall).get("stack") or "")
                    if text:
                        return pid, text, ""
            return pid, "", "the daemon has gone away"
        fields = {"task": options.task, "loop": options.loop}
        wanted = {name: value for name, value in fields.items() if value is not None}
        text, refusal = await stack_of(feed, pid, **wanted)
        return pid, text, refusal
