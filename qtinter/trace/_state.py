"""One pass over the records of a range: what was so at its end, and what it adds up to.

The rows are those of proto/entities.def; a task's has some more columns of ours behind
them.  Memory grows with the tasks, slot calls, waits and spans of the range, not with
its records.
"""

from __future__ import annotations

import heapq
from typing import Any, Dict, Iterable, List, Tuple

from ..inspect import _tables
from ..inspect.model import (
    JOB,
    LOOP,
    SLOT,
    TASK,
    TIMER,
    WAIT,
    Process,
    is_final,
)
from ._source import Record, RowList, Source

Values = List[Any]
Rows = Dict[Tuple[int, int], RowList]

KIND = {name: number for number, (name, _) in _tables.RECORDS.items()}
TASK_STATE = {name: number for number, name in _tables.TASK_STATES.items()}
COLUMN = {
    kind: {name: i for i, (name, _) in enumerate(columns)}
    for kind, (_, columns) in _tables.ENTITIES.items()
}

_TASK = COLUMN[TASK]
_WIDTH = len(_TASK)
# Ours, behind the columns of a task: its state and loop, whether it was created in the
# range, when it ended, and since when it has been ready (0: it is not).
STATE, LOOP_NUMBER, NEW, ENDED, READY = range(_WIDTH, _WIDTH + 5)
_EXTRA = 5
# What a row says of now, and not of what the task is.
_OF_NOW = (
    "changed", "woken_by", "wait_kind", "wait_ref", "wait_detail", "cancels",
    "canceller", "exception", "where",
)  # fmt: skip
_OF_RANGE = ("busy", "scheduled", "max_step", "steps", "wakes", "self_wakes")
LONGEST_KEPT = 100  # steps

_REF_TASK = TASK << 56


class Histogram:
    """Durations in ns, to 1.6 %; the longest exactly."""

    __slots__ = ("_counts", "count", "longest", "total")

    def __init__(self) -> None:
        self.count = self.total = self.longest = 0
        self._counts: dict[int, int] = {}

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


def known_rows(source: Source) -> tuple[Rows, int]:
    """The last row that was kept of each entity, and when the last ones were kept."""
    rows: Rows = {}
    last = 0
    for ts, keyframe in source.keyframes():
        last = ts
        for row in keyframe:
            rows[row[0], row[1]] = row
    for row in source.ended():
        rows[row[0], row[1]] = row
    for row in rows.values():
        # Of a version that had fewer columns.
        missing = 4 + len(COLUMN.get(row[0], ())) - len(row)
        if missing > 0:
            row.extend([0] * missing)
    return rows, last


