"""What somebody who watches a program costs that program.

    python tests/bench/viewer_cost.py [--seconds N] [--rounds N] [--load NAME ...]

An application with 1,000 tasks (``--tasks``) runs alone, inspected and with nobody
watching, with the terminal view in a pty, and with the window, both at 20 Hz.  Its CPU
time (user and system, of all its threads, as the kernel accounts it) over a span is
given as a share of one processor; beside it that of the loop's thread, and
that of the thread that sends to the daemon.  Only that one has anything to do for a
viewer: what it does more than with nobody watching is the viewer's load.

Loads: ``idle``, no task steps; ``some``, each task steps once a second; ``all``, each
task steps 20 times a second, so that every row is another one in each frame.

A daemon and a runtime directory of its own are used.  Other work on the machine makes
caches colder, and so figures bigger.
"""

import argparse
import contextlib
import os
import pty
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time

PERIODS = {"idle": 3600.0, "some": 1.0, "all": 0.05}
SENDER = "qtinter-sender"
VIEWERS = ("nobody", "terminal", "window")
PATIENCE = 60.0

APPLICATION = """
import asyncio, sys
import qtinter
from qtinter.bindings import QtCore

count, period = int(sys.argv[1]), float(sys.argv[2])

async def work(number):
    await asyncio.sleep(period * (number + 1) / count)
    while True:
        await asyncio.sleep(period)

async def main():
    tasks = [asyncio.ensure_future(work(number)) for number in range(count)]
    await asyncio.sleep(0)
    print("ready", flush=True)
    await asyncio.wait(tasks)

app = QtCore.QCoreApplication([])
with qtinter.using_asyncio_from_qt() as loop:
    task = loop.create_task(main())
    app.exec()
"""


def cpu_of_threads(pid):
    """Thread id to (name, nanoseconds on a processor)."""
    found = {}
    for tid in os.listdir(f"/proc/{pid}/task"):
        folder = f"/proc/{pid}/task/{tid}"
        with contextlib.suppress(OSError):  # a thread that ends
            with open(f"{folder}/comm") as comm, open(f"{folder}/schedstat") as stat:
                found[int(tid)] = comm.read().strip(), int(stat.read().split()[0])
    return found


def measure(pid, seconds):
    """Percent of a processor: (whole process, its loop's thread, its sender thread)."""
    before, begin = cpu_of_threads(pid), time.monotonic()
    time.sleep(seconds)  # what is measured happens in the other process
    after, end = cpu_of_threads(pid), time.monotonic()
    spent = {
        tid: (name, ns - before.get(tid, (name, 0))[1])
        for tid, (name, ns) in after.items()
    }
    scale = 100e-9 / (end - begin)
    return (
        sum(ns for _, ns in spent.values()) * scale,
        spent[pid][1] * scale,
        sum(ns for name, ns in spent.values() if name == SENDER) * scale,
    )


@contextlib.contextmanager
def application(tasks, period, inspected):
    environment = dict(os.environ)
    environment.pop("QTINTER_INSPECT", None)
    if inspected:
        environment["QTINTER_INSPECT"] = "2"
    process = subprocess.Popen(
        [sys.executable, "-c", APPLICATION, str(tasks), str(period)],
        env=environment,
        stdout=subprocess.PIPE,
    )
    try:
        assert process.stdout.readline() == b"ready\n", "the application did not start"
        time.sleep(2)  # until what comes of the start is over
        yield process.pid
    finally:
        process.kill()
        process.wait()


class Terminal:
    """The terminal view in a pty whose other end only reads."""

    def __init__(self, pid):
        self.text = b""
        self._here = threading.Event()
        self._fd, slave = pty.openpty()
        command = [sys.executable, "-m", "qtinter.inspect", "top", str(pid)]
        environment = dict(os.environ, TERM="xterm-256color", LINES="24", COLUMNS="80")
        self.process = subprocess.Popen(
            command, stdin=slave, stdout=slave, stderr=slave, env=environment,
            start_new_session=True,
        )  # fmt: skip
        os.close(slave)
        threading.Thread(target=self._read, daemon=True).start()
        assert self._here.wait(PATIENCE), "the terminal view shows nothing"

    def _read(self):
        with contextlib.suppress(OSError):  # it has ended
            while True:
                self.text = (self.text + os.read(self._fd, 65536))[-65536:]
                if b"tasks" in self.text and b"live" in self.text:
                    self._here.set()

    def end(self):
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        os.close(self._fd)


class Window:
    def __init__(self, pid):
        environment = dict(os.environ, QT_QPA_PLATFORM="offscreen")
        self.process = subprocess.Popen(
            [sys.executable, "-m", "qtinter.inspect", "gui", "-p", str(pid)],
            env=environment,
        )
        time.sleep(5)  # its start, which is not to be measured
        assert self.process.poll() is None, "the window has ended"

    def end(self):
        self.process.kill()
        self.process.wait()


def measured(pid, viewer, seconds):
    """What :func:`measure` says while somebody watches."""
    if viewer == "nobody":
        time.sleep(1)  # as with a viewer
        return measure(pid, seconds)
    made = {"terminal": Terminal, "window": Window}[viewer](pid)
    try:
        time.sleep(1)  # until what comes of the viewer's start is over
        return measure(pid, seconds)
    finally:
        made.end()


def line(text, values):
    whole, loop, sender = (statistics.median(column) for column in zip(*values))
    print(f"{text:24}{whole:10.2f}{loop:10.2f}{sender:10.3f}", flush=True)
    return sender


def compare(load, tasks, seconds, rounds):
    period = PERIODS[load]
    print(f"\n{tasks:,} tasks, load {load!r}: % of a processor (median of {rounds})")
    print(f"{'watched by':24}{'process':>10}{'loop':>10}{'sender':>10}")
    with application(tasks, period, inspected=False) as pid:
        line("not inspected", [measure(pid, seconds) for _ in range(rounds)])
    found = {viewer: [] for viewer in VIEWERS}
    with application(tasks, period, inspected=True) as pid:
        for _ in range(rounds):
            for viewer in VIEWERS:
                found[viewer].append(measured(pid, viewer, seconds))
    senders = {viewer: line(viewer, found[viewer]) for viewer in VIEWERS}
    for viewer in VIEWERS[1:]:
        extra = senders[viewer] - senders["nobody"]
        print(f"load of the {viewer}: {extra:+.3f} % of a processor")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--tasks", type=int, default=1000)
    parser.add_argument("--load", nargs="*", choices=PERIODS, default=list(PERIODS))
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        os.chdir("/")  # where nothing lies that could be imported
        os.environ["QTINTER_RUNTIME_DIR"] = directory
        os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
        os.environ.setdefault("QTINTERBINDING", "PyQt6")
        daemon = subprocess.Popen(
            [os.path.join(os.path.dirname(sys.executable), "qtinterd"), "--foreground"]
        )
        try:
            for load in options.load:
                compare(load, options.tasks, options.seconds, options.rounds)
        finally:
            daemon.terminate()
            daemon.wait()


if __name__ == "__main__":
    main()
