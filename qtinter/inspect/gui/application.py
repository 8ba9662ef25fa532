"""What the window knows of one application: live, dead, or read from a file.  No Qt.

An :class:`Application` takes in what a feed tells and what a file holds, remembers what
has changed for each view that asked (:class:`Changes`), and does the long part of the
work, reading events, in slices: see :meth:`Application.work`.
"""

from __future__ import annotations

import collections
import time
from typing import Any, Iterable, Iterator, List

from ..analysis import Stacks
from ..lanes import Lanes
from ..loads import Loads
from ..model import LOOP, TASK, Process

LIVE, GONE, CRASH, RECORDING = "live", "gone", "crash", "recording"
SLICE = 512  # records between two looks at the clock
STALLS_KEPT = 500
_WITH_EVENTS = 2  # the level from which on there are events


class _Rows(List[Any]):
    """Rows of tasks among the events that are to be read."""


class Changes:
    """The ids that changed since a view last looked."""

    def __init__(self) -> None:
        self.all = True  # look at everything
        self.ids: set[Any] = set()

    def take(self) -> tuple[bool, set[Any]]:
        everything, ids = self.all, self.ids
        self.all, self.ids = False, set()
        return everything, ids


class Application:
    """See above.

    :param process: its state; filled by a feed, or whole.
    :param kind: :data:`LIVE`, :data:`GONE` (it was live), :data:`CRASH` (a segment) or
        :data:`RECORDING`.
    :ivar stalls: of the loops, by (loop, since): the fields of STALL.
    :ivar source: its state as it is; :attr:`process` is that which is shown.
    :ivar problem: what the user must know of it, one line, or empty.
    :ivar loops: ids of its loops.
    :ivar lost: events that were lost while it was watched.
    :ivar older: events that were overwritten before.
    :ivar ended_at: when it was told that it is gone, of the monotonic clock.
    :ivar cut_off: it may run, but there is no daemon that could tell.
    :ivar stacks: what it answered to STACK.
    """

    def __init__(self, process: Process, kind: str = LIVE, path: str = "") -> None:
        self.source = process
        self.kind = kind
        self.path = path
        self.problem = ""
        self.lanes = Lanes()
        self.loads = Loads(self.lanes)
        self.stalls: dict[tuple[int, int], dict[str, Any]] = {}
        self.lost = 0
        self.older = 0
        self.ended_at = 0.0
        self.cut_off = False
        self.stacks = Stacks()
        self.loops = {ident for kind, ident in process.rows if kind == LOOP}
        self._changes: dict[int, list[Changes]] = {}
        self._records: collections.deque[Any] = collections.deque()
        self._reader: Iterator[Any] | None = None
        self._next = 0  # number of the next record
        self._frozen: Process | None = None
        self._frozen_at = 0

    @property
    def pid(self) -> int:
        return int(self.source.info["pid"])

    @property
    def name(self) -> str:
        return str(self.source.info.get("name", "")) or f"pid {self.pid}"

    @property
    def process(self) -> Process:
        """The state to be shown: the latest, or that of :meth:`freeze`."""
        return self.source if self._frozen is None else self._frozen

    @property
    def frozen(self) -> bool:
        return self._frozen is not None

    def freeze(self) -> None:
        """Keeps what is shown as it is, while the collection goes on."""
        if self._frozen is not None:
            return
        self._frozen_at = self.now()
        copy = Process(dict(self.source.info))
        for key, row in self.source.rows.items():
            copy.rows[key] = row.copy()
        copy.entries = self.source.entries
        copy.lints = dict(self.source.lints)
        copy.alive = False
        copy.info["last"] = self._frozen_at
        self._frozen = copy

    def thaw(self) -> None:
        self._frozen = None
        self.all_changed()

    def now(self) -> int:
        """Its clock, ns; of one that is over, the last moment that is known."""
        if self._frozen is not None:
            return self._frozen_at
        if self.kind == LIVE:
            return time.monotonic_ns() + self.source.clock_offset
        return max(int(self.source.info.get("last", 0)), self.lanes.last)

    # --- what changed

    def watch(self, kind: int) -> Changes:
        """Changes of a kind of entity; kind 0: findings, -1: stalls."""
        changes = Changes()
        self._changes.setdefault(kind, []).append(changes)
        return changes

    def unwatch(self, changes: Changes) -> None:
        for watchers in self._changes.values():
            if changes in watchers:
                watchers.remove(changes)

    def changed(self, kind: int, ident: Any) -> None:
        for changes in self._changes.get(kind, ()):
            changes.ids.add(ident)

    def all_changed(self) -> None:
        for watchers in self._changes.values():
            for changes in watchers:
                changes.all = True

    # --- what comes in

    def take(self, what: str, data: dict[str, Any]) -> None:
        """Takes in a change of a feed; the process has it already."""
        if what == "rows":
            for kind, ident, _ in data["upsert"]:
                if kind == LOOP:
                    self.loops.add(ident)
                self.changed(kind, ident)
            for kind, ident in data["gone"]:
                self.changed(kind, ident)
        elif what == "events":
            from ..feed import records_of

            # Another connection may tell again what this one has.
            records = records_of(data)[max(0, self._next - data["first"]) :]
            self._next = max(self._next, data["first"] + len(data["records"]) // 6)
            self.add_records(records)
        elif what == "gap":
            self._take_gap(data["first"], data["count"])
        elif what == "lint":
            self.changed(0, (data["id"], data["ref"]))
        elif what == "stall":
            self._take_stall(data["stall"])
        elif what == "snapshot":
            self.loops = {ident for kind, ident in self.source.rows if kind == LOOP}
            if self.source.info.get("level", 0) >= _WITH_EVENTS:
                self.add_rows()
            if self.kind == GONE:
                tasks = self.source.of_kind(TASK, True)
                self._lived_until(max((row["changed"] for row in tasks), default=0))
            self.all_changed()
        elif what == "up":
            self.kind = LIVE
            self.all_changed()
        elif what == "down":
            if self.kind == LIVE:  # and not one that had ended before
                here = time.monotonic_ns()
                self.source.info.setdefault("last", here + self.source.clock_offset)
            self.kind = GONE
            self.ended_at = time.monotonic()
            self.all_changed()

    def _lived_until(self, moment: int) -> None:
        """Of one that is gone: its clock stood no earlier than that."""
        info = self.source.info
        info["last"] = max(int(info.get("last", 0)), moment)

    def _take_gap(self, first: int, count: int) -> None:
        missing = first + count - max(first, self._next)
        if missing <= 0:
            return
        if self._next == 0:
            self.older += missing
        else:
            self.lost += missing
        self._next = first + count
        self._records.append(missing)

    def _take_stall(self, fields: Any) -> None:
        from .. import _tables

        names = next(f for n, _, f in _tables.MESSAGES.values() if n == "STALL")
        stall = {names[k][0] if k in names else k: v for k, v in fields.items()}
        key = (stall["loop"], stall["since"])
        known = self.stalls.setdefault(key, stall)
        known.update({k: v for k, v in stall.items() if v or k == "over"})
        if len(self.stalls) > STALLS_KEPT:
            oldest = next(iter(self.stalls))
            del self.stalls[oldest]
            self.changed(-1, oldest)
        self.changed(-1, key)

    def add_rows(self) -> None:
        """Has :meth:`work` make lanes of the tasks that are there, before it reads what
        events are added later."""
        rows = list(self.source.of_kind(TASK))
        for i in range(0, len(rows), SLICE):
            self._records.append(_Rows(rows[i : i + SLICE]))

    def add_records(self, records: Iterable[Any]) -> None:
        """Events, oldest first, to be read by :meth:`work`."""
        found = list(records)
        for i in range(0, len(found), SLICE):
            self._records.append(found[i : i + SLICE])

    def read_from(self, parts: Iterator[Any]) -> None:
        """Has :meth:`work` read lists of events, and numbers of missing ones."""
        self._reader = parts

    @property
    def behind(self) -> bool:
        """Whether there are events that were not read yet."""
        return bool(self._records) or self._reader is not None

    def work(self, seconds: float) -> bool:
        """Reads events for so long; returns whether there were any."""
        if not self.behind:
            return False
        deadline = time.monotonic() + seconds
        while self.behind:
            if self._records:
                part = self._records.popleft()
            else:
                assert self._reader is not None
                part = next(self._reader, None)
                if part is None:
                    self._reader = None
                    break
            if isinstance(part, int):
                self.lanes.gap(part)
            elif isinstance(part, _Rows):
                for row in part:
                    self.lanes.know(row)
            else:
                self.lanes.feed(part)
            if time.monotonic() > deadline:
                break
        if self.kind == GONE:
            self._lived_until(self.lanes.last)
        return True
