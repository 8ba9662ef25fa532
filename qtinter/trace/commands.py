"""Commands of ``qtinter-inspect`` that make recordings and work on them."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import datetime
import gc
import os
import re
import sys
from typing import TYPE_CHECKING, Any, Callable, Iterator

from ..inspect.commands import arguments
from ..inspect.commands.output import print_json, print_table, sender
from ..inspect.commands.tables import TASK_COLUMNS
from ..inspect.errors import InspectError, UsageError
from . import _diff, _remote
from ._query import TraceIncomplete, seconds_text
from ._trace import Trace
from ._trace import open as open_trace
from .export import FORMATS, export, write

if TYPE_CHECKING:
    from ..inspect.model import Process

    Command = Callable[..., argparse.ArgumentParser]

EXIT_FINDINGS = 1

_OPENS = {
    "perfetto": "https://ui.perfetto.dev opens it",
    "chrome": "https://ui.perfetto.dev, speedscope.app, chrome://tracing open it",
    "jsonl": "one JSON object a line: jq, or any program",
    "csv": "a spreadsheet or a data frame opens it",
    "html": "a browser opens it",
}


def _add_pid(made: argparse.ArgumentParser) -> None:
    made.add_argument(
        "pid", nargs="?", type=arguments.pid, help="the program, if several run"
    )


def add_commands(command: Command) -> None:
    """Add the commands of this module.

    :param command: ``command(name, text, run, target)`` makes the parser of a command,
        with ``--json``, and with ``--pid`` if ``target``.
    """
    made = command(
        "record",
        "Record a running program. Until Ctrl+C, its end, --for or the end of a "
        "--trigger; docs/traces.md tells what can be done with the file.",
        _record,
        target=False,
    )
    _add_pid(made)
    made.add_argument("-o", "--output", metavar="FILE", required=True, help="where to")
    made.add_argument(
        "--for", dest="seconds", type=_span, metavar="TIME", help="for how long: 30s"
    )
    made.add_argument(
        "--level", type=int, choices=(2, 3, 4), help="of the inspection meanwhile"
    )
    made.add_argument(
        "--max-bytes", type=_size, metavar="SIZE", help="as 64MB; the oldest part goes"
    )
    made.add_argument(
        "--max-age", type=_span, metavar="TIME", help="what is older goes"
    )
    made.add_argument(
        "--trigger",
        metavar="WHAT",
        help="only what is about the first 'stall>200ms', 'exception' or 'lint', or "
        "one of several with | between; ends then",
    )
    made.add_argument("--pre", type=_span, metavar="TIME", help="before it (10s)")
    made.add_argument("--post", type=_span, metavar="TIME", help="and after it (2s)")

    made = command(
        "dump",
        "Save the last events of a program. Of one that runs or has died: what is "
        "still in its segment, about the last 65,000 events.",
        _dump,
        target=False,
    )
    _add_pid(made)
    made.add_argument("-o", "--output", metavar="FILE", help="by default PID.qtrace")

    made = command(
        "replay",
        "Show what a recording holds. On a terminal in the same screens as top, else "
        "as text.",
        _replay,
        target=False,
        forms={"--gui": "in a window", "--text": "text, on a terminal too"},
    )
    made.add_argument("file", help="a .qtrace, a segment, or a folder of a test")
    made.add_argument(
        "--at",
        type=arguments.duration,
        metavar="TIME",
        help="the state at 1.5s after the beginning; --at=-2s: before the end",
    )
    made.add_argument(
        "--events",
        type=arguments.count,
        default=20,
        metavar="N",
        help="of the last ones (20)",
    )

    made = command(
        "export",
        "Convert a recording. For Perfetto and other viewers of traces, scripts, "
        "spreadsheets, or as a page for a browser.",
        _export,
        target=False,
    )
    made.add_argument("file", help="a .qtrace, a segment, or a folder of a test")
    formats = made.add_mutually_exclusive_group(required=True)
    for name in FORMATS:
        formats.add_argument(
            f"--{name}",
            dest="format",
            action="store_const",
            const=name,
            help=_OPENS[name],
        )
    made.add_argument(
        "-o", "--output", metavar="FILE", help="where to; - is standard output"
    )
    for name, text in (("from", "leave out what is before"), ("to", "and after")):
        made.add_argument(
            f"--{name}",
            dest=f"{name}_",
            type=arguments.duration,
            metavar="TIME",
            help=text,
        )

    made = command(
        "diff",
        "Compare two recordings. Figures of both, and code locations whose tasks have "
        "changed most. The exit code is 1 if a limit of --fail-on is exceeded.",
        _compare,
        target=False,
    )
    made.add_argument("before", help="a recording")
    made.add_argument("after", help="another one")
    made.add_argument(
        "--fail-on",
        type=_limit,
        action="append",
        default=[],
        metavar="METRIC:+AMOUNT",
        help="exit with 1 if it changes by more, as p99_step:+20%% or tasks:+3; "
        "metrics: " + ", ".join(_diff.METRICS),
    )
    made.add_argument(
        "--allow-gaps", action="store_true", help="judge although events are missing"
    )
    made.add_argument(
        "--codes",
        type=arguments.count,
        default=20,
        metavar="N",
        help="code locations (20)",
    )


# --- arguments ------------------------------------------------------------------------


def _checked(parse: Callable[[str], Any], text: str) -> Any:
    try:
        return parse(text)
    except ValueError as exc:
        raise argparse.ArgumentTypeError(str(exc)) from None


def _span(text: str) -> float:
    seconds = arguments.duration(text)
    if seconds < 0:
        raise argparse.ArgumentTypeError(f"{text!r} is less than no time")
    return seconds


def _size(text: str) -> int:
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([kMG]?)(i?)B?", text.strip())
    if match is None:
        raise argparse.ArgumentTypeError(f"{text!r} is no size: write 64MB or 1GiB")
    number, prefix, binary = match.groups()
    base = 1024 if binary else 1000
    return int(float(number) * base ** " kMG".index(prefix or " "))


def _limit(text: str) -> Any:
    return _checked(_diff.Limit.parse, text)


def _seconds_of(trace: Trace, time: float) -> float:
    """Seconds since the beginning of what an option says; before its end if below 0."""
    return trace.duration + time if time < 0 else time


def _say(text: str) -> None:
    """What is not the output."""
    print(text, file=sys.stderr)


_CAUSES = 5  # lines


# --- record ---------------------------------------------------------------------------


def _record(options: argparse.Namespace) -> None:
    around = {"pre": options.pre, "post": options.post}
    given = {name: value for name, value in around.items() if value is not None}
    if given and options.trigger is None:
        raise UsageError("--pre and --post are times before and after a --trigger")
    plan = _remote.Plan(
        options.pid,
        options.output,
        seconds=options.seconds,
        level=options.level,
        max_bytes=options.max_bytes,
        max_age=options.max_age,
        trigger=options.trigger,
        **given,
    )

    found = asyncio.run(_remote.record(plan, options.socket, _say))
    if plan.trigger is not None and not found["captures"]:
        raise InspectError(f"nothing happened that {plan.trigger!r} is about")
    if options.json:
        print_json(found)
        return
    text = f"wrote {plan.path}: {found['records']:,} events, {found['bytes']:,} bytes"
    _say(f"{text}, {found['lost']:,} events LOST" if found["lost"] else text)
    if plan.trigger is not None:
        _say_what_happened(plan.path)


def _say_what_happened(path: str) -> None:
    trace = open_trace(path, allow_gaps=True)
    lines = [str(lint) for lint in trace.all_lints()]
    failed = trace.tasks(filter="state==failed").all()
    lines += [str(task) for task in failed if str(task) not in lines]
    more = len(lines) - _CAUSES
    for line in lines[:_CAUSES]:
        _say(f"  {line}")
    if more > 0:
        _say(f"  … {more} more; see qtinter-inspect replay {path}")


# --- dump -----------------------------------------------------------------------------


def _dump(options: argparse.Namespace) -> None:
    from .. import _core

    pid, segment = _segment_of(options.pid)
    output = options.output or f"{pid}.qtrace"
    _core.segment_to_trace(segment, output)
    trace = open_trace(output, allow_gaps=True)
    events = sum(1 for _ in trace.raw_records())
    lost = sum(gap.count for gap in trace.gaps)
    if options.json:
        print_json({"pid": pid, "path": output, "events": events, "lost": lost})
        return
    text = f"wrote {output}: {events:,} events, {seconds_text(trace.duration)}"
    _say(f"{text}, {lost:,} older ones LOST" if lost else text)


def _segment_of(pid: int | None) -> tuple[int, str]:
    """Pid and segment of the program of a pid, or of the only one that runs."""
    from ..inspect import segment

    found: dict[int, str] = {}
    for path in segment.segments():  # the newest first
        number = os.path.basename(path).partition("-")[0]
        if number.isdecimal():
            found.setdefault(int(number), path)
    if pid is not None:
        if pid not in found:
            raise InspectError(
                f"there is no program with pid {pid} in {segment.runtime_directory()} "
                "(is inspection enabled in it? see qtinter-inspect ls)"
            )
        return pid, found[pid]
    running = [one for one in segment.running_applications() if one in found]
    if len(running) != 1:
        raise InspectError(
            "no program runs that is inspected; say the pid of one that has ended"
            if not running
            else f"several programs run: say which of {', '.join(map(str, running))}"
        )
    return running[0], found[running[0]]


# --- export ---------------------------------------------------------------------------


def _export(options: argparse.Namespace) -> None:
    trace = open_trace(options.file, allow_gaps=True)
    bounds = [
        None if time is None else trace.zero + round(_seconds_of(trace, time) * 1e9)
        for time in (options.from_, options.to_)
    ]
    if options.output == "-":
        if options.json:
            raise UsageError("--json tells where the output is, and - is no file")
        with _no_collections():
            write(trace.source, sys.stdout.buffer, options.format, **_range(bounds))
        return
    output = options.output or _beside(options.file, FORMATS[options.format])
    with _no_collections():
        counts = export(trace.source, output, options.format, **_range(bounds))
    if options.json:
        print_json({"path": output, "format": options.format, **counts})
        return
    if counts.get("left_out"):
        _say(f"{counts['left_out']:,} earlier events were left out: --from, --to")
    _say(f"wrote {output}: {counts['events']:,} events; {_OPENS[options.format]}")


@contextlib.contextmanager
def _no_collections() -> Iterator[None]:
    """Nothing that an export makes is in a cycle: to look for some takes a tenth."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def _range(bounds: list[int | None]) -> dict[str, int | None]:
    return {"t0": bounds[0], "t1": bounds[1]}


