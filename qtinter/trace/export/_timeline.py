"""A recording as slices, instants, counters and arrows on tracks.

What viewers of timelines have in common; the modules beside this one write it in the
format of one of them each.
"""

from __future__ import annotations

from functools import partial
from operator import attrgetter
from typing import (
    TYPE_CHECKING,
    Any,
    Callable,
    Dict,
    Iterator,
    NamedTuple,
    Tuple,
    Union,
)

from ...inspect import _tables
from ...inspect.model import ENDED_TASK_STATES, LOOP, SLOT, TASK, WAIT, Row
from .._state import KIND
from ._words import NOTABLE, Words

if TYPE_CHECKING:
    from .._source import Gap, Note, Record, RowList, Source

Args = Dict[str, Union[str, int, float, bool]]
# Arrows: their number, and when they leave (from which slice or instant, has them).
Flows = Tuple[Tuple[int, int], ...]

READY, RUNNING, WAITING, CANCELLING = 1, 2, 3, 4
_MAX_PENDING = 50_000
_BATCH = 500
_REF_ID = (1 << 56) - 1


class Track:
    """A line of a timeline.

    :ivar number: counts from 1.
    :ivar kind: ``"loop"``, ``"modal"``, ``"task"``, ``"span"``, or for counters
        ``"ready"``, ``"timers"``, ``"lag"``.
    :ivar loop: number of the loop that it belongs to.
    :ivar ident: of the task; depth of a modal function; which of the spans' tracks.
    """

    __slots__ = ("ident", "kind", "loop", "name", "number", "title")

    def __init__(self, number: int, kind: str, loop: int, ident: int, name: str):
        self.number = number
        self.kind = kind
        self.loop = loop
        self.ident = ident
        self.name = name
        self.title = ""  # more about it


class Slice(NamedTuple):
    """Something that takes time.  Those of a track come parents first, in order."""

    track: Track
    start: int
    end: int
    name: str
    category: str
    args: Args
    sources: Flows  # arrows that begin here
    targets: Tuple[int, ...]  # arrows that end at its start


class Instant(NamedTuple):
    """Something that happens."""

    track: Track
    ts: int
    name: str
    category: str
    args: Args
    sources: Flows


class Count(NamedTuple):
    """The value of a counter from here on."""

    track: Track
    ts: int
    value: int


Item = Union[Slice, Instant, Count]
# Made of a tuple: there are millions of them.
_slice = partial(tuple.__new__, Slice)
_instant = partial(tuple.__new__, Instant)
_count = partial(tuple.__new__, Count)


class _Node:
    """Of a loop's track, until those around it are known."""

    __slots__ = ("args", "category", "end", "instant", "name", "sources", "start")

    def __init__(
        self, start: int, end: int, name: str, category: str, instant: bool = False
    ) -> None:
        self.start = start
        self.end = end
        self.name = name
        self.category = category
        self.args: Args = {}
        self.sources: Flows = ()
        self.instant = instant


def _as_nested(node: _Node) -> tuple[int, int]:
    return node.start, -node.end


class _Loop:
    __slots__ = (
        "counts", "fired", "floor", "flows", "pending", "ready", "timers", "track",
    )  # fmt: skip

    def __init__(self, track: Track) -> None:
        self.track = track
        self.counts: tuple[Track, Track] | None = None  # of lag, of ready tasks
        self.floor = 0  # what is before this has been told
        self.pending: list[_Node] = []
        self.flows: dict[int, Flows] = {}  # by ref of the callback that they leave
        self.fired: dict[int, _Node] = {}  # by ref of a signal wait or an asyncslot
        self.ready = 0
        self.timers = 0


class _Task:
    __slots__ = (
        "args", "done", "instants", "loop", "since", "sources", "state", "targets",
        "text", "track",
    )  # fmt: skip

    def __init__(self, loop: int) -> None:
        self.loop = loop
        self.track: Track | None = None
        self.state = 0
        self.since = 0  # in that state
        self.text = ""  # what it waits for
        self.args: Args = {}  # of the wait
        self.sources: Flows = ()  # arrows that its current step sends off
        self.targets: tuple[int, ...] = ()  # arrows to its next step
        self.instants: list[Instant] = []
        self.done = False


