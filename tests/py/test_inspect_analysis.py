"""qtinter.inspect.analysis: why a task does not go on, from rows that are made here."""

import time

import pytest

from qtinter.inspect import _tables, analysis
from qtinter.inspect.model import LOOP, OBJECT, SLOT, TASK, TIMER, WAIT, Process

SECOND = 10**9
KINDS = {name: number for number, name in _tables.WAIT_KINDS.items()}
STATES = {name: number for number, name in _tables.TASK_STATES.items()}
RUNNING, READY, WAITING = STATES["running"], STATES["ready"], STATES["waiting"]
IDLE, NESTED = 1, 3  # of a loop


class Scene:
    """An application that is written by hand; texts and code locations are interned."""

    def __init__(self, **info):
        self.now = time.monotonic_ns()
        self.process = Process({"pid": 7, **info})
        self._interned = {}

    def text(self, value):
        if value not in self._interned:
            self._interned[value] = len(self._interned) + 1
            self.process.entries[self._interned[value]] = value
        return self._interned[value]

    def code(self, name, file, line):
        return self.text((self.text(file), self.text(name), line))

    def row(self, kind, ident, state=0, loop=1, **columns):
        names = [name for name, _ in _tables.ENTITIES[kind][1]]
        assert set(columns) <= set(names), set(columns) - set(names)
        values = [columns.get(name, 0) for name in names]
        return self.process.put([kind, ident, state, loop, *values])

    def task(self, ident, state=WAITING, **columns):
        columns.setdefault("changed", self.now - 5 * SECOND)
        columns.setdefault("created", self.now - 9 * SECOND)
        name = columns.pop("name", f"task{ident}")
        kind = KINDS[columns.pop("kind", "future")]
        return self.row(
            TASK, ident, state, name=self.text(name), wait_kind=kind, **columns
        )

    def why(self, ident=1, **stacks):
        return analysis.why(
            self.process, ident, {int(key[1:]): text for key, text in stacks.items()}
        )


def ref(kind, ident):
    return kind << 56 | ident


@pytest.fixture
def scene():
    return Scene()


STACK = """\
task 'task1' (save): pending
  File "/app/save.py", line 10, in save
    await self.lock.acquire()
  File "/usr/lib/python3.11/asyncio/locks.py", line 114, in acquire
    await fut
waits for: asyncio.Lock, locked, 1 waiting
held by: task 'task2' (sync), File "/app/sync.py", line 3, in sync
"""


def test_the_line_of_the_program_and_not_of_asyncio(scene):
    scene.task(1)
    reason = scene.why(_1=STACK)
    assert "at save (app/save.py:10)" in reason.text
    assert "asyncio.Lock, locked" in reason.text
    assert "It is held by task 'task2' (sync) at sync (app/sync.py:3)." in reason.text
    assert [frame["name"] for frame in reason.chain[0].frames] == ["save", "acquire"]


def test_only_library_frames_are_better_than_none(scene):
    scene.task(1)
    stack = '  File "/x/asyncio/tasks.py", line 5, in wait_for\n'
    assert scene.why(_1=stack).chain[0].where["name"] == "wait_for"


def test_the_holder_was_cancelled(scene):
    scene.task(1)
    scene.task(2, cancels=1)
    assert "goes on nevertheless" in scene.why(_1=STACK).text
    assert "has not ended since" in scene.why(2).text


def test_a_step_that_hangs(scene):
    code = scene.code("Window.save", "/app/save.py", 1)
    scene.task(1, RUNNING, code=code)
    scene.row(
        LOOP, 1, 2, current=ref(TASK, 1), busy_since=scene.now - 3 * SECOND, mode=1
    )
    stack = (
        '  File "/app/main.py", line 3, in main\n'
        '  File "/app/save.py", line 7, in save\n'
        '  File "/lib/socket.py", line 9, in read\n'
    )
    reason = scene.why(_1=stack)
    assert reason.verdict == "runs"
    assert "is in read (lib/socket.py:9)" in reason.text
    assert "called by way of save (app/save.py:7)" in reason.text
    assert [frame["name"] for frame in reason.chain[0].frames] == ["save", "read"]


@pytest.mark.parametrize(
    ("state", "words"),
    [
        (NESTED, "a nested Qt event loop runs inside of task 2"),
        (2, "the loop has been busy for 4.0 s with task 2"),
    ],
)
def test_a_sleep_that_is_over_and_a_loop_that_is_kept(scene, state, words):
    scene.row(TIMER, 3, when=scene.now - 2 * SECOND, task=1)
    scene.task(1, wait_ref=ref(TIMER, 3))
    scene.task(2, RUNNING)
    since = scene.now - 4 * SECOND
    scene.row(LOOP, 1, state, current=ref(TASK, 2), busy_since=since)
    reason = scene.why()
    assert reason.verdict == "blocked"
    assert words in reason.text
    assert "goes on by itself" not in reason.text


