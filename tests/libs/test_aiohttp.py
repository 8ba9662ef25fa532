"""aiohttp: a server and its clients in one Qt application."""

import asyncio
import contextlib
import hashlib

import aiohttp
import pytest
from aiohttp import web

import qtinter


@contextlib.asynccontextmanager
async def serving(*routes, tls=None, **options):
    """Serves the routes; gives the URL of the server."""
    application = web.Application(client_max_size=1 << 26)
    application.add_routes(routes)
    runner = web.AppRunner(application, **options)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls).start()
        scheme = "https" if tls else "http"
        yield f"{scheme}://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


async def square(request):
    number = int(request.match_info["number"])
    await asyncio.sleep(number % 3 / 1000)
    return web.json_response({"number": number, "square": number**2})


@pytest.mark.parametrize("encrypted", [False, True], ids=["plain", "tls"])
def test_a_hundred_requests_at_once(run, certificates, encrypted):
    server_tls, client_tls = certificates if encrypted else (None, None)

    async def main():
        route = web.get("/square/{number}", square)
        async with serving(route, tls=server_tls) as url:
            connector = aiohttp.TCPConnector(ssl=client_tls or False, limit=20)
            async with aiohttp.ClientSession(connector=connector) as session:

                async def fetch(number):
                    async with session.get(f"{url}/square/{number}") as response:
                        return (await response.json())["square"]

                return await asyncio.gather(*map(fetch, range(100)))

    assert run(main()) == [number**2 for number in range(100)]


def test_bodies_stream_in_both_directions(run):
    chunks = [bytes([number]) * 50_000 for number in range(80)]

    async def mirror(request):
        response = web.StreamResponse()
        await response.prepare(request)
        async for chunk in request.content.iter_any():
            await response.write(chunk)
        await response.write_eof()
        return response

    async def upload():
        for chunk in chunks:
            yield chunk

    async def main():
        digest = hashlib.sha256()
        async with serving(web.post("/", mirror)) as url:
            async with aiohttp.ClientSession() as session:
                async with session.post(url, data=upload()) as response:
                    async for chunk in response.content.iter_any():
                        digest.update(chunk)
        return digest.hexdigest()

    assert run(main()) == hashlib.sha256(b"".join(chunks)).hexdigest()


def test_a_chat_over_websockets(run):
    async def room(request):
        socket = web.WebSocketResponse(heartbeat=30)
        await socket.prepare(request)
        request.app[ROOM].append(socket)
        if len(request.app[ROOM]) == 5:
            for number, member in enumerate(request.app[ROOM]):
                await member.send_json({"number": number, "members": 5})
        async for message in socket:
            for member in request.app[ROOM]:
                await member.send_str(message.data)
        return socket

    async def member(session, url):
        async with session.ws_connect(url) as socket:
            hello = await socket.receive_json()
            await socket.send_str(f"from {hello['number']}")
            return {(await socket.receive()).data for _ in range(hello["members"])}

    async def main():
        application = web.Application()
        application[ROOM] = []
        application.add_routes([web.get("/", room)])
        runner = web.AppRunner(application)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        url = f"ws://127.0.0.1:{runner.addresses[0][1]}"
        async with aiohttp.ClientSession() as session:
            heard = await asyncio.gather(*(member(session, url) for _ in range(5)))
        await runner.cleanup()
        return heard

    assert run(main()) == [{f"from {number}" for number in range(5)}] * 5


ROOM = web.AppKey("room", list)


def test_a_cancelled_request_ends_the_handler(run):
    async def main():
        arrived, cancelled = asyncio.Event(), asyncio.Event()

        async def never(request):
            arrived.set()
            try:
                await asyncio.Event().wait()
            finally:
                cancelled.set()

        route = web.get("/", never)
        async with serving(route, handler_cancellation=True) as url:
            async with aiohttp.ClientSession() as session:
                request = asyncio.ensure_future(session.get(url))
                await arrived.wait()
                request.cancel()
                await cancelled.wait()
                with pytest.raises(asyncio.CancelledError):
                    await request

    run(main())


def test_a_request_times_out(run):
    async def never(request):
        await asyncio.Event().wait()

    async def main():
        async with serving(web.get("/", never), handler_cancellation=True) as url:
            timeout = aiohttp.ClientTimeout(total=0.05)
            async with aiohttp.ClientSession(timeout=timeout) as session:
                with pytest.raises(asyncio.TimeoutError):
                    await session.get(url)

    run(main())


def test_a_slot_fetches_and_a_signal_tells(run, signals):
    async def main():
        async with serving(web.get("/square/{number}", square)) as url:
            async with aiohttp.ClientSession() as session:

                async def fetch(number):
                    async with session.get(f"{url}/square/{number}") as response:
                        signals.text.emit(await response.text())

                signals.number.connect(qtinter.asyncslot(fetch))
                async with qtinter.signalwait(signals.text) as answer:
                    signals.number.emit(12)
                    return await answer

    assert '"square": 144' in run(main())
