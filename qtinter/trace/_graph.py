"""Who waits for whom, what caused what, and what remains when times are left out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Iterable, Iterator, List, Optional, Tuple

from ..inspect import _tables
from ..inspect.model import CALLBACK, JOB, SLOT, TASK, TIMER, WAIT, Process, Row
from ._query import Code, is_named, seconds_text
from ._state import KIND

if TYPE_CHECKING:
    from ._trace import Trace

_REF_BITS = 56
_DEEPEST = 100
# What asyncio.run() and the like add by themselves.
HOUSEKEEPING = ("BaseEventLoop.shutdown_",)


class AwaitGraph:
    """The pending tasks, and what each of them waits for.

    :ivar process: the state that it shows
    :ivar cycles: ids of tasks that wait for each other in a circle, one list a circle
    """

    def __init__(self, process: Process) -> None:
        self.process = process
        self._tasks = {row.id: row for row in process.of_kind(TASK)}
        self.cycles = list(self._circles())

    @property
    def edges(self) -> list[tuple[int, int]]:
        """(waiting task, task that it waits for)"""
        found = []
        for ident, row in self._tasks.items():
            other = self._awaited(row)
            if other is not None:
                found.append((ident, other))
        return found

    def _awaited(self, row: Row) -> int | None:
        if self.process.wait_of(row) is None:
            return None
        found = self.process.ref(row["wait_ref"])
        if found is None or found[0] != TASK or found[1] not in self._tasks:
            return None
        return found[1]

    def _circles(self) -> Iterator[list[int]]:
        done: set[int] = set()
        for ident in sorted(self._tasks):
            way: list[int] = []
            at: int | None = ident
            while at is not None and at not in done:
                done.add(at)
                way.append(at)
                at = self._awaited(self._tasks[at])
            if at in way:
                yield way[way.index(at) :]

    def text(self) -> str:
        """The tasks that nobody waits for, and under each what it waits for."""
        awaited = {other for _, other in self.edges}
        circles = {circle[0] for circle in self.cycles}
        lines: list[str] = []
        for ident in sorted(self._tasks):
            if ident not in awaited or ident in circles:
                self._chain(ident, lines)
        return "\n".join(lines) if lines else "no task is pending"

    __str__ = text

    def _chain(self, ident: int, lines: list[str]) -> None:
        way: list[int] = []
        at: int | None = ident
        while at is not None and len(way) < _DEEPEST:
            row = self._tasks[at]
            indent = "  " * len(way)
            if at in way:
                lines.append(f"{indent}task {at} again: they wait for each other")
                return
            way.append(at)
            lines.append(indent + self._line(row))
            other = self._awaited(row)
            wait = self.process.wait_of(row)
            if other is None and wait is not None:
                lines.append(f"{indent}  for {wait['text']}{_at(self.process, row)}")
            at = other

    def _line(self, row: Row) -> str:
        task = self.process.task(row)
        text = f"task {row.id} {task['name']}"
        code = task["code"]
        if code is not None:
            where = self.process.code_text(row["code"])
            named = code["name"] == task["name"]
            text += where[len(code["name"]) :] if named else f", {where}"
        text += f": {task['state']}"
        if task["since"] is not None:
            text += f", {seconds_text(task['since'])}"
        if task["slot"]:
            text += f", call of {task['slot']}"
        return text


def _at(process: Process, row: Row) -> str:
    where = process.code(row["where"])
    if where is None:
        return ""
    return f", in {Code(**where)}"


# --- causes --------------------------------------------------------------------------

# A way that leads somewhere: (what it went by, the way before).
_Way = Optional[Tuple[Tuple[str, int], Any]]


class Path:
    """The answer to "did this lead to that": true if it did.

    :ivar found: (name, seconds) of those that were found, in order
    :ivar missing: the first name that nothing led to, or None
    """

    def __init__(
        self, found: list[tuple[str, float]], missing: str | None, instead: list[str]
    ) -> None:
        self.found = found
        self.missing = missing
        self._instead = instead

    def __bool__(self) -> bool:
        return self.missing is None

    def __repr__(self) -> str:
        way = " → ".join(f"{name} at {at:.3f}" for name, at in self.found)
        if self.missing is None:
            return f"<path {way}>"
        after = f"after {way}, " if way else ""
        there = f"; there was: {', '.join(self._instead)}" if self._instead else ""
        return f"<no path: {after}nothing led to {self.missing!r}{there}>"


class _Causes:
    """How far along the names each entity is: those that its causes went by."""

    def __init__(self, trace: Trace, names: tuple[str, ...]) -> None:
        self._trace = trace
        self._names = names
        self._progress: dict[tuple[int, int], int] = {}
        self._ways: dict[tuple[int, int], _Way] = {}
        self.best: _Way = None
        self.reached = 0
        self.seen: dict[str, None] = {}  # labels, in order

    def follow(self, cause: tuple[int, int] | None, effect: tuple[int, int]) -> bool:
        """The effect has got as far as its cause; whether that is news."""
        if cause is None or self._progress.get(cause, 0) <= self._progress.get(
            effect, 0
        ):
            return False
        self._progress[effect] = self._progress[cause]
        self._ways[effect] = self._ways[cause]
        return True

    def label(self, entity: tuple[int, int], labels: Iterable[str], ts: int) -> None:
        labels = [label for label in labels if label]
        if not labels:
            return
        if entity[1]:  # marks of the tests' phases are no causes
            self.seen.setdefault(labels[-1])
        at = self._progress.get(entity, 0)
        if at == len(self._names) or not any(
            is_named(label, self._names[at]) for label in labels
        ):
            return
        self._progress[entity] = at + 1
        way = ((self._names[at], ts), self._ways.get(entity))
        self._ways[entity] = way
        if at + 1 > self.reached:
            self.reached = at + 1
            self.best = way


def find_path(trace: Trace, names: tuple[str, ...]) -> Path:
    """Whether something of the first name led to something of the second, and so on."""
    causes = _Causes(trace, names)
    process, found = trace.process, trace.analysis
    calls = {call.task: call for call in found.calls if call.task}
    text, ref = process.text, process.ref

    def task_labels(ident: int) -> Iterable[str]:
        task = trace.task(ident)
        return () if task is None else task.names

    def wait_labels(ident: int) -> Iterable[str]:
        wait = trace.wait(ident)
        return () if wait is None else wait.names

    def code_name(ident: int) -> str:
        code = trace.code(ident)
        return "" if code is None else code.name

    for _, ts, kind, _, x, a, b in trace.raw_records():
        task = (TASK, a)
        if kind == KIND["TASK_CREATED"]:
            causes.follow(ref(b), task)
            call = calls.get(a)
            if call is not None:
                causes.label(task, [text(call.signal)], ts)
                causes.label(task, [trace.slot_name(call.slot)], ts)
                if trace.slot_name(call.slot) in task_labels(a):
                    continue
            causes.label(task, task_labels(a), ts)
        elif kind == KIND["TASK_WAKE"]:
            if causes.follow(ref(b), task):
                causes.label(task, task_labels(a), ts)
        elif kind == KIND["TASK_WAIT"]:
            target = ref(b)
            if target is not None and target[0] in (WAIT, TIMER, JOB):
                causes.follow(task, target)
        elif kind == KIND["WAIT_BEGAN"]:
            causes.follow((TASK, found.waits[a].task), (WAIT, a))
        elif kind == KIND["WAIT_FIRED"]:
            causes.label((WAIT, a), wait_labels(a), ts)
        elif kind == KIND["JOB_SUBMITTED"]:
            causes.follow((TASK, b), (JOB, a))
            causes.label((JOB, a), [code_name(x)], ts)
        elif kind == KIND["CALLBACK"]:
            causes.follow(ref(b), (CALLBACK, x))
            causes.label((CALLBACK, x), [code_name(x)], ts)
        elif kind == KIND["SLOT_CALLED"] and not a:
            causes.label((SLOT, b), [text(x)], ts)
            causes.label((SLOT, b), [trace.slot_name(b)], ts)
        elif kind == KIND["MARK"]:
            causes.label(task, [text(x)], ts)
        elif kind == KIND["SPAN_BEGAN"]:
            causes.label((TASK, b), [text(x)], ts)
    way, steps = causes.best, []
    while way is not None:
        (name, ts), way = way
        steps.append((name, trace.seconds(ts)))
    missing = None if causes.reached == len(names) else names[causes.reached]
    return Path(steps[::-1], missing, list(causes.seen)[:12])


# --- shapes --------------------------------------------------------------------------


def shape_of(trace: Trace) -> List[dict[str, Any]]:
    """The tasks that were created, as a tree by creator, without times and ids."""
    waits: dict[int, list[str]] = {}
    for _, _, kind, _, x, a, b in trace.raw_records():
        if kind == KIND["TASK_WAIT"]:
            text = _wait_text(trace, x, b)
            known = waits.setdefault(a, [])
            if not known or known[-1] != text:
                known.append(text)
    nodes: dict[int, dict[str, Any]] = {}
    roots: list[dict[str, Any]] = []
    tasks = [task for task in trace.tasks() if task.is_new]
    for task in sorted(tasks, key=lambda task: (task.created, task.id)):
        code = task.code
        what = task.name if code is None else code.name
        if what.startswith(HOUSEKEEPING):
            continue
        node: dict[str, Any] = {"task": what}
        if task.name != what and not task.name.startswith("Task-"):
            node["name"] = task.name
        if task.slot:
            node["slot"] = task.slot
        if waits.get(task.id):
            node["waits"] = waits[task.id]
        node["ends"] = task.state if not task.is_pending else "pending"
        if task.exception:
            node["exception"] = task.exception
        nodes[task.id] = node
        creator = task.creator_ref
        parent = nodes.get(creator[1]) if creator and creator[0] == TASK else None
        (roots if parent is None else parent.setdefault("creates", [])).append(node)
    return roots


def _wait_text(trace: Trace, kind: int, ref: int) -> str:
    text = _tables.WAIT_KINDS.get(kind, "unknown")
    found = trace.process.ref(ref)
    if found is None:
        return text
    if found[0] == WAIT:
        wait = trace.wait(found[1])
        return f"{text} {list(wait.names)[-1]}" if wait is not None else text
    if found[0] == TASK:
        task = trace.task(found[1])
        code = None if task is None else task.code
        return f"{text} {code.name}" if code is not None else text
    return text
