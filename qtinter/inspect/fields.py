"""What filters can ask for and what --sort can sort by: the fields of each table.

They are those of ``--json``: what the methods of the same names of a
:class:`~qtinter.inspect.model.Process` give, and ``lint`` of a task, the ids of the
findings about it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["FIELDS"]

FIELDS: Mapping[str, Sequence[str]] = {
    "tasks": (
        "id", "name", "state", "role", "code", "where", "loop", "waits_for",
        "since", "age", "busy", "scheduled", "max_step", "steps", "wakes",
        "self_wakes", "creator", "woken_by", "slot", "slot_id", "cancels", "canceller",
        "exception", "stack", "lint",
    ),
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
