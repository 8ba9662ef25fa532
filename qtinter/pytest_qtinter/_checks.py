"""What a test may be failed for: budgets, things left over, findings, comparisons."""

from __future__ import annotations

import glob
import json
import os
from typing import Any, Callable, Dict, Iterable, List

from qtinter.inspect import filters
from qtinter.trace import Lint, Trace, _diff
from qtinter.trace._graph import HOUSEKEEPING
from qtinter.trace._lints import severity_at_least
from qtinter.trace._query import is_named, seconds_text

_LONGEST_LIST = 10


class LoopTraceError(AssertionError):
    """The event loop did not do what the test demands of it."""

    __module__ = "pytest_qtinter"  # where it is to be imported from


class LoopBudgetError(LoopTraceError):
    """Something took longer, or was more, than the test allows."""

    __module__ = "pytest_qtinter"


class LoopCleanError(LoopTraceError):
    """Something that the test has started is still pending."""

    __module__ = "pytest_qtinter"


class LoopLintError(LoopTraceError):
    """There are findings that the test does not allow."""

    __module__ = "pytest_qtinter"


class LoopShapeError(LoopTraceError):
    """What happened is not what happened when the shape was written."""

    __module__ = "pytest_qtinter"


def figure_name(text: str) -> str:
    """The name of a figure.

    :raises ValueError: there is none.
    """
    name = text.strip()
    for each in (name, "_".join(reversed(name.split("_")))):  # lag_p99 is p99_lag
        if each in _diff.METRICS:
            return each
    there = ", ".join(_diff.METRICS)
    raise ValueError(f"there is no figure {name!r}; there are {there}")


def limit_of(name: str, value: Any) -> float:
    """A limit as a number: "50ms" and 0.05 are the same, of counts a number.

    :raises ValueError: it is neither.
    """
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return float(value)
    if isinstance(value, str) and name in _diff._COUNTS and value.strip().isdigit():
        return float(value)
    if isinstance(value, str) and name not in _diff._COUNTS:
        return filters.duration(value)
    raise ValueError(f"{name}={value!r}: write a number or, for times, such as '50ms'")


def budget_of(text: str) -> Dict[str, float]:
    """Limits by figure, of ``max_step<50ms,p99_lag<20ms``.

    :raises ValueError: it is no such list.
    """
    budget = {}
    for part in filter(None, (each.strip() for each in text.split(","))):
        name, sign, value = part.partition("<")
        if not sign:
            raise ValueError(
                f"budget {part!r}: write name<limit, such as max_step<50ms"
            )
        figure = figure_name(name)
        budget[figure] = limit_of(figure, value.lstrip("="))
    return budget


Where = Callable[[], str]


def limits_of(text: str) -> List[_diff.Limit]:
    """The limits in ``p99_step:+20%,tasks:+3``, of how much figures may change.

    :raises ValueError: one of them is none.
    """
    return [_diff.Limit.parse(each) for each in text.split(",") if each.strip()]


# --- budgets -------------------------------------------------------------------------


def check_budget(trace: Trace, budget: Dict[str, float], where: Where) -> None:
    """Raise if a figure exceeds its limit; the message says why it is what it is.

    :param where: gives the folder of the trace, for the message; "" if there is none.
    :raises LoopBudgetError: one or more do.
    :raises TraceIncomplete: records are missing.
    """
    trace.check_whole()
    figures = _diff.figures(trace)
    problems = []
    for name, limit in budget.items():
        if figures[name] > limit:
            value, most = (_value_text(name, x) for x in (figures[name], limit))
            reason = reason_of(trace, name)
            problems.append(
                f"{name} {value} > {most}" + (f": {reason}" if reason else "")
            )
    if problems:
        raise LoopBudgetError(_message(problems, where))


def _message(lines: List[str], where: Where) -> str:
    folder = where()
    return "\n".join([*lines, f"trace: {folder}"] if folder else lines)


def _value_text(name: str, value: float) -> str:
    return f"{value:.0f}" if name in _diff._COUNTS else seconds_text(value)


