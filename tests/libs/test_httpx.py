"""httpx: an asynchronous client in a Qt application."""

import asyncio
import contextlib
import hashlib

import httpx
import pytest
from aiohttp import web


@contextlib.asynccontextmanager
async def serving(handler, tls=None):
    """Serves everything with the handler; gives the URL of the server."""
    application = web.Application()
    application.add_routes([web.route("*", "/{path:.*}", handler)])
    runner = web.AppRunner(application, handler_cancellation=True)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls).start()
        scheme = "https" if tls else "http"
        yield f"{scheme}://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


def client(**options):
    # trust_env: no proxy of the environment comes between us and the loopback.
    return httpx.AsyncClient(trust_env=False, **options)


@pytest.mark.parametrize("encrypted", [False, True], ids=["plain", "tls"])
def test_many_requests_share_connections(run, certificates, encrypted):
    server_tls, client_tls = certificates if encrypted else (None, True)

    async def main():
        peers = set()

        async def handler(request):
            peers.add(request.transport.get_extra_info("peername"))
            return web.json_response({"path": request.path})

        limits = httpx.Limits(max_connections=5)
        async with serving(handler, server_tls) as url:
            async with client(base_url=url, verify=client_tls, limits=limits) as http:
                answers = await asyncio.gather(*(http.get(f"/{n}") for n in range(50)))
        return [answer.json()["path"] for answer in answers], len(peers)

    paths, connections = run(main())
    assert paths == [f"/{number}" for number in range(50)]
    assert 1 <= connections <= 5


def test_bodies_stream_in_both_directions(run):
    chunks = [bytes([number]) * 40_000 for number in range(60)]

    async def mirror(request):
        response = web.StreamResponse()
        await response.prepare(request)
        async for chunk in request.content.iter_any():
            await response.write(chunk)
        return response

    async def upload():
        for chunk in chunks:
            yield chunk

    async def main():
        digest = hashlib.sha256()
        async with serving(mirror) as url, client() as http:
            async with http.stream("POST", url, content=upload()) as response:
                async for chunk in response.aiter_bytes():
                    digest.update(chunk)
        return digest.hexdigest()

    assert run(main()) == hashlib.sha256(b"".join(chunks)).hexdigest()


def test_a_read_times_out_and_the_client_goes_on(run):
    async def handler(request):
        if request.path == "/never":
            await asyncio.Event().wait()
        return web.Response(text="here")

    async def main():
        async with serving(handler) as url, client(base_url=url) as http:
            with pytest.raises(httpx.ReadTimeout):
                await http.get("/never", timeout=0.05)
            return (await http.get("/")).text

    assert run(main()) == "here"


def test_a_refused_connection(run, unused_port):
    async def main():
        async with client() as http:
            with pytest.raises(httpx.ConnectError):
                await http.get(f"http://127.0.0.1:{unused_port}/")

    run(main())


def test_cancelling_a_request_frees_its_connection(run):
    async def main():
        arrived = asyncio.Event()

        async def handler(request):
            if request.path == "/never":
                arrived.set()
                await asyncio.Event().wait()
            return web.Response(text="next")

        limits = httpx.Limits(max_connections=1)
        async with serving(handler) as url:
            async with client(base_url=url, limits=limits) as http:
                request = asyncio.ensure_future(http.get("/never"))
                await arrived.wait()
                request.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await request
                return (await http.get("/")).text

    assert run(main()) == "next"


def test_an_application_without_a_server(run):
    async def application(scope, receive, send):
        await asyncio.sleep(0)
        headers = [(b"content-type", b"text/plain")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": scope["path"].encode()})

    async def main():
        transport = httpx.ASGITransport(app=application)
        async with client(transport=transport, base_url="http://inside") as http:
            return (await http.get("/path")).text

    assert run(main()) == "/path"