class Pass:
    """What the records of a source from t0 to t1 say.

    :param known: rows of the source, from :func:`known_rows`.
    :param kept: when the last of them were kept.
    """

    def __init__(
        self, source: Source, known: Rows, kept: int, t0: int | None, t1: int | None
    ) -> None:
        self.t0 = source.info["begin"] if t0 is None else t0
        self.t1 = source.info["last"] if t1 is None else t1
        self._known = known
        self.count = 0
        self.tasks: dict[int, Values] = {}
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
        self.step_times = Histogram()
        self.lags = Histogram()
        self.lateness = Histogram()
        self.longest: list[StepOf] = []
        self.lag_most = (0, 0, 0)  # ns, since when it was ready, task
        self.qt_ns = self.asyncio_ns = self.idle_ns = self.turns = 0
        self.alive_most = 0
        self._live: dict[int, int] = {}  # pending calls by slot
        self._pending: dict[int, Call] = {}  # by task
        self._open: dict[int, Block] = {}  # by number
        self._run(source.records(t0, t1))
        self._finish(kept)

    # --- the pass

    def _run(self, records: Iterable[Record]) -> None:
        tasks, lags, step_times = self.tasks, self.lags, self.step_times
        add_lag, add_step = lags.add, step_times.add
        busy, max_step, steps = _TASK["busy"], _TASK["max_step"], _TASK["steps"]
        wakes, self_wakes = _TASK["wakes"], _TASK["self_wakes"]
        woken_by, changed = _TASK["woken_by"], _TASK["changed"]
        wait_kind, wait_ref = _TASK["wait_kind"], _TASK["wait_ref"]
        scheduled = _TASK["scheduled"]
        step, wake, wait = KIND["TASK_STEP"], KIND["TASK_WAKE"], KIND["TASK_WAIT"]
        created, ended = KIND["TASK_CREATED"], KIND["TASK_ENDED"]
        callback, turn = KIND["CALLBACK"], KIND["TURN"]
        ready, waiting = TASK_STATE["ready"], TASK_STATE["waiting"]
        longest = self.longest
        threshold = 0
        rest = {
            KIND[name]: getattr(self, "_" + name.lower())
            for name in KIND
            if hasattr(self, "_" + name.lower())
        }
        alive = count = 0
        ts = 0
        for _, ts, kind, loop, x, a, b in records:
            count += 1
            if kind == step:
                values = tasks.get(a)
                if values is None:
                    values = self._task(a, loop)
                values[busy] += b
                values[steps] += 1
                if b > values[max_step]:
                    values[max_step] = b
                since = values[READY]
                if since:
                    lag = ts - b - since
                    if lag < 0:
                        lag = 0
                    values[scheduled] += lag
                    if lag > lags.longest:
                        self.lag_most = (lag, since, a)
                    add_lag(lag)
                    values[READY] = 0
                add_step(b)
                if b > threshold:
                    threshold = _keep(longest, (b, ts, a, 0, loop))
                values[changed] = ts
                if x == 1:  # it yielded
                    values[STATE] = ready
                    values[READY] = ts
                elif x == 0:
                    values[STATE] = waiting
            elif kind == wake:
                values = tasks.get(a)
                if values is None:
                    values = self._task(a, loop)
                values[wakes] += 1
                if b == _REF_TASK | a:
                    values[self_wakes] += 1
                values[woken_by] = b
                values[STATE] = ready
                values[READY] = values[changed] = ts
            elif kind == wait:
                values = tasks.get(a)
                if values is None:
                    values = self._task(a, loop)
                values[wait_kind] = x
                values[wait_ref] = b
                if b >> 56 == WAIT:
                    signal_wait = self.waits.get(b & 0xFFFFFFFFFFFFFF)
                    if signal_wait is not None:
                        signal_wait.task = a
            elif kind == callback:
                add_step(a)
                if a > threshold:
                    threshold = _keep(longest, (a, ts, 0, x, loop))
            elif kind == created:
                self._task_created(ts, loop, x, a, b)
                alive += 1
                if alive > self.alive_most:
                    self.alive_most = alive
            elif kind == ended:
                values = tasks.get(a)
                if values is None:
                    values = self._task(a, loop)
                values[STATE] = x
                values[_TASK["exception"]] = b
                values[ENDED] = values[changed] = ts
                values[READY] = 0
                alive -= values[NEW]
            elif kind == turn:
                self.turns += 1
                self.qt_ns += a
                self.asyncio_ns += b
            else:
                handler = rest.get(kind)
                if handler is not None:
                    handler(ts, loop, x, a, b)
        self.count = count
        self.last = ts

    def _task(self, ident: int, loop: int) -> Values:
        """A task of which this is the first record in the range."""
        row = self._known.get((TASK, ident))
        if row is None:
            values: Values = [0] * (_WIDTH + _EXTRA)
        else:
            values = [*row[4 : 4 + _WIDTH]]
            values += [0] * (_WIDTH + _EXTRA - len(values))
            for column in _OF_NOW + _OF_RANGE:
                values[_TASK[column]] = 0
        values[STATE] = TASK_STATE["running"]
        values[LOOP_NUMBER] = loop
        self.tasks[ident] = values
        return values

    def _task_created(self, ts: int, loop: int, x: int, a: int, b: int) -> None:
        values = self._task(a, loop)
        values[_TASK["code"]] = x
        values[_TASK["created"]] = values[_TASK["changed"]] = ts
        values[_TASK["creator"]] = b
        values[STATE] = TASK_STATE["ready"]
        values[READY] = ts
        values[NEW] = 1
        if b >> 56 == SLOT:
            values[_TASK["slot"]] = b & 0xFFFFFFFFFFFFFF
            values[_TASK["role"]] = 1

    def _task_cancel(self, ts: int, loop: int, x: int, a: int, b: int) -> None:
        values = self.tasks.get(a) or self._task(a, loop)
        values[_TASK["cancels"]] += 1
        values[_TASK["canceller"]] = b
        self.cancelled.setdefault(a, ts)

    def _loop_closed(self, ts: int, loop: int, x: int, a: int, b: int) -> None:
        self.closed.append((ts, loop, x))

    def _task_destroyed(self, ts: int, loop: int, x: int, a: int, b: int) -> None:
        values = self.tasks.get(a) or self._task(a, loop)
        values[STATE] = TASK_STATE["destroyed"]
        values[ENDED] = values[_TASK["changed"]] = ts

    def _task_unretrieved(self, ts: int, loop: int, x: int, a: int, b: int) -> None:
        self.unretrieved.append((ts, a, b))

    def _task_named(self, ts: int, loop: int, x: int, a: int, b: int) -> None:
        values = self.tasks.get(a) or self._task(a, loop)
        values[_TASK["name"]] = x

    def _slot(self, ident: int) -> Values:
        values = self.slots.get(ident)
        if values is None:
            row = self._known.get((SLOT, ident))
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
        task = self.tasks.get(a)
        # The call has been recorded after its first step.
        began = task[_TASK["created"]] if task is not None and task[NEW] else ts
        if task is not None:
            task[_TASK["slot"]] = b
            task[_TASK["role"]] = 1
        call = Call(b, a, began, x, live)
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
            row = self._known.get((WAIT, ident))
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

    def _idle(self, ts: int, loop: int, x: int, a: int, b: int) -> None:
        self.idle_ns += a

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

    def _finish(self, kept: int) -> None:
        """Takes from the rows what the records do not say, where it held at t1."""
        self.longest.sort(reverse=True)
        for (kind, ident), row in self._known.items():
            if kind == TASK:
                self._finish_task(ident, row, kept)
            elif kind == WAIT and ident not in self.waits:
                if not is_final(WAIT, row[2]) and self._held(row, WAIT, "since"):
                    self._wait(ident)
            elif (
                kind == SLOT
                and not is_final(SLOT, row[2])
                and self._held(row, SLOT, "created")
            ):
                self._slot(ident)
        if kept >= self.t1:
            for ident, wait in self.waits.items():
                known = self._known.get((WAIT, ident))
                if known is not None and not wait.task:
                    wait.task = known[4 + COLUMN[WAIT]["task"]]

    def _held(self, row: RowList, kind: int, column: str) -> bool:
        return bool(row[4 + COLUMN[kind][column]] <= self.t1)

    def _finish_task(self, ident: int, row: RowList, kept: int) -> None:
        values = self.tasks.get(ident)
        if row[4 + _TASK["changed"]] > self.t1 or kept < self.t0:
            return
        if values is None:
            if is_final(TASK, row[2]):
                return
            values = self._task(ident, row[3])
        if values[ENDED] or row[4 + _TASK["changed"]] < values[_TASK["changed"]]:
            return  # the records know better
        for column in _OF_NOW:
            place = 4 + _TASK[column]
            if place < len(row):
                values[_TASK[column]] = row[place]
        values[STATE] = row[2]
        if is_final(TASK, row[2]):
            values[ENDED] = values[_TASK["changed"]]

    def process(self, info: dict[str, Any], entries: dict[int, Any]) -> Process:
        """The state at the end of the range, as tools show states."""
        process = Process(dict(info, last=self.t1))
        process.alive = False
        process.entries = entries
        for (kind, ident), row in self._known.items():
            if kind not in (TASK, WAIT, TIMER, JOB, SLOT):
                put = process.put(row)
                if kind == LOOP and put.is_over and row[3] == 0:
                    process.remove(kind, ident)
        for ident, values in self.slots.items():
            process.put([SLOT, ident, 0, 0, *values])
        for ident, values in self.tasks.items():
            process.put(
                [TASK, ident, values[STATE], values[LOOP_NUMBER], *values[:_WIDTH]]
            )
        for wait in self.waits.values():
            row = [WAIT, wait.id, int(bool(wait.ended)), 0] + [0] * len(COLUMN[WAIT])
            known = self._known.get((WAIT, wait.id))
            if known is not None:
                row[3:] = known[3:]
            for column, value in (
                ("signal", wait.signal), ("sender", wait.sender), ("task", wait.task),
                ("since", wait.began), ("fired", wait.fired),
                ("sender_alive", int(not wait.gone)),
            ):  # fmt: skip
                row[4 + COLUMN[WAIT][column]] = value
            process.put(row)
        for ident, (code, began, due) in self.timers.items():
            process.put([TIMER, ident, 0, 0, code, due, began, 0])
        for ident, (code, began, task) in self.jobs.items():
            process.put([JOB, ident, 0, 0, code, task, began])
        return process


def _keep(longest: list[StepOf], step: StepOf) -> int:
    """Keeps a step that may be among the longest; what the next must exceed."""
    if len(longest) < LONGEST_KEPT:
        heapq.heappush(longest, step)
        return 0 if len(longest) < LONGEST_KEPT else longest[0][0]
    heapq.heapreplace(longest, step)
    return longest[0][0]
