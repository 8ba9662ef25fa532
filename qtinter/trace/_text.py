"""A trace in few lines, for people."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from ._query import Item, seconds_text

if TYPE_CHECKING:
    from ._trace import Trace

LINES = 39  # and a path before them
_EVENTS = 10
_FRAME = re.compile(r'File "(?P<file>[^"]*)", line (?P<line>\d+),? in (?P<name>\S+)')


def summary(trace: Trace, most: int = LINES) -> str:
    """So many lines: figures, longest step, what pends, findings, last events."""
    lines = _figures(trace)
    room = max(most - len(lines) - _EVENTS - 1, 4)
    lints = [str(lint) for lint in trace.all_lints()]
    pending = [str(item) for item in pending_items(trace)]
    lint_room = min(len(lints), max(room // 2, room - len(pending) - 2))
    lines += _part("findings", lints, lint_room)
    room -= lint_room + 1 if lints else 0
    lines += _part("pending", pending, max(room - 1, 1))
    lines += _last_events(trace)
    return "\n".join(line[:160] for line in lines[:most])


def _part(title: str, items: list[str], room: int) -> list[str]:
    if not items:
        return []
    shown = items if len(items) <= room else items[: max(room - 1, 0)]
    lines = [f"{title}:"] + [f"  {item}" for item in shown]
    if len(shown) < len(items):
        lines.append(f"  … {len(items) - len(shown)} more")
    return lines


def versions_of(info: dict[str, Any]) -> dict[str, str]:
    """Of Python, the binding, Qt and qtinter, as far as a recording tells."""
    found = {**info, **info.get("versions", {})}
    names = ("python", "binding", "qt", "qtinter")
    return {name: str(found[name]) for name in names if found.get(name)}


def _made_with(trace: Trace) -> str:
    """For example "PyQt6 (Qt 6.5.3, native host), Python 3.11.7, qtinter 0.12.0"."""
    found = versions_of(trace.info)
    hosts = {loop["host"] for loop in trace.snapshot().loops() if loop["host"]}
    details = [f"Qt {found['qt']}"] if "qt" in found else []
    details += [f"{host} host" for host in sorted(hosts)]
    parts = []
    if "binding" in found:
        more = f" ({', '.join(details)})" if details else ""
        parts.append(found["binding"] + more)
    for name in ("Python", "qtinter"):
        if name.lower() in found:
            parts.append(f"{name} {found[name.lower()]}")
    return ", ".join(parts)


def _figures(trace: Trace) -> list[str]:
    figures = trace.figures()
    lines = [
        f"{seconds_text(trace.duration)}, {figures['steps']} steps, "
        f"{figures['tasks']} tasks, {figures['slots']} slot calls, lag p99 "
        f"{seconds_text(figures['p99_lag'])}"
    ]
    made_with = _made_with(trace)
    if made_with:
        lines.append(f"with {made_with}")
    if figures["lost"]:
        lines.append(f"LOST {figures['lost']} records")
    for step in trace.longest_steps():
        lines.append(f"longest step {step}")
        break
    lines += [f"  problem: {problem}" for problem in trace.problems[:2]]
    return lines


def pending_items(trace: Trace) -> list[Item]:
    """The tasks that pend at the end, and the waits that no such task explains."""
    tasks = [task for task in trace.all_tasks() if task.is_pending]
    shown = {task.id for task in tasks}
    items: list[Item] = [*tasks]
    for wait in trace.signal_waits():
        task = wait.task
        if wait.is_pending and (task is None or task.id not in shown):
            items.append(wait)
    return items


def _last_events(trace: Trace) -> list[str]:
    last: list[str] = []
    records = list(trace.last_records(_EVENTS))
    if records:
        last.append("last events:")
        last += [f"  {trace.event(record)}" for record in records]
    return last


def innermost(stack: str) -> str:
    """The innermost frame of a stack as text: ``dumps (json/__init__.py:231)``.

    faulthandler writes "most recent call first", traceback the opposite.
    """
    frames = list(_FRAME.finditer(stack))
    if not frames:
        return ""
    found = frames[0] if "most recent call first" in stack.lower() else frames[-1]
    parts = found["file"].replace("\\", "/").split("/")
    return f"{found['name']} ({'/'.join(parts[-2:])}:{found['line']})"
