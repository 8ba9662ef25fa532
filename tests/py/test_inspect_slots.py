"""qtinter.inspect: asyncslots, signal waits and nested loops in the segment."""
# ruff: noqa: F811 - fixtures that are imported

import asyncio
import gc
import sys
import threading

import pytest

import qtinter
from qtinter import inspect
from qtinter._tasks import coroutine_of
from qtinter.inspect import model

from .driving import create_named as create
from .driving import settle
from .observing import (  # noqa: F401
    end,
    off,
    shown,
    wait,
)

# --- slots ---------------------------------------------------------------------------


def test_slots(shown, emitter, run_qt):
    async def main():
        release = asyncio.Event()

        async def on_one(value):
            await release.wait()

        slot = qtinter.asyncslot(on_one)
        emitter.one.connect(slot)
        (row,) = shown.slots()
        assert row["name"].endswith("on_one")
        assert (row["calls"], row["live"], row["policy"]) == (0, 0, "allow")
        emitter.one.emit(1)
        emitter.one.emit(2)
        (row,) = shown.slots()
        assert (row["calls"], row["live"], row["overlap_max"]) == (2, 2, 2)
        tasks = inspect.snapshot().tasks(ended=False)
        calls = [t for t in tasks if t["role"] == "slot_call"]
        assert sorted(t["id"] for t in calls) == row["pending"]
        assert {t["slot_id"] for t in calls} == {row["id"]}
        assert {t["creator"] for t in calls} == {f"slot {row['name']}"}
        release.set()
        await settle(6)
        (row,) = shown.slots()
        assert (row["calls"], row["live"]) == (2, 0)
        assert row["max"] > 0
        assert row["pending"] == []
        emitter.one.disconnect(slot)

    run_qt(main())
    gc.collect()
    called, ended = shown.events("slot_called"), shown.events("slot_ended")
    assert [e["task"] for e in called] == [e["task"] for e in ended]
    assert all(e["task"] for e in called)
    assert [e["state"] for e in ended] == [5, 5]
    assert len(shown.events("slot_registered")) == 1


def test_a_slot_that_ends_at_once(shown, emitter, run_qt):
    async def main():
        async def on_none():
            pass

        async def on_one(value):
            raise LookupError

        contexts = []
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda loop, context: contexts.append(context))
        emitter.none.connect(qtinter.asyncslot(on_none))
        emitter.one.connect(qtinter.asyncslot(on_one))
        emitter.none.emit()
        emitter.one.emit(1)
        await settle()
        assert [type(c["exception"]) for c in contexts] == [LookupError]
        assert [s["calls"] for s in shown.slots()] == [1, 1]
        assert [s["live"] for s in shown.slots()] == [0, 0]

    run_qt(main())
    assert [e["state"] for e in shown.events("slot_ended")] == [5, 6]
    tasks = {t["id"]: t["state"] for t in inspect.snapshot().tasks(ended=True)}
    assert [tasks[e["task"]] for e in shown.events("slot_called")] == ["done", "failed"]


def test_slot_policies(shown, emitter, run_qt):
    async def main():
        async def on_none():
            await asyncio.sleep(99)

        drop = qtinter.asyncslot(on_none, overlap="drop")
        emitter.none.connect(drop)
        emitter.none.emit()
        emitter.none.emit()
        emitter.none.emit()
        (row,) = shown.slots()
        assert (row["calls"], row["live"], row["refused"]) == (1, 1, 2)
        assert row["policy"] == "drop"
        emitter.none.disconnect(drop)
        for task in asyncio.all_tasks():
            if (
                task is not asyncio.current_task()
                and coroutine_of(task).__name__ == "on_none"
            ):
                task.cancel()
        await settle()
        assert [s["live"] for s in shown.slots()] == [0]

    run_qt(main())
    assert len(shown.events("slot_refused")) == 2
    assert shown.events("slot_ended")[-1]["state"] == 7


def test_methods_and_their_receivers(shown, qt, emitter, run_qt):
    class Receiver(qt.QtCore.QObject):
        async def on_one(self, value):
            pass

    async def main():
        receivers = [Receiver(), Receiver()]
        for number, receiver in enumerate(receivers):
            receiver.setObjectName(f"r{number}")
            emitter.one.connect(qtinter.asyncslot(receiver.on_one))
        assert [s["receiver"] for s in shown.slots()] == [
            "Receiver 'r0'", "Receiver 'r1'"
        ]  # fmt: skip
        emitter.one.emit(1)
        await settle()
        assert [s["calls"] for s in shown.slots()] == [1, 1]
        qt.delete(receivers[0])
        gone = [row for row in shown.rows(model.OBJECT, ended=True) if row["destroyed"]]
        assert len(gone) == 1
        del receiver, receivers
        gc.collect()

    run_qt(main())
    gc.collect()
    assert shown.slots() == []
    assert len(shown.events("slot_gone")) == 2


