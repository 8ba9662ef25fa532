"""How busy a loop was, tick by tick: in asyncio, in Qt or asleep, and how late it ran.

Ticks are a tenth of a second, counted from the epoch of the process's clock.  A
:class:`Loads` listens to a :class:`~qtinter.inspect.lanes.Lanes`.
"""

from __future__ import annotations

from typing import Any, Iterator, NamedTuple

from .lanes import ASYNCIO, IDLE, OUTSIDE, Lanes

TICK = 100_000_000  # ns
KEPT = 18_000  # ticks: half an hour


class Load(NamedTuple):
    """One tick of one loop; times in ns.

    :ivar asyncio: time in turns.
    :ivar outside: time between turns, in which Qt had the thread: its events and, when
        there were none, its sleep.
    :ivar idle: time that a loop without Qt waited.
    :ivar lag: the longest time that a task was ready before its step, of the steps
        that began in this tick.
    """

    asyncio: int
    outside: int
    idle: int
    lag: int


def bin_width(span: int, bins: int) -> int:
    """Whole ticks, ns, so that no more than so many bins cover the span.

    A part of a tick would make bins of one tick more or less than their neighbours.
    """
    return TICK * max(1, -(-span // (TICK * max(1, bins))))


class Loads:
    """The loads of the loops of a process."""

    def __init__(self, lanes: Lanes) -> None:
        self.loops: dict[int, dict[int, list[int]]] = {}
        lanes.listeners.append(self.take)

    def take(self, kind: int, loop: int, start: int, end: int, lag: bool) -> None:
        """Takes in a segment of a loop, or (``lag``) how long a task was ready."""
        ticks = self.loops.setdefault(loop, {})
        if lag:
            tick = self._tick(ticks, end // TICK)
            tick[3] = max(tick[3], end - start)
            return
        column = {ASYNCIO: 0, OUTSIDE: 1, IDLE: 2}.get(kind)
        if column is None:
            return
        start = max(start, end - KEPT * TICK)
        while start < end:
            number = start // TICK
            stop = min(end, (number + 1) * TICK)
            self._tick(ticks, number)[column] += stop - start
            start = stop

    def _tick(self, ticks: dict[int, list[int]], number: int) -> list[int]:
        tick = ticks.get(number)
        if tick is None:
            tick = ticks[number] = [0, 0, 0, 0]
            if len(ticks) > KEPT:  # the oldest were put in first
                for old in list(ticks)[: KEPT // 8]:
                    del ticks[old]
        return tick

    def of(self, loop: int, t0: int, t1: int, bins: int) -> list[Load]:
        """The loads of a range in so many bins at most, of :func:`bin_width` each."""
        ticks = self.loops.get(loop, {})
        width = bin_width(t1 - t0, bins)
        found: list[list[int]] = [[0, 0, 0, 0] for _ in range(-(-(t1 - t0) // width))]
        for number, tick in self._range(ticks, t0 // TICK, t1 // TICK):
            i = (number * TICK - t0) // width
            if 0 <= i < len(found):
                into = found[i]
                for k in range(3):
                    into[k] += tick[k]
                into[3] = max(into[3], tick[3])
        return [Load(*values) for values in found]

    @staticmethod
    def _range(ticks: dict[int, Any], low: int, high: int) -> Iterator[tuple[int, Any]]:
        if high - low < len(ticks):
            for number in range(low, high + 1):
                if number in ticks:
                    yield number, ticks[number]
        else:
            for number, tick in ticks.items():
                if low <= number <= high:
                    yield number, tick
