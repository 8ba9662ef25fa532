"""The transports, whose hot part is in C: they are asyncio's, seen from outside.

Each behaviour is tested on plain asyncio, too: what is expected is not ours alone.
"""

import asyncio
import contextlib
import gc
import os
import socket
import struct
import sys
from asyncio import selector_events

import pytest

import qtinter
from qtinter import _core
from qtinter._streams import ReadPipeTransport, SocketTransport

SAFETY_NET = 30

pytestmark = pytest.mark.skipif(
    not hasattr(_core, "stream_write"), reason="the transports of Windows are others"
)


def run_plain(main):
    loop = asyncio.SelectorEventLoop()
    try:
        return loop.run_until_complete(main)
    finally:
        loop.close()


@pytest.fixture(params=["asyncio", "qtinter"])
def run(request, app):
    return run_plain if request.param == "asyncio" else qtinter.run


class Recorder(asyncio.Protocol):
    """Keeps what comes, and tells of it."""

    def __init__(self):
        loop = asyncio.get_running_loop()
        self.data = []
        self.calls = []
        self.lost = loop.create_future()
        self.news = asyncio.Event()

    def connection_made(self, transport):
        self.transport = transport

    def data_received(self, data):
        assert type(data) is bytes
        self.data.append(data)
        self.news.set()

    def eof_received(self):
        self.calls.append("eof")
        self.news.set()

    def pause_writing(self):
        self.calls.append("pause")

    def resume_writing(self):
        self.calls.append("resume")
        self.news.set()

    def connection_lost(self, exc):
        self.calls.append("lost")
        if not self.lost.done():
            self.lost.set_result(exc)

    async def until(self, condition):
        """Waits until something that came makes the condition true."""
        while not condition():
            self.news.clear()
            await asyncio.wait_for(self.news.wait(), SAFETY_NET)


@contextlib.asynccontextmanager
async def connection(sock=None, protocol=Recorder):
    """A protocol on one end of a connection, the socket of the other end."""
    here, there = socket.socketpair() if sock is None else sock
    there.setblocking(False)
    loop = asyncio.get_running_loop()
    transport, made = await loop.create_connection(protocol, sock=here)
    try:
        yield made, there
    finally:
        there.close()
        transport.abort()
        await asyncio.sleep(0)
        await asyncio.sleep(0)


async def receive_all(sock, size):
    loop = asyncio.get_running_loop()
    got = b""
    while len(got) < size:
        data = await asyncio.wait_for(loop.sock_recv(sock, 1 << 20), SAFETY_NET)
        assert data, "the connection ended too early"
        got += data
    return got


def test_connections_have_the_transport_with_its_hot_part_in_c(app):
    async def main():
        async with connection() as (protocol, _there):
            assert type(protocol.transport) is SocketTransport
            assert isinstance(
                protocol.transport, selector_events._SelectorSocketTransport
            )

    qtinter.run(main())


def test_a_replaced_class_of_asyncio_is_used(app, monkeypatch):
    class Other(selector_events._SelectorSocketTransport):
        pass

    async def main():
        async with connection() as (protocol, _there):
            return type(protocol.transport)

    monkeypatch.setattr(selector_events, "_SelectorSocketTransport", Other)
    assert qtinter.run(main()) is Other


def test_data_come_as_they_were_sent(run):
    async def main():
        async with connection() as (protocol, there):
            there.send(b"one")
            await protocol.until(lambda: protocol.data == [b"one"])
            there.send(b"two")
            await protocol.until(lambda: protocol.data == [b"one", b"two"])

    run(main())


def test_no_read_takes_more_than_max_size(run):
    async def main():
        async with connection() as (protocol, there):
            protocol.transport.max_size = 4
            there.send(b"abcdefghij")
            await protocol.until(lambda: len(b"".join(protocol.data)) == 10)
            assert protocol.data == [b"abcd", b"efgh", b"ij"]

    run(main())


@pytest.mark.parametrize("wrong", ["4", None, 2.5, 10**30])
def test_a_max_size_that_is_none_ends_the_connection(run, wrong):
    async def main():
        asyncio.get_running_loop().set_exception_handler(lambda loop, context: None)
        async with connection() as (protocol, there):
            protocol.transport.max_size = wrong
            there.send(b"x")
            return await asyncio.wait_for(protocol.lost, SAFETY_NET)

    assert isinstance(run(main()), (TypeError, OverflowError))


