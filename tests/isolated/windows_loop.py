"""The proactor loop of Windows over a pretended Windows.

    windows_loop.py

asyncio's own windows_events, and with it the real IocpProactor, is imported on top of
modules of the same names as Windows' (_overlapped, _winapi, msvcrt), made here of
threads and sockets.  So what is tested is our half: that a packet in the port wakes Qt,
that the self-pipe is read while running and let go of after, that closing is quiet, and
the public names.  The waiting thread has C tests (tests/c/test_sentry.c, test_iocp.c).
"""

import asyncio
import itertools
import os
import queue
import select
import signal
import socket
import sys
import threading
import types

IO_PENDING, ABORTED, NETNAME_DELETED = 997, 995, 64


class Port:
    """A completion port; `alarm` is readable while a packet is in it."""

    ports = {}
    numbers = itertools.count(1000)

    def __init__(self):
        # Not SimpleQueue: up to Python 3.12, its get() may wait forever if its time is
        # up before it begins to wait.
        self.packets = queue.Queue()
        self.lock = threading.Lock()  # the alarm and the packets change together
        self.alarm, self.bell = socket.socketpair()
        self.alarm.setblocking(False)
        self.number = next(self.numbers)
        self.ports[self.number] = self

    def post(self, *packet):
        with self.lock:
            self.bell.send(b"p")  # first: get() reads a byte for each packet
            self.packets.put(packet)

    def get(self, ms):
        if ms == 0:
            with self.lock:
                return self._take(0)
        return self._take(None if ms == 0xFFFFFFFF else ms / 1000)

    def _take(self, timeout):
        try:
            packet = self.packets.get(timeout=timeout)
        except queue.Empty:
            return None
        self.alarm.recv(1)
        return packet

    def close(self):
        del self.ports[self.number]
        self.alarm.close()
        self.bell.close()


class Overlapped:
    """One operation: a thread does it and posts a packet."""

    addresses = itertools.count(1)

    def __init__(self, event=0):
        self.event = event
        self.address = next(self.addresses)
        self.pending = False
        self.cancelled = False
        self.result = None
        self.error = None

    def _start(self, fd, events, do):
        port = Port.ports[associated[fd]]
        self.pending = True

        def run():
            poller = select.poll()
            poller.register(fd, events)
            while not self.cancelled and not poller.poll(5):
                pass
            try:
                if self.cancelled:
                    raise OSError(None, "aborted", None, ABORTED)
                self.result = do()
            except OSError as exc:
                exc.winerror = getattr(exc, "winerror", None) or NETNAME_DELETED
                self.error = exc
            self.pending = False
            port.post(0, len(self.result or b""), 0, self.address)

        threading.Thread(target=run, daemon=True).start()

    def WSARecv(self, fd, size, flags=0):
        self._start(fd, select.POLLIN, lambda: os.read(fd, size))

    def WSASend(self, fd, data, flags=0):
        data = bytes(data)
        self._start(fd, select.POLLOUT, lambda: data[: os.write(fd, data)])

    def getresult(self, wait=False):
        if self.error is not None:
            raise self.error
        return self.result

    def cancel(self):
        self.cancelled = True


associated = {}


def create_port(handle, port, key, concurrency):
    if port == 0:
        return Port().number
    associated[handle] = port
    return port


def pretend_windows():
    overlapped = types.ModuleType("_overlapped")
    overlapped.Overlapped = Overlapped
    overlapped.INVALID_HANDLE_VALUE = -1
    overlapped.INFINITE = 0xFFFFFFFF
    overlapped.NULL = 0
    overlapped.ERROR_NETNAME_DELETED = NETNAME_DELETED
    overlapped.ERROR_OPERATION_ABORTED = ABORTED
    overlapped.ERROR_PORT_UNREACHABLE = 1234
    overlapped.ERROR_PIPE_BUSY = 231
    overlapped.SO_UPDATE_ACCEPT_CONTEXT = 1
    overlapped.SO_UPDATE_CONNECT_CONTEXT = 2
    overlapped.CreateIoCompletionPort = create_port
    overlapped.GetQueuedCompletionStatus = lambda port, ms: Port.ports[port].get(ms)
    winapi = types.ModuleType("_winapi")
    winapi.INFINITE = 0xFFFFFFFF
    winapi.NULL = 0
    winapi.ERROR_IO_PENDING = IO_PENDING
    winapi.CloseHandle = lambda handle: Port.ports[handle].close()
    msvcrt = types.ModuleType("msvcrt")
    sys.modules.update(_overlapped=overlapped, _winapi=winapi, msvcrt=msvcrt)
    subprocess = sys.modules["subprocess"]
    subprocess.STARTUPINFO = object
    subprocess.STARTF_USESTDHANDLES = 0x100
    # Only what is imported from here on thinks that it is on Windows.
    sys.platform = "win32"
    from asyncio import windows_events

    sys.platform = PLATFORM
    for name in windows_events.__all__:
        setattr(asyncio, name, getattr(windows_events, name))


PLATFORM = sys.platform
pretend_windows()
sys.platform = "win32"
import qtinter  # noqa: E402
from qtinter import _core  # noqa: E402

sys.platform = PLATFORM