def reason_of(trace: Trace, name: str) -> str:
    """What made a figure what it is."""
    if name.endswith("_step") or name == "stalls":
        for step in trace.longest_steps():
            parts = [step.where, *_consequences(trace, step.began, step.ended)]
            return "; ".join(part for part in parts if part)
    if name.endswith("_lag"):
        lag, ready, ident = trace.analysis.lag_most
        task = trace.task(ident)
        who = f"task {ident}" + (f" {task.name}" if task is not None else "")
        began, ended = trace.seconds(ready), trace.seconds(ready + lag)
        meanwhile = [
            step
            for step in trace.longest_steps()
            if step.began < ended and step.ended > began
        ]
        text = f"{who} was ready and waited"
        return f"{text} for {meanwhile[0]}" if meanwhile else text
    if name in ("tasks", "max_tasks"):
        return _most_of((str(task.code or task.name)) for task in trace.all_tasks()
                        if task.is_new)  # fmt: skip
    if name == "slots":
        return _most_of(call.slot for call in trace.calls())
    if name == "waits":
        return _most_of(wait.signal for wait in trace.signal_waits())
    if name == "lints":
        return "; ".join(lint.text for lint in trace.all_lints()[:3])
    if name == "max_late" and trace.analysis.late:
        ts, _, late = max(trace.analysis.late, key=lambda each: each[2])
        due = trace.seconds(ts - late)
        for step in trace.longest_steps():
            if step.ended > due and step.began < trace.seconds(ts):
                return f"the loop was in {step}"
    return ""


def _consequences(trace: Trace, began: float, ended: float) -> List[str]:
    """What a long step kept from happening."""
    found = []
    modes = [loop["mode"] for loop in trace.process.loops(ended=True)]
    if any(mode in ("nested", "attached") for mode in modes):
        found.append(f"blocked Qt {seconds_text(ended - began)}")
    late = sum(
        1
        for ts, _, ns in trace.analysis.late
        if trace.seconds(ts) >= began and trace.seconds(ts - ns) <= ended
    )
    if late:
        found.append("1 timer late" if late == 1 else f"{late} timers late")
    return found


def _most_of(names: Iterable[str]) -> str:
    counts: Dict[str, int] = {}
    for name in names:
        counts[name] = counts.get(name, 0) + 1
    most = sorted(counts.items(), key=lambda item: -item[1])[:3]
    return ", ".join(f"{count} × {name}" for name, count in most)


# --- comparisons ---------------------------------------------------------------------


def baseline_of(session: str, name: str) -> str:
    """The folder of a test in an earlier session, whichever worker of xdist ran it."""
    path = os.path.join(session, name)
    workers = sorted(glob.glob(glob.escape(path) + "-gw[0-9]*"))
    return path if os.path.isdir(path) or not workers else workers[0]


def check_changes(
    trace: Trace, baseline: str, limits: List[_diff.Limit], where: Where
) -> None:
    """Raise if a figure has changed more than it may.

    :param baseline: folder of the same test in an earlier session; it need not exist.
    :raises LoopBudgetError: one or more have.
    :raises TraceIncomplete: records are missing.
    :raises ValueError: what is in the folder cannot be read.
    """
    path = os.path.join(baseline, "figures.json")
    if not os.path.exists(path):
        return  # the test is new
    with open(path, encoding="utf-8") as file:
        before = json.load(file)
    trace.check_whole()
    figures = _diff.figures(trace)
    problems = []
    for limit in limits:
        name = limit.metric
        if name in before and limit.is_exceeded(before[name], figures[name]):
            was, now = (_value_text(name, x) for x in (before[name], figures[name]))
            allowed = limit.text.partition(":")[2].strip()
            reason = reason_of(trace, name)
            text = f"{name} went from {was} to {now}, allowed is {allowed}"
            problems.append(text + (f": {reason}" if reason else ""))
    if problems:
        raise LoopBudgetError(_message(problems, where))


# --- what is left over ---------------------------------------------------------------