def test_a_max_size_of_zero_reads_an_end_of_file(run):
    async def main():
        async with connection() as (protocol, there):
            protocol.transport.max_size = 0
            there.send(b"x")
            assert await asyncio.wait_for(protocol.lost, SAFETY_NET) is None
            assert protocol.calls == ["eof", "lost"]

    run(main())


@pytest.mark.parametrize(
    "data",
    [
        b"bytes",
        bytearray(b"bytearray"),
        memoryview(b"memoryview"),
        memoryview(struct.pack("=3I", 1, 2, 3)).cast("I"),
    ],
    ids=["bytes", "bytearray", "memoryview", "of integers"],
)
def test_what_can_be_written(run, data):
    expected = bytes(data) if type(data) is not memoryview else data.tobytes()

    async def main():
        async with connection() as (protocol, there):
            protocol.transport.write(data)
            return await receive_all(there, len(expected))

    assert run(main()) == expected


def test_a_view_with_holes_ends_the_connection(run):
    async def main():
        asyncio.get_running_loop().set_exception_handler(lambda loop, context: None)
        async with connection() as (protocol, _there):
            protocol.transport.write(memoryview(b"every second")[::2])
            return await asyncio.wait_for(protocol.lost, SAFETY_NET)

    assert isinstance(run(main()), BufferError)


@pytest.mark.parametrize("wrong", ["text", 3, None, [b"x"]])
def test_what_cannot_be_written(run, wrong):
    async def main():
        async with connection() as (protocol, there):
            # What asyncio says; the latter from 3.14 on.
            words = "bytes-like|a bytes, bytearray, or memoryview object, not"
            with pytest.raises(TypeError, match=words):
                protocol.transport.write(wrong)
            protocol.transport.write(b"")
            protocol.transport.write(b"right")
            assert await receive_all(there, 5) == b"right"

    run(main())


def test_wrong_numbers_of_arguments(app):
    async def main():
        async with connection() as (protocol, _there):
            for method in ("write", "_read_ready", "_read_ready__data_received"):
                with pytest.raises(TypeError, match=method):
                    getattr(protocol.transport, method)(1, 2)

    qtinter.run(main())


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_what_does_not_fit_is_sent_later_and_in_order(run, kind):
    chunks = [bytes([i]) * 300_000 for i in range(8)]

    async def main():
        async with connection() as (protocol, there):
            for chunk in chunks:
                protocol.transport.write(kind(chunk))
            assert protocol.transport.get_write_buffer_size() > 0
            got = await receive_all(there, 8 * 300_000)
            await protocol.until(lambda: protocol.calls[-1:] == ["resume"])
            assert protocol.transport.get_write_buffer_size() == 0
            protocol.transport.write(b"more")
            got += await receive_all(there, 4)
            return got, list(protocol.calls)

    got, calls = run(main())
    assert got == b"".join(chunks) + b"more"
    assert calls == ["pause", "resume"]


def test_a_part_is_sent_and_the_rest_is_queued(run):
    """A buffer that takes only some of it: no byte is sent twice, none is lost."""

    async def main():
        here, there = socket.socketpair()
        here.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        data = os.urandom(1_000_000)
        async with connection((here, there)) as (protocol, _):
            protocol.transport.write(data)
            left = protocol.transport.get_write_buffer_size()
            assert 0 < left < len(data)
            assert await receive_all(there, len(data)) == data

    run(main())


def test_a_change_of_the_written_bytearray_does_no_harm(run):
    async def main():
        async with connection() as (protocol, there):
            data = bytearray(b"x" * 10)
            protocol.transport.write(data)
            data[:] = b"y" * 20  # a buffer that is still held could not grow
            return await receive_all(there, 10)

    assert run(main()) == b"x" * 10


def test_end_of_file(run):
    async def main():
        async with connection() as (protocol, there):
            there.send(b"last")
            there.shutdown(socket.SHUT_WR)
            assert await asyncio.wait_for(protocol.lost, SAFETY_NET) is None
            assert protocol.data == [b"last"]
            assert protocol.calls == ["eof", "lost"]

    run(main())


def test_the_protocol_may_keep_it_open_after_the_end_of_file(run):
    class Keeper(Recorder):
        def eof_received(self):
            super().eof_received()
            return True

    async def main():
        async with connection(protocol=Keeper) as (protocol, there):
            there.shutdown(socket.SHUT_WR)
            await protocol.until(lambda: protocol.calls == ["eof"])
            protocol.transport.write(b"answer")
            return await receive_all(there, 6)

    assert run(main()) == b"answer"


def test_writing_after_write_eof(run):
    async def main():
        async with connection() as (protocol, _there):
            protocol.transport.write_eof()
            with pytest.raises(RuntimeError, match="write_eof"):
                protocol.transport.write(b"x")

    run(main())


