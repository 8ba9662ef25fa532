"""A web page for people: one file that holds everything and loads nothing.

Timeline, tables, search.  The page is :file:`page.html` with :file:`page.css` and
:file:`page_*.js` put in, and the recording as JSON.  Times in it are nanoseconds since
its begin, texts are numbers of :attr:`_Page.texts`, and what there is much of is flat
lists of numbers; page_data.js names their fields.
"""

from __future__ import annotations

import json
import os
import struct
from collections import deque
from typing import IO, TYPE_CHECKING, Any, Iterator

from ...inspect import _tables
from ...inspect.model import OBJECT, SLOT, TASK, WAIT
from .._query import seconds_text
from .._state import KIND
from .._trace import Trace
from ._events import in_words
from ._timeline import Count, Instant, Slice, Timeline, Track
from ._words import versions_of

if TYPE_CHECKING:
    from .._source import Record, Source

# The last events of a recording that has more; a page of that many has some 10 MB.
MAX_EVENTS = 50_000

_SCRIPTS = ("page_data.js", "page_timeline.js", "page_tables.js", "page_main.js")
_TIME = struct.Struct("<q24x")  # of a record, see proto/segment.h
_encode = json.JSONEncoder(separators=(",", ":")).encode
_COLUMNS_OF_ROWS = {"event", "loop", "task", "task_name", "duration"}
_PENDING = {"run": "running", "wait": "waiting", "ready": "ready"}


def write(
    source: Source, out: IO[bytes], *, t0: int | None = None, t1: int | None = None
) -> dict[str, Any]:
    """Write a recording as a web page, see :func:`.perfetto.write`.

    A page holds :data:`MAX_EVENTS` events at most, the last ones; the result says how
    many were ``left_out``, and so does the page.
    """
    first, count = _last_events(source, t0, t1)
    if count > MAX_EVENTS:
        t0 = first
    page = _Page(source, t0, t1)
    data = page.data(count)
    for part in _skeleton():
        if part is not None:
            out.write(part)
            continue
        # A part at a time: the encoder is quick, and yields nothing before its end.
        for number, (key, value) in enumerate(data.items()):
            out.write(b"," if number else b"{")
            # In JSON a < can only be part of a text: no name ends the element.
            text = f"{_encode(key)}:{_encode(value)}".replace("<", "\\u003c")
            out.write(text.encode())
        out.write(b"}")
    return {
        "events": len(page.events) // 5,
        "tracks": len(page.lanes),
        "left_out": data["left_out"],
    }


def _last_events(source: Source, t0: int | None, t1: int | None) -> tuple[int, int]:
    """When the first of the last ones was, and how many there are in all."""
    times: deque[int] = deque(maxlen=MAX_EVENTS)
    count = 0
    for _, records in source.blocks(t0, t1):
        for (ts,) in _TIME.iter_unpack(records):
            if (t0 is None or ts >= t0) and (t1 is None or ts <= t1):
                times.append(ts)
                count += 1
    return times[0] if times else 0, count


def _skeleton() -> Iterator[bytes | None]:
    """The page in parts; None stands for the recording."""
    here = os.path.dirname(__file__)

    def file(name: str) -> bytes:
        with open(os.path.join(here, name), "rb") as found:
            return found.read()

    head, _, rest = file("page.html").partition(b"/* page.css */")
    middle, _, rest = rest.partition(b"{recording}")
    before, _, after = rest.partition(b"/* page.js */")
    yield head + file("page.css") + middle
    yield None
    yield before + b"\n".join(map(file, _SCRIPTS)) + after


