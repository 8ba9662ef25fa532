"""Everything asyncio does with descriptors, under Qt."""

import asyncio
import contextlib
import contextvars
import os
import pathlib
import signal
import socket
import ssl
import subprocess
import sys
import threading

import pytest

import qtinter
from qtinter import _core

from .driving import spin

SAFETY_NET = 30


@pytest.fixture
def own_certificate(tmp_path):
    """Contexts (server, client) of a certificate made for this test."""
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt",
         "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2", "-subj",
         "/CN=localhost", "-addext", "subjectAltName=DNS:localhost",
         "-keyout", str(key), "-out", str(certificate)],
        check=True, capture_output=True,
    )  # fmt: skip
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(certificate, key)
    client = ssl.create_default_context(cafile=str(certificate))
    return server, client


async def echo(reader, writer):
    data = await reader.read(65536)
    while data:
        writer.write(data)
        await writer.drain()
        data = await reader.read(65536)
    writer.close()
    await writer.wait_closed()


class EchoServer:
    """The callback of a server; its connections end before the server is closed.

    asyncio reports a connection whose task is cancelled at the end of the loop, and the
    report keeps the loop.
    """

    def __init__(self):
        self.tasks = []

    async def serve(self, reader, writer):
        self.tasks.append(asyncio.current_task())
        await echo(reader, writer)

    async def end(self, server):
        await asyncio.gather(*self.tasks)
        server.close()
        await server.wait_closed()


async def talk(reader, writer, size=300_000):
    """Send and get back *size* bytes."""
    data = bytes(range(256)) * (size // 256)
    writer.write(data)
    got = await reader.readexactly(len(data))
    writer.close()
    await writer.wait_closed()
    return got == data


def test_tcp(run_qt):
    async def main():
        echoes = EchoServer()
        server = await asyncio.start_server(echoes.serve, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]

        async def client():
            return await talk(*await asyncio.open_connection("127.0.0.1", port))

        results = await asyncio.gather(*(client() for _ in range(10)))
        await echoes.end(server)
        return results

    assert run_qt(main()) == [True] * 10


def test_tls(run_qt, own_certificate):
    server_context, client_context = own_certificate

    async def main():
        echoes = EchoServer()
        server = await asyncio.start_server(
            echoes.serve, "127.0.0.1", 0, ssl=server_context
        )
        port = server.sockets[0].getsockname()[1]
        streams = await asyncio.open_connection(
            "127.0.0.1", port, ssl=client_context, server_hostname="localhost"
        )
        assert streams[1].get_extra_info("ssl_object").version() == "TLSv1.3"
        result = await talk(*streams)
        await echoes.end(server)
        return result

    assert run_qt(main())


def test_unix_sockets(run_qt, tmp_path):
    path = str(tmp_path / "socket")

    async def main():
        echoes = EchoServer()
        server = await asyncio.start_unix_server(echoes.serve, path)
        result = await talk(*await asyncio.open_unix_connection(path))
        await echoes.end(server)
        return result

    assert run_qt(main())


def test_udp(run_qt):
    class Echo(asyncio.DatagramProtocol):
        def connection_made(self, transport):
            self.transport = transport

        def datagram_received(self, data, address):
            self.transport.sendto(data.upper(), address)

    class Client(asyncio.DatagramProtocol):
        def __init__(self):
            self.got = asyncio.get_running_loop().create_future()

        def datagram_received(self, data, address):
            self.got.set_result(data)

    async def main():
        loop = asyncio.get_running_loop()
        server, _ = await loop.create_datagram_endpoint(Echo, ("127.0.0.1", 0))
        address = server.get_extra_info("sockname")
        client, protocol = await loop.create_datagram_endpoint(
            Client, remote_addr=address
        )
        client.sendto(b"hello")
        got = await protocol.got
        client.close()
        server.close()
        await asyncio.sleep(0)
        return got

    assert run_qt(main()) == b"HELLO"


def test_subprocess(run_qt):
    async def main():
        code = "import sys; print(sys.stdin.read().upper(), end=''); sys.exit(7)"
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", code,
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
        )  # fmt: skip
        out, _ = await process.communicate(b"hello")
        killed = await asyncio.create_subprocess_exec("sleep", "60")
        killed.kill()
        return out, process.returncode, await killed.wait()

    assert run_qt(main()) == (b"HELLO", 7, -signal.SIGKILL)


def test_pipes(run_qt):
    async def main():
        loop = asyncio.get_running_loop()
        read_fd, write_fd = os.pipe()
        reader = asyncio.StreamReader()
        source, _ = await loop.connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(read_fd, "rb", 0)
        )
        sink, _ = await loop.connect_write_pipe(
            asyncio.Protocol, os.fdopen(write_fd, "wb", 0)
        )
        sink.write(b"x" * 200_000)
        sink.close()
        data = await reader.read()
        source.close()
        return len(data)

    assert run_qt(main()) == 200_000


