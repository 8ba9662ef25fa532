"""Recordings of loops whose time a test moves on."""

import asyncio
import selectors
import sys

import pytest

import qtinter
import qtinter.trace
from qtinter import inspect

from .observing import off  # noqa: F401

pytestmark = pytest.mark.skipif(
    not sys.platform.startswith("linux"), reason="inspection is on Linux only so far"
)
HOUR = 3600.0


class Selector(selectors.DefaultSelector):
    """Nobody waits: the time has come."""

    moved = 0.0

    def select(self, timeout=None):
        self.moved += max(timeout or 0.0, 0.0)
        return super().select(0)


class Loop(qtinter.QiSelectorEventLoop):
    """Its time begins at 100 s, whatever the clock says."""

    def __init__(self):
        self.clock = Selector()
        super().__init__(self.clock)

    def time(self):
        return 100.0 + self.clock.moved


@pytest.fixture
def recorded(off, app, tmp_path):  # noqa: F811
    """recorded(coroutine function): the trace of its run."""

    def recorded(main):
        path = tmp_path / "a.qtrace"
        inspect.enable(level=3, connect=False, directory=tmp_path)
        loop = Loop()
        loop.set_mode(qtinter.QiLoopMode.NATIVE)
        try:
            loop.run_until_complete(main())
            inspect.save(path)
        finally:
            loop.close()
            inspect.disable()
        return qtinter.trace.open(path)

    return recorded


def test_timers_are_in_time(recorded):
    """What is late is so by the loop's time; an hour that was moved on is no delay."""

    async def main():
        await asyncio.sleep(HOUR)
        await asyncio.sleep(HOUR)

    trace = recorded(main)
    assert trace.duration < HOUR
    delays = [event.fields["delay"] for event in trace.events("timer_set")]
    assert delays == pytest.approx([HOUR, HOUR])
    assert len(trace.events("timer_fired")) == 2
    assert trace.timer_lateness.max < 1
    assert trace.figures()["max_late"] < 1


def test_one_that_is_late(recorded):
    async def main():
        loop = asyncio.get_running_loop()
        fired = loop.create_future()
        loop.call_later(HOUR, fired.set_result, None)
        loop.clock.moved += 3 * HOUR
        await fired

    assert recorded(main).timer_lateness.max == pytest.approx(2 * HOUR)


def test_what_waits_is_shown_in_the_loops_time(recorded):
    left = []

    async def main():
        task = asyncio.ensure_future(asyncio.sleep(HOUR))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        waiting = [t for t in inspect.snapshot().tasks() if t["waits_for"]]
        left.extend(t["waits_for"]["text"] for t in waiting)
        task.cancel()

    recorded(main)
    (text,) = (words for words in left if words.startswith("sleep"))
    seconds = float(text.split()[1])
    assert HOUR - 60 < seconds <= HOUR


def test_the_loops_time_is_recorded(recorded):
    """Beside the clock's, by which all records are."""

    async def main():
        for _ in range(3):
            await asyncio.sleep(HOUR)

    trace = recorded(main)
    times = [event.fields["loop_time"] for event in trace.events("loop_time")]
    assert times == sorted(times)
    assert {100.0, 100 + HOUR, 100 + 2 * HOUR, 100 + 3 * HOUR} <= {
        round(time, 3) for time in times
    }


def test_a_loop_with_the_clock_tells_no_time_of_its_own(off, app, tmp_path):  # noqa: F811
    path = tmp_path / "a.qtrace"
    with inspect.record(path):
        qtinter.run(asyncio.sleep(0.01))
    trace = qtinter.trace.open(path)
    assert trace.events("loop_time").none()
    assert trace.events("timer_fired").count() == 1
