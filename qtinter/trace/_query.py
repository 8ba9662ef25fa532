"""What a trace is asked for: tasks, slot calls, waits, steps, and collections of them.

Times are seconds since the beginning of the recording, durations are seconds.
"""

from __future__ import annotations

import dataclasses
import fnmatch
from typing import (
    TYPE_CHECKING,
    Any,
    Callable,
    Dict,
    Generic,
    Iterable,
    Iterator,
    Mapping,
    TypeVar,
)

from ..inspect import _tables, filters
from ..inspect.fields import TASK_FIELDS
from ..inspect.model import CALLBACK, SLOT, TASK, Row, is_final
from . import _state

if TYPE_CHECKING:
    from ._source import Record
    from ._trace import Trace

T = TypeVar("T", bound="Item")

_SHOWN = 8  # items in the repr of a collection
_COLUMN = _state.COLUMN[TASK]
_NANOSECONDS = ("busy", "scheduled", "max_step")  # columns that a filter has in seconds


class TraceIncomplete(AssertionError):
    """The answer may be wrong: records of the range are missing.

    ``allow_gaps=True`` accepts answers from what is there.
    """


class NotFound(LookupError):
    """:meth:`Found.one` did not find exactly one."""


@dataclasses.dataclass(frozen=True)
class Code:
    """A code location."""

    name: str
    file: str
    line: int

    def __str__(self) -> str:
        if not self.file:
            return self.name
        parts = self.file.replace("\\", "/").split("/")
        return f"{self.name} ({'/'.join(parts[-2:])}:{self.line})"


class Item:
    """Something that is found in a trace."""

    __slots__ = ()

    @property
    def names(self) -> Iterable[str]:
        """What it may be called in a query."""
        raise NotImplementedError

    def row(self) -> Dict[str, Any]:
        """The fields that filters see."""
        raise NotImplementedError

    def for_filter(self) -> Mapping[str, Any]:
        """The same, of which a filter may ask for little."""
        return self.row()

    def __repr__(self) -> str:
        return f"<{self}>"


class Found(Generic[T]):
    """Those that were asked for, in the order of their beginning.

    It can be iterated over and indexed, and has a length; :meth:`one`, :meth:`count`
    and :meth:`none` are for assertions, and raise :exc:`TraceIncomplete` where records
    are missing.
    """

    def __init__(
        self, what: str, items: Callable[[], Iterable[T]], check: Callable[[], None]
    ) -> None:
        self._what = what
        self._items = items
        self._check = check

    def __iter__(self) -> Iterator[T]:
        return iter(self._items())

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def __bool__(self) -> bool:
        self._check()
        return any(True for _ in self)

    def __getitem__(self, index: int) -> T:
        return self.all()[index]

    def all(self) -> list[T]:
        """A list of them."""
        return list(self)

    def count(self) -> int:
        """How many there are."""
        self._check()
        return len(self)

    def none(self) -> bool:
        """Whether there are none."""
        return not self

    def one(self) -> T:
        """The only one.

        :raises NotFound: there is none, or are several; the message lists what is.
        """
        self._check()
        found = self.all()
        if len(found) != 1:
            raise NotFound(f"expected one of {self._what}, found {self!r}")
        return found[0]

    def named(self, name: str) -> Found[T]:
        """Those of a name: the whole, its end after a dot, or a pattern with ``*``."""
        return Found(
            f"{self._what} named {name!r}",
            lambda: (
                item for item in self if any(is_named(n, name) for n in item.names)
            ),
            self._check,
        )

    def where(self, filter: str) -> Found[T]:  # noqa: A002 - as everywhere
        """Those for which a filter (:mod:`qtinter.inspect.filters`) holds.

        :raises ValueError: it is no filter.
        """
        holds = filters.compile(filter)
        return Found(
            f"{self._what} with {filter}",
            lambda: (item for item in self if holds(item.for_filter())),
            self._check,
        )

    def __repr__(self) -> str:
        shown = []
        for i, item in enumerate(self):
            if i == _SHOWN:
                shown.append(f"… {len(self) - i} more")
                break
            shown.append(str(item))
        return f"[{'; '.join(shown)}]" if shown else f"no {self._what}"


def is_named(name: str, wanted: str) -> bool:
    """Whether a query for ``wanted`` means something of this name."""
    return (
        name == wanted
        or name.endswith("." + wanted)
        or ("*" in wanted and fnmatch.fnmatchcase(name, wanted))
    )


