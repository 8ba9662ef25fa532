"""Screen 8: the findings."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Hashable, Iterable

from ..history import task_of_ref
from ..text import count, seconds
from .base import BOLD, PLAIN, Cell, Column, Opening, SmallTableView
from .tasks import MARKS

if TYPE_CHECKING:
    from ..viewer import Viewer


class LintsView(SmallTableView):
    name = "lints"
    title = "Lints"
    hints = (("Enter", "the task"), ("<>r", "sort"))
    fixed = 2

    def __init__(self, viewer: Viewer) -> None:
        super().__init__(viewer, "!", reverse=True)

    def get(self, ident: Any) -> dict[str, Any] | None:
        process = self.viewer.process
        return None if process is None else process.lints.get(ident)

    def idents(self) -> Iterable[Hashable]:
        process = self.viewer.process
        return [] if process is None else list(process.lints)

    def open(self, ident: Any) -> Opening | None:
        task = task_of_ref(ident[1])
        return None if task is None else Opening("task", task)

    def empty_text(self) -> str:
        return "no findings"

    def make_columns(self) -> Iterable[Column]:
        viewer = self.viewer

        def about(lint: dict[str, Any]) -> Cell:
            assert viewer.process is not None
            return viewer.process.describe(lint["ref"]), PLAIN

        def since(lint: dict[str, Any]) -> Cell:
            return seconds((viewer.now() - lint["since"]) * 1e-9), PLAIN

        return (
            Column("!", 2, lambda n: MARKS.get(n["severity"], ("?", PLAIN)),
                   lambda n: " IWE".find(n["severity"])),
            Column("lint", 6, lambda n: (n["id"], BOLD), lambda n: n["id"]),
            Column("what", 40, lambda n: (n["text"], PLAIN), lambda n: n["text"],
                   grow=4),
            Column("about", 14, about, lambda n: about(n)[0], grow=1),
            Column("times", 6, lambda n: (count(n["count"]), PLAIN),
                   lambda n: n["count"], True),
            Column("since", 8, since, lambda n: -n["since"], True),
        )  # fmt: skip
