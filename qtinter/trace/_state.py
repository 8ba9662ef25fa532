"""One pass over the records of a range: what was so at its end, and what it adds up to.

What concerns tasks, steps and turns is counted in C (_native/trace_pass.c), which hands
the rarer records on.  The rows are those of proto/entities.def; a task's has some more
columns of ours behind them.  Memory grows with the tasks, slot calls, waits and spans
of the range, not with its records.
"""

from __future__ import annotations

from typing import Any, Dict, Iterator, List, Mapping, Tuple

from .. import _core
from ..inspect import _tables
from ..inspect.model import JOB, SLOT, TASK, TIMER, WAIT, is_final
from ._source import RowList, Source

Values = List[Any]
Rows = Dict[Tuple[int, int], RowList]

KIND = {name: number for number, (name, _) in _tables.RECORDS.items()}
_NAMES = {number: name.lower() for name, number in KIND.items()}
TASK_STATE = {name: number for number, name in _tables.TASK_STATES.items()}
COLUMN = {
    kind: {name: i for i, (name, _) in enumerate(columns)}
    for kind, (_, columns) in _tables.ENTITIES.items()
}

_TASK = COLUMN[TASK]
WIDTH = len(_TASK)
# Ours, behind the columns of a task: its state and loop, whether it was created in the
# range, when it ended, and since when it has been ready (0: it is not).
STATE, LOOP_NUMBER, NEW, ENDED, READY = range(WIDTH, WIDTH + 5)


def kind_name(kind: int) -> str:
    """Of a kind of record: task_step and so on."""
    return _NAMES.get(kind) or f"kind {kind}"


class Histogram:
    """Durations in ns, to 1.6 %; the longest exactly."""

    __slots__ = ("_counts", "count", "longest", "total")

    def __init__(
        self,
        count: int = 0,
        total: int = 0,
        longest: int = 0,
        counts: dict[int, int] | None = None,
    ) -> None:
        self.count = count
        self.total = total
        self.longest = longest
        self._counts = {} if counts is None else counts

    def add(self, ns: int) -> None:
        self.count += 1
        self.total += ns
        if ns > self.longest:
            self.longest = ns
        shift = ns.bit_length() - 6
        key = shift << 6 | ns >> shift if shift > 0 else ns
        counts = self._counts
        counts[key] = counts.get(key, 0) + 1

    def quantile(self, part: float) -> int:
        """The duration that so large a part of them does not exceed."""
        left = part * self.count
        for key in sorted(self._counts):
            left -= self._counts[key]
            if left <= 0:
                shift, ns = (key >> 6, key & 63) if key >= 64 else (0, key)
                return min((ns + 1 << shift) - 1, self.longest)
        return self.longest


class Call:
    """An invocation of an asyncslot."""

    __slots__ = ("began", "ended", "overlaps", "signal", "slot", "state", "task")

    def __init__(
        self, slot: int, task: int, began: int, signal: int, overlaps: int
    ) -> None:
        self.slot = slot
        self.task = task
        self.began = began
        self.signal = signal
        self.overlaps = overlaps  # other calls that were pending then
        self.ended = 0
        self.state = TASK_STATE["running"]


class SignalWait:
    """A signal wait."""

    __slots__ = ("began", "ended", "fired", "gone", "how", "id", "sender", "signal",
                 "task")  # fmt: skip

    def __init__(self, ident: int, began: int, signal: int, sender: int) -> None:
        self.id = ident
        self.began = began
        self.signal = signal
        self.sender = sender
        self.task = self.ended = self.fired = self.gone = 0
        self.how: int | None = None


class Block:
    """A named span of time: of ``qtinter.inspect.span()``."""

    __slots__ = ("ended", "name", "number", "started", "task")

    def __init__(self, name: int, number: int, started: int, task: int) -> None:
        self.name = name
        self.number = number
        self.started = started
        self.task = task
        self.ended = 0


# A step: (duration, end, its task's id or 0, code of a callback or 0, loop).
StepOf = Tuple[int, int, int, int, int]


