"""What it takes to see a program with many tasks for the first time.

    python tests/bench/attach_latency.py [--tasks N ...] [--rounds N]

For each number of tasks: from connect() to the whole snapshot in the tool's model, the
same with a peer that only reads the bytes, what of that is CPU time of the daemon and
of the tool, the bytes sent, and the daemon's memory for each 100,000 tasks.  The best
of the rounds; other work on the machine makes times longer, CPU times less so.
"""

import argparse
import asyncio
import os
import pathlib
import signal
import socket
import subprocess
import sys
import tempfile
import time

from qtinter.inspect import connect, wire
from qtinter.inspect.feed import daemon_environment, find_daemon

PATIENCE = 60
PROGRAM = """
import asyncio, sys
import qtinter, qtinter.inspect

async def main():
    done = asyncio.get_running_loop().create_future()
    async def wait():
        await done
    tasks = [asyncio.ensure_future(wait()) for _ in range(int(sys.argv[1]))]
    await asyncio.sleep(0)
    print("ready", flush=True)
    await done

loop = qtinter.new_event_loop()
loop.set_mode(qtinter.QiLoopMode.NATIVE)
qtinter.inspect.enable(level=2, name="many")
loop.run_until_complete(main())
"""


def cpu_seconds(pid):
    fields = pathlib.Path(f"/proc/{pid}/schedstat").read_text().split()
    return int(fields[0]) / 1e9


def resident(pid):
    pages = pathlib.Path(f"/proc/{pid}/statm").read_text().split()[1]
    return int(pages) * os.sysconf("SC_PAGE_SIZE")


async def rows_of(pid):
    """How many rows a new tool has after its snapshot."""
    async with connect() as feed:
        await feed.subscribe(pid=pid)
        process = feed.processes.get(pid)
        return 0 if process is None else len(process.rows)


def attach(pid):
    """Seconds, and CPU seconds of this process, until a new tool has all rows."""
    begin, cpu = time.perf_counter(), time.process_time()
    rows = asyncio.run(asyncio.wait_for(rows_of(pid), PATIENCE))
    return time.perf_counter() - begin, time.process_time() - cpu, rows


def read_only(directory, pid):
    """Seconds and bytes until all rows are there, without a look at them."""
    begin = time.perf_counter()
    peer = socket.socket(socket.AF_UNIX)
    peer.settimeout(PATIENCE)
    peer.connect(os.path.join(directory, "qtinterd.sock"))
    decoder = wire.Decoder()
    messages = []
    while not messages:
        messages = decoder.feed(peer.recv(65536))
    nonce = os.urandom(32)
    proof = wire.client_proof(
        wire.read_key(directory), messages[0][2]["nonce"], nonce, "observe"
    )
    fields = {"client": "bench", "nonce": nonce, "hmac": proof}
    peer.sendall(wire.encode("AUTH", 1, major=1, minor=0, role="observe", **fields))
    peer.sendall(wire.encode("SUBSCRIBE", 2, sub=1, pid=pid, hz=1))
    # The answer to it comes after all rows; nothing follows for a second.
    end = wire.encode("RESULT", 2, ok=True)
    tail, total = b"", 0
    while end not in tail:
        data = peer.recv(1 << 18)
        total += len(data)
        tail = tail[-len(end) :] + data
    took = time.perf_counter() - begin
    peer.close()
    return took, total


def measure(tasks, rounds):
    with tempfile.TemporaryDirectory(prefix="qi") as directory:
        os.environ["QTINTER_RUNTIME_DIR"] = directory
        daemon = subprocess.Popen(
            [find_daemon(), "--foreground"],
            env=daemon_environment(),
            stderr=subprocess.PIPE,
            text=True,
        )
        daemon.stderr.readline()
        empty = resident(daemon.pid)
        program = subprocess.Popen(
            [sys.executable, "-c", PROGRAM, str(tasks)],
            cwd="/",
            stdout=subprocess.PIPE,
            text=True,
        )
        try:
            program.stdout.readline()
            while attach(program.pid)[2] < tasks:
                pass  # it connects, and sends its rows
            grown = resident(daemon.pid) - empty
            cpu = cpu_seconds(daemon.pid)
            whole = [attach(program.pid) for _ in range(rounds)]
            cpu = (cpu_seconds(daemon.pid) - cpu) / rounds
            bare = [read_only(directory, program.pid) for _ in range(rounds)]
        finally:
            program.kill()
            program.wait()
            program.stdout.close()
            daemon.send_signal(signal.SIGTERM)
            daemon.wait()
            daemon.stderr.close()
    took, own = min(w[0] for w in whole), min(w[1] for w in whole)
    print(
        f"{tasks:7} tasks: attach {took * 1e3:6.1f} ms (tool {own * 1e3:.1f} ms CPU, "
        f"daemon {cpu * 1e3:.1f} ms CPU on average); only read "
        f"{min(b[0] for b in bare) * 1e3:.1f} ms, {bare[0][1] / tasks:.0f} bytes/task; "
        f"daemon {grown / tasks * 1e5 / (1 << 20):.1f} MiB per 100,000 tasks"
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tasks", type=int, nargs="*", default=[10_000, 100_000])
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    for tasks in options.tasks:
        measure(tasks, options.rounds)


if __name__ == "__main__":
    main()
