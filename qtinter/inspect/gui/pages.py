"""The tabs of the window: a table, or the tree, with what is said when it is empty."""

from __future__ import annotations

from typing import Any

from . import theme as themes
from . import trees
from .application import Application
from .charts import LoadChart
from .columns import TABLES, Table
from .forest import Forest
from .qt import Qt, QtCore, QtWidgets, Signal
from .tables import ID_ROLE, RowTable

_STATES = (
    "running", "ready", "created", "waiting", "cancelling", "done", "failed",
    "cancelled", "destroyed", "E", "W", "I",
)  # fmt: skip
_CELL_MARGINS = 26  # pixels, of the style sheet and of the style
_OPEN_LEVELS = 3  # of the tree, that are open at first
_OPEN_CHILDREN = 300  # children, beyond which a node is not opened by itself
_OPEN_MOST = 500  # nodes, beyond which nothing is opened by itself


def icons(theme: themes.Theme) -> dict[str, Any]:
    """The signs of the states, and the colour of what is over."""
    found = {state: themes.state_icon(state, theme) for state in _STATES}
    found["dim"] = theme.dim
    return found


class Page(QtWidgets.QWidget):
    """A tab.

    :ivar model: of what it shows; has ``work(seconds)``, ``busy``, ``set_application``
        and ``set_filter``.
    """

    chosen = Signal(object)  # a ref, or ("lint"/"stall", id)

    def __init__(self, name: str, parent: Any = None) -> None:
        super().__init__(parent)
        self.name = name
        self.model: Any = None
        self._view: Any = None
        self.application: Application | None = None
        self._syncing = False
        self.empty = QtWidgets.QLabel()
        self.empty.setObjectName("empty")
        self.empty.setAlignment(Qt.AlignmentFlag.AlignCenter)
        self.empty.setWordWrap(True)
        self.stack = QtWidgets.QStackedWidget()
        self.stack.setObjectName("views")
        self.stack.addWidget(self.empty)
        self.box = QtWidgets.QVBoxLayout(self)
        self.box.setContentsMargins(0, 0, 0, 0)
        self.box.setSpacing(0)

    @property
    def view(self) -> Any:
        """Made when it is first shown: the window is there sooner."""
        if self._view is None:
            self._view = self._make_view()
            self._finish(self._view)
        return self._view

    def _make_view(self) -> Any:
        """The table or the tree; each kind of page has its own."""
        raise NotImplementedError

    def showEvent(self, event: Any) -> None:
        self._show_view()
        super().showEvent(event)

    def _show_view(self) -> None:
        nothing = self.model.rowCount() == 0 and not self.model.busy
        self.stack.setCurrentWidget(self.empty if nothing else self.view)

    def _finish(self, view: Any) -> None:
        view.setAlternatingRowColors(True)
        view.setSelectionBehavior(
            QtWidgets.QAbstractItemView.SelectionBehavior.SelectRows
        )
        view.setSelectionMode(QtWidgets.QAbstractItemView.SelectionMode.SingleSelection)
        view.setEditTriggers(QtWidgets.QAbstractItemView.EditTrigger.NoEditTriggers)
        view.setVerticalScrollMode(QtWidgets.QAbstractItemView.ScrollMode.ScrollPerItem)
        view.setHorizontalScrollMode(
            QtWidgets.QAbstractItemView.ScrollMode.ScrollPerPixel
        )
        self.stack.addWidget(view)
        view.selectionModel().currentRowChanged.connect(self._current_changed)

    def set_application(self, application: Application | None) -> None:
        self.application = application
        self.model.set_application(application)

    def set_theme(self, theme: themes.Theme, signs: dict[str, Any]) -> None:
        self.model.icons = signs
        if self._view is not None:
            self._view.viewport().update()

    def work(self, seconds: float) -> None:
        self.model.work(seconds)
        self._show_view()

    def repaint_ages(self) -> None:
        self.view.viewport().update()

    def _current_changed(self, current: Any, previous: Any) -> None:
        if not self._syncing and current.isValid():
            self._choose(current)

    def _choose(self, index: Any) -> None:
        raise NotImplementedError

    def _index_of(self, ref: int) -> Any:
        raise NotImplementedError

    def select(self, ref: int) -> None:
        """Marks the row of an entity, if it is shown here."""
        index = self._index_of(ref)
        self._syncing = True
        try:
            if index is None or not index.isValid():
                self.view.selectionModel().clear()
            elif index.row() != self.view.currentIndex().row() or (
                index.parent() != self.view.currentIndex().parent()
            ):
                self.view.setCurrentIndex(index)
                self.view.scrollTo(index)
            elif not self.view.selectionModel().hasSelection():
                self.view.selectRow(index.row())
        finally:
            self._syncing = False