class Task(Item):
    """A task; counts and durations are of the range of the trace."""

    __slots__ = ("_trace", "id")

    def __init__(self, trace: Trace, ident: int) -> None:
        self._trace = trace
        self.id = ident

    def _value(self, column: str) -> int:
        return self._trace.analysis.tasks.value(self.id, _COLUMN[column])

    def _own(self, at: int) -> int:
        return self._trace.analysis.tasks.value(self.id, at)

    def _row(self) -> Row:
        values = self._trace.analysis.tasks[self.id]
        state, loop = values[_state.STATE], values[_state.LOOP_NUMBER]
        return Row(TASK, self.id, state, loop, values)

    def _seconds(self, column: str) -> float:
        return self._value(column) * 1e-9

    @property
    def name(self) -> str:
        return self._trace.process.task_name_of(
            self._value("name"), self._value("code")
        )

    @property
    def code(self) -> Code | None:
        """Where its coroutine function is defined."""
        return self._trace.code(self._value("code"))

    @property
    def names(self) -> Iterable[str]:
        code = self.code
        return (self.name,) if code is None else (self.name, code.name)

    @property
    def state(self) -> str:
        """created, ready, running, waiting, cancelling, done, failed, cancelled, ..."""
        return _tables.TASK_STATES.get(self._own(_state.STATE), "unknown")

    @property
    def role(self) -> str:
        """task, slot_call, modal or main."""
        return _tables.TASK_ROLES.get(self._value("role"), "")

    @property
    def is_new(self) -> bool:
        """Whether it was created in the range."""
        return bool(self._own(_state.NEW))

    @property
    def is_pending(self) -> bool:
        return not is_final(TASK, self._own(_state.STATE))

    @property
    def created(self) -> float:
        return self._trace.seconds(self._value("created"))

    @property
    def ended(self) -> float | None:
        ended = self._own(_state.ENDED)
        return self._trace.seconds(ended) if ended else None

    @property
    def since(self) -> float:
        """For how long it has been in its state."""
        return float(max(0, self._trace.t1 - self._value("changed")) * 1e-9)

    @property
    def duration(self) -> float:
        """From its creation to its end, or to the end of the range."""
        ended = self._own(_state.ENDED) or self._trace.t1
        return float((ended - self._value("created")) * 1e-9)

    @property
    def steps(self) -> int:
        return self._value("steps")

    @property
    def max_step(self) -> float:
        self._trace.check_whole()
        return self._seconds("max_step")

    @property
    def busy(self) -> float:
        """Time spent in steps."""
        self._trace.check_whole()
        return self._seconds("busy")

    @property
    def scheduled(self) -> float:
        """Time it was ready, and did not run."""
        self._trace.check_whole()
        return self._seconds("scheduled")

    @property
    def wakes(self) -> int:
        return self._value("wakes")

    @property
    def self_wakes(self) -> int:
        return self._value("self_wakes")

    @property
    def creator(self) -> str:
        return self._trace.process.describe(self._value("creator"))

    @property
    def creator_ref(self) -> tuple[int, int] | None:
        """(entity kind, id)"""
        return self._trace.process.ref(self._value("creator"))

    @property
    def woken_by(self) -> str:
        return self._trace.process.describe(self._value("woken_by"))

    @property
    def slot(self) -> str | None:
        """The asyncslot that it is an invocation of."""
        ident = self._value("slot")
        return (self._trace.slot_name(ident) or None) if ident else None

    @property
    def waits_for(self) -> str | None:
        """What it waits for, in words."""
        wait = self._trace.process.wait_of(self._row())
        return None if wait is None else str(wait["text"])

    @property
    def where(self) -> Code | None:
        """The innermost await, if the recording is of level 3."""
        return self._trace.code(self._value("where"))

    @property
    def cancels(self) -> int:
        return self._value("cancels")

    @property
    def exception(self) -> str | None:
        """Name of the class of the exception it has failed with."""
        return self._trace.process.text(self._value("exception")) or None

    @property
    def stack(self) -> list[Code]:
        """Where it was created, innermost first, if the recording is of level 3."""
        return [
            Code(**code) for code in self._trace.process.stack(self._value("stack"))
        ]

    def _lints(self) -> list[str]:
        return [
            lint.id for lint in self._trace.all_lints() if lint.ref == (TASK, self.id)
        ]

    def row(self) -> dict[str, Any]:
        row = self._trace.process.task(self._row())
        row["lint"] = self._lints()
        row["new"] = self.is_new
        return row

    def for_filter(self) -> Mapping[str, Any]:
        return _TaskFields(self)

    def __str__(self) -> str:
        text = f"task {self.id} {self.name}"
        code = self.code
        if code is not None:
            text += (
                f", {code}"
                if code.name != self.name
                else f" {str(code)[len(code.name) + 1 :]}"
            )
        text += f": {self.state}"
        if self.exception:
            text += f" with {self.exception}"
        if self.is_pending:
            waits = self.waits_for
            text += f" for {waits}" if waits else ""
            text += f", {seconds_text(self.since)}"
        return text