def test_a_reset_is_told_to_the_protocol(run):
    async def main():
        server = socket.socket()
        server.bind(("127.0.0.1", 0))
        server.listen()
        here = socket.create_connection(server.getsockname())
        there, _ = server.accept()
        server.close()
        async with connection((here, there)) as (protocol, _):
            linger = struct.pack("ii", 1, 0)
            there.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            there.close()
            return await asyncio.wait_for(protocol.lost, SAFETY_NET)

    assert isinstance(run(main()), ConnectionResetError)


def test_a_write_to_nobody_is_told_to_the_protocol(run):
    async def main():
        async with connection() as (protocol, there):
            protocol.transport.pause_reading()
            there.close()
            protocol.transport.write(b"x")
            lost = await asyncio.wait_for(protocol.lost, SAFETY_NET)
            for _ in range(3):
                protocol.transport.write(b"into the void")
            return lost

    assert isinstance(run(main()), BrokenPipeError)


def test_an_exception_of_the_protocol_ends_the_connection(run):
    class Failing(Recorder):
        def data_received(self, data):
            raise ZeroDivisionError

    async def main():
        found = []
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda loop, context: found.append(context))
        async with connection(protocol=Failing) as (protocol, there):
            there.send(b"x")
            lost = await asyncio.wait_for(protocol.lost, SAFETY_NET)
        (context,) = found
        assert context["exception"] is lost
        assert "data_received() call failed" in context["message"]
        assert context["protocol"] is protocol
        return lost

    assert isinstance(run(main()), ZeroDivisionError)


@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit])
@pytest.mark.skipif(sys.version_info < (3, 8), reason="3.7 ends only the connection")
def test_an_interrupt_in_the_protocol_leaves_the_loop(app, kind):
    class Interrupted(Recorder):
        def data_received(self, data):
            raise kind

    async def main():
        async with connection(protocol=Interrupted) as (protocol, there):
            there.send(b"x")
            await asyncio.wait_for(protocol.lost, SAFETY_NET)

    with pytest.raises(kind):
        qtinter.run(main())


def test_pausing_and_resuming(run):
    async def main():
        async with connection() as (protocol, there):
            protocol.transport.pause_reading()
            there.send(b"x")
            for _ in range(10):
                await asyncio.sleep(0)
            assert protocol.data == []
            protocol.transport.resume_reading()
            await protocol.until(lambda: protocol.data == [b"x"])

    run(main())


def test_another_protocol_takes_over(run):
    class Buffered(asyncio.BufferedProtocol):
        def __init__(self):
            self.buffer = bytearray(100)
            self.got = asyncio.get_running_loop().create_future()

        def get_buffer(self, sizehint):
            return self.buffer

        def buffer_updated(self, nbytes):
            self.got.set_result(bytes(self.buffer[:nbytes]))

    async def main():
        async with connection() as (protocol, there):
            there.send(b"one")
            await protocol.until(lambda: protocol.data == [b"one"])
            other = Buffered()
            protocol.transport.set_protocol(other)
            there.send(b"two")
            assert await asyncio.wait_for(other.got, SAFETY_NET) == b"two"
            protocol.transport.set_protocol(protocol)
            there.send(b"three")
            await protocol.until(lambda: protocol.data == [b"one", b"three"])

    run(main())


def test_sockets_of_a_class_of_ones_own_do_it_themselves(run):
    class Counting(socket.socket):
        received = sent = 0

        def recv(self, *args):
            type(self).received += 1
            return super().recv(*args)

        def send(self, *args):
            type(self).sent += 1
            return super().send(*args)

    async def main():
        here, there = socket.socketpair()
        counting = Counting(here.family, here.type, here.proto, here.detach())
        async with connection((counting, there)) as (protocol, _):
            there.send(b"in")
            await protocol.until(lambda: protocol.data == [b"in"])
            protocol.transport.write(b"out")
            assert await receive_all(there, 3) == b"out"
        return Counting.received, Counting.sent

    received, sent = run(main())
    assert received >= 1
    assert sent == 1


def test_a_method_of_a_subclass_is_called(app):
    """Whoever overrides what asyncio calls is asked."""
    seen = []

    class Watching(SocketTransport):
        def _read_ready__data_received(self):
            seen.append("read")
            super()._read_ready__data_received()

    class Loop(qtinter.QiSelectorEventLoop):
        def _make_socket_transport(self, sock, protocol, waiter=None, **options):
            return Watching(self, sock, protocol, waiter, **options)

    async def main():
        async with connection() as (protocol, there):
            there.send(b"x")
            await protocol.until(lambda: protocol.data == [b"x"])

    loop = Loop()
    try:
        loop.run_until_complete(main())
    finally:
        loop.close()
    assert seen == ["read"]