class Timeline:
    """Walks through a recording once.

    :param source: what was recorded.
    :param t0: leave out what is before; ns.
    :param t1: leave out what is after; ns.
    """

    def __init__(
        self, source: Source, t0: int | None = None, t1: int | None = None
    ) -> None:
        self.source = source
        self.words = Words(source)
        self.watch: Callable[[Record], None] | None = None  # is shown each record
        self.begin = 0
        self.end = 0
        self._known_since = 0  # before it, tasks that are not known may have been
        self._is_lossy = False  # since the last keyframe
        self._range = (t0, t1)
        self._out: list[Item] = []
        self._tracks: dict[tuple[str, int, int], Track] = {}
        self._made = 0
        self._loops: dict[int, _Loop] = {}
        self._tasks: dict[int, _Task] = {}
        self._flows = 0
        self._modal: dict[tuple[int, int], tuple[int, str]] = {}
        self._spans: dict[int, tuple[int, int, str, int]] = {}
        self._span_lanes: list[bool] = []
        self._notes: list[Note] = []
        self._gaps: list[Gap] = []
        self._keyframes: Iterator[tuple[int, list[RowList]]] = iter(())
        self._keyframe: tuple[int, list[RowList]] | None = None
        self._last_keyframe: tuple[int, list[RowList]] | None = None
        self._handlers: dict[int, Callable[[int, int, int, int, int], None]] = {
            number: getattr(self, f"_on_{name.lower()}")
            for name, number in KIND.items()
            if hasattr(self, f"_on_{name.lower()}")
        }

    def items(self) -> Iterator[Item]:
        """What happened; in order on each track, not across tracks.

        A slice comes when it has ended, with the arrows that leave it.
        """
        for batch in self.batches():
            yield from batch

    def batches(self) -> Iterator[list[Item]]:
        """The same in lists, which are the caller's until the next one."""
        t0, _ = self._range
        for batch in self._batches():
            if t0 is None:
                yield batch
            else:
                yield list(self._clipped(batch, t0))
        if t0 is not None:
            self.begin = max(self.begin, t0)

    def _clipped(self, items: list[Item], t0: int) -> Iterator[Item]:
        """Those that are not over at t0, from there on."""
        for item in items:
            if not isinstance(item, Slice):
                if item.ts >= t0:
                    yield item
            elif item.start >= t0:
                yield item
            elif item.end > t0:
                yield item._replace(start=t0)

    def _batches(self) -> Iterator[list[Item]]:
        source, (t0, t1) = self.source, self._range
        # The states at t0 are those of the last keyframe before it, and what followed.
        first = None
        for ts in self.words.keyframe_times if t0 is not None else ():
            first = ts if ts <= (t0 or 0) else first
        self._keyframes = source.keyframes()
        self._keyframe = next(self._keyframes, None)
        self._notes = sorted(source.notes, key=lambda note: note.ts, reverse=True)
        self._gaps = sorted(source.gaps, key=lambda gap: gap.first, reverse=True)
        begun = False
        handlers, words, out = self._handlers, self.words, self._out
        batch = _BATCH if self.watch is None else 0
        for record in source.records(first, t1):
            number, ts, kind, loop, x, a, b = record
            if not begun:
                self._begin(ts)
                begun = True
            if kind in NOTABLE or ts >= words.look_at:
                words.learn(record)
            if self._gaps and self._gaps[-1].first <= number:
                self._pass_gaps(number, ts)
            if self._keyframe is not None and self._keyframe[0] <= ts:
                self._pass_keyframes(ts)
            if self._notes and self._notes[-1].ts <= ts:
                self._pass_notes(ts)
            if self.watch is not None:
                self.watch(record)
            handler = handlers.get(kind)
            if handler is not None:
                handler(ts, loop, x, a, b)
            if ts > self.end:
                self.end = ts
            if len(out) > batch:
                yield out
                out.clear()
        if not begun:
            self._begin(first or source.info.get("mono0", 0))
        self._finish(t1)
        yield out
        out.clear()

    # --- begin and end

    def _begin(self, ts: int) -> None:
        """The state at the first record, of the last keyframe before it."""
        self.begin = self.end = self._known_since = ts
        while self._keyframe is not None and self._keyframe[0] <= ts:
            self._last_keyframe = self._keyframe
            self._keyframe = next(self._keyframes, None)
        if self._last_keyframe is not None:
            self.begin = self._known_since = self._last_keyframe[0]
            self._take_state(*self._last_keyframe)

    def _pass_keyframes(self, ts: int) -> None:
        while self._keyframe is not None and self._keyframe[0] <= ts:
            self._take_state(*self._keyframe)
            self._last_keyframe = self._keyframe
            self._keyframe = next(self._keyframes, None)

    def _take_state(self, ts: int, rows: list[RowList]) -> None:
        """What a keyframe tells of tasks and loops that no record has told."""
        live = set()
        for kind, ident, state, number, *columns in rows:
            row = Row(kind, ident, state, number, columns)
            if kind == LOOP:
                self._loop(number).timers = row["timers"]
            if kind != TASK or state in ENDED_TASK_STATES:
                continue
            live.add(ident)
            if ident not in self._tasks and row["changed"] <= ts:
                self._adopt(row)
        if not self._is_lossy:
            return
        self._is_lossy = False
        for ident in [i for i in self._tasks if i not in live]:
            # Its end is among the records that are lost.
            task = self._tasks[ident]
            if task.since < ts:
                self._end_state(ident, task, min(ts, self.end or ts))
                self._drop(ident)

    def _adopt(self, row: Row) -> None:
        """A task of which no record has told."""
        task = self._tasks[row.id] = _Task(row.loop)
        task.since = max(self._known_since, row["changed"])
        if row.state in (WAITING, CANCELLING):
            task.state = WAITING
            task.text = self.words.wait_words(row["wait_kind"], row["wait_ref"])
        elif row.state != RUNNING:
            self._make_ready(task, task.since)

    def _finish(self, t1: int | None) -> None:
        """What goes on when the recording ends."""
        last = self.source.info.get("last", self.end)
        if t1 is None:
            self.end = max(self.end, last)
            self._pass_keyframes(self.end)
            for number in list(self._loops):
                self._show_current(number)
        else:
            self.end = max(self.end, min(t1, last))
        if self._gaps:
            self._pass_gaps(1 << 63, self.end)
        self._pass_notes(self.end)
        for ident, task in self._tasks.items():
            task.args["pending"] = True
            self._end_state(ident, task, self.end)
        for (number, depth), (began, name) in self._modal.items():
            self._modal_slice(number, depth, began, self.end, name, {"pending": True})
        for span in list(self._spans):
            self._end_span(span, self.end, {"pending": True})
        for loop in self._loops.values():
            self._flush(loop)

    def _show_current(self, number: int) -> None:
        """What runs at the end, by the last state of the loop."""
        if self._last_keyframe is None:
            return
        ts, rows = self._last_keyframe
        for row in rows:
            if row[0] != LOOP or row[3] != number:
                continue
            state = self.words.rows[LOOP, row[1]]
            current, since = state["current"], state["busy_since"]
            if not current or not since or ts < self.end:
                return
            loop = self._loop(number)
            text = self.words.describe(current)
            node = _Node(max(since, self.begin), self.end, text, "step")
            node.args["pending"] = True
            loop.pending.append(node)
            if current >> 56 == TASK and current & _REF_ID in self._tasks:
                task = self._tasks[current & _REF_ID]
                self._end_state(current & _REF_ID, task, node.start)
                task.state, task.since = RUNNING, node.start

    # --- tracks

    def _track(self, kind: str, loop: int, ident: int, name: str) -> Track:
        track = self._tracks.get((kind, loop, ident))
        if track is None:
            self._made += 1
            track = self._tracks[kind, loop, ident] = Track(
                self._made, kind, loop, ident, name
            )
        return track

    def _loop(self, number: int) -> _Loop:
        loop = self._loops.get(number)
        if loop is None:
            loop = _Loop(self._track("loop", number, 0, f"loop {number}"))
            self._loops[number] = loop
            for row in self.words.rows.values():
                if row.kind == LOOP and row.loop == number:
                    mode = _tables.LOOP_MODES.get(row["mode"], "")
                    host = self.words.text(row["host"])
                    loop.track.title = ", ".join(word for word in (mode, host) if word)
        return loop

    def _task(self, ident: int, loop: int) -> _Task:
        task = self._tasks.get(ident)
        if task is None:
            task = self._tasks[ident] = _Task(loop)
            task.since = self._known_since
        return task

    def _task_track(self, ident: int, task: _Task) -> Track:
        if task.track is None:
            name = f"{self.words.task_label(ident)} #{ident}"
            task.track = self._track("task", task.loop, ident, name)
            task.track.title = self.words.task_code(ident)
        return task.track

    def _drop(self, ident: int) -> None:
        task = self._tasks.pop(ident, None)
        if task is not None:
            self._tracks.pop(("task", task.loop, ident), None)
            if task.state == READY:
                self._loop(task.loop).ready -= 1

    # --- slices of tasks

    def _end_state(self, ident: int, task: _Task, ts: int) -> None:
        """The task is not any more in the state that it was in."""
        if ts > task.since:
            track = task.track or self._task_track(ident, task)
            sources: Flows = ()
            targets: tuple[int, ...] = ()
            if task.state == WAITING:
                name, category = f"waits for {task.text}", "wait"
            elif task.state == READY:
                name, category = "ready", "ready"
            else:
                name, category = "runs", "run"
                sources, targets = task.sources, task.targets
            if task.state:
                self._out.append(
                    _slice(
                        (
                            track, task.since, ts, name, category, task.args,
                            sources, targets,
                        )
                    )
                )  # fmt: skip
        task.args = {}
        task.since = max(ts, task.since)

    def _make_ready(self, task: _Task, ts: int) -> None:
        if task.state != READY:
            task.state = READY
            self._loop(task.loop).ready += 1
        task.since = ts

    def _on_task_created(self, ts: int, number: int, x: int, a: int, b: int) -> None:
        task = self._tasks[a] = _Task(number)
        self._make_ready(task, ts)
        if b >> 56 == SLOT:
            node = self._instant(
                number, ts, f"emission for {self.words.slot_text(b & _REF_ID)}", "slot"
            )
            task.targets = (self._flow_from(node),)
        else:
            self._cause(number, task, b, ts)
        if b:
            task.args["created_by"] = self.words.describe(b)

    def _on_task_wake(self, ts: int, number: int, x: int, a: int, b: int) -> None:
        task = self._task(a, number)
        if task.state == 0:
            task.state = WAITING
            task.text = self.words.wait_words(x, 0)
        by = self.words.describe(b)
        if task.state == WAITING:
            if by:
                task.args["woken_by"] = by
            self._end_state(a, task, ts)
        self._make_ready(task, ts)
        if by:
            task.args["woken_by"] = by
        self._cause(number, task, b, ts)

    def _on_task_cancel(self, ts: int, number: int, x: int, a: int, b: int) -> None:
        task = self._task(a, number)
        task.args["cancelled_by"] = self.words.describe(b) or "something unknown"

    def _on_task_step(self, ts: int, number: int, x: int, a: int, b: int) -> None:
        task = self._tasks.get(a) or self._task(a, number)
        loop = self._loops.get(number) or self._loop(number)
        why = _tables.STEP_ENDS.get(x, "")
        since = task.since
        start = max(ts - b, since, self.begin)
        if task.state == READY:
            loop.ready -= 1
            if loop.counts is None:
                loop.counts = (
                    self._track("lag", number, 0, "lag (ns)"),
                    self._track("ready", number, 0, "ready tasks"),
                )
            lag, ready = loop.counts
            self._out.append(_count((lag, start, max(0, start - since))))
            self._out.append(_count((ready, ts, loop.ready)))
        args: Args = {"then": why}
        if "woken_by" in task.args:
            args["woken_by"] = task.args["woken_by"]
        self._end_state(a, task, start)
        node = _Node(start, ts, self.words.task_label(a), "step")
        node.args = {"task": a, "then": why}
        self._add(loop, node)
        if ts > start:
            runs = (
                task.track or self._task_track(a, task), start, ts, "runs", "run", args,
                task.sources, task.targets,
            )  # fmt: skip
            self._out.append(_slice(runs))
        task.args = {}
        task.since = max(ts, start)
        if task.instants:
            task.instants.sort(key=attrgetter("ts"))
            self._out += task.instants
            task.instants = []
        task.sources = task.targets = ()
        task.state = 0
        if why == "yields":  # its TASK_WAKE comes at the same time
            self._make_ready(task, ts)

    def _on_task_wait(self, ts: int, number: int, x: int, a: int, b: int) -> None:
        task = self._task(a, number)
        if task.state == READY:
            self._loop(number).ready -= 1
        task.state, task.since = WAITING, ts
        task.text = self.words.wait_words(x, b)
        task.args = {}
        row = self.words.rows.get((TASK, a))
        if row is not None and row["where"] and row["changed"] == ts:
            task.args["at"] = self.words.code_text(row["where"])

    def _on_task_ended(self, ts: int, number: int, x: int, a: int, b: int) -> None:
        task = self._task(a, number)
        state = _tables.TASK_STATES.get(x, str(x))
        exception = self.words.text(b)
        name = f"{state}: {exception}" if exception else state
        track = self._task_track(a, task)
        self._out.append(_instant((track, ts, name, "end", {}, ())))
        self._drop(a)

    def _on_task_destroyed(self, ts: int, number: int, x: int, a: int, b: int) -> None:
        task = self._task(a, number)
        self._end_state(a, task, ts)
        track = self._task_track(a, task)
        self._out.append(Instant(track, ts, "destroyed while pending", "end", {}, ()))
        self._drop(a)

    # --- arrows

    def _flow_from(self, node: _Node) -> int:
        self._flows += 1
        node.sources += ((self._flows, node.start),)
        return self._flows

    def _cause(self, number: int, task: _Task, by: int, ts: int) -> None:
        """An arrow from what runs now, or from a signal, to the task's next step."""
        kind = by >> 56
        if kind == TASK:
            waker = self._tasks.get(by & _REF_ID)
            if waker is None or waker is task:
                return
            self._flows += 1
            waker.sources += ((self._flows, ts),)
        elif kind in (SLOT, WAIT):
            loop = self._loop(number)
            node = loop.fired.get(by)
            if node is None:
                node = self._instant(number, ts, self.words.describe(by), "signal")
            self._flow_from(node)
        elif by:
            self._flows += 1
            flows = self._loop(number).flows
            flows[by] = (*flows.get(by, ()), (self._flows, ts))
        else:
            return
        task.targets += (self._flows,)

    # --- the loop's track

    def _add(self, loop: _Loop, node: _Node) -> None:
        loop.pending.append(node)
        if len(loop.pending) > _MAX_PENDING:
            self._flush(loop)

    def _instant(self, number: int, ts: int, name: str, category: str) -> _Node:
        node = _Node(ts, ts, name, category, instant=True)
        self._add(self._loop(number), node)
        return node

    def _flush(self, loop: _Loop) -> None:
        """Hand out what is pending, parents before what is in them."""
        nodes = loop.pending[::-1]
        nodes.sort(key=_as_nested)
        ends: list[int] = []  # of the slices around the current one
        for node in nodes:
            start = max(node.start, loop.floor)
            end = max(node.end, start)
            while ends and ends[-1] <= start:
                ends.pop()
            if ends:
                end = min(end, ends[-1])
            if node.instant:
                self._out.append(
                    Instant(
                        loop.track, start, node.name, node.category, node.args,
                        node.sources,
                    )
                )  # fmt: skip
                continue
            if end == start and node.end > node.start and not node.sources:
                continue  # all of it has been told
            ends.append(end)
            self._out.append(
                _slice(
                    (
                        loop.track, start, end, node.name, node.category, node.args,
                        node.sources, (),
                    )
                )
            )  # fmt: skip
        loop.floor = max([loop.floor] + [node.end for node in loop.pending])
        loop.pending.clear()
        loop.fired.clear()

    def _on_turn(self, ts: int, number: int, x: int, a: int, b: int) -> None:
        loop = self._loop(number)
        start = ts - b
        if a:
            began = max(start - a, loop.floor, self.begin)
            if began < start:
                loop.pending.append(_Node(began, start, "Qt", "qt"))
        node = _Node(max(start, self.begin), ts, "asyncio", "asyncio")
        node.args["callbacks"] = x
        loop.pending.append(node)
        self._flush(loop)
        loop.flows.clear()

    def _on_idle(self, ts: int, number: int, x: int, a: int, b: int) -> None:
        loop = self._loop(number)
        start = max(ts - a, loop.floor, self.begin)
        if start < ts:
            loop.pending.append(_Node(start, ts, "idle", "idle"))
        self._flush(loop)

    def _on_callback(self, ts: int, number: int, x: int, a: int, b: int) -> None:
        loop = self._loop(number)
        name = self.words.code_text(x) or "callback"
        node = _Node(max(ts - a, self.begin), ts, name, "callback")
        node.sources = loop.flows.pop(b, ())
        self._add(loop, node)

    def _on_callback_failed(self, ts: int, number: int, x: int, a: int, b: int) -> None:
        text = f"{self.words.code_text(x)} raised {self.words.text(a)}"
        self._instant(number, ts, text, "error")

    def _on_nested_left(self, ts: int, number: int, x: int, a: int, b: int) -> None:
        loop = self._loop(number)
        start = max(ts - a, self.begin)
        self._add(loop, _Node(start, ts, "Qt event loop, nested", "nested"))

    def _on_modal_entered(self, ts: int, number: int, x: int, a: int, b: int) -> None:
        loop = self._loop(number)
        self._flush(loop)
        loop.floor = max(loop.floor, ts)
        self._modal[number, x] = (ts, self.words.code_text(a) or "modal function")

    def _on_modal_left(self, ts: int, number: int, x: int, a: int, b: int) -> None:
        loop = self._loop(number)
        self._flush(loop)
        loop.floor = max(loop.floor, ts)
        # The depth is counted after it was left.
        for depth in (x, x + 1):
            if (number, depth) in self._modal:
                _, name = self._modal.pop((number, depth))
                self._modal_slice(number, depth, ts - a, ts, name, {})
                return
        self._modal_slice(number, x, ts - a, ts, "modal function", {})

    def _modal_slice(
        self, number: int, depth: int, start: int, end: int, name: str, args: Args
    ) -> None:
        track = self._track("modal", number, depth, f"modal, depth {depth}")
        start = max(start, self.begin)
        self._out.append(
            Slice(track, start, max(start, end), name, "modal", args, (), ())
        )

    # --- timers, signals, slots

    def _count_timers(self, number: int, ts: int, change: int) -> None:
        loop = self._loop(number)
        loop.timers = max(0, loop.timers + change)
        track = self._track("timers", number, 0, "timers")
        self._out.append(Count(track, ts, loop.timers))

    def _on_timer_set(self, ts: int, number: int, x: int, a: int, b: int) -> None:
        self._count_timers(number, ts, 1)

    def _on_timer_fired(self, ts: int, number: int, x: int, a: int, b: int) -> None:
        self._count_timers(number, ts, -1)

    def _on_timer_cancelled(self, ts: int, number: int, x: int, a: int, b: int) -> None:
        self._count_timers(number, ts, -1)

    def _on_wait_fired(self, ts: int, number: int, x: int, a: int, b: int) -> None:
        row = self.words.rows.get((WAIT, a))
        text = self.words.wait_text(row) if row is not None else f"signal of wait {a}"
        node = self._instant(number, ts, text, "signal")
        self._loop(number).fired[WAIT << 56 | a] = node

    def _on_sender_destroyed(
        self, ts: int, number: int, x: int, a: int, b: int
    ) -> None:
        sender = self.words.object_text(b) or "sender"
        self._instant(number, ts, f"{sender} destroyed, and awaited", "error")

    def _on_slot_refused(self, ts: int, number: int, x: int, a: int, b: int) -> None:
        text = f"emission for {self.words.slot_text(a)} refused"
        node = self._instant(number, ts, text, "slot")
        node.args["overlap"] = _tables.OVERLAPS.get(x, str(x))

    def _on_task_unretrieved(
        self, ts: int, number: int, x: int, a: int, b: int
    ) -> None:
        text = f"{self.words.text(b) or 'exception'} never retrieved"
        self._instant(number, ts, text, "error")

    # --- the loop's life, marks, spans

    def _on_loop_started(self, ts: int, number: int, x: int, a: int, b: int) -> None:
        self._instant(number, ts, "loop started", "loop")

    def _on_loop_stopped(self, ts: int, number: int, x: int, a: int, b: int) -> None:
        self._instant(number, ts, "loop stopped", "loop")

    def _on_loop_closed(self, ts: int, number: int, x: int, a: int, b: int) -> None:
        node = self._instant(number, ts, "loop closed", "loop")
        node.args["tasks_left"] = x

    def _on_level(self, ts: int, number: int, x: int, a: int, b: int) -> None:
        if number or self._loops:
            number = number or min(self._loops)
            self._instant(number, ts, f"inspection level {x}", "loop")

    def _on_mark(self, ts: int, number: int, x: int, a: int, b: int) -> None:
        name = self.words.text(x) or "mark"
        task = self._tasks.get(a) if a else None
        if task is not None:
            track = self._task_track(a, task)
            task.instants.append(Instant(track, ts, name, "mark", {}, ()))
        else:
            self._instant(number or min(self._loops, default=1), ts, name, "mark")

    def _on_span_began(self, ts: int, number: int, x: int, a: int, b: int) -> None:
        if False not in self._span_lanes:
            self._span_lanes.append(False)
        lane = self._span_lanes.index(False)
        self._span_lanes[lane] = True
        self._spans[a] = (ts, lane, self.words.text(x) or "span", b)

    def _on_span_ended(self, ts: int, number: int, x: int, a: int, b: int) -> None:
        if a not in self._spans:  # it began before the recording
            self._on_span_began(self.begin, number, x, a, b)
        self._end_span(a, ts, {})

    def _end_span(self, span: int, ts: int, args: Args) -> None:
        began, lane, name, task = self._spans.pop(span)
        self._span_lanes[lane] = False
        track = self._track(
            "span", 0, lane, "spans" if not lane else f"spans {lane + 1}"
        )
        if task:
            args["task"] = self.words.task_text(task)
        self._out.append(
            Slice(track, began, max(ts, began), name, "span", args, (), ())
        )

    # --- what was noticed

    def _pass_notes(self, ts: int) -> None:
        while self._notes and self._notes[-1].ts <= ts:
            note = self._notes.pop()
            if note.ts < self.begin:
                continue
            name, args = note_words(note, self.words)
            number = note.fields.get("loop") or min(self._loops, default=1)
            node = self._instant(number, note.ts, name, note.kind)
            node.args.update(args)

    def _pass_gaps(self, number: int, ts: int) -> None:
        while self._gaps and self._gaps[-1].first <= number:
            gap = self._gaps.pop()
            at = min(max(gap.t1 or self.end, self.begin), ts)
            # A task that is not known yet may have run before: not after this.
            self._known_since = max(self._known_since, at)
            self._is_lossy = True
            for loop in self._loops or (1,):
                node = self._instant(loop, at, f"LOST {gap.count} events", "gap")
                node.args.update(count=gap.count, cause=gap.cause)


def note_words(note: Note, words: Words) -> tuple[str, dict[str, Any]]:
    """A line about a stall or a lint, and its details."""
    fields = note.fields
    if note.kind == "stall":
        current = words.describe(fields.get("current", 0))
        name = f"stall, {fields.get('duration', 0) * 1e-6:.0f} ms"
        args = {"runs": current, "stack": fields.get("stack") or ""}
    else:
        name = f"{fields.get('id', note.kind)}: {fields.get('text', '')}"
        args = {
            "severity": fields.get("severity", ""),
            "concerns": words.describe(fields.get("ref", 0)),
        }
    return name, {key: value for key, value in args.items() if value}