class _TaskFields(Mapping[str, Any]):
    """What :meth:`Task.row` gives, of which only what is asked for is made."""

    __slots__ = ("_task",)

    def __init__(self, task: Task) -> None:
        self._task = task

    def __getitem__(self, name: str) -> Any:
        task = self._task
        if name == "lint":
            return task._lints()
        if name == "new":
            return task.is_new
        if name in _NANOSECONDS:
            return task._value(name) * 1e-9
        return TASK_FIELDS[name](task._trace.process, task._row())

    def __iter__(self) -> Iterator[str]:
        return iter((*TASK_FIELDS, "lint", "new"))

    def __len__(self) -> int:
        return len(TASK_FIELDS) + 2


class SlotCall(Item):
    """An invocation of an asyncslot."""

    __slots__ = ("_call", "_trace")

    def __init__(self, trace: Trace, call: _state.Call) -> None:
        self._trace = trace
        self._call = call

    @property
    def slot(self) -> str:
        return self._trace.slot_name(self._call.slot)

    @property
    def slot_id(self) -> int:
        return self._call.slot

    @property
    def names(self) -> Iterable[str]:
        code = self.code
        return (self.slot,) if code is None else (self.slot, code.name)

    @property
    def code(self) -> Code | None:
        row = self._trace.process.rows.get((SLOT, self._call.slot))
        return None if row is None else self._trace.code(row["code"])

    @property
    def receiver(self) -> str:
        """Class and objectName."""
        row = self._trace.process.rows.get((SLOT, self._call.slot))
        return "" if row is None else self._trace.process.object_text(row["receiver"])

    @property
    def signal(self) -> str:
        """Name of the signal that was emitted, if it is known."""
        return self._trace.process.text(self._call.signal)

    @property
    def task(self) -> Task | None:
        """The task that ran it; None if it did not need one or it was not seen."""
        return self._trace.task(self._call.task) if self._call.task else None

    @property
    def began(self) -> float:
        return self._trace.seconds(self._call.began)

    @property
    def ended(self) -> float | None:
        return self._trace.seconds(self._call.ended) if self._call.ended else None

    @property
    def duration(self) -> float:
        """Until its end, or that of the range."""
        return ((self._call.ended or self._trace.t1) - self._call.began) * 1e-9

    @property
    def state(self) -> str:
        """done, failed or cancelled; that of its task while it is pending."""
        task = self.task
        if not self._call.ended and task is not None:
            return task.state
        return _tables.TASK_STATES.get(self._call.state, "unknown")

    @property
    def is_pending(self) -> bool:
        return not self._call.ended

    @property
    def max_step(self) -> float:
        task = self.task
        return 0.0 if task is None else task.max_step

    @property
    def overlaps(self) -> int:
        """How many other calls of the slot were pending when it began."""
        return self._call.overlaps

    def row(self) -> dict[str, Any]:
        task = self.task
        code = self.code
        return {
            "slot": self.slot,
            "name": self.slot,
            "code": None if code is None else dataclasses.asdict(code),
            "receiver": self.receiver or None,
            "signal": self.signal or None,
            "state": self.state,
            "task": self._call.task or None,
            "began": self.began,
            "duration": self.duration,
            "age": (self._trace.t1 - self._call.began) * 1e-9,
            "overlaps": self.overlaps,
            "max_step": None if task is None else task.row()["max_step"],
            "waits_for": None if task is None else task.row()["waits_for"],
        }

    def __str__(self) -> str:
        text = f"call of {self.slot}"
        text += f" by {self.signal}" if self.signal else ""
        task = self.task
        text += f", task {task.id}" if task is not None else ""
        text += f": {self.state}"
        if self.is_pending and task is not None and task.waits_for:
            text += f" for {task.waits_for}"
        return f"{text}, {seconds_text(self.duration)}"


