"""Hosts: what lends the loop core its turns on the thread of a Qt event loop.

The contract is ``struct qi_host`` in ``_native/host.h``.  This module chooses the host
(:func:`new_host`) and holds the one that is made of the binding's own objects
(:class:`BindingHost`), for wherever the native host was not built or does not load.
"""

from __future__ import annotations

import functools
import importlib
import operator
import os
import sys
import threading
from typing import Any, Callable, List, Optional, Union

from . import _core

__all__ = ["BindingHost", "loaded_qt_cores", "new_host"]

HOST_VARIABLE = "QTINTER_HOST"

# objectName of the Qt objects by which a BindingHost gets its turns.  In PyQt
# QObject.sender() names them during a turn, to whoever asks.
OBJECT_NAME = "qtinter host"

# The native hosts, by the major version of the Qt they were compiled for: modules that
# need libQt6Core.so.6 and libQt5Core.so.5.
GLUE_MODULES = {"6": "qtinter._qtglue", "5": "qtinter._qtglue5"}

# Values of enum qi_turn_reason in _native/host.h.
TURN_FD = 0
TURN_WAKE = 1
TURN_GONE = 2


class _Frame:
    """One :meth:`BindingHost.enter` in progress."""

    __slots__ = ("left", "loop", "spoilt")

    def __init__(self, loop: Any) -> None:
        self.loop = loop
        self.left = False
        self.spoilt = False  # quit() has made Qt refuse further event loops


