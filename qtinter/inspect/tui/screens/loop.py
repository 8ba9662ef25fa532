"""Screen 6: the loops: what their threads do, and how late they are."""

from __future__ import annotations

from typing import Any

from ... import _tables
from ...model import LOOP, Process, Row
from ..text import clean, count, fit, nanoseconds, seconds, sparkline
from .base import BOLD, COOL, DIM, HEAD, HOT, PLAIN, Cell, PageView

NATIVE = 0
LABEL = 9


class LoopView(PageView):
    name = "loop"
    title = "Loop"

    async def enter(self, argument: Any = None) -> None:
        await self.viewer.track_loops(True)

    async def leave(self) -> None:
        await self.viewer.track_loops(False)

    def work(self, budget: float) -> bool:
        return True

    def lines(self, width: int) -> list[list[Cell]]:
        process = self.viewer.process
        loops = self.viewer.rows(LOOP)
        if process is None or not loops:
            return [[("no loop runs", DIM)]]
        lines: list[list[Cell]] = []
        for row in sorted(loops, key=lambda row: row.id):
            if lines:
                lines.append([])
            lines += self._loop(process, row, width)
        return [*lines, [], *self._lag(width)]

    def _loop(self, process: Process, row: Row, width: int) -> list[list[Cell]]:
        now = self.viewer.now()
        state = _tables.LOOP_STATES.get(row.state, "?")
        mode = _tables.LOOP_MODES.get(row["mode"], "?")
        host = process.text(row["host"])
        lines: list[list[Cell]] = [
            [
                (f"Loop {row.loop or row.id}", HEAD),
                (
                    f"  {mode}, {clean(host) or 'no'} host, thread {row['thread']}  ",
                    DIM,
                ),
                (state, HOT if state == "nested" else BOLD),
            ]
        ]
        if row["current"]:
            ran = row["busy_since"]
            lines.append(
                [
                    (fit("runs", LABEL), DIM),
                    (clean(process.describe(row["current"])), HOT),
                    (f" for {seconds((now - ran) * 1e-9)}" if ran else "", PLAIN),
                ]
            )
        history = self.viewer.histories().get(row.id)
        rate = history.rate() if history is not None else None
        lines.append(
            [
                (fit("now", LABEL), DIM),
                (
                    f"ready {count(row['ready'])}  timers {count(row['timers'])}  fds "
                    f"{count(row['watches'])}  tasks {count(row['tasks'])}  nesting ",
                    PLAIN,
                ),
                (str(row["depth"]), HOT if row["depth"] > 1 else PLAIN),
                ("" if rate is None else f"  {rate:.0f} callbacks/s", PLAIN),
            ]
        )
        lines.append(
            [
                (fit("ever", LABEL), DIM),
                (
                    f"calls {count(row['callbacks'])}  turns {count(row['turns'])}  "
                    f"iterations {count(row['iterations'])}  worst lag "
                    f"{nanoseconds(row['max_lag']) or '0'}  missed "
                    f"{count(row['unseen'])}",
                    PLAIN,
                ),
            ]
        )
        room = max(10, width - LABEL - 8)
        shares = history.shares(room) if history is not None else []
        if not shares:
            return [*lines, [(fit("", LABEL), DIM), ("measuring", DIM)]]
        last = shares[-1]
        rows = [("asyncio", [s.asyncio for s in shares], last.asyncio, HOT)]
        if row["mode"] != NATIVE:
            rows.append(("Qt", [s.qt for s in shares], last.qt, HOT))
        rows.append(("asleep", [s.idle for s in shares], last.idle, COOL))
        for label, values, value, style in rows:
            lines.append(
                [
                    (fit(label, LABEL), DIM),
                    (sparkline(values, room, 1.0), style),
                    (fit(f"{value * 100:.0f} %", 6, True), PLAIN),
                ]
            )
        return lines

    def _lag(self, width: int) -> list[list[Cell]]:
        """The worst of each second, from events."""
        room = max(10, width - LABEL - 11)
        lag, now = self.viewer.lag(), self.viewer.now()
        lines: list[list[Cell]] = [
            [
                ("Lag", HEAD),
                ("  the worst of each second; the events for it need level 2", DIM),
            ]
        ]
        for which, label, style in (
            (0, "tasks", HOT),
            (1, "timers", HOT),
            (2, "turns", COOL),
        ):
            values = lag.worst(which, room, now)
            lines.append(
                [
                    (fit(label, LABEL), DIM),
                    (sparkline(values, room), style),
                    (fit(seconds(max(values, default=0.0)), 9, True), PLAIN),
                ]
            )
        lines.append(
            [
                (
                    "tasks: from ready to running; timers: after their time; turns: "
                    "how long asyncio kept the thread",
                    DIM,
                )
            ]
        )
        return lines
