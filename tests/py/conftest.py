"""Fixtures for tests that use slots and signals of the binding under test."""

import asyncio
import ctypes
import importlib
import os
import sys
import threading
import types

import pytest

import qtinter

if sys.version_info < (3, 8):
    # The last pytest for 3.7 would take this folder for a module that is no package;
    # what the tests share is imported relative to it.
    sys.modules[__package__] = types.ModuleType(__package__)
    sys.modules[__package__].__path__ = [os.path.dirname(__file__)]

SAFETY_NET = 30  # seconds; a test that meets it fails


def pytest_configure(config):
    # PySide6 6.11 makes Python 3.15's lazy imports fail that are resolved after its own
    # import; run_in_executor() of plain asyncio does not work then, either.
    if sys.version_info >= (3, 15):
        importlib.import_module("concurrent.futures").ThreadPoolExecutor  # noqa: B018


@pytest.fixture(scope="session", autouse=True)
def spare_references(binding):
    """PySide6 6.12 loses a reference to True in each emit() and disconnect().

    Before Python 3.12, where these objects became immortal, that ends the process after
    some hundred emissions.
    """
    if binding.startswith("PySide") and sys.version_info < (3, 12):
        for constant in (None, True, False):
            ctypes.c_ssize_t.from_address(id(constant)).value += 1 << 24


@pytest.fixture
def sender_is_missed(app):
    """For tests in which the binding has to tell that an unnamed sender is gone."""
    from qtinter import _qt

    if not _qt.IS_PYQT and not _qt._releases_functions():
        pytest.skip("PySide6 6.6 does not tell that a sender is gone, see README.md")


@pytest.fixture(scope="session")
def qt(app, binding, QtCore):
    """What differs between bindings: Signal, Slot, delete(obj), and an Emitter class.

    An Emitter has the signals none(), one(int), two(int, str), any(object).
    """
    is_pyqt = binding.startswith("PyQt")
    Signal = QtCore.pyqtSignal if is_pyqt else QtCore.Signal
    if is_pyqt:
        delete = importlib.import_module(binding + ".sip").delete
    else:
        delete = importlib.import_module("shiboken" + binding[-1]).delete

    class Emitter(QtCore.QObject):
        none = Signal()
        one = Signal(int)
        two = Signal(int, str)
        any = Signal(object)

    return types.SimpleNamespace(
        QtCore=QtCore,
        Signal=Signal,
        Slot=QtCore.pyqtSlot if is_pyqt else QtCore.Slot,
        delete=delete,
        Emitter=Emitter,
        is_pyqt=is_pyqt,
    )


@pytest.fixture
def emitter(no_leaks, qt, QtCore):
    obj = qt.Emitter()
    yield obj
    # PyQt holds functions that were connected until its proxies are deleted.
    qt.delete(obj)
    for _ in range(2):
        QtCore.QCoreApplication.processEvents()
        QtCore.QCoreApplication.sendPostedEvents(
            None, QtCore.QEvent.Type.DeferredDelete
        )


@pytest.fixture(scope="session")
def name_of_one(binding):
    """Pattern of what messages call the signal one(int) of an Emitter."""
    return "signal" if binding == "PySide2" else r"one\(int\)"  # PySide2 hides it


@pytest.fixture
def run_attached(app, QtCore):
    """run_attached(coro): runs it in attached mode and returns its result."""

    def run(coro):
        with qtinter.using_asyncio_from_qt() as loop:
            task = loop.create_task(coro)
            event_loop = QtCore.QEventLoop()
            task.add_done_callback(lambda _: event_loop.quit())
            net = loop.call_later(SAFETY_NET, task.cancel)
            event_loop.exec()
            net.cancel()
            return task.result()

    return run


@pytest.fixture(params=["attached", "nested", "asyncio"])
def run(request, app, run_attached):
    """run(coro) in attached mode, in nested mode, and on asyncio's own loop."""
    if request.param == "attached":
        return run_attached
    runner = qtinter.run if request.param == "nested" else asyncio.run
    return lambda coro: runner(asyncio.wait_for(coro, SAFETY_NET))


