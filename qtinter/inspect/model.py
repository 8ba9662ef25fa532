"""The state of an application, as tools know it.

A :class:`Process` is filled with rows and intern entries, by a feed from the daemon or
from a segment file, and answers in words: what is called ``code`` is a location, what
is called ``since`` an age.  Nothing here does input or output.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Iterator

from .. import _core
from . import _tables
from .fields import TASK_FIELDS

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

TASK, SLOT, WAIT, OBJECT, TIMER, WATCH, JOB, LOOP, FUTURE, CALLBACK = range(1, 11)
KINDS = {name: kind for kind, (name, _) in _tables.ENTITIES.items()}

TASK_DONE = 5  # the first one of those in which a task is over
ENDED_TASK_STATES = frozenset((5, 6, 7, 8))
LOOP_CLOSED = 4
LIVE = 0  # state of everything else until it is over

# Where a change of a row stands that is no column's.
STATE_COLUMN = -1
LOOP_COLUMN = -2

_TASK_N = 0x80000000
_REF_BITS = 56
_COLUMNS = {
    kind: {name: i for i, (name, _) in enumerate(columns)}
    for kind, (_, columns) in _tables.ENTITIES.items()
}


def is_made_up(name: int) -> bool:
    """Whether a task's name is one that asyncio makes up, as Task-17."""
    return bool(name & _TASK_N)


def is_final(kind: int, state: int) -> bool:
    """Whether a state says that the entity is over."""
    if kind == TASK:
        return state >= TASK_DONE
    if kind == LOOP:
        return state >= LOOP_CLOSED
    return state != LIVE


class What:
    """What a field of a record is: a number, nanoseconds, or an id that has words."""

    PLAIN, NS, REF, TEXT, CODE = range(5)


def _field(at: int, meaning: str) -> tuple[int, str, int]:
    """Of a kind of record: where it stands, what it is called, and what it is."""
    if meaning == "code":
        return at, meaning, What.CODE
    if meaning in ("name", "exception", "signal"):
        return at, meaning, What.TEXT
    if meaning.endswith("_ref"):
        return at, meaning[:-4], What.REF
    if meaning.endswith("_ns"):
        return at, meaning[:-3], What.NS
    return at, meaning, What.PLAIN


# By kind of record: its name, and where which fields of it stand.
EVENTS = {
    kind: (
        name.lower(),
        tuple(_field(at, meaning) for at, meaning in enumerate(meanings, 3) if meaning),
    )
    for kind, (name, meanings) in _tables.RECORDS.items()
}


class PlainRow:
    """:class:`_core.Row` in Python, for a build without the wire."""

    __slots__ = ("_values", "id", "kind", "loop", "state")

    def __init__(
        self, kind: int, ident: int, state: int, loop: int, values: Sequence[int]
    ) -> None:
        self.kind = kind
        self.id = ident
        self.state = state
        self.loop = loop
        self._values = list(values)

    @property
    def values(self) -> tuple[int, ...]:
        return tuple(self._values)

    def __getitem__(self, column: str) -> int:
        index = _COLUMNS[self.kind][column]
        return self._values[index] if index < len(self._values) else 0

    @property
    def is_over(self) -> bool:
        return is_final(self.kind, self.state)

    def copy(self) -> PlainRow:
        return PlainRow(self.kind, self.id, self.state, self.loop, self._values)

    def change(self, columns: dict[int, int]) -> None:
        for column, value in columns.items():
            if column == STATE_COLUMN:
                self.state = value
            elif column == LOOP_COLUMN:
                self.loop = value
            elif 0 <= column < len(self._values):
                self._values[column] = value


# An entity: row["column"] is the raw value of a column.
if TYPE_CHECKING:
    Row = _core.Row
else:
    Row = getattr(_core, "Row", PlainRow)
# The rows of a SUB_ROWS, much faster than one by one; None in a build without the wire.
rows_decode = getattr(_core, "rows_decode", None)


# Applications that have ended and are kept, as many as the daemon keeps.
KEPT_ENDED = 16


