"""Names for what the records of a recording speak of."""

from __future__ import annotations

import collections
from typing import TYPE_CHECKING, Any

from ...inspect import _tables
from ...inspect.model import JOB, SLOT, TASK, TIMER, WAIT, Row, is_made_up
from .._process import Recorded
from .._state import KIND
from .._text import versions_of as versions_of

if TYPE_CHECKING:
    from .._source import Record, Source

_REF_ID = (1 << 56) - 1
_KEPT = 10_000  # names of what has ended, for records that speak of it later
_AHEAD = (
    10_000_000_000  # ns; a chunk of a file, which is shorter, has rows of what ends
)

_MAKERS = {
    KIND["TASK_CREATED"]: TASK,
    KIND["SLOT_REGISTERED"]: SLOT,
    KIND["WAIT_BEGAN"]: WAIT,
    KIND["TIMER_SET"]: TIMER,
    KIND["JOB_SUBMITTED"]: JOB,
}
_ENDERS = {
    KIND["TASK_ENDED"]: TASK,
    KIND["TASK_DESTROYED"]: TASK,
    KIND["SLOT_GONE"]: SLOT,
    KIND["WAIT_ENDED"]: WAIT,
    KIND["TIMER_FIRED"]: TIMER,
    KIND["TIMER_CANCELLED"]: TIMER,
    KIND["JOB_ENDED"]: JOB,
}
# Kinds of records that tell of an entity for the first time, or the last.
NOTABLE = frozenset((*_MAKERS, *_ENDERS))


class Words(Recorded):
    """A process with a row for each entity that a recording tells of.

    Rows that no keyframe has come when the records get near them, and go some time
    after the entity has ended: memory does not grow with the length of a recording.
    """

    def __init__(self, source: Source) -> None:
        super().__init__(source.info, source.entries)
        self._learned: set[tuple[int, int]] = set()
        self._names: dict[int, str] = {}  # of tasks that have a row
        self._labels: dict[int, str] = {}
        self._ended: collections.deque[tuple[int, int]] = collections.deque()
        self._last_rows = source.ended()
        self._last_row: Row | None = None
        self.look_at = 0  # when the next of them is needed
        self.keyframe_times: list[int] = []
        for ts, rows in source.keyframes():
            self.keyframe_times.append(ts)
            for row in rows:
                self.put(row)

    def learn(self, record: Record) -> None:
        """Take in what a record tells; to be called in order.

        With each one that is of a kind of :data:`NOTABLE`, and with the first one at
        :attr:`look_at` or later.
        """
        _, ts, kind, loop, x, a, b = record
        if ts >= self.look_at:
            self._look_ahead(ts)
        made = _MAKERS.get(kind)
        if made is not None:
            if (made, a) not in self.rows:
                self.put(_row(made, loop, x, a, b, self.entries))
                self._learned.add((made, a))
            return
        ended = _ENDERS.get(kind)
        if ended is not None and (ended, a) in self._learned:
            self._ended.append((ended, a))
            if len(self._ended) > _KEPT:
                gone = self._ended.popleft()
                self._learned.discard(gone)
                self.rows.pop(gone, None)
                if gone[0] == TASK:
                    self._names.pop(gone[1], None)
                    self._labels.pop(gone[1], None)

    def _look_ahead(self, ts: int) -> None:
        """Takes in the rows of what ends in the next seconds."""
        while True:
            row, self._last_row = self._last_row, None
            if row is not None and (row.kind, row.id) not in self.rows:
                self.rows[row.kind, row.id] = row
                self._learned.add((row.kind, row.id))
            values = next(self._last_rows, None)
            if values is None:
                self.look_at = 1 << 63
                return
            kind, ident, state, loop, *columns = values
            self._last_row = Row(kind, ident, state, loop, columns)
            ends = self._last_row["changed"] if kind == TASK else 0
            if ends > ts + _AHEAD:
                self.look_at = ends - _AHEAD
                return
            if kind == TASK and ends < ts:
                self._last_row = None  # it was over before the first record

    def task_text(self, ident: int) -> str:
        """Name of a task, also of one of which nothing is known."""
        name = self._names.get(ident)
        if name is None:
            row = self.rows.get((TASK, ident))
            if row is None:
                return f"task {ident}"
            name = self._names[ident] = self.task_name(row)
        return name

    def describe(self, ref: int) -> str:
        if ref >> 56 != TASK:
            return super().describe(ref)
        ident = ref & (1 << 56) - 1
        name = self.task_text(ident)
        return f"task {ident} {name}" if ident in self._names else name

    def task_label(self, ident: int) -> str:
        """What a task does: its name, but its code's where asyncio made that up."""
        label = self._labels.get(ident)
        if label is None:
            row = self.rows.get((TASK, ident))
            if row is None:
                return f"task {ident}"
            code = self.code(row["code"]) if is_made_up(row["name"]) else None
            label = str(code["name"]) if code else self.task_text(ident)
            self._labels[ident] = label
        return label

    def task_code(self, ident: int) -> str:
        """Where the coroutine function of a task is defined."""
        row = self.rows.get((TASK, ident))
        return "" if row is None else self.code_text(row["code"])

    def slot_text(self, ident: int) -> str:
        """Name of an asyncslot."""
        row = self.rows.get((SLOT, ident))
        return f"slot {ident}" if row is None else self.text(row["name"])

    def wait_words(self, kind: int, ref: int) -> str:
        """What a task waits for, of the fields of TASK_WAIT."""
        word = _tables.WAIT_KINDS.get(kind, "something")
        if word == "timer":
            return "sleep"
        if word == "nothing":
            return "nothing known"
        if word == "job":
            row = self.rows.get((JOB, ref & _REF_ID)) if ref >> 56 == JOB else None
            return f"job {self.code_text(row['code'])}" if row is not None else word
        return self.describe(ref) or word


def _row(
    made: int, loop: int, x: int, a: int, b: int, entries: dict[int, Any]
) -> list[Any]:
    """A row of as many columns as the record that made the entity tells."""
    if made == TASK:  # name, code, role, creator, slot
        slot = b & (1 << 56) - 1 if b >> 56 == SLOT else 0
        return [TASK, a, 0, loop, 0, x, 1 if slot else 0, b, slot]
    if made == SLOT:  # name, code, receiver
        code = entries.get(x)
        name = code[1] if isinstance(code, (tuple, list)) and len(code) == 3 else 0
        return [SLOT, a, 0, loop, name, x, b]
    if made == WAIT:  # signal, sender, ..., sender_alive
        return [WAIT, a, 0, loop, x, b, 0, 0, 0, 0, 0, 0, 1]
    return [made, a, 0, loop, x]  # code
