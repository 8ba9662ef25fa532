"""Screen 7: what kept a loop from running, with the stacks of its thread."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Hashable, Iterable

from ..history import Stall
from ..text import clean, fit, seconds
from .base import (
    BOLD,
    COOL,
    DIM,
    HOT,
    PLAIN,
    Cell,
    Column,
    Opening,
    PageView,
    SmallTableView,
)

if TYPE_CHECKING:
    from ..viewer import Viewer


class StallsView(SmallTableView):
    name = "stalls"
    title = "Stalls"
    hints = (("Enter", "stacks"), ("<>r", "sort"))
    fixed = 1

    def __init__(self, viewer: Viewer) -> None:
        super().__init__(viewer, "ago")

    def get(self, ident: Any) -> Stall | None:
        viewer = self.viewer
        stall = viewer.shown_stalls().stalls.get(ident)
        if stall is None or stall.pid != viewer.pid:
            return None
        # A file shows a moment: what comes later is not there yet.
        there = viewer.source.can_follow or stall.since <= viewer.now()
        return stall if there else None

    def idents(self) -> Iterable[Hashable]:
        return list(self.viewer.shown_stalls().stalls)

    def open(self, ident: Any) -> Opening | None:
        return Opening("stall", ident)

    def empty_text(self) -> str:
        since = " since this view began" if self.viewer.source.can_follow else ""
        return f"no stalls{since}"

    def make_columns(self) -> Iterable[Column]:
        viewer = self.viewer

        def ago(stall: Stall) -> Cell:
            return seconds((viewer.now() - stall.since) * 1e-9), PLAIN

        def state(stall: Stall) -> Cell:
            return ("✓ over", PLAIN) if stall.over else ("▶ goes on", HOT)

        def where(stall: Stall) -> Cell:
            merged = stall.merged()
            return (merged[-1][1] if merged else "no stack"), DIM

        return (
            Column("ago", 8, ago, lambda s: -s.since, True),
            Column("for", 8, lambda s: (seconds(s.duration * 1e-9), BOLD),
                   lambda s: s.duration, True),
            Column("state", 9, state, lambda s: s.over),
            Column("loop", 4, lambda s: (str(s.loop), PLAIN), lambda s: s.loop, True),
            Column("what ran", 18, lambda s: (s.what, PLAIN), lambda s: s.what, grow=1),
            Column("stacks", 6, lambda s: (str(len(s.stacks)), PLAIN),
                   lambda s: len(s.stacks), True),
            Column("innermost", 20, where, lambda s: where(s)[0], grow=2),
        )  # fmt: skip


class StallView(PageView):
    """One stall: its stacks as one."""

    name = "stall"
    title = "Stall"
    hints = (("Esc", "back"),)

    def __init__(self, viewer: Viewer) -> None:
        super().__init__(viewer)
        self.ident: int | None = None

    async def enter(self, argument: Any = None) -> None:
        if argument is not None:
            self.ident = argument

    def work(self, budget: float) -> bool:
        return True

    def lines(self, width: int) -> list[list[Cell]]:
        stall = self.viewer.shown_stalls().stalls.get(self.ident or 0)
        if stall is None:
            return [[("this stall is not known any more", DIM)]]
        ended = "over" if stall.over else "goes on"
        lines: list[list[Cell]] = [
            [("stall  ", DIM), (clean(stall.what), BOLD)],
            [("took   ", DIM), (f"{seconds(stall.duration * 1e-9)}, {ended}", PLAIN)],
            [],
        ]
        taken = len(stall.stacks)
        if not taken:
            return [*lines, [("its stack was not taken", DIM)]]
        lines.append([(f"{taken} stacks, outermost frame first", DIM)])
        parted = False
        for depth, frame, times in stall.merged():
            parted = parted or times < taken
            mark = f"{times}/{taken}" if times < taken else ""
            lines.append(
                [
                    (fit(mark, 6), HOT),
                    ("  " * min(depth, 12), DIM),
                    (clean(frame), HOT if parted else PLAIN),
                ]
            )
        says = "it moves: the stacks part" if parted else "all stacks are the same"
        return [*lines, [], [(says, COOL)]]