def forget_ended(processes: dict[int, Process], keep: int | None = None) -> None:
    """Take out of applications, in the order they came, those that ended first.

    :param keep: one that stays in any case.
    """
    ended = [pid for pid, found in processes.items() if not found.alive]
    for pid in ended[:-KEPT_ENDED]:
        if pid != keep:
            del processes[pid]


class Process:
    """What is known of one application.

    :param info: ``pid``, ``name``, ``mono0``, ``wall0`` and what else its PROCESS
        message or the header of its segment tells.
    """

    def __init__(self, info: dict[str, Any]) -> None:
        self.info = info
        self.rows: dict[tuple[int, int], Row] = {}
        self.entries: dict[int, Any] = {}
        self.lints: dict[tuple[str, int], dict[str, Any]] = {}
        self.records: list[Any] = []  # events, where they were kept
        self.lost = 0  # records known to be lost
        self.alive = True
        self.clock_offset = 0  # ns that its machine's clock is ahead of ours

    # --- filling

    def put(self, row: Sequence[int]) -> Row:
        """Takes in a whole row, [kind, id, state, loop, columns...]."""
        made = Row(row[0], row[1], row[2], row[3], row[4:])
        self.rows[made.kind, made.id] = made
        return made

    def put_all(
        self, rows: dict[tuple[int, int], Row] | Iterable[Sequence[int]]
    ) -> None:
        """Takes in whole rows, made already (by :data:`rows_decode`) or as lists."""
        if isinstance(rows, dict):
            self.rows.update(rows)
            return
        for row in rows:
            self.put(row)

    def change(self, kind: int, ident: int, columns: dict[int, int]) -> Row:
        """Takes in changed columns; -1 stands for the state, -2 for the loop."""
        row = self.rows.get((kind, ident))
        if row is None:
            row = Row(kind, ident, 0, 0, (0,) * len(_COLUMNS.get(kind, ())))
            self.rows[kind, ident] = row
        row.change(columns)
        return row

    def remove(self, kind: int, ident: int) -> None:
        self.rows.pop((kind, ident), None)

    # --- words

    def text(self, ident: int) -> str:
        """The text of an intern id, also of an unnamed task."""
        if ident & _TASK_N:
            return f"Task-{ident & ~_TASK_N}"
        value = self.entries.get(ident, "")
        return value if isinstance(value, str) else ""

    def code(self, ident: int) -> dict[str, Any] | None:
        """A code location: name, file, line."""
        value = self.entries.get(ident)
        if not isinstance(value, (tuple, list)) or len(value) != 3:
            return None
        file, name, line = value
        return {"name": self.text(name), "file": self.text(file), "line": line}

    def code_text(self, ident: int) -> str:
        code = self.code(ident)
        if code is None:
            return ""
        if not code["file"]:
            return str(code["name"])
        return f"{code['name']} ({short_path(code['file'])}:{code['line']})"

    def ref(self, ref: int) -> tuple[int, int] | None:
        """(kind, id) of a ref, None for 0."""
        return (ref >> _REF_BITS, ref & (1 << _REF_BITS) - 1) if ref else None

    def describe(self, ref: int) -> str:
        """A ref in words."""
        found = self.ref(ref)
        if found is None:
            return ""
        kind, ident = found
        row = self.rows.get(found)
        if kind == CALLBACK:
            return self.code_text(ident) or "callback"
        name = _tables.ENTITIES.get(kind, (f"kind {kind}", ()))[0]
        if row is None:
            return f"{name} {ident}"
        if kind == TASK:
            return f"task {ident} {self.task_name(row)}"
        if kind == SLOT:
            return f"slot {self.text(row['name'])}"
        if kind == WAIT:
            return self.wait_text(row)
        if kind in (TIMER, JOB):
            return f"{name} {self.code_text(row['code'])}"
        return f"{name} {ident}"

    def task_name(self, row: Row) -> str:
        return self.task_name_of(row["name"], row["code"])

    def task_name_of(self, name: int, code: int) -> str:
        """The same of these two columns of a task."""
        named = self.text(name)
        if named:
            return named
        found = self.code(code)
        return (found["name"] if found else "") or "task"

    def object_text(self, ident: int) -> str:
        """Class and objectName of an object id."""
        row = self.rows.get((OBJECT, ident))
        if row is None:
            return ""
        name = self.text(row["name"])
        return (
            f"{self.text(row['class'])} {name!r}" if name else self.text(row["class"])
        )

    def wait_text(self, row: Row) -> str:
        sender = self.object_text(row["sender"])
        text = f"signal {self.text(row['signal'])}"
        if sender:
            text += f" of {sender}"
        return text if row["sender_alive"] else f"{text}, which was destroyed"

    def now(self) -> int:
        """The process's monotonic clock, ns; of a dead one, its last change."""
        if self.alive:
            return time.monotonic_ns() + self.clock_offset
        return int(self.info.get("last", 0))

    def wall(self, mono: int) -> float:
        """Seconds since the epoch of a reading of the process's clock."""
        wall0, mono0 = self.info.get("wall0", 0), self.info.get("mono0", 0)
        return float(wall0 + mono - mono0) * 1e-9

    # --- tables

    def of_kind(self, kind: int, ended: bool = False) -> Iterator[Row]:
        for row in list(self.rows.values()):
            if row.kind == kind and (ended or not row.is_over):
                yield row

    def count(self, kind: int) -> int:
        """How many entities of a kind there are that are not over."""
        return sum(1 for _ in self.of_kind(kind))

    def age(self, since: int) -> float | None:
        """Seconds since a reading of the process's clock; of 0 None."""
        return max(0, self.now() - since) * 1e-9 if since else None

    def tasks(self, ended: bool = False) -> list[dict[str, Any]]:
        """The tasks, oldest first."""
        found = [self.task(row) for row in self.of_kind(TASK, ended)]
        return sorted(found, key=lambda task: int(task["id"]))

    def task(self, row: Row) -> dict[str, Any]:
        """One task in words; times in seconds."""
        return {name: make(self, row) for name, make in TASK_FIELDS.items()}

    def slot_name(self, ident: int) -> str | None:
        """Of the asyncslot with this id, 0: of none."""
        row = self.rows.get((SLOT, ident)) if ident else None
        return None if row is None else self.text(row["name"])

    def lints_of(self, kind: int, ident: int) -> list[str]:
        """The ids of the findings about an entity."""
        ref = kind << 56 | ident
        return sorted(name for name, about in self.lints if about == ref)

    def stack(self, ident: int) -> list[dict[str, Any]]:
        value = self.entries.get(ident)
        if not ident or not isinstance(value, (list, tuple)):
            return []
        return [code for code in map(self.code, value) if code is not None]

    def wait_of(self, row: Row) -> dict[str, Any] | None:
        """What a waiting task waits for: kind, text, and the entity if it is one."""
        if row.state not in (3, 4):
            return None
        kind = _tables.WAIT_KINDS.get(row["wait_kind"], "unknown")
        detail = self.text(row["wait_detail"])
        found = self.ref(row["wait_ref"])
        target = self.rows.get(found) if found else None
        text = self.describe(row["wait_ref"]) or detail or kind
        if target is not None and target.kind == TIMER:
            left = (target["when"] - self.now()) * 1e-9
            text = f"sleep, {left:.1f} s left" if left > 0 else "sleep, over"
        elif target is None and found is not None and found[0] == TIMER:
            text = "sleep"  # until when is not known, of a recording that began later
        waits: dict[str, Any] = {"kind": kind, "text": text}
        if found is not None:
            waits["id"] = found[1]
        if target is not None and target.kind == WAIT:
            sender = self.rows.get((OBJECT, target["sender"]))
            waits["signal"] = self.text(target["signal"])
            waits["sender_class"] = self.text(sender["class"]) if sender else None
            waits["sender_name"] = self.text(sender["name"]) if sender else None
            waits["sender_alive"] = bool(target["sender_alive"])
        return waits

    def slots(self, ended: bool = False) -> list[dict[str, Any]]:
        """The asyncslots, oldest first."""
        pending: dict[int, list[int]] = {}
        for task in self.of_kind(TASK):
            if task["slot"]:
                pending.setdefault(task["slot"], []).append(task.id)
        found = []
        for row in self.of_kind(SLOT, ended):
            found.append(
                {
                    "id": row.id,
                    "name": self.text(row["name"]),
                    "code": self.code(row["code"]),
                    "receiver": self.object_text(row["receiver"]) or None,
                    "calls": row["calls"],
                    "live": row["live"],
                    "overlap_max": row["overlap_max"],
                    "refused": row["refused"],
                    "policy": _tables.OVERLAPS.get(row["policy"], ""),
                    "total": row["total"] * 1e-9,
                    "max": row["max"] * 1e-9,
                    "last_call": self.age(row["last_call"]),
                    "ignore": self.text(row["ignore"]),
                    "pending": pending.get(row.id, []),
                }
            )
        return sorted(found, key=lambda slot: int(slot["id"]))

    def waits(self, ended: bool = False) -> list[dict[str, Any]]:
        """The signal waits, oldest first."""
        found = []
        for row in self.of_kind(WAIT, ended):
            sender = self.rows.get((OBJECT, row["sender"]))
            task = self.rows.get((TASK, row["task"]))
            found.append(
                {
                    "id": row.id,
                    "signal": self.text(row["signal"]),
                    "sender_class": self.text(sender["class"]) if sender else None,
                    "sender_name": self.text(sender["name"]) if sender else None,
                    "sender_alive": bool(row["sender_alive"]),
                    "form": _tables.WAIT_FORMS.get(row["form"], ""),
                    "task": row["task"] or None,
                    "task_name": self.task_name(task) if task is not None else None,
                    "since": self.age(row["since"]),
                    "fired": row["fired"],
                    "buffered": row["buffered"],
                    "dropped": row["dropped"],
                }
            )
        return sorted(found, key=lambda wait: int(wait["id"]))

    def loops(self, ended: bool = False) -> list[dict[str, Any]]:
        """The loops, oldest first."""
        found = []
        for row in self.of_kind(LOOP, ended):
            found.append(
                {
                    "id": row.id,
                    "number": row.loop,
                    "state": _tables.LOOP_STATES.get(row.state, ""),
                    "mode": _tables.LOOP_MODES.get(row["mode"], ""),
                    "host": self.text(row["host"]),
                    "thread": row["thread"],
                    "current": self.describe(row["current"]) or None,
                    "busy_for": self.age(row["busy_since"]),
                    "iterations": row["iterations"],
                    "turns": row["turns"],
                    "callbacks": row["callbacks"],
                    "ready": row["ready"],
                    "timers": row["timers"],
                    "watches": row["watches"],
                    "tasks": row["tasks"],
                    "depth": row["depth"],
                    "asyncio": row["asyncio"] * 1e-9,
                    "qt": row["qt"] * 1e-9,
                    "qt_busy": row["qt_busy"] * 1e-9,
                    "max_lag": row["max_lag"] * 1e-9,
                    "unseen": row["unseen"],
                }
            )
        return sorted(found, key=lambda loop: int(loop["id"]))

    def timers(self) -> list[dict[str, Any]]:
        """The timers that are set, next one first."""
        found = [
            {
                "id": row.id,
                "code": self.code(row["code"]),
                "due_in": (row["when"] - self.now()) * 1e-9,
                "task": row["task"] or None,
                "loop": row.loop,
            }
            for row in self.of_kind(TIMER)
        ]
        return sorted(found, key=lambda timer: float(timer["due_in"]))

    def event(self, record: Any) -> dict[str, Any]:
        """A record (ts, kind, loop, x, a, b) in words."""
        ts, kind, loop = record[:3]
        name, fields = EVENTS.get(kind, (f"kind {kind}", ()))
        event: dict[str, Any] = {"ts": ts, "event": name, "loop": loop}
        for at, meaning, what in fields:
            value = record[at]
            if what == What.PLAIN:
                event[meaning] = value
            elif what == What.NS:
                event[meaning] = value * 1e-9
            elif what == What.REF:
                event[meaning] = self.describe(value)
            elif what == What.TEXT:
                event[meaning] = self.text(value)
            else:
                event[meaning] = self.code_text(value)
        return event


def short_path(path: str) -> str:
    """The end of a path that says enough."""
    parts = path.replace("\\", "/").split("/")
    return "/".join(parts[-2:]) if len(parts) > 2 else path
