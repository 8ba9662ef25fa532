"""Screen 1: the applications."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Hashable, Iterable

from ... import _tables
from ...model import LOOP, Process, Row
from ..text import count, nanoseconds
from .base import (
    BAD,
    BOLD,
    COOL,
    DIM,
    HOT,
    PLAIN,
    Cell,
    Column,
    Opening,
    SmallTableView,
)

if TYPE_CHECKING:
    from ..viewer import Viewer


class ProcessesView(SmallTableView):
    name = "processes"
    title = "Processes"
    hints = (("Enter", "look at it"), ("<>r", "sort"))
    fixed = 3

    def __init__(self, viewer: Viewer) -> None:
        super().__init__(viewer, "pid")

    def get(self, ident: Any) -> Process | None:
        shown = self.viewer.process
        if shown is not None and self.viewer.pid == ident:
            return shown
        return self.viewer.source.processes.get(ident)

    def idents(self) -> Iterable[Hashable]:
        return list(self.viewer.source.processes)

    def open(self, ident: Any) -> Opening | None:
        return Opening("tasks", ident)

    def empty_text(self) -> str:
        return (
            "no application shows itself yet; start one with QTINTER_INSPECT=1, "
            "or call qtinter.inspect.enable() in it"
        )

    def make_columns(self) -> Iterable[Column]:
        viewer = self.viewer

        def loops(process: Process) -> list[Row]:
            if process is viewer.process:
                return viewer.rows(LOOP)
            return list(process.of_kind(LOOP))

        def is_alive(process: Process) -> bool:
            live = viewer.source.processes.get(process.info["pid"])
            return live is not None and live.alive

        def state(process: Process) -> Cell:
            if not is_alive(process):
                return f"ended: {process.info.get('cause', '')}".rstrip(": "), HOT
            states = [_tables.LOOP_STATES.get(row.state, "?") for row in loops(process)]
            return " ".join(states), HOT if "nested" in states else PLAIN

        def mark(process: Process) -> Cell:
            return ("►" if process.info["pid"] == viewer.pid else ""), BOLD

        def total(column: str) -> Any:
            return lambda process: sum(row[column] for row in loops(process))

        def number(column: str) -> Any:
            value = total(column)
            return lambda process: (count(value(process)), PLAIN)

        def lag(process: Process) -> int:
            return max((row["max_lag"] for row in loops(process)), default=0)

        def lints(process: Process) -> Cell:
            worst = {lint["severity"] for lint in process.lints.values()}
            style = BAD if "E" in worst else HOT if "W" in worst else COOL
            return str(len(process.lints) or ""), style

        def with_(process: Process) -> Cell:
            versions = process.info.get("versions") or {}
            return " ".join(f"{k} {v}" for k, v in versions.items() if v), DIM

        def name(process: Process) -> Cell:
            return str(process.info.get("name", "?")), PLAIN

        return (
            Column("", 1, mark, lambda p: p.info["pid"] != viewer.pid),
            Column("pid", 7, lambda p: (str(p.info["pid"]), PLAIN),
                   lambda p: p.info["pid"], True),
            Column("name", 16, name, lambda p: name(p)[0].casefold(), grow=1),
            Column("loops", 13, state, lambda p: state(p)[0]),
            Column("tasks", 6, number("tasks"), total("tasks"), True),
            Column("timers", 6, number("timers"), total("timers"), True),
            Column("max lag", 8, lambda p: (nanoseconds(lag(p)), PLAIN), lag, True),
            Column("lints", 5, lints, lambda p: len(p.lints), True),
            Column("level", 5, lambda p: (str(p.info.get("level", "")), PLAIN),
                   lambda p: int(p.info.get("level", 0)), True),
            Column("with", 20, with_, lambda p: with_(p)[0], grow=2),
        )  # fmt: skip