def _beside(path: str, suffix: str) -> str:
    """Where an export goes by default."""
    path = path.rstrip("/")
    return (path if os.path.isdir(path) else os.path.splitext(path)[0]) + suffix


# --- diff -----------------------------------------------------------------------------


def _compare(options: argparse.Namespace) -> int:
    before, after = (
        open_trace(path, allow_gaps=options.allow_gaps)
        for path in (options.before, options.after)
    )
    try:
        found = _diff.diff(before, after, options.fail_on)
    except TraceIncomplete as exc:
        _say(f"qtinter-inspect: {exc}".replace("say allow_gaps=True", "--allow-gaps"))
        return EXIT_FINDINGS
    if options.json:
        print_json({"before": options.before, "after": options.after, **found.row()})
    else:
        _show_diff(found, options.codes)
    for line in found.exceeded:
        _say(line)
    return EXIT_FINDINGS if found.exceeded else 0


def _show_diff(found: _diff.Diff, codes: int) -> None:
    for line in found.incomplete:
        print(f"INCOMPLETE {line}")
    columns = ["metric", "before", "after", "change"]
    print_table("", columns, [change.words() for change in found.changes])
    rows = []
    for code, changes in list(found.codes.items())[:codes]:
        row = [code]
        for change in changes:
            _, was, now, percent = change.words()
            row.append(was if was == now else f"{was or '-'} > {now or '-'} {percent}")
        rows.append(row)
    if rows:
        print()
        names = [change.metric for change in next(iter(found.codes.values()))]
        print_table(
            "tasks by their code, what changed most first", ["code", *names], rows
        )


