"""Events a second from a program through the daemon into a file.

    python tests/bench/record_daemon.py --build BUILD_FOLDER [--rate N] [--seconds N]

A native program (bench_producer) records events through the shim, over the socket, and
qtinterd records it.  Prints events a second, what of them is in the file and what was
lost where, bytes per event, and the CPU time of each thread concerned.
"""

import argparse
import os
import pathlib
import subprocess
import sys
import tempfile

from qtinter import trace


def threads(pid):
    """CPU seconds so far of each thread of a process, and those that it waited for a
    processor, by name and number."""
    times = {}
    for folder in pathlib.Path(f"/proc/{pid}/task").iterdir():
        name = (folder / "comm").read_text().strip()
        ran, waited, _ = map(int, (folder / "schedstat").read_text().split())
        times[f"{name} ({folder.name})"] = ran / 1e9, waited / 1e9
    return times


def used(before, after):
    return {
        name: tuple(now - then for now, then in zip(times, before.get(name, (0, 0))))
        for name, times in after.items()
    }


def run(build, directory, rate, seconds):
    environment = dict(os.environ, QTINTER_RUNTIME_DIR=directory)
    path = os.path.join(directory, "bench.qtrace")
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    server = [build / "daemon" / "qtinterd", "--foreground"]
    daemon = subprocess.Popen(server, env=environment, stderr=subprocess.DEVNULL)
    producer = subprocess.Popen(
        [build / "tests/c/bench_producer", directory, str(rate), str(seconds)], **pipes
    )
    words = ["record", str(producer.pid), "-o", path, "--level", "2", "--json"]
    try:
        assert producer.stdout.readline() == "connected\n"
        recorder = subprocess.Popen(
            [sys.executable, "-m", "qtinter.inspect", *words],
            cwd="/",  # not the sources, which have no core
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        begun = recorder.stderr.readline()
        assert begun.startswith("recording "), begun + recorder.stderr.read()
        before = threads(producer.pid), threads(daemon.pid)
        producer.stdin.write("\n")
        producer.stdin.flush()
        count, time, cpu = producer.stdout.readline().split()
        during = (
            used(before[0], threads(producer.pid)),
            used(before[1], threads(daemon.pid)),
        )
        producer.stdin.write("\n")
        producer.stdin.flush()
        producer.wait()
        recorder.communicate(timeout=120)
    finally:
        producer.kill()
        daemon.terminate()
        daemon.wait()
    return path, int(count), float(time), float(cpu), during


def report(path, count, time, cpu, during):
    source = trace.open(path, allow_gaps=True).source
    there = sum(1 for _ in source.records())
    lost = {}
    for gap in source.gaps:
        lost[gap.cause] = lost.get(gap.cause, 0) + gap.count
    size = os.path.getsize(path)
    print(f"{'events produced':34} {count:>12,}  in {time:.2f} s")
    print(f"{'events in the file':34} {there:>12,}  lost: {lost or 0}")
    print(f"{'events/s into the file':34} {there / time:>12,.0f}")
    print(f"{'bytes/event in the file':34} {size / there:>12.2f}")
    print(f"{'CPU of the producing thread':34} {cpu:>12.2f} s")
    for title, times in zip(("program", "daemon"), during):
        for name, (ran, waited) in sorted(times.items()):
            if ran >= 0.02:
                line = f"{f'CPU: {title}, {name}':34} {ran:>12.2f} s"
                print(f"{line}, waited for one {waited:.2f} s")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--build", type=pathlib.Path, required=True)
    parser.add_argument("--rate", type=float, default=0, help="0: what is taken")
    parser.add_argument("--seconds", type=float, default=5)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        os.chmod(directory, 0o700)
        report(*run(options.build.resolve(), directory, options.rate, options.seconds))


if __name__ == "__main__":
    main()
