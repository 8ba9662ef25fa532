"""An echo server over TCP: what one request costs it.

The clients are one other process, so the figures are the server's alone. A process
that has never seen a connection end is *cold*: glibc then takes the block of 256 KiB
that asyncio's transports read into from the system, and gives it back, for each read.
"""

import asyncio
import contextlib
import subprocess
import sys
from pathlib import Path
from typing import Any, AsyncIterator, Callable, Tuple

from ..measure import Measurement, Meter
from ..registry import Bench, Line, WorkloadFunction, workload
from ..targets import ahead_of, at_most_times, times

CLIENT = Path(__file__).resolve().parent.parent / "tcp_client.py"

KIB = 1024
SETTLING = 400  # requests before the measurement, in the same connections


class Echo(asyncio.Protocol):
    """Sends back what comes."""

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.transport.write(data)


async def serve_protocol() -> Any:
    loop = asyncio.get_running_loop()
    return await loop.create_server(Echo, "127.0.0.1", 0)


def serve_streams(size: int) -> Callable[[], Any]:
    async def echo(reader: Any, writer: Any) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                writer.write(await reader.readexactly(size))
                await writer.drain()
        writer.close()

    async def serve() -> Any:
        return await asyncio.start_server(echo, "127.0.0.1", 0, limit=4 * size)

    return serve


class Clients:
    """The process that sends the requests."""

    def __init__(self, port: int, connections: int, size: int) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-S", str(CLIENT), str(port), str(connections), str(size)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.stdin, self.stdout = self.process.stdin, self.process.stdout

    async def send(self, requests: int) -> None:
        """Ends when all of them have been answered."""
        loop = asyncio.get_running_loop()
        done = loop.create_future()

        def answered() -> None:
            loop.remove_reader(self.stdout)
            if self.stdout.readline():
                done.set_result(None)
            else:
                done.set_exception(ConnectionError("the clients went away"))

        loop.add_reader(self.stdout, answered)
        self.stdin.write(b"%d\n" % requests)
        self.stdin.flush()
        await done

    def close(self) -> None:
        self.stdin.close()
        self.stdout.close()
        self.process.wait()


@contextlib.asynccontextmanager
async def _server(
    serve: Callable[[], Any], connections: int, size: int
) -> AsyncIterator[Clients]:
    server = await serve()
    clients = Clients(server.sockets[0].getsockname()[1], connections, size)
    try:
        yield clients
    finally:
        clients.close()
        server.close()
        await asyncio.sleep(0.01)  # the ends of the connections arrive


async def _exchange(
    bench: Bench, serve: Callable[[], Any], connections: int, size: int, warm: bool
) -> Tuple[int, Meter]:
    if warm:
        async with _server(serve, 1, size) as clients:
            await clients.send(1)
    async with _server(serve, connections, size) as clients:
        await clients.send(min(SETTLING, bench.n))
        with Meter() as meter:
            await clients.send(bench.n)
    return bench.n, meter


def _define(
    name: str,
    title: str,
    serve: Callable[[], Any],
    connections: int,
    size: int = KIB,
    warm: bool = True,
) -> None:
    async def run(bench: Bench) -> Measurement:
        """Count: requests of ``size`` bytes, echoed."""
        n, meter = await _exchange(bench, serve, connections, size, warm)
        usage = meter.usage
        if size > KIB:
            return Measurement(
                {"rate": n * size / 1e6 / (usage.wall_ns / 1e9)}, n, usage
            )
        return Measurement({"cpu": usage.cpu_ns / 1e3 / n}, n, usage)

    function: WorkloadFunction = run
    lines = (
        [
            Line(
                "rate",
                "",
                "MB/s",
                higher_is_better=True,
                aim=(times(1.05, "best"),),
            )
        ]
        if size > KIB
        else [
            Line(
                "cpu",
                "CPU a request",
                "µs",
                must=(ahead_of("asyncio"),),
                aim=(at_most_times(1.0, "uvloop"),),
            )
        ]
    )
    workload(title, lines, full=20_000, quick=6_000, tiny=3, name=name, warmup=0)(
        function
    )


for _connections in (1, 20, 200):
    _define(
        f"tcp_streams_{_connections}",
        f"TCP streams, 1 KiB, {_connections} connections",
        serve_streams(KIB),
        _connections,
    )
for _connections in (1, 20, 200):
    _define(
        f"tcp_protocol_{_connections}",
        f"TCP protocol, 1 KiB, {_connections} connections",
        serve_protocol,
        _connections,
    )
_define(
    "tcp_protocol_cold",
    "TCP protocol, 1 KiB, 20 connections, cold",
    serve_protocol,
    20,
    warm=False,
)
_define(
    "tcp_streams_bulk",
    "TCP streams, 100 KiB",
    serve_streams(100 * KIB),
    4,
    100 * KIB,
)
_define("tcp_protocol_bulk", "TCP protocol, 100 KiB", serve_protocol, 4, 100 * KIB)
