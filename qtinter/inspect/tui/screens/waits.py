"""Screen 5: the signal waits."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Hashable, Iterable

from ... import _tables
from ...model import TASK, WAIT, Row
from ..text import count, seconds
from .base import BOLD, DIM, HOT, PLAIN, Cell, Column, Opening, TableView
from .tasks import mark_key, mark_of

if TYPE_CHECKING:
    from ..viewer import Viewer


class WaitsView(TableView):
    name = "waits"
    title = "Waits"
    hints = (("Enter", "its task"), ("<>r", "sort"))
    fixed = 2

    def __init__(self, viewer: Viewer) -> None:
        super().__init__(viewer, "since", reverse=True)
        viewer.watch(WAIT, self.model)

    def get(self, ident: Any) -> Row | None:
        row = self.viewer.row(WAIT, ident)
        return row if row is not None and not row.is_over else None

    def idents(self) -> Iterable[Hashable]:
        return self.viewer.ids(WAIT)

    def open(self, ident: Any) -> Opening | None:
        row = self.get(ident)
        return Opening("task", row["task"]) if row is not None and row["task"] else None

    def empty_text(self) -> str:
        return "no signal waits"

    def make_columns(self) -> Iterable[Column]:
        viewer = self.viewer

        def signal(row: Row) -> str:
            assert viewer.process is not None
            return viewer.process.text(row["signal"])

        def sender(row: Row) -> Cell:
            assert viewer.process is not None
            shown = viewer.process.object_text(row["sender"]) or "-"
            return shown, PLAIN if row["sender_alive"] else HOT

        def alive(row: Row) -> Cell:
            if not row["sender"]:
                return "? unknown", DIM
            return ("✓ alive", PLAIN) if row["sender_alive"] else ("✗ gone", HOT)

        def task(row: Row) -> Cell:
            assert viewer.process is not None
            found = viewer.row(TASK, row["task"])
            if found is None:
                return str(row["task"] or ""), DIM
            return f"{row['task']} {viewer.process.task_name(found)}", PLAIN

        def since(row: Row) -> Cell:
            begun = row["since"]
            return seconds((viewer.now() - begun) * 1e-9 if begun else None), PLAIN

        def code(row: Row) -> Cell:
            assert viewer.process is not None
            return viewer.process.code_text(row["code"]), DIM

        return (
            Column("!", 2, lambda r: mark_of(viewer, WAIT, r.id),
                   lambda r: mark_key(viewer, WAIT, r.id)),
            Column("id", 4, lambda r: (str(r.id), PLAIN), lambda r: r.id, True),
            Column("signal", 14, lambda r: (signal(r), BOLD),
                   lambda r: signal(r).casefold(), grow=1),
            Column("sender", 18, sender, lambda r: sender(r)[0].casefold(), grow=2),
            Column("sender is", 9, alive, lambda r: r["sender_alive"]),
            Column("since", 8, since, lambda r: -r["since"], True),
            Column("task", 14, task, lambda r: r["task"], grow=2),
            Column("form", 10,
                   lambda r: (_tables.WAIT_FORMS.get(r["form"], ""), DIM),
                   lambda r: r["form"]),
            Column("fired", 6, lambda r: (count(r["fired"]), PLAIN),
                   lambda r: r["fired"], True),
            Column("unread", 6, lambda r: (count(r["buffered"]), PLAIN),
                   lambda r: r["buffered"], True),
            Column("dropped", 7, lambda r: (count(r["dropped"]), PLAIN),
                   lambda r: r["dropped"], True),
            Column("code", 20, code, lambda r: code(r)[0], grow=2),
        )  # fmt: skip
