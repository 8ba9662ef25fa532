"""Why a task does not go on: chains and circles of awaits, in words.

Functions over :class:`qtinter.inspect.model.Process`; no input or output.  What only
the program itself knows (the frames of a suspended task, who holds a lock) comes in as
the texts that it answers to STACK; see :func:`needed_stacks`.
"""

from __future__ import annotations

import re
from typing import Any, Iterator, Mapping

from . import _tables
from .model import JOB, LOOP, OBJECT, SLOT, TASK, TIMER, WAIT, Process, Row, short_path

__all__ = [
    "Link", "Reason", "Stacks", "await_chain", "creators", "needed_stacks", "why",
]  # fmt: skip

DEEPEST = 100

_RUNNING, _READY = 2, 1
_NESTED = 3  # of a loop
_WAITING, _CANCELLING = 3, 4
_CREATED = 0
_WAITS_NOTHING, _WAITS_TURN, _WAITS_FUTURE = 0, 1, 2
_WAITS_GATHER = 7

_FRAME = re.compile(
    r'^ *File "(?P<file>.*)", line (?P<line>\d+),? in (?P<name>.*)$', re.M
)
# Where a task waits is of interest, and not how asyncio does that.
_LIBRARY = re.compile(r"/(asyncio|qtinter)/[^/]*\.py$")
# A frame within a line, as in the note of who holds a lock.
_FRAME_INLINE = re.compile(
    r', File "(?P<file>.*)", line (?P<line>\d+), in (?P<name>.*)$'
)
_NOTE = re.compile(r"^(waits for|held by): (.*)$", re.M)


class Link:
    """One task of an await chain.

    :ivar row: the task.
    :ivar where: its innermost location that is known and not in asyncio or qtinter,
        ``{"name", "file", "line"}``.
    :ivar frames: its frames, outermost first, if the program told them.
    """

    def __init__(self, process: Process, row: Row, stack: str = "") -> None:
        self.row = row
        self.frames: list[dict[str, Any]] = [
            {"name": m["name"], "file": m["file"], "line": int(m["line"])}
            for m in _FRAME.finditer(stack)
        ]
        if _current(process, row) is not None:
            self.frames = _of_the_task(process, row, self.frames)
        self.notes = dict(_NOTE.findall(stack))
        self.where: dict[str, Any] | None = _where(self.frames)
        if self.where is None:
            self.where = process.code(row["where"])


def _where(frames: list[dict[str, Any]]) -> dict[str, Any] | None:
    ours = [
        frame
        for frame in frames
        if not _LIBRARY.search(str(frame["file"]).replace("\\", "/"))
    ]
    found = ours or frames
    return found[-1] if found else None


def _of_the_task(
    process: Process, row: Row, frames: list[dict[str, Any]]
) -> list[dict[str, Any]]:
    """Of the frames of a thread those of the task that runs in it."""
    code = process.code(row["code"])
    if code is None:
        return frames
    name = code["name"].rpartition(".")[2]
    for i, frame in enumerate(frames):
        if frame["name"] == name and frame["file"] == code["file"]:
            return frames[i:]
    return frames


class Reason:
    """What :func:`why` found out.

    :ivar text: one paragraph.
    :ivar chain: the await chain, beginning with the task that was asked for.
    :ivar circle: ids of tasks that wait for each other, in order; empty if none do.
    :ivar verdict: ``runs``, ``ready``, ``timer``, ``alive`` (somebody may wake it),
        ``dead`` (nobody can), ``circle``, ``lost`` (nothing is waited for), ``ended``,
        ``blocked`` (the loop is busy), ``unknown``.
    """

    def __init__(self, chain: list[Link]) -> None:
        self.chain = chain
        self.circle: list[int] = []
        self.verdict = "unknown"
        self.sentences: list[str] = []

    @property
    def text(self) -> str:
        return " ".join(self.sentences)


def await_chain(process: Process, row: Row) -> Iterator[Row]:
    """The task, the task that it waits for, and so on; a task that comes again is the
    last one."""
    seen = set()
    for _ in range(DEEPEST):
        yield row
        if row.id in seen:
            return
        seen.add(row.id)
        found = process.ref(row["wait_ref"]) if row.state in (3, 4) else None
        if found is None or found[0] != TASK or found not in process.rows:
            return
        row = process.rows[found]


def creators(process: Process, row: Row) -> list[str]:
    """Who made the task, who made that one, and so on, in words."""
    words = []
    for _ in range(DEEPEST):
        found = process.ref(row["creator"])
        if found is None:
            break
        words.append(process.describe(row["creator"]))
        if found[0] != TASK or found not in process.rows:
            break
        row = process.rows[found]
    return words


