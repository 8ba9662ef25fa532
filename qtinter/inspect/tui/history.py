"""What the state alone does not tell: how it came to be, kept for a while.

All of it is bounded: the oldest goes.
"""

from __future__ import annotations

import collections
import math
from typing import Any, Deque, Dict, Iterable, List, NamedTuple, Tuple

from .. import _tables, wire
from ..model import TASK, Process, Row

SAMPLES = 600  # of a loop's counters
MOMENTS = 300  # seconds of lag
STALLS = 100  # of an application
STACKS = 16  # of a stall
SEGMENTS = 4000  # of a task's life

_REF_BITS = 56
_STEP, _WAKE, _WAIT, _TIMER_FIRED, _TURN, _ENDED = 11, 12, 13, 41, 80, 15
_NEEDED_OF_STALL = [
    field
    for field, _, needed in _tables.MESSAGES[wire.NUMBERS["STALL"]][2].values()
    if needed
]


class Share(NamedTuple):
    """How a loop's thread spent a while; each a share of 1.

    :ivar qt: processor time between turns
    :ivar idle: the rest: it slept, or waited
    """

    asyncio: float
    qt: float
    idle: float


class LoopHistory:
    """The counters of a loop, over time."""

    def __init__(self) -> None:
        self._samples: Deque[Tuple[int, int, int, int, int]] = collections.deque(
            maxlen=SAMPLES
        )

    def add(self, ts: int, loop: Any) -> None:
        """Take in the row of a loop as it was at ``ts``."""
        samples = self._samples
        if samples and ts <= samples[-1][0]:
            return
        asyncio_ns, qt_ns = loop["asyncio"], loop["qt_busy"]
        if samples and (asyncio_ns < samples[-1][1] or qt_ns < samples[-1][2]):
            samples.clear()  # another loop of that id
        samples.append((ts, asyncio_ns, qt_ns, loop["ready"], loop["callbacks"]))

    def shares(self, width: int, seconds: float = 0.5) -> List[Share]:
        """The last ``width`` intervals of so many seconds, oldest first."""
        found: List[Share] = []
        samples = self._samples
        if len(samples) < 2:
            return found
        later = samples[-1]
        wanted = int(seconds * 1e9)
        for sample in reversed(samples):
            span = later[0] - sample[0]
            if span < wanted:
                continue
            busy = min(1.0, (later[1] - sample[1]) / span)
            qt = min(1.0 - busy, (later[2] - sample[2]) / span)
            found.append(Share(busy, qt, 1.0 - busy - qt))
            later = sample
            if len(found) >= width:
                break
        return found[::-1]

    def rate(self) -> float | None:
        """Callbacks a second, over the last while."""
        samples = self._samples
        if len(samples) < 2:
            return None
        first = samples[max(0, len(samples) - 20)]
        last = samples[-1]
        if last[0] == first[0]:
            return None
        return max(0.0, (last[4] - first[4]) / (last[0] - first[0]) * 1e9)