def test_signals(run_qt):
    async def main():
        loop = asyncio.get_running_loop()
        got = loop.create_future()
        loop.add_signal_handler(signal.SIGUSR1, got.set_result, "signal")
        os.kill(os.getpid(), signal.SIGUSR1)
        try:
            return await got
        finally:
            loop.remove_signal_handler(signal.SIGUSR1)

    assert run_qt(main()) == "signal"


def test_executor_and_names(run_qt):
    async def main():
        loop = asyncio.get_running_loop()
        thread = await loop.run_in_executor(None, threading.get_ident)
        assert thread != threading.get_ident()
        if sys.version_info >= (3, 9):
            assert await asyncio.to_thread(sum, [1, 2, 3]) == 6
        with pytest.raises(LookupError):
            await loop.run_in_executor(None, [].__getitem__ and {}.popitem)
        found = await loop.getaddrinfo("localhost", 80, type=socket.SOCK_STREAM)
        assert found
        return (await loop.getnameinfo(("127.0.0.1", 80)))[1]

    assert run_qt(main()) in ("http", "80")


def test_sendfile_and_socket_methods(run_qt, tmp_path):
    path = tmp_path / "file"
    path.write_bytes(os.urandom(200_000))

    async def main():
        loop = asyncio.get_running_loop()
        listener = socket.socket()
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        listener.setblocking(False)
        client = socket.socket()
        client.setblocking(False)
        accepting = asyncio.ensure_future(loop.sock_accept(listener))
        await loop.sock_connect(client, listener.getsockname())
        server, _ = await accepting
        with listener, client, server, path.open("rb") as file:
            sending = asyncio.ensure_future(loop.sock_sendfile(server, file))
            got = bytearray()
            while len(got) < 200_000:
                got += await loop.sock_recv(client, 65536)
            await sending
            return bytes(got) == path.read_bytes()

    assert run_qt(main())


def test_both_directions_of_one_descriptor(run_qt):
    async def main():
        loop = asyncio.get_running_loop()
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        log, done = [], loop.create_future()

        def readable():
            log.append(ours.recv(10))
            loop.remove_reader(ours)
            done.set_result(None)

        def writable():
            log.append("writable")
            assert loop.remove_writer(ours)
            theirs.send(b"data")

        with ours, theirs:
            loop.add_reader(ours, print, "replaced")
            loop.add_reader(ours, readable)
            loop.add_writer(ours, writable)
            await done
            assert loop.remove_reader(ours) is False
            assert loop.remove_writer(ours) is False
        return log

    assert run_qt(main()) == ["writable", b"data"]


def test_more_descriptors_than_one_poll_reports(run_qt):
    async def main():
        loop = asyncio.get_running_loop()
        pairs = [socket.socketpair() for _ in range(200)]
        got, done = set(), loop.create_future()

        def readable(i):
            pairs[i][0].recv(1)
            got.add(i)
            if len(got) == len(pairs):
                done.set_result(None)

        for i, (ours, theirs) in enumerate(pairs):
            loop.add_reader(ours, readable, i)
            theirs.send(b"x")
        await done
        for ours, theirs in pairs:
            loop.remove_reader(ours)
            ours.close()
            theirs.close()
        return len(got)

    assert run_qt(main()) == 200


@pytest.mark.skipif(
    _core.poller == "thread", reason="this poller has a thread (docs/platforms.md)"
)
def test_no_thread_exists_for_io(run_qt):
    def threads():
        return threading.active_count(), len(os.listdir("/proc/self/task"))

    async def main():
        await asyncio.sleep(0.001)
        return threads()

    before = threads()
    # Threads of earlier tests may end meanwhile.
    assert all(now <= then for now, then in zip(run_qt(main()), before))


# asyncio's transports pass a context from 3.15 on.


def test_a_watch_runs_in_the_context_it_was_given(run_qt):
    variable = contextvars.ContextVar("variable")
    context = contextvars.copy_context()
    context.run(variable.set, "ours")

    async def main():
        loop = asyncio.get_running_loop()
        ours, theirs = socket.socketpair()
        seen = []
        with ours, theirs:
            for direction, sock in (("reader", ours), ("writer", theirs)):
                done = loop.create_future()

                def ready(direction=direction, sock=sock, done=done):
                    seen.append(variable.get(None))
                    getattr(loop, "_remove_" + direction)(sock)
                    done.set_result(None)

                theirs.send(b"x")
                getattr(loop, "_add_" + direction)(sock, ready, context=context)
                await done
        return seen

    assert run_qt(main()) == ["ours", "ours"]


@pytest.mark.parametrize(
    ("keyword", "message"),
    [
        ({"contxt": None}, "unexpected keyword argument 'contxt'"),
        ({"context": 3}, "must be a contextvars.Context, not int"),
    ],
)
@pytest.mark.parametrize("name", ["_add_reader", "_add_writer"])
def test_a_watch_refuses_other_keywords(name, keyword, message):
    with contextlib.closing(qtinter.new_event_loop()) as loop:
        ours, theirs = socket.socketpair()
        with ours, theirs:
            with pytest.raises(TypeError, match=f"{name}.*{message}"):
                getattr(loop, name)(ours, print, **keyword)
            assert not getattr(loop, name.replace("add", "remove"))(ours)


