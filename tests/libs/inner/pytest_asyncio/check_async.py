"""Asynchronous tests and fixtures on our loop."""

import asyncio

import pytest
import pytest_asyncio

import qtinter
from qtinter.bindings import QtCore


def running_loop():
    loop = asyncio.get_running_loop()
    assert type(loop) is qtinter.QiDefaultEventLoop
    return loop


@pytest_asyncio.fixture
async def server():
    async def echo(reader, writer):
        writer.write(await reader.readline())
        writer.close()

    running_loop()
    server = await asyncio.start_server(echo, "127.0.0.1", 0)
    yield server.sockets[0].getsockname()[1]
    server.close()
    await server.wait_closed()


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def shared():
    return running_loop()


async def test_the_loop():
    running_loop()


async def test_a_fixture_that_serves(server):
    reader, writer = await asyncio.open_connection("127.0.0.1", server)
    writer.write(b"line\n")
    assert await reader.read() == b"line\n"
    writer.close()
    await writer.wait_closed()


async def test_qt_timers_run():
    timer = QtCore.QTimer()
    timer.start(1)
    for _ in range(3):
        await qtinter.asyncsignal(timer.timeout)
    timer.stop()


@pytest.mark.parametrize("delay", [0, 0.001])
async def test_parameters(delay):
    assert await asyncio.sleep(delay, "result") == "result"


@pytest.mark.asyncio(loop_scope="module")
async def test_one_loop_for_the_module(shared):
    assert running_loop() is shared


@pytest.mark.asyncio(loop_scope="module")
async def test_the_same_loop_again(shared):
    assert running_loop() is shared


async def test_timeouts():
    with pytest.raises(asyncio.TimeoutError):
        await asyncio.wait_for(asyncio.Event().wait(), 0.01)


async def test_subprocesses():
    process = await asyncio.create_subprocess_exec(
        "cat", stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    assert (await process.communicate(b"data"))[0] == b"data"
