"""A recording as a whole, or a part of it, and the questions that it answers."""

from __future__ import annotations

import builtins
import collections
import glob
import json
import os
from typing import Any, Callable, Iterable, Iterator, TypeVar

from ..inspect import _tables
from ..inspect.model import TASK, Process
from . import _graph, _lints, _state, _text
from ._process import RecordedProcess
from ._query import (
    Code,
    Distribution,
    Event,
    Found,
    Item,
    Lint,
    NotFound,
    SlotCall,
    Span,
    Stall,
    Step,
    Task,
    TraceIncomplete,
    Wait,
)
from ._source import Gap, Note, Record, Source, open_source

T = TypeVar("T", bound=Item)

# Numbers in records that have words.
_WORDS: dict[str, dict[str, dict[int, str]]] = {
    "task_step": {"why": _tables.STEP_ENDS},
    "task_wake": {"why": _tables.WAIT_KINDS},
    "task_wait": {"wait_kind": _tables.WAIT_KINDS},
    "task_ended": {"state": _tables.TASK_STATES},
    "slot_ended": {"state": _tables.TASK_STATES},
    "slot_refused": {"policy": _tables.OVERLAPS},
    "wait_ended": {"how": _tables.WAIT_ENDS},
    "loop_created": {"mode": _tables.LOOP_MODES},
    "loop_started": {"mode": _tables.LOOP_MODES},
}

STALL = 0.1  # seconds that a step may take without being called a stall
SHORT = 0.001  # seconds of a callback that is not worth showing


def open(  # noqa: A001 - as builtins.open
    path: str | os.PathLike[str], *, allow_gaps: bool = False
) -> Trace:
    """Open a recording.

    :param path: a ``.qtrace`` file, a segment (``.qiseg``), or a folder with the traces
        of one test, of which the one called ``trace`` is opened and the others are its
        :attr:`Trace.others`; that they belong together, their ``info["trace_id"]``
        says, and :attr:`Trace.problems` if one does not.
    :param allow_gaps: answer from what is there, although records may be missing.
    :raises OSError: it cannot be opened.
    :raises ValueError: it is no recording, or is damaged beyond use.
    """
    if not os.path.isdir(path):
        return Trace(open_source(path), allow_gaps=allow_gaps)
    found = files_in(path)
    first = Trace(open_source(found[0]), allow_gaps=allow_gaps)
    own = first.info.get("trace_id", "")
    for name in found[1:]:
        try:
            other = Trace(open_source(name), allow_gaps=allow_gaps)
        except (OSError, ValueError) as exc:  # of a process that was killed, perhaps
            first.problems.append(str(exc))
            continue
        first.others.append(other)
        its = other.info.get("trace_id", "")
        if its != own:
            first.problems.append(
                f"{os.path.basename(name)} is of another trace: its id is "
                f"{its or 'none'}, not {own or 'none'}"
            )
    return first


def files_in(folder: str | os.PathLike[str]) -> list[str]:
    """The traces of one test; the one called ``trace`` comes first.

    :raises ValueError: there is none.
    """
    found: list[str] = []
    for ending in ("*.qtrace", "*.qiseg"):
        pattern = os.path.join(glob.escape(os.fspath(folder)), ending)
        found += sorted(glob.glob(pattern))
    if not found:
        text = f"there is no .qtrace and no .qiseg file in {folder}"
        tests = sorted(
            glob.glob(os.path.join(glob.escape(os.fspath(folder)), "*/*.q*"))
        )
        if tests:
            name = os.path.basename(os.path.dirname(tests[0]))
            text += f"; name the folder of a test, such as {name}"
        raise ValueError(text)
    found.sort(key=lambda name: not os.path.basename(name).startswith("trace."))
    return found


