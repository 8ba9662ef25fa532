"""Timers: cost of many, precision of one."""

import asyncio
import random
import time

from ..measure import Measurement, Meter, percentile, rate
from ..registry import Bench, Line, rate_line, workload
from ..targets import Target, ahead_of, at_least, at_most, times

RUN_WITHIN_S = 0.01
"""Short, so that running the timers is limited by the loop and not by the delays."""

SLEEP_NS = 1_000_000


@workload(
    "call_later, random delays, add + cancel",
    [
        rate_line((ahead_of("asyncio"),), (times(2, "uvloop"),)),
        Line(
            "cancel",
            "cancel alone",
            "/s",
            higher_is_better=True,
            must=(ahead_of("asyncio"),),
            aim=(at_least(5e6, "5 M/s"),),
        ),
    ],
    full=100_000,
    quick=30_000,
    tiny=20,
)
async def timers_cancelled(bench: Bench) -> Measurement:
    """Count: timers, all pending at once, none of which gets to run."""
    loop = asyncio.get_running_loop()
    uniform = random.Random(1).uniform
    delays = [uniform(60, 3600) for _ in range(bench.n)]

    def nothing() -> None:
        pass

    with Meter() as meter:
        handles = [loop.call_later(delay, nothing) for delay in delays]
        cancel_ns = time.perf_counter_ns()
        for handle in handles:
            handle.cancel()
        cancel_ns = time.perf_counter_ns() - cancel_ns
        await asyncio.sleep(0)  # lets the loop drop what it still holds of them
    result = rate(bench.n, meter)
    result.values["cancel"] = bench.n * 1e9 / cancel_ns
    return result


@workload(
    "call_later, random delays, add + run",
    [rate_line((ahead_of("asyncio"),), (times(2, "uvloop"),))],
    full=100_000,
    quick=30_000,
    tiny=20,
)
async def timers_run(bench: Bench) -> Measurement:
    """Count: timers, with delays of up to 10 ms, until the last one has run."""
    loop = asyncio.get_running_loop()
    uniform = random.Random(2).uniform
    delays = [uniform(0, RUN_WITHIN_S) for _ in range(bench.n)]
    done = loop.create_future()
    left = bench.n

    def expired() -> None:
        nonlocal left
        left -= 1
        if not left:
            done.set_result(None)

    with Meter() as meter:
        for delay in delays:
            loop.call_later(delay, expired)
        await done
    return rate(bench.n, meter)


@workload(
    "sleep(1 ms) overshoot",
    [
        Line(
            "mean",
            "mean",
            "µs",
            must=(ahead_of("asyncio"),),
            aim=(at_most(50, "50 µs"),),
        ),
        Line(
            "p99",
            "p99",
            "µs",
            must=(ahead_of("asyncio"),),
            aim=(at_most(150, "150 µs"),),
        ),
        Line(
            "early",
            "sleeps that ended early (worst round)",
            "count",
            may_be_zero=True,
            worst=True,
            must=(Target("none", limit=0),),
        ),
    ],
    full=800,
    quick=300,
    tiny=3,
)
async def sleep_1ms(bench: Bench) -> Measurement:
    """Count: sleeps. Overshoot is the time beyond 1 ms; an early end counts as 0."""
    elapsed_ns = []
    with Meter() as meter:
        for _ in range(bench.n):
            begin = time.perf_counter_ns()
            await asyncio.sleep(SLEEP_NS / 1e9)
            elapsed_ns.append(time.perf_counter_ns() - begin)
    overshoot = [max(ns - SLEEP_NS, 0) for ns in elapsed_ns]
    return Measurement(
        {
            "mean": sum(overshoot) / len(overshoot) / 1e3,
            "p99": percentile(overshoot, 99) / 1e3,
            "early": float(sum(ns < SLEEP_NS for ns in elapsed_ns)),
        },
        bench.n,
        meter.usage,
    )