def leftovers(
    trace: Trace,
    *,
    tasks: bool = True,
    slots: bool = True,
    waits: bool = True,
    timers: bool = False,
    exceptions: bool = True,
    ignore: Iterable[str] = (),
) -> List[str]:
    """What began in the range and is pending at its end, and what went unnoticed.

    :param ignore: names of tasks, slots and signals that may.
    """
    ignored = list(ignore)

    def counts(names: Iterable[str]) -> bool:
        return not any(is_named(name, each) for name in names for each in ignored)

    found = []
    calls = set()
    for call in trace.calls():
        task = call.task
        if task is not None:
            calls.add(task.id)
        if slots and call.is_pending and counts(call.names):
            found.append(f"pending: {call}")
    for task in trace.all_tasks():
        is_own = task.is_new and task.id not in calls
        if task.name.startswith(HOUSEKEEPING):
            continue
        if tasks and is_own and task.is_pending and counts(task.names):
            found.append(f"pending: {task}")
    for wait in trace.signal_waits():
        began_here = wait.began >= trace.seconds(trace.t0)
        if waits and wait.is_pending and began_here and counts(wait.names):
            found.append(f"pending: {wait}")
    if timers:
        found += [f"pending: timer {text}" for text in _timers(trace, counts)]
    if exceptions:
        found += [lint.text for lint in _unnoticed(trace)]
        for _, code, exception in trace.analysis.failed_callbacks:
            name = trace.process.text(exception) or "an exception"
            found.append(f"{name} in callback {trace.code(code)}")
    return found


def _timers(trace: Trace, counts: Any) -> Iterable[str]:
    for code, _, due in trace.analysis.timers.values():
        where = trace.code(code)
        name = "callback" if where is None else where.name
        # That of asyncio.sleep() is told with the task that sleeps.
        if "_set_result_unless_cancelled" not in name and counts([name]):
            yield f"{where or name}, due in {(due - trace.t1) * 1e-9:.1f} s"


def _unnoticed(trace: Trace) -> Iterable[Lint]:
    return [lint for lint in trace.all_lints() if lint.id in ("QI205", "QI402")]


def check_clean(trace: Trace, where: Where, **what: Any) -> None:
    """Raise if something is left over, see :func:`leftovers`.

    :raises LoopCleanError: there is something.
    :raises TraceIncomplete: records are missing.
    """
    trace.check_whole()
    found = leftovers(trace, **what)
    if not found:
        return
    lines = [f"{len(found)} left over at the end of the test:"]
    lines += [f"  {each}" for each in found[:_LONGEST_LIST]]
    if len(found) > _LONGEST_LIST:
        lines.append(f"  … {len(found) - _LONGEST_LIST} more")
    lines += ["await graph:", _indented(str(trace.await_graph()))]
    raise LoopCleanError(_message(lines, where))


def _indented(text: str) -> str:
    return "\n".join(f"  {line}" for line in text.split("\n")[:20])


# --- findings ------------------------------------------------------------------------


def findings(trace: Trace, least: str, ignore: Iterable[str]) -> List[Lint]:
    """The findings of a severity (I, W or E) or worse that are not ignored."""
    ignored = frozenset(ignore)
    return [
        lint
        for lint in trace.all_lints()
        if severity_at_least(lint.severity, least) and lint.id not in ignored
    ]


def check_findings(
    trace: Trace, least: str, ignore: Iterable[str], where: Where
) -> None:
    """Raise if there are findings.

    :raises LoopLintError: there are.
    """
    found = findings(trace, least, ignore)
    if found:
        lines = [str(lint) for lint in found[:_LONGEST_LIST]]
        raise LoopLintError(_message(lines, where))


# --- shapes --------------------------------------------------------------------------


def check_shape(shape: Any, path: str, update: bool) -> None:
    """Compare a shape with the one in a file, or write it.

    :raises LoopShapeError: it differs, or there is no file.
    """
    text = json.dumps(shape, indent=1, ensure_ascii=False, sort_keys=True) + "\n"
    if update:
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
        return
    try:
        with open(path, encoding="utf-8") as file:
            before = json.load(file)
    except FileNotFoundError:
        raise LoopShapeError(f"there is no {path}; --qtrace-update writes it") from None
    if before != shape:
        import difflib

        old = json.dumps(before, indent=1, ensure_ascii=False, sort_keys=True) + "\n"
        lines = difflib.unified_diff(
            old.split("\n"),
            text.split("\n"),
            "as written",
            "as it was now",
            lineterm="",
        )
        raise LoopShapeError(
            "something else happened (--qtrace-update accepts it):\n" + "\n".join(lines)
        )
