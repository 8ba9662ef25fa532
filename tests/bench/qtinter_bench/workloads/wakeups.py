"""How soon an idle loop runs a callback for an event from outside.

The writer waits for an acknowledgement and then for a random pause before it sends
the next event, so that the loop is asleep in the kernel when the event arrives.
"""

import asyncio
import random
import socket
import struct
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import List

from ..measure import Measurement, Meter, latency, thread_usage
from ..registry import Bench, Line, workload
from ..targets import ahead_of, at_most_times

WRITER = Path(__file__).resolve().parent.parent / "socket_writer.py"
PAUSE_S = (0.0004, 0.0012)
"""Long enough for every peer to fall asleep; random, against lockstep with a tick."""

STAMP = struct.Struct("=q")

LATENCY_LINES = [
    Line(
        "p50",
        "p50",
        "µs",
        must=(ahead_of("asyncio"),),
        aim=(at_most_times(1.1, "uvloop"),),
    ),
    Line("p99", "p99", "µs", must=(ahead_of("asyncio"),)),
]


@workload(
    "socket readable → add_reader callback",
    LATENCY_LINES,
    full=800,
    quick=300,
    tiny=3,
)
async def socket_wakeup(bench: Bench) -> Measurement:
    """Count: wakeups. Another process writes its clock's reading into a socket."""
    loop = asyncio.get_running_loop()
    done = loop.create_future()
    samples: List[int] = []
    here, there = socket.socketpair()
    here.setblocking(False)

    def readable() -> None:
        now = time.perf_counter_ns()
        message = here.recv(STAMP.size)
        if len(message) != STAMP.size:
            done.set_exception(ConnectionError("the writing process went away"))
            return
        samples.append(now - STAMP.unpack(message)[0])
        if len(samples) == bench.n:
            done.set_result(None)
        else:
            here.send(b"\0")

    command = [sys.executable, "-S", str(WRITER), str(there.fileno()), str(bench.n)]
    pauses = [str(pause) for pause in PAUSE_S]
    writer = subprocess.Popen(command + pauses, pass_fds=[there.fileno()])
    there.close()
    loop.add_reader(here, readable)
    try:
        with Meter() as meter:
            here.send(b"\0")
            await done
    finally:
        loop.remove_reader(here)
        here.close()
        writer.wait()
    return latency(samples, meter)


@workload(
    "call_soon_threadsafe → callback",
    LATENCY_LINES,
    full=800,
    quick=300,
    tiny=3,
)
async def threadsafe_wakeup(bench: Bench) -> Measurement:
    """Count: wakeups, from another thread of this process."""
    loop = asyncio.get_running_loop()
    done = loop.create_future()
    samples: List[int] = []
    arrived = threading.Event()

    def woken(sent_ns: int) -> None:
        samples.append(time.perf_counter_ns() - sent_ns)
        arrived.set()

    def send() -> None:
        uniform = random.Random(3).uniform
        for _ in range(bench.n):
            time.sleep(uniform(*PAUSE_S))
            arrived.clear()
            loop.call_soon_threadsafe(woken, time.perf_counter_ns())
            arrived.wait()
        loop.call_soon_threadsafe(done.set_result, thread_usage())

    thread = threading.Thread(target=send, daemon=True)
    with Meter() as meter:
        thread.start()
        meter.exclude(await done)
    thread.join()
    return latency(samples, meter)
