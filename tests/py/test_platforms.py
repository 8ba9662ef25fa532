"""What differs between systems: loop classes, names, pollers."""

import asyncio
import importlib
import selectors
import signal
import socket
import sys

import pytest

import qtinter
from qtinter import _core

from .driving import shut_down_executor


class EchoProactor:
    """The least that asyncio's proactor loop can do with: recv() of its self-pipe.

    Operations end when the socket is readable; select() tells, and so does fileno().
    """

    def __init__(self):
        self._selector = selectors.DefaultSelector()
        self._loop = None
        self._pending = {}
        self.timeouts = []
        self.closed = False

    def set_loop(self, loop):
        self._loop = loop

    def fileno(self):
        return self._selector.fileno()

    def recv(self, sock, n):
        future = self._loop.create_future()
        self._pending[sock] = (future, n)
        self._selector.register(sock, 1)
        return future

    def select(self, timeout=None):
        self.timeouts.append(timeout)
        for key, _ in self._selector.select(timeout):
            sock = key.fileobj
            self._selector.unregister(sock)
            future, n = self._pending.pop(sock)
            if not future.done():
                future.set_result(sock.recv(n))
        return []

    def close(self):
        self.closed = True
        self._selector.close()


has_descriptor = pytest.mark.skipif(
    not hasattr(selectors.DefaultSelector, "fileno"),
    reason="the selectors of this system have no descriptor",
)


class DeafProactor(EchoProactor):
    """One without a descriptor: only its select() knows."""

    def __getattribute__(self, name):
        if name == "fileno":
            raise AttributeError(name)
        return super().__getattribute__(name)


class ProactorLoop(qtinter.QiBaseProactorEventLoop):
    """Reads its self-pipe while it runs, as the one of Windows does."""

    def _run_forever_setup(self):
        super()._run_forever_setup()
        if self._self_reading_future is None:
            self.call_soon(self._loop_self_reading)


@pytest.fixture(params=[pytest.param(EchoProactor, marks=has_descriptor), DeafProactor])
def proactor_loop(app, no_leaks, request):
    loop = ProactorLoop(request.param())
    yield loop
    loop.close()
    request.node.funcargs.clear()


@pytest.mark.parametrize("mode", ["OWNER", "NATIVE"])
def test_a_proactor_of_the_program(proactor_loop, mode):
    """P9: timers, other threads and operations, with any proactor, in any mode."""
    loop = proactor_loop
    loop.set_mode(qtinter.QiLoopMode[mode])
    ours, theirs = socket.socketpair()

    async def main():
        reading = loop._proactor.recv(ours, 10)
        before = loop.time()
        await asyncio.sleep(0.002)
        assert loop.time() - before >= 0.002
        await loop.run_in_executor(None, theirs.send, b"hello")
        return await reading

    with ours, theirs:
        assert loop.run_until_complete(main()) == b"hello"
    assert isinstance(loop, asyncio.proactor_events.BaseProactorEventLoop)
    loop.run_until_complete(shut_down_executor(loop))


@has_descriptor
def test_qt_waits_for_a_proactor_with_a_descriptor(app, no_leaks):
    loop = ProactorLoop(EchoProactor())

    async def main():
        await asyncio.sleep(0.001)

    loop.run_until_complete(main())
    assert set(loop._proactor.timeouts) == {0}, "the thread never waits in select()"
    loop.close()


def test_closing_closes_the_proactor(app, no_leaks):
    loop = ProactorLoop(EchoProactor())
    proactor = loop._proactor
    loop.close()
    assert proactor.closed
    loop.close()


def test_the_wakeup_descriptor_is_left_alone(app, no_leaks):
    """E9: asyncio's class takes it from the constructor to close() and forgets it."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.setblocking(False)
        before = signal.set_wakeup_fd(ours.fileno())
        try:
            loop = ProactorLoop(EchoProactor())
            assert signal.set_wakeup_fd(ours.fileno()) == ours.fileno()
            loop.close()
            assert signal.set_wakeup_fd(ours.fileno()) == ours.fileno()
        finally:
            signal.set_wakeup_fd(before)


def test_public_names():
    """P3, P4: the base class is everywhere, the loop over IocpProactor on Windows."""
    assert "QiBaseProactorEventLoop" in qtinter.__all__
    for name in qtinter.__all__:
        assert hasattr(qtinter, name)
    on_windows = sys.platform == "win32"
    for name in ("QiProactorEventLoop", "QiProactorEventLoopPolicy"):
        assert (name in qtinter.__all__) == on_windows
        assert hasattr(qtinter, name) == on_windows
    default = "QiProactorEventLoop" if on_windows else "QiSelectorEventLoop"
    assert qtinter.QiDefaultEventLoop is getattr(qtinter, default)
    assert qtinter.QiDefaultEventLoopPolicy is getattr(qtinter, default + "Policy")


@pytest.mark.skipif(sys.platform == "win32", reason="it imports there")
def test_the_module_of_another_system_does_not_import():
    """P5."""
    with pytest.raises(ImportError, match="is for Windows"):
        importlib.import_module("qtinter._windows")


@pytest.mark.skipif(sys.platform == "win32", reason="there the real one is tested")
def test_the_proactor_loop_over_a_pretended_windows(run_isolated):
    """W1-W3 and pains 45, 47, with asyncio's own IocpProactor."""
    result = run_isolated("windows_loop.py")
    assert result.returncode == 0, result.stdout + result.stderr
    assert result.stdout.splitlines()[-1] == "all good"
    assert result.stderr == ""


def test_the_poller_is_the_systems_own_unless_another_was_chosen():
    own = {"linux": "epoll", "darwin": "kqueue", "win32": "thread"}
    assert _core.poller in (own.get(sys.platform, "thread"), "thread")
