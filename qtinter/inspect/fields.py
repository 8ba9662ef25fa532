"""What filters can ask for and what --sort can sort by: the fields of each table.

They are those of ``--json``: what the methods of the same names of a
:class:`~qtinter.inspect.model.Process` give, and ``lint`` of a task, the ids of the
findings about it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Callable, Dict, Iterator, Mapping

from . import _tables

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .model import Process, Row

__all__ = ["FIELDS", "TASK_FIELDS", "TaskFields"]

TASK_FIELDS: Dict[str, Callable[[Process, Row], Any]] = {
    "id": lambda p, r: r.id,
    "name": lambda p, r: p.task_name(r),
    "state": lambda p, r: _tables.TASK_STATES.get(r.state, str(r.state)),
    "role": lambda p, r: _tables.TASK_ROLES.get(r["role"], ""),
    "code": lambda p, r: p.code(r["code"]),
    "where": lambda p, r: p.code(r["where"]),
    "loop": lambda p, r: r.loop,
    "waits_for": lambda p, r: p.wait_of(r),
    "since": lambda p, r: p.age(r["changed"]),
    "age": lambda p, r: p.age(r["created"]),
    "busy": lambda p, r: r["busy"] * 1e-9,
    "scheduled": lambda p, r: r["scheduled"] * 1e-9,
    "max_step": lambda p, r: r["max_step"] * 1e-9,
    "steps": lambda p, r: r["steps"],
    "wakes": lambda p, r: r["wakes"],
    "self_wakes": lambda p, r: r["self_wakes"],
    "creator": lambda p, r: p.describe(r["creator"]),
    "woken_by": lambda p, r: p.describe(r["woken_by"]),
    "slot": lambda p, r: p.slot_name(r["slot"]),
    "slot_id": lambda p, r: r["slot"] or None,
    "cancels": lambda p, r: r["cancels"],
    "canceller": lambda p, r: p.describe(r["canceller"]) or None,
    "exception": lambda p, r: p.text(r["exception"]) or None,
    "stack": lambda p, r: p.stack(r["stack"]),
}
"""What is said of a task, and how it is made of its row; times in seconds."""


class TaskFields(Mapping[str, Any]):
    """A task as a filter sees it; nothing that nobody asks for is computed.

    :param lints: the ids of the findings about it; called if somebody asks.
    """

    __slots__ = ("_lints", "_process", "_row")

    def __init__(
        self, process: Process, row: Row, lints: Callable[[], Sequence[str]]
    ) -> None:
        self._process = process
        self._row = row
        self._lints = lints

    def __getitem__(self, name: str) -> Any:
        if name == "lint":
            return self._lints()
        return TASK_FIELDS[name](self._process, self._row)

    def __iter__(self) -> Iterator[str]:
        return iter(FIELDS["tasks"])

    def __len__(self) -> int:
        return len(FIELDS["tasks"])


FIELDS: Mapping[str, Sequence[str]] = {
    "tasks": (*TASK_FIELDS, "lint"),
    "slots": (
        "id", "name", "code", "receiver", "calls", "live", "overlap_max", "refused",
        "policy", "total", "max", "last_call", "ignore", "pending",
    ),
    "waits": (
        "id", "signal", "sender_class", "sender_name", "sender_alive", "form", "task",
        "task_name", "since", "fired", "buffered", "dropped",
    ),
    "loops": (
        "id", "number", "state", "mode", "host", "thread", "current", "busy_for",
        "iterations", "turns", "callbacks", "ready", "timers", "watches", "tasks",
        "depth", "asyncio", "qt", "qt_busy", "max_lag", "unseen",
    ),
    "timers": ("id", "code", "due_in", "task", "loop"),
    "lints": ("id", "severity", "ref", "text", "count", "since"),
    "stalls": ("loop", "since", "duration", "current", "stack", "over"),
}  # fmt: skip
