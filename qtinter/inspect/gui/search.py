"""What the line above the tables means: words to look for, or a filter.  No Qt here."""

from __future__ import annotations

import re
import time
from typing import Any, Callable, Mapping

from .. import filters
from ..fields import FIELDS, TaskFields
from ..model import LOOP, SLOT, TASK, WAIT
from .application import Application
from .columns import TABLES

Accepts = Callable[[Any, Any], bool]

# A text with one of these is a filter; without, it is words to look for.
_OPERATOR = re.compile(r"==|!=|<|>|~|\b(not|and|or|in)\b")
# What it says of a row that does not change changes with time.
_OF_TIME = re.compile(r"\b(age|since|last_call|busy_for)\b|left")
_CACHE_SECONDS = 1.0
_SHARED = ("State", "Coroutine", "At")  # columns that many tasks have in common
_KINDS = {"tasks": TASK, "slots": SLOT, "waits": WAIT, "loops": LOOP}


class Search:
    """A text of the line, understood.

    :param text: words, or a filter.
    :ivar is_of_time: rows may come to fulfil it without having changed.
    :raises ValueError: it is a filter that cannot be understood; says why.
    """

    def __init__(self, text: str) -> None:
        self.text = text.strip()
        self.is_filter = bool(_OPERATOR.search(self.text))
        self.is_of_time = self.is_filter and bool(_OF_TIME.search(self.text))
        self._conditions: dict[str, Callable[[Mapping[str, Any]], bool]] = {}
        self._tables: dict[str, tuple[float, dict[Any, Any]]] = {}
        if self.is_filter:
            self._compile()

    def _compile(self) -> None:
        problem: ValueError | None = None
        for name in TABLES:
            try:
                self._conditions[name] = filters.compile(self.text, FIELDS[name])
            except ValueError as exc:
                # A filter of tasks does not concern slots.
                if name == "tasks":
                    problem = exc
        if not self._conditions and problem is not None:
            raise problem

    def of(self, application: Application, table: str) -> Accepts | None:
        """What it says of the rows of a table; None: nothing."""
        if not self.text:
            return None
        if not self.is_filter:
            return self._words(application, table)
        condition = self._conditions.get(table)
        if condition is None:
            return None

        def accepts(ident: Any, item: Any) -> bool:
            assert condition is not None
            return bool(condition(self._fields(application, table, ident, item)))

        return accepts

    def _words(self, application: Application, table: str) -> Accepts:
        words = self.text.lower().split()
        # Not in times and counts, which are others a moment later.
        id_column, *columns = TABLES[table].columns
        columns = [id_column, *(column for column in columns if not column.right)]
        if table == "tasks":
            return _words_of_tasks(application, words, columns)

        def accepts(ident: Any, item: Any) -> bool:
            cells = " ".join(column.text(application, item) for column in columns)
            cells = cells.lower()
            return all(word in cells for word in words)

        return accepts

    def _fields(
        self, app: Application, table: str, ident: Any, item: Any
    ) -> Mapping[str, Any]:
        if table == "tasks":
            process = app.process
            return TaskFields(process, item, lambda: process.lints_of(TASK, item.id))
        if table in ("lints", "stalls"):
            fields = dict(item)
            fields["since"] = max(0, app.now() - item["since"]) * 1e-9
            if "duration" in fields:
                fields["duration"] *= 1e-9
            return fields
        made, rows = self._tables.get(table, (0.0, {}))
        if time.monotonic() - made > _CACHE_SECONDS or ident not in rows:
            found = getattr(app.process, table)(True)
            rows = {row["id"]: row for row in found}
            self._tables[table] = (time.monotonic(), rows)
        fields = rows.get(ident, {})
        assert isinstance(fields, dict)
        return fields


def _words_of_tasks(
    application: Application, words: list[str], columns: list[Any]
) -> Accepts:
    """The same for tasks, of which there are many, with a few states and places."""
    shared = [column for column in columns if column.title in _SHARED]
    own = [column for column in columns if column.title not in _SHARED]
    known: dict[tuple[int, int, int], str] = {}

    def accepts(ident: Any, row: Any) -> bool:
        key = (row.state, row["code"], row["where"])
        text = known.get(key)
        if text is None:
            cells = " ".join(column.text(application, row) for column in shared)
            text = known[key] = cells.lower()
        left = [word for word in words if word not in text]
        if not left:
            return True
        text = " ".join(column.text(application, row) for column in own).lower()
        return all(word in text for word in left)

    return accepts
