"""What happened when: a lane of segments for each task, from the records of events.

A :class:`Lanes` takes in records (ts, kind, loop, x, a, b) in the order in which they
were made, and keeps for each task when it ran, was ready and waited; for each loop when
it was in asyncio and when not; the emissions that were seen; and who woke or started
whom.  Times are ns of the process's monotonic clock.  It knows no Qt, and no names: ids
are those of the process.

Memory is bounded: beyond ``limit`` segments the oldest quarter is forgotten.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right, insort
from typing import Any, Iterable, Iterator, NamedTuple

from . import _tables
from .model import SLOT, TASK, WAIT

# Kinds of a task's segments; above WAITS, WAITS + n is a wait of kind n.
RUNS, READY, WAITS = range(3)
# Kinds of a loop's segments.
ASYNCIO, OUTSIDE, IDLE, NESTED = range(4)

# Segments of the states of a task in which it does not wait.
_STATE_SEGMENTS = {0: READY, 1: READY, 2: RUNS}

SIGNALS = 0  # key of the lane of emissions; a task's is its id, a loop's -number

_KIND = {name: number for number, (name, _) in _tables.RECORDS.items()}
_STEP_YIELDS, _STEP_ENDS = 1, 2
_WAITS_TURN = 1
_KIND_MAX = 255  # of a segment: they are kept as bytes
_REF_BITS = 56
_REF_ID = (1 << _REF_BITS) - 1


def _waits_for(wait_kind: int) -> int:
    """The kind of a segment of waiting, also for a number that nobody knows."""
    return WAITS + min(wait_kind, _KIND_MAX - WAITS)


class Span(NamedTuple):
    """What to draw of a lane: a segment, or several that are too short to be seen.

    :ivar kind: of the segment; of several: of the longest that is not a run.
    :ivar share: of the time from start to end that was spent running.
    :ivar segments: how many there are.
    """

    start: int
    end: int
    kind: int
    ref: int
    share: float
    segments: int


class Emission(NamedTuple):
    """A signal that started a slot call (``task`` runs it) or woke a wait."""

    ts: int
    signal: int
    task: int
    slot: int
    wait: int


class Flow(NamedTuple):
    """Something in one lane had an effect in another one."""

    ts: int
    source: int  # key of a lane
    target: int
    kind: str  # "created", "woke", "called", "emitted"


class Note(NamedTuple):
    """Something worth a sign at its moment."""

    ts: int
    end: int
    lane: int
    kind: str  # "mark", "span", "cancel", "failed", "sender destroyed", ...
    text: int  # intern id, or 0


class Lane:
    """The segments of a task or loop: they do not overlap and are in order."""

    __slots__ = (
        "born", "code", "creator", "ended", "ends", "key", "kind", "kinds", "ref",
        "refs", "runs", "since", "starts", "state",
    )  # fmt: skip

    def __init__(self, key: int, born: int = 0) -> None:
        self.key = key
        self.born = born  # 0: before the first record
        self.ended = 0  # 0: it goes on
        self.state = 0  # of a task that has ended
        self.code = self.creator = 0
        self.starts = array("q")
        self.ends = array("q")
        self.kinds = array("B")
        self.refs: list[int] = []
        self.runs = array("q")  # time spent running before the segment
        # The segment that goes on; kind -1: none.
        self.since, self.kind, self.ref = born, -1, 0

    def __len__(self) -> int:
        return len(self.starts)

    def add(self, start: int, end: int, kind: int, ref: int = 0) -> None:
        """Appends a segment."""
        # No clock is below 0: a duration that is longer than that is a made up one.
        floor = self.ends[-1] if self.ends else 0
        if start < floor:
            start = floor
        if end < start:
            return
        ran = 0
        if self.runs:
            ran = self.runs[-1]
            if self.kinds[-1] == RUNS:
                ran += self.ends[-1] - self.starts[-1]
        self.starts.append(start)
        self.ends.append(end)
        self.kinds.append(kind)
        self.refs.append(ref)
        self.runs.append(ran)

    def open(self, start: int, kind: int, ref: int = 0) -> None:
        """Begins a segment that goes on."""
        self.since, self.kind, self.ref = start, kind, ref

    def close(self, end: int) -> None:
        """Ends the segment that goes on."""
        if self.kind >= 0 and end > self.since:
            self.add(self.since, end, self.kind, self.ref)
        self.kind = -1

    def forget(self, before: int) -> int:
        """Drops the segments that ended before; returns how many."""
        n = bisect_right(self.ends, before)
        for column in (self.starts, self.ends, self.kinds, self.refs, self.runs):
            del column[:n]
        return n

    def exists(self, t0: int, t1: int) -> bool:
        """Whether there is anything of it in a range."""
        return self.born <= t1 and (not self.ended or self.ended >= t0)

    def acts(self, t0: int, t1: int) -> bool:
        """Whether it ran, or changed, in a range."""
        if t0 <= self.born <= t1 or (self.ended and t0 <= self.ended <= t1):
            return True
        i = bisect_right(self.ends, t0)
        if i < len(self.starts):
            # A wait that covers the whole range is no act.
            return self.starts[i] <= t1 and (
                self.kinds[i] == RUNS or self.ends[i] <= t1 or self.starts[i] >= t0
            )
        return self.kind == RUNS or (self.kind >= 0 and t0 <= self.since <= t1)

    def at(self, ts: int, now: int) -> Span | None:
        """The segment in which a moment is."""
        i = bisect_right(self.starts, ts) - 1
        if i >= 0 and ts < self.ends[i]:
            return self._span(i)
        if self.kind >= 0 and self.since <= ts <= now:
            return Span(self.since, now, self.kind, self.ref, 0.0, 1)
        return None

    def _span(self, i: int) -> Span:
        kind = self.kinds[i]
        share = 1.0 if kind == RUNS else 0.0
        return Span(self.starts[i], self.ends[i], kind, self.refs[i], share, 1)

    def time_of(self, kind: int, t0: int, t1: int) -> int:
        """Time spent in segments of a kind within a range, ns; looks at each."""
        total = 0
        i = bisect_right(self.ends, t0)
        while i < len(self.starts) and self.starts[i] < t1:
            if self.kinds[i] == kind:
                total += min(self.ends[i], t1) - max(self.starts[i], t0)
            i += 1
        return total

    def spans(self, t0: int, t1: int, resolution: int, now: int) -> Iterator[Span]:
        """What to draw of a range, first one first.

        :param resolution: ns; segments that are shorter are drawn together, in bins of
            that width that do not move with the range.  The work is bounded by the
            number of bins, not by that of segments.
        :param now: where the segment that goes on ends for now.
        """
        starts, ends = self.starts, self.ends
        n = len(starts)
        i = bisect_right(ends, t0)
        while i < n and starts[i] < t1:
            if ends[i] - starts[i] >= resolution:
                yield self._span(i)
                i += 1
                continue
            edge = starts[i] - starts[i] % resolution + resolution
            j = bisect_left(starts, edge, i + 1)
            if j - i > 1 and ends[j - 1] - starts[j - 1] >= resolution:
                j -= 1
            yield self._span(i) if j - i == 1 else self._together(i, j)
            i = j
        if self.kind >= 0 and self.since < t1 and now > self.since:
            share = 1.0 if self.kind == RUNS else 0.0
            yield Span(self.since, now, self.kind, self.ref, share, 1)

    def _together(self, i: int, j: int) -> Span:
        start, end = self.starts[i], self.ends[j - 1]
        ran = self.runs[j - 1] - self.runs[i]
        if self.kinds[j - 1] == RUNS:
            ran += end - self.starts[j - 1]
        kind, ref, longest = RUNS, 0, -1
        for k in range(i, min(j, i + 8)):  # the first ones speak for the others
            length = self.ends[k] - self.starts[k]
            if self.kinds[k] != RUNS and length > longest:
                kind, ref, longest = self.kinds[k], self.refs[k], length
        return Span(start, end, kind, ref, ran / max(1, end - start), j - i)


class Lanes:
    """See above.

    :ivar tasks: id to lane.
    :ivar loops: number to lane.
    :ivar first: time of the first record, 0 before there is one; :ivar last: of the
        last one.
    :ivar version: grows with everything that is taken in.
    """

    def __init__(self, limit: int = 600_000) -> None:
        self.tasks: dict[int, Lane] = {}
        self.loops: dict[int, Lane] = {}
        self.emissions: list[Emission] = []
        self.flows: list[Flow] = []
        self.notes: list[Note] = []
        self.gaps: list[tuple[int, int, int]] = []  # from, to, count
        self.happened: list[tuple[int, int, int]] = []  # ts, kind, id: slots and waits
        self.first = self.last = self.version = 0
        self._limit = limit
        self._segments = 0
        self._missing = 0
        self._native: set[int] = set()  # loops without Qt
        self._take = {
            _KIND[name.upper()]: getattr(self, f"_{name}")
            for name in (
                "task_created", "task_step", "task_wake", "task_wait", "task_cancel",
                "task_ended", "task_destroyed", "task_unretrieved", "slot_called",
                "slot_ended", "slot_refused", "slot_registered", "wait_began",
                "wait_fired", "wait_ended", "sender_destroyed", "callback_failed",
                "loop_stopped", "loop_closed", "turn", "idle", "nested_left",
                "modal_left", "mark", "span_began", "span_ended",
            )
        }  # fmt: skip
        self._spans: dict[int, tuple[int, int, int]] = {}
        # Called as listener(kind, loop, start, end, lag): see Loads.take().
        self.listeners: list[Any] = []

    def know(self, row: Any) -> None:
        """Takes in the row of a task that goes on, before its records: there may be
        none, because it has waited longer than they are kept."""
        if row.id in self.tasks or row.is_over:
            return
        lane = self.tasks[row.id] = Lane(row.id, row["created"])
        lane.code, lane.creator = row["code"], row["creator"]
        kind = _STATE_SEGMENTS.get(row.state, _waits_for(row["wait_kind"]))
        lane.open(row["changed"] or row["created"], kind, row["wait_ref"])

    def gap(self, count: int) -> None:
        """Records are missing between the last one and the next one."""
        self._missing += count

    def feed(self, records: Iterable[Any]) -> None:
        """Takes in records, in the order in which they were made."""
        take = self._take
        for ts, kind, loop, x, a, b in records:
            if not self.first:
                self.first = ts
            if self._missing:
                if self.last:
                    self.gaps.append((self.last, ts, self._missing))
                self._missing = 0
            if ts > self.last:
                self.last = ts
            handler = take.get(kind)
            if handler is not None:
                handler(ts, loop, x, a, b)
        self.version += 1
        if self._segments > self._limit:
            self._forget()

    def _forget(self) -> None:
        """Drops about a quarter of what is kept, the oldest."""
        ends = sorted(
            end for lane in self._all() for end in lane.ends[:: 1 + len(lane) // 64]
        )
        before = ends[len(ends) // 4] if ends else 0
        for lane in self._all():
            lane.forget(before)
        for key, lane in list(self.tasks.items()):
            if lane.ended and lane.ended < before:
                del self.tasks[key]
        for kept in (self.emissions, self.flows, self.notes, self.happened):
            del kept[: bisect_left(kept, (before,))]
        self.gaps = [gap for gap in self.gaps if gap[1] >= before]
        self._segments = sum(map(len, self._all()))
        self.first = max(self.first, before)

    def _all(self) -> Iterator[Lane]:
        yield from self.tasks.values()
        yield from self.loops.values()

    # --- questions

    def between(self, kept: list[Any], t0: int, t1: int) -> list[Any]:
        """Of emissions, flows, notes or what happened: those of a range."""
        return kept[bisect_left(kept, (t0,)) : bisect_left(kept, (t1 + 1,))]

    def active(self, t0: int, t1: int) -> set[tuple[int, int]]:
        """The (kind, id) of tasks, slots and waits to which something happened."""
        found = {
            (kind, ident) for _, kind, ident in self.between(self.happened, t0, t1)
        }
        found.update(
            (TASK, key) for key, lane in self.tasks.items() if lane.acts(t0, t1)
        )
        return found

    # --- records

    def _lane(self, task: int, ts: int) -> Lane:
        lane = self.tasks.get(task)
        if lane is None:
            lane = self.tasks[task] = Lane(task)
        return lane

    def _count(self) -> None:
        self._segments += 1

    def _tell(
        self, kind: int, loop: int, start: int, end: int, lag: bool = False
    ) -> None:
        for listener in self.listeners:
            listener(kind, loop, start, end, lag)

    def _task_created(self, ts: int, loop: int, x: int, a: int, b: int) -> None:
        lane = self.tasks[a] = Lane(a, ts)
        lane.code, lane.creator = x, b
        lane.open(ts, READY)
        if b >> _REF_BITS == TASK:
            self.flows.append(Flow(ts, b & _REF_ID, a, "created"))

    def _task_step(self, ts: int, loop: int, x: int, a: int, b: int) -> None:
        lane = self._lane(a, ts)
        start = ts - b
        if lane.kind == READY and start > lane.since:
            self._tell(READY, loop, lane.since, start, True)
        if lane.kind >= 0:
            lane.close(start)
            self._count()
        lane.add(start, ts, RUNS)
        self._count()
        if x == _STEP_YIELDS:
            lane.open(ts, READY)
        elif x != _STEP_ENDS:
            lane.open(ts, WAITS)

    def _task_wait(self, ts: int, loop: int, x: int, a: int, b: int) -> None:
        lane = self._lane(a, ts)
        kind = _waits_for(x)
        if lane.kind >= WAITS:
            lane.kind, lane.ref = kind, b
        elif lane.kind < 0:
            lane.open(ts, READY if x == _WAITS_TURN else kind, b)

    def _task_wake(self, ts: int, loop: int, x: int, a: int, b: int) -> None:
        lane = self._lane(a, ts)
        if lane.kind != READY:
            if lane.kind >= 0:
                lane.close(ts)
                self._count()
            lane.open(ts, READY)
        cause, ident = b >> _REF_BITS, b & _REF_ID
        if cause == TASK and ident != a:
            self.flows.append(Flow(ts, ident, a, "woke"))
        elif cause == WAIT:
            self.flows.append(Flow(ts, SIGNALS, a, "emitted"))

    def _task_cancel(self, ts: int, loop: int, x: int, a: int, b: int) -> None:
        self.notes.append(Note(ts, ts, a, "cancel", 0))
        if b >> _REF_BITS == TASK and b & _REF_ID != a:
            self.flows.append(Flow(ts, b & _REF_ID, a, "cancelled"))

    def _task_ended(self, ts: int, loop: int, x: int, a: int, b: int) -> None:
        lane = self._lane(a, ts)
        lane.close(ts)
        lane.ended, lane.state = ts, x
        if b:
            self.notes.append(Note(ts, ts, a, "failed", b))

    def _task_destroyed(self, ts: int, loop: int, x: int, a: int, b: int) -> None:
        self._task_ended(ts, loop, 8, a, 0)
        self.notes.append(Note(ts, ts, a, "destroyed", 0))

    def _task_unretrieved(self, ts: int, loop: int, x: int, a: int, b: int) -> None:
        self.notes.append(Note(ts, ts, a, "never retrieved", b))

    def _slot_registered(self, ts: int, loop: int, x: int, a: int, b: int) -> None:
        self.happened.append((ts, SLOT, a))

    def _slot_called(self, ts: int, loop: int, x: int, a: int, b: int) -> None:
        self.emissions.append(Emission(ts, x, a, b, 0))
        self.happened.append((ts, SLOT, b))
        lane = self.tasks.get(a)
        if lane is not None and lane.creator >> _REF_BITS == TASK:
            # Who emitted created the task; the emission is between them.
            creator = lane.creator & _REF_ID
            last = self.flows[-1] if self.flows else None
            if last is not None and last[1:] == (creator, a, "created"):
                self.flows.pop()
            self.flows.append(Flow(ts, creator, SIGNALS, "emitted"))
        self.flows.append(Flow(ts, SIGNALS, a, "called"))

    def _slot_ended(self, ts: int, loop: int, x: int, a: int, b: int) -> None:
        self.happened.append((ts, SLOT, b))

    def _slot_refused(self, ts: int, loop: int, x: int, a: int, b: int) -> None:
        self.happened.append((ts, SLOT, a))
        self.emissions.append(Emission(ts, 0, 0, a, 0))
        self._count()

    def _wait_began(self, ts: int, loop: int, x: int, a: int, b: int) -> None:
        self.happened.append((ts, WAIT, a))

    def _wait_fired(self, ts: int, loop: int, x: int, a: int, b: int) -> None:
        self.happened.append((ts, WAIT, a))
        self.emissions.append(Emission(ts, 0, 0, 0, a))
        self._count()

    def _wait_ended(self, ts: int, loop: int, x: int, a: int, b: int) -> None:
        self.happened.append((ts, WAIT, a))

    def _sender_destroyed(self, ts: int, loop: int, x: int, a: int, b: int) -> None:
        self.happened.append((ts, WAIT, a))
        self.notes.append(Note(ts, ts, SIGNALS, "sender destroyed", 0))

    def _callback_failed(self, ts: int, loop: int, x: int, a: int, b: int) -> None:
        self.notes.append(Note(ts, ts, -loop, "callback failed", a))

    def _loop_add(self, kind: int, loop: int, start: int, end: int) -> None:
        lane = self.loops.get(loop)
        if lane is None:
            lane = self.loops[loop] = Lane(-loop)
        lane.kind = -1
        lane.add(start, end, kind)
        self._count()
        self._tell(kind, loop, start, end)

    def _turn(self, ts: int, loop: int, x: int, a: int, b: int) -> None:
        began = ts - b
        if a:
            self._loop_add(OUTSIDE, loop, began - a, began)
        self._loop_add(ASYNCIO, loop, began, ts)
        # Until the next turn; what that tells replaces it.
        native = loop in self._native
        self.loops[loop].open(ts, IDLE if native else OUTSIDE)

    def _idle(self, ts: int, loop: int, x: int, a: int, b: int) -> None:
        self._native.add(loop)
        self._loop_add(IDLE, loop, ts - a, ts)

    def _loop_stopped(self, ts: int, loop: int, x: int, a: int, b: int) -> None:
        lane = self.loops.get(loop)
        if lane is not None:
            lane.close(ts)

    _loop_closed = _loop_stopped

    def _nested_left(self, ts: int, loop: int, x: int, a: int, b: int) -> None:
        insort(self.notes, Note(ts - a, ts, -loop, "nested loop", 0))

    def _modal_left(self, ts: int, loop: int, x: int, a: int, b: int) -> None:
        insort(self.notes, Note(ts - a, ts, -loop, "modal", 0))

    def _mark(self, ts: int, loop: int, x: int, a: int, b: int) -> None:
        self.notes.append(Note(ts, ts, a or -loop, "mark", x))

    def _span_began(self, ts: int, loop: int, x: int, a: int, b: int) -> None:
        self._spans[a] = (ts, x, b or -loop)

    def _span_ended(self, ts: int, loop: int, x: int, a: int, b: int) -> None:
        began, name, lane = self._spans.pop(a, (ts, x, b or -loop))
        insort(self.notes, Note(began, ts, lane, "span", name))
