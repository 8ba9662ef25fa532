"""The model of a table: what is shown of the rows of an application, kept in order.

A :class:`RowTable` is never reset by what happens in an application: rows come and go
one run at a time.  What takes long, looking at all rows because the filter or the order
is another one, is done in slices by :meth:`RowTable.work`, which the window calls once
a frame.
"""

from __future__ import annotations

import heapq
import time
from bisect import bisect_left
from typing import Any, Callable, Iterator

from ..model import TASK
from .application import Application, Changes
from .columns import LINT, Column, Table, is_over, task_state
from .describe import tooltip
from .qt import Qt, QtCore

ID_ROLE = Qt.ItemDataRole.UserRole
RESORT_SECONDS = 1.0
LOOK = 64  # rows between two looks at the clock
RUN = 2048  # rows that are sorted at once
# When all rows are looked at: what was found so far is shown after this time, and again
# when it has doubled, up to RUN rows.
PREVIEW_SECONDS = 0.1

_ROOT = QtCore.QModelIndex()


class RowTable(QtCore.QAbstractTableModel):
    """The rows of one kind of entity of an application.

    :param table: what is listed.
    """

    def __init__(self, table: Table, parent: Any = None) -> None:
        super().__init__(parent)
        self.table = table
        self.application: Application | None = None
        self.icons: dict[str, Any] = {}
        self.show_ended = False
        self._changes: Changes | None = None
        self._accepts: Callable[[Any, Any], bool] | None = None
        self._column = table.sort
        self._descending = table.descending
        self._keys: dict[Any, Any] = {}  # of what is shown, as it is in order
        self._order: list[tuple[Any, Any]] = []  # (key, id)
        self._pending: set[Any] = set()
        self._scan: Iterator[None] | None = None
        self._is_awaited = False
        self._sorted_at = 0.0
        self._unsorted = False

    # --- what is shown

    def set_application(self, application: Application | None) -> None:
        if self._changes is not None and self.application is not None:
            self.application.unwatch(self._changes)
        self.application = application
        self._changes = application.watch(self.table.kind) if application else None
        self.refilter()

    def set_filter(self, accepts: Callable[[Any, Any], bool] | None) -> None:
        """
        :param accepts: (id, item) to whether it is shown; None: all are.
        """
        self._accepts = accepts
        self.refilter()

    def refilter(self) -> None:
        """Looks at all rows again, in slices."""
        self._scan = self._look_at_all() if self.application is not None else None
        self._is_awaited = True
        if self.application is None:
            self._replace([], {})

    def look_again(self) -> None:
        """Looks at all rows again, without beginning anew: time has passed."""
        if self.application is not None and not self.busy:
            self._pending.update(self.table.idents(self.application))

    @property
    def is_awaited(self) -> bool:
        """Whether what is shown is not yet all that was asked for."""
        return self._scan is not None and self._is_awaited

    @property
    def busy(self) -> bool:
        """Whether there are rows that were not looked at yet."""
        return self._scan is not None or bool(self._pending)

    def id_at(self, row: int) -> Any:
        return self._order[row][1] if 0 <= row < len(self._order) else None

    def row_of(self, ident: Any) -> int:
        """Where an id is shown, -1: it is not."""
        if ident not in self._keys:
            return -1
        return bisect_left(self._order, (self._keys[ident], ident))

    # --- work

    def work(self, seconds: float) -> None:
        """Takes in what changed, for so long at most."""
        if self.application is None or self._changes is None:
            return
        deadline = time.monotonic() + seconds
        everything, ids = self._changes.take()
        if everything:
            self.refilter()
        self._pending |= ids
        if self._scan is not None:
            for _ in self._scan:
                if time.monotonic() > deadline:
                    return
            self._scan = None
            self._is_awaited = False
        self._take_pending(deadline)
        if self._unsorted and time.monotonic() - self._sorted_at > RESORT_SECONDS:
            self._scan = self._sort_again()

    def _wants(self, ident: Any, item: Any) -> bool:
        if item is None or (not self.show_ended and is_over(item)):
            return False
        return self._accepts is None or self._accepts(ident, item)

    def _key(self, item: Any, ident: Any) -> Any:
        assert self.application is not None
        key = self.table.columns[self._column].key(self.application, item)
        if self._descending:
            key = -key if isinstance(key, (int, float)) else _Descending(key)
        return (0, key, ident)

    def _look_at_all(self) -> Iterator[None]:
        assert self.application is not None
        runs = _Runs()
        early: list[tuple[Any, Any]] = []
        began, shown = time.monotonic(), -1
        for number, (ident, item) in enumerate(self.table.each(self.application)):
            if self._wants(ident, item):
                entry = (self._key(item, ident), ident)
                runs.add(entry)
                if len(early) < RUN:
                    early.append(entry)
            if number % LOOK == 0:
                if (
                    len(early) > 2 * shown
                    and time.monotonic() - began >= PREVIEW_SECONDS
                ):
                    shown = len(early)
                    found = sorted(early)
                    self._replace(found, {ident: key for key, ident in found})
                yield
        yield from runs.merge()
        self._replace(runs.found, runs.keys)

    def _replace(self, found: list[tuple[Any, Any]], keys: dict[Any, Any]) -> None:
        self.beginResetModel()
        self._order, self._keys = found, keys
        self._unsorted = False
        self._sorted_at = time.monotonic()
        self.endResetModel()

    def _take_pending(self, deadline: float) -> None:
        changed: list[Any] = []
        while self._pending:
            many = min(LOOK, len(self._pending))
            self._take(sorted(self._pending.pop() for _ in range(many)), changed)
            if time.monotonic() > deadline:
                break
        rows = [row for row in map(self.row_of, changed) if row >= 0]
        if rows:
            self.dataChanged.emit(
                self.index(min(rows), 0),
                self.index(max(rows), len(self.table.columns) - 1),
            )

    def _take(self, idents: list[Any], changed: list[Any]) -> None:
        """Takes in a few that changed; adds those that are shown as before."""
        assert self.application is not None
        added: list[tuple[Any, Any]] = []
        removed = []
        for ident in idents:
            item = self.table.get(self.application, ident)
            wanted = self._wants(ident, item)
            if ident in self._keys:
                if not wanted:
                    removed.append(self.row_of(ident))
                else:
                    changed.append(ident)
                    if self.table.columns[self._column].moves:
                        self._unsorted = True
            elif wanted:
                added.append((self._key(item, ident), ident))
        for low, high in _runs(removed):
            self.beginRemoveRows(_ROOT, low, high)
            for _, ident in self._order[low : high + 1]:
                del self._keys[ident]
            del self._order[low : high + 1]
            self.endRemoveRows()
        self._insert(sorted(added))

    def _insert(self, added: list[tuple[Any, Any]]) -> None:
        """Puts rows where they belong: neighbours together, last ones first."""
        end = len(added)
        while end > 0:
            row = bisect_left(self._order, added[end - 1])
            begin = end - 1
            while begin > 0 and (row == 0 or self._order[row - 1] < added[begin - 1]):
                begin -= 1
            self.beginInsertRows(_ROOT, row, row + end - begin - 1)
            self._order[row:row] = added[begin:end]
            for key, ident in added[begin:end]:
                self._keys[ident] = key
            self.endInsertRows()
            end = begin

    def _sort_again(self) -> Iterator[None]:
        """Puts all rows in order again; nothing comes or goes meanwhile."""
        assert self.application is not None
        runs = _Runs()
        before = self._order
        for number, (_, ident) in enumerate(before):
            if number % LOOK == 0:
                yield
            item = self.table.get(self.application, ident)
            # What is gone already will be taken away soon, and is last until then.
            runs.add(((1, 0, ident) if item is None else self._key(item, ident), ident))
        yield from runs.merge([ident for _, ident in before])
        self._unsorted = False
        self._sorted_at = time.monotonic()
        if runs.same:
            self._order, self._keys = runs.found, runs.keys
            return
        self.layoutAboutToBeChanged.emit()
        indexes = self.persistentIndexList()
        ids = [self.id_at(index.row()) for index in indexes]
        self._order, self._keys = runs.found, runs.keys
        after = [
            self.index(self.row_of(ident), index.column())
            for index, ident in zip(indexes, ids)
        ]
        self.changePersistentIndexList(indexes, after)
        self.layoutChanged.emit()

    # --- QAbstractTableModel

    def rowCount(self, parent: Any = _ROOT) -> int:
        return 0 if parent.isValid() else len(self._order)

    def columnCount(self, parent: Any = _ROOT) -> int:
        return 0 if parent.isValid() else len(self.table.columns)

    def data(self, index: Any, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        application = self.application
        if application is None or not index.isValid():
            return None
        ident = self.id_at(index.row())
        if role == ID_ROLE:
            return ident
        column: Column = self.table.columns[index.column()]
        if role == Qt.ItemDataRole.TextAlignmentRole:
            side = (
                Qt.AlignmentFlag.AlignRight
                if column.right
                else Qt.AlignmentFlag.AlignLeft
            )
            return side | Qt.AlignmentFlag.AlignVCenter
        item = self.table.get(application, ident)
        if item is None:
            return None
        if role in (
            Qt.ItemDataRole.DisplayRole,
            Qt.ItemDataRole.ToolTipRole,
            Qt.ItemDataRole.AccessibleTextRole,
        ):
            text = column.text(application, item).replace("\n", " ")
            if role == Qt.ItemDataRole.ToolTipRole:
                text = tooltip(text)
            return text or None
        if role == Qt.ItemDataRole.DecorationRole:
            if self.table.kind == TASK and index.column() == 1:
                return self.icons.get(task_state(item))
            if self.table.kind == LINT and index.column() == 0:
                return self.icons.get(item["severity"])
        if role == Qt.ItemDataRole.ForegroundRole and is_over(item):
            return self.icons.get("dim")
        return None

    def headerData(
        self,
        section: int,
        orientation: Any,
        role: int = Qt.ItemDataRole.DisplayRole,
    ) -> Any:
        if orientation != Qt.Orientation.Horizontal:
            return None
        column = self.table.columns[section]
        if role == Qt.ItemDataRole.DisplayRole:
            return column.title
        if role == Qt.ItemDataRole.ToolTipRole:
            return column.help or None
        if role == Qt.ItemDataRole.TextAlignmentRole:
            side = (
                Qt.AlignmentFlag.AlignRight
                if column.right
                else Qt.AlignmentFlag.AlignLeft
            )
            return side | Qt.AlignmentFlag.AlignVCenter
        return None

    def sort(self, column: int, order: Any = Qt.SortOrder.AscendingOrder) -> None:
        column = max(0, column)
        descending = order == Qt.SortOrder.DescendingOrder
        if (column, descending) == (self._column, self._descending):
            return
        self._column, self._descending = column, descending
        if self._scan is None and self.application is not None:
            self._scan = self._sort_again()
            self._is_awaited = True
        else:
            self.refilter()


class _Runs:
    """Sorts many (key, id) in slices: short runs at once, and then a merge of them.

    :ivar found: all of them, in order; complete after :meth:`merge`.
    :ivar keys: id to key.
    :ivar same: whether they are in the order that :meth:`merge` was told.
    """

    def __init__(self) -> None:
        self.found: list[tuple[Any, Any]] = []
        self.keys: dict[Any, Any] = {}
        self.same = True
        self._runs: list[list[tuple[Any, Any]]] = []
        self._run: list[tuple[Any, Any]] = []

    def add(self, entry: tuple[Any, Any]) -> None:
        self._run.append(entry)
        if len(self._run) >= RUN:
            self._end_run()

    def _end_run(self) -> None:
        self._run.sort()
        self._runs.append(self._run)
        self._run = []

    def merge(self, before: list[Any] | None = None) -> Iterator[None]:
        """Puts all in order; yields where the work may pause.

        :param before: the ids in the order that they had.
        """
        self._end_run()
        found, keys = self.found, self.keys
        for number, entry in enumerate(heapq.merge(*self._runs)):
            found.append(entry)
            keys[entry[1]] = entry[0]
            if before is not None and before[number] != entry[1]:
                self.same = False
            if number % LOOK == 0:
                yield


class _Descending:
    """A key that sorts the other way round."""

    __slots__ = ("key",)

    def __init__(self, key: Any) -> None:
        self.key = key

    def __lt__(self, other: _Descending) -> bool:
        return bool(other.key < self.key)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Descending) and bool(self.key == other.key)

    __hash__ = None  # type: ignore[assignment]


def _runs(rows: list[int]) -> Iterator[tuple[int, int]]:
    """Neighbours together, last ones first."""
    rows = sorted(rows, reverse=True)
    i = 0
    while i < len(rows):
        j = i
        while j + 1 < len(rows) and rows[j + 1] == rows[j] - 1:
            j += 1
        yield rows[j], rows[i]
        i = j + 1
