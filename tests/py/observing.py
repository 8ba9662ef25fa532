"""What tests of qtinter.inspect share: the segment of this process, in words."""

import asyncio
import gc
import os
import sys
import threading

import pytest

import qtinter
from qtinter import _probe, inspect

MODES = ("attached", "nested", "native")

# Of the thread that runs the tests; 3.7 tells no other.
native_id = getattr(threading, "get_native_id", os.getpid)


class Shown:
    """What the segment of this process shows, in words."""

    def tasks(self, ended=True):
        return {task["name"]: task for task in inspect.snapshot().tasks(ended)}

    def task(self, name):
        return self.tasks()[name]

    def waits_for(self, name):
        return self.task(name)["waits_for"]["kind"]

    def slots(self, ended=False):
        return inspect.snapshot().slots(ended)

    def waits(self, ended=False):
        return inspect.snapshot().waits(ended)

    def loops(self, ended=False):
        return inspect.snapshot().loops(ended)

    def rows(self, kind, ended=False):
        return list(inspect.snapshot().of_kind(kind, ended))

    def events(self, *names):
        """The records of these kinds, oldest first."""
        process = inspect.snapshot()
        found = [process.event(record) for record in process.records]
        return [event for event in found if event["event"] in names]

    def names(self, *names):
        return [event["event"] for event in self.events(*names)]


@pytest.fixture
def off(no_leaks):
    """Inspection is off, also if the environment has switched it on."""
    was_on = inspect.is_enabled()
    inspect.disable()
    yield
    inspect.disable()
    if was_on:
        inspect.enable_from_environment()


@pytest.fixture
def apart(off, tmp_path, monkeypatch):
    """Inspection is off, and what it makes is made in a folder of the test's own."""
    runtime = tmp_path / "runtime"
    runtime.mkdir(mode=0o700)
    monkeypatch.setenv("QTINTER_RUNTIME_DIR", str(runtime))
    yield
    inspect.disable()


@pytest.fixture
def shown(off, tmp_path):
    """Inspection is on, at level 2; the test leaves nothing known."""
    inspect.enable(connect=False, directory=tmp_path)
    yield Shown()
    if inspect.is_enabled():
        gc.collect()
        assert inspect.statistics()["known"] == 0
        assert _probe.active is None or _probe.active.on


def run_native(coro):
    loop = qtinter.new_event_loop()
    loop.set_mode(qtinter.QiLoopMode.NATIVE)
    try:
        return loop.run_until_complete(coro)
    finally:
        loop.close()


@pytest.fixture(params=MODES)
def run_mode(request, app, run_attached):
    """run_mode(coro) in each of the three modes of a qtinter loop."""
    if request.param == "attached":
        return run_attached
    return qtinter.run if request.param == "nested" else run_native


async def wait(future):
    await future


def name_this_task(name):
    if sys.version_info >= (3, 8):
        asyncio.current_task().set_name(name)


tasks_have_names = pytest.mark.skipif(
    sys.version_info < (3, 8), reason="3.7's tasks have no names to find them by"
)


async def end(*tasks):
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)
