"""What the details pane says of an entity, as HTML.  No Qt here.

Links are ``ref:N``; the window selects what they name.
"""

from __future__ import annotations

from html import escape
from typing import Any, Iterable

from .. import _tables, analysis
from ..lanes import RUNS, Lanes
from ..model import OBJECT, SLOT, TASK, WAIT, Row
from ..words import place
from . import trees
from .application import Application
from .columns import seconds, task_state

_WAITING = 3, 4  # states of a task

Facts = Iterable["tuple[str, str]"]


def tooltip(text: str) -> str:
    """A text for a tooltip.  Qt takes a name such as ``f.<locals>.g`` for HTML."""
    if "<" not in text:
        return text
    return f"<span>{escape(text)}</span>".replace("\n", "<br>")


def of_ref(app: Application, ref: int) -> str:
    """Everything about an entity."""
    kind, ident = ref >> 56, ref & (1 << 56) - 1
    row = app.process.rows.get((kind, ident))
    if row is None:
        lane = app.lanes.tasks.get(ident) if kind == TASK else None
        if lane is None:
            return _title(f"{_kind(kind)} {ident}", "it is gone")
        state = _tables.TASK_STATES.get(lane.state, "")
        return _title(f"Task {ident}", state) + _facts(
            [
                ("Code", _code(app.process.code(lane.code))),
                ("Created by", escape(app.process.describe(lane.creator))),
                ("Ran", _ns(lane.time_of(RUNS, 0, lane.ended or app.now()))),
            ]
        )
    if kind == TASK:
        return _task(app, row)
    if kind == SLOT:
        return _slot(app, row)
    if kind == WAIT:
        return _wait(app, row)
    return _title(app.process.describe(ref), "")


def of_stall(app: Application, stall: dict[str, Any]) -> str:
    state = "over" if stall["over"] else "goes on"
    return (
        _title(f"Loop {stall['loop']} was blocked", state)
        + _facts(
            [
                ("For", seconds(stall["duration"] * 1e-9)),
                (
                    "Running",
                    _link(
                        stall["current"],
                        app.process.describe(stall["current"])
                        or stall.get("where", ""),
                    ),
                ),
            ]
        )
        + _section("Stack")
        + _stack_text(stall.get("stack") or "The application sent no stack.")
    )


def of_lint(app: Application, lint: dict[str, Any]) -> str:
    severity = {"E": "error", "W": "warning", "I": "note"}.get(lint["severity"], "")
    text = _title(lint["id"], severity) + f"<p>{escape(lint['text'])}</p>"
    return text + _facts(
        [
            ("About", _link(lint["ref"], app.process.describe(lint["ref"]))),
            ("Times", f"{lint['count']:,}"),
            ("Since", seconds(max(0, app.now() - lint["since"]) * 1e-9)),
        ]
    )


def of_text(title: str, text: str) -> str:
    """A text of several lines, such as a stack."""
    return _title(title, "") + _stack_text(text)


