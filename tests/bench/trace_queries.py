"""Time and memory of questions to a recording of a million events.

    python tests/bench/trace_queries.py [--events N] [--keep FILE.qtrace]

A process records tasks that sleep, make others and wait for them, until there are so
many events.  Then each question, and each export, is asked in a process of its own.
Prints seconds of CPU time and the peak of memory, less what opening the file takes.
"""

import argparse
import asyncio
import os
import resource
import subprocess
import sys
import tempfile
import time

QUESTIONS = {
    "open": "trace",
    "figures()": "trace.figures()",
    "tasks().count()": "trace.tasks().count()",
    "tasks('child').all()": "trace.tasks('*child').all()",
    "tasks(filter)": "trace.tasks(filter='max_step>1ms').all()",
    "steps().count()": "sum(1 for _ in trace.steps())",
    "max_step": "trace.max_step",
    "step_times.p99": "trace.step_times.p99",
    "lag.p99": "trace.lag.p99",
    "events()": "sum(1 for _ in trace.events())",
    "events('task_step')": "sum(1 for _ in trace.events('task_step'))",
    "lints()": "trace.lints().all()",
    "stalls()": "trace.stalls().all()",
    "snapshot(at)": "trace.snapshot(trace.figures()['duration'] / 2)",
    "await_graph(at)": "trace.await_graph(trace.figures()['duration'] / 2)",
    "path()": "trace.path('*churn', '*child')",
    "shape()": "trace.shape()",
    "text()": "trace.text()",
    "gaps": "trace.gaps",
}
EXPORTS = ("perfetto", "chrome", "jsonl", "csv", "html")


def record(path, wanted):
    from record_cost import run

    from qtinter import inspect

    async def child():
        await asyncio.sleep(0)

    async def churn():
        for _ in range(20):
            await asyncio.gather(*[child() for _ in range(100)])
            await asyncio.sleep(0.02)  # the recorder comes round

    recording = inspect.record(path)
    while recording.statistics()["records"] < wanted:
        run(churn())
    recording.stop()
    return recording.statistics()


def ask(path, question):
    import qtinter.trace

    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start = time.process_time()
    trace = qtinter.trace.open(path, allow_gaps=True)
    eval(question, {"trace": trace})
    seconds = time.process_time() - start
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(f"{seconds:.2f} {(after - before) / 1024:.0f}")


def export(path, form, folder):
    from qtinter.inspect import cli

    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start = time.process_time()
    output = os.path.join(folder, "out." + form)
    cli.main(["export", path, "--" + form, "-o", output])
    seconds = time.process_time() - start
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    size = os.path.getsize(output) if os.path.isfile(output) else 0
    print(f"{seconds:.2f} {(after - before) / 1024:.0f} {size}", file=sys.stderr)


def in_process(*words):
    command = [sys.executable, os.path.abspath(__file__), *words]
    done = subprocess.run(
        command, check=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    return done.stdout.decode().strip().split("\n")[-1].split()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--events", type=int, default=1_000_000)
    parser.add_argument("--keep", metavar="FILE")
    parser.add_argument("--ask", nargs=2, help=argparse.SUPPRESS)
    parser.add_argument("--export", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.ask:
        return ask(*options.ask)
    if options.export:
        return export(*options.export)
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o700)
        os.environ.setdefault("QTINTER_RUNTIME_DIR", folder)
        os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
        path = options.keep or os.path.join(folder, "million.qtrace")
        if not os.path.exists(path):
            found = record(path, options.events)
            print(f"events: {found['records']:,}, lost: {found['lost']:,}")
        size = os.path.getsize(path)
        print(f"file: {size:,} bytes")
        for name, question in QUESTIONS.items():
            seconds, memory = in_process("--ask", path, question)
            print(f"  {name:22} {seconds:>7} s {memory:>6} MiB")
        for form in EXPORTS:
            seconds, memory, size = in_process("--export", path, form, folder)
            print(
                f"  export --{form:13} {seconds:>7} s {memory:>6} MiB {size:>12} bytes"
            )


if __name__ == "__main__":
    main()