def test_an_invocation_that_outlives_the_inspection(shown, emitter, run_qt, tmp_path):
    """What it does later is not counted for the slot whose row is the same now."""

    async def main():
        release = asyncio.Event()

        async def on_none():
            await release.wait()

        async def on_one(value):
            if value:
                inspect.disable()
                inspect.enable(connect=False, directory=tmp_path)

        slot, other = qtinter.asyncslot(on_none), qtinter.asyncslot(on_one)
        emitter.none.connect(slot)
        emitter.none.emit()
        inspect.disable()
        inspect.enable(connect=False, directory=tmp_path)
        emitter.one.connect(other)
        emitter.one.emit(0)  # takes the row
        release.set()
        await settle()
        (row,) = shown.slots()
        assert row["name"].endswith("on_one")
        assert (row["calls"], row["live"], row["overlap_max"]) == (1, 0, 1)
        emitter.one.emit(1)  # while it is being called
        await settle()
        assert shown.slots() == []
        emitter.none.emit()
        emitter.one.emit(0)
        await settle()
        rows = {row["name"].rpartition(".")[2]: row["calls"] for row in shown.slots()}
        assert rows == {"on_none": 1, "on_one": 1}
        emitter.none.disconnect(slot)
        emitter.one.disconnect(other)

    run_qt(main())


def test_a_runner_whose_result_is_no_task(shown, emitter, run_qt):
    async def main():
        future = asyncio.get_running_loop().create_future()

        def runner(coro):
            coro.close()
            return future

        async def on_none():
            pass

        slot = qtinter.asyncslot(on_none, task_runner=runner)
        emitter.none.connect(slot)
        emitter.none.emit()
        (row,) = shown.slots()
        assert (row["calls"], row["live"]) == (1, 1)
        future.set_result(None)
        await settle()
        assert [s["live"] for s in shown.slots()] == [0]
        emitter.none.disconnect(slot)

    run_qt(main())


# --- signal waits --------------------------------------------------------------------


@pytest.fixture
def one_is_called(binding):
    """The name that the signal `one` reveals; PySide2 hides it."""
    return "" if binding == "PySide2" else "one"


def test_asyncsignal(shown, emitter, run_qt, one_is_called):
    emitter.setObjectName("source")

    async def waits():
        return await qtinter.asyncsignal(emitter.one, sender=emitter)

    async def main():
        task = create(waits(), "waits")
        await settle()
        (row,) = shown.waits()
        assert row["signal"] == one_is_called
        assert (row["sender_class"], row["sender_name"]) == ("Emitter", "source")
        assert (row["form"], row["sender_alive"]) == ("signal", True)
        assert row["task"] == shown.task("waits")["id"]
        waiting = shown.task("waits")["waits_for"]
        assert (waiting["kind"], waiting["signal"]) == ("signal", one_is_called)
        assert waiting["sender_class"] == "Emitter"
        emitter.one.emit(7)
        assert await task == 7
        assert shown.waits() == []
        assert shown.task("waits")["woken_by"].startswith(f"signal {one_is_called}")

    run_qt(main())
    wanted = ["wait_began", "wait_fired", "wait_ended"]
    events = shown.events(*wanted)
    assert [event["event"] for event in events] == wanted
    assert events[0]["signal"] == one_is_called
    assert events[2]["how"] == 0


def test_a_sender_need_not_be_named(shown, qt, run_qt):
    async def waits(signal):
        await qtinter.asyncsignal(signal)

    async def main():
        source = qt.Emitter()
        source.setObjectName("save")
        child = qt.QtCore.QObject(source)  # belongs to C++
        child.setObjectName("button")
        before = sys.getrefcount(source), sys.getrefcount(child)
        signals = source.one, source.two, child.objectNameChanged
        tasks = [create(waits(signal), "waits") for signal in signals]
        await settle()
        senders = [(w["sender_class"], w["sender_name"]) for w in shown.waits()]
        assert senders == 2 * [("Emitter", "save")] + [("QObject", "button")]
        for task in tasks:
            await end(task)
        del signals, task
        tasks.clear()
        await settle()
        assert (sys.getrefcount(source), sys.getrefcount(child)) == before

    run_qt(main())