# --- the core's part: here Qt watches the fake port through the waiter ----------------


def watch_port(waiter, handle):
    for fd in waiter._descriptors():
        waiter.unregister(fd)
    if handle is not None:
        waiter.register(Port.ports[handle].alarm, 1)
    calls.append(handle)


calls = []


class Waiter:
    """_core.Selector, with the method that it has on Windows."""

    def __init__(self, selector):
        self._selector = selector

    def __getattr__(self, name):
        return getattr(self._selector, name)

    def _watch_port(self, handle):
        watch_port(self._selector, handle)


class Loop(qtinter.QiProactorEventLoop):
    @property
    def _waiter(self):
        return Waiter(super()._waiter)


# --- tests ----------------------------------------------------------------------------


async def exchange(loop):
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    theirs.setblocking(False)
    try:
        await loop.sock_sendall(ours, b"ping")
        assert await loop.sock_recv(theirs, 10) == b"ping"
        receiving = loop.create_task(loop.sock_recv(ours, 10))
        await asyncio.sleep(0.01)
        assert not receiving.done()
        await loop.sock_sendall(theirs, b"pong")
        assert await receiving == b"pong"
        receiving = loop.create_task(loop.sock_recv(ours, 10))
        await asyncio.sleep(0)
        receiving.cancel()
        try:
            await receiving
        except asyncio.CancelledError:
            pass
        else:
            raise AssertionError("a cancelled operation gave a result")
    finally:
        ours.close()
        theirs.close()
    called = asyncio.Event()
    thread = threading.Thread(target=loop.call_soon_threadsafe, args=(called.set,))
    thread.start()
    await called.wait()
    thread.join()
    return "done"


def names_are_those_of_windows():
    assert qtinter.QiDefaultEventLoop is qtinter.QiProactorEventLoop
    assert qtinter.QiDefaultEventLoopPolicy is qtinter.QiProactorEventLoopPolicy
    assert qtinter.QiSelectorEventLoopPolicy is not qtinter.QiProactorEventLoopPolicy
    assert {"QiProactorEventLoop", "QiProactorEventLoopPolicy"} <= set(qtinter.__all__)
    policy = qtinter.QiProactorEventLoopPolicy
    assert policy._loop_factory is qtinter.QiProactorEventLoop
    assert issubclass(qtinter.QiProactorEventLoop, asyncio.ProactorEventLoop)
    assert issubclass(qtinter.QiProactorEventLoop, qtinter.QiBaseProactorEventLoop)


def nested_native_and_again():
    loop = Loop()
    for mode in ("OWNER", "NATIVE", "OWNER"):
        loop.set_mode(qtinter.QiLoopMode[mode])
        calls.clear()
        assert loop.run_until_complete(exchange(loop)) == "done"
        assert calls == [loop._proactor._iocp, None]
        assert loop._self_reading_future is None
    loop.close()
    assert not Port.ports, "the port is closed"
    assert _core._debug_counts()["watches"] == 0


def attached():
    results = []
    with qtinter.using_asyncio_from_qt(loop_factory=Loop) as loop:
        assert isinstance(loop, asyncio.ProactorEventLoop)
        task = loop.create_task(exchange(loop))
        task.add_done_callback(lambda _: (results.append(task.result()), app.quit()))
        (app.exec if hasattr(app, "exec") else app.exec_)()
        assert results == ["done"]
        before = loop.statistics()["turns"]
        loop.call_later(0.2, app.quit)
        (app.exec if hasattr(app, "exec") else app.exec_)()
        turns = loop.statistics()["turns"] - before
        assert turns < 10, f"{turns} turns: an idle loop sleeps in Qt"
    assert loop.is_closed()
    assert not Port.ports


def a_turn_has_many_iterations():
    loop = Loop()
    loop.slice_ms = 1000
    left = [100]

    def chain():
        left[0] -= 1
        if left[0]:
            loop.call_soon(chain)
        else:
            loop.stop()

    loop.call_soon(chain)
    loop.run_forever()
    assert loop.statistics()["turns"] < 10, loop.statistics()
    loop.close()


def the_wakeup_descriptor_is_given_back():
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    before = signal.set_wakeup_fd(ours.fileno())
    try:
        loop = Loop()
        assert signal.set_wakeup_fd(ours.fileno()) == ours.fileno()
        seen = []

        async def main():
            seen.append(signal.set_wakeup_fd(-1))
            signal.set_wakeup_fd(seen[0])

        loop.run_until_complete(main())
        assert seen == [loop._csock.fileno()], "signals wake a running loop"
        loop.close()
        assert signal.set_wakeup_fd(before) == ours.fileno()
    finally:
        ours.close()
        theirs.close()


def a_proactor_can_be_given():
    proactor = asyncio.IocpProactor()
    loop = Loop(proactor)
    assert loop._proactor is proactor
    loop.close()
    assert not Port.ports


from qtinter.bindings import QtCore  # noqa: E402

app = QtCore.QCoreApplication([])
for test in (
    names_are_those_of_windows,
    nested_native_and_again,
    attached,
    a_turn_has_many_iterations,
    the_wakeup_descriptor_is_given_back,
    a_proactor_can_be_given,
):
    test()
    print(test.__name__)
print("all good")