def test_a_sleep(scene):
    scene.row(TIMER, 3, when=scene.now + 60 * SECOND, task=1)
    scene.task(1, wait_ref=ref(TIMER, 3))
    scene.row(LOOP, 1, IDLE)
    assert scene.why().verdict == "timer"
    assert "goes on by itself in" in scene.why().text


def a_signal(scene, alive=1, sender=4, task=1):
    if sender:
        destroyed = 0 if alive else scene.now - SECOND
        names = {"class": scene.text("Reply"), "name": scene.text("r")}
        scene.row(OBJECT, sender, destroyed=destroyed, **names)
    signal = scene.text("finished")
    scene.row(WAIT, 5, signal=signal, sender=sender, sender_alive=alive, task=task)


@pytest.mark.parametrize(
    ("alive", "sender", "of", "verdict", "words"),
    [
        (1, 4, "PyQt6", "alive", "The sender is alive; the task goes on when"),
        (0, 4, "PyQt6", "dead", "of Reply 'r'"),
        (0, 0, "PySide6", "dead", "The sender was destroyed"),
        (1, 0, "PySide6", "alive", "The sender is alive (PySide does not tell"),
        (1, 0, "PyQt6", "unknown", "it cannot be said whether it is alive"),
    ],
)
def test_a_signal(alive, sender, of, verdict, words):
    scene = Scene(versions={"binding": of})
    a_signal(scene, alive, sender)
    scene.task(1, wait_ref=ref(WAIT, 5))
    reason = scene.why()
    assert (reason.verdict, words in reason.text) == (verdict, True), reason.text
    assert "It is also in a block" not in reason.text


@pytest.mark.parametrize(("alive", "task"), [(0, 1), (1, 1), (0, 2)])
def test_a_block_of_a_signal_that_can_never_come(scene, alive, task):
    a_signal(scene, alive, task=task)
    scene.task(1)
    reason = scene.why()
    said = "It is also in a block that waits for finished of Reply 'r'" in reason.text
    assert said == (alive == 0 and task == 1)
    assert (reason.verdict == "dead") == said


def test_a_circle(scene):
    for ident, other in ((1, 2), (2, 3), (3, 2)):
        scene.task(ident, wait_ref=ref(TASK, other))
    reason = scene.why()
    assert (reason.verdict, reason.circle) == ("circle", [2, 3])
    assert [link.row.id for link in reason.chain] == [1, 2, 3]
    assert analysis.needed_stacks(scene.process, 1) == [1, 2, 3]


def test_one_that_waits_for_one_that_has_ended(scene):
    scene.task(1, wait_ref=ref(TASK, 2))
    scene.task(2, STATES["done"])
    assert scene.why().verdict == "lost"


def test_a_receiver_that_is_gone(scene):
    names = {"class": scene.text("Window"), "name": 0}
    scene.row(OBJECT, 4, destroyed=scene.now - SECOND, **names)
    scene.row(SLOT, 6, name=scene.text("Window.on_save"), receiver=4)
    scene.task(1, slot=6)
    assert "Window.on_save of Window, which was destroyed" in scene.why().text


def test_no_such_task(scene):
    with pytest.raises(KeyError):
        scene.why()


def test_stacks_are_asked_for_once_all_tasks_of_a_chain_are_still(scene):
    stacks = analysis.Stacks()
    scene.task(1, kind="task", wait_ref=ref(TASK, 2))
    scene.task(2, changed=scene.now)
    assert stacks.wanted(scene.process, 1, scene.now + stacks.STILL - 1) == []
    assert stacks.wanted(scene.process, 1, scene.now + stacks.STILL) == [1, 2]
    assert stacks.wanted(scene.process, 9, scene.now) == []  # it is gone


def test_stacks_are_of_tasks_that_have_not_gone_on(scene):
    stacks = analysis.Stacks()
    scene.task(1)
    scene.task(2)
    stacks.keep(scene.process, 1, STACK, scene.now)
    stacks.keep(scene.process, 2, "", scene.now)  # no answer
    stacks.keep(scene.process, 3, STACK, scene.now)  # gone
    assert stacks.of(scene.process) == {1: STACK, 2: ""}
    assert stacks.wanted(scene.process, 1, scene.now) == []
    later = scene.now + stacks.AGAIN
    assert stacks.wanted(scene.process, 1, later) == [1]
    scene.task(1, changed=scene.now + 1)
    assert stacks.of(scene.process) == {2: ""}
    scene.process.remove(TASK, 2)
    assert stacks.of(scene.process) == {}
    stacks.keep(scene.process, 1, STACK, later)
    assert len(stacks._known) == 1  # the old ones are forgotten
