"""The columns of the tables: what a cell says, what it is sorted by.  No Qt here."""

from __future__ import annotations

from typing import Any, Callable, Iterator, Mapping, NamedTuple

from .. import _tables, words
from ..model import LOOP, OBJECT, SLOT, TASK, WAIT, Process, Row
from ..words import place
from .application import Application

LINT, STALL = 0, -1  # as in Application.watch()


class Column(NamedTuple):
    """
    :ivar text: (application, item) to what the cell says.
    :ivar key: (application, item) to what it is sorted by.
    :ivar width: in characters.
    :ivar right: numbers, aligned to the right.
    :ivar moves: its key changes all the time, or with time alone.
    """

    title: str
    text: Callable[[Application, Any], str]
    key: Callable[[Application, Any], Any]
    width: int
    right: bool = False
    moves: bool = False
    help: str = ""


def seconds(value: float | None) -> str:
    """A duration, as a window can show it."""
    if value is not None and value <= 0:
        return "0"
    return words.seconds(value).replace(" us", " µs")


def _age(column: str) -> Callable[[Application, Row], str]:
    def text(app: Application, row: Row) -> str:
        since = row[column]
        return seconds(max(0, app.now() - since) * 1e-9) if since else ""

    return text


def _raw(column: str, scale: int = 1) -> Callable[[Application, Row], Any]:
    return lambda app, row: scale * int(row[column])


def _ns(column: str) -> Callable[[Application, Row], str]:
    return lambda app, row: seconds(row[column] * 1e-9) if row[column] else ""


def _count(column: str) -> Callable[[Application, Row], str]:
    return lambda app, row: f"{row[column]:,}" if row[column] else ""


def _id(app: Application, row: Row) -> str:
    return str(row.id)


def _by_id(app: Application, row: Row) -> Any:
    return row.id


def wait_text(app: Application, row: Row) -> str:
    """What a task waits for, or how it ended."""
    waits = app.process.wait_of(row)
    if waits is not None:
        return str(waits["text"])
    if row["exception"]:
        return app.process.text(row["exception"])
    return ""


def _task_code(app: Application, row: Row) -> str:
    return place(app.process.code(row["code"]))


def _task_where(app: Application, row: Row) -> str:
    return place(app.process.code(row["where"]))


def _slot_of(app: Application, row: Row) -> str:
    slot = app.process.rows.get((SLOT, row["slot"])) if row["slot"] else None
    return app.process.text(slot["name"]) if slot is not None else ""


def _sorted_by_text(
    text: Callable[[Application, Any], str],
) -> Callable[[Application, Any], Any]:
    return lambda app, item: text(app, item).lower()


def _name(app: Application, row: Row) -> str:
    return app.process.task_name(row)


def task_state(row: Row) -> str:
    return _tables.TASK_STATES.get(row.state, str(row.state)).lstrip("_")


def _last_seen(app: Application, row: Row) -> Any:
    return -row["changed"]


TASKS = (
    Column("Id", _id, _by_id, 6, right=True),
    Column("State", lambda a, r: task_state(r), lambda a, r: r.state, 15, moves=True),
    Column("Name", _name, _sorted_by_text(_name), 13),
    Column("Coroutine", _task_code, _sorted_by_text(_task_code), 29,
           help="The coroutine function, and where it is written"),
    Column("Waits for", wait_text, _sorted_by_text(wait_text), 27, moves=True,
           help="What the task waits for; of one that failed, its exception"),
    Column("Since", _age("changed"), _last_seen, 8, True, True,
           help="How long it has been in this state"),
    Column("At", _task_where, _sorted_by_text(_task_where), 30,
           help="The innermost await; it is known from level 3 on"),
    Column("Slot", _slot_of, _sorted_by_text(_slot_of), 20,
           help="The asyncslot whose invocation this is"),
    Column("Busy", _ns("busy"), _raw("busy"), 9, True, True, "Time spent in steps"),
    Column("Max step", _ns("max_step"), _raw("max_step"), 9, True, True,
           "Its longest step"),
    Column("Ready", _ns("scheduled"), _raw("scheduled"), 9, True, True,
           "Time spent ready but not running"),
    Column("Steps", _count("steps"), _raw("steps"), 8, True, True),
    Column("Wakes", _count("wakes"), _raw("wakes"), 8, True, True),
    Column("Age", _age("created"), _raw("created", -1), 9, True),
)  # fmt: skip


def _slot_name(app: Application, row: Row) -> str:
    return app.process.text(row["name"])


def _receiver(app: Application, row: Row) -> str:
    text = app.process.object_text(row["receiver"])
    found = app.process.rows.get((OBJECT, row["receiver"]))
    if found is not None and found["destroyed"]:
        return f"{text} (destroyed)"
    return text


