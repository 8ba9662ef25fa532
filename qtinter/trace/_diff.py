"""What changed from one recording to another, and whether it is too much.

::

    found = diff(open("before.qtrace"), open("after.qtrace"), ["p99_step:+20%"])
    assert not found.exceeded, found.exceeded[0]
"""

from __future__ import annotations

import dataclasses
import re
from typing import TYPE_CHECKING, Any, Iterable

from ..inspect import filters
from ..inspect.model import TASK, Row
from ._query import seconds_text
from ._state import COLUMN, KIND, Histogram

if TYPE_CHECKING:
    from ._trace import Trace

_TASK = COLUMN[TASK]

# Figures of durations; the others count.
_SECONDS = {
    "duration", "max_step", "p50_step", "p99_step", "max_lag", "p50_lag", "p99_lag",
    "max_late", "asyncio", "qt", "busy",
}  # fmt: skip
_COUNTS = {
    "steps", "tasks", "max_tasks", "slots", "waits", "max_nested", "stalls", "lints",
    "lost", "wakes", "overlaps",
}  # fmt: skip
METRICS = tuple(sorted(_SECONDS | _COUNTS))
_ALIASES = {"lag_p99": "p99_lag", "lag_p50": "p50_lag", "lag_max": "max_lag"}
_SPEC = re.compile(r"([a-z0-9_]+)\s*:\s*([+-])\s*(\S+)\Z")


@dataclasses.dataclass(frozen=True)
class Limit:
    """How much a metric may change.

    :ivar metric: one of :data:`METRICS`.
    :ivar sign: 1: it must not grow by more, -1: it must not fall by more.
    :ivar amount: seconds, a count, or with ``relative`` a part of the value before.
    """

    text: str
    metric: str
    sign: int
    amount: float
    relative: bool

    @classmethod
    def parse(cls, text: str) -> Limit:
        """Return the limit that a text as ``p99_step:+20%`` or ``tasks:+3`` is.

        :raises ValueError: it is none; the message names the metrics that exist.
        """
        match = _SPEC.match(text.strip())
        if match is None:
            raise ValueError(
                f"{text!r} is no limit: write metric:+20%, metric:+5ms, metric:+3 or "
                f"metric:-10%, with a metric of {', '.join(METRICS)}"
            )
        name, sign, amount = match.groups()
        metric = _ALIASES.get(name, name)
        if metric not in METRICS:
            raise ValueError(
                f"there is no metric {name!r} as in {text!r}; there are "
                f"{', '.join(METRICS)}"
            )
        try:
            if amount.endswith("%"):
                value, relative = float(amount[:-1]) / 100, True
            elif metric in _SECONDS:
                value, relative = filters.duration(amount), False
            else:
                value, relative = float(amount), False
            if not 0 <= value < float("inf"):
                raise ValueError
        except ValueError:
            kind = "a duration (5ms)" if metric in _SECONDS else "a number"
            raise ValueError(
                f"{amount!r} in {text!r} is neither a percentage nor {kind}"
            ) from None
        return cls(text.strip(), metric, 1 if sign == "+" else -1, value, relative)

    def is_exceeded(self, before: float, after: float) -> bool:
        """Whether the change is more than is allowed."""
        allowed = self.amount * abs(before) if self.relative else self.amount
        # What a sum of binary fractions is off by is no change.
        return self.sign * (after - before) > allowed * (1 + 1e-9) + 1e-12


@dataclasses.dataclass(frozen=True)
class Change:
    """A metric before and after; durations in seconds.

    :ivar before: None: there was nothing of the kind.
    """

    metric: str
    before: float | None
    after: float | None

    @property
    def percent(self) -> float | None:
        """The change in percent of the value before, None if that is 0 or unknown."""
        if not self.before or self.after is None:
            return None
        return 100 * (self.after - self.before) / self.before

    def row(self) -> dict[str, Any]:
        """For JSON."""
        return {**dataclasses.asdict(self), "percent": self.percent}

    def words(self) -> list[str]:
        """metric, before, after, change."""
        percent = self.percent
        change = "" if self.before == self.after else "new"
        if self.after is None:
            change = "gone"
        elif percent is not None:
            change = f"{percent:+.0f} %" if abs(percent) >= 0.5 else ""
        shown = [_text(self.metric, value) for value in (self.before, self.after)]
        return [self.metric, *shown, change]


