"""Tasks that did not end when their loop was closed: Qt goes on without them.

An exception would be one in a slot here, which PyQt answers by aborting the process.
"""

import asyncio
import gc
import sys
import weakref

import pytest

import qtinter
from qtinter import asyncsignal, asyncsignalstream, asyncslot, signalwait

from .driving import spin


@pytest.fixture
def escaped(monkeypatch):
    """What is raised into Qt."""
    found = []
    monkeypatch.setattr(sys, "excepthook", lambda *exc: found.append(exc[1]))
    yield found
    assert found == []


def run_and_abandon(start):
    """Calls start(loop) in a loop that is closed with tasks pending."""
    with pytest.warns(RuntimeWarning, match="is abandoned"):
        with qtinter.using_asyncio_from_qt(shutdown_timeout=0) as loop:
            start(loop)
            begun = []
            loop.call_later(0, begun.append, 1)
            spin(lambda: begun)


async def refuse_to_end(wait):
    while True:
        try:
            await wait()
            return
        except asyncio.CancelledError:
            continue


async def wait_by_asyncsignal(signal):
    await refuse_to_end(lambda: asyncsignal(signal))


async def wait_by_signalwait(signal):
    async with signalwait(signal) as wait:
        await refuse_to_end(lambda: awaited(wait))


async def wait_by_stream(signal):
    await refuse_to_end(asyncsignalstream(signal).__anext__)


async def awaited(wait):
    return await wait


@pytest.mark.parametrize(
    "wait", [wait_by_asyncsignal, wait_by_signalwait, wait_by_stream]
)
def test_an_emission_that_nobody_waits_for_any_more(emitter, escaped, wait):
    tasks = []
    run_and_abandon(lambda loop: tasks.append(loop.create_task(wait(emitter.one))))
    emitter.one.emit(1)
    assert not tasks[0].done()


async def for_ever():
    await refuse_to_end(lambda: asyncio.get_running_loop().create_future())


@pytest.mark.parametrize("overlap", ["drop", "restart", "queue"])
def test_an_abandoned_invocation_stands_in_nobodys_way(app, emitter, escaped, overlap):
    begun = []

    async def slot():
        begun.append(asyncio.get_running_loop())
        if len(begun) == 1:
            await for_ever()

    emitter.none.connect(asyncslot(slot, overlap=overlap))
    run_and_abandon(lambda loop: emitter.none.emit())
    with qtinter.using_asyncio_from_qt() as loop:
        emitter.none.emit()
        assert begun[1:] == [loop]


def test_the_object_that_cancels_dies_after_the_loop(qt, emitter, escaped):
    owner = qt.Emitter()
    emitter.none.connect(asyncslot(for_ever, cancel_with=owner))
    run_and_abandon(lambda loop: emitter.none.emit())
    qt.delete(owner)


def test_an_abandoned_invocation_does_not_keep_the_loop(emitter, escaped):
    loops = []
    emitter.none.connect(asyncslot(for_ever))

    def start(loop):
        loops.append(weakref.ref(loop))
        emitter.none.emit()

    run_and_abandon(start)
    gc.collect()
    assert loops[0]() is None


def test_an_abandoned_task_is_reported_once(app, caplog):
    """By the warning, and not when it is collected as well."""
    run_and_abandon(lambda loop: loop.create_task(for_ever()) and None)
    gc.collect()
    assert caplog.records == []


class Unwilling(asyncio.Future):
    def cancel(self, *args, **kwargs):
        raise ValueError("unwilling")


def test_a_cancellation_that_fails(run_qt, qt, emitter, reports, escaped):
    """It is reported; the object whose death asked for it is destroyed by Qt."""

    async def main():
        contexts = reports()
        obstacle = Unwilling()

        async def slot():
            await obstacle

        owner = qt.Emitter()
        emitter.none.connect(asyncslot(slot, cancel_with=owner))
        emitter.none.emit()
        qt.delete(owner)
        (context,) = contexts
        assert isinstance(context["exception"], ValueError)
        assert "cancel_with" in context["message"]
        obstacle.set_result(None)

    run_qt(main())