def _slot_place(app: Application, row: Row) -> str:
    return place(app.process.code(row["code"]))


def _mean(app: Application, row: Row) -> str:
    ended = row["calls"] - row["live"]
    return seconds(row["total"] / ended * 1e-9) if ended > 0 else ""


SLOTS = (
    Column("Id", _id, _by_id, 7, right=True),
    Column("Slot", _slot_name, _sorted_by_text(_slot_name), 28),
    Column("Receiver", _receiver, _sorted_by_text(_receiver), 26),
    Column("Pending", _count("live"), _raw("live"), 8, True, True,
           "Invocations that have not ended"),
    Column("Calls", _count("calls"), _raw("calls"), 8, True, True),
    Column("Overlap", _count("overlap_max"), _raw("overlap_max"), 8, True, True,
           "Most invocations that were pending at once"),
    Column("Refused", _count("refused"), _raw("refused"), 8, True, True,
           "Emissions that overlap= has dropped"),
    Column("Policy", lambda a, r: _tables.OVERLAPS.get(r["policy"], ""),
           lambda a, r: r["policy"], 8),
    Column("Mean", _mean, lambda a, r: r["total"] / max(1, r["calls"] - r["live"]), 9,
           True, True, "Mean duration of the invocations that have ended"),
    Column("Longest", _ns("max"), _raw("max"), 9, True, True),
    Column("Last call", _age("last_call"), _raw("last_call", -1), 10, True, True),
    Column("Defined at", _slot_place, _sorted_by_text(_slot_place), 30),
)  # fmt: skip


def _sender(app: Application, row: Row) -> str:
    text = app.process.object_text(row["sender"]) or "unknown"
    return text if row["sender_alive"] else f"{text} (destroyed)"


def _signal(app: Application, row: Row) -> str:
    return app.process.text(row["signal"])


def _wait_task(app: Application, row: Row) -> str:
    task = app.process.rows.get((TASK, row["task"]))
    if task is None:
        return str(row["task"] or "")
    return f"{row['task']} {app.process.task_name(task)}"


WAITS = (
    Column("Id", _id, _by_id, 7, right=True),
    Column("Signal", _signal, _sorted_by_text(_signal), 20),
    Column("Sender", _sender, _sorted_by_text(_sender), 28),
    Column("Task", _wait_task, _raw("task"), 24),
    Column("Since", _age("since"), _raw("since", -1), 9, True),
    Column("Form", lambda a, r: _tables.WAIT_FORMS.get(r["form"], ""),
           lambda a, r: r["form"], 10),
    Column("Fired", _count("fired"), _raw("fired"), 7, True, True),
    Column("Buffered", _count("buffered"), _raw("buffered"), 9, True, True,
           "Items of a stream that were not read yet"),
    Column("Dropped", _count("dropped"), _raw("dropped"), 9, True, True),
    Column("At", lambda a, r: place(a.process.code(r["code"])),
           lambda a, r: place(a.process.code(r["code"])), 30),
)  # fmt: skip


def _loop_state(app: Application, row: Row) -> str:
    return _tables.LOOP_STATES.get(row.state, "")


def _current(app: Application, row: Row) -> str:
    return app.process.describe(row["current"])


LOOPS = (
    Column("Loop", lambda a, r: str(r.loop or r.id), _by_id, 8, right=True),
    Column("State", _loop_state, lambda a, r: r.state, 9, moves=True),
    Column("Mode", lambda a, r: _tables.LOOP_MODES.get(r["mode"], ""),
           lambda a, r: r["mode"], 10),
    Column("Runs", _current, _sorted_by_text(_current), 34, moves=True,
           help="What runs at this moment"),
    Column("For", _age("busy_since"), _raw("busy_since", -1), 9, True, True),
    Column("Max lag", _ns("max_lag"), _raw("max_lag"), 10, True, True,
           "The longest time that a ready handle waited"),
    Column("Tasks", _count("tasks"), _raw("tasks"), 8, True, True),
    Column("Ready", _count("ready"), _raw("ready"), 8, True, True),
    Column("Timers", _count("timers"), _raw("timers"), 8, True, True),
    Column("Watches", _count("watches"), _raw("watches"), 8, True, True,
           "Descriptors that are watched"),
    Column("Callbacks", _count("callbacks"), _raw("callbacks"), 10, True, True),
    Column("Depth", _count("depth"), _raw("depth"), 7, True, True,
           "Event loops that run on the thread"),
    Column("Host", lambda a, r: a.process.text(r["host"]), _by_id, 9),
    Column("Thread", lambda a, r: str(r["thread"]), _raw("thread"), 9, True),
)  # fmt: skip

