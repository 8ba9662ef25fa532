"""What is on the screen, as lines of cells: everything but who draws them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..model import LOOP, TASK
from .layout import GAP
from .screens.base import Cell, TableView, View
from .screens.details import TaskView
from .screens.help import HelpView
from .screens.lints import LintsView
from .screens.loop import LoopView
from .screens.processes import ProcessesView
from .screens.slots import SlotsView
from .screens.stalls import StallsView, StallView
from .screens.tasks import TasksView
from .screens.waits import WaitsView
from .source import FileSource
from .text import clean, count, fit, seconds, width_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .line import LineEdit
    from .viewer import Viewer

TABS = ("processes", "tasks", "task", "slots", "waits", "loop", "stalls", "lints")
# Which tab stands for a screen that has none.
UNDER = {"stall": "stalls"}


class Scene:
    """The screens, which of them is shown, and the lines around it.

    :ivar view: the screen that is shown.
    :ivar problem: what went wrong, to be said; "": nothing.
    :ivar line: a filter that is being typed.
    """

    def __init__(self, viewer: Viewer, filter_text: str = "") -> None:
        self.viewer = viewer
        self.tasks = TasksView(viewer)
        self.views: dict[str, View] = {
            view.name: view
            for view in (
                ProcessesView(viewer),
                self.tasks,
                TaskView(viewer),
                SlotsView(viewer),
                WaitsView(viewer),
                LoopView(viewer),
                StallsView(viewer),
                StallView(viewer),
                LintsView(viewer),
                HelpView(viewer),
            )
        }
        self.view: View = self.tasks
        self.problem = ""
        self.line: LineEdit | None = None
        self.set_filter(filter_text)

    def set_filter(self, text: str) -> bool:
        """Filter the tasks; what is wrong with the text is shown."""
        try:
            self.tasks.filter_by(text)
        except ValueError as exc:
            self.problem = str(exc)
            return False
        self.problem = ""
        return True

    def first_view(self) -> str:
        """The screen to begin with: with several applications, which are they?"""
        viewer = self.viewer
        alive = [p for p in viewer.source.processes.values() if p.alive]
        wanted = getattr(viewer.source, "wanted", None)
        several = len(alive) > 1 and wanted is None and not viewer.filter_text
        return "processes" if several else "tasks"

    @property
    def recording(self) -> FileSource | None:
        """What is shown, if one can move in its time."""
        source = self.viewer.source
        return source if isinstance(source, FileSource) and source.has_times else None

    @property
    def tab(self) -> int:
        """Which of TABS is shown; -1: none of them."""
        name = UNDER.get(self.view.name, self.view.name)
        return TABS.index(name) if name in TABS else -1

    # --- the lines around it

    def tabs(self, width: int) -> list[Cell]:
        """The screens that there are, and the application."""
        on = self.tab
        cells: list[Cell] = []
        for index, tab in enumerate(TABS):
            style = "bar.on" if index == on else "bar"
            cells.append((f" {index + 1} {self.views[tab].title} ", style))
        left = width - sum(width_of(text) for text, _ in cells)
        who = self._application()
        if left > 12:
            cells.append((fit(f" {who} ", left, True), "bar.dim"))
        return cells

    def _application(self) -> str:
        process = self.viewer.process
        if process is None:
            return ""
        name = clean(str(process.info.get("name", "?")))
        return f"{name} {process.info.get('pid', '')}"

    def heads(self, shown: Sequence[tuple[int, int]]) -> list[Cell]:
        """The heads of the columns (column, width) that are seen."""
        view = self.view
        if not isinstance(view, TableView):
            return [(f" {view.title}", "column")]
        cells: list[Cell] = []
        for index, size in shown:
            if cells:
                cells.append((" " * GAP, "column"))
            column = view.columns[index]
            on = index == view.sort_index
            name = column.name
            if on and size > len(name):
                name += "▼" if view.reverse else "▲"
            style = "column.on" if on else "column"
            cells.append((fit(name, size, column.right), style))
        if shown and shown[-1][0] < len(view.columns) - 1:
            cells.append(("›", "bar.key"))
        return cells

    def status(self) -> list[Cell]:
        """First what must be seen, whatever the width."""
        cells: list[Cell] = []
        viewer, source = self.viewer, self.viewer.source
        lost = viewer.lost()
        if lost:
            cells.append((f" LOST {count(lost)} ", "bar.lost"))
        if viewer.paused:
            cells.append((" PAUSED ", "bar.hot"))
        cells.append(self._connection())
        if self.problem or (source.problem and not source.is_connected):
            said = clean(self.problem or source.problem)
            cells.append((f" {said} ", "bar.hot"))
            return cells
        recording = self.recording
        if recording is not None:
            at, length = seconds(recording.at), seconds(recording.length)
            cells.append((f" at {at} of {length} ", "bar.key"))
        if viewer.filter_text and self.view.name == "tasks":
            cells.append((f" / {clean(viewer.filter_text)} ", "bar.key"))
        note = self.view.note()
        if note:
            cells.append((f" {note} ", "bar"))
        cells.append((self._summary(), "bar.dim"))
        return cells

    def _connection(self) -> Cell:
        viewer, source = self.viewer, self.viewer.source
        pid = viewer.pid
        live = None if pid is None else source.processes.get(pid)
        if not source.can_follow:
            return f" ■ {clean(source.connection)} ", "bar"
        if not source.is_connected:
            return f" ○ {source.connection} ", "bar.hot"
        if live is None:
            return " ○ no application ", "bar"
        if not live.alive:
            cause = live.info.get("cause", "")
            return f" ■ ENDED ({clean(str(cause))}) ", "bar.hot"
        return " ● live ", "bar"

    def _summary(self) -> str:
        viewer = self.viewer
        process = viewer.process
        if process is None:
            return ""
        loops = viewer.rows(LOOP)
        words = [f" {len(viewer.ids(TASK))} tasks"]
        if loops:
            lag = max(row["max_lag"] for row in loops)
            words.append(f"worst lag {seconds(lag * 1e-9)}")
        words.append(f"level {process.info.get('level', '?')}")
        return ", ".join(words)

    def key_line(self) -> list[Cell]:
        """The keys that do something here, or the filter that is being typed."""
        if self.line is not None:
            before, at, after = self.line.parts()
            hint = "   Enter: keep, Esc: as before; state==waiting and age>5s"
            return [
                (" / ", "bar.key"),
                (clean(before), "bar"),
                (clean(at), "bar.on"),
                (clean(after), "bar"),
                (hint, "bar.dim"),
            ]
        time = ("[ ]", "time") if self.recording else ("Space", "pause")
        general = (time, ("?", "help"), ("q", "quit"))
        cells: list[Cell] = []
        for key, text in (*self.view.hints, *general):
            cells += [(f" {key}", "bar.key"), (f" {text} ", "bar")]
        return cells


def row_cells(
    view: TableView,
    index: int,
    shown: Sequence[tuple[int, int]],
    width: int,
) -> list[Cell]:
    """The line of a table for its row of this number.

    :param shown: (column, width) of what is seen, as :func:`~.layout.lay_out` gives.
    """
    order = view.model.order
    if index >= len(order):
        return [(view.empty_text(), "dim")] if index == 0 else []
    ident = order[index]
    cells = view.cells(ident, [column for column, _ in shown])
    if cells is None:
        return []
    if len(cells) < len(shown):  # a group of a tree
        text, style = cells[0]
        lead = " " * _start_of(view.tree_column, shown)
        return [(fit(lead + text, width), style)]
    lead = view.model.prefix(ident) if view.model.is_tree else ""
    line: list[Cell] = []
    for (column, size), (text, style) in zip(shown, cells):
        if line:
            line.append((" " * GAP, "plain"))
        if lead and column == view.tree_column:
            text = lead + text
        line.append((fit(text, size, view.columns[column].right), style))
    return line


def _start_of(column: int, shown: Sequence[tuple[int, int]]) -> int:
    """Where on the line a column begins; 0 if it is not shown."""
    start = 0
    for index, size in shown:
        if index == column:
            return start
        start += size + GAP
    return 0


def cut(cells: Sequence[Cell], width: int, filler: str) -> list[Cell]:
    """A line of cells, cut to the width or filled with cells of another style."""
    line: list[Cell] = []
    left = width
    for text, style in cells:
        size = width_of(text)
        if size > left:
            text, size = fit(text, left), left
        line.append((text, style))
        left -= size
        if left <= 0:
            break
    if left > 0:
        line.append((" " * left, filler))
    return line