def needed_stacks(process: Process, ident: int) -> list[int]:
    """Ids of the tasks whose stacks make :func:`why` say more, the first ones first."""
    row = process.rows.get((TASK, ident))
    if row is None:
        return []
    ids = [link.id for link in await_chain(process, row) if not link.is_over]
    return list(dict.fromkeys(ids))


class Stacks:
    """What the program has answered to STACK, for views that show :func:`why` again
    and again: of tasks that are still, and only until they go on.  Times in ns."""

    STILL = 1_000_000_000  # in its state, before the stack of a task is asked for
    AGAIN = 10_000_000_000  # until it is asked for again: somebody else may have a lock
    MOST = 8  # of an await chain

    def __init__(self) -> None:
        # By task: when the task changed, when it was asked for, the text.
        self._known: dict[int, tuple[int, int, str]] = {}

    def wanted(self, process: Process, ident: int, now: int) -> list[int]:
        """Ids of the tasks whose stacks should be asked for now, to say why one waits.

        :param now: of the program's clock.
        """
        ids = needed_stacks(process, ident)[: self.MOST]
        rows = [process.rows[TASK, needed] for needed in ids]
        if any(row["changed"] > now - self.STILL for row in rows):
            return []
        return [row.id for row in rows if not self._is_known(row, now)]

    def _is_known(self, row: Row, now: int) -> bool:
        changed, asked, _ = self._known.get(row.id, (0, 0, ""))
        return asked > now - self.AGAIN and changed == row["changed"]

    def keep(self, process: Process, ident: int, text: str, now: int) -> None:
        """Keeps an answer; an empty one, too, as not everybody answers."""
        row = process.rows.get((TASK, ident))
        if row is None:
            return
        self._known = {i: k for i, k in self._known.items() if k[1] > now - self.AGAIN}
        self._known[ident] = row["changed"], now, text

    def of(self, process: Process) -> dict[int, str]:
        """The stacks of the tasks that have not changed since, by number."""
        rows = process.rows
        return {
            ident: text
            for ident, (changed, _, text) in self._known.items()
            if (TASK, ident) in rows and rows[TASK, ident]["changed"] == changed
        }


def why(
    process: Process, ident: int, stacks: Mapping[int, str] | None = None
) -> Reason:
    """Say what a task waits for, since when, who could wake it, and if that is alive.

    :param ident: number of the task.
    :param stacks: texts that the program answered to STACK, by number of the task.
    :raises KeyError: there is no such task.
    """
    stacks = stacks or {}
    row = process.rows[TASK, ident]
    rows = list(await_chain(process, row))
    reason = Reason([Link(process, link, stacks.get(link.id, "")) for link in rows])
    say = reason.sentences.append
    say(_introduction(process, row))
    if row.is_over:
        reason.verdict = "ended"
        say(_end(process, row))
        return reason
    last = rows[-1]
    if len(rows) > 1 and any(link is last for link in rows[:-1]):
        first = next(i for i, link in enumerate(rows) if link is last)
        reason.circle = [link.id for link in rows[first:-1]]
        reason.chain.pop()
        reason.verdict = "circle"
        _say_chain(process, reason, reason.chain)
        names = " waits for ".join(_task(process, link) for link in rows[first:])
        say(f"That is a circle: {names}. None of them can go on; cancel one of them.")
        return reason
    _say_chain(process, reason, reason.chain)
    _say_last(process, reason, reason.chain[-1])
    _say_open_waits(process, reason, reason.chain[-1].row)
    _say_cancelled(process, reason, rows)
    return reason


# --- sentences -----------------------------------------------------------------------


def _task(process: Process, row: Row) -> str:
    return f"task {row.id} {process.task_name(row)!r}"


def _place(code: Mapping[str, Any] | None) -> str:
    if not code:
        return ""
    if not code["file"]:
        return str(code["name"])
    return f"{code['name']} ({short_path(code['file'])}:{code['line']})"


def _inline_place(frame: re.Match[str]) -> str:
    return f" at {_place(frame.groupdict())}"


def _ago(process: Process, since: int) -> str:
    return _seconds(max(0, process.now() - since) * 1e-9) if since else "some time"


def _seconds(value: float) -> str:
    if value < 1:
        return f"{value * 1e3:.0f} ms"
    if value < 120:
        return f"{value:.1f} s"
    return f"{value / 60:.1f} min"


def _introduction(process: Process, row: Row) -> str:
    text = _task(process, row)
    text = text[0].upper() + text[1:]
    code = process.code(row["code"])
    slot = process.rows.get((SLOT, row["slot"])) if row["slot"] else None
    if slot is not None:
        text += f" is a call of the asyncslot {process.text(slot['name'])}"
        receiver = process.object_text(slot["receiver"])
        if receiver:
            text += f" of {receiver}"
            obj = process.rows.get((OBJECT, slot["receiver"]))
            if obj is not None and obj["destroyed"]:
                text += f", which was destroyed {_ago(process, obj['destroyed'])} ago"
    elif code is not None:
        text += f" runs {_place(code)}"
    return f"{text}; it was started {_ago(process, row['created'])} ago."


