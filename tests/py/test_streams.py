"""asyncsignalstream."""

import asyncio
import gc
import threading
import weakref

import pytest

from qtinter import asyncsignalstream

from .driving import settle


async def take(stream, count):
    return [await stream.__anext__() for _ in range(count)]


def test_connects_when_it_is_made(run, emitter):
    """H1, H2, H3: in order, none lost; 1.2: items like asyncsignal's."""

    async def main():
        streams = [
            asyncsignalstream(signal)
            for signal in (emitter.none, emitter.one, emitter.two)
        ]
        assert streams[0].__aiter__() is streams[0]
        for i in range(3):
            emitter.none.emit()
            emitter.one.emit(i)
            emitter.two.emit(i, "x")
        assert [await take(stream, 3) for stream in streams] == [
            [None, None, None],
            [0, 1, 2],
            [(0, "x"), (1, "x"), (2, "x")],
        ]
        assert streams[1].dropped == 0

    run(main())


def test_wakes_a_waiting_consumer(run, emitter):
    """H3."""

    async def main():
        stream = asyncsignalstream(emitter.one)
        for i in range(3):
            asyncio.get_running_loop().call_soon(emitter.one.emit, i)
            assert await stream.__anext__() == i

    run(main())


def test_made_outside_of_a_loop(run_attached, emitter):
    """H1: needs no running loop."""
    stream = asyncsignalstream(emitter.one)
    emitter.one.emit(1)

    async def main():
        assert await take(stream, 1) == [1]
        asyncio.get_running_loop().call_soon(emitter.one.emit, 2)
        assert await take(stream, 1) == [2]

    run_attached(main())


def test_timer(run_qt, qt):
    """H9: driven by Qt."""

    async def main():
        timer = qt.QtCore.QTimer()
        timer.setInterval(1)
        async with asyncsignalstream(timer.timeout) as ticks:
            timer.start()
            await take(ticks, 5)
        timer.stop()

    run_qt(main())


@pytest.mark.parametrize(
    ("overflow", "items"), [("drop-oldest", [2, 3, 4]), ("drop-newest", [0, 1, 2])]
)
def test_overflow(run, emitter, overflow, items):
    """1.2, H4."""

    async def main():
        stream = asyncsignalstream(emitter.one, maxsize=3, overflow=overflow)
        for i in range(5):
            emitter.one.emit(i)
        assert stream.dropped == 2
        assert await take(stream, 3) == items
        emitter.one.emit(9)
        assert await take(stream, 1) == [9]
        assert stream.dropped == 2

    run(main())


def test_overflow_raises(run, emitter):
    """1.2: after what waits has been taken; then the stream is over."""

    async def main():
        stream = asyncsignalstream(emitter.one, maxsize=2, overflow="raise")
        for i in range(4):
            emitter.one.emit(i)
        assert await take(stream, 2) == [0, 1]
        with pytest.raises(asyncio.QueueFull, match="more than 2"):
            await stream.__anext__()
        with pytest.raises(StopAsyncIteration):
            await stream.__anext__()
        assert stream.dropped == 1

    run(main())


@pytest.mark.parametrize(
    "options", [{"maxsize": -1}, {"overflow": "never"}, {"overflow": None}]
)
def test_bad_options(emitter, options):
    """1.6."""
    with pytest.raises(ValueError, match="asyncsignalstream"):
        asyncsignalstream(emitter.one, **options)


def test_not_a_signal(qt):
    """1.6."""
    with pytest.raises(TypeError, match="asyncsignalstream expects a bound signal"):
        asyncsignalstream(3)


def test_deleted_sender(qt):
    """Pain 66."""
    emitter = qt.Emitter()
    signal = emitter.one
    qt.delete(emitter)
    with pytest.raises(RuntimeError, match="deleted"):
        asyncsignalstream(signal)


def test_ends_with_its_sender(run, qt, sender_is_missed):
    """1.2, H4: after the items that wait; and a waiting consumer is woken."""

    async def main():
        emitter = qt.Emitter()
        stream = asyncsignalstream(emitter.one)
        emitter.one.emit(1)
        qt.delete(emitter)
        await settle()
        assert [item async for item in stream] == [1]
        emitter = qt.Emitter()
        stream = asyncsignalstream(emitter.one)
        asyncio.get_running_loop().call_soon(qt.delete, emitter)
        assert [item async for item in stream] == []

    run(main())


def test_aclose(run, emitter, qt):
    """1.2, H5: disconnects, ends, wakes; may be repeated."""

    async def main():
        stream = asyncsignalstream(emitter.one)
        emitter.one.emit(1)
        loop = asyncio.get_running_loop()
        waiting = asyncsignalstream(emitter.one)
        consumer = loop.create_task(waiting.__anext__())
        await settle()
        for each in (stream, waiting, waiting):
            await each.aclose()
        with pytest.raises(StopAsyncIteration):
            await consumer
        emitter.one.emit(2)
        assert [item async for item in stream] == []
        async with asyncsignalstream(emitter.one) as stream:
            emitter.one.emit(3)
            assert await take(stream, 1) == [3]
        with pytest.raises(StopAsyncIteration):
            await stream.__anext__()

    run(main())


def test_dropping_the_stream_disconnects(run, emitter, qt):
    """H5, H6: break leaves it connected, the last reference ends it."""

    async def main():
        stream = asyncsignalstream(emitter.any)
        emitter.any.emit(0)
        async for _ in stream:
            break

        class Value:
            pass

        value = Value()
        reference = weakref.ref(value)
        emitter.any.emit(value)
        del value
        assert reference() is not None  # in the buffer
        del stream
        assert reference() is None
        value = Value()
        reference = weakref.ref(value)
        emitter.any.emit(value)
        del value
        assert reference() is None

    gc.disable()
    try:
        run(main())
    finally:
        gc.enable()


def test_consumers_share(run, emitter):
    """H7: each item goes to one of them, also if one is cancelled when woken."""

    async def main():
        loop = asyncio.get_running_loop()
        stream = asyncsignalstream(emitter.one)
        first, second = (loop.create_task(stream.__anext__()) for _ in range(2))
        await settle()
        emitter.one.emit(1)
        emitter.one.emit(2)
        assert sorted([await first, await second]) == [1, 2]

        first, second = (loop.create_task(stream.__anext__()) for _ in range(2))
        await settle()
        emitter.one.emit(3)
        first.cancel()
        assert await second == 3
        with pytest.raises(asyncio.CancelledError):
            await first

    run(main())


def test_emissions_of_another_thread(run_qt, emitter):
    """H8: in order."""

    async def main():
        stream = asyncsignalstream(emitter.one)
        thread = threading.Thread(
            target=lambda: [emitter.one.emit(i) for i in range(9)]
        )
        thread.start()
        assert await take(stream, 9) == list(range(9))
        thread.join()

    run_qt(main())
