"""A task as a filter sees it: fields of Process.task(), each made when asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Callable, Iterator, Mapping

from .. import _tables
from ..model import SLOT, TASK, Process, Row

if TYPE_CHECKING:
    from .viewer import Viewer


def _age(process: Process, since: int) -> float | None:
    return max(0, process.now() - since) * 1e-9 if since else None


def _slot(process: Process, row: Row) -> str | None:
    slot = process.rows.get((SLOT, row["slot"])) if row["slot"] else None
    return None if slot is None else process.text(slot["name"])


_FIELDS: dict[str, Callable[[Process, Row], Any]] = {
    "id": lambda p, r: r.id,
    "name": lambda p, r: p.task_name(r),
    "state": lambda p, r: _tables.TASK_STATES.get(r.state, str(r.state)),
    "role": lambda p, r: _tables.TASK_ROLES.get(r["role"], ""),
    "code": lambda p, r: p.code(r["code"]),
    "where": lambda p, r: p.code(r["where"]),
    "loop": lambda p, r: r.loop,
    "waits_for": lambda p, r: p.wait_of(r),
    "since": lambda p, r: _age(p, r["changed"]),
    "age": lambda p, r: _age(p, r["created"]),
    "busy": lambda p, r: r["busy"] * 1e-9,
    "scheduled": lambda p, r: r["scheduled"] * 1e-9,
    "max_step": lambda p, r: r["max_step"] * 1e-9,
    "steps": lambda p, r: r["steps"],
    "wakes": lambda p, r: r["wakes"],
    "self_wakes": lambda p, r: r["self_wakes"],
    "creator": lambda p, r: p.describe(r["creator"]),
    "woken_by": lambda p, r: p.describe(r["woken_by"]),
    "slot": _slot,
    "slot_id": lambda p, r: r["slot"] or None,
    "cancels": lambda p, r: r["cancels"],
    "canceller": lambda p, r: p.describe(r["canceller"]) or None,
    "exception": lambda p, r: p.text(r["exception"]) or None,
    "stack": lambda p, r: p.stack(r["stack"]),
}
TASK_FIELDS = (*_FIELDS, "lint")


class TaskFields(Mapping[str, Any]):
    """A row of a task as a mapping; nothing that nobody asks for is computed."""

    __slots__ = ("_row", "_viewer")

    def __init__(self, viewer: Viewer, row: Row) -> None:
        self._viewer = viewer
        self._row = row

    def __getitem__(self, name: str) -> Any:
        if name == "lint":
            warning = self._viewer.warnings.get((TASK, self._row.id))
            return list(warning.lints) if warning is not None else []
        process = self._viewer.process
        assert process is not None
        return _FIELDS[name](process, self._row)

    def __iter__(self) -> Iterator[str]:
        return iter(TASK_FIELDS)

    def __len__(self) -> int:
        return len(TASK_FIELDS)