def durations(lanes: Lanes, code: int) -> dict[str, Any] | None:
    """The distribution of steps of a code location, as HISTOGRAM has it; of a file."""
    found = [
        lane.ends[i] - lane.starts[i]
        for lane in lanes.tasks.values()
        if lane.code == code
        for i in range(len(lane))
        if lane.kinds[i] == RUNS
    ]
    if not found:
        return None
    found.sort()
    buckets: dict[int, int] = {}
    for ns in found:
        power = max(0, ns.bit_length() - 4)
        lower = ns >> power << power  # eight for each power of two
        buckets[lower] = buckets.get(lower, 0) + 1
    n = len(found)
    return {
        "count": n,
        "sum": sum(found),
        "max": found[-1],
        "p50": found[(n - 1) // 2],
        "p90": found[(n - 1) * 9 // 10],
        "p99": found[(n - 1) * 99 // 100],
        "buckets": [x for pair in sorted(buckets.items()) for x in pair],
    }


# --- entities


def _task(app: Application, row: Row) -> str:
    process = app.process
    task = process.task(row)
    slot = process.rows.get((SLOT, row["slot"])) if row["slot"] else None
    reason = analysis.why(process, row.id, app.stacks.of(process))
    first = reason.chain[0]
    role = task["role"].replace("_", " ")
    text = _title(f"{row.id}  {task['name']}", task_state(row))
    since = seconds(task["since"]) if task["since"] is not None else ""
    text += _facts(
        [
            (
                "State",
                f"{task_state(row)} for {since}"
                if not row.is_over
                else f"{task_state(row)} {since} ago",
            ),
            ("Is a", escape(role) if role != "task" else ""),
            (
                "Slot",
                _link(SLOT << 56 | slot.id, task["slot"]) if slot is not None else "",
            ),
            ("Coroutine", _code(task["code"])),
            ("Is at", _code(first.where or task["where"])),
            ("Exception", _bad(task["exception"])),
            ("Cancelled by", escape(task["canceller"] or "")),
        ]
    )
    text += _section("Why") + f"<p>{escape(reason.text)}</p>"
    chain = trees.await_chain(process, row)
    if len(chain) > 1:
        places = {TASK << 56 | link.row.id: link.where for link in reason.chain}
        text += _section("Waits for") + _chain(
            [link._replace(where=places.get(link.ref) or link.where) for link in chain]
        )
    if first.frames:
        text += _section("Awaits" if row.state in _WAITING else "Runs")
        text += _places(first.frames)
    hanging = trees.waiters(process, TASK << 56 | row.id)
    if hanging:
        links = ", ".join(
            _link(TASK << 56 | i, process.describe(TASK << 56 | i))
            for i in hanging[:20]
        )
        more = f" and {len(hanging) - 20:,} more" if len(hanging) > 20 else ""
        text += _section("Waits for this task") + f"<p>{links}{more}</p>"
    creators = trees.creator_chain(process, row)
    if creators:
        text += _section("Created by") + _chain(creators)
    text += _section("Work") + _facts(
        [
            ("Steps", f"{row['steps']:,}, the longest {_ns(row['max_step']) or '0'}"),
            ("Busy", _ns(row["busy"])),
            ("Ready", _ns(row["scheduled"])),
            ("Wakes", f"{row['wakes']:,}, {row['self_wakes']:,} by itself"),
            ("Woken by", escape(task["woken_by"])),
            ("Age", seconds(task["age"])),
        ]
    )
    if task["stack"]:
        text += _section("Created at") + _places(task["stack"])
    return text + _findings(app, TASK << 56 | row.id)


def _slot(app: Application, row: Row) -> str:
    process = app.process
    receiver = process.object_text(row["receiver"])
    found = process.rows.get((OBJECT, row["receiver"]))
    dead = found is not None and bool(found["destroyed"])
    pending = [t.id for t in process.of_kind(TASK) if t["slot"] == row.id]
    links = "<br>".join(
        _link(TASK << 56 | i, process.describe(TASK << 56 | i)) for i in pending[:50]
    )
    text = _title(process.text(row["name"]), "asyncslot")
    text += _facts(
        [
            ("Defined at", _code(process.code(row["code"]))),
            ("Receiver", _bad(f"{receiver}, destroyed") if dead else escape(receiver)),
            ("Calls", f"{row['calls']:,}"),
            ("Most at once", str(row["overlap_max"])),
            ("Refused", str(row["refused"] or "")),
            ("Longest", _ns(row["max"])),
        ]
    )
    if pending:
        text += _section("Pending invocations") + f"<p>{links}</p>"
    return text + _findings(app, SLOT << 56 | row.id)


def _wait(app: Application, row: Row) -> str:
    process = app.process
    sender = process.object_text(row["sender"]) or "unknown"
    alive = row["sender_alive"]
    since = seconds(max(0, app.now() - row["since"]) * 1e-9)
    text = _title(process.text(row["signal"]), "signal wait")
    text += _facts(
        [
            ("Sender", escape(sender) if alive else _bad(f"{sender}, destroyed")),
            ("Since", since),
            (
                "Task",
                _link(
                    TASK << 56 | row["task"], process.describe(TASK << 56 | row["task"])
                )
                if row["task"]
                else "",
            ),
            ("Written at", _code(process.code(row["code"]))),
            ("Fired", f"{row['fired']:,}" if row["fired"] else ""),
            ("Buffered", f"{row['buffered']:,}" if row["buffered"] else ""),
            ("Dropped", _bad(f"{row['dropped']:,}") if row["dropped"] else ""),
        ]
    )
    return text + _findings(app, WAIT << 56 | row.id)


# --- pieces


def _kind(kind: int) -> str:
    return _tables.ENTITIES.get(kind, ("entity", ()))[0].capitalize()


def _title(title: str, state: str) -> str:
    return f"<h3>{escape(title)} <span class='dim'>{escape(state)}</span></h3>"


def _section(title: str) -> str:
    return f"<h4>{escape(title)}</h4>"


def _facts(facts: Facts) -> str:
    rows = "".join(
        f"<tr><td class='dim'>{escape(name)}&nbsp;&nbsp;</td><td>{value}</td></tr>"
        for name, value in facts
        if value
    )
    return f"<table cellpadding='1'>{rows}</table>"


def _link(ref: int, text: str | None) -> str:
    if not ref or not text:
        return escape(text or "")
    return f"<a href='ref:{ref}'>{escape(text)}</a>"


def _code(code: dict[str, Any] | None) -> str:
    if code is None:
        return ""
    text = escape(place(code))
    return f"<span title='{escape(str(code['file']))}'>{text}</span>"


def _bad(text: str | None) -> str:
    return f"<span class='bad'>{escape(text)}</span>" if text else ""


def _ns(ns: int) -> str:
    return seconds(ns * 1e-9) if ns else ""


def _stack_text(text: str) -> str:
    return f"<pre>{escape(text)}</pre>"


def _chain(chain: list[trees.Link]) -> str:
    lines = []
    for i, link in enumerate(chain):
        where = f" <span class='dim'>{_code(link.where)}</span>" if link.where else ""
        indent = "&nbsp;" * (3 * i) + ("└ " if i else "")
        lines.append(f"{indent}{_link(link.ref, link.text)}{where}")
    return "<p>" + "<br>".join(lines) + "</p>"


def _places(codes: Iterable[dict[str, Any]]) -> str:
    return "<p>" + "<br>".join(_code(code) for code in codes) + "</p>"


def _findings(app: Application, ref: int) -> str:
    found = [lint for key, lint in app.process.lints.items() if key[1] == ref]
    if not found:
        return ""
    lines = [f"{_bad(lint['id'])} {escape(lint['text'])}" for lint in found]
    return _section("Findings") + f"<p>{'<br>'.join(lines)}</p>"
