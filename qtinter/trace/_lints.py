"""Findings in a recording: those of daemon/lints.h that a finished one shows.

The thresholds are the daemon's, so that a test and a running program are judged alike.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Iterator

from ..inspect import _tables
from ..inspect.model import LOOP, OBJECT, SLOT, TASK, WAIT
from ._graph import AwaitGraph
from ._query import Lint, Task, seconds_text

if TYPE_CHECKING:
    from ._trace import Trace

SEVERITIES = "IWE"  # rising

QT = "Qt"  # where of a stall that no step and no callback is to blame for
BLOCKED = 0.1
BLOCKED_LONG = 1.0
LAG = 0.02
LATE = 0.05
WINDOW_MIN = 20  # fewer say nothing
CALLS_MANY = 10
WAIT_LONG = 30.0
BUFFERED_MANY = 1000
LOST_WAKE = 1.0
WAKES_MIN = 20
CANCEL_LONG = 5.0


def judge(trace: Trace) -> list[Lint]:
    """The findings of a range, in the order of their ids."""
    found: dict[tuple[str, tuple[int, int] | None], Lint] = {}
    for check in (_steps, _slots, _waits, _tasks, _loops, _noted):
        for lint in check(trace):
            found.setdefault((lint.id, lint.ref), lint)
    return sorted(found.values(), key=lambda lint: (lint.id, lint.at))


def severity_at_least(severity: str, least: str) -> bool:
    return SEVERITIES.find(severity) >= SEVERITIES.find(least)


def _words(task: Task) -> str:
    return f"task {task.id} {task.name}"


def _steps(trace: Trace) -> Iterator[Lint]:
    for step in trace.longest_steps():
        if step.duration < BLOCKED:
            break
        severity = "E" if step.duration >= BLOCKED_LONG else "W"
        yield Lint(
            "QI101",
            severity,
            f"the loop was blocked for {seconds_text(step.duration)}: {step.where}",
            step.ref,
            step.began,
        )
    for stall in trace.stalls():
        if stall.where == QT and stall.duration >= BLOCKED:
            text = (
                f"a timer was due for {seconds_text(stall.duration)} while Qt had the"
            )
            yield Lint("QI103", "W", f"{text} thread", None, stall.began)
    for ts, _, ident in trace.analysis.nested:
        task = trace.task(ident) if ident else None
        if task is not None:
            text = f"{_words(task)} ran a nested Qt event loop: use modal()"
            yield Lint("QI502", "E", text, (TASK, ident), trace.seconds(ts))


def _slots(trace: Trace) -> Iterator[Lint]:
    for call in trace.calls():
        ref = (SLOT, call.slot_id)
        row = trace.process.rows.get(ref)
        policy = "" if row is None else _tables.OVERLAPS.get(row["policy"], "")
        if call.overlaps and policy != "restart":
            pending = "1 call" if call.overlaps == 1 else f"{call.overlaps} calls"
            text = f"{call.slot} was called while {pending} of it pended"
            yield Lint("QI201", "W", text, ref, call.began)
        if call.overlaps + 1 >= CALLS_MANY:
            text = f"{call.slot}: {call.overlaps + 1} calls pended at once"
            yield Lint("QI202", "W", text, ref, call.began)
        task = call.task
        if row is not None and call.is_pending and task is not None:
            receiver = trace.process.rows.get((OBJECT, row["receiver"]))
            if receiver is not None and receiver["destroyed"]:
                text = f"{_words(task)} goes on although its receiver is destroyed"
                yield Lint("QI203", "W", text, (TASK, task.id), trace.duration)


def _waits(trace: Trace) -> Iterator[Lint]:
    for wait in trace.signal_waits():
        ref = (WAIT, wait.id)
        row = trace.process.rows.get(ref)
        form = "" if row is None else _tables.WAIT_FORMS.get(row["form"], "")
        if wait.is_pending and not wait.sender_alive:
            yield Lint("QI301", "E", f"it can never come: {wait}", ref, wait.began)
        elif wait.duration > WAIT_LONG and form != "stream":
            yield Lint("QI302", "W", f"over 30 s: {wait}", ref, wait.began)
        if row is not None and row["buffered"] > BUFFERED_MANY:
            text = f"{wait.signal}: {row['buffered']} items that nobody reads"
            yield Lint("QI304", "W", text, ref, wait.began)


def _tasks(trace: Trace) -> Iterator[Lint]:
    for ts, ident, exception in trace.analysis.unretrieved:
        task = trace.task(ident) if ident else None
        name = trace.process.text(exception)
        who = "a task" if task is None else _words(task)
        text = f"{who} failed{' with ' + name if name else ''}"
        text += " and nobody took its exception"
        is_call = task is not None and task.role == "slot_call"
        ref = None if task is None else (TASK, task.id)
        lint, severity = ("QI205", "W") if is_call else ("QI402", "E")
        yield Lint(lint, severity, text, ref, trace.seconds(ts))
    graph = AwaitGraph(trace.process)
    for circle in graph.cycles:
        text = f"tasks {', '.join(map(str, circle))} wait for each other"
        yield Lint("QI403", "W", text, (TASK, min(circle)), trace.duration)
    # Of the many tasks that have ended, few are worth a look.
    for ident in trace.analysis.tasks.remarkable(WAKES_MIN):
        found = trace.task(ident)
        if found is not None:
            yield from _task(trace, found)


def _task(trace: Trace, task: Task) -> Iterator[Lint]:
    ref = (TASK, task.id)
    if task.state == "destroyed":
        text = f"{_words(task)} was destroyed while it was pending"
        yield Lint("QI401", "E", text, ref, task.ended or trace.duration)
    if task.wakes >= WAKES_MIN and task.self_wakes * 2 > task.wakes:
        text = f"{_words(task)}: {task.self_wakes} of {task.wakes} wakes are its own"
        yield Lint("QI405", "W", text, ref, task.created)
    if not task.is_pending:
        return
    cancelled = trace.analysis.cancelled.get(task.id)
    if cancelled is not None and (trace.t1 - cancelled) * 1e-9 > CANCEL_LONG:
        text = f"{_words(task)} was cancelled and is still there"
        yield Lint("QI406", "W", text, ref, trace.seconds(cancelled))
    if task.state == "waiting" and task.since > LOST_WAKE:
        row = trace.process.rows[ref]
        found = trace.process.ref(row["wait_ref"])
        other = trace.process.rows.get(found) if found else None
        if found is not None and found[0] == TASK and other is not None:
            if other.is_over:
                text = f"{_words(task)} waits for task {found[1]}, which has ended"
                yield Lint("QI404", "W", text, ref, trace.duration)
        elif found is None and row["wait_kind"] == 0 and task.steps:
            text = f"{_words(task)} waits, and for nothing that could wake it"
            yield Lint("QI404", "W", text, ref, trace.duration)


def _loops(trace: Trace) -> Iterator[Lint]:
    found = trace.analysis
    lags, late = found.lags, found.lateness
    lag = lags.quantile(0.99) * 1e-9
    if lags.count >= WINDOW_MIN and lag > LAG:
        text = f"ready tasks waited for up to {seconds_text(lag)} (99 of 100)"
        yield Lint("QI105", "I", text, None, trace.duration)
    lateness = late.quantile(0.95) * 1e-9
    if late.count >= WINDOW_MIN and lateness > LATE:
        text = f"timers were up to {seconds_text(lateness)} late (19 of 20)"
        yield Lint("QI504", "W", text, None, trace.duration)
    for ts, loop, left in found.closed:
        if left:
            text = f"loop {loop} was closed with {left} pending tasks"
            yield Lint("QI507", "W", text, (LOOP, loop), trace.seconds(ts))
    if trace.gaps:
        lost = sum(gap.count for gap in trace.gaps)
        yield Lint("QI901", "W", f"{lost} records were lost", None, trace.duration)


def _noted(trace: Trace) -> Iterator[Lint]:
    """What was found while it was recorded."""
    for note in trace.notes:
        if note.kind == "lint":
            fields = note.fields
            yield Lint(
                str(fields.get("id", "")),
                str(fields.get("severity", "W")),
                str(fields.get("text", "")),
                trace.process.ref(int(fields.get("ref", 0))),
                trace.seconds(note.ts),
            )