class BindingHost:
    """Host made of objects of the Qt binding in use; the mirror of ``struct qi_host``.

    Every method is to be called on the thread of the loop.

    Qt calls *turn* without running any Python code in between: what our signals are
    connected to is made of callables written in C.  Were there a Python function,
    Python would run its signal handlers on entry to it, and a ``KeyboardInterrupt``
    raised there would escape into Qt, where PyQt aborts the process.

    From :meth:`start` to :meth:`stop` Qt keeps *turn* alive, with all it refers to.

    :param qt_core: The ``QtCore`` module to use; by default, the chosen binding's.
    """

    name = "binding"

    def __init__(self, qt_core: Optional[Any] = None) -> None:
        self._qt: Any = _qt_core() if qt_core is None else qt_core
        with _first_use:
            _make_classes(self._qt)
        # PySide deletes every Qt object of ours along with the application object.
        self._is_alive = _liveness_check(self._qt)
        self._link: Optional[_Link] = None
        self._notifier: Any = None
        self._waker: Any = None
        self._farewell: Any = None
        self._listener: Any = None
        self._frames: List[_Frame] = []

    def start(self, fd: int, turn: Callable[[int], object]) -> None:
        """Watch *fd* for reading, and accept :meth:`wake` from here on.

        :param fd: A descriptor that stays open until :meth:`stop`.
        :param turn: Called with ``TURN_FD`` when *fd* is readable, with ``TURN_WAKE``
            when a :meth:`wake` is served, and with ``TURN_GONE`` when the thread ends
            before :meth:`stop`.  Must not raise; should not be a Python function (see
            the class).
        :raises RuntimeError: If the host has been started already, *fd* is not valid,
            or there is no ``QCoreApplication``.
        """
        qt = self._qt
        if self._link is not None:
            raise RuntimeError("the Qt host has already been started")
        if fd < 0:
            raise RuntimeError("the descriptor to watch is not valid")
        if qt.QCoreApplication.instance() is None:
            raise RuntimeError(
                "no instance of QCoreApplication or a derived class exists"
            )
        # A thread Qt did not start has no event dispatcher until a QEventLoop was
        # made on it, and without one the objects below only print warnings.
        qt.QEventLoop()
        link = _Link.take(qt, self._is_alive)
        link.turn = turn
        direct = qt.Qt.ConnectionType.DirectConnection
        notifier = qt.QSocketNotifier(fd, qt.QSocketNotifier.Type.Read)
        notifier.activated.connect(link.by_fd.timeout, direct)
        # Single shot: not active any more when the turn begins, so that a wake()
        # during the turn asks for another one.  Why a timer: see Waker in qt_glue.cpp.
        waker = qt.QTimer()
        waker.setSingleShot(True)
        waker.setInterval(0)
        waker.timeout.connect(link.by_wake.timeout, direct)
        # Between the thread's signal and the link, because blocking it cuts them.
        farewell = qt.QTimer()
        farewell.timeout.connect(link.by_end.timeout, direct)
        _connect_end_of_thread(qt, farewell)
        self._link, self._farewell = link, farewell
        self._notifier, self._waker = notifier, waker

    def stop(self) -> None:
        """Make no turn from here on; the host can be started again.

        May be called during a turn, on a host that was not started, and after the
        application object was destroyed.
        """
        if self._link is None:
            return
        self.listen(-1)
        link, self._link = self._link, None
        notifier, waker, farewell = self._notifier, self._waker, self._farewell
        self._notifier = self._waker = self._farewell = None
        if self._is_alive(notifier):
            notifier.setEnabled(False)
        if self._is_alive(waker):
            waker.stop()
        for obj in (notifier, waker, farewell):
            if self._is_alive(obj):
                self._retire(obj)
        link.give_back()

    def watch(self, enabled: int) -> None:
        """Pause (0) or resume (1) watching the descriptor."""
        notifier = self._notifier
        if notifier is not None and self._is_alive(notifier):
            notifier.setEnabled(bool(enabled))

    def listen(self, fd: int) -> None:
        """Watch another descriptor while the first one is paused; -1 ends that.

        :param fd: *turn* is called with ``TURN_FD`` when it is readable.
        """
        listener, self._listener = self._listener, None
        if listener is not None and self._is_alive(listener):
            listener.setEnabled(False)
            self._retire(listener)
        link = self._link
        if fd >= 0 and link is not None and self._is_alive(link.by_fd):
            qt = self._qt
            self._listener = qt.QSocketNotifier(fd, qt.QSocketNotifier.Type.Read)
            self._listener.activated.connect(
                link.by_fd.timeout, qt.Qt.ConnectionType.DirectConnection
            )

    def wake(self) -> None:
        """Ask for one turn, later; more calls before that turn ask for nothing."""
        waker = self._waker
        if waker is None or not self._is_alive(waker) or waker.isActive():
            return
        # Without an application object there is no event loop, and Qt would warn.
        if not self._qt.QCoreApplication.closingDown():
            waker.start()

    def enter(self) -> int:
        """Run a nested event loop until :meth:`leave` and return its exit code.

        The code is 0 after :meth:`leave`, what somebody else ended the loop with, or
        -1 if Qt would not run it (no application object, or it has been told to exit).
        """
        if self._qt.QCoreApplication.instance() is None:
            return -1
        loop = self._qt.QEventLoop()
        run = loop.exec if hasattr(loop, "exec") else loop.exec_  # PySide2: exec_ only
        frame = _Frame(loop)
        self._frames.append(frame)
        try:
            code = int(run())
        finally:
            self._frames.remove(frame)
        if frame.spoilt and self.depth() == 0:
            self._allow_event_loops()
        return code

    def leave(self) -> None:
        """End the loop of the innermost :meth:`enter` that has not been left yet."""
        for frame in reversed(self._frames):
            if not frame.left:
                frame.left = True
                frame.loop.exit(0)
                return

    def quit(self) -> None:
        """Ask every event loop that runs on this thread to end.

        ``QCoreApplication.exit()`` and ``QThread.exit()`` also make every later
        ``QEventLoop.exec()`` return -1 at once until ``QCoreApplication.exec()`` or
        ``QThread.exec()`` runs; so they are called only for the sake of a loop that is
        not ours, and not at all if no loop runs.  Once an outermost :meth:`enter` is
        over, loops are allowed again; where that cannot be done, on a thread other
        than the application's, loops nested in it have to end by themselves.
        """
        if self.depth() > len(self._frames):
            thread = self._qt.QThread.currentThread()
            app = self._qt.QCoreApplication.instance()
            if app is not None and app.thread() == thread:
                for frame in self._frames:
                    frame.spoilt = True
                self._qt.QCoreApplication.exit(0)
                return
            if not self._frames:
                thread.exit(0)
                return
        for frame in reversed(self._frames):
            frame.loop.exit(0)

    def depth(self) -> int:
        """Return how many event loops run on this thread now."""
        return int(self._qt.QThread.currentThread().loopLevel())

    def _allow_event_loops(self) -> None:
        """Take back what :meth:`quit` left behind.

        ``QThread.exec()`` would do it without running anything, but bindings refuse to
        call it on a thread that was not started from Python.  So the application runs
        for one round of events, and keeps from its users that it does.
        """
        qt = self._qt
        app = qt.QCoreApplication.instance()
        if app is None:
            return
        end = qt.QTimer()
        end.setSingleShot(True)
        end.timeout.connect(functools.partial(qt.QCoreApplication.exit, 0))
        end.start(0)
        blocked = app.blockSignals(True)  # no aboutToQuit
        try:
            (app.exec if hasattr(app, "exec") else app.exec_)()
        finally:
            app.blockSignals(blocked)

    def _retire(self, obj: Any) -> None:
        """Give *obj* away to be deleted: its handler may be on the stack.

        Without a parent the binding would delete it with its last reference.  The
        dispatcher deletes it at the latest with itself, should no loop run again.
        Until then it emits nothing: its link may serve another host by that time.
        """
        obj.blockSignals(True)
        dispatcher = self._qt.QAbstractEventDispatcher.instance()
        if dispatcher is not None:  # else: the thread has ended
            obj.setParent(dispatcher)
            obj.deleteLater()


