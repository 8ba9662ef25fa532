"""What a feed has told and its user has not taken yet: bounded, losses are told."""

from __future__ import annotations

import asyncio
import collections
import dataclasses
from typing import Any

MAX_RECORDS = 1 << 17  # events; as many as the daemon keeps
MAX_ROWS = 1 << 17  # changed rows


@dataclasses.dataclass(frozen=True)
class Change:
    """Something that the daemon told.

    :ivar what: ``"up"``, ``"down"``, ``"snapshot"``, ``"rows"``, ``"events"``,
        ``"gap"``, ``"lint"`` or ``"stall"``.
    :ivar pid: the application concerned.
    :ivar data: the fields of the message.
    """

    what: str
    pid: int
    data: dict[str, Any]


def _weight(change: Change) -> tuple[int, int]:
    """How many records and how many rows it holds."""
    if change.what == "events":
        return len(change.data["records"]) // 6, 0
    if change.what == "rows":
        return 0, 1 + len(change.data["upsert"]) + len(change.data["gone"])
    return 0, 0


class Backlog:
    """A queue of changes for whoever takes too few.

    Of too many events the oldest go, and a ``"gap"`` is in their place.  Too many
    changes of rows become a ``"snapshot"``: the model is current anyway, and what is in
    it now is all that can be said.

    :param lost: called with a pid and how many of its records went.
    """

    def __init__(self, lost: Any) -> None:
        self._lost = lost
        self._changes: collections.deque[Change] = collections.deque()
        self._records = 0
        self._rows = 0
        self._arrived = asyncio.Event()
        self._closed = False

    def __len__(self) -> int:
        return len(self._changes)

    def put(self, change: Change) -> None:
        records, rows = _weight(change)
        self._changes.append(change)
        self._records += records
        self._rows += rows
        if self._records > MAX_RECORDS:
            self._drop_events()
        if self._rows > MAX_ROWS:
            self._merge_rows()
        self._arrived.set()

    def close(self) -> None:
        """What is there can still be taken; then there is nothing more."""
        self._closed = True
        self._arrived.set()

    async def take(self) -> Change | None:
        """The oldest change; None: there will be no more."""
        while not self._changes:
            if self._closed:
                return None
            self._arrived.clear()
            await self._arrived.wait()
        change = self._changes.popleft()
        records, rows = _weight(change)
        self._records -= records
        self._rows -= rows
        return change

    def _drop_events(self) -> None:
        """Half of them: the next time is not soon."""
        kept: collections.deque[Change] = collections.deque()
        gaps: dict[tuple[int, int], dict[str, Any]] = {}
        for change in self._changes:
            if change.what == "gap" and change.data.get("cause") == "backlog":
                gaps[change.pid, change.data["sub"]] = change.data
            if change.what != "events" or self._records <= MAX_RECORDS // 2:
                kept.append(change)
                continue
            first, count = change.data["first"], _weight(change)[0]
            self._records -= count
            self._lost(change.pid, count)
            gap = gaps.get((change.pid, change.data["sub"]))
            if gap is not None and gap["first"] + gap["count"] == first:
                gap["count"] += count
                continue
            gap = gaps[change.pid, change.data["sub"]] = {
                "first": first,
                "count": count,
                "cause": "backlog",
                "pid": change.pid,
                "sub": change.data["sub"],
            }
            kept.append(Change("gap", change.pid, gap))
        self._changes = kept

    def _merge_rows(self) -> None:
        newest = {
            (change.pid, change.data["sub"]): change
            for change in self._changes
            if change.what == "rows"
        }
        kept: collections.deque[Change] = collections.deque()
        for change in self._changes:
            if change.what != "rows":
                kept.append(change)
            elif newest[change.pid, change.data["sub"]] is change:
                fields = {key: change.data[key] for key in ("sub", "pid", "rev")}
                kept.append(Change("snapshot", change.pid, fields))
        self._changes = kept
        self._rows = 0
