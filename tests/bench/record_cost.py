"""Cost of a recording in the process: what the task-churn benchmark pays for it.

    python tests/bench/record_cost.py [--rounds N] [--tasks N] [--level N]

Three cases, interleaved: nothing inspects; inspection is on at level 2; a recorder
writes what happens into a file, with inspection on for that.  The ratios are of the CPU
time of the loop's thread, and of the time that passed: each case's best round to the
best one without inspection, and the recorder's to inspection alone.
"""

import argparse
import asyncio
import gc
import os
import tempfile
import time

import qtinter
from qtinter import inspect

CASES = ("off", "inspected", "recorded")


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
    run(churn(200))
    gc.collect()
    gc.disable()
    cpu, wall = time.thread_time(), time.perf_counter()
    run(churn(n))
    result = time.thread_time() - cpu, time.perf_counter() - wall
    gc.enable()
    return result


def measure_case(case, options, directory):
    """The times, and what the recorder says it wrote."""
    inspect.disable()
    if case == "off":
        return measure(options.tasks), None
    if case == "inspected":
        inspect.enable(level=options.level, connect=False)
        return measure(options.tasks), None
    path = os.path.join(directory, "a.qtrace")
    with inspect.record(path, level=options.level) as recording:
        times = measure(options.tasks)
    return times, recording.statistics()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--tasks", type=int, default=20_000)
    parser.add_argument("--level", type=int, default=2)
    options = parser.parse_args()
    times = {case: [] for case in CASES}
    stats = None
    with tempfile.TemporaryDirectory() as directory:
        os.environ["QTINTER_RUNTIME_DIR"] = directory
        os.chmod(directory, 0o700)
        for turn in range(options.rounds):
            for case in CASES[:: 1 if turn % 2 else -1]:
                took, written = measure_case(case, options, directory)
                times[case].append(took)
                stats = written or stats
        inspect.disable()
    best = {case: [min(t) for t in zip(*rounds)] for case, rounds in times.items()}
    print(f"events a round: {stats['records']}, lost: {stats['lost']}")
    print(f"events/s: {stats['records'] / best['recorded'][1]:,.0f}")
    print(f"bytes/event: {stats['bytes'] / stats['records']:.2f}")
    for i, what in enumerate(("CPU of the loop's thread", "time")):
        off, inspected, recorded = (best[case][i] for case in CASES)
        print(
            f"{what}: {off:.4f} s; "
            f"inspected {inspected:.4f} s, {inspected / off:.3f} x; "
            f"recorded {recorded:.4f} s, {recorded / off:.3f} x, "
            f"{recorded / inspected:.3f} x of inspected"
        )


if __name__ == "__main__":
    main()