@dataclasses.dataclass(frozen=True)
class Diff:
    """What two recordings differ in.

    :ivar changes: of the whole, a :class:`Change` for each metric.
    :ivar codes: of the tasks of each coroutine function: by its name and file, those of
        ``tasks``, ``steps``, ``busy``, ``max_step`` and ``p99_step``; the one whose
        busy time changed most comes first.
    :ivar exceeded: limits that are exceeded, a line each.
    :ivar incomplete: what is missing in which of them, a line each.
    """

    changes: list[Change]
    codes: dict[str, list[Change]]
    exceeded: list[str]
    incomplete: list[str]

    def row(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "changes": [change.row() for change in self.changes],
            "codes": {
                code: [change.row() for change in changes]
                for code, changes in self.codes.items()
            },
            "exceeded": self.exceeded,
            "incomplete": self.incomplete,
        }


def diff(before: Trace, after: Trace, limits: Iterable[str | Limit] = ()) -> Diff:
    """Compare two recordings.

    :param limits: how much metrics may change, as in :meth:`Limit.parse`.
    :raises ValueError: a limit is none.
    :raises TraceIncomplete: there are limits, and records are missing in a recording
        that was not opened with ``allow_gaps``.
    """
    parsed = [x if isinstance(x, Limit) else Limit.parse(x) for x in limits]
    if parsed:
        before.check_whole()
        after.check_whole()
    incomplete = []
    for word, trace in (("before", before), ("after", after)):
        lost = sum(gap.count for gap in trace.gaps)
        if lost:
            incomplete.append(f"{word}: {lost} records are missing")
        incomplete += [f"{word}: {problem}" for problem in trace.problems]
    old, new = figures(before.with_gaps()), figures(after.with_gaps())
    changes = [Change(metric, old[metric], new[metric]) for metric in METRICS]
    exceeded = []
    for limit in parsed:
        was, now = old[limit.metric], new[limit.metric]
        if limit.is_exceeded(was, now):
            metric, *values, change = Change(limit.metric, was, now).words()
            more = f" ({change})" if change else ""
            exceeded.append(
                f"{metric} went from {values[0]} to {values[1]}{more}; "
                f"allowed is {limit.text.partition(':')[2].strip()}"
            )
    return Diff(changes, _compare_codes(before, after), exceeded, incomplete)


def figures(trace: Trace) -> dict[str, float]:
    """The metrics of a recording: :meth:`Trace.figures`, and what it lacks."""
    found = trace.figures()
    tasks = trace.analysis.tasks
    found["wakes"] = tasks.sum("wakes")
    found["busy"] = tasks.sum("busy") * 1e-9
    found["overlaps"] = sum(1 for call in trace.calls() if call.overlaps)
    return found


class _Code:
    """What the tasks of one coroutine function did."""

    __slots__ = ("steps", "tasks")

    def __init__(self) -> None:
        self.tasks = 0
        self.steps = Histogram()

    def figures(self) -> dict[str, float]:
        return {
            "tasks": self.tasks,
            "steps": self.steps.count,
            "busy": self.steps.total * 1e-9,
            "max_step": self.steps.longest * 1e-9,
            "p99_step": self.steps.quantile(0.99) * 1e-9 if self.steps.count else 0.0,
        }


def _codes(trace: Trace) -> dict[str, _Code]:
    """By name and file: lines differ between versions of a program."""
    found: dict[str, _Code] = {}
    of_task: dict[int, _Code] = {}
    process = trace.process
    for ident, row in trace.analysis.tasks.items():
        code = process.code_text(Row(TASK, ident, 0, 0, row)["code"]) or "unknown"
        key = re.sub(r":\d+\)\Z", ")", code)
        of_task[ident] = found.setdefault(key, _Code())
        of_task[ident].tasks += 1
    step = KIND["TASK_STEP"]
    for _, _, kind, _, _, task, duration in trace.raw_records():
        if kind == step and task in of_task:
            of_task[task].steps.add(duration)
    return found


def _compare_codes(before: Trace, after: Trace) -> dict[str, list[Change]]:
    old, new = _codes(before), _codes(after)
    found = {}
    for code in {**old, **new}:
        was = old[code].figures() if code in old else {}
        now = new[code].figures() if code in new else {}
        found[code] = [
            Change(metric, was.get(metric), now.get(metric))
            for metric in _Code().figures()
        ]
    return dict(sorted(found.items(), key=lambda item: (-_moved(item[1]), item[0])))


def _moved(changes: list[Change]) -> float:
    """By how much the busy time changed, whichever way."""
    busy = next(change for change in changes if change.metric == "busy")
    return abs((busy.after or 0) - (busy.before or 0))


def _text(metric: str, value: float | None) -> str:
    if value is None:
        return ""
    if metric in _SECONDS:
        return seconds_text(value)
    return f"{value:,.0f}"