@pytest.fixture(params=["attached", "nested"])
def run_qt(request, app, run_attached):
    """run_qt(coro) in attached and in nested mode."""
    if request.param == "attached":
        return run_attached
    return lambda coro: qtinter.run(asyncio.wait_for(coro, SAFETY_NET))


@pytest.fixture
def reports():
    """reports(): a list that gets the contexts of the running loop's handler."""

    def collect():
        contexts = []
        asyncio.get_running_loop().set_exception_handler(
            lambda loop, context: contexts.append(context)
        )
        return contexts

    return collect


@pytest.fixture
def suite(tmp_path):
    """A suites.Suite in a folder of its own."""
    from .suites import Suite

    folder = tmp_path / "suite"
    runtime = tmp_path / "run"
    folder.mkdir()
    runtime.mkdir(mode=0o700)
    return Suite(folder, runtime)


# --- loops ---------------------------------------------------------------------------


@pytest.fixture
def new_loop(request):
    """new_loop(cls, ...): makes loops that are closed at the end of the test."""
    loops = []

    def make(cls=qtinter.QiSelectorEventLoop, *args, mode=None):
        loop = cls(*args)
        if mode is not None:
            loop.set_mode(mode)
        loops.append(loop)
        return loop

    yield make
    while loops:
        loops.pop().close()


@pytest.fixture
def loop(request, new_loop):
    yield new_loop(mode=qtinter.QiLoopMode.NATIVE)
    request.node.funcargs.clear()  # pytest holds the loop beyond no_leaks otherwise


# --- threads -------------------------------------------------------------------------


@pytest.fixture
def start_thread(app, QtCore):
    """start_thread(kind, function, *args) gives join(), which gives the result."""
    from .in_threads import SAFETY_NET, Outcome

    class FunctionThread(QtCore.QThread):
        def run(self):
            self.outcome.run()

    def start(kind, function, *args):
        outcome = Outcome(function, args)
        if kind == "python":
            thread = threading.Thread(target=outcome.run, daemon=True)
            thread.start()

            def join():
                thread.join(SAFETY_NET)
                assert not thread.is_alive()
                return outcome.get()
        else:
            thread = FunctionThread()
            thread.outcome = outcome
            thread.start()

            def join():
                assert thread.wait(SAFETY_NET * 1000)
                return outcome.get()

        return join

    return start


@pytest.fixture
def in_qt_thread(qt, QtCore):
    """in_qt_thread(*functions): each runs in a slot of its own in one QThread.

    A function gets done(), after which the next one runs.  Between the slots no Python
    code is on the thread's stack.
    """
    from .in_threads import SAFETY_NET

    def call(*functions):
        errors = []

        class Worker(QtCore.QObject):
            next = qt.Signal()

            def __init__(self):
                super().__init__()
                self.functions = iter(functions)

            @qt.Slot()
            def step(self):
                try:
                    function = next(self.functions, None)
                    if function is None:
                        QtCore.QThread.currentThread().quit()
                    else:
                        function(self.next.emit)
                except BaseException as exc:
                    errors.append(exc)
                    QtCore.QThread.currentThread().quit()

        thread, here = QtCore.QThread(), QtCore.QEventLoop()
        worker = Worker()
        worker.moveToThread(thread)
        thread.started.connect(worker.step)
        worker.next.connect(worker.step, QtCore.Qt.ConnectionType.QueuedConnection)
        # Qt runs here meanwhile: PySide calls slots that are functions by way of the
        # sender's thread.
        thread.finished.connect(here.quit)
        net = QtCore.QTimer()
        net.timeout.connect(here.quit)
        net.start(SAFETY_NET * 1000)
        thread.start()
        (here.exec if hasattr(here, "exec") else here.exec_)()
        ended = thread.wait(SAFETY_NET * 1000)
        thread.started.disconnect(worker.step)
        qt.delete(worker)
        assert not errors, errors
        assert ended

    return call
