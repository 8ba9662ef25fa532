"""Cost of the inspection: what a loop pays per callback, step and wake, by level.

    python tests/bench/inspect_cost.py [--rounds N] [--tasks N ...]

Times are CPU time of the loop's thread, the best of interleaved rounds, native mode, so
other work on the machine matters little.  Nothing is connected: this is what the target
pays, without the sender thread.
"""

import argparse
import asyncio
import gc
import os
import tempfile
import time

import qtinter
from qtinter import inspect

RING = 4096  # events: soon every page of it has been touched
LEVELS = ("off", 0, 1, 2, 3)


def run(coro):
    loop = qtinter.new_event_loop()
    loop.set_mode(qtinter.QiLoopMode.NATIVE)
    try:
        return loop.run_until_complete(coro)
    finally:
        loop.close()


def set_level(level):
    inspect.disable()
    if level != "off":
        inspect.enable(
            level=max(level, 1), connect=False, directory=DIRECTORY, ring=RING
        )
        if level == 0:
            inspect._set_level(0)


# --- workloads: each returns how often the thing that is measured happened -----------


async def callbacks(n):
    loop = asyncio.get_running_loop()
    done = loop.create_future()
    left = n

    def call():
        nonlocal left
        left -= 1
        if left:
            loop.call_soon(call)
        else:
            done.set_result(None)

    loop.call_soon(call)
    await done
    return n


async def steps(n):
    """Steps that yield: a step, and the handle that it queues itself."""
    for _ in range(n):
        await asyncio.sleep(0)
    return n


async def wakes(n):
    """Two tasks wake each other: a step that waits, and its wake."""
    loop = asyncio.get_running_loop()
    futures = [loop.create_future(), loop.create_future()]

    async def play(me, count):
        other = 1 - me
        for _ in range(count):
            await futures[me]
            futures[me] = loop.create_future()
            futures[other].set_result(None)

    players = [loop.create_task(play(me, n // 2)) for me in range(2)]
    await asyncio.sleep(0)
    futures[0].set_result(None)
    await asyncio.gather(*players)
    return n


async def churn(n):
    """Short tasks, as a program that starts many makes them."""

    async def job():
        await asyncio.sleep(0)

    for _ in range(n // 100):
        await asyncio.gather(*(job() for _ in range(100)))
    return n


WORKLOADS = (
    ("callback", callbacks, 4_000),
    ("step", steps, 4_000),
    ("step + wake", wakes, 4_000),
    ("task", churn, 2_000),
)


def ns_each(workload, n):
    gc.collect()
    gc.disable()  # it strikes where it likes
    try:
        begin = time.thread_time_ns()
        count = run(workload(n))
        return (time.thread_time_ns() - begin) / count
    finally:
        gc.enable()


def per_operation(rounds):
    best = {}
    for turn in range(rounds):
        for level in LEVELS[:: 1 if turn % 2 else -1]:
            set_level(level)
            for _, workload, n in WORKLOADS:
                run(workload(n))
            for name, workload, n in WORKLOADS:
                took = ns_each(workload, n)
                key = name, level
                best[key] = min(best.get(key, took), took)
    inspect.disable()
    print("ns of CPU time each, and what the level adds to 'off'")
    print(f"{'':14}" + "".join(f"{level!s:>16}" for level in LEVELS))
    for name, _, _ in WORKLOADS:
        off = best[name, "off"]
        cells = [f"{off:16.1f}"]
        for level in LEVELS[1:]:
            extra = best[name, level] - off
            cells.append(f"{best[name, level]:9.1f} {extra:+6.1f}")
        print(f"{name:14}" + "".join(f"{cell:>16}" for cell in cells))
    for level in LEVELS[1:]:
        ratio = best["task", level] / best["task", "off"]
        print(f"task churn at level {level}: {ratio:.3f}x")


def events_per_step():
    set_level(2)
    before = inspect.snapshot().info["records"]
    run(wakes(1000))
    records = inspect.snapshot().info["records"] - before
    print(f"records per step with a wake: {records / 1000:.2f}, 32 bytes each")


def snapshots(tasks):
    """Reading the state of many tasks, from the segment: none of it by the loop."""
    set_level(2)

    async def main():
        loop = asyncio.get_running_loop()
        future = loop.create_future()

        async def wait():
            await future

        size = os.stat(inspect.segment_path()).st_blocks * 512
        made = [loop.create_task(wait()) for _ in range(tasks)]
        await asyncio.sleep(0)
        grown = os.stat(inspect.segment_path()).st_blocks * 512 - size
        path, best = inspect.segment_path(), []
        for _ in range(3):
            gc.collect()
            begin = time.perf_counter()
            read = inspect._core.inspect_read_segment(path)
            best.append(time.perf_counter() - begin)
        rows = sum(row[0] == 1 for row in read["rows"])
        print(
            f"{tasks} tasks: {rows} rows read in {min(best) * 1e3:.1f} ms; "
            f"{grown / tasks:.0f} bytes of segment per task, "
            f"{inspect.statistics()['known']} known"
        )
        future.set_result(None)
        await asyncio.wait(made)

    run(main())
    inspect.disable()


def main():
    global DIRECTORY
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--tasks", type=int, nargs="*", default=[10_000, 100_000])
    options = parser.parse_args()
    inspect.disable()
    with tempfile.TemporaryDirectory() as DIRECTORY:
        per_operation(options.rounds)
        events_per_step()
        for tasks in options.tasks:
            snapshots(tasks)
        inspect.disable()


if __name__ == "__main__":
    main()
