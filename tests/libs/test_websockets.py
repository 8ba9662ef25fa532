"""websockets: servers and clients in one Qt application."""

import asyncio

import pytest
from websockets.asyncio.client import connect
from websockets.asyncio.server import broadcast, serve
from websockets.exceptions import ConnectionClosedError, ConnectionClosedOK

import qtinter


def address(server):
    """(host, port) on which the server listens."""
    return server.sockets[0].getsockname()[:2]


def url(server, scheme="ws"):
    host, port = address(server)
    return f"{scheme}://{host}:{port}"


async def echo(connection):
    async for message in connection:
        await connection.send(message)


def dial(target, **options):
    # proxy: nothing of the environment comes between us and the loopback.
    return connect(target, proxy=None, **options)


@pytest.mark.parametrize("encrypted", [False, True], ids=["plain", "tls"])
def test_thirty_clients_talk_at_once(run, certificates, encrypted):
    server_tls, client_tls = certificates if encrypted else (None, None)
    scheme = "wss" if encrypted else "ws"

    async def main():
        async with serve(echo, "127.0.0.1", 0, ssl=server_tls) as server:

            async def talk(number):
                async with dial(url(server, scheme), ssl=client_tls) as connection:
                    for turn in range(10):
                        await connection.send(f"{number}.{turn}")
                    return [await connection.recv() for _ in range(10)]

            return await asyncio.gather(*map(talk, range(30)))

    expected = [[f"{number}.{turn}" for turn in range(10)] for number in range(30)]
    assert run(main()) == expected


def test_large_compressed_and_fragmented_messages(run):
    large = "qtinter " * 300_000
    fragments = [bytes([number]) * 70_000 for number in range(20)]

    async def main():
        async with serve(echo, "127.0.0.1", 0, max_size=1 << 24) as server:
            async with dial(url(server), max_size=1 << 24) as connection:
                await connection.send(large)
                text = await connection.recv()
                await connection.send(iter(fragments))
                data = await connection.recv()
                return text, data

    assert run(main()) == (large, b"".join(fragments))


def test_pings_are_answered_and_closing_has_a_code(run):
    async def main():
        async def handler(connection):
            message = await connection.recv()
            await connection.close(4000 + int(message), "as you say")

        async with serve(handler, "127.0.0.1", 0) as server:
            async with dial(url(server)) as connection:
                latency = await (await connection.ping())
                await connection.send("7")
                with pytest.raises(ConnectionClosedError) as caught:
                    await connection.recv()
                return latency > 0, caught.value.rcvd.code, caught.value.rcvd.reason

    assert run(main()) == (True, 4007, "as you say")


def test_a_silent_peer_is_noticed(run):
    async def main():
        async def deaf(connection):
            connection.transport.pause_reading()
            await connection.wait_closed()

        async with serve(deaf, "127.0.0.1", 0, close_timeout=0.05) as server:
            options = {"ping_interval": 0.02, "ping_timeout": 0.02}
            async with dial(url(server), close_timeout=0.05, **options) as connection:
                with pytest.raises(ConnectionClosedError) as caught:
                    await connection.recv()
                return caught.value.sent.code

    assert run(main()) == 1011


def test_signals_are_broadcast(run, signals):
    async def main():
        ready = asyncio.Event()

        async def handler(connection):
            if len(server.connections) == 5:
                ready.set()
            await connection.wait_closed()

        async with serve(handler, "127.0.0.1", 0) as server:
            signals.text.connect(lambda text: broadcast(server.connections, text))

            async def listen():
                heard = []
                async with dial(url(server)) as connection:
                    async for message in connection:
                        heard.append(message)
                        if message == "last":
                            return heard

            listeners = [asyncio.ensure_future(listen()) for _ in range(5)]
            await ready.wait()
            for text in ("first", "second", "last"):
                signals.text.emit(text)
            return await asyncio.gather(*listeners)

    assert run(main()) == [["first", "second", "last"]] * 5


def test_a_server_that_closes_tells_its_clients(run):
    async def main():
        server = await serve(echo, "127.0.0.1", 0)
        async with dial(url(server)) as connection:
            closing = asyncio.ensure_future(closed(server))
            with pytest.raises(ConnectionClosedOK) as caught:
                await connection.recv()
            await closing
            return caught.value.rcvd.code

    async def closed(server):
        server.close()
        await server.wait_closed()

    assert run(main()) == 1001


def test_a_slot_sends(run, signals):
    async def main():
        async with serve(echo, "127.0.0.1", 0) as server:
            async with dial(url(server)) as connection:
                signals.text.connect(qtinter.asyncslot(connection.send))
                signals.text.emit("clicked")
                return await connection.recv()

    assert run(main()) == "clicked"