def _end(process: Process, row: Row) -> str:
    state = _tables.TASK_STATES.get(row.state, "over")
    text = f"It has ended ({state})"
    exception = process.text(row["exception"])
    return f"{text} with {exception}." if exception else f"{text}."


def _say_chain(process: Process, reason: Reason, chain: list[Link]) -> None:
    for link, following in zip(chain, chain[1:]):
        place = f" at {_place(link.where)}" if link.where else ""
        subject = "It has" if link is chain[0] else f"Task {link.row.id} has"
        reason.sentences.append(
            f"{subject} waited for {_ago(process, link.row['changed'])} for "
            f"{_task(process, following.row)}{place}."
        )


def _say_last(process: Process, reason: Reason, link: Link) -> None:
    row = link.row
    subject = "It" if len(reason.chain) == 1 else f"Task {row.id}"
    say = reason.sentences.append
    age = _ago(process, row["changed"])
    if row.state == _RUNNING or _current(process, row) is not None:
        reason.verdict = "runs"
        loop = _current(process, row)
        since = loop["busy_since"] if loop is not None else row["changed"]
        text = f"{subject} runs: its step began {_ago(process, since)} ago"
        if link.frames:
            text += f", is in {_place(link.frames[-1])}"
            if len(link.frames) > 1:
                text += f", called by way of {_place(link.frames[0])}"
        if loop is not None and loop.state == _NESTED:
            text += ", and is in a nested Qt event loop (modal() is made for that)"
        say(f"{text}, and nothing else can run on this loop meanwhile.")
        return
    if row.is_over:
        reason.verdict = "lost"
        say(
            f"{subject} has ended, and nobody has woken who waits for it: the wakeup "
            "was lost."
        )
        return
    if row.state in (_CREATED, _READY):
        _say_ready(process, reason, row, subject, age)
        return
    kind = row["wait_kind"]
    found = process.ref(row["wait_ref"])
    target = process.rows.get(found) if found else None
    at = f" at {_place(link.where)}" if link.where else ""
    if target is not None and target.kind == WAIT:
        _say_signal(process, reason, target, f"{subject} has waited for {age} for ", at)
    elif target is not None and target.kind == TIMER:
        left = (target["when"] - process.now()) * 1e-9
        busy = _busy_loop(process, row) if left <= 0 else None
        if busy is not None:
            reason.verdict = "blocked"
            say(
                f"{subject} sleeps{at}; the time was over {_seconds(-left)} ago, but "
                f"{_what_it_does(process, busy)}."
            )
            return
        reason.verdict = "timer"
        when = f"in {_seconds(left)}" if left > 0 else "now"
        say(f"{subject} sleeps{at} and goes on by itself {when}.")
    elif target is not None and target.kind == JOB:
        reason.verdict = "alive"
        code = process.code_text(target["code"])
        say(
            f"{subject} has waited for {age}{at} for a thread of the executor, which "
            f"runs {code or 'a function'}, submitted "
            f"{_ago(process, target['created'])} ago; it goes on when that returns."
        )
    else:
        _say_future(
            process, reason, link, f"{subject} has waited for {age}{at} for ", kind
        )


def _busy_loop(process: Process, row: Row) -> Row | None:
    """The task's loop, if something keeps it."""
    for loop in process.of_kind(LOOP):
        if loop.loop == row.loop and (loop["current"] or loop.state == _NESTED):
            return loop
    return None


def _what_it_does(process: Process, loop: Row) -> str:
    current = process.describe(loop["current"]) or "a callback"
    if loop.state == _NESTED:
        return (
            f"a nested Qt event loop runs inside of {current}: asyncio pauses until "
            "that ends"
        )
    return (
        f"the loop has been busy for {_ago(process, loop['busy_since'])} with {current}"
    )


def _current(process: Process, row: Row) -> Row | None:
    """The loop whose current step is the task's."""
    for loop in process.of_kind(LOOP):
        if process.ref(loop["current"]) == (TASK, row.id):
            return loop
    return None


def _say_ready(
    process: Process, reason: Reason, row: Row, subject: str, age: str
) -> None:
    say = reason.sentences.append
    for loop in process.of_kind(LOOP):
        if loop.loop != row.loop:
            continue
        if loop.state == _NESTED or loop["current"]:
            reason.verdict = "blocked"
            doing = _what_it_does(process, loop)
            say(f"{subject} has been ready for {age}, but {doing}.")
            return
        if loop.state == 0:
            reason.verdict = "blocked"
            say(f"{subject} has been ready for {age}, but its loop does not run.")
            return
    reason.verdict = "ready"
    say(f"{subject} has been ready for {age}; the loop has not come to it yet.")