class Known:
    """The last row that was kept of each entity.

    :ivar rows: by kind and id, of all but tasks
    :ivar tasks: of the tasks
    :ivar kept: when the last ones were kept
    """

    def __init__(self, source: Source) -> None:
        self.tasks = _core.TraceTasks()
        self.rows, self.kept = source.last_rows(self.tasks)
        for row in self.rows.values():
            # Of a version that had fewer columns.
            missing = 4 + len(COLUMN.get(row[0], ())) - len(row)
            if missing > 0:
                row.extend([0] * missing)


class Tasks(Mapping[int, Values]):
    """The values of tasks by id, in the order of their first records, made anew."""

    def __init__(self, found: _core.TracePass) -> None:
        self._found = found

    def __getitem__(self, ident: int) -> Values:
        values = self._found.task(ident)
        if values is None:
            raise KeyError(ident)
        return values

    def get(self, ident: int, default: Any = None) -> Any:
        values = self._found.task(ident)
        return default if values is None else values

    def __contains__(self, ident: object) -> bool:
        return self._found.value(ident, STATE) is not None  # type: ignore[arg-type]

    def __iter__(self) -> Iterator[int]:
        return iter(self._found.ids())

    def __len__(self) -> int:
        return len(self._found)

    def value(self, ident: int, at: int) -> int:
        """One of the values of a task, without making the others."""
        value = self._found.value(ident, at)
        if value is None:
            raise KeyError(ident)
        return value

    def pending(self) -> list[int]:
        """The ids of those that are not over."""
        return self._found.pending()

    def remarkable(self, wakes: int) -> list[int]:
        """The ids of those that did not end well, or were woken so often."""
        return self._found.remarkable(wakes)

    def sum(self, column: str) -> int:
        """Of a column of all of them."""
        return self._found.sum(_TASK[column])