def test_a_wait_that_is_cancelled_and_one_whose_sender_dies(
    shown, qt, run_qt, one_is_called, sender_is_missed
):
    async def waits(signal):
        await qtinter.asyncsignal(signal)

    async def main():
        source = qt.Emitter()
        kept, lost = (
            create(waits(source.none), "kept"),
            create(waits(source.one), "lost"),
        )
        await settle()
        assert len(shown.waits()) == 2
        await end(kept)
        assert [w["signal"] for w in shown.waits()] == [one_is_called]
        qt.delete(source)
        await asyncio.wait([lost])
        assert isinstance(lost.exception(), qtinter.SenderDestroyedError)
        assert shown.task("lost")["exception"] == "SenderDestroyedError"
        assert shown.waits() == []

    run_qt(main())
    assert [e["how"] for e in shown.events("wait_ended")] == [1, 2]
    assert len(shown.events("sender_destroyed")) == 1


def test_signalwait(shown, emitter, run_qt):
    async def waits(entered):
        async with qtinter.signalwait(emitter.one) as signal:
            entered.set_result(None)
            with pytest.raises(asyncio.TimeoutError):
                await asyncio.wait_for(_as_coroutine(signal), 0)
            return await signal, await signal

    async def _as_coroutine(awaitable):
        return await awaitable

    async def main():
        entered = asyncio.get_running_loop().create_future()
        task = create(waits(entered), "waits")
        await entered
        await settle(8)
        (row,) = shown.waits()
        assert row["form"] == "signalwait"
        assert shown.waits_for("waits") == "signal"
        emitter.one.emit(3)
        assert await task == (3, 3)
        assert shown.waits() == []

    run_qt(main())


def test_asyncsignalstream(shown, emitter, run_qt):
    async def main():
        async def reads(stream):
            return [await stream.__anext__() for _ in range(3)]

        async with qtinter.asyncsignalstream(emitter.one, maxsize=2) as stream:
            for value in range(3):
                emitter.one.emit(value)
            (row,) = shown.waits()
            assert row["form"] == "stream"
            assert (row["fired"], row["buffered"], row["dropped"]) == (3, 2, 1)
            task = create(reads(stream), "reads")
            await settle()
            assert shown.waits_for("reads") == "signal"
            assert shown.waits()[0]["buffered"] == 0
            emitter.one.emit(3)
            assert await task == [1, 2, 3]
        assert shown.waits() == []

    run_qt(main())
    assert len(shown.events("stream_push")) == 4
    assert len(shown.events("stream_drop")) == 1


def test_multisignal(shown, emitter, run_qt):
    async def main():
        both = qtinter.multisignal({emitter.one: 1, emitter.none: 2})
        task = create(_asyncsignal(both), "waits")
        await settle()
        (row,) = shown.waits()
        assert (row["signal"], row["form"]) == ("multisignal", "multi")
        emitter.none.emit()
        assert await task == (2, ())

    async def _asyncsignal(signal):
        return await qtinter.asyncsignal(signal)

    run_qt(main())
    assert len(shown.events("wait_fired")) == 1


# --- nesting -------------------------------------------------------------------------


def test_modal(shown, qt, run_qt):
    def blocks():
        assert shown.loops()[0]["state"] in ("nested", "busy")
        loop = qt.QtCore.QEventLoop()
        asyncio.get_running_loop().call_later(0.01, loop.quit)
        loop.exec() if hasattr(loop, "exec") else loop.exec_()
        return 5

    async def main():
        assert await qtinter.modal(blocks)() == 5
        await settle()

    run_qt(main())
    entered, left = shown.events("modal_entered", "modal_left")
    assert (entered["event"], left["event"]) == ("modal_entered", "modal_left")
    assert left["duration"] > 0
    assert entered["depth"] == 1


def test_a_bare_nested_loop(shown, qt, run_qt):
    async def main():
        loop = asyncio.get_running_loop()
        inner = qt.QtCore.QEventLoop()
        qt.QtCore.QTimer.singleShot(20, inner.quit)
        thread = threading.Thread(target=loop.call_soon_threadsafe, args=(len, ()))
        qt.QtCore.QTimer.singleShot(0, thread.start)
        inner.exec() if hasattr(inner, "exec") else inner.exec_()
        thread.join()
        await settle()
        assert [loop["state"] for loop in shown.loops()] == ["busy"]

    run_qt(main())
    assert shown.names("nested_entered", "nested_left") == [
        "nested_entered",
        "nested_left",
    ]
