"""Runs a loop until it stops, in each of the three modes, on any Python."""

import asyncio
import importlib
import os
import sys
import threading

import qtinter

MODES = ("native", "nested", "attached")
SAFETY_NET_MS = 60_000
CAUGHT = "safety net: the loop did not come to its end"


def drive(loop, mode):
    """run_forever() in the given mode; Qt needs an application object."""
    if mode == "native":
        loop.set_mode(qtinter.QiLoopMode.NATIVE)
        # A thread's, as no clock but the loop's runs beside the loop here.
        caught = []
        net = threading.Timer(SAFETY_NET_MS / 1000, _stop_from_outside, [loop, caught])
        net.start()
        try:
            loop.run_forever()
        finally:
            net.cancel()
            net.join()
        assert not caught, CAUGHT
    elif mode == "nested":
        loop.set_mode(qtinter.QiLoopMode.OWNER)
        net = _safety_net()
        net.timeout.connect(loop.stop)
        loop.run_forever()
        assert net.isActive(), CAUGHT
    else:
        loop.set_mode(qtinter.QiLoopMode.GUEST)
        loop.start()
        spin(lambda: not loop.is_running())
        interruption, loop._interruption = loop._interruption, None
        if interruption is not None:
            raise interruption


def spin(done):
    """Let Qt wait for and deliver events until done() is true."""
    qt_loop, net = _qt_core().QEventLoop(), _safety_net()
    wait = _qt_core().QEventLoop.ProcessEventsFlag.WaitForMoreEvents
    while not done():
        qt_loop.processEvents(wait)
        assert net.isActive(), CAUGHT


async def settle(rounds=5):
    """Lets the loop make some iterations."""
    for _ in range(rounds):
        await asyncio.sleep(0)


def create_named(coro, name):
    """loop.create_task(coro, name=name), in Python 3.7 a task of a class of ours."""
    loop = asyncio.get_running_loop()
    if sys.version_info >= (3, 8):
        return loop.create_task(coro, name=name)
    return _Named(coro, loop=loop, name=name)


class _Named(asyncio.Task):
    def __init__(self, coro, *, loop, name):
        self.name = name  # is asked for while it is created
        super().__init__(coro, loop=loop)

    def get_name(self):
        return self.name


async def shut_down_executor(loop):
    """loop.shutdown_default_executor(), which came with Python 3.9."""
    if sys.version_info >= (3, 9):
        await loop.shutdown_default_executor()
    elif loop._default_executor is not None:
        loop._default_executor.shutdown()


def _stop_from_outside(loop, caught):
    caught.append(loop)
    loop.call_soon_threadsafe(loop.stop)


def _safety_net():
    _qt_core().QEventLoop()  # gives a thread of Python's a dispatcher, for the timer
    net = _qt_core().QTimer()
    net.setSingleShot(True)
    net.start(SAFETY_NET_MS)
    return net


def _qt_core():
    return importlib.import_module(os.environ["QTINTERBINDING"] + ".QtCore")