def new_host() -> object:
    """Return a new host for the loop core: a capsule or a :class:`BindingHost`.

    The native host is taken if the one for the Qt of the binding (see
    :data:`GLUE_MODULES`) loads and is bound to that very Qt; the environment variable
    ``QTINTER_HOST`` (``native`` or ``binding``) forces one.

    :raises RuntimeError: If ``QTINTER_HOST`` has another value, or demands the native
        host and that is not available.
    :raises ImportError: If no Qt binding can be chosen (see :mod:`qtinter.bindings`).
    """
    choice = os.environ.get(HOST_VARIABLE, "")
    if choice not in ("", "native", "binding"):
        raise RuntimeError(
            f"{HOST_VARIABLE} is {choice!r}: allowed values are 'native' and 'binding'"
        )
    qt = _qt_core()
    if choice != "binding":
        glue = _load_glue(qt)
        if not isinstance(glue, str):
            return glue.new_host()
        if choice == "native":
            raise RuntimeError(
                f"{HOST_VARIABLE} is 'native', but the native Qt host is not "
                f"available: {glue}"
            )
    return BindingHost(qt)


def loaded_qt_cores(major: str) -> List[str]:
    """Return the paths of the Core libraries of Qt *major* loaded in this process.

    Two of them mean that two copies of Qt are loaded that know nothing of each other.
    Empty where Qt's libraries go by other names (macOS, Windows).
    """
    return _core._loaded_libraries(f"libQt{major}Core")


@functools.lru_cache(maxsize=None)
def _load_glue(qt: Any) -> Union[Any, str]:
    """Return the native host's module bound to the Qt of *qt*, or why there is none."""
    version = str(qt.qVersion())
    major = version.partition(".")[0]
    name = GLUE_MODULES.get(major)
    if name is None:
        return f"there is none for Qt {version}"
    # The dynamic loader resolves the module's need for libQt6Core.so.6 to the copy that
    # the binding has loaded, provided that it goes by this name.  If it does not
    # (a vendor's renamed Qt), the import would bring in the system's Qt as well.
    soname = f"libQt{major}Core.so.{major}"
    if sys.platform.startswith("linux") and not any(
        os.path.basename(path).startswith(soname) for path in loaded_qt_cores(major)
    ):
        return f"the binding's Qt is not loaded from a {soname}"
    try:
        glue: Any = importlib.import_module(name)
    except ModuleNotFoundError:
        return f"qtinter was installed without it ({name})"
    except ImportError as exc:
        return str(exc)
    loaded = glue.qt_version()[1]
    if loaded != version:
        return f"it is bound to Qt {loaded}, and the binding to Qt {version}"
    cores = loaded_qt_cores(major)
    if len(cores) > 1:
        return "more than one Qt is loaded: " + ", ".join(sorted(cores))
    return glue