class Pass:
    """What the records of a source from t0 to t1 say.

    :param known: rows of the source.
    """

    def __init__(
        self, source: Source, known: Known, t0: int | None, t1: int | None
    ) -> None:
        self.t0 = source.info["begin"] if t0 is None else t0
        self.t1 = source.info["last"] if t1 is None else t1
        self._known = known
        self.calls: list[Call] = []
        self.waits: dict[int, SignalWait] = {}
        self.slots: dict[int, Values] = {}
        self.timers: dict[int, tuple[int, int, int]] = {}  # code, set, due
        self.jobs: dict[int, tuple[int, int, int]] = {}  # code, submitted, task
        self.blocks: list[Block] = []
        self.marks: list[tuple[int, int, int]] = []  # ts, name, task
        self.unretrieved: list[tuple[int, int, int]] = []  # ts, task, exception
        self.failed_callbacks: list[tuple[int, int, int]] = []  # ts, code, exception
        self.nested: list[tuple[int, int, int]] = []  # ts, depth, task
        self.cancelled: dict[int, int] = {}  # task -> ts of the first cancel()
        self.closed: list[tuple[int, int, int]] = []  # ts, loop, tasks left
        self.refused: list[tuple[int, int]] = []  # ts, slot
        self.dropped: dict[int, int] = {}  # wait -> items
        self.late: list[tuple[int, int, int]] = []  # ts, timer, ns: over 50 ms
        self.lateness = Histogram()
        self._live: dict[int, int] = {}  # pending calls by slot
        self._pending: dict[int, Call] = {}  # by task
        self._open: dict[int, Block] = {}  # by number
        self._found = _core.TracePass(known.tasks)
        self._run(source, t0, t1)
        self._finish()
        totals = self._found.totals()
        self.tasks = Tasks(self._found)
        self.made: int = totals["made"]  # tasks that were created in the range
        self.step_times = Histogram(*totals["step_times"])
        self.lags = Histogram(*totals["lags"])
        self.longest: list[StepOf] = totals["longest"]
        # ns, since when it was ready, task
        self.lag_most: tuple[int, int, int] = totals["lag_most"]
        self.count: int = totals["count"]
        self.last: int = totals["last"]
        self.turns: int = totals["turns"]
        self.qt_ns: int = totals["qt_ns"]
        self.asyncio_ns: int = totals["asyncio_ns"]
        self.idle_ns: int = totals["idle_ns"]
        self.alive_most: int = totals["alive_most"]

    # --- the pass

    def _run(self, source: Source, t0: int | None, t1: int | None) -> None:
        handlers = {
            number: getattr(self, "_" + name.lower())
            for name, number in KIND.items()
            if hasattr(self, "_" + name.lower())
        }
        begin = -(1 << 63) if t0 is None else t0
        end = (1 << 63) - 1 if t1 is None else t1
        for _, records in source.blocks(t0, t1):
            self._found.feed(records, begin, end, handlers)

    def _task_cancel(self, ts: int, loop: int, x: int, a: int, b: int) -> None:
        self.cancelled.setdefault(a, ts)

    def _task_wait(self, ts: int, loop: int, x: int, a: int, b: int) -> None:
        signal_wait = self.waits.get(b & 0xFFFFFFFFFFFFFF)
        if signal_wait is not None:
            signal_wait.task = a

    def _loop_closed(self, ts: int, loop: int, x: int, a: int, b: int) -> None:
        self.closed.append((ts, loop, x))

    def _task_unretrieved(self, ts: int, loop: int, x: int, a: int, b: int) -> None:
        self.unretrieved.append((ts, a, b))

    def _slot(self, ident: int) -> Values:
        values = self.slots.get(ident)
        if values is None:
            row = self._known.rows.get((SLOT, ident))
            width = len(COLUMN[SLOT])
            values = [0] * width if row is None else [*row[4 : 4 + width]]
            values += [0] * (width - len(values))
            self.slots[ident] = values
        return values

    def _slot_registered(self, ts: int, loop: int, x: int, a: int, b: int) -> None:
        values = self._slot(a)
        values[COLUMN[SLOT]["code"]] = x
        values[COLUMN[SLOT]["receiver"]] = b

    def _slot_called(self, ts: int, loop: int, x: int, a: int, b: int) -> None:
        self._slot(b)
        live = self._live.get(b, 0)
        # The call has been recorded after its first step.
        created = self._found.call(a, b)
        call = Call(b, a, ts if created is None else created, x, live)
        self._live[b] = live + 1
        self.calls.append(call)
        if a:
            self._pending[a] = call

    def _slot_ended(self, ts: int, loop: int, x: int, a: int, b: int) -> None:
        live = self._live.get(b, 0)
        if live:
            self._live[b] = live - 1
        call = self._pending.pop(a, None)
        if call is None:
            for other in reversed(self.calls):
                if other.slot == b and not other.ended and not other.task:
                    call = other
                    break
        if call is not None:
            call.ended = ts
            call.state = x

    def _slot_refused(self, ts: int, loop: int, x: int, a: int, b: int) -> None:
        self._slot(a)
        self.refused.append((ts, a))

    def _wait_began(self, ts: int, loop: int, x: int, a: int, b: int) -> None:
        self.waits[a] = SignalWait(a, ts, x, b)

    def _wait(self, ident: int) -> SignalWait:
        wait = self.waits.get(ident)
        if wait is None:  # it began before
            row = self._known.rows.get((WAIT, ident))
            wait = SignalWait(ident, 0, 0, 0)
            if row is not None:
                column = COLUMN[WAIT]
                wait.began = row[4 + column["since"]]
                wait.signal = row[4 + column["signal"]]
                wait.sender = row[4 + column["sender"]]
                wait.task = row[4 + column["task"]]
            self.waits[ident] = wait
        return wait

    def _wait_fired(self, ts: int, loop: int, x: int, a: int, b: int) -> None:
        self._wait(a).fired += 1

    def _wait_ended(self, ts: int, loop: int, x: int, a: int, b: int) -> None:
        wait = self._wait(a)
        wait.ended = ts
        wait.how = x

    def _sender_destroyed(self, ts: int, loop: int, x: int, a: int, b: int) -> None:
        self._wait(a).gone = ts

    def _stream_drop(self, ts: int, loop: int, x: int, a: int, b: int) -> None:
        self.dropped[a] = x

    def _timer_set(self, ts: int, loop: int, x: int, a: int, b: int) -> None:
        self.timers[a] = (x, ts, ts + b)

    def _timer_fired(self, ts: int, loop: int, x: int, a: int, b: int) -> None:
        self.timers.pop(a, None)
        self.lateness.add(b)
        if b > 50_000_000 and len(self.late) < 1000:
            self.late.append((ts, a, b))

    def _timer_cancelled(self, ts: int, loop: int, x: int, a: int, b: int) -> None:
        self.timers.pop(a, None)

    def _job_submitted(self, ts: int, loop: int, x: int, a: int, b: int) -> None:
        self.jobs[a] = (x, ts, b)

    def _job_ended(self, ts: int, loop: int, x: int, a: int, b: int) -> None:
        self.jobs.pop(a, None)

    def _callback_failed(self, ts: int, loop: int, x: int, a: int, b: int) -> None:
        self.failed_callbacks.append((ts, x, a))

    def _nested_entered(self, ts: int, loop: int, x: int, a: int, b: int) -> None:
        self.nested.append((ts, x, a))

    def _mark(self, ts: int, loop: int, x: int, a: int, b: int) -> None:
        self.marks.append((ts, x, a))

    def _span_began(self, ts: int, loop: int, x: int, a: int, b: int) -> None:
        block = self._open[a] = Block(x, a, ts, b)
        self.blocks.append(block)

    def _span_ended(self, ts: int, loop: int, x: int, a: int, b: int) -> None:
        block = self._open.pop(a, None)
        if block is None:  # it began before
            block = Block(x, a, 0, b)
            self.blocks.append(block)
        block.ended = ts

    # --- the end

    def _finish(self) -> None:
        """Takes from the rows what the records do not say, where it held at t1."""
        self._found.finish(self._known.kept, self.t0, self.t1)
        for (kind, ident), row in self._known.rows.items():
            if kind == WAIT and ident not in self.waits:
                if not is_final(WAIT, row[2]) and self._held(row, WAIT, "since"):
                    self._wait(ident)
            elif (
                kind == SLOT
                and not is_final(SLOT, row[2])
                and self._held(row, SLOT, "created")
            ):
                self._slot(ident)
        if self._known.kept >= self.t1:
            for ident, wait in self.waits.items():
                known = self._known.rows.get((WAIT, ident))
                if known is not None and not wait.task:
                    wait.task = known[4 + COLUMN[WAIT]["task"]]

    def _held(self, row: RowList, kind: int, column: str) -> bool:
        return bool(row[4 + COLUMN[kind][column]] <= self.t1)

    def other_rows(self) -> Iterator[tuple[RowList, bool]]:
        """The rows at the end of the range, of all but tasks.

        The second value: whether those of the tasks come behind it.
        """
        for (kind, _), row in self._known.rows.items():
            if kind not in (TASK, WAIT, TIMER, JOB, SLOT):
                yield row, True
        for ident, values in self.slots.items():
            yield [SLOT, ident, 0, 0, *values], True
        for wait in self.waits.values():
            row = [WAIT, wait.id, int(bool(wait.ended)), 0] + [0] * len(COLUMN[WAIT])
            known = self._known.rows.get((WAIT, wait.id))
            if known is not None:
                row[3:] = known[3:]
            for column, value in (
                ("signal", wait.signal), ("sender", wait.sender), ("task", wait.task),
                ("since", wait.began), ("fired", wait.fired),
                ("sender_alive", int(not wait.gone)),
            ):  # fmt: skip
                row[4 + COLUMN[WAIT][column]] = value
            yield row, False
        for ident, (code, began, due) in self.timers.items():
            yield [TIMER, ident, 0, 0, code, due, began, 0], False
        for ident, (code, began, task) in self.jobs.items():
            yield [JOB, ident, 0, 0, code, task, began], False