class TablePage(Page):
    """A tab with a table."""

    def __init__(self, name: str, parent: Any = None) -> None:
        super().__init__(name, parent)
        self.table: Table = TABLES[name]
        self.model = RowTable(self.table, self)
        self.empty.setText(self.table.nothing)
        self.chart: LoadChart | None = None
        if name == "loops":
            self.chart = LoadChart(themes.make(False))
            self.box.addWidget(self.chart, 2)
        self.box.addWidget(self.stack, 1)

    def _make_view(self) -> Any:
        view = QtWidgets.QTableView()
        view.setAccessibleName(self.table.title)
        view.setModel(self.model)
        view.setShowGrid(False)
        view.setWordWrap(False)
        view.setCornerButtonEnabled(False)
        view.setTabKeyNavigation(False)
        header = view.verticalHeader()
        header.hide()
        header.setSectionResizeMode(QtWidgets.QHeaderView.ResizeMode.Fixed)
        header.setDefaultSectionSize(view.fontMetrics().height() + 8)
        across = view.horizontalHeader()
        across.setHighlightSections(False)
        across.setStretchLastSection(True)
        across.setSectionsMovable(True)
        across.setSortIndicator(
            self.table.sort,
            Qt.SortOrder.DescendingOrder
            if self.table.descending
            else Qt.SortOrder.AscendingOrder,
        )
        view.setSortingEnabled(True)
        digit = view.fontMetrics().horizontalAdvance("0")
        character = view.fontMetrics().averageCharWidth()
        for i, column in enumerate(self.table.columns):
            wide = digit if column.right else character
            view.setColumnWidth(i, wide * column.width + _CELL_MARGINS)
        return view

    def set_application(self, application: Application | None) -> None:
        super().set_application(application)
        if self.chart is not None:
            self.chart.application = application

    def set_theme(self, theme: themes.Theme, signs: dict[str, Any]) -> None:
        super().set_theme(theme, signs)
        if self.chart is not None:
            self.chart.theme = theme
            self.chart.update()

    def repaint_ages(self) -> None:
        super().repaint_ages()
        if self.chart is not None:
            self.chart.update()

    def _choose(self, index: Any) -> None:
        ident = index.data(ID_ROLE)
        if self.table.kind <= 0:
            self.chosen.emit((self.name, ident))
        else:
            self.chosen.emit(self.table.kind << 56 | ident)

    def _index_of(self, ref: int) -> Any:
        if self.table.kind <= 0:
            return self.view.currentIndex()
        kind, ident = ref >> 56, ref & (1 << 56) - 1
        row = self.model.row_of(ident) if kind == self.table.kind else -1
        return self.model.index(row, 0) if row >= 0 else None

    def keep_selected(self, ref: int) -> None:
        """Selects again after the rows were made anew."""
        self.select(ref)


class TreePage(Page):
    """The tab with the tree of tasks."""

    def __init__(self, parent: Any = None) -> None:
        super().__init__("tree", parent)
        self.model = Forest(self)
        bar = QtWidgets.QHBoxLayout()
        bar.setContentsMargins(10, 6, 10, 6)
        bar.setSpacing(8)
        label = QtWidgets.QLabel("&Tasks")
        self.modes = QtWidgets.QComboBox()
        self.modes.setAccessibleName("What the tree shows")
        for name, (title, _) in trees.MODES.items():
            self.modes.addItem(title, name)
        label.setBuddy(self.modes)
        self.modes.currentIndexChanged.connect(self._mode_changed)
        self.hint = QtWidgets.QLabel()
        self.hint.setObjectName("empty")
        bar.addWidget(label)
        bar.addWidget(self.modes)
        bar.addSpacing(8)
        bar.addWidget(self.hint)
        bar.addStretch(1)
        self.box.addLayout(bar)
        self.box.addWidget(self.stack, 1)
        self.empty.setText("No task matches.")
        self._opened = 0
        self._to_open: list[Any] = []
        self.model.modelReset.connect(self._begin)
        self.model.rowsInserted.connect(self._inserted)
        self._mode_changed()

    def _make_view(self) -> Any:
        view = QtWidgets.QTreeView()
        view.setAccessibleName("Tree of tasks")
        view.setModel(self.model)
        view.setUniformRowHeights(True)
        view.setAllColumnsShowFocus(True)
        view.header().setStretchLastSection(True)
        character = view.fontMetrics().averageCharWidth()
        for i, width in enumerate((36, 10, 30, 10, 11)):
            view.setColumnWidth(i, character * width + _CELL_MARGINS)
        return view

    def _mode_changed(self, *_: Any) -> None:
        mode = self.modes.currentData()
        self.hint.setText(
            {
                "await": "A task is below what it waits for.",
                "creator": "A task is below the task that created it.",
                "object": "Invocations are below their asyncslot and its receiver.",
            }[mode]
        )
        if mode != self.model.mode:
            self.model.set_mode(mode)

    def set_mode(self, mode: str) -> None:
        self.modes.setCurrentIndex(self.modes.findData(mode))

    def _begin(self) -> None:
        self._opened = 0
        self._to_open.clear()

    def _inserted(self, parent: Any, first: int, last: int) -> None:
        """Opens what was closed only because it was empty."""
        if not parent.isValid() or self._opened >= _OPEN_MOST:
            return
        if self.model.rowCount(parent) == last - first + 1:
            depth, above = 0, parent
            while above.isValid():
                depth, above = depth + 1, above.parent()
            if depth <= _OPEN_LEVELS:
                self._opened += 1
                self._to_open.append(QtCore.QPersistentModelIndex(parent))

    def work(self, seconds: float) -> None:
        super().work(seconds)
        if self.model.busy:
            return  # what comes into a node that is closed costs the view nothing
        for index in self._to_open:
            if index.isValid():
                parent = QtCore.QModelIndex(index)
                if self.model.rowCount(parent) <= _OPEN_CHILDREN:
                    self.view.expand(parent)
        self._to_open.clear()

    def _choose(self, index: Any) -> None:
        key = index.data(ID_ROLE)
        if key is not None and key.kind > 0:
            self.chosen.emit(key.kind << 56 | key.id)

    def _index_of(self, ref: int) -> Any:
        kind, ident = ref >> 56, ref & (1 << 56) - 1
        return self.model.index_of(trees.entity(kind, ident))
