"""Tasks."""

import asyncio

from ..measure import Measurement, Meter, rate
from ..registry import Bench, rate_line, workload
from ..targets import ahead_of, level_with, times

MANY = 10_000


async def _yield_times(times: int) -> None:
    for _ in range(times):
        await asyncio.sleep(0)


async def _sleep_zero(tasks: int, yields: int) -> Measurement:
    """Tasks are made before the clock starts; their first step is inside it."""
    loop = asyncio.get_running_loop()
    pending = [loop.create_task(_yield_times(yields)) for _ in range(tasks)]
    with Meter() as meter:
        await asyncio.gather(*pending)
    return rate(tasks * yields, meter)


@workload(
    "sleep(0), 1 task",
    [rate_line((ahead_of("asyncio"), level_with("uvloop")), (times(1.15, "uvloop"),))],
    full=300_000,
    quick=80_000,
    tiny=20,
)
async def sleep_zero_1(bench: Bench) -> Measurement:
    """Count: sleeps."""
    return await _sleep_zero(1, bench.n)


@workload(
    f"sleep(0), {MANY:,} tasks",
    [rate_line((ahead_of("asyncio"), level_with("uvloop")), (times(1.1, "uvloop"),))],
    full=30 * MANY,
    quick=10 * MANY,
    tiny=20,
)
async def sleep_zero_10000(bench: Bench) -> Measurement:
    """Count: sleeps, shared by 10,000 tasks (or one each if fewer)."""
    tasks = min(MANY, bench.n)
    return await _sleep_zero(tasks, max(bench.n // tasks, 1))


@workload(
    "create task and await",
    [rate_line((ahead_of("asyncio"),), (times(1.2, "uvloop"),))],
    full=60_000,
    quick=20_000,
    tiny=10,
)
async def create_task(bench: Bench) -> Measurement:
    """Count: tasks, one after the other."""
    loop = asyncio.get_running_loop()

    async def nothing() -> None:
        pass

    with Meter() as meter:
        for _ in range(bench.n):
            await loop.create_task(nothing())
    return rate(bench.n, meter)
