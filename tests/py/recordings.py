"""Recordings to test with: one of a real program, and ones made up record by record."""

import asyncio
import threading

import pytest

import qtinter
from qtinter import inspect
from qtinter.inspect import _tables
from qtinter.trace._source import ListSource, open_source

from .driving import create_named

KINDS = {name: kind for kind, (name, _) in _tables.RECORDS.items()}
ENTITIES = {name: kind for kind, (name, _) in _tables.ENTITIES.items()}
HOSTILE = "</script><script>document.title='taken'</script><!--"


def ref(kind, ident):
    return ENTITIES[kind] << 56 | ident


class Recorder:
    """Puts a recording together.  Times are microseconds after its begin."""

    BEGIN = 5_000_000_000_000  # ns of the monotonic clock

    def __init__(self, loop=1):
        self.loop = loop
        self.entries = {}
        self.records = []
        self.rows = []
        self._known = {}

    def text(self, text):
        return self._entry(text)

    def code(self, name, file="app.py", line=1):
        return self._entry((self.text(file), self.text(name), line))

    def _entry(self, value):
        if value not in self._known:
            self._known[value] = len(self._known) + 1
            self.entries[self._known[value]] = value
        return self._known[value]

    def add(self, us, name, x=0, a=0, b=0, loop=None):
        ts = self.BEGIN + round(us * 1000)
        loop = self.loop if loop is None else loop
        self.records.append((ts, KINDS[name], loop, x, a, b))

    def task(self, us, ident, name="work", creator=0):
        """A task is made."""
        self.add(us, "TASK_CREATED", self.code(name), ident, creator)

    def step(self, us, ident, duration_us, then="waits"):
        """A step has ended at `us`."""
        why = {word: number for number, word in _tables.STEP_ENDS.items()}[then]
        self.add(us, "TASK_STEP", why, ident, round(duration_us * 1000))

    def wait(self, us, ident, kind="future", on=0):
        kinds = {word: number for number, word in _tables.WAIT_KINDS.items()}
        self.add(us, "TASK_WAIT", kinds[kind], ident, on)

    def end(self, us, ident, state="done", exception=""):
        states = {word: number for number, word in _tables.TASK_STATES.items()}
        self.add(us, "TASK_ENDED", states[state], ident, self.text(exception))

    def source(self, **more):
        info = {
            "pid": 4321, "name": "app", "mono0": self.BEGIN, "wall0": 10**18,
            "python": "3.11.7", "binding": "PyQt6", "qt": "6.5",
        }  # fmt: skip
        keyframes = [(self.records[-1][0], self.rows)] if self.rows else []
        keyframes = more.pop("keyframes", keyframes)
        ended = more.pop("ended", ())
        made = ListSource(info, self.entries, self.records, keyframes, **more)
        made.ended = lambda: iter(ended)
        return made


def small():
    """Two tasks, of which one wakes the other; a wait for a signal; a stall."""
    r = Recorder()
    r.add(0, "LOOP_STARTED", 2)
    r.task(10, 1, "main")
    r.task(20, 2, HOSTILE, ref("task", 1))
    r.step(100, 1, 85)
    r.wait(100, 1, "task", ref("task", 2))
    r.step(160, 2, 40)
    r.add(150, "WAIT_BEGAN", r.text("finished"), 7, 0)
    r.wait(160, 2, "signal", ref("wait", 7))
    r.add(170, "TURN", 2, 0, 158_000)
    r.add(900, "WAIT_FIRED", 1, 7)
    r.add(901, "TASK_WAKE", 4, 2, ref("wait", 7))
    r.add(905, "WAIT_ENDED", 0, 7)
    r.add(150_900, "MARK", r.text("saved"), 2)
    r.step(151_000, 2, 150_000, "ends")
    r.end(151_000, 2)
    r.add(151_001, "TASK_WAKE", 3, 1, ref("task", 2))
    r.step(151_100, 1, 60, "ends")
    r.end(151_100, 1, "failed", "ValueError")
    r.add(151_110, "TURN", 2, 800_000, 150_140_000)
    return r


@pytest.fixture
def program(no_leaks, emitter, qt, run_attached, tmp_path):
    """Path of the segment of a program that did a bit of everything."""
    was_on = inspect.is_enabled()
    inspect.disable()
    path = tmp_path / "program.qiseg"
    emitter.setObjectName("source")
    QtCore = qt.QtCore

    async def on_none():
        with inspect.span("answer"):
            await qtinter.asyncsignal(emitter.one, sender=emitter)
            await asyncio.sleep(0)

    async def sleeps():
        await asyncio.sleep(99)

    async def fails():
        await asyncio.sleep(0.001)
        raise ValueError("on purpose")

    def nested(thread=None):
        inner = QtCore.QEventLoop()
        QtCore.QTimer.singleShot(20, inner.quit)
        if thread is not None:  # a turn is wanted inside
            QtCore.QTimer.singleShot(0, thread.start)
        inner.exec() if hasattr(inner, "exec") else inner.exec_()
        if thread is not None:
            thread.join()

    async def main():
        loop = asyncio.get_running_loop()
        slot = qtinter.asyncslot(on_none)
        emitter.none.connect(slot)
        sleeper = create_named(sleeps(), "sleeper")
        hostile = create_named(sleeps(), HOSTILE)
        failing = create_named(fails(), "failing")
        emitter.none.emit()
        await asyncio.sleep(0)
        inspect.mark("before the signal")
        emitter.one.emit(1)
        await asyncio.gather(failing, return_exceptions=True)
        await loop.run_in_executor(None, len, "x")
        await qtinter.modal(nested)()
        nested(threading.Thread(target=loop.call_soon_threadsafe, args=(bool,)))
        hostile.cancel()
        await asyncio.gather(hostile, return_exceptions=True)
        inspect.dump(path)
        sleeper.cancel()
        await asyncio.wait([sleeper])
        emitter.none.disconnect(slot)

    inspect.enable(level=3, connect=False, directory=tmp_path, name="program")
    try:
        run_attached(main())
    finally:
        inspect.disable()
        if was_on:
            inspect.enable_from_environment()
    return path


@pytest.fixture
def recorded(program):
    """The source of that program's recording."""
    return open_source(program)
