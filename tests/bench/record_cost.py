"""Cost of a recording in the process: what the task-churn benchmark pays for it.

    python tests/bench/record_cost.py [--rounds N] [--tasks N]

Inspection is on at level 2 in both cases; in one of them a recorder writes what happens
into a file.  Rounds are interleaved; the ratio is of the CPU time of the loop's thread,
and of the time that passed, each the best round.
"""

import argparse
import asyncio
import gc
import os
import tempfile
import time

import qtinter
from qtinter import inspect


def run(coro):
    loop = qtinter.new_event_loop()
    loop.set_mode(qtinter.QiLoopMode.NATIVE)
    try:
        return loop.run_until_complete(coro)
    finally:
        loop.close()


async def child():
    await asyncio.sleep(0)


async def churn(n):
    for _ in range(n // 100):
        await asyncio.gather(*[child() for _ in range(100)])


def measure(n):
    gc.collect()
    gc.disable()
    cpu, wall = time.thread_time(), time.perf_counter()
    run(churn(n))
    result = time.thread_time() - cpu, time.perf_counter() - wall
    gc.enable()
    return result


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--tasks", type=int, default=20_000)
    options = parser.parse_args()
    times = {"off": [], "on": []}
    with tempfile.TemporaryDirectory() as directory:
        os.environ["QTINTER_RUNTIME_DIR"] = directory
        os.chmod(directory, 0o700)
        inspect.enable(connect=False)
        measure(options.tasks)
        for _ in range(options.rounds):
            times["off"].append(measure(options.tasks))
            with inspect.record(os.path.join(directory, "a.qtrace")) as recording:
                times["on"].append(measure(options.tasks))
        stats = recording.statistics()
        inspect.disable()
    best = {name: [min(t) for t in zip(*rounds)] for name, rounds in times.items()}
    print(f"events a round: {stats['records']}, lost: {stats['lost']}")
    print(f"events/s: {stats['records'] / best['on'][1]:,.0f}")
    print(f"bytes/event: {stats['bytes'] / stats['records']:.2f}")
    for i, what in enumerate(("CPU of the loop's thread", "time")):
        off, on = best["off"][i], best["on"][i]
        print(f"{what}: {off:.4f} s, recorded {on:.4f} s, ratio {on / off:.3f}")


if __name__ == "__main__":
    main()
