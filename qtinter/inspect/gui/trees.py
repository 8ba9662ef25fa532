"""Where a task belongs in a tree: by what it waits for, who created it, or whose slot
it runs.  No Qt here.

A node's key is (rank, kind, id): the rank puts groups behind what they are not of.
"""

from __future__ import annotations

from typing import Any, Callable, NamedTuple

from .. import _tables
from ..model import CALLBACK, JOB, OBJECT, SLOT, TASK, TIMER, WAIT, Process, Row

GROUP = 0  # kind of a node that stands for no entity

_WAITING, _CANCELLING = 3, 4
_DEEPEST = 200  # links that are followed

# Ids of groups.
ASLEEP, IN_EXECUTOR, ELSE, NOT_WAITING, NO_CREATOR, NO_RECEIVER, CYCLE, FUTURES = range(
    8
)
_GROUPS = {
    ASLEEP: "sleeping",
    IN_EXECUTOR: "in an executor",
    ELSE: "waiting for something else",
    NOT_WAITING: "not waiting",
    NO_CREATOR: "created outside of any task",
    NO_RECEIVER: "not an asyncslot of a QObject",
    CYCLE: "waiting in a circle",
    FUTURES: "waiting for a future",
}


class Key(NamedTuple):
    rank: int
    kind: int
    id: int


def group(number: int) -> Key:
    return Key(1, GROUP, number)


def entity(kind: int, ident: int) -> Key:
    return Key(0, kind, ident)


def label(process: Process, key: Key) -> str:
    """A node that is no task, in words."""
    if key.kind == GROUP:
        return _GROUPS[key.id]
    row = process.rows.get((key.kind, key.id))
    if key.kind == OBJECT:
        return process.object_text(key.id) or f"object {key.id}"
    if row is None:
        return f"{_tables.ENTITIES[key.kind][0]} {key.id}"
    if key.kind == SLOT:
        return process.text(row["name"])
    return process.describe(key.kind << 56 | key.id)


def task_label(process: Process, row: Row) -> str:
    """What a task is called: a call of a slot by the slot's name."""
    name = process.task_name(row)
    slot = process.rows.get((SLOT, row["slot"])) if row["slot"] else None
    if slot is not None:
        name = f"{process.text(slot['name'])} ({name})"
    return f"{row.id}  {name}"


def by_await(process: Process, row: Row) -> Key:
    """Above a task is what it waits for: the cause is at the top."""
    if row.state not in (_WAITING, _CANCELLING):
        return group(NOT_WAITING)
    found = process.ref(row["wait_ref"])
    kind = row["wait_kind"]
    if found is not None and found in process.rows:
        if found[0] == TASK:
            return group(CYCLE) if _in_circle(process, row) else entity(*found)
        if found[0] == WAIT:
            return entity(*found)
    if kind == 5 or (found is not None and found[0] == TIMER):
        return group(ASLEEP)
    if kind == 6 or (found is not None and found[0] == JOB):
        return group(IN_EXECUTOR)
    return group(FUTURES if kind == 2 else ELSE)


def _in_circle(process: Process, row: Row) -> bool:
    first = row.id
    for _ in range(_DEEPEST):
        found = process.ref(row["wait_ref"])
        if found is None or found[0] != TASK or row.state not in (3, 4):
            return False
        if found[1] == first:
            return True
        following = process.rows.get(found)
        if following is None:
            return False
        row = following
    return False


def by_creator(process: Process, row: Row) -> Key:
    found = process.ref(row["creator"])
    # A creator is older than what it created: there is no circle.
    if (
        found is not None
        and found[0] == TASK
        and found in process.rows
        and found[1] < row.id
    ):
        return entity(*found)
    return group(NO_CREATOR)


def by_object(process: Process, row: Row) -> Key:
    if row["slot"] and (SLOT, row["slot"]) in process.rows:
        return entity(SLOT, row["slot"])
    return group(NO_RECEIVER)


def above(process: Process, key: Key) -> Key | None:
    """Where a node that is no task belongs; None: at the top."""
    if key.kind == SLOT:
        slot = process.rows.get((SLOT, key.id))
        if slot is None or not slot["receiver"]:
            return group(NO_RECEIVER)
        return entity(OBJECT, slot["receiver"])
    return None


MODES: dict[str, tuple[str, Callable[[Process, Row], Key]]] = {
    "await": ("by what they wait for", by_await),
    "creator": ("by who created them", by_creator),
    "object": ("by receiver object", by_object),
}


# --- chains, for the details of a task


class Link(NamedTuple):
    """One entity of a chain.

    :ivar ref: of the entity, 0 if it is none.
    :ivar text: what it is.
    :ivar where: code location, or None.
    """

    ref: int
    text: str
    where: dict[str, Any] | None


def await_chain(process: Process, row: Row) -> list[Link]:
    """What a task waits for, what that waits for, and so on; ends with the cause."""
    chain: list[Link] = []
    seen = set()
    current: Row | None = row
    while current is not None and len(chain) < _DEEPEST:
        ref = TASK << 56 | current.id
        where = process.code(current["where"]) or process.code(current["code"])
        if current.id in seen:
            chain.append(Link(ref, "the same task again: a circle", None))
            break
        seen.add(current.id)
        chain.append(Link(ref, process.describe(ref), where))
        if current.state not in (_WAITING, _CANCELLING):
            break
        found = process.ref(current["wait_ref"])
        if found is not None and found[0] == TASK:
            following = process.rows.get(found)
            if following is None:
                chain.append(Link(0, process.describe(current["wait_ref"]), None))
            current = following
            continue
        waits = process.wait_of(current)
        target = process.rows.get(found) if found is not None else None
        code = None
        if target is not None and target.kind in (WAIT, JOB):
            code = process.code(target["code"])
        if waits is not None:
            ref = current["wait_ref"] if target is not None else 0
            chain.append(Link(ref, str(waits["text"]), code))
        break
    return chain


def creator_chain(process: Process, row: Row) -> list[Link]:
    """Who created a task, who created that, and so on."""
    chain: list[Link] = []
    current: Row | None = row
    while current is not None and len(chain) < _DEEPEST:
        ref = current["creator"]
        found = process.ref(ref)
        if found is None:
            break
        kind, ident = found
        creator = process.rows.get(found)
        code = None
        if kind == CALLBACK:
            code = process.code(ident)
        elif creator is not None and kind in (TASK, SLOT):
            code = process.code(creator["code"])
        chain.append(Link(ref, process.describe(ref), code))
        current = creator if kind == TASK else None
    return chain


def waiters(process: Process, ref: int) -> list[int]:
    """Ids of the tasks that wait for an entity; looks at all tasks."""
    return [
        row.id
        for row in process.of_kind(TASK)
        if row.state in (_WAITING, _CANCELLING) and row["wait_ref"] == ref
    ]
