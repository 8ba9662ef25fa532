"""Runs a loop until it stops, in each of the three modes."""

import importlib
import os

import qtinter

MODES = ("native", "nested", "attached")
SAFETY_NET_MS = 60_000


def drive(loop, mode):
    """run_forever() in the given mode; Qt needs an application object."""
    if mode == "native":
        loop.set_mode(qtinter.QiLoopMode.NATIVE)
        loop.run_forever()
    elif mode == "nested":
        loop.set_mode(qtinter.QiLoopMode.OWNER)
        net = _safety_net()
        net.timeout.connect(loop.stop)
        loop.run_forever()
        assert net.isActive(), "safety net: the loop did not come to its end"
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
        assert net.isActive(), "safety net: the loop did not come to its end"


def _safety_net():
    _qt_core().QEventLoop()  # gives a thread of Python's a dispatcher, for the timer
    net = _qt_core().QTimer()
    net.setSingleShot(True)
    net.start(SAFETY_NET_MS)
    return net


def _qt_core():
    return importlib.import_module(os.environ["QTINTERBINDING"] + ".QtCore")
