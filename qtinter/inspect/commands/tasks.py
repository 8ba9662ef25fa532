"""``task tree why``: one task, and how tasks hang together."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Callable

from .. import analysis
from ..model import LOOP, OBJECT, SLOT, TASK, WAIT, Process, Row
from .arguments import row_id
from .output import drawn, heading, place, print_json, safe, seconds
from .sources import connected, pid_of, run, stack_of, state, subscribed, with_task

if TYPE_CHECKING:
    import argparse

    from . import Command

_MOST_STACKS = 8
_RUNNING = 2  # of a task: its stack is taken by a signal
_NESTED = 3  # of a loop
_STUCK_NS = 100_000_000  # a step that runs longer may go on
_STUCK_SECONDS = 0.3
_BUSY_SECONDS = 2.0


def add_commands(command: Command) -> None:
    made = command(
        "task",
        "Show everything about one task. Also of one that has ended, for a while.",
        _task,
        target="--pid",
    )
    made.add_argument("id", type=row_id, help="number of the task, as ps shows it")
    made = command(
        "tree",
        "Show tasks by what they wait for or who made them. What waits for itself in a "
        "circle is shown once, below the oldest task of the circle.",
        _tree,
        forms={
            "--dot": "a graph for Graphviz: an arrow leads from who waits to what it "
            "waits for, from the creator to the task, or from the receiver to the task"
        },
    )
    made.add_argument(
        "--by",
        choices=("await", "creator", "object"),
        default="await",
        help="a task is below the one that waits for it (await, the default), the one "
        "that created it, or below the receiver of its asyncslot",
    )
    made = command(
        "why",
        "Say in one paragraph why a task does not go on: what it waits for, since "
        "when, who could wake it, and whether that is alive.",
        _why,
        target="--pid",
    )
    made.add_argument("id", type=row_id, help="number of the task, as ps shows it")


# --- task ----------------------------------------------------------------------------


def _task(options: argparse.Namespace) -> None:
    process = with_task(state(options, [], history=True), options.id)
    task = process.task(process.rows[TASK, options.id])
    if options.json:
        print_json({"pid": process.info["pid"], **task})
        return
    waits = task.pop("waits_for")
    task["code"], task["where"] = place(task["code"]), place(task["where"])
    for name in ("since", "age", "busy", "scheduled", "max_step"):
        task[name] = seconds(task[name])
    stack = task.pop("stack")
    task["waits_for"] = waits["text"] if waits else ""
    for name, value in task.items():
        if value not in (None, "", 0):
            print(f"{name.replace('_', ' '):>12}  {safe(value)}")
    for code in stack:
        print(f"{'created at':>12}  {safe(place(code))}")


# --- tree ----------------------------------------------------------------------------


def _tree(options: argparse.Namespace) -> None:
    processes = state(options, [])
    if options.dot:
        print(_dot(processes, options.by))
        return
    trees = [(process, _forest(process, options.by)) for process in processes]
    if options.json:
        print_json(
            [{"pid": process.info["pid"], "trees": trees} for process, trees in trees]
        )
        return
    for process, forest in trees:
        title = heading(process, processes)
        if title:
            print(safe(title))
        for node in forest:
            _print_node(node, "", "")


def _print_node(node: dict[str, Any], first: str, rest: str) -> None:
    print(safe(first + node["text"]))
    for i, child in enumerate(node["children"]):
        last = i == len(node["children"]) - 1
        branch, gap = ("└─ ", "   ") if last else ("├─ ", "│  ")
        branch, gap = (
            drawn(branch, "`- " if last else "|- "),
            gap if last else drawn(gap, "|  "),
        )
        _print_node(child, rest + branch, rest + gap)


def _dot(processes: list[Process], by: str) -> str:
    """The graph in the language of Graphviz; circles are in it, too."""
    lines = ["digraph tasks {", "  rankdir=LR;", "  node [shape=box];"]
    for process in processes:
        pid = process.info["pid"]
        others: dict[str, None] = {}  # what is no task, each once
        for row in sorted(process.of_kind(TASK), key=lambda row: row.id):
            name, node = process.task_name(row), f"{pid}/{row.id}"
            label = f"{row.id} {name}\n{place(process.code(row['code']))}"
            lines.append(f"  {_quoted(node)} [label={_quoted(label)}];")
            other, is_task = _neighbour(process, row, by)
            if not other:
                continue
            if not is_task:
                others[other] = None
            ends = [_quoted(node), _quoted(f"{pid}/{other}")]
            lines.append("  {} -> {};".format(*(ends if by == "await" else ends[::-1])))
        for other in others:
            node = _quoted(f"{pid}/{other}")
            lines.append(f"  {node} [label={_quoted(other)}, shape=ellipse];")
    return "\n".join([*lines, "}"])


def _neighbour(process: Process, row: Row, by: str) -> tuple[str, bool]:
    """What a task hangs together with, the number of a task or in words, and which."""
    if by == "object":
        slot = process.rows.get((SLOT, row["slot"])) if row["slot"] else None
        return (process.object_text(slot["receiver"]) if slot else ""), False
    waits = process.wait_of(row)
    ref = row["creator"] if by == "creator" else row["wait_ref"]
    found = process.ref(ref) if by == "creator" or waits else None
    if found is not None and found[0] == TASK and found in process.rows:
        return str(found[1]), True
    return (str(waits["text"]) if by == "await" and waits else ""), False


def _quoted(text: str) -> str:
    lines = (safe(line).replace("\\", "\\\\") for line in text.split("\n"))
    return '"' + "\\n".join(lines).replace('"', '\\"') + '"'


def _forest(process: Process, by: str) -> list[dict[str, Any]]:
    """Trees of ``{"text", "id", "children"}``."""
    rows = sorted(process.of_kind(TASK), key=lambda row: row.id)
    parent_of = {"await": _waiter_of(process), "creator": _creator_of(process)}
    if by == "object":
        return _by_object(process, rows)
    return _nest(process, rows, parent_of[by])


def _text(process: Process, row: Row) -> str:
    task = process.task(row)
    text = f"{row.id} {task['name']}  {task['state']}"
    code = place(task["code"])
    if code:
        text += f"  {code}"
    if task["waits_for"]:
        text += f"  waits for {task['waits_for']['text']} ({seconds(task['since'])})"
    return text


def _nest(
    process: Process, rows: list[Row], parent_of: Callable[[Row], Row | None]
) -> list[dict[str, Any]]:
    """Each task below its parent; of a circle the oldest one is a root."""
    nodes: dict[int, dict[str, Any]] = {
        row.id: {"id": row.id, "text": _text(process, row), "children": []}
        for row in rows
    }
    parents: dict[int, int] = {}
    for row in rows:
        parent = parent_of(row)
        if parent is None or parent.id not in nodes:
            continue
        above: int | None = parent.id
        while above is not None and above != row.id:
            above = parents.get(above)
        if above is None:  # no circle comes of it
            parents[row.id] = parent.id
    for ident, parent_id in parents.items():
        nodes[parent_id]["children"].append(nodes[ident])
    return [node for ident, node in nodes.items() if ident not in parents]


def _waiter_of(process: Process) -> Callable[[Row], Row | None]:
    waiters: dict[int, Row] = {}
    for row in sorted(process.of_kind(TASK), key=lambda row: row.id):
        found = process.ref(row["wait_ref"]) if row.state in (3, 4) else None
        if found is not None and found[0] == TASK:
            waiters.setdefault(found[1], row)
    return lambda row: waiters.get(row.id)


def _creator_of(process: Process) -> Callable[[Row], Row | None]:
    def creator(row: Row) -> Row | None:
        found = process.ref(row["creator"])
        return process.rows.get(found) if found and found[0] == TASK else None

    return creator


def _by_object(process: Process, rows: list[Row]) -> list[dict[str, Any]]:
    groups: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        slot = process.rows.get((SLOT, row["slot"])) if row["slot"] else None
        receiver = slot["receiver"] if slot is not None else 0
        text = process.object_text(receiver) or "no object"
        obj = process.rows.get((OBJECT, receiver))
        if obj is not None and obj["destroyed"]:
            text += ", destroyed"
        node = {"id": row.id, "text": _text(process, row), "children": []}
        groups.setdefault(text, []).append(node)
    return [
        {"id": None, "text": text, "children": found} for text, found in groups.items()
    ]


# --- why -----------------------------------------------------------------------------


def _why(options: argparse.Namespace) -> int:
    process, reason, silent = run(_find_reason(options))
    if options.json:
        print_json(
            {
                "pid": process.info["pid"],
                "task": options.id,
                "verdict": reason.verdict,
                "text": reason.text,
                "circle": reason.circle,
                "chain": [
                    {
                        **process.task(link.row),
                        "frames": link.frames,
                        "notes": link.notes,
                    }
                    for link in reason.chain
                ],
                "findings": _findings(process, reason),
                "no_frames_because": silent,
            }
        )
        return 0
    print(safe(reason.text))
    for link in reason.chain:
        if link.frames:
            name = safe(process.task_name(link.row))
            print(f"\ntask {link.row.id} {name} {_verb(link)}:")
            for frame in link.frames:
                text = f"{frame['file']}:{frame['line']} in {frame['name']}"
                print(f"  {safe(text)}")
    if silent:
        print(f"\n(The program did not tell its frames: {safe(silent)})")
    for finding in _findings(process, reason):
        print(f"\n{finding['id']} {safe(finding['text'])}")
    return 0


def _verb(link: analysis.Link) -> str:
    return "awaits" if link.row.state in (3, 4) else "is in"


async def _find_reason(
    options: argparse.Namespace,
) -> tuple[Process, analysis.Reason, str]:
    async with connected(options) as feed:
        processes = await subscribed(feed, pid_of(options), [], history=True)
        process = with_task(processes, options.id)
        stacks: dict[int, str] = {}
        silent = ""
        for ident in analysis.needed_stacks(process, options.id)[:_MOST_STACKS]:
            patience = _patience(process, ident)
            stack, silent = await stack_of(
                feed, process.info["pid"], patience, task=ident
            )
            if silent:
                break  # what hangs for one, hangs for all
            stacks[ident] = stack
        return process, analysis.why(process, options.id, stacks), silent


def _patience(process: Process, ident: int) -> float:
    """Seconds to wait for the stack of a task, which its loop gives when it next runs.

    What is known is not kept back for one that cannot be had.
    """
    row = process.rows[TASK, ident]
    for loop in process.of_kind(LOOP):
        since = loop["busy_since"]
        is_stuck = loop.state == _NESTED or (
            since and process.now() - since > _STUCK_NS
        )
        if loop.loop == row.loop and is_stuck and row.state != _RUNNING:
            return _STUCK_SECONDS
    return _BUSY_SECONDS


def _findings(process: Process, reason: analysis.Reason) -> list[dict[str, Any]]:
    """What the daemon found about the tasks of the chain and what they wait for."""
    refs = {
        WAIT << 56 | wait.id
        for wait in process.of_kind(WAIT)
        if wait["task"] == reason.chain[-1].row.id
    }
    for link in reason.chain:
        refs.add(TASK << 56 | link.row.id)
        refs.add(link.row["wait_ref"] or TASK << 56 | link.row.id)
        if link.row["slot"]:
            refs.add(SLOT << 56 | link.row["slot"])
    return [
        {"id": finding["id"], "severity": finding["severity"], "text": finding["text"]}
        for finding in process.lints.values()
        if finding["ref"] in refs
    ]
