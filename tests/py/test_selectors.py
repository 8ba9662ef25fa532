"""Loops on any selector that a program gives them."""

import asyncio
import selectors
import socket

import pytest

import qtinter

from .driving import MODES, drive, shut_down_executor, spin


class OpaqueSelector:
    """Nothing but the methods of a selector, and none that tells what it watches."""

    def __init__(self):
        self._inner = selectors.DefaultSelector()
        self.timeouts = []

    def __getattr__(self, name):
        if name == "fileno":
            raise AttributeError(name)
        return getattr(self._inner, name)

    def select(self, timeout=None):
        self.timeouts.append(timeout)
        return self._inner.select(timeout)


SELECTORS = [
    qtinter._loop.QiSelector,
    selectors.SelectSelector,
    selectors.PollSelector,
    selectors.EpollSelector,
    OpaqueSelector,
]


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("selector", SELECTORS)
def test_sockets_with_any_selector(app, new_loop, mode, selector):
    loop = new_loop(qtinter.QiSelectorEventLoop, selector())
    ours, theirs = socket.socketpair()
    got = []

    async def main():
        reader, writer = await asyncio.open_connection(sock=ours)
        other_reader, other_writer = await asyncio.open_connection(sock=theirs)
        for i in range(20):
            writer.write(b"%d\n" % i)
            line = await asyncio.wait_for(other_reader.readline(), 30)
            other_writer.write(line)
            got.append(int(await reader.readline()))
            if i % 5 == 0:
                await asyncio.sleep(0.001)
        result = await loop.run_in_executor(None, lambda: "from a thread")
        got.append(result)
        for each in (writer, other_writer):
            each.close()
            await each.wait_closed()
        await shut_down_executor(loop)
        loop.stop()

    task = loop.create_task(main())
    drive(loop, mode)
    task.result()
    assert got == [*range(20), "from a thread"]


@pytest.mark.parametrize("selector", SELECTORS[:-1])
def test_add_reader_outside_a_callback(app, QtCore, new_loop, selector):
    """A slot that adds a reader to a sleeping loop wakes it."""
    loop = new_loop(qtinter.QiSelectorEventLoop, selector())
    loop.set_mode(qtinter.QiLoopMode.GUEST)
    ours, theirs = socket.socketpair()
    got = []

    def read():
        got.append(ours.recv(10))
        loop.remove_reader(ours)

    loop.start()
    with ours, theirs:
        QtCore.QTimer.singleShot(0, lambda: loop.add_reader(ours, read))
        QtCore.QTimer.singleShot(5, lambda: theirs.send(b"hello"))
        spin(lambda: got)
        assert loop.remove_reader(ours) is False
        loop.add_reader(ours, read)
        assert loop.remove_reader(ours) is True
        loop.stop()
    assert got == [b"hello"]


def test_a_virtual_selector_gets_the_true_timeout(app, new_loop):
    """Clocks of test suites advance in select()."""

    class Virtual(selectors.DefaultSelector):
        now = 0.0

        def select(self, timeout=None):
            if timeout:
                self.now += timeout
            return super().select(0)

    selector = Virtual()
    loop = new_loop(qtinter.QiSelectorEventLoop, selector)
    loop.time = lambda: selector.now
    for mode in MODES:
        ran = []
        loop.call_later(3600, ran.append, 1)
        loop.call_later(7200, loop.stop)
        drive(loop, mode)
        assert ran == [1]
    del loop.time


def test_readers_refuse_wrong_descriptors(loop):
    for thing in (None, -1, "stdin", 1.5, object(), 10**30):
        with pytest.raises((ValueError, TypeError)):
            loop.add_reader(thing, print)
        with pytest.raises((ValueError, TypeError)):
            loop.remove_writer(thing)
    with pytest.raises(OSError):
        loop.add_reader(999_999, print)
    with pytest.raises(TypeError):
        loop.add_reader(0)
    loop.close()
    with pytest.raises(RuntimeError, match="closed"):
        loop.add_writer(1, print)
    assert loop.remove_reader(0) is False


def test_the_selector_keeps_the_selectors_interface(new_loop):
    loop = new_loop()
    selector = loop._selector
    ours, theirs = socket.socketpair()
    with ours, theirs:
        key = selector.register(ours, selectors.EVENT_READ, "data")
        assert key == (ours, ours.fileno(), selectors.EVENT_READ, "data")
        assert selector.get_key(ours) == selector.get_map()[ours] == key
        assert ours.fileno() in list(selector.get_map())
        with pytest.raises(KeyError):
            selector.register(ours, selectors.EVENT_READ)
        for events in (0, 4, -1):
            with pytest.raises(ValueError):
                selector.register(theirs, events)
        with pytest.raises(KeyError):
            selector.modify(theirs, selectors.EVENT_READ)
        with pytest.raises(KeyError):
            selector.unregister(theirs)
        both = selectors.EVENT_READ | selectors.EVENT_WRITE
        assert selector.modify(ours, both, "more").events == both
        assert selector.select(0) == [(selector.get_key(ours), selectors.EVENT_WRITE)]
        theirs.send(b"x")
        assert selector.select(0) == [(selector.get_key(ours), both)]
        for timeout in ("1", object()):
            with pytest.raises(TypeError):
                selector.select(timeout)
        assert selector.unregister(ours).data == "more"
    loop.close()
    assert selector.get_map() is None
    with pytest.raises(RuntimeError):
        selector.select(0)
    with pytest.raises(RuntimeError):
        selector.register(0, selectors.EVENT_READ)
    selector.close()