def _connect_end_of_thread(qt: Any, timer: Any) -> None:
    """Have the end of this thread emit the `timeout` of `timer`."""
    thread = qt.QThread.currentThread()
    if qt.__name__ == "PySide2.QtCore":
        # It never frees a thread's wrapper whose `finished` was looked up once.
        end, timeout = qt.SIGNAL("finished()"), qt.SIGNAL("timeout()")
        qt.QObject.connect(thread, end, timer, timeout)
    else:
        thread.finished.connect(timer.timeout)


# PySide makes a class when it is first used, and lets other threads see it half made.
_first_use = threading.Lock()


@functools.lru_cache(maxsize=None)
def _make_classes(qt: Any) -> Any:
    """Use once what a BindingHost uses."""
    names = "QAbstractEventDispatcher QCoreApplication QEventLoop QThread QTimer"
    enums = qt.QSocketNotifier.Type.Read, qt.Qt.ConnectionType.DirectConnection
    return [getattr(qt, name) for name in names.split()], enums


# What a stopped host calls: takes one argument and is written in C.
_no_turn = bool


class _Link:
    """Three signals without arguments that call :attr:`turn`, one for each reason.

    The signals that ask for turns differ in their arguments, which a binding would
    have to convert each time (PySide6: 3.8 us instead of 1.9 us).  Connected to those
    of timers that never run, they are dropped by Qt.

    A link outlives its host and serves another one, on any thread, because PyQt

    * releases what a signal was connected to when an event loop runs on the thread of
      the sender, which may never happen again;
    * has one variable for the sender of all threads' signals.  With two threads in
      slots at a time it keeps a sender that ends up deleted, and ``QObject.sender()``
      then reads freed memory.

    So these senders are not deleted; there are as many as hosts were ever started at
    the same time.
    """

    _free: List[_Link] = []

    def __init__(self, qt: Any) -> None:
        self.turn: Callable[[int], object] = _no_turn
        self.by_fd = self._timer(qt, TURN_FD)
        self.by_wake = self._timer(qt, TURN_WAKE)
        self.by_end = self._timer(qt, TURN_GONE)

    def _timer(self, qt: Any, reason: int) -> Any:
        timer = qt.QTimer()
        timer.setObjectName(OBJECT_NAME)
        timer.moveToThread(None)  # which may end before the timer does
        slot = functools.partial(operator.methodcaller("turn", reason), self)
        timer.timeout.connect(slot, qt.Qt.ConnectionType.DirectConnection)
        return timer

    @classmethod
    def take(cls, qt: Any, is_alive: Callable[[Any], object]) -> _Link:
        """Return a free link, or else a new one."""
        while True:
            try:
                link = cls._free.pop()
            except IndexError:
                return cls(qt)
            if is_alive(link.by_fd):
                return link

    def give_back(self) -> None:
        """Cut the reference to the turn now, and let another host have the link."""
        self.turn = _no_turn
        self._free.append(self)


def _qt_core() -> Any:
    # Choosing a binding is left to the first use: see qtinter.bindings.
    return importlib.import_module("qtinter.bindings").QtCore


def _liveness_check(qt: Any) -> Callable[[Any], object]:
    """Return the binding's function that tells whether a C++ object still exists."""
    package = qt.__name__.partition(".")[0]
    if package.startswith("PyQt"):
        is_deleted: Any = importlib.import_module(f"{package}.sip").isdeleted
        return lambda obj: not is_deleted(obj)
    shiboken = importlib.import_module(package.replace("PySide", "shiboken"))
    check: Callable[[Any], object] = shiboken.isValid
    return check