class Wait(Item):
    """A signal wait: of ``asyncsignal()`` and its relatives."""

    __slots__ = ("_trace", "_wait")

    def __init__(self, trace: Trace, wait: _state.SignalWait) -> None:
        self._trace = trace
        self._wait = wait

    @property
    def id(self) -> int:
        return self._wait.id

    @property
    def signal(self) -> str:
        return self._trace.process.text(self._wait.signal)

    @property
    def sender(self) -> str:
        """Class and objectName."""
        return self._trace.process.object_text(self._wait.sender)

    @property
    def names(self) -> Iterable[str]:
        owner = self.sender.partition(" ")[0]
        return (self.signal, f"{owner}.{self.signal}") if owner else (self.signal,)

    @property
    def task(self) -> Task | None:
        return self._trace.task(self._wait.task) if self._wait.task else None

    @property
    def began(self) -> float:
        return self._trace.seconds(self._wait.began)

    @property
    def ended(self) -> float | None:
        return self._trace.seconds(self._wait.ended) if self._wait.ended else None

    @property
    def duration(self) -> float:
        return ((self._wait.ended or self._trace.t1) - self._wait.began) * 1e-9

    @property
    def is_pending(self) -> bool:
        return not self._wait.ended

    @property
    def fired(self) -> int:
        """How often the signal was emitted."""
        return self._wait.fired

    @property
    def sender_alive(self) -> bool:
        return not self._wait.gone

    @property
    def outcome(self) -> str:
        """fired, cancelled, sender_gone, closed; pending."""
        if not self._wait.ended or self._wait.how is None:
            return "pending"
        return _tables.WAIT_ENDS.get(self._wait.how, "unknown")

    def row(self) -> dict[str, Any]:
        task = self.task
        return {
            "id": self.id,
            "signal": self.signal,
            "sender": self.sender or None,
            "sender_class": self.sender.partition(" ")[0] or None,
            "sender_alive": self.sender_alive,
            "task": self._wait.task or None,
            "task_name": None if task is None else task.name,
            "since": self.duration,
            "age": self.duration,
            "state": self.outcome,
            "fired": self.fired,
        }

    def __str__(self) -> str:
        text = f"wait for {self.signal}"
        text += f" of {self.sender}" if self.sender else ""
        text += "" if self.sender_alive else ", which was destroyed"
        task = self.task
        text += f", by task {task.id} {task.name}" if task is not None else ""
        return f"{text}: {self.outcome}, {seconds_text(self.duration)}"


class Step(Item):
    """A step of a task, or a callback: what ran at a stretch."""

    __slots__ = ("_code", "_end", "_ns", "_task", "_trace", "loop")

    def __init__(self, trace: Trace, step: _state.StepOf) -> None:
        self._trace = trace
        self._ns, self._end, self._task, self._code, self.loop = step

    @property
    def duration(self) -> float:
        return self._ns * 1e-9

    @property
    def began(self) -> float:
        return self._trace.seconds(self._end - self._ns)

    @property
    def ended(self) -> float:
        return self._trace.seconds(self._end)

    @property
    def task(self) -> Task | None:
        return self._trace.task(self._task) if self._task else None

    @property
    def ref(self) -> tuple[int, int]:
        """(entity kind, id): of the task, or of the callback."""
        return (TASK, self._task) if self._task else (CALLBACK, self._code)

    @property
    def code(self) -> Code | None:
        task = self.task
        return self._trace.code(self._code) if task is None else task.code

    @property
    def names(self) -> Iterable[str]:
        task, code = self.task, self.code
        if task is not None:
            return task.names
        return () if code is None else (code.name,)

    @property
    def where(self) -> str:
        """What ran, and where it was, if it was so long that it was looked at."""
        task, code = self.task, self.code
        text = str(code) if code is not None else ""
        if task is not None and (code is None or task.name != code.name):
            named = not task.name.startswith("Task-")
            text = f"{text}, task {task.id} {task.name}" if named else text
        seen = self._trace.seen_in(self._end - self._ns, self._end)
        return f"{text} → {seen}" if seen else text

    def row(self) -> dict[str, Any]:
        code = self.code
        return {
            "duration": self.duration,
            "began": self.began,
            "task": self._task or None,
            "name": "" if self.task is None else self.task.name,
            "code": None if code is None else dataclasses.asdict(code),
            "loop": self.loop,
        }

    def __str__(self) -> str:
        if not self._end:
            return "no step"
        return f"{seconds_text(self.duration)} in {self.where}"


class Stall(Item):
    """A time during which a loop was kept from its work.

    :ivar began: seconds
    :ivar duration: seconds
    :ivar where: what ran
    :ivar stack: as text, innermost last; empty if it was not taken
    """

    __slots__ = ("began", "duration", "loop", "stack", "where")

    def __init__(
        self, began: float, duration: float, where: str, stack: str, loop: int
    ) -> None:
        self.began = began
        self.duration = duration
        self.where = where
        self.stack = stack
        self.loop = loop

    @property
    def names(self) -> Iterable[str]:
        return (self.where.partition(" (")[0],)

    def row(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in self.__slots__}

    def __str__(self) -> str:
        return f"stall of {seconds_text(self.duration)} in {self.where}"


