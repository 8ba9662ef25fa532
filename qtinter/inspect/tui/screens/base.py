"""What a screen is: a table or a page of lines, with keys of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Callable, Hashable, Iterable, NamedTuple, Tuple

from ..rows import RowModel
from ..text import clean

if TYPE_CHECKING:
    from ..viewer import Viewer

# A text and the name of its style, see styles.py.
Cell = Tuple[str, str]
Line = "list[Cell]"

PLAIN, DIM, HOT, COOL, BAD, BOLD, HEAD = (
    "plain",
    "dim",
    "hot",
    "cool",
    "bad",
    "bold",
    "head",
)


class Column(NamedTuple):
    """A column of a table.

    :ivar width: cells that it gets at least.
    :ivar cell: the text and style of an item.
    :ivar key: what it is sorted by; of one type for all items.
    :ivar grow: which part of the room that is left over it gets.
    """

    name: str
    width: int
    cell: Callable[[Any], Cell]
    key: Callable[[Any], Any]
    right: bool = False
    grow: int = 0


class Opening(NamedTuple):
    """Where Enter leads: a screen, and what it should show."""

    screen: str
    argument: Any


class View:
    """A screen.

    :ivar name: of one word, for the program.
    :ivar title: for the reader.
    :ivar hints: keys of this screen alone, with what they do.
    """

    name = ""
    title = ""
    hints: tuple[tuple[str, str], ...] = ()

    def __init__(self, viewer: Viewer) -> None:
        self.viewer = viewer

    async def enter(self, argument: Any = None) -> None:
        """It is going to be shown."""

    async def leave(self) -> None:
        """Another one is going to be shown."""

    async def poll(self) -> None:
        """Ask the daemon for what it does not tell; about once a second."""

    def work(self, budget: float) -> bool:
        """Do what is outstanding, for so many seconds; whether something changed."""
        return False

    def key(self, key: str) -> bool:
        """A key of this screen was pressed; False: it is none."""
        return False

    def note(self) -> str:
        """For the status line: how it is sorted, and the like."""
        return ""


class TableView(View):
    """A screen with a table."""

    columns: tuple[Column, ...] = ()
    fixed = 1  # so many columns stay when others are moved

    def __init__(self, viewer: Viewer, sort: str, reverse: bool = False) -> None:
        super().__init__(viewer)
        self.columns = tuple(self.make_columns())
        self.model: RowModel[Any] = RowModel(self.get, self.idents)
        self.sort_index = [column.name for column in self.columns].index(sort)
        self.reverse = reverse
        self.selected: Hashable = None
        self._resort()

    # --- what a screen has to say

    def make_columns(self) -> Iterable[Column]:
        raise NotImplementedError

    def get(self, ident: Any) -> Any:
        raise NotImplementedError

    def idents(self) -> Iterable[Hashable]:
        raise NotImplementedError

    def open(self, ident: Any) -> Opening | None:
        """Where Enter on a row leads."""
        return None

    def empty_text(self) -> str:
        """What is said when there are no rows."""
        return "nothing"

    # --- what all tables do

    def work(self, budget: float) -> bool:
        return self.model.work(budget)

    def _resort(self) -> None:
        self.model.sort_by(self.columns[self.sort_index].key, self.reverse)

    def sort_by(self, index: int) -> None:
        """Sort by a column; by the same one again: the other way round."""
        if index == self.sort_index:
            self.reverse = not self.reverse
        else:
            self.sort_index = index
            # Of numbers the large ones are what one looks for.
            self.reverse = self.columns[index].right
        self._resort()

    def sort_step(self, step: int) -> None:
        """Sort by the next column, or the one before."""
        index = (self.sort_index + step) % len(self.columns)
        self.sort_by(index)

    def turn(self) -> None:
        """Sort the other way round."""
        self.reverse = not self.reverse
        self._resort()

    def note(self) -> str:
        arrow = "▼" if self.reverse else "▲"
        return f"{self.model.passed}/{self.model.total} {arrow}" + (
            self.columns[self.sort_index].name
        )

    def cells(self, ident: Hashable, indexes: Iterable[int]) -> list[Cell] | None:
        """A row's cells of these columns, all of them clean; None: it is gone.

        Of a row that stands for no item of the table: one cell.
        """
        group = self.model.group(ident)
        if group is not None:
            style = BOLD if group.live else HOT
            return [(clean(self.model.prefix(ident) + group.text), style)]
        item = self.get(ident)
        if item is None:
            return None
        return [self._cell(self.columns[index], item) for index in indexes]

    @staticmethod
    def _cell(column: Column, item: Any) -> Cell:
        text, style = column.cell(item)
        return clean(text), style

    @property
    def tree_column(self) -> int:
        """The column before whose text the lines of a tree are drawn."""
        return 0


class SmallTableView(TableView):
    """A table with few rows: all are looked at again each time."""

    def work(self, budget: float) -> bool:
        if self.model.is_settled:
            self.model.touch([*self.idents(), *self.model.order])
        self.model.work(budget)
        return True


class PageView(View):
    """A screen with lines."""

    def lines(self, width: int) -> list[list[Cell]]:
        """The page; texts are clean."""
        raise NotImplementedError
