"""Puts qtinter's loops where CPython's tests expect asyncio's.

The tests name classes of asyncio's modules (``asyncio.SelectorEventLoop``,
``base_events.BaseEventLoop`` ...), derive from them, and ask the event loop policy for
loops.  So these names are assigned anew, before the tests are imported.  qtinter itself
never does that.
"""

import asyncio
import threading
from asyncio import base_events, selector_events, unix_events

import qtinter
from qtinter import _hosts
from qtinter.bindings import QtCore

MODES = ("nested", "attached")


class AttachedBaseEventLoop(qtinter.QiBaseEventLoop):
    """A loop whose run_forever() attaches it to Qt and executes Qt's event loop.

    On the main thread that is ``QCoreApplication.exec()``, as in a program that uses
    ``using_asyncio_from_qt()``.  On other threads, and in a process that was forked
    while Qt's event loop ran, it is a ``QEventLoop``.  Between two runs the loop is in
    mode OWNER, where stop() may be called in advance, as asyncio allows.
    """

    _end_of_run = None

    def run_forever(self):
        self._check_closed()
        self._check_running()
        stop_requested, self._stopping = self._stopping, False
        self.set_mode(qtinter.QiLoopMode.GUEST)
        try:
            self._stopping = stop_requested
            self.start()
            self._execute_qt()
        finally:
            if self.is_running():
                self.stop()
            self.set_mode(qtinter.QiLoopMode.OWNER)
        interruption, self._interruption = self._interruption, None
        if interruption is not None:
            raise interruption

    def _execute_qt(self):
        on_main_thread = threading.current_thread() is threading.main_thread()
        if on_main_thread and QtCore.QThread.currentThread().loopLevel() == 0:
            self._end_of_run = QtCore.QCoreApplication.exit
            qt_loop = QtCore.QCoreApplication
        else:
            qt_loop = QtCore.QEventLoop()
            self._end_of_run = qt_loop.exit
        try:
            (qt_loop.exec if hasattr(qt_loop, "exec") else qt_loop.exec_)()  # PySide2
        finally:
            self._end_of_run = None

    def _attached_run_ended(self):
        super()._attached_run_ended()
        if self._end_of_run is not None:
            self._end_of_run(0)


class AttachedBaseSelectorEventLoop(
    AttachedBaseEventLoop, qtinter.QiBaseSelectorEventLoop
):
    """QiBaseSelectorEventLoop with the run_forever() above."""


class AttachedSelectorEventLoop(
    AttachedBaseSelectorEventLoop, qtinter.QiSelectorEventLoop
):
    """QiSelectorEventLoop with the run_forever() above."""


CLASSES = {
    "nested": (
        qtinter.QiBaseEventLoop,
        qtinter.QiBaseSelectorEventLoop,
        qtinter.QiSelectorEventLoop,
    ),
    "attached": (
        AttachedBaseEventLoop,
        AttachedBaseSelectorEventLoop,
        AttachedSelectorEventLoop,
    ),
}


def substitute(mode):
    """Assign qtinter's classes to the names of asyncio's; mode is one of MODES."""
    base, base_selector, selector = CLASSES[mode]
    base_events.BaseEventLoop = base
    selector_events.BaseSelectorEventLoop = base_selector
    unix_events._UnixSelectorEventLoop = selector
    unix_events.SelectorEventLoop = selector
    asyncio.BaseEventLoop = base
    asyncio.SelectorEventLoop = selector
    for module in (asyncio, unix_events):
        if hasattr(module, "EventLoop"):  # since 3.13
            module.EventLoop = selector
    _substitute_policy(selector)


def _substitute_policy(loop_class):
    if not hasattr(asyncio, "AbstractEventLoopPolicy"):  # removed in 3.16
        return
    policy = type(
        "DefaultEventLoopPolicy",
        (qtinter.QiDefaultEventLoopPolicy,),
        {"_loop_factory": loop_class},
    )
    for module in (asyncio, unix_events):
        # Since 3.14 the public name is made on demand from the private one.
        for name in ("DefaultEventLoopPolicy", "_DefaultEventLoopPolicy"):
            if name in vars(module):
                setattr(module, name, policy)
    reset_policy()


def reset_policy():
    """Have asyncio make a new default policy when it next needs one."""
    # 3.14 keeps the working function under a private name and warns in the public one.
    setter = getattr(asyncio.events, "_set_event_loop_policy", None)
    (setter or asyncio.set_event_loop_policy)(None)


class RunCounter:
    """Counts runs of a loop inside Qt: each one asks for a new host."""

    def __init__(self):
        self.runs = 0
        self._new_host = _hosts.new_host
        _hosts.new_host = self._count

    def _count(self):
        self.runs += 1
        return self._new_host()
