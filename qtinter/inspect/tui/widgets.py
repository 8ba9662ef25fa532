"""The parts of the terminal screen: a table, a page of lines, bars.

All are drawn line by line, and only the lines that are seen.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Callable, Hashable

from rich.segment import Segment
from textual.geometry import Size
from textual.message import Message
from textual.scroll_view import ScrollView
from textual.strip import Strip
from textual.widget import Widget

from .layout import last_skip, lay_out
from .scene import cut, row_cells
from .screens.base import Cell, PageView, TableView
from .styles import SELECTED, STYLES, Styles
from .text import width_of

if TYPE_CHECKING:
    from textual import events
    from textual.geometry import Region


def strip_of(
    cells: list[Cell], width: int, filler: str = "plain", styles: Styles = STYLES
) -> Strip:
    """One line of cells, cut or filled to the width."""
    pieces = [Segment(text, styles[style]) for text, style in cut(cells, width, filler)]
    return Strip(pieces, width)


class Bar(Widget):
    """A line of cells, made anew each time it is drawn."""

    DEFAULT_CSS = "Bar { height: 1; }"
    ALLOW_SELECT = False

    class Clicked(Message):
        """Somebody clicked on a cell of a bar."""

        def __init__(self, bar: Bar, cell: int) -> None:
            super().__init__()
            self.bar = bar
            self.cell = cell

    def __init__(self, make: Callable[[int], list[Cell]], name: str) -> None:
        super().__init__(id=name)
        self._make = make
        self._ends: list[int] = []

    def render_line(self, y: int) -> Strip:
        width = self.size.width
        cells = self._make(width)
        ends, x = [], 0
        for text, _ in cells:
            x += width_of(text)
            ends.append(x)
        self._ends = ends
        return strip_of(cells, width, "bar")

    def on_click(self, event: events.Click) -> None:
        for index, end in enumerate(self._ends):
            if event.x < end:
                self.post_message(self.Clicked(self, index))
                return


class Scrolled(ScrollView, can_focus=False):
    """What a table and a page have in common: they scroll by lines."""

    DEFAULT_CSS = """
    Scrolled { height: 1fr; overflow-x: hidden; overflow-y: scroll;
               scrollbar-size-vertical: 1; }
    """
    ALLOW_SELECT = False

    def set_height(self, lines: int) -> None:
        """Say how many lines there are to be scrolled through."""
        width = self.scrollable_content_region.width or self.size.width
        if self.virtual_size != (width, lines):
            self.virtual_size = Size(width, lines)

    @property
    def page(self) -> int:
        """Lines that are seen."""
        return max(1, self.scrollable_content_region.height)

    def go_to(self, y: int) -> None:
        self.scroll_to(0, y, animate=False, immediate=True, force=True)


class Table(Scrolled):
    """The rows of a :class:`TableView`, and a cursor."""

    def __init__(self, view: TableView, name: str) -> None:
        super().__init__(id=name)
        self.view = view
        self.skip = 0  # columns that are passed over
        self._place: tuple[int, Hashable, int] = (-1, None, 0)
        self._layout: list[tuple[int, int]] = []

    class Opened(Message):
        """A row was clicked on for a second time."""

    def show(self, view: TableView) -> None:
        """Show another table."""
        self.view = view
        self.skip = 0
        self._place = (-1, None, 0)
        self.update_rows()
        self.go_to(0)
        self.reveal()

    def update_rows(self) -> None:
        """Draw again: rows, or their order, may have changed."""
        self.set_height(len(self.view.model.order))
        self.refresh()

    def layout_of(self) -> list[tuple[int, int]]:
        """(column, width) of what is seen."""
        view, width = self.view, self.scrollable_content_region.width
        self.skip = max(0, min(self.skip, last_skip(view.columns, width, view.fixed)))
        return lay_out(view.columns, width, view.fixed, self.skip)

    # --- the cursor

    @property
    def cursor(self) -> int:
        """Number of the selected row; it stays on its row when that moves."""
        model, selected = self.view.model, self.view.selected
        if not model.order:
            return 0
        version, ident, index = self._place
        if version == model.version and ident == selected:
            return index
        if selected is None:
            index = 0
        else:
            try:
                index = model.order.index(selected)
            except ValueError:  # it has gone: its place stays
                index = min(index, len(model.order) - 1)
        self._place = (model.version, selected, index)
        return index

    def move_to(self, index: int) -> None:
        """Select a row by its number."""
        order = self.view.model.order
        if not order:
            return
        index = max(0, min(len(order) - 1, index))
        self.view.selected = order[index]
        self._place = (self.view.model.version, order[index], index)
        self.reveal()
        self.refresh()

    def reveal(self) -> None:
        """Scroll to where the cursor is."""
        index, top = self.cursor, self.scroll_offset.y
        if index < top:
            self.go_to(index)
        elif index >= top + self.page:
            self.go_to(index - self.page + 1)

    @property
    def ident(self) -> Hashable:
        """What the cursor is on; None: nothing."""
        order = self.view.model.order
        return order[self.cursor] if order else None

    def on_click(self, event: events.Click) -> None:
        index = event.y + self.scroll_offset.y
        if index >= len(self.view.model.order):
            return
        again = self.view.model.order[index] == self.view.selected
        self.move_to(index)
        if again:
            self.post_message(self.Opened())

    # --- drawing

    def render_lines(self, crop: Region) -> list[Strip]:
        self._layout = self.layout_of()  # the same for all of them
        return super().render_lines(crop)

    def render_line(self, y: int) -> Strip:
        width = self.scrollable_content_region.width
        index = y + self.scroll_offset.y
        view = self.view
        selected = index == self.cursor and bool(view.model.order)
        cells = row_cells(view, index, self._layout or self.layout_of(), width)
        return strip_of(cells, width, styles=SELECTED if selected and cells else STYLES)


class Page(Scrolled):
    """The lines of a :class:`PageView`."""

    def __init__(self, view: PageView, name: str) -> None:
        super().__init__(id=name)
        self.view = view
        self._lines: list[list[Cell]] = []

    def show(self, view: PageView) -> None:
        self.view = view
        self.update_rows()
        self.go_to(0)

    def update_rows(self) -> None:
        """Draw again; whoever is at the end stays there when more comes."""
        is_at_end = 0 < self.max_scroll_y == self.scroll_offset.y
        self._lines = self.view.lines(self.scrollable_content_region.width)
        self.set_height(len(self._lines))
        if is_at_end:
            self.go_to(self.max_scroll_y)
        self.refresh()

    def on_resize(self) -> None:
        self.update_rows()

    def render_line(self, y: int) -> Strip:
        index = y + self.scroll_offset.y
        cells = self._lines[index] if index < len(self._lines) else []
        return strip_of(cells, self.scrollable_content_region.width)
