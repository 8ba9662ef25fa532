"""How long it takes from a command to what it shows.

    python tests/bench/first_screen.py [--rounds N] [--tasks N] [--instructions]

An application and a daemon run already.  The commands run in a pty of 80 by 24; the
time is that from the start of the process to the first row of live data on the screen,
and for ``top`` also to the moment from which keys are heard.  Beside it the processor
time that the command has used until then; the median and the least of all rounds.
Other work on the machine makes the times longer, the processor time hardly.

``--instructions`` counts what is executed until then instead (valgrind's cachegrind),
which is the same on each machine.

A daemon and a runtime directory of its own are used.
"""

import argparse
import contextlib
import fcntl
import os
import pty
import re
import select
import signal
import statistics
import struct
import subprocess
import sys
import tempfile
import termios
import time

PATIENCE = 120.0
HERE = os.path.dirname(sys.executable)
ROW = b"sleep, "  # of what a task waits for
READY = b"\x1b[?2004h"  # Textual listens
COMMANDS = ("--version", "ls", "ps", "why 3", "task 3", "tree", "lint", "top")
CACHEGRIND = (
    "valgrind", "--tool=cachegrind", "--cache-sim=no",
    "--cachegrind-out-file=/dev/null", "--log-file={log}",
)  # fmt: skip

APPLICATION = """
import asyncio, sys
import qtinter
from qtinter.bindings import QtCore

async def work():
    await asyncio.sleep(3600)

async def main():
    tasks = [asyncio.ensure_future(work()) for number in range(int(sys.argv[1]))]
    await asyncio.sleep(0)
    print("ready", flush=True)
    await asyncio.wait(tasks)

app = QtCore.QCoreApplication([])
with qtinter.using_asyncio_from_qt() as loop:
    task = loop.create_task(main())
    app.exec()
"""


def cpu_seconds(pid):
    with open(f"/proc/{pid}/stat") as file:
        fields = file.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def start(words, wrapper=()):
    """(process, the other end of its terminal, when)."""
    fd, slave = pty.openpty()
    fcntl.ioctl(fd, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    environment = dict(os.environ, TERM="xterm-256color", COLORTERM="truecolor")
    program = [sys.executable, os.path.join(HERE, "qtinter-inspect")]
    begin = time.perf_counter()
    process = subprocess.Popen(
        [*wrapper, *program, *words.split()],
        stdin=slave, stdout=slave, stderr=slave, env=environment,
        start_new_session=True,
    )  # fmt: skip
    os.close(slave)
    return process, fd, begin


class Run:
    """One run of a command, up to each of the signs on its terminal."""

    def __init__(self, words, signs):
        self.seen = []  # (seconds, processor seconds) of each sign
        self.process, self._fd, begin = start(words)
        text = b""
        for sign in signs:
            while sign not in text:
                data = self._read(PATIENCE)
                assert data, f"{words}: {sign} did not come: {text}"
                text += data
            used = cpu_seconds(self.process.pid)
            self.seen.append((time.perf_counter() - begin, used))
        self.process.kill()
        self.process.wait()
        os.close(self._fd)

    def _read(self, patience):
        if not select.select([self._fd], [], [], patience)[0]:
            return b""
        with contextlib.suppress(OSError):  # it has ended
            return os.read(self._fd, 65536)
        return b""


class Short:
    """One run of a command that ends by itself."""

    def __init__(self, words):
        process, fd, begin = start(words)
        while True:
            try:
                if not os.read(fd, 65536):
                    break
            except OSError:
                break
        _, status, usage = os.wait4(process.pid, 0)
        assert os.waitstatus_to_exitcode(status) in (0, 1), words
        self.seen = [(time.perf_counter() - begin, usage.ru_utime + usage.ru_stime)]
        os.close(fd)


def instructions(words, sign):
    """Millions of them until the sign, or until the end of the command."""
    with tempfile.NamedTemporaryFile() as log:
        wrapper = [word.format(log=log.name) for word in CACHEGRIND]
        process, fd, _ = start(words, wrapper)
        text = b""
        while True:
            try:
                data = os.read(fd, 65536)
            except OSError:
                break
            text += data
            if sign is not None and sign in text:
                process.send_signal(signal.SIGTERM)
                sign = None
        process.wait()
        os.close(fd)
        found = re.search(rb"I +refs: +([\d,]+)", log.read())
    return int(found.group(1).replace(b",", b"")) / 1e6


def measure(rounds):
    print(f"{'':24}{'ms':>10}{'least':>10}{'CPU ms':>10}{'least':>10}")
    for words in COMMANDS:
        labels = [words] if words != "top" else ["top: live rows", "top: keys"]
        signs = [ROW, READY]
        runs = [
            Short(words) if words != "top" else Run(words, signs) for _ in range(rounds)
        ]
        for index, label in enumerate(labels):
            wall, cpu = zip(*(run.seen[index] for run in runs))
            values = (f(v) * 1e3 for v in (wall, cpu) for f in (statistics.median, min))
            print(f"{label:24}" + "".join(f"{value:10.0f}" for value in values))


def count():
    print(f"{'':24}{'M instructions':>16}")
    for words in COMMANDS:
        sign = ROW if words == "top" else None
        print(f"{words:24}{instructions(words, sign):16.0f}", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--tasks", type=int, default=30)
    parser.add_argument("--instructions", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory, contextlib.ExitStack() as started:
        os.chdir("/")  # where nothing lies that could be imported
        os.environ["QTINTER_RUNTIME_DIR"] = directory
        os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
        os.environ.setdefault("QTINTERBINDING", "PyQt6")
        os.environ.pop("QTINTER_INSPECT", None)

        def run(command, **more):
            process = subprocess.Popen(command, **more)
            started.callback(process.wait)
            started.callback(process.terminate)
            return process

        run([os.path.join(HERE, "qtinterd"), "--foreground"], stderr=subprocess.DEVNULL)
        application = run(
            [sys.executable, "-c", APPLICATION, str(options.tasks)],
            env=dict(os.environ, QTINTER_INSPECT="2"),
            stdout=subprocess.PIPE,
        )
        assert application.stdout.readline() == b"ready\n", "the application ended"
        shown = [os.path.join(HERE, "qtinter-inspect"), "why", "3"]
        end = time.monotonic() + PATIENCE
        while subprocess.run(shown, capture_output=True).returncode != 0:
            assert time.monotonic() < end, "the daemon does not show the application"
        count() if options.instructions else measure(options.rounds)


if __name__ == "__main__":
    main()