# --- replay ---------------------------------------------------------------------------


def _replay(options: argparse.Namespace) -> int:
    if options.gui:
        return _run_file("gui", "the window", options)
    if _is_terminal() and not options.json and not options.text:
        try:
            return _run_file("tui", "the terminal view", options)
        except InspectError as exc:
            _say(f"qtinter-inspect: {exc}; as text:")
    trace = open_trace(options.file, allow_gaps=True)
    at = None if options.at is None else _seconds_of(trace, options.at)
    if at is not None and not 0 <= at <= trace.duration:
        raise InspectError(
            f"{seconds_text(abs(at))} {'before' if at < 0 else 'after'} the beginning "
            f"is outside of the recording, which has {seconds_text(trace.duration)}"
        )
    if options.json:
        state = _state(options.file, trace, at, options.events)
        state["others"] = [
            _state(options.file, other, its_at, options.events)
            for other, its_at in _others(trace, at)
        ]
        print_json(state)
    else:
        _show_state(options.file, trace, at, options.events)
    return 0


def _is_terminal() -> bool:
    return sys.stdout.isatty() and sys.stdin.isatty()


def _run_file(module: str, what: str, options: argparse.Namespace) -> int:
    """Show the file in a view that needs more than this module does; its exit code."""
    import importlib

    at = options.at
    if at is not None and at < 0:
        at = _seconds_of(open_trace(options.file, allow_gaps=True), at)
    try:
        view = importlib.import_module(f"qtinter.inspect.{module}")
        return int(view.run_file(options.file, at=at) or 0)
    except ImportError as exc:  # of the view, or of what it needs
        raise InspectError(f"{what} cannot be shown: {exc}") from exc