class Trace:
    """A recording, or the part of it from one moment to another.

    Times are seconds since the recording began, durations are seconds.  What is asked
    for by name may be given in full (``MainWindow.on_save``), as what follows a dot
    (``on_save``), or with ``*``; ``filter=`` is the language of
    :mod:`qtinter.inspect.filters`.

    :ivar source: what it is read from
    :ivar others: recordings of other processes, of the same test
    :ivar t0: where it begins, ns of the recorded process's monotonic clock
    :ivar t1: where it ends
    """

    def __init__(
        self,
        source: Source,
        t0: int | None = None,
        t1: int | None = None,
        *,
        allow_gaps: bool = False,
        root: Trace | None = None,
    ) -> None:
        self.source = source
        self.others: list[Trace] = []
        self.allow_gaps = allow_gaps
        self._root = root
        self._bounds = (t0, t1)
        self.t0 = source.info["begin"] if t0 is None else t0
        self.t1 = source.info["last"] if t1 is None else t1
        self.zero: int = self.t0 if root is None else root.zero
        self._known: _state.Known | None = None
        self._analysis: _state.Pass | None = None
        self._process: Process | None = None
        self._lints: list[Lint] | None = None
        self._tasks: dict[int, Task] = {}
        self._codes: dict[int, Code] = {}

    # --- what it is made of

    @property
    def info(self) -> dict[str, Any]:
        """Of the recorded process: pid, name, python, qt, binding, level, ..."""
        return self.source.info

    @property
    def problems(self) -> list[str]:
        """What could not be read, one line each."""
        return self.source.problems

    @property
    def duration(self) -> float:
        return max(0, self.t1 - self.t0) * 1e-9

    @property
    def gaps(self) -> list[Gap]:
        """Records of the range that are missing."""
        return [
            gap
            for gap in self.source.gaps
            if not gap.t1 or (gap.t0 <= self.t1 and gap.t1 > self.t0)
        ]

    @property
    def notes(self) -> list[Note]:
        """What was noticed while it was recorded."""
        return [note for note in self.source.notes if self.t0 <= note.ts <= self.t1]

    @property
    def analysis(self) -> _state.Pass:
        """What one pass over the records of the range has found; internal."""
        if self._analysis is None:
            known = self._kept_rows()
            self._analysis = _state.Pass(self.source, known, *self._bounds)
        return self._analysis

    def _kept_rows(self) -> _state.Known:
        root = self._root
        if root is not None:
            return root._kept_rows()
        if self._known is None:
            self._known = _state.Known(self.source)
        return self._known

    @property
    def process(self) -> Process:
        """The state at the end of the range, as ``qtinter.inspect.snapshot()`` is."""
        if self._process is None:
            source = self.source
            self._process = RecordedProcess(source.info, self.analysis, source.entries)
        return self._process

    def check_whole(self) -> None:
        """Raises :exc:`TraceIncomplete` if records of the range are missing."""
        if self.allow_gaps or not self.gaps:
            return
        lost = sum(gap.count for gap in self.gaps)
        causes = ", ".join(sorted({gap.cause for gap in self.gaps}))
        raise TraceIncomplete(
            f"{lost} records are missing ({causes}): enlarge the ring, ask about a "
            "shorter time, or say allow_gaps=True"
        )

    def with_gaps(self) -> Trace:
        """The same range, which answers although records are missing."""
        return self._part(*self._bounds, allow_gaps=True)

    def _part(
        self, t0: int | None, t1: int | None, allow_gaps: bool | None = None
    ) -> Trace:
        allowed = self.allow_gaps if allow_gaps is None else allow_gaps
        root = self if self._root is None else self._root
        return Trace(self.source, t0, t1, allow_gaps=allowed, root=root)

    def between(self, began: float, ended: float) -> Trace:
        """The part from one time to another, in seconds since the recording began."""
        return self._part(
            max(self.t0, self.zero + round(began * 1e9)),
            min(self.t1, self.zero + round(ended * 1e9)),
        )

    def until(self, mark: str) -> Trace:
        """The part before a mark, such as "test teardown" of the plugin of pytest.

        :raises NotFound: nobody has left such a mark.
        """
        for event in self.events("mark"):
            if event.fields["name"] == mark:
                return self.between(self.seconds(self.t0), event.at)
        raise NotFound(f"there is no mark {mark!r} in {self!r}")

    def seconds(self, ts: int) -> float:
        """Seconds since the recording began, of a reading of the process's clock."""
        return (ts - self.zero) * 1e-9

    def code(self, ident: int) -> Code | None:
        code = self._codes.get(ident)
        if code is None:
            found = self.process.code(ident)
            if found is not None:
                code = self._codes[ident] = Code(**found)
        return code

    def slot_name(self, ident: int) -> str:
        values = self.analysis.slots.get(ident)
        if values is None:
            return ""
        name = self.process.text(values[0])
        if name:
            return name
        code = self.process.code(values[1])
        return str(code["name"]) if code is not None else f"slot {ident}"

    def last_records(self, count: int) -> Iterable[Record]:
        """The last records but those of turns and short callbacks."""
        turn, idle = _state.KIND["TURN"], _state.KIND["IDLE"]
        callback = _state.KIND["CALLBACK"]
        return collections.deque(
            (
                record
                for record in self.raw_records()
                if record[2] not in (turn, idle)
                and (record[2] != callback or record[5] * 1e-9 > SHORT)
            ),
            count,
        )

    def raw_records(self) -> Iterator[Record]:
        """The records of the range, see proto/records.def."""
        return self.source.records(*self._bounds)

    # --- questions

    def task(self, ident: int) -> Task | None:
        """The task of an id, None if it is not in the range."""
        task = self._tasks.get(ident)
        if task is None:
            if ident not in self.analysis.tasks:
                return None
            task = self._tasks[ident] = Task(self, ident)
        return task

    def wait(self, ident: int) -> Wait | None:
        """The signal wait of an id, None if it is not in the range."""
        wait = self.analysis.waits.get(ident)
        return None if wait is None else Wait(self, wait)

    def all_tasks(self) -> Iterator[Task]:
        for ident in sorted(self.analysis.tasks):
            task = self.task(ident)
            if task is not None:
                yield task

    def calls(self) -> Iterator[SlotCall]:
        return (SlotCall(self, call) for call in self.analysis.calls)

    def signal_waits(self) -> Iterator[Wait]:
        waits = self.analysis.waits
        return (Wait(self, waits[ident]) for ident in sorted(waits))

    def longest_steps(self) -> Iterator[Step]:
        """The hundred longest ones, longest first."""
        return (Step(self, step) for step in self.analysis.longest)

    def _found(
        self,
        what: str,
        items: Callable[[], Iterable[T]],
        name: str | None,
        filter: str | None,  # noqa: A002 - as everywhere
    ) -> Found[T]:
        found = Found(what, items, self.check_whole)
        if name is not None:
            found = found.named(name)
        return found if filter is None else found.where(filter)

    def tasks(
        self,
        name: str | None = None,
        *,
        filter: str | None = None,  # noqa: A002 - the language has that name
    ) -> Found[Task]:
        """The tasks of which something happened in the range, or that pend at its end.

        :param name: of the task or of its coroutine function.
        """
        return self._found("tasks", self.all_tasks, name, filter)

    def slots(
        self,
        name: str | None = None,
        *,
        filter: str | None = None,  # noqa: A002
    ) -> Found[SlotCall]:
        """The invocations of asyncslots that began in the range.

        :param name: of the slot.
        """
        return self._found("calls of slots", self.calls, name, filter)

    def waits(
        self,
        name: str | None = None,
        *,
        filter: str | None = None,  # noqa: A002
    ) -> Found[Wait]:
        """The signal waits.

        :param name: of the signal, also with the sender's class: ``Reply.finished``.
        """
        return self._found("signal waits", self.signal_waits, name, filter)

    def steps(
        self,
        name: str | None = None,
        *,
        filter: str | None = None,  # noqa: A002
    ) -> Found[Step]:
        """The steps of tasks and the callbacks, each time read anew.

        :param name: of the task, its coroutine function or the callback.
        """
        return self._found("steps", self._all_steps, name, filter)

    def _all_steps(self) -> Iterator[Step]:
        step, callback = _state.KIND["TASK_STEP"], _state.KIND["CALLBACK"]
        for _, ts, kind, loop, x, a, b in self.raw_records():
            if kind == step:
                yield Step(self, (b, ts, a, 0, loop))
            elif kind == callback:
                yield Step(self, (a, ts, 0, x, loop))

    @property
    def max_step(self) -> Step:
        """The longest step or callback; one of no duration if there was none."""
        self.check_whole()
        longest = self.analysis.longest
        return Step(self, longest[0] if longest else (0, 0, 0, 0, 0))

    @property
    def step_times(self) -> Distribution:
        """How long steps and callbacks took."""
        self.check_whole()
        return Distribution(self.analysis.step_times)

    @property
    def lag(self) -> Distribution:
        """How long tasks that were ready had to wait for their step."""
        self.check_whole()
        return Distribution(self.analysis.lags)

    @property
    def timer_lateness(self) -> Distribution:
        """How late timers were."""
        self.check_whole()
        return Distribution(self.analysis.lateness)

    def overlaps(self, slot: str) -> int:
        """How many calls of a slot began while another one was pending."""
        self.check_whole()
        return sum(1 for call in self.slots(slot) if call.overlaps)

    def stalls(
        self,
        name: str | None = None,
        *,
        filter: str | None = None,  # noqa: A002
    ) -> Found[Stall]:
        """The times for which the loop was kept from its work: 100 ms or more."""
        return self._found("stalls", self._all_stalls, name, filter)

    def _all_stalls(self) -> Iterator[Stall]:
        found: dict[tuple[int, int], Stall] = {}
        for note in self.notes:
            if note.kind != "stall":
                continue
            fields = note.fields
            key = (int(fields.get("loop", 0)), int(fields.get("since", note.ts)))
            before = found.get(key)
            stack = str(fields.get("stack") or "")
            if before is not None and not stack:
                stack = before.stack
            current = int(fields.get("current", 0))
            where = self._code_of(current)
            if before is not None and not current:
                where = before.where
            began, length = self.seconds(key[1]), int(fields.get("duration", 0)) * 1e-9
            found[key] = Stall(began, length, where, stack, key[0])
        noted = list(found.values())
        for stall in noted:
            if not stall.where:  # it began before the recording, or was no step at all
                stall.where = next(
                    (
                        step.where
                        for step in self.longest_steps()
                        if _meet(stall, step) and 2 * step.duration > stall.duration
                    ),
                    _lints.QT,
                )
        for step in self.longest_steps():
            if step.duration < STALL:
                break
            if not any(_meet(stall, step) for stall in noted):
                noted.append(
                    Stall(step.began, step.duration, step.where, "", step.loop)
                )
        return iter(sorted(noted, key=lambda stall: stall.began))

    def _code_of(self, ref: int) -> str:
        """What runs, by its code if it is a task."""
        found = self.process.ref(ref)
        row = self.process.rows.get(found) if found else None
        code = row["code"] if row is not None and row.kind == TASK else 0
        return self.process.code_text(code) or self.process.describe(ref)

    def seen_in(self, t0: int, t1: int) -> str:
        """The innermost line of the stack that was taken in a stall, if one was."""
        for note in self.source.notes:
            stack = note.fields.get("stack") if note.kind == "stall" else None
            since = int(note.fields.get("since", note.ts)) if stack else 0
            if stack and t0 <= max(since, note.ts) and since <= t1:
                return _text.innermost(str(stack))
        return ""

    def lints(
        self,
        name: str | None = None,
        *,
        filter: str | None = None,  # noqa: A002
    ) -> Found[Lint]:
        """The findings.

        :param name: an id, such as ``QI201``.
        """
        return self._found("findings", self.all_lints, name, filter)

    def all_lints(self) -> list[Lint]:
        if self._lints is None:
            self._lints = []  # while it is judged, rows have none
            self._lints = _lints.judge(self)
        return self._lints

    def events(
        self,
        *kinds: str,
        filter: str | None = None,  # noqa: A002
    ) -> Found[Event]:
        """The records in words, each time read anew.

        :param kinds: ``task_step`` and so on, as in proto/records.def; all without.
        :raises ValueError: there is no such kind.
        """
        for kind in kinds:
            if kind.upper() not in _state.KIND:
                raise ValueError(f"there are no events of the kind {kind!r}")
        wanted = frozenset(_state.KIND[kind.upper()] for kind in kinds)
        return self._found("events", lambda: self._all_events(wanted), None, filter)

    def _all_events(self, wanted: frozenset[int]) -> Iterator[Event]:
        for record in self.raw_records():
            if not wanted or record[2] in wanted:
                yield Event(self, record)

    def event(self, record: Record) -> Event:
        return Event(self, record)

    def fields_of(self, record: Record) -> dict[str, Any]:
        """What a record says, in words."""
        fields = self.process.event(record[1:])
        del fields["ts"], fields["loop"]
        for name, words in _WORDS.get(fields.pop("event"), {}).items():
            fields[name] = words.get(fields[name], fields[name])
        return fields

    def spans(self, name: str | None = None) -> Found[Span]:
        """The blocks that were marked with ``qtinter.inspect.span()``."""
        return self._found("spans", self._all_spans, name, None)

    def _all_spans(self) -> Iterator[Span]:
        for block in self.analysis.blocks:
            began, ended = block.started or self.t0, block.ended or self.t1
            yield Span(
                self.process.text(block.name),
                self.seconds(began),
                self.seconds(ended) if block.ended else None,
                self._part(began, ended),
            )

    def span(self, name: str) -> Trace:
        """What happened in the only block of a name.

        :raises NotFound: there is none, or are several.
        """
        return self.spans(name).one().trace

    def snapshot(self, at: float | None = None) -> Process:
        """The state at a time, as ``qtinter.inspect.snapshot()`` gives it.

        :param at: seconds since the recording began; by default the end of the range.
        """
        if at is None:
            return self.process
        ts = self.zero + round(at * 1e9)
        return self._part(self._root_start(), min(ts, self.t1)).process

    def _root_start(self) -> int | None:
        return self._bounds[0] if self._root is None else self._root._bounds[0]

    def await_graph(self, at: float | None = None) -> _graph.AwaitGraph:
        """Which pending task waits for what."""
        return _graph.AwaitGraph(self.snapshot(at))

    def path(self, *names: str) -> _graph.Path:
        """Whether something of the first name led to one of the second, and so on.

        Names are those of signals, asyncslots, tasks, coroutine functions, callbacks,
        jobs, marks and spans.  One thing leads to another by creating it, waking it, or
        waiting for it.

        :returns: true or false; its repr shows the way, or where it ends.
        """
        if not names:
            raise ValueError("path() needs names")
        self.check_whole()
        return _graph.find_path(self, names)

    def shape(self) -> list[dict[str, Any]]:
        """The tasks that were created, by creator, without times and ids.

        Two runs that do the same have the same shape: what each task is, what it waited
        for in which order, how it ended, and which tasks it created.  It is made of
        what JSON has.
        """
        self.check_whole()
        return _graph.shape_of(self)

    def figures(self) -> dict[str, float]:
        """What budgets and comparisons are about; durations in seconds.

        Records that are missing are not looked at: ``lost`` says how many.
        """
        found = self.analysis
        steps, lags = Distribution(found.step_times), Distribution(found.lags)
        late = Distribution(found.lateness)
        return {
            "duration": self.duration,
            "steps": steps.count,
            "max_step": steps.max,
            "p50_step": steps.p50,
            "p99_step": steps.p99,
            "max_lag": lags.max,
            "p50_lag": lags.p50,
            "p99_lag": lags.p99,
            "max_late": late.max,
            "tasks": found.made,
            "max_tasks": found.alive_most,
            "slots": len(found.calls),
            "waits": len(found.waits),
            "max_nested": max([depth for _, depth, _ in found.nested], default=0),
            "stalls": sum(1 for _ in self._all_stalls()),
            "lints": len(self.all_lints()),
            "lost": sum(gap.count for gap in self.gaps),
            "asyncio": found.asyncio_ns * 1e-9,
            "qt": found.qt_ns * 1e-9,
        }

    def text(self) -> str:
        """A summary of at most forty lines: figures, what pends, what is wrong."""
        return _text.summary(self)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the recording that this is of to a file, as a whole.

        :raises OSError: it cannot be written.
        :raises ValueError: it was never in a file.
        """
        self.source.save(path)

    def save_shape(self, path: str | os.PathLike[str]) -> None:
        """Write :meth:`shape` as JSON."""
        with builtins.open(path, "w", encoding="utf-8") as file:
            json.dump(self.shape(), file, indent=1, ensure_ascii=False, sort_keys=True)
            file.write("\n")

    def __repr__(self) -> str:
        name, pid = self.info.get("name", ""), self.info.get("pid", 0)
        return f"<trace of {name} {pid}, {self.duration:.3f} s>"


def _meet(stall: Stall, step: Step) -> bool:
    return stall.began < step.ended and step.began < stall.began + stall.duration
