"""The state at the end of a range, whose rows are made when somebody looks at them."""

from __future__ import annotations

import itertools
from typing import Any, Dict, Iterator, MutableMapping

from ..inspect.model import LOOP, TASK, Process, Row
from ._source import Key
from ._state import LOOP_NUMBER, STATE, WIDTH, Pass, Tasks


class Rows(MutableMapping[Key, Row]):
    """Rows by kind and id.  A task's is made anew each time, until one is changed."""

    def __init__(self, found: Pass) -> None:
        self._tasks: Tasks = found.tasks
        self._before: Dict[
            Key, Row
        ] = {}  # what comes before the tasks, and behind them
        self._behind: Dict[Key, Row] = {}
        self._all: Dict[Key, Row] | None = None  # from the first change on
        for values, comes_before in found.other_rows():
            row = Row(values[0], values[1], values[2], values[3], values[4:])
            if row.kind != LOOP or not row.is_over or row.loop:
                rows = self._before if comes_before else self._behind
                rows[row.kind, row.id] = row

    def _task(self, ident: int, values: Any) -> Row:
        state, loop = values[STATE], values[LOOP_NUMBER]
        return Row(TASK, ident, state, loop, values[:WIDTH])

    def __getitem__(self, key: Key) -> Row:
        row: Row | None = self.get(key)
        if row is None:
            raise KeyError(key)
        return row

    def get(self, key: Key, default: Any = None) -> Any:
        if self._all is not None:
            return self._all.get(key, default)
        if key[0] == TASK:
            values = self._tasks.get(key[1])
            return default if values is None else self._task(key[1], values)
        row = self._before.get(key)
        return self._behind.get(key, default) if row is None else row

    def __contains__(self, key: object) -> bool:
        return self.get(key) is not None  # type: ignore[arg-type]

    def __iter__(self) -> Iterator[Key]:
        if self._all is not None:
            return iter(self._all)
        tasks = ((TASK, ident) for ident in self._tasks)
        return itertools.chain(self._before, tasks, self._behind)

    def __len__(self) -> int:
        if self._all is not None:
            return len(self._all)
        return len(self._before) + len(self._tasks) + len(self._behind)

    def __setitem__(self, key: Key, row: Row) -> None:
        self.make()[key] = row

    def __delitem__(self, key: Key) -> None:
        del self.make()[key]

    def make(self) -> Dict[Key, Row]:
        """All of them, which stay what they are from now on."""
        if self._all is None:
            self._all = dict(self.items())
        return self._all

    def of_kind(self, kind: int, ended: bool) -> Iterator[Row]:
        """Those of a kind; no others are made."""
        if self._all is None and kind == TASK:
            idents = self._tasks if ended else self._tasks.pending()
            return (self[TASK, ident] for ident in idents)
        rows = self._all
        if rows is None:
            rows = {**self._before, **self._behind}
        return (
            row
            for row in list(rows.values())
            if row.kind == kind and (ended or not row.is_over)
        )


class Recorded(Process):
    """A process of which all is known that will be.

    :param info: of the recording.
    """

    def __init__(self, info: dict[str, Any], entries: dict[int, Any]) -> None:
        super().__init__(info)
        self.alive = False  # nothing in a recording has an age of now
        self.entries = entries
        self._codes: dict[int, str] = {}

    def code_text(self, ident: int) -> str:
        text = self._codes.get(ident)
        if text is None:
            text = self._codes[ident] = super().code_text(ident)
        return text


class RecordedProcess(Recorded):
    """The state at the end of a range."""

    rows: Rows  # type: ignore[assignment]

    def __init__(
        self, info: dict[str, Any], found: Pass, entries: dict[int, Any]
    ) -> None:
        super().__init__(dict(info, last=found.t1), entries)
        self.rows = Rows(found)

    def change(self, kind: int, ident: int, columns: dict[int, int]) -> Row:
        self.rows.make()
        return super().change(kind, ident, columns)

    def of_kind(self, kind: int, ended: bool = False) -> Iterator[Row]:
        return self.rows.of_kind(kind, ended)
