"""Screen 2: the tasks, as a list or as a tree."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Hashable, Iterable

from ... import _tables
from ...model import OBJECT, SLOT, TASK, WAIT, Row
from ..rows import Forest, Group
from ..text import count, nanoseconds, seconds
from .base import BAD, BOLD, COOL, DIM, HOT, PLAIN, Cell, Column, Opening, TableView

if TYPE_CHECKING:
    from ..viewer import Viewer

ROLES = {0: "task", 1: "slot", 2: "modal", 3: "main"}
# Symbol and style of a state: the symbols tell them apart without colours.
STATES = {
    0: ("+", COOL),
    1: ("○", COOL),
    2: ("▶", HOT),
    3: ("·", PLAIN),
    4: ("×", HOT),
    5: ("✓", DIM),
    6: ("!", HOT),
    7: ("×", DIM),
    8: ("!", BAD),
}
MARKS = {"E": ("E!", BAD), "W": ("W", HOT), "I": ("i", COOL)}
WAITING = (3, 4)
TREES = ("", "await", "creator", "object")
TREE_TITLES = {
    "await": "by what they wait for",
    "creator": "by creator",
    "object": "by receiver",
}


def mark_of(viewer: Viewer, kind: int, ident: int) -> Cell:
    """The warning sign of an entity."""
    finding = viewer.warnings.get((kind, ident))
    return ("", PLAIN) if finding is None else MARKS.get(finding.severity, ("?", COOL))


def mark_key(viewer: Viewer, kind: int, ident: int) -> int:
    finding = viewer.warnings.get((kind, ident))
    return 0 if finding is None else " IWE".find(finding.severity)


def state_of(row: Row) -> Cell:
    symbol, style = STATES.get(row.state, ("?", DIM))
    return f"{symbol} {_tables.TASK_STATES.get(row.state, str(row.state))}", style


class TasksView(TableView):
    name = "tasks"
    title = "Tasks"
    hints = (
        ("Enter", "details"),
        ("/", "filter"),
        ("t", "tree"),
        ("<>r", "sort"),
    )
    fixed = 2

    def __init__(self, viewer: Viewer) -> None:
        # What a file tells of may all be over.
        self.ended = not viewer.source.can_follow and not viewer.rows(TASK)
        self.tree = ""
        super().__init__(viewer, "id")
        viewer.watch(TASK, self.model)

    # --- rows

    def get(self, ident: Any) -> Row | None:
        row = self.viewer.row(TASK, ident)
        return row if row is not None and (self.ended or not row.is_over) else None

    def idents(self) -> Iterable[Hashable]:
        return self.viewer.ids(TASK)

    def open(self, ident: Any) -> Opening | None:
        return Opening("task", ident) if isinstance(ident, int) else None

    def empty_text(self) -> str:
        if self.viewer.filter_text:
            return "no task passes the filter"
        if not self.ended and any(self.viewer.ids(TASK)):
            return "no task is left by now; e shows those that have ended"
        return "no tasks"

    def filter_by(self, text: str) -> None:
        """Show tasks that a filter holds for.

        :raises ValueError: it is none.
        """
        condition = self.viewer.condition(text)
        self.viewer.filter_text = text.strip()
        self.model.filter_by(condition)

    def key(self, key: str) -> bool:
        if key == "t":
            self.hang_by(TREES[(TREES.index(self.tree) + 1) % len(TREES)])
        elif key == "e":
            self.ended = not self.ended
            self.model.reset()
        else:
            return False
        return True

    def note(self) -> str:
        note = super().note()
        if self.tree:
            note += f" tree {TREE_TITLES[self.tree]}"
        return note + (" with ended" if self.ended else "")

    # --- the tree

    def hang_by(self, tree: str) -> None:
        """Show a tree, one of TREES; "": a list."""
        self.tree = tree
        parents = {
            "await": self._awaited,
            "creator": self._creator,
            "object": self._receiver,
        }
        parent = parents.get(tree)
        self.model.hang_by(None if parent is None else Forest(parent, self._group))

    def _awaited(self, ident: Any) -> Hashable | None:
        row = self.viewer.row(TASK, ident) if isinstance(ident, int) else None
        if row is None or row.state not in WAITING:
            return None
        return self._node(row["wait_ref"], (TASK, WAIT))

    def _creator(self, ident: Any) -> Hashable | None:
        row = self.viewer.row(TASK, ident)
        return None if row is None else self._node(row["creator"], (TASK,))

    def _receiver(self, ident: Any) -> Hashable | None:
        if isinstance(ident, int):
            row = self.viewer.row(TASK, ident)
            return (SLOT, row["slot"]) if row is not None and row["slot"] else None
        kind, number = ident
        slot = self.viewer.row(SLOT, number) if kind == SLOT else None
        return (
            (OBJECT, slot["receiver"])
            if slot is not None and slot["receiver"]
            else None
        )

    def _node(self, ref: int, kinds: tuple[int, ...]) -> Hashable | None:
        process = self.viewer.process
        found = None if process is None else process.ref(ref)
        if found is None or found[0] not in kinds or self.viewer.row(*found) is None:
            return None
        if found[0] != TASK:
            return found
        return found[1] if self.get(found[1]) is not None else None

    def _group(self, ident: Hashable) -> Group | None:
        process = self.viewer.process
        if not isinstance(ident, tuple) or process is None:
            return None
        kind, number = ident
        row = self.viewer.row(kind, number)
        if kind == OBJECT:
            live = row is not None and not row["destroyed"]
            text = process.object_text(number) or f"object {number}"
            return Group(text if live else f"{text}, destroyed", live)
        if row is None:
            return Group(f"{_tables.ENTITIES[kind][0]} {number}")
        live = kind != WAIT or bool(row["sender_alive"])
        return Group(process.describe(kind << 56 | number), live)

    @property
    def tree_column(self) -> int:
        return 4

    # --- columns

    def make_columns(self) -> Iterable[Column]:
        viewer = self.viewer

        def name(row: Row) -> Cell:
            process = viewer.process
            assert process is not None
            shown = process.task_name(row)
            code = process.code(row["code"])
            if code is not None and code["name"] and code["name"] != shown:
                shown += f"  {code['name']}"
            return shown, BOLD if row["slot"] else PLAIN

        def name_key(row: Row) -> str:
            assert viewer.process is not None
            return viewer.process.task_name(row).casefold()

        def waits(row: Row) -> Cell:
            assert viewer.process is not None
            wait = viewer.process.wait_of(row)
            if wait is None:
                return "", PLAIN
            return wait["text"], PLAIN if wait.get("sender_alive", True) else HOT

        def waits_key(row: Row) -> str:
            return waits(row)[0].casefold() if row.state in WAITING else ""

        def since(row: Row) -> Cell:
            begun = row["changed"]
            return seconds((viewer.now() - begun) * 1e-9 if begun else None), PLAIN

        def age(row: Row) -> Cell:
            begun = row["created"]
            return seconds((viewer.now() - begun) * 1e-9 if begun else None), DIM

        def woken(row: Row) -> Cell:
            assert viewer.process is not None
            return viewer.process.describe(row["woken_by"]), DIM

        def time_of(column: str, limit: int) -> Any:
            def cell(row: Row) -> Cell:
                value = row[column]
                return nanoseconds(value), HOT if value >= limit else PLAIN

            return cell

        second = 1_000_000_000
        return (
            Column(
                "!",
                2,
                lambda row: mark_of(viewer, TASK, row.id),
                lambda row: mark_key(viewer, TASK, row.id),
            ),
            Column("id", 5, lambda row: (str(row.id), PLAIN), lambda row: row.id, True),
            Column(
                "kind",
                5,
                lambda row: (ROLES.get(row["role"], ""), DIM),
                lambda row: row["role"],
            ),
            Column("state", 12, state_of, lambda row: row.state),
            Column("name, code", 21, name, name_key, grow=3),
            Column("waits for", 20, waits, waits_key, grow=3),
            # Ages grow as what they count from falls.
            Column("since", 8, since, lambda row: -row["changed"], True),
            Column("age", 8, age, lambda row: -row["created"], True),
            Column("busy", 8, time_of("busy", 10**18), lambda row: row["busy"], True),
            Column(
                "ready",
                8,
                time_of("scheduled", 10**18),
                lambda row: row["scheduled"],
                True,
            ),
            Column(
                "steps",
                7,
                lambda row: (count(row["steps"]), PLAIN),
                lambda row: row["steps"],
                True,
            ),
            Column(
                "longest",
                8,
                time_of("max_step", second // 10),
                lambda row: row["max_step"],
                True,
            ),
            Column("woken by", 16, woken, lambda row: woken(row)[0].casefold(), grow=2),
        )