class Lint(Item):
    """A finding.

    :ivar id: QI101 and so on
    :ivar severity: E, W or I
    :ivar text: one line
    :ivar ref: (entity kind, id) of what it is about, None without
    :ivar at: seconds; when it was so
    """

    __slots__ = ("at", "id", "ref", "severity", "text")

    def __init__(
        self,
        ident: str,
        severity: str,
        text: str,
        ref: tuple[int, int] | None,
        at: float,
    ) -> None:
        self.id = ident
        self.severity = severity
        self.text = text
        self.ref = ref
        self.at = at

    @property
    def names(self) -> Iterable[str]:
        return (self.id,)

    def row(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in self.__slots__}

    def __str__(self) -> str:
        return f"{self.id} {self.severity}: {self.text}"


class Event(Item):
    """A record in words.

    :ivar number: of the record since the recording began
    :ivar at: seconds
    :ivar kind: task_step and so on, as in proto/records.def
    :ivar fields: what it says
    """

    __slots__ = ("_fields", "_record", "_trace", "at", "kind", "loop", "number")

    def __init__(self, trace: Trace, record: Record) -> None:
        self.number, ts, kind, self.loop = record[:4]
        self.at = trace.seconds(ts)
        self.kind = _state.kind_name(kind)
        self._trace = trace
        self._record = record
        self._fields: dict[str, Any] | None = None

    @property
    def fields(self) -> dict[str, Any]:
        if self._fields is None:
            self._fields = self._trace.fields_of(self._record)
        return self._fields

    @property
    def names(self) -> Iterable[str]:
        return (self.kind,)

    def row(self) -> dict[str, Any]:
        return dict(self.fields, at=self.at, event=self.kind, loop=self.loop)

    def __str__(self) -> str:
        fields = " ".join(
            f"{name}={seconds_text(value) if isinstance(value, float) else value}"
            for name, value in self.fields.items()
            if value != ""
        )
        return f"{self.at:.6f} {self.kind} {fields}".rstrip()


class Span(Item):
    """A block that was marked with ``qtinter.inspect.span()``, or a test's phase.

    :ivar trace: what happened in it
    """

    __slots__ = ("began", "ended", "name", "trace")

    def __init__(
        self, name: str, began: float, ended: float | None, trace: Trace
    ) -> None:
        self.name = name
        self.began = began
        self.ended = ended
        self.trace = trace

    @property
    def names(self) -> Iterable[str]:
        return (self.name,)

    @property
    def duration(self) -> float:
        return self.trace.duration

    def row(self) -> dict[str, Any]:
        return {"name": self.name, "began": self.began, "duration": self.duration}

    def __str__(self) -> str:
        return f"span {self.name}, {seconds_text(self.duration)}"


class Distribution:
    """Durations: ``max`` is exact, the others to 1.6 %.

    :ivar count: how many
    """

    def __init__(self, histogram: _state.Histogram) -> None:
        self._histogram = histogram
        self.count = histogram.count

    @property
    def max(self) -> float:
        return self._histogram.longest * 1e-9

    @property
    def mean(self) -> float:
        return self._histogram.total * 1e-9 / self.count if self.count else 0.0

    def quantile(self, part: float) -> float:
        """The duration that a part of them (0 to 1) does not exceed."""
        if not 0 <= part <= 1:
            raise ValueError(f"quantile() takes 0 to 1, not {part}")
        return self._histogram.quantile(part) * 1e-9

    @property
    def p50(self) -> float:
        return self.quantile(0.5)

    @property
    def p95(self) -> float:
        return self.quantile(0.95)

    @property
    def p99(self) -> float:
        return self.quantile(0.99)

    def __repr__(self) -> str:
        shown = ", ".join(
            f"{name} {seconds_text(getattr(self, name))}"
            for name in ("p50", "p99", "max")
        )
        return f"<{self.count} durations: {shown}>"


def seconds_text(seconds: float) -> str:
    """A duration to be read."""
    if seconds >= 1:
        return f"{seconds:.1f} s"
    if seconds >= 1e-3:
        return f"{seconds * 1e3:.{0 if seconds >= 0.01 else 1}f} ms"
    return f"{seconds * 1e6:.0f} µs"
