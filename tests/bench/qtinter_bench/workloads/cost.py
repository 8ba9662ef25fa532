"""What a loop costs when it does little: idling, starting, holding things."""

import asyncio
import gc
import time
from typing import List, Optional

from ..measure import (
    Measurement,
    Meter,
    descriptor_count,
    resident_bytes,
    thread_count,
)
from ..registry import Bench, Line, workload
from ..targets import Target, at_most, level_with

FAR_S = 3600.0

STARTED_AT_ONCE = 100
"""Few, so that the ready queue of unstarted tasks does not count as their memory."""


@workload(
    "idle (3 s; 1 s with --quick)",
    [
        Line("cpu", "CPU", "ms", must=(level_with("asyncio"),)),
        Line(
            "switches",
            "voluntary switches",
            "count",
            may_be_zero=True,
            must=(at_most(2, "2"),),
        ),
    ],
    full=3.0,
    quick=1.0,
    tiny=0.05,
    warmup=0.02,
)
async def idle(bench: Bench) -> Measurement:
    """Count: seconds in which nothing happens but the end of one sleep."""
    with Meter() as meter:
        await asyncio.sleep(bench.count)
    return Measurement(
        {"cpu": meter.usage.cpu_ns / 1e6, "switches": float(meter.usage.voluntary)}
    )


@workload(
    "cold start to first callback",
    [
        Line("time", "", "ms", aim=(at_most(1, "1 ms"),)),
        Line(
            "threads",
            "extra threads",
            "count",
            may_be_zero=True,
            aim=(Target("none", limit=0),),
        ),
        Line(
            "descriptors",
            "descriptors",
            "count",
            may_be_zero=True,
            aim=(at_most(4, "4"),),
        ),
    ],
    full=1,
    quick=1,
    tiny=1,
    warmup=0,
)
async def cold_start(bench: Bench) -> Measurement:
    """From before the loop is created, modules imported and QApplication present."""
    elapsed_ns = time.perf_counter_ns() - bench.started_ns
    return Measurement(
        {
            "time": elapsed_ns / 1e6,
            "threads": float(thread_count() - bench.threads_before),
            "descriptors": float(descriptor_count() - bench.descriptors_before),
        }
    )


def _settled_bytes() -> int:
    gc.collect()
    return resident_bytes()


@workload(
    "memory per sleeping task",
    [Line("bytes", "", "B", may_be_zero=True, aim=(at_most(1150, "1,150 B"),))],
    full=50_000,
    quick=50_000,  # the same: the share of the task set's spare room depends on it
    tiny=20,
    warmup=0,
)
async def memory_task(bench: Bench) -> Measurement:
    """Growth of the resident set by count tasks in ``sleep``, divided by count."""
    loop = asyncio.get_running_loop()
    tasks: List[Optional[asyncio.Task]] = [None] * bench.n  # space taken beforehand
    before = _settled_bytes()
    for index in range(bench.n):
        tasks[index] = loop.create_task(asyncio.sleep(FAR_S))
        if index % STARTED_AT_ONCE == 0:
            await asyncio.sleep(0)
    await asyncio.sleep(0.01)  # the last of them start
    grown = _settled_bytes() - before
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    return Measurement({"bytes": max(grown, 0) / bench.n})


@workload(
    "memory per timer",
    [Line("bytes", "", "B", may_be_zero=True, aim=(at_most(150, "150 B"),))],
    full=100_000,
    quick=50_000,
    tiny=20,
    warmup=0,
)
async def memory_timer(bench: Bench) -> Measurement:
    """Growth of the resident set by count pending timers, divided by count."""
    loop = asyncio.get_running_loop()

    def nothing() -> None:
        pass

    handles: List[Optional[asyncio.TimerHandle]] = [None] * bench.n
    before = _settled_bytes()
    for index in range(bench.n):
        handles[index] = loop.call_later(FAR_S, nothing)
    grown = _settled_bytes() - before
    for handle in handles:
        handle.cancel()
    return Measurement({"bytes": max(grown, 0) / bench.n})