def _say_signal(
    process: Process, reason: Reason, wait: Row, subject: str, at: str
) -> None:
    say = reason.sentences.append
    signal = process.text(wait["signal"])
    sender = process.object_text(wait["sender"])
    of = f" of {sender}" if sender else ""
    place = _place(process.code(wait["code"]))
    if not at and place:
        at = f" at {place}"
    say(f"{subject}the signal {signal}{of}{at}.")
    if not wait["sender_alive"]:
        reason.verdict = "dead"
        obj = process.rows.get((OBJECT, wait["sender"]))
        ago = (
            f" {_ago(process, obj['destroyed'])} ago"
            if obj and obj["destroyed"]
            else ""
        )
        say(
            f"The sender was destroyed{ago}: nobody can emit the signal any more, and "
            "the task will wait for ever. Cancel it."
        )
    elif sender:
        reason.verdict = "alive"
        say(f"The sender is alive; the task goes on when it emits {signal}.")
    elif str(process.info.get("versions", {}).get("binding", "")).startswith("PySide"):
        reason.verdict = "alive"
        say(
            "The sender is alive (PySide does not tell which object it is; pass "
            f"sender=); the task goes on when it emits {signal}."
        )
    else:
        reason.verdict = "unknown"
        say(
            "The sender is not known (pass sender=), so it cannot be said whether it "
            "is alive."
        )


def _say_open_waits(process: Process, reason: Reason, row: Row) -> None:
    """Signals whose blocks the task is in, and that can never come."""
    found = process.ref(row["wait_ref"])
    for wait in process.of_kind(WAIT):
        if wait["task"] != row.id or wait["sender_alive"] or found == (WAIT, wait.id):
            continue
        if reason.verdict in ("unknown", "alive"):
            reason.verdict = "dead"
        signal = process.text(wait["signal"])
        sender = process.object_text(wait["sender"]) or "an object"
        obj = process.rows.get((OBJECT, wait["sender"]))
        ago = (
            f" {_ago(process, obj['destroyed'])} ago"
            if obj and obj["destroyed"]
            else ""
        )
        reason.sentences.append(
            f"It is also in a block that waits for {signal} of {sender}, which was "
            f"destroyed{ago}: if that was to wake it, nobody can any more."
        )


def _say_future(
    process: Process, reason: Reason, link: Link, subject: str, kind: int
) -> None:
    say = reason.sentences.append
    waits_for, held_by = link.notes.get("waits for"), link.notes.get("held by")
    if waits_for:
        say(f"{subject}{waits_for}.")
        if held_by:
            reason.verdict = "alive"
            say(f"It is held by {_FRAME_INLINE.sub(_inline_place, held_by)}.")
            holder = _holder(process, held_by)
            if holder is not None and holder["cancels"]:
                say(
                    f"That task was cancelled by "
                    f"{process.describe(holder['canceller']) or 'somebody'}, and goes "
                    "on nevertheless."
                )
        return
    detail = process.text(link.row["wait_detail"])
    if kind == _WAITS_GATHER:
        say(f"{subject}several tasks at once, gather() or wait().")
    elif kind == _WAITS_NOTHING:
        reason.verdict = "lost"
        say(f"{subject}nothing: its future is done and no wakeup is on its way.")
    elif kind == _WAITS_FUTURE:
        say(
            f"{subject}a future{f' ({detail})' if detail else ''}, and it is not known "
            "who could complete it."
        )
        suspects = _cancelled_tasks(process, link.row)
        if suspects:
            names = ", ".join(_task(process, row) for row in suspects[:3])
            say(f"Cancelled and still there: {names}; perhaps it waits for them.")
    else:
        name = _tables.WAIT_KINDS.get(kind, "something")
        say(f"{subject}{process.describe(link.row['wait_ref']) or detail or name}.")


def _holder(process: Process, text: str) -> Row | None:
    found = re.match(r"task '(.*?)'", text)
    for row in process.of_kind(TASK):
        if found and process.task_name(row) == found[1]:
            return row
    return None


def _cancelled_tasks(process: Process, beside: Row) -> list[Row]:
    return [
        row
        for row in process.of_kind(TASK)
        if row["cancels"] and row is not beside and row.loop == beside.loop
    ]


def _say_cancelled(process: Process, reason: Reason, rows: list[Row]) -> None:
    row = rows[0]
    if not row["cancels"]:
        return
    by = process.describe(row["canceller"])
    reason.sentences.append(
        f"It was cancelled{f' by {by}' if by else ''} and has not ended since: it "
        "catches CancelledError, or cleans up."
    )
