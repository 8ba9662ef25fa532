"""Does the GUI keep moving while asyncio is busy?"""

import asyncio
import time
from typing import List

from ..measure import Measurement, Meter, percentile
from ..registry import Bench, Line, workload
from ..targets import at_least, at_most

CALLBACKS = 10_000
TICK_NS = 5_000_000
NS_PER_MS = 1e6

LINES = [
    Line("p50", "p50", "ms"),
    Line(
        "p99",
        "p99",
        "ms",
        must=(at_most(4, "slice + 2 ms"),),  # the default slice is 2 ms
        aim=(at_most(4, "4 ms"),),
    ),
    Line(
        "rate",
        "callbacks meanwhile",
        "/s",
        higher_is_better=True,
        aim=(at_least(1.5e6, "1.5 M/s"),),
    ),
]


async def _tick_under_load(bench: Bench) -> Measurement:
    """Count: seconds. 10,000 callbacks reschedule themselves all the time.

    The timer is single-shot and started again by each tick, which gives every tick
    an exact due time. A tick still missing at the end counts with its delay so far.
    """
    loop = asyncio.get_running_loop()
    call_soon = loop.call_soon
    core = bench.facilities.QtCore
    lateness: List[int] = []
    running = True
    ran = 0
    due = 0

    def spin() -> None:
        nonlocal ran
        ran += 1
        if running:
            call_soon(spin)

    def start_timer() -> None:
        nonlocal due
        due = time.perf_counter_ns() + TICK_NS
        timer.start()

    def tick() -> None:
        lateness.append(time.perf_counter_ns() - due)
        start_timer()

    timer = core.QTimer()
    timer.setTimerType(core.Qt.TimerType.PreciseTimer)
    timer.setSingleShot(True)
    timer.setInterval(TICK_NS // 1_000_000)
    timer.timeout.connect(tick)

    done = loop.create_future()
    loop.call_later(bench.count, done.set_result, None)
    with Meter() as meter:
        start_timer()
        for _ in range(CALLBACKS):
            call_soon(spin)
        await done
    overdue = time.perf_counter_ns() - due
    running = False
    timer.stop()
    if overdue > 0 or not lateness:
        lateness.append(max(overdue, 0))
    late_ms = [max(ns, 0) / NS_PER_MS for ns in lateness]
    return Measurement(
        {
            "p50": percentile(late_ms, 50),
            "p99": percentile(late_ms, 99),
            "rate": ran * 1e9 / meter.usage.wall_ns,
        },
        ran,
        meter.usage,
    )


@workload(
    f"5 ms QTimer late under {CALLBACKS:,} callbacks",
    LINES,
    full=2.0,
    quick=1.0,
    tiny=0.05,
    needs=("QtCore",),
)
async def gui_tick(bench: Bench) -> Measurement:
    """With the dispatcher Qt chooses, which is GLib's where Qt was built with it."""
    return await _tick_under_load(bench)


@workload(
    f"5 ms QTimer late under {CALLBACKS:,} callbacks, Unix dispatcher",
    LINES,
    full=2.0,
    quick=1.0,
    tiny=0.05,
    needs=("QtCore",),
    env={"QT_NO_GLIB": "1"},
)
async def gui_tick_unix(bench: Bench) -> Measurement:
    """With Qt's own dispatcher."""
    return await _tick_under_load(bench)


@workload(
    "asyncio.sleep(5 ms) late under a flood of Qt events",
    [
        Line("p50", "p50", "ms"),
        Line("p99", "p99", "ms", aim=(at_most(2, "2 ms"),)),
        Line(
            "share",
            "Qt events, of those without asyncio's timers",
            "%",
            higher_is_better=True,
            aim=(at_least(90, "90 %"),),
        ),
    ],
    full=2.0,
    quick=1.0,
    tiny=0.05,
    needs=("QtCore", "Signal"),
)
async def qt_flood(bench: Bench) -> Measurement:
    """Count: seconds.  Ten queued emissions are under way all the time.

    In the first half nothing of asyncio runs; its rate of emissions is the 100 %.
    """
    core = bench.facilities.QtCore

    class Flood(core.QObject):  # type: ignore[misc, name-defined]
        again = bench.facilities.Signal()
        delivered = 0
        flowing = True

        def deliver(self) -> None:
            self.delivered += 1
            if self.flowing:
                self.again.emit()

    flood = Flood()
    flood.again.connect(flood.deliver, core.Qt.ConnectionType.QueuedConnection)
    for _ in range(10):
        flood.again.emit()

    half_ns = int(bench.count * 5e8)
    begin = time.perf_counter_ns()
    await asyncio.sleep(half_ns / 1e9)
    alone = flood.delivered / (time.perf_counter_ns() - begin)

    late_ms = []
    delivered = flood.delivered
    with Meter() as meter:
        end = time.perf_counter_ns() + half_ns
        while not late_ms or time.perf_counter_ns() < end:
            due = time.perf_counter_ns() + TICK_NS
            await asyncio.sleep(TICK_NS / 1e9)
            late_ms.append(max(time.perf_counter_ns() - due, 0) / NS_PER_MS)
    beside = (flood.delivered - delivered) / meter.usage.wall_ns
    flood.flowing = False
    return Measurement(
        {
            "p50": percentile(late_ms, 50),
            "p99": percentile(late_ms, 99),
            "share": 100 * beside / alone,
        },
        len(late_ms),
        meter.usage,
    )