def test_what_others_set_is_seen(run):
    """Attributes of asyncio's that have a fixed place here."""

    async def main():
        async with connection() as (protocol, there):
            transport = protocol.transport
            other = Recorder()
            transport._protocol = other
            there.send(b"x")
            await other.until(lambda: other.data == [b"x"])
            transport._eof = True
            with pytest.raises(RuntimeError, match="write_eof"):
                transport.write(b"y")
            transport._eof = False
            transport._conn_lost = 1
            transport.write(b"nobody gets it")
            transport._conn_lost = 0
            transport.write(b"y")
            assert await receive_all(there, 1) == b"y"

    run(main())


@pytest.mark.skipif(sys.version_info < (3, 8), reason="sys.unraisablehook is of 3.8")
@pytest.mark.parametrize("kind", ["asyncio", "qtinter"])
def test_a_transport_that_could_not_be_made_says_nothing_more(app, monkeypatch, kind):
    classes = {
        "asyncio": selector_events._SelectorSocketTransport,
        "qtinter": SocketTransport,
    }
    unraisable = []
    monkeypatch.setattr(sys, "unraisablehook", unraisable.append)

    async def main():
        with pytest.raises(AttributeError):
            classes[kind](asyncio.get_running_loop(), object(), Recorder())
        gc.collect()

    qtinter.run(main())
    assert unraisable == []


def test_the_class_has_to_have_the_slots(app):
    class Without:
        __slots__ = _core.stream_slots()[1:]

    for wrong in (3, Without, selector_events._SelectorSocketTransport):
        with pytest.raises(TypeError, match=r"takes a class|has no slot"):
            _core.stream_set_class(wrong)
    test_connections_have_the_transport_with_its_hot_part_in_c(app)


def test_a_socket_that_was_closed_behind_its_back(run):
    async def main():
        async with connection() as (protocol, _there):
            # Not to be told by the selector first.
            protocol.transport.pause_reading()
            protocol.transport._sock.close()
            protocol.transport.write(b"x")
            return await asyncio.wait_for(protocol.lost, SAFETY_NET)

    assert isinstance(run(main()), OSError)


# --- pipes ---------------------------------------------------------------------------


@contextlib.asynccontextmanager
async def pipe():
    """A protocol on the reading end of a pipe, the writing end as a file."""
    reading, writing = os.pipe()
    reader, writer = os.fdopen(reading, "rb", 0), os.fdopen(writing, "wb", 0)
    loop = asyncio.get_running_loop()
    transport, protocol = await loop.connect_read_pipe(Recorder, reader)
    try:
        yield protocol, writer
    finally:
        writer.close()
        transport.close()
        await asyncio.sleep(0)
        await asyncio.sleep(0)


def test_pipes_have_the_transport_with_its_hot_part_in_c(app):
    async def main():
        async with pipe() as (protocol, _writer):
            assert type(protocol.transport) is ReadPipeTransport

    qtinter.run(main())


def test_what_is_written_into_a_pipe_comes_out(run):
    async def main():
        async with pipe() as (protocol, writer):
            protocol.transport.max_size = 4
            writer.write(b"abcdefghij")
            await protocol.until(lambda: len(b"".join(protocol.data)) == 10)
            assert protocol.data == [b"abcd", b"efgh", b"ij"]
            writer.close()
            await asyncio.wait_for(protocol.lost, SAFETY_NET)
            assert protocol.calls == ["eof", "lost"]

    run(main())


def test_an_exception_of_a_pipes_protocol_is_reported(run):
    class Failing(Recorder):
        def data_received(self, data):
            super().data_received(data)
            raise ZeroDivisionError

    async def main():
        found = []
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda loop, context: found.append(context))
        async with pipe() as (protocol, writer):
            failing = Failing()
            protocol.transport.set_protocol(failing)
            writer.write(b"x")
            await failing.until(lambda: failing.data == [b"x"])
            await asyncio.sleep(0)
            writer.write(b"y")  # the pipe goes on
            await failing.until(lambda: failing.data == [b"x", b"y"])
            await asyncio.sleep(0)
        for context in found:  # the class is in the message, whichever it is
            assert "ReadPipeTransport._read_ready" in context["message"]
        return [type(context["exception"]) for context in found]

    assert run(main()) == [ZeroDivisionError, ZeroDivisionError]
