"""Qt signals into coroutines, for loops that have a way to connect the two."""

import asyncio
from typing import Any

from ..measure import Measurement, Meter, rate
from ..registry import Bench, Facilities, rate_line, workload
from ..targets import ahead_of, at_least


def _make_sender(facilities: Facilities) -> Any:
    class Sender(facilities.QtCore.QObject):  # type: ignore[misc, name-defined]
        fired = facilities.Signal()

    return Sender()


async def _slots(bench: Bench, in_flight: int) -> Measurement:
    """Emit; the slot yields once and is done; its end causes the next emission."""
    loop = asyncio.get_running_loop()
    done = loop.create_future()
    sender = _make_sender(bench.facilities)
    unsent = unfinished = bench.n

    def emit() -> None:
        nonlocal unsent
        if unsent:
            unsent -= 1
            sender.fired.emit()

    assert bench.facilities.asyncslot is not None

    class Receiver(bench.facilities.QtCore.QObject):  # type: ignore[misc, name-defined]
        @bench.facilities.asyncslot
        async def slot(self) -> None:
            nonlocal unfinished
            await asyncio.sleep(0)
            unfinished -= 1
            if unfinished:
                loop.call_soon(emit)
            else:
                done.set_result(None)

    receiver = Receiver()
    sender.fired.connect(receiver.slot)
    with Meter() as meter:
        for _ in range(in_flight):
            loop.call_soon(emit)
        await done
    return rate(bench.n, meter)


@workload(
    "signal → async slot → done, one by one",
    [rate_line((ahead_of("best"),), (at_least(100e3, "100 k/s"),))],
    full=30_000,
    quick=10_000,
    tiny=5,
    needs=("asyncslot",),
)
async def slot_single(bench: Bench) -> Measurement:
    """Count: emissions."""
    return await _slots(bench, 1)


@workload(
    "signal → async slot → done, 100 in flight",
    [rate_line((ahead_of("best"),), (at_least(200e3, "200 k/s"),))],
    full=60_000,
    quick=20_000,
    tiny=200,
    needs=("asyncslot",),
)
async def slot_100(bench: Bench) -> Measurement:
    """Count: emissions."""
    return await _slots(bench, 100)


@workload(
    "asyncsignal round trip",
    [rate_line((ahead_of("best"),), (at_least(80e3, "80 k/s"),))],
    full=20_000,
    quick=8_000,
    tiny=5,
    needs=("wait_signal",),
)
async def signal_round_trip(bench: Bench) -> Measurement:
    """Count: waits. The signal is emitted by a callback while the task waits."""
    loop = asyncio.get_running_loop()
    sender = _make_sender(bench.facilities)
    wait_signal = bench.facilities.wait_signal
    assert wait_signal is not None
    with Meter() as meter:
        for _ in range(bench.n):
            loop.call_soon(sender.fired.emit)
            await wait_signal(sender.fired)
    return rate(bench.n, meter)
