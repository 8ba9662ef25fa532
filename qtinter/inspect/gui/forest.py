"""The model of the tree of tasks."""

from __future__ import annotations

import time
from bisect import bisect_left, insort
from typing import Any, Callable

from ..model import TASK
from . import trees
from .application import Application, Changes
from .columns import seconds, task_state, wait_text
from .describe import tooltip
from .qt import Qt, QtCore
from .tables import ID_ROLE
from .trees import Key

_ROOT = QtCore.QModelIndex()
_TITLES = ("Task", "State", "Waits for", "Since", "Tasks below")


class _Node:
    __slots__ = ("children", "key", "nodes", "parent")

    def __init__(self, key: Key, parent: _Node | None) -> None:
        self.key = key
        self.parent = parent
        self.children: list[Key] = []  # in order
        self.nodes: dict[Key, _Node] = {}


class Forest(QtCore.QAbstractItemModel):
    """The tasks of an application below what :data:`trees.MODES` says.

    Kept current as :class:`~qtinter.inspect.gui.tables.RowTable` is: never reset by
    what happens in the application, and a bounded part of the work at a time.
    """

    def __init__(self, parent: Any = None) -> None:
        super().__init__(parent)
        self.application: Application | None = None
        self.icons: dict[str, Any] = {}
        self.show_ended = False
        self.mode = "await"
        self._changes: Changes | None = None
        self._accepts: Callable[[Any, Any], bool] | None = None
        self._root = _Node(trees.group(-1), None)
        self._nodes: dict[Key, _Node] = {}
        self._pending: set[int] = set()
        self._queue: list[tuple[int, int]] = []
        self._limbo: list[_Node] = []  # what was below a node that was removed

    def set_application(self, application: Application | None) -> None:
        if self._changes is not None and self.application is not None:
            self.application.unwatch(self._changes)
        self.application = application
        self._changes = application.watch(TASK) if application else None
        self.rebuild()

    def set_filter(self, accepts: Callable[[Any, Any], bool] | None) -> None:
        self._accepts = accepts
        self.rebuild()

    def set_mode(self, mode: str) -> None:
        self.mode = mode
        self.rebuild()

    def rebuild(self) -> None:
        """Begins anew, because something else is to be shown."""
        self.beginResetModel()
        self._root = _Node(trees.group(-1), None)
        self._nodes = {}
        self.endResetModel()
        self._pending.clear()
        self._queue = []
        self._limbo = []
        if self.application is not None:
            self._queue = list(self.application.process.rows)  # of all kinds
            self._queue.reverse()

    def look_again(self) -> None:
        """Looks at all tasks again, without beginning anew: time has passed."""
        if self.application is not None and not self.busy:
            rows = list(self.application.process.rows)
            self._pending.update(ident for kind, ident in rows if kind == TASK)

    @property
    def is_awaited(self) -> bool:
        """Whether what is shown is not yet all that was asked for."""
        return bool(self._queue)

    @property
    def busy(self) -> bool:
        return bool(self._queue or self._pending or self._limbo)

    def work(self, seconds: float) -> None:
        """Takes in what changed, for so long at most."""
        if self.application is None or self._changes is None:
            return
        deadline = time.monotonic() + seconds
        everything, ids = self._changes.take()
        if everything:
            self.rebuild()
        self._pending |= ids
        while self._limbo or self._queue or self._pending:
            if self._limbo:
                self._forget(self._limbo.pop())
            elif self._queue:
                kind, ident = self._queue.pop()
                if kind == TASK:
                    self._place(ident)
            else:
                self._place(self._pending.pop())
            # A row that goes costs the view some time for each node that is open.
            if time.monotonic() > deadline:
                return

    def _place(self, ident: int) -> None:
        """Puts a task where it belongs now."""
        assert self.application is not None
        process = self.application.process
        row = process.rows.get((TASK, ident))
        key = trees.entity(TASK, ident)
        node = self._nodes.get(key)
        wanted = (
            row is not None
            and (self.show_ended or not row.is_over)
            and (self._accepts is None or self._accepts(ident, row))
        )
        if row is None or not wanted:
            if node is not None and (row is None or not node.children):
                self._remove(node)
            return
        # A filter hides nothing that is above what it shows.
        above = trees.MODES[self.mode][1](process, row)
        if node is None:
            self._add(key, above)
        elif node.parent is not None and node.parent.key != above:
            self._remove(node)
            if self._limbo:
                self._pending.add(ident)  # it may belong below what is forgotten first
            else:
                self._add(key, above)
        else:
            index = self._index_of(node)
            self.dataChanged.emit(index, index.siblingAtColumn(len(_TITLES) - 1))

    def _add(self, key: Key, above: Key | None) -> _Node:
        """Adds a node, and before it those above it that are missing."""
        assert self.application is not None
        process = self.application.process
        missing = [key]
        # What is above may be below itself for a moment: rows change one by one.
        while above is not None and above not in self._nodes and above not in missing:
            missing.append(above)
            row = process.rows.get((TASK, above.id)) if above.kind == TASK else None
            if row is not None:
                above = trees.MODES[self.mode][1](process, row)
            else:
                above = trees.above(process, above)
        parent = self._nodes.get(above, self._root) if above is not None else self._root
        for added in reversed(missing):
            node = _Node(added, parent)
            place = bisect_left(parent.children, added)
            self.beginInsertRows(self._index_of(parent), place, place)
            insort(parent.children, added)
            parent.nodes[added] = node
            self._nodes[added] = node
            self.endInsertRows()
            parent = node
        return parent

    def _remove(self, node: _Node) -> None:
        """Removes a node; what is below it is forgotten, and then looked at again."""
        del self._nodes[node.key]
        self._limbo.extend(node.nodes.values())
        parent = node.parent
        assert parent is not None
        place = bisect_left(parent.children, node.key)
        self.beginRemoveRows(self._index_of(parent), place, place)
        del parent.children[place]
        del parent.nodes[node.key]
        self.endRemoveRows()
        if not parent.children and parent.parent is not None:
            if parent.key.kind == TASK:  # it may have been there for what was below
                self._pending.add(parent.key.id)
            else:
                self._remove(parent)

    def _forget(self, node: _Node) -> None:
        del self._nodes[node.key]
        self._limbo.extend(node.nodes.values())
        if node.key.kind == TASK:
            self._pending.add(node.key.id)

    def _index_of(self, node: _Node) -> Any:
        if node.parent is None:
            return QtCore.QModelIndex()
        place = bisect_left(node.parent.children, node.key)
        return self.createIndex(place, 0, node)

    def index_of(self, key: Key) -> Any:
        node = None if self._limbo else self._nodes.get(key)
        return QtCore.QModelIndex() if node is None else self._index_of(node)

    def key_at(self, index: Any) -> Key | None:
        return index.internalPointer().key if index.isValid() else None

    # --- QAbstractItemModel

    def index(self, row: int, column: int, parent: Any = _ROOT) -> Any:
        node = parent.internalPointer() if parent.isValid() else self._root
        if not (0 <= row < len(node.children) and 0 <= column < len(_TITLES)):
            return QtCore.QModelIndex()
        return self.createIndex(row, column, node.nodes[node.children[row]])

    def parent(self, index: Any = None) -> Any:
        if index is None:
            return super().parent()
        if not index.isValid():
            return QtCore.QModelIndex()
        above = index.internalPointer().parent
        if above is None or above.parent is None:
            return QtCore.QModelIndex()
        return self._index_of(above)

    def rowCount(self, parent: Any = _ROOT) -> int:
        if parent.column() > 0:
            return 0
        node = parent.internalPointer() if parent.isValid() else self._root
        return len(node.children)

    def columnCount(self, parent: Any = _ROOT) -> int:
        return len(_TITLES)

    def headerData(
        self,
        section: int,
        orientation: Any,
        role: int = Qt.ItemDataRole.DisplayRole,
    ) -> Any:
        if role == Qt.ItemDataRole.DisplayRole and 0 <= section < len(_TITLES):
            return _TITLES[section]
        if role == Qt.ItemDataRole.TextAlignmentRole:
            return _alignment(section)
        return None

    def data(self, index: Any, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        if not index.isValid() or self.application is None:
            return None
        node: _Node = index.internalPointer()
        if role == ID_ROLE:
            return node.key
        if role == Qt.ItemDataRole.DisplayRole:
            return self._text(node, index.column())
        if role == Qt.ItemDataRole.ToolTipRole:
            return tooltip(self._text(node, index.column()) or "") or None
        if role == Qt.ItemDataRole.TextAlignmentRole:
            return _alignment(index.column())
        process = self.application.process
        row = process.rows.get((TASK, node.key.id)) if node.key.kind == TASK else None
        if role == Qt.ItemDataRole.DecorationRole and index.column() == 0:
            return self.icons.get(task_state(row)) if row is not None else None
        if role == Qt.ItemDataRole.ForegroundRole and (
            row.is_over if row is not None else node.key.kind != TASK
        ):
            return self.icons.get("dim")
        return None

    def _text(self, node: _Node, column: int) -> str | None:
        assert self.application is not None
        process = self.application.process
        key = node.key
        if column == 4:
            return f"{len(node.children):,}" if node.children else None
        if key.kind != TASK:
            return trees.label(process, key) if column == 0 else None
        row = process.rows.get((TASK, key.id))
        if row is None:
            return f"task {key.id}" if column == 0 else None
        if column == 0:
            return trees.task_label(process, row)
        if column == 1:
            return task_state(row)
        if column == 2:
            return wait_text(self.application, row) or None
        since = row["changed"]
        if not since:
            return None
        return seconds(max(0, self.application.now() - since) * 1e-9)


def _alignment(column: int) -> Any:
    side = Qt.AlignmentFlag.AlignLeft if column < 3 else Qt.AlignmentFlag.AlignRight
    return side | Qt.AlignmentFlag.AlignVCenter
