"""Screen 3: everything about one task."""

from __future__ import annotations

import textwrap
import time
from typing import TYPE_CHECKING, Any, Iterator

from ... import _tables, analysis
from ...errors import InspectError
from ...model import JOB, SLOT, TASK, TIMER, WAIT, Process, Row
from ..text import bar, clean, count, fit, nanoseconds, seconds
from .base import BAD, BOLD, COOL, DIM, HEAD, HOT, PLAIN, Cell, PageView
from .tasks import ROLES, WAITING, state_of

if TYPE_CHECKING:
    from ..viewer import Viewer

LINKS = 30  # of a chain
WORDS = 78  # characters of a line of prose
WAKES = 6
SCAN_SECONDS = 1.0  # between two searches for who waits for the task
SLICE = 256
SPANS = (1, 5, 10, 30, 60, 300, 1800)  # seconds of the timeline
BUCKETS = 12  # lines of the histogram
STRIP = {"R": ("█", HOT), "r": ("▒", COOL), "w": ("─", DIM), " ": (" ", DIM)}


class TaskView(PageView):
    name = "task"
    title = "Task"
    hints = (("+-", "span"), ("Esc", "back"))

    def __init__(self, viewer: Viewer) -> None:
        super().__init__(viewer)
        self.ident: int | None = None
        self.span = 2
        self._last: tuple[Row, Process] | None = None
        self._waiters: list[int] = []
        self._scan: Iterator[None] | None = None
        self._scanned = 0.0
        self._stacks = analysis.Stacks()

    async def enter(self, argument: Any = None) -> None:
        if argument is not None and argument != self.ident:
            self.ident = argument
            self._last = None
            self._waiters, self._scan, self._scanned = [], None, 0.0
            self._stacks = analysis.Stacks()
        await self.viewer.track_task(self.ident)

    async def leave(self) -> None:
        await self.viewer.track_task(None)

    async def poll(self) -> None:
        """How long its steps take, and where it is."""
        row = self._row()
        if row is None:
            return
        viewer = self.viewer
        try:
            value = await viewer.source.request(
                "HISTOGRAM", pid=viewer.pid, code=row["code"]
            )
        except InspectError:
            return
        viewer.histograms[viewer.pid or 0, row["code"]] = value
        await self._ask_stacks(row)

    async def _ask_stacks(self, row: Row) -> None:
        """What makes :func:`analysis.why` say more: only the program knows it."""
        viewer, stacks = self.viewer, self._stacks
        process = viewer.process
        if process is None or not process.alive:
            return
        silent = False  # what hangs for one, hangs for all
        for ident in stacks.wanted(process, row.id, process.now()):
            text = ""
            if not silent:
                try:
                    fields = {"pid": viewer.pid, "task": ident}
                    text = str(await viewer.source.request("STACK", **fields) or "")
                except InspectError:
                    silent = True
            stacks.keep(process, ident, text, process.now())

    def work(self, budget: float) -> bool:
        deadline = time.perf_counter() + budget
        if self._scan is None and time.monotonic() - self._scanned >= SCAN_SECONDS:
            self._scan = self._look_for_waiters()
        for _ in self._scan or ():
            if time.perf_counter() >= deadline:
                return True
        self._scan = None
        return True

    def _look_for_waiters(self) -> Iterator[None]:
        """Finds out, in slices, which tasks wait for this one."""
        ref = TASK << 56 | (self.ident or 0)
        found = []
        for number, ident in enumerate(self.viewer.ids(TASK)):
            row = self.viewer.row(TASK, ident)
            if row is not None and row["wait_ref"] == ref and row.state in WAITING:
                found.append(ident)
            if number % SLICE == SLICE - 1:
                yield
        self._waiters = found
        self._scanned = time.monotonic()

    def key(self, key: str) -> bool:
        step = {"plus": 1, "minus": -1, "+": 1, "-": -1}.get(key)
        if step is None:
            return False
        self.span = max(0, min(len(SPANS) - 1, self.span + step))
        return True

    def _row(self) -> Row | None:
        """The task, or what was last known of it."""
        process = self.viewer.process
        row = None if self.ident is None else self.viewer.row(TASK, self.ident)
        if row is not None and process is not None:
            self._last = (row, process)
        return self._last[0] if self._last is not None else None

    # --- the page

    def lines(self, width: int) -> list[list[Cell]]:
        row = self._row()
        process = self.viewer.process
        if row is None or process is None:
            said = "no task is chosen: Enter on one in the screen Tasks"
            if self.ident is not None:
                said = f"there is no task {self.ident}"
            return [[(said, DIM)]]
        gone = self.viewer.row(TASK, row.id) is None
        return [
            *self._summary(process, row, gone),
            *self._timeline(process, row, width),
            *self._histogram(row, width),
            *self._awaits(process, row),
            *self._creators(process, row),
            *self._wakes(process, row),
            *self._stack(process, row),
        ]

    def _summary(self, process: Process, row: Row, gone: bool) -> list[list[Cell]]:
        now = self.viewer.now()
        state, style = state_of(row)
        if gone:
            state, style = f"{state}, gone since", HOT
        lines: list[list[Cell]] = [
            [
                (f"Task {row.id} ", DIM),
                (clean(process.task_name(row)), BOLD),
                (f"  {ROLES.get(row['role'], '')}  ", DIM),
                (state, style),
                (f" for {seconds((now - row['changed']) * 1e-9)}", PLAIN),
            ]
        ]

        def say(label: str, text: str, style: str = PLAIN) -> None:
            if text:
                lines.append([(fit(label, 12), DIM), (clean(text), style)])

        finding = self.viewer.warnings.get((TASK, row.id))
        if finding is not None:
            for (name, ref), lint in process.lints.items():
                if process.ref(ref) == (TASK, row.id):
                    style = BAD if lint["severity"] == "E" else HOT
                    say("warning", f"{name} {lint['text']}", style)
        say("code", process.code_text(row["code"]))
        say("stands at", process.code_text(row["where"]))
        wait = process.wait_of(row)
        if wait is not None:
            say(
                "waits for", wait["text"], PLAIN if wait.get("sender_alive", 1) else HOT
            )
        slot = process.rows.get((SLOT, row["slot"])) if row["slot"] else None
        if slot is not None:
            receiver = process.object_text(slot["receiver"])
            of = f" of {receiver}" if receiver else ""
            say("asyncslot", f"{process.text(slot['name'])}{of}")
        say(
            "age",
            f"{seconds((now - row['created']) * 1e-9)}, {count(row['steps'])} steps, "
            f"busy {nanoseconds(row['busy']) or '0'}, ready "
            f"{nanoseconds(row['scheduled']) or '0'}, longest "
            f"{nanoseconds(row['max_step']) or '0'}",
        )
        if row["cancels"]:
            by = process.describe(row["canceller"]) or "something outside of tasks"
            say("cancelled", f"{row['cancels']} x, by {by}", HOT)
        say("exception", process.text(row["exception"]), HOT)
        return lines

    def _timeline(self, process: Process, row: Row, width: int) -> list[list[Cell]]:
        span = SPANS[self.span]
        track = self.viewer.track
        title = f"Timeline, the last {seconds(span)}"
        if track is None or track.task != row.id:
            return []
        now = self.viewer.now()
        state = _tables.TASK_STATES.get(row.state, "")
        strip = track.strip(now - span * 1_000_000_000, now, max(1, width - 2), state)
        cells: list[Cell] = []
        for letter in strip:
            char, style = STRIP[letter]
            if cells and cells[-1][1] == style:
                cells[-1] = (cells[-1][0] + char, style)
            else:
                cells.append((char, style))
        legend: list[Cell] = [
            (title, HEAD),
            ("   █", HOT),
            (" runs ", DIM),
            ("▒", COOL),
            (" ready ", DIM),
            ("─ waits", DIM),
        ]
        if not strip.strip():
            cells = [("no events of it are known (they need level 2)", DIM)]
        return [[], legend, cells]

    def _histogram(self, row: Row, width: int) -> list[list[Cell]]:
        found = self.viewer.histograms.get((self.viewer.pid or 0, row["code"]))
        steps = (found or {}).get("steps")
        if not steps or not steps.get("count"):
            return []
        lines: list[list[Cell]] = [
            [],
            [
                ("Steps of this code", HEAD),
                (
                    f"  {count(steps['count'])}, p50 {nanoseconds(steps['p50'])}, p90 "
                    f"{nanoseconds(steps['p90'])}, p99 {nanoseconds(steps['p99'])}, "
                    f"max {nanoseconds(steps['max'])}",
                    DIM,
                ),
            ],
        ]
        merged = _coarser(steps["buckets"])
        most = max(times for _, times in merged)
        room = max(4, min(50, width - 22))
        for lower, times in merged:
            lines.append(
                [
                    (fit(f"≥ {nanoseconds(lower) or '0'}", 11), DIM),
                    (bar(times / most, room), COOL),
                    (f" {count(times)}", PLAIN),
                ]
            )
        return lines

    def _awaits(self, process: Process, row: Row) -> list[list[Cell]]:
        lines: list[list[Cell]] = [[], [("Why", HEAD)]]
        stacks = self._stacks.of(process)
        reason = clean(analysis.why(process, row.id, stacks).text)
        lines += [[(line, PLAIN)] for line in textwrap.wrap(reason, WORDS)]
        lines += [[], [("Waits for, and that for", HEAD)]]
        seen: set[int] = set()
        current: Row | None = row
        while current is not None and len(seen) < LINKS:
            depth = "  " * min(len(seen), 10)
            if current.id in seen:
                lines.append(
                    [(depth, DIM), ("↻ itself: a circle, nobody wakes it", BAD)]
                )
                break
            seen.add(current.id)
            where = process.code_text(current["where"] or current["code"])
            lines.append(
                [
                    (depth + ("└ " if depth else ""), DIM),
                    (clean(f"task {current.id} {process.task_name(current)}"), PLAIN),
                    (clean(f"  {state_of(current)[0]}  {where}"), DIM),
                ]
            )
            if current.state not in WAITING:
                break
            found = process.ref(current["wait_ref"])
            if found is not None and found[0] == TASK:
                current = process.rows.get(found)
                continue
            wait = process.wait_of(current) or {"text": ""}
            style = PLAIN if wait.get("sender_alive", True) else HOT
            target = None if found is None else process.rows.get(found)
            code = ""
            if target is not None and target.kind in (WAIT, TIMER, JOB):
                code = process.code_text(target["code"])
            depth = "  " * min(len(seen), 10)
            lines.append(
                [
                    (depth + "└ ", DIM),
                    (clean(str(wait["text"])), style),
                    (clean(f"  {code}"), DIM),
                ]
            )
            break
        for ident in self._waiters[:LINKS]:
            other = self.viewer.row(TASK, ident)
            if other is None:
                continue
            lines.append(
                [
                    ("waited for by  ", DIM),
                    (clean(f"task {other.id} {process.task_name(other)}"), PLAIN),
                ]
            )
        return lines

    def _creators(self, process: Process, row: Row) -> list[list[Cell]]:
        lines: list[list[Cell]] = [[], [("Created by", HEAD)]]
        current: Row | None = row
        for depth in range(LINKS):
            assert current is not None
            text = process.describe(current["creator"])
            if not text:
                text = "code outside of tasks" if depth == 0 else ""
            if text:
                lines.append(
                    [("  " * min(depth, 10) + ("└ " if depth else ""), DIM),
                     (clean(text), PLAIN)]
                )  # fmt: skip
            found = process.ref(current["creator"])
            current = process.rows.get(found) if found is not None else None
            if current is None or current.kind != TASK:
                break
        return lines

    def _wakes(self, process: Process, row: Row) -> list[list[Cell]]:
        lines: list[list[Cell]] = [
            [],
            [
                ("Woken", HEAD),
                (
                    f"  {count(row['wakes'])} times, {count(row['self_wakes'])} by "
                    "itself",
                    DIM,
                ),
            ],
        ]
        now = self.viewer.now()
        track = self.viewer.track
        wakes = list(track.wakes)[-WAKES:] if track and track.task == row.id else []
        for ts, by in reversed(wakes):
            ago = f"{seconds((now - ts) * 1e-9)} ago"
            who = process.describe(by) or "from outside of tasks"
            lines.append([(fit(ago, 14), DIM), (clean(who), PLAIN)])
        if not wakes and row["woken_by"]:
            last = process.describe(row["woken_by"])
            lines.append([(fit("last", 14), DIM), (clean(last), PLAIN)])
        return lines

    def _stack(self, process: Process, row: Row) -> list[list[Cell]]:
        frames = process.stack(row["stack"])
        lines: list[list[Cell]] = [[], [("Created at", HEAD)]]
        if not frames:
            return [*lines, [("not known (needs level 3)", DIM)]]
        for frame in frames:
            where = f"{frame['file']}:{frame['line']}"
            lines.append(
                [(clean(str(frame["name"])), PLAIN), ("  ", DIM), (clean(where), DIM)]
            )
        return lines


def _coarser(buckets: list[int]) -> list[tuple[int, int]]:
    """(lower bound, count) of at most BUCKETS ranges that cover the buckets."""
    pairs = list(zip(buckets[::2], buckets[1::2]))
    size = 8
    while True:
        merged: dict[int, int] = {}
        for lower, times in pairs:
            # So many powers of two in a range.
            power = (
                max(0, lower.bit_length() - 1) // max(1, size // 8) * max(1, size // 8)
            )
            key = 1 << power if lower else 0
            merged[key] = merged.get(key, 0) + times
        if len(merged) <= BUCKETS:
            return sorted(merged.items())
        size *= 2