class LagMeter:
    """From events: how long what was ready had to wait, the worst of each second."""

    def __init__(self) -> None:
        # second: [lag of tasks, lateness of timers, longest turn], ns
        self._worst: Dict[int, List[int]] = {}
        self._woken: Dict[int, int] = {}

    def add(self, records: Iterable[Any]) -> None:
        """Take in records (ts, kind, loop, x, a, b)."""
        woken, worst = self._woken, self._worst
        for ts, kind, _, _, a, b in records:
            if kind == _WAKE:
                woken[a] = ts
                continue
            if kind == _STEP:
                since = woken.pop(a, None)
                if since is None:
                    continue
                which, value = 0, ts - b - since
            elif kind == _TIMER_FIRED:
                which, value = 1, b
            elif kind == _TURN:
                which, value = 2, b
            elif kind == _ENDED:
                woken.pop(a, None)
                continue
            else:
                continue
            moment = worst.get(ts // 1_000_000_000)
            if moment is None:
                moment = worst[ts // 1_000_000_000] = [0, 0, 0]
                while len(worst) > MOMENTS:
                    del worst[min(worst)]
            if value > moment[which]:
                moment[which] = value
        while len(woken) > 100_000:
            del woken[next(iter(woken))]

    def worst(self, which: int, seconds: int, now: int) -> List[float]:
        """The worst of each of the last seconds, in seconds, oldest first.

        :param which: 0: tasks, 1: timers, 2: turns.
        """
        last = now // 1_000_000_000
        return [
            self._worst[second][which] * 1e-9 if second in self._worst else 0.0
            for second in range(last - seconds + 1, last + 1)
        ]


class Segment(NamedTuple):
    """A piece of a task's life: ``what`` is run, ready or wait; ns."""

    begin: int
    end: int
    what: str


class TaskTrack:
    """From events: when one task ran, was ready and waited, and who woke it."""

    def __init__(self, task: int) -> None:
        self.task = task
        self.segments: Deque[Segment] = collections.deque(maxlen=SEGMENTS)
        self.wakes: Deque[Tuple[int, int]] = collections.deque(maxlen=100)
        self.steps: Deque[Tuple[int, int]] = collections.deque(maxlen=SEGMENTS)
        self._last = 0
        self._woken = 0

    def add(self, records: Iterable[Any]) -> None:
        """Take in records; those of other tasks are passed over."""
        task = self.task
        for ts, kind, _, _, a, b in records:
            if a != task:
                continue
            if kind == _STEP:
                begin = ts - b
                if self._woken:
                    self._put(self._last, self._woken, "wait")
                    self._put(self._woken, begin, "ready")
                elif self._last:
                    self._put(self._last, begin, "wait")
                self._put(begin, ts, "run")
                self.steps.append((ts, b))
                self._last, self._woken = ts, 0
            elif kind == _WAKE:
                self._woken = ts
                self.wakes.append((ts, b))

    def _put(self, begin: int, end: int, what: str) -> None:
        if 0 < begin < end:
            self.segments.append(Segment(begin, end, what))

    def strip(self, begin: int, end: int, width: int, state: str) -> str:
        """A letter for each cell between two times: what the task did there.

        ``R`` ran, ``r`` was ready, ``w`` waited, a space: not known.  What ran for
        less than a cell is seen all the same.

        :param state: of the task now: what it has been doing since its last event.
        """
        if width <= 0 or end <= begin:
            return ""
        cells = [" "] * width
        scale = width / (end - begin)
        rank = {" ": 0, "w": 1, "r": 2, "R": 3}
        letters = {"run": "R", "ready": "r", "wait": "w"}
        pieces = list(self.segments)
        if self._last:
            now = {"running": "run", "ready": "ready"}.get(state, "wait")
            if self._woken:
                pieces.append(Segment(self._last, self._woken, "wait"))
                pieces.append(Segment(self._woken, end, now))
            else:
                pieces.append(Segment(self._last, end, now))
        for piece in pieces:
            if piece.end < begin or piece.begin > end:
                continue
            letter = letters[piece.what]
            first = min(width - 1, max(0, int((piece.begin - begin) * scale)))
            last = min(width - 1, math.ceil((piece.end - begin) * scale) - 1)
            for cell in range(first, max(first, last) + 1):
                if rank[letter] > rank[cells[cell]]:
                    cells[cell] = letter
        return "".join(cells)


class Stall:
    """A step or callback that kept a loop, with its stacks.

    :ivar stacks: each a tuple of frames, outermost first.
    """

    def __init__(self, ident: int, pid: int, fields: Dict[str, Any]) -> None:
        self.ident = ident
        self.pid = pid
        self.loop = fields["loop"]
        self.since = fields["since"]
        self.current = fields["current"]
        self.duration = 0
        self.over = False
        self.what = ""
        self.stacks: List[Tuple[str, ...]] = []

    def add(self, fields: Dict[str, Any]) -> None:
        self.duration = max(self.duration, fields["duration"])
        self.over = bool(fields["over"])
        stack = _frames_of(fields)
        if stack and len(self.stacks) < STACKS:
            self.stacks.append(stack)

    def merged(self) -> List[Tuple[int, str, int]]:
        """The stacks as one tree: (depth, frame, in how many stacks), outermost first.

        Frames that all have come once; where they part, it is seen what moves.
        """
        lines: List[Tuple[int, str, int]] = []
        _merge(self.stacks, 0, lines)
        return lines


def _merge(
    stacks: List[Tuple[str, ...]], depth: int, lines: List[Tuple[int, str, int]]
) -> None:
    # A stack of Python may be as deep as this one may not: no recursion in a line.
    while True:
        heads: Dict[str, List[Tuple[str, ...]]] = {}
        for stack in stacks:
            if len(stack) > depth:
                heads.setdefault(stack[depth], []).append(stack)
        if not heads:
            return
        if len(heads) > 1:
            break
        ((frame, stacks),) = heads.items()
        lines.append((depth, frame, len(stacks)))
        depth += 1
    for frame, below in sorted(heads.items(), key=lambda head: -len(head[1])):
        lines.append((depth, frame, len(below)))
        _merge(below, depth + 1, lines)


def _frames_of(fields: Dict[str, Any]) -> Tuple[str, ...]:
    frames = fields.get("frames")
    if frames:
        return tuple(
            f"{name} ({file}:{line})"
            for file, line, name in (frame[:3] for frame in frames if len(frame) >= 3)
        )
    lines = str(fields.get("stack") or "").splitlines()
    found: List[str] = []
    for line in lines:
        # The sources' lines, indented below their frames, say nothing that moves.
        if found and line.startswith("    ") and found[-1].startswith("File "):
            continue
        if line.strip():
            found.append(line.strip())
    return tuple(found)


class StallLog:
    """The stalls of the applications, latest last."""

    def __init__(self) -> None:
        self.stalls: Dict[int, Stall] = {}
        self._by_begin: Dict[Tuple[int, int, int], Stall] = {}
        self._next = 1

    def add(self, pid: int, note: Dict[int, Any]) -> Stall | None:
        """Take in the fields of a STALL, by key; returns the stall."""
        fields = wire.named("STALL", note)
        if not all(field in fields for field in _NEEDED_OF_STALL):
            return None
        return self.add_fields(pid, fields)

    def add_fields(self, pid: int, fields: Dict[str, Any]) -> Stall:
        """Take in the fields of a STALL, by name; returns the stall."""
        key = (pid, fields["loop"], fields["since"])
        stall = self._by_begin.get(key)
        if stall is None:
            stall = Stall(self._next, pid, fields)
            self._next += 1
            self.stalls[stall.ident] = stall
            self._by_begin[key] = stall
            while len(self.stalls) > STALLS:
                oldest = self.stalls.pop(next(iter(self.stalls)))
                del self._by_begin[oldest.pid, oldest.loop, oldest.since]
        stall.add(fields)
        return stall

    def copy(self) -> StallLog:
        """As it is now, for a view that stands still."""
        other = StallLog()
        other.stalls = dict(self.stalls)
        return other


def sample_loops(
    histories: Dict[int, LoopHistory], process: Process, loops: Iterable[Row]
) -> None:
    """Take the rows of a process's loops into their histories."""
    ts = process.now()
    for row in loops:
        history = histories.get(row.id)
        if history is None:
            history = histories[row.id] = LoopHistory()
        history.add(ts, row)


def task_of_ref(ref: int) -> int | None:
    """The id of the task that a ref is of."""
    return ref & (1 << _REF_BITS) - 1 if ref >> _REF_BITS == TASK else None