class _Page:
    """Collects what a page shows."""

    def __init__(self, source: Source, t0: int | None, t1: int | None) -> None:
        self.texts: list[str] = []
        self.lanes: list[list[Any]] = []  # kind, loop, ident, name, more
        self.slices: list[list[int]] = []  # of each lane
        self.instants: list[list[int]] = []
        self.flows: list[int] = []
        self.counts: dict[tuple[str, int], list[int]] = {}
        self.events: list[int] = []
        self._source = source
        self._numbers: dict[str, int] = {}
        self._lane_of: dict[int, int] = {}  # by number of the track
        self._ends: list[list[int]] = []  # of open slices, by lane
        self._tasks: dict[int, dict[str, Any]] = {}
        self._slots: dict[int, dict[str, Any]] = {}
        self._waits: dict[int, dict[str, Any]] = {}
        self._left: dict[int, tuple[int, int]] = {}  # arrow -> lane, ts
        self._arrived: dict[int, tuple[int, int]] = {}
        self._timeline = Timeline(source, t0, t1)
        self._words = self._timeline.words
        self._t0 = t0 or 0
        self._t1 = t1
        self._zero: int | None = None
        self._timeline.watch = self._event
        self._makers = {
            KIND["TASK_CREATED"]: self._task_created,
            KIND["SLOT_REGISTERED"]: lambda ts, x, a, b: self._slot(a),
            KIND["SLOT_CALLED"]: self._slot_called,
            KIND["SLOT_ENDED"]: self._slot_ended,
            KIND["SLOT_REFUSED"]: self._slot_refused,
            KIND["TASK_WAIT"]: self._task_waits,
            KIND["WAIT_BEGAN"]: self._wait_began,
            KIND["WAIT_FIRED"]: self._wait_fired,
            KIND["WAIT_ENDED"]: self._wait_ended,
            KIND["SENDER_DESTROYED"]: self._sender_destroyed,
        }

    def data(self, count: int) -> dict[str, Any]:
        """All of the page; walks through the recording, which has so many events."""
        for item in self._timeline.items():
            if isinstance(item, Count):
                key = (item.track.kind, item.track.loop)
                counts = self.counts.setdefault(key, [])
                counts += (self._since(item.ts), item.value)
            elif isinstance(item, Slice):
                self._put_slice(item)
            else:
                self._put_instant(item)
        if self._zero is None:
            self._zero = self._timeline.begin
        self._match_arrows()
        words, source = self._words, self._source
        info = {k: source.info.get(k) for k in ("pid", "name", "level")}
        info["name"] = info["name"] or "program"
        info.update(versions_of(source.info))
        tasks, slots = self._task_rows(), list(self._slots.values())
        self._show_slots()
        return {
            "info": info,
            "wall": words.wall(self._zero) if source.info.get("wall0") else 0,
            "end": max(1, self._timeline.end - self._zero),
            "left_out": max(0, count - len(self.events) // 5),
            "lost": sum(gap.count for gap in source.gaps),
            "gaps": [
                [self._clamped(gap.t0), self._clamped(gap.t1), gap.count, gap.cause]
                for gap in source.gaps
            ],
            "problems": source.problems,
            "lanes": self.lanes,
            "slices": self.slices,
            "instants": self.instants,
            "flows": self.flows,
            "counts": [
                [kind, loop, flat] for (kind, loop), flat in self.counts.items()
            ],
            "tasks": tasks,
            "slots": slots,
            "waits": list(self._waits.values()),
            "findings": self._findings(),
            "kinds": {k: name.lower() for k, (name, _) in _tables.RECORDS.items()},
            "events": self.events,
            "texts": self.texts,
        }

    # --- pieces

    def _since(self, ts: int) -> int:
        if self._zero is None:
            self._zero = max(self._timeline.begin, self._t0)
        return ts - self._zero

    def _clamped(self, ts: int) -> int:
        return min(max(0, self._since(ts)), max(0, self._since(self._timeline.end)))

    def _text(self, text: str) -> int:
        number = self._numbers.get(text)
        if number is None:
            number = self._numbers[text] = len(self.texts)
            self.texts.append(text)
        return number

    def _args(self, args: dict[str, Any]) -> int:
        if not args:
            return -1
        # A line each; a value of several lines has the others indented.
        return self._text(
            "\n".join(
                f"{key.replace('_', ' ')}\t" + str(value).replace("\n", "\n\t")
                for key, value in args.items()
            )
        )

    def _lane(self, track: Track) -> int:
        lane = self._lane_of.get(track.number)
        if lane is None:
            lane = self._lane_of[track.number] = len(self.lanes)
            self.lanes.append(
                [track.kind, track.loop, track.ident, track.name, track.title]
            )
            self.slices.append([])
            self.instants.append([])
            self._ends.append([])
            if track.kind == "task":
                self._task(track.ident)["lane"] = lane
        return lane

    def _put_slice(self, item: Slice) -> None:
        lane = self._lane(item.track)
        ends = self._ends[lane]
        while ends and ends[-1] <= item.start:
            ends.pop()
        start = self._since(item.start)
        self.slices[lane] += (
            start, item.end - item.start, len(ends), self._text(item.name),
            self._text(item.category), self._args(item.args),
        )  # fmt: skip
        ends.append(item.end)
        for flow, ts in item.sources:
            self._left[flow] = (lane, self._since(ts))
        for flow in item.targets:
            self._arrived[flow] = (lane, start)
        if item.track.kind == "task":
            self._count_slice(self._task(item.track.ident), item, start)

    def _put_instant(self, item: Instant) -> None:
        lane = self._lane(item.track)
        ts = self._since(item.ts)
        self.instants[lane] += (
            ts, self._text(item.name), self._text(item.category), self._args(item.args),
        )  # fmt: skip
        for flow, left in item.sources:
            self._left[flow] = (lane, self._since(left))
        if item.category == "end":
            task = self._task(item.track.ident)
            state, _, task["exception"] = item.name.partition(": ")
            task["state"] = "destroyed" if state.startswith("destroyed") else state
            task["ended"] = ts

    def _match_arrows(self) -> None:
        for flow, (lane, ts) in self._left.items():
            if flow in self._arrived:
                self.flows += (lane, ts, *self._arrived[flow])

    def _event(self, record: Record) -> None:
        """A line of the table of events."""
        _, ts, kind, _, x, a, b = record
        if ts < self._t0:
            return
        maker = self._makers.get(kind)
        if maker is not None:
            maker(self._since(ts), x, a, b)
        words = in_words(self._words, record)
        detail = ", ".join(
            f"{key.replace('_', ' ')} {value}"
            for key, value in words.items()
            if key not in _COLUMNS_OF_ROWS and value not in ("", 0)
        )
        duration = round(words.get("duration", 0) * 1e9)
        task = words.get("task", 0)
        self.events += (self._since(ts), kind, task, self._text(detail), duration)

    # --- tasks

    def _task(self, ident: int) -> dict[str, Any]:
        task = self._tasks.get(ident)
        if task is None:
            row = self._words.rows.get((TASK, ident))
            task = self._tasks[ident] = {
                "id": ident,
                "name": self._words.task_text(ident),
                "code": self._words.task_code(ident),
                "state": "",
                "created": None,
                "ended": None,
                "steps": 0,
                "busy": 0,
                "ready": 0,
                "waited": 0,
                "max": 0,
                "slot": row["slot"] if row is not None else 0,
                "exception": "",
                "waits_for": "",
                "lane": -1,
            }
        return task

    def _task_created(self, ts: int, x: int, a: int, b: int) -> None:
        task = self._task(a)
        task["created"] = ts
        task["creator"] = self._words.describe(b)

    def _count_slice(self, task: dict[str, Any], item: Slice, start: int) -> None:
        took = item.end - item.start
        if item.category == "run":
            task["steps"] += 1
            task["busy"] += took
            if took > task["max"]:
                task["max"], task["max_at"] = took, start
        else:
            task["ready" if item.category == "ready" else "waited"] += took
        if item.args.get("pending"):
            task["state"] = _PENDING.get(item.category, "")
            if item.category == "wait":
                task["waits_for"] = item.name.replace("waits for ", "", 1)

    def _task_rows(self) -> list[dict[str, Any]]:
        for task in self._tasks.values():
            slot = self._words.rows.get((SLOT, task["slot"]))
            task["slot_name"] = self._words.text(slot["name"]) if slot else ""
        return sorted(self._tasks.values(), key=lambda task: int(task["id"]))

    # --- slots

    def _slot(self, ident: int) -> dict[str, Any]:
        slot = self._slots.get(ident)
        if slot is None:
            slot = self._slots[ident] = {
                "id": ident, "calls": 0, "live": 0, "most": 0, "refused": 0, "total": 0,
                "max": 0, "failed": 0,
            }  # fmt: skip
        return slot

    def _slot_called(self, ts: int, x: int, a: int, b: int) -> None:
        slot = self._slot(b)
        slot["calls"] += 1
        slot["live"] += 1
        slot["most"] = max(slot["most"], slot["live"])
        self._task(a)["called"] = ts
        self._task(a)["slot"] = b

    def _slot_ended(self, ts: int, x: int, a: int, b: int) -> None:
        slot = self._slot(b)
        slot["live"] = max(0, slot["live"] - 1)
        slot["failed"] += _tables.TASK_STATES.get(x) == "failed"
        task = self._task(a)
        began = task["created"] if task["created"] is not None else task.get("called")
        if began is not None:
            slot["total"] += ts - began
            slot["max"] = max(slot["max"], ts - began)

    def _slot_refused(self, ts: int, x: int, a: int, b: int) -> None:
        self._slot(a)["refused"] += 1

    def _show_slots(self) -> None:
        for ident, slot in self._slots.items():
            row = self._words.rows.get((SLOT, ident))
            slot["name"] = self._words.slot_text(ident)
            slot["code"] = self._words.code_text(row["code"]) if row else ""
            slot["receiver"] = self._words.object_text(row["receiver"]) if row else ""
            slot["policy"] = _tables.OVERLAPS.get(row["policy"], "") if row else ""

    # --- signal waits, findings

    def _wait(self, ident: int) -> dict[str, Any]:
        wait = self._waits.get(ident)
        if wait is None:
            row = self._words.rows.get((WAIT, ident))
            sender = self._words.rows.get((OBJECT, row["sender"])) if row else None
            wait = self._waits[ident] = {
                "id": ident,
                "signal": self._words.text(row["signal"]) if row else "",
                "sender": self._words.object_text(sender.id) if sender else "",
                "form": _tables.WAIT_FORMS.get(row["form"], "") if row else "",
                "task": row["task"] if row else 0,
                "since": None,
                "ended": None,
                "how": "pending",
                "fired": 0,
                "alive": True,
            }
        return wait

    def _task_waits(self, ts: int, x: int, a: int, b: int) -> None:
        if b >> 56 == WAIT:
            self._wait(b & (1 << 56) - 1)["task"] = a

    def _wait_began(self, ts: int, x: int, a: int, b: int) -> None:
        self._wait(a)["since"] = ts

    def _wait_fired(self, ts: int, x: int, a: int, b: int) -> None:
        self._wait(a)["fired"] += 1

    def _wait_ended(self, ts: int, x: int, a: int, b: int) -> None:
        wait = self._wait(a)
        wait["ended"] = ts
        wait["how"] = _tables.WAIT_ENDS.get(x, str(x))

    def _sender_destroyed(self, ts: int, x: int, a: int, b: int) -> None:
        self._wait(a)["alive"] = False

    def _findings(self) -> list[dict[str, Any]]:
        """Stalls and lints, those that were noted and those that the records show."""
        trace = Trace(self._source, self._t0 or None, self._t1, allow_gaps=True)
        found = []
        for stall in trace.stalls():
            found.append(
                {
                    "ts": self._clamped(trace.zero + round(stall.began * 1e9)),
                    "kind": "stall",
                    "severity": "W",
                    "text": f"stall of {seconds_text(stall.duration)}",
                    "concerns": stall.where,
                    "stack": stall.stack,
                }
            )
        for lint in trace.all_lints():
            ref = lint.ref[0] << 56 | lint.ref[1] if lint.ref else 0
            found.append(
                {
                    "ts": self._clamped(trace.zero + round(lint.at * 1e9)),
                    "kind": "lint",
                    "severity": lint.severity,
                    "text": f"{lint.id}: {lint.text}",
                    "concerns": self._words.describe(ref),
                    "task": lint.ref[1] if lint.ref and lint.ref[0] == TASK else 0,
                }
            )
        return sorted(found, key=lambda finding: int(finding["ts"]))