# --- from slots ----------------------------------------------------------------------


def test_add_reader_from_a_slot(app, QtCore):
    ours, theirs = socket.socketpair()
    got = []
    with ours, theirs, qtinter.using_asyncio_from_qt() as loop:
        QtCore.QTimer.singleShot(
            0, lambda: loop.add_reader(ours, lambda: got.append(ours.recv(10)))
        )
        QtCore.QTimer.singleShot(2, lambda: theirs.send(b"one"))
        spin(lambda: got)
        theirs.send(b"two")
        spin(lambda: len(got) == 2)
        loop.remove_reader(ours)
    assert got == [b"one", b"two"]


def test_many_call_soon_from_a_slot_cost_one_wakeup(app, QtCore):
    ran = []
    with qtinter.using_asyncio_from_qt() as loop:
        loop.call_soon(ran.append, "first")
        spin(lambda: ran)
        ran.clear()
        before = loop.statistics()

        def slot():
            for i in range(1000):
                loop.call_soon(ran.append, i)

        QtCore.QTimer.singleShot(0, slot)
        spin(lambda: len(ran) == 1000)
        after = loop.statistics()
    assert after["wakeups"] - before["wakeups"] == 1
    assert ran == list(range(1000))


def test_a_reader_whose_descriptor_was_closed(app, QtCore):
    """As in asyncio it is just never ready; the loop goes on and Qt does not spin."""
    ours, theirs = socket.socketpair()
    with theirs, qtinter.using_asyncio_from_qt() as loop:
        fd = ours.fileno()
        loop.add_reader(fd, print)
        ours.close()
        ran = []
        loop.call_later(0.005, ran.append, 1)
        spin(lambda: ran)
        turns = loop.statistics()["turns"]
        assert turns < 20
        assert loop.remove_reader(fd) is True


@pytest.mark.parametrize("direction", ["reader", "writer"])
def test_a_watched_socket_that_was_closed_is_found(run, direction):
    """Libraries close a socket first and remove its callback then, as anyio does."""

    async def main():
        loop = asyncio.get_running_loop()
        add = getattr(loop, f"add_{direction}")
        remove = getattr(loop, f"remove_{direction}")
        ours, other = socket.socketpair()
        stranger = socket.socket()
        stranger.close()
        with ours, other:
            add(ours, pytest.fail, "the peer was silent")
            remove(ours)
            add(ours, lambda: None)
            ours.close()
            removed = remove(ours)
        with pytest.raises(ValueError, match="Invalid file"):
            remove(ours)
        with pytest.raises(ValueError, match="Invalid file"):
            remove(stranger)
        return removed

    assert run(main()) is True


def test_a_hung_up_descriptor_in_a_bare_nested_loop_does_not_spin(app, QtCore):
    """Readable all the time, and asyncio is paused: Qt must sleep."""
    ours, theirs = socket.socketpair()
    turns = []
    with ours, theirs, qtinter.using_asyncio_from_qt() as loop:
        loop.add_reader(ours, lambda: loop.remove_reader(ours))
        done = []

        def callback():
            theirs.send(b"x")
            rounds = []
            dispatcher = QtCore.QAbstractEventDispatcher.instance()

            def count():
                rounds.append(1)

            dispatcher.awake.connect(count)
            qt_loop = QtCore.QEventLoop()
            QtCore.QTimer.singleShot(30, qt_loop.quit)
            qt_loop.exec()
            dispatcher.awake.disconnect(count)
            turns.append(len(rounds))
            done.append(1)

        loop.call_soon(callback)
        spin(lambda: done)
    assert turns[0] < 20, "the Qt loop went round and round"


def test_an_idle_loop_sleeps(run_isolated):
    result = run_isolated("idle.py")
    assert (result.returncode, result.stderr) == (0, "")
    switches, turns = map(int, result.stdout.split())
    assert switches <= 2
    assert turns == 0


def test_paths_of_proc_exist():
    """The counts above mean something only where /proc tells."""
    assert pathlib.Path("/proc/self/task").is_dir()


@pytest.mark.parametrize("mode", ["attached", "nested"])
@pytest.mark.skipif(sys.platform == "win32", reason="no limit of descriptors to set")
@pytest.mark.skipif(
    "QTINTER_SANITIZED" in os.environ,
    reason="UBSan's check of a C++ object needs a pipe, and reports a bad one without",
)
def test_a_server_without_descriptors_tries_again(run_isolated, mode):
    result = run_isolated("no_descriptors_left.py", mode)
    assert result.returncode == 0, result.stderr
    *reports, end = result.stdout.splitlines()
    assert reports == ["socket.accept() out of system resource"] * 2
    assert end == "served b''"
