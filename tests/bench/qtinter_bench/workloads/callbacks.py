"""Callbacks through ``call_soon``."""

import asyncio

from ..measure import Measurement, Meter, rate
from ..registry import Bench, rate_line, workload
from ..targets import ahead_of, level_with, times

BATCH = 1_000


@workload(
    "call_soon chain",
    [rate_line((ahead_of("asyncio"), level_with("uvloop")), (times(2, "uvloop"),))],
    full=400_000,
    quick=100_000,
    tiny=20,
)
async def call_soon_chain(bench: Bench) -> Measurement:
    """One callback that schedules itself again; count: callbacks."""
    loop = asyncio.get_running_loop()
    call_soon = loop.call_soon
    done = loop.create_future()
    left = bench.n

    def step() -> None:
        nonlocal left
        left -= 1
        if left:
            call_soon(step)
        else:
            done.set_result(None)

    with Meter() as meter:
        call_soon(step)
        await done
    return rate(bench.n, meter)


@workload(
    f"{BATCH:,} callbacks an iteration",
    [rate_line((ahead_of("asyncio"),), (times(1.5, "uvloop"),))],
    full=800,
    quick=200,
    tiny=2,
)
async def call_soon_batch(bench: Bench) -> Measurement:
    """1,000 callbacks queued at once, then the next 1,000; count: batches."""
    loop = asyncio.get_running_loop()
    call_soon = loop.call_soon
    done = loop.create_future()
    left = bench.n

    def nothing() -> None:
        pass

    def batch() -> None:
        nonlocal left
        if not left:
            done.set_result(None)
            return
        left -= 1
        for _ in range(BATCH):
            call_soon(nothing)
        call_soon(batch)

    with Meter() as meter:
        call_soon(batch)
        await done
    return rate(bench.n * BATCH, meter)