def _until(trace: Trace, at: float | None) -> Trace:
    return trace if at is None else trace.between(0, at)


def _state(path: str, trace: Trace, at: float | None, events: int) -> dict[str, Any]:
    """The state at a time, as ``crash --json`` gives it, and figures of the whole."""
    process = trace.snapshot(at)
    part = _until(trace, at)
    last = list(part.last_records(events)) if events else []
    loops = process.loops()
    if at is not None:  # records do not tell what loops were at
        loops = [{"number": loop["number"], "mode": loop["mode"]} for loop in loops]
    return {
        "file": path,
        "process": trace.info,
        "at": trace.duration if at is None else at,
        "duration": trace.duration,
        "figures": _diff.figures(trace),
        "lost": sum(gap.count for gap in trace.gaps),
        "problems": trace.problems,
        "loops": loops,
        "tasks": process.tasks(),
        "slots": process.slots(),
        "waits": process.waits(),
        "lints": [{**lint.row(), "ref": lint.ref} for lint in trace.all_lints()],
        "events": [trace.event(record).row() for record in last],
    }


def _show_state(path: str, trace: Trace, at: float | None, events: int) -> None:
    info = trace.info
    when = ""
    if info.get("wall0"):
        begun = datetime.datetime.fromtimestamp(
            trace.process.wall(trace.zero), datetime.timezone.utc
        )
        when = f", recorded {begun:%Y-%m-%d %H:%M:%S} UTC"
    print(f"{_name_of(trace)}{when}; {path}")
    if info.get("trace_id"):
        print(f"trace id {info['trace_id']}")
    if at is None:
        for line in trace.text().splitlines():
            if line == "pending:" or line == "last events:":
                break  # they are below, in tables
            print(line)
    else:
        print(f"state at {at:.6f} s of {trace.duration:.6f} s")
    for problem in trace.problems:
        print(f"problem: {problem}")
    process = trace.snapshot(at)
    if at is None:
        _show_loops(process)
    _show_tables(process)
    others = _others(trace, at)
    for other, its_at in others:
        print(f"\n{_name_of(other)}, {_span_of(trace, other)}")
        _show_tables(other.snapshot(its_at))
    if others:
        print()
    _show_last_events(trace, at, others, events)


def _name_of(trace: Trace) -> str:
    return f"{trace.info.get('name') or 'program'}, pid {trace.info.get('pid', '?')}"


def _span_of(trace: Trace, other: Trace) -> str:
    """When another process's recording begins and ends, in the times of this one."""
    begins = _offset(trace, other)
    return f"from {begins:.6f} s to {begins + other.duration:.6f} s"


def _offset(trace: Trace, other: Trace) -> float:
    """Processes of one machine have one clock."""
    return (other.zero - trace.zero) * 1e-9


def _others(trace: Trace, at: float | None) -> list[tuple[Trace, float | None]]:
    """The other processes that had begun then, with that time in their own."""
    found: list[tuple[Trace, float | None]] = []
    for other in trace.others:
        its = None if at is None else at - _offset(trace, other)
        if its is None or its > other.duration:
            found.append((other, None))
        elif its >= 0:
            found.append((other, its))
    return found


def _show_last_events(
    trace: Trace,
    at: float | None,
    others: list[tuple[Trace, float | None]],
    events: int,
) -> None:
    rows = []
    for part, its_at in [(trace, at), *others] if events else []:
        offset = _offset(trace, part)
        for record in _until(part, its_at).last_records(events):
            event = part.event(record)
            _, _, words = str(event).partition(f" {event.kind}")
            when = offset + event.at
            rows.append((when, _name_of(part), event.kind, words.strip()))
    rows.sort(key=lambda row: row[0])
    table = []
    for when, name, kind, words in rows[-events:]:
        table.append([f"{when:.6f}", *([name] if others else []), kind, words])
    names = ["at, s", *(["process"] if others else []), "event", "what"]
    print_table("last events", names, table)


def _show_loops(process: Process) -> None:
    for loop in process.loops():
        text = f"loop {loop['number']} ({loop['mode']}): {loop['state']}"
        if loop["current"]:
            text += f", running {loop['current']}"
        print(text)


def _show_tables(process: Process) -> None:
    columns = TASK_COLUMNS
    rows = [[show(task) for show in columns.values()] for task in process.tasks()]
    print_table("tasks", list(columns), rows)
    rows = [
        [str(w["id"]), w["signal"], sender(w), w["task_name"] or ""]
        for w in process.waits()
    ]
    if rows:
        print_table("signal waits", ["id", "signal", "sender", "task"], rows)