_SEVERITIES = {"E": "error", "W": "warning", "I": "note"}


def _about(app: Application, item: Any) -> str:
    return app.process.describe(item["ref"])


LINTS = (
    Column("Severity", lambda a, i: _SEVERITIES.get(i["severity"], i["severity"]),
           lambda a, i: "EWI".find(i["severity"]), 13),
    Column("Id", lambda a, i: str(i["id"]), lambda a, i: i["id"], 8),
    Column("Finding", lambda a, i: str(i["text"]), lambda a, i: i["text"], 58),
    Column("About", _about, _sorted_by_text(_about), 32),
    Column("Times", lambda a, i: f"{i['count']:,}", lambda a, i: i["count"], 7, True),
    Column("Since", lambda a, i: seconds(max(0, a.now() - i["since"]) * 1e-9),
           lambda a, i: -i["since"], 9, True),
)  # fmt: skip


def _runs(app: Application, item: Any) -> str:
    return str(app.process.describe(item["current"]) or item.get("where", ""))


STALLS = (
    Column("Ago", lambda a, i: seconds(max(0, a.now() - i["since"]) * 1e-9),
           lambda a, i: i["since"], 9, True),
    Column("Duration", lambda a, i: seconds(i["duration"] * 1e-9),
           lambda a, i: i["duration"], 10, True),
    Column("Loop", lambda a, i: str(i["loop"]), lambda a, i: i["loop"], 6, True),
    Column("State", lambda a, i: "over" if i["over"] else "goes on",
           lambda a, i: i["over"], 9),
    Column("Running", _runs, _sorted_by_text(_runs), 50),
    Column("Stack", lambda a, i: "yes" if i.get("stack") else "",
           lambda a, i: bool(i.get("stack")), 7),
)  # fmt: skip


class Table(NamedTuple):
    """What a tab lists.

    :ivar kind: of entity; see :meth:`Application.watch`.
    :ivar nothing: what to say when there is nothing.
    """

    title: str
    kind: int
    columns: tuple[Column, ...]
    nothing: str
    sort: int = 0
    descending: bool = False

    def items(self, app: Application) -> Mapping[Any, Any]:
        """All ids and items."""
        if self.kind == LINT:
            return app.process.lints
        if self.kind == STALL:
            return app.stalls
        return {ident: row for ident, row in self.each(app) if row is not None}

    def idents(self, app: Application) -> list[Any]:
        """All ids."""
        if self.kind in (LINT, STALL):
            return list(self.items(app))
        rows = list(app.process.rows)
        return [ident for kind, ident in rows if kind == self.kind]

    def each(self, app: Application) -> Iterator[tuple[Any, Any]]:
        """Ids and items, one after the other; (None, None) for what is something else,
        so that whoever has no more time can stop there."""
        if self.kind in (LINT, STALL):
            yield from list(self.items(app).items())
            return
        for (kind, ident), row in list(app.process.rows.items()):
            yield (ident, row) if kind == self.kind else (None, None)

    def get(self, app: Application, ident: Any) -> Any:
        if self.kind == LINT:
            return app.process.lints.get(ident)
        if self.kind == STALL:
            return app.stalls.get(ident)
        return app.process.rows.get((self.kind, ident))

    def ref(self, app: Application, ident: Any) -> int:
        """The entity that an item is about, 0: none."""
        item = self.get(app, ident)
        if item is None:
            return 0
        if self.kind == LINT:
            return int(item["ref"])
        if self.kind == STALL:
            return int(item["current"])
        return self.kind << 56 | int(ident)


TABLES = {
    "tasks": Table("Tasks", TASK, TASKS, "No task matches."),
    "slots": Table("Slots", SLOT, SLOTS, "No asyncslot is connected.\n"
                   "signal.connect(qtinter.asyncslot(method)) makes one."),
    "waits": Table("Signal waits", WAIT, WAITS, "Nobody waits for a signal.\n"
                   "await qtinter.asyncsignal(sender.signal) is such a wait."),
    "loops": Table("Loops", LOOP, LOOPS, "No loop of qtinter runs."),
    "lints": Table("Findings", LINT, LINTS, "Nothing suspicious was found."),
    "stalls": Table("Stalls", STALL, STALLS, "No step or callback has blocked a loop.",
                    descending=True),
}  # fmt: skip


def is_over(item: Any) -> bool:
    return isinstance(item, Row) and item.is_over


def process_title(process: Process) -> str:
    versions = process.info.get("versions") or process.info
    words = [f"pid {process.info['pid']}"]
    if versions.get("python"):
        words.append(f"Python {versions['python']}")
    if versions.get("binding"):
        words.append(f"{versions['binding']} (Qt {versions.get('qt', '?')})")
    return ", ".join(words)
