"""anyio: structured concurrency, sockets, threads and processes on our loop."""

import asyncio
import os
import signal
import sys
import threading

import anyio
import anyio.abc
import anyio.from_thread
import anyio.lowlevel
import anyio.to_thread
import pytest
from anyio.streams.tls import TLSListener

import qtinter

QTINTER_LOOP = {"loop_factory": qtinter.new_event_loop}


def test_a_failing_task_cancels_its_group(run):
    async def main():
        ended = []

        async def wait_for_ever(name):
            try:
                await anyio.sleep_forever()
            finally:
                ended.append(name)

        async def fail():
            await anyio.sleep(0.01)
            raise LookupError("one of three")

        with pytest.raises(Exception) as caught:
            async with anyio.create_task_group() as group:
                group.start_soon(wait_for_ever, "a")
                group.start_soon(wait_for_ever, "b")
                group.start_soon(fail)
        return ended, caught.value

    ended, error = run(main())
    assert sorted(ended) == ["a", "b"]
    assert [type(inner) for inner in error.exceptions] == [LookupError]


def test_scopes_time_out_from_the_inside_out(run):
    async def main():
        order = []
        with anyio.move_on_after(60) as outer:
            with anyio.move_on_after(0.01) as inner:
                await anyio.sleep_forever()
            order.append("inner")
            with pytest.raises(TimeoutError):
                with anyio.fail_after(0.01):
                    await anyio.sleep_forever()
            order.append("failed")
            outer.cancel()
            await anyio.sleep_forever()
        return order, inner.cancelled_caught, outer.cancelled_caught

    assert run(main()) == (["inner", "failed"], True, True)


@pytest.mark.parametrize("encrypted", [False, True], ids=["plain", "tls"])
def test_twenty_clients_of_a_listener(run, certificates, encrypted):
    server_tls, client_tls = certificates

    async def reply(stream):
        async with stream:
            async for data in stream:
                await stream.send(data.upper())

    async def main():
        answers = {}
        listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
        port = listener.extra(anyio.abc.SocketAttribute.local_port)
        if encrypted:
            listener = TLSListener(listener, server_tls, standard_compatible=False)

        async def ask(number):
            stream = await anyio.connect_tcp(
                "127.0.0.1",
                port,
                ssl_context=client_tls if encrypted else None,
                tls_standard_compatible=False,
            )
            async with stream:
                await stream.send(b"hello %d" % number)
                answers[number] = await stream.receive()

        async with listener, anyio.create_task_group() as server:
            server.start_soon(listener.serve, reply)
            async with anyio.create_task_group() as clients:
                for number in range(20):
                    clients.start_soon(ask, number)
            server.cancel_scope.cancel()
        return answers

    assert run(main()) == {number: b"HELLO %d" % number for number in range(20)}


def test_udp_and_unix_sockets(run, tmp_path):
    async def main():
        async with await anyio.create_udp_socket(local_host="127.0.0.1") as receiver:
            port = receiver.extra(anyio.abc.SocketAttribute.local_port)
            async with await anyio.create_connected_udp_socket(
                "127.0.0.1", port
            ) as sender:
                await sender.send(b"datagram")
                datagram, _ = await receiver.receive()
        path = tmp_path / "socket"
        async with await anyio.create_unix_listener(path) as listener:

            async def greet(stream):
                async with stream:
                    await stream.send(b"stream")

            async with anyio.create_task_group() as group:
                group.start_soon(listener.serve, greet)
                async with await anyio.connect_unix(path) as stream:
                    streamed = await stream.receive()
                group.cancel_scope.cancel()
        return datagram, streamed

    assert run(main()) == (b"datagram", b"stream")


def test_threads_call_back(run):
    async def main():
        async def double(number):
            await anyio.lowlevel.checkpoint()
            return 2 * number

        def work(number):
            return anyio.from_thread.run(double, number)

        results = {}

        async def in_thread(number):
            results[number] = await anyio.to_thread.run_sync(work, number)

        async with anyio.create_task_group() as group:
            for number in range(30):
                group.start_soon(in_thread, number)
        return results

    assert run(main()) == {number: 2 * number for number in range(30)}
    for thread in threading.enumerate():
        if thread.name.startswith("AnyIO worker"):
            thread.join()  # it has been told to end; until then it keeps the loop


def test_processes(run):
    async def main():
        script = "import sys; print(sys.stdin.read()[::-1]); print(1, file=sys.stderr)"
        ended = await anyio.run_process([sys.executable, "-c", script], input=b"abc")
        return ended.stdout.split(), ended.stderr.split()

    assert run(main()) == ([b"cba"], [b"1"])


def test_worker_processes(run_program):
    """In a process of its own: anyio keeps a loop that used its workers for ever."""
    assert run_program("anyio_workers.py") == "attached: 2 workers, 8 answers\n"


def test_signals_of_the_system(run):
    async def main():
        with anyio.open_signal_receiver(signal.SIGUSR1, signal.SIGUSR2) as arrivals:
            os.kill(os.getpid(), signal.SIGUSR2)
            async for arrival in arrivals:
                return arrival

    assert run(main()) == signal.SIGUSR2


def test_a_slot_feeds_a_memory_stream(run, signals):
    async def main():
        send, receive = anyio.create_memory_object_stream(0)
        signals.number.connect(qtinter.asyncslot(send.send))
        received = []
        async with anyio.create_task_group() as group:

            async def consume():
                for _ in range(3):
                    received.append(await receive.receive())

            group.start_soon(consume)
            for number in range(3):
                signals.number.emit(number)
        send.close()
        receive.close()
        return received

    assert run(main()) == [0, 1, 2]


# --- loops that anyio makes ----------------------------------------------------------


def test_anyio_runs_our_loop(app):
    async def main():
        await anyio.sleep(0.001)
        return type(asyncio.get_running_loop())

    result = anyio.run(main, backend="asyncio", backend_options=QTINTER_LOOP)
    assert result is qtinter.QiDefaultEventLoop


def test_a_portal_in_another_thread(app):
    async def answer(number):
        await anyio.sleep(0.001)
        return number, type(asyncio.get_running_loop())

    with anyio.from_thread.start_blocking_portal(
        "asyncio", backend_options=QTINTER_LOOP
    ) as portal:
        future = portal.start_task_soon(answer, 1)
        assert portal.call(answer, 2) == (2, qtinter.QiDefaultEventLoop)
        assert future.result() == (1, qtinter.QiDefaultEventLoop)
