"""The Qt hosts, and the choice of one.

Both are driven as the loop core drives them, the native host through ctypes.  What only
C++ can reach of the native host is tested in tests/cpp/tst_glue.cpp.
"""

import ctypes
import gc
import importlib
import importlib.util
import json
import os
import re
import sys
import threading
import weakref

import pytest

import qtinter._hosts as hosts
from qtinter._hosts import TURN_FD, TURN_WAKE, BindingHost

QT_MAJOR = "6" if os.environ["QTINTERBINDING"].endswith("6") else "5"
GLUE = hosts.GLUE_MODULES[QT_MAJOR]
HAS_NATIVE = importlib.util.find_spec(GLUE) is not None

TURN = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_int)
ACTION = ctypes.CFUNCTYPE(None, ctypes.c_void_p)
QUERY = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p)


class QiHost(ctypes.Structure):
    """struct qi_host of _native/host.h."""

    _fields_ = (
        ("name", ctypes.c_char_p),
        ("needs_gil", ctypes.c_int),
        ("impl", ctypes.c_void_p),
        (
            "start",
            ctypes.CFUNCTYPE(
                ctypes.c_int, ctypes.c_void_p, ctypes.c_int, TURN, ctypes.c_void_p
            ),
        ),
        ("stop", ACTION),
        ("watch", ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_int)),
        ("wake", ACTION),
        ("enter", QUERY),
        ("leave", ACTION),
        ("quit", ACTION),
        ("depth", QUERY),
        ("error", ctypes.CFUNCTYPE(ctypes.c_char_p, ctypes.c_void_p)),
        ("now_ns", ctypes.c_void_p),
        ("arm", ctypes.c_void_p),
        ("free", ctypes.CFUNCTYPE(None, ctypes.c_void_p)),
    )


class NativeHost:
    """The native host with the methods of BindingHost."""

    def __init__(self):
        self._capsule = importlib.import_module(GLUE).new_host()
        get_pointer = ctypes.pythonapi.PyCapsule_GetPointer
        get_pointer.restype = ctypes.c_void_p
        get_pointer.argtypes = (ctypes.py_object, ctypes.c_char_p)
        address = get_pointer(self._capsule, b"qtinter._native.qi_host")
        self._host = QiHost.from_address(address)
        self._turns = []  # ctypes needs them as long as they may be called
        assert (self._host.name, self._host.needs_gil) == (b"native", 0)

    def start(self, fd, turn):
        self._turns.append(TURN(lambda core, reason: turn(reason)))
        if self._host.start(self._host.impl, fd, self._turns[-1], None) != 0:
            raise RuntimeError(self._host.error(self._host.impl).decode())

    def stop(self):
        self._host.stop(self._host.impl)

    def watch(self, enabled):
        self._host.watch(self._host.impl, enabled)

    def wake(self):
        self._host.wake(self._host.impl)

    def enter(self):
        return self._host.enter(self._host.impl)

    def leave(self):
        self._host.leave(self._host.impl)

    def quit(self):
        self._host.quit(self._host.impl)

    def depth(self):
        return self._host.depth(self._host.impl)


class Core:
    """The core's side of a host: records turns and runs a script during each."""

    def __init__(self, new_host):
        self.host = new_host()
        self.read_fd, self._write_fd = os.pipe()
        self.reasons = []
        self.on_turn = lambda reason: None
        self.errors = []

    def start(self):
        self.host.start(self.read_fd, self.turn)

    def turn(self, reason):
        self.reasons.append(reason)
        try:
            self.on_turn(reason)
        except BaseException as exc:  # must not get into Qt
            self.errors.append(exc)

    def fill(self):
        os.write(self._write_fd, b"x")

    def drain(self):
        os.read(self.read_fd, 1)

    def close(self):
        self.host.stop()
        os.close(self.read_fd)
        os.close(self._write_fd)
        assert self.errors == []


@pytest.fixture
def qt_messages(QtCore):
    """What Qt printed during the test; it must be nothing."""
    texts = []
    old = QtCore.qInstallMessageHandler(lambda kind, context, text: texts.append(text))
    yield texts
    QtCore.qInstallMessageHandler(old)
    assert texts == []


@pytest.fixture
def binding_host(app, QtCore):
    return lambda: BindingHost(QtCore)


@pytest.fixture(params=["binding", "native"] if HAS_NATIVE else ["binding"])
def new_host(request, app, binding_host):
    return binding_host if request.param == "binding" else NativeHost


@pytest.fixture
def core(new_host, QtCore, qt_messages):
    core = Core(new_host)
    yield core
    core.close()
    settle(QtCore)


@pytest.fixture
def binding_core(binding_host, QtCore, qt_messages):
    core = Core(binding_host)
    yield core
    core.close()
    settle(QtCore)


def run_loop(loop):
    return loop.exec() if hasattr(loop, "exec") else loop.exec_()


def settle(QtCore):
    """Lets the loop of this thread go round until nothing that was due can be left."""
    loop, timer, rounds = QtCore.QEventLoop(), QtCore.QTimer(), iter(range(4))
    timer.timeout.connect(lambda: next(rounds, None) is None and loop.exit())
    timer.start(0)
    run_loop(loop)
    timer.stop()


def in_thread(body):
    """Runs *body* in a thread that Qt did not start, and passes on its exception."""
    raised = []

    def run():
        try:
            body()
        except BaseException as exc:
            raised.append(exc)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    if raised:
        raise raised[0]


def test_readable_descriptor_gives_a_turn(core, QtCore):
    core.start()
    core.fill()

    def on_turn(reason):
        core.drain()
        core.host.leave()

    core.on_turn = on_turn
    assert core.host.enter() == 0
    settle(QtCore)
    assert core.reasons == [TURN_FD]


def test_wake_is_served_once_and_later(core, QtCore):
    core.start()
    for _ in range(3):
        core.host.wake()
    assert core.reasons == []
    settle(QtCore)
    assert core.reasons == [TURN_WAKE]
    core.host.wake()
    settle(QtCore)
    assert core.reasons == [TURN_WAKE, TURN_WAKE]


def test_wake_during_a_turn_asks_for_one_more(core, QtCore):
    core.start()
    depth = []

    def on_turn(reason):
        depth.append(1)
        assert len(depth) == 1
        if len(core.reasons) < 10:
            core.host.wake()
            core.host.wake()
        depth.pop()

    core.on_turn = on_turn
    core.host.wake()
    for _ in range(10):
        settle(QtCore)
    assert core.reasons == [TURN_WAKE] * 10


def test_waking_for_ever_starves_nobody(core, QtCore):
    core.start()
    core.on_turn = lambda reason: core.host.wake()
    core.host.wake()
    settle(QtCore)
    turns = len(core.reasons)
    assert turns > 0
    settle(QtCore)
    assert turns < len(core.reasons) <= turns + 10  # about one turn to a round


def test_no_turn_after_stop(core, QtCore):
    core.start()
    core.fill()
    core.host.wake()
    core.host.stop()
    core.host.wake()
    core.host.watch(1)
    settle(QtCore)
    assert core.reasons == []


def test_stop_without_start_and_twice(core, QtCore):
    host = core.host
    host.stop()
    host.wake()
    host.watch(0)
    host.leave()
    host.quit()
    core.start()
    host.stop()
    host.stop()
    settle(QtCore)
    assert core.reasons == []


def test_starts_again(core, QtCore):
    for _ in range(3):
        core.start()
        core.host.wake()
        settle(QtCore)
        core.host.stop()
    assert core.reasons == [TURN_WAKE] * 3


def test_start_twice_fails(core, QtCore):
    core.start()
    with pytest.raises(RuntimeError, match="already been started"):
        core.start()
    core.host.wake()
    settle(QtCore)
    assert core.reasons == [TURN_WAKE]


def test_invalid_descriptor_fails(core):
    with pytest.raises(RuntimeError, match="not valid"):
        core.host.start(-1, core.turn)
    core.start()


@pytest.mark.parametrize("reason", [TURN_FD, TURN_WAKE], ids=["fd", "wake"])
@pytest.mark.parametrize("restart", [False, True], ids=["stop", "restart"])
def test_stop_inside_turn(core, QtCore, reason, restart):
    core.start()
    (core.fill if reason == TURN_FD else core.host.wake)()

    def on_turn(why):
        core.host.wake()
        core.host.stop()
        if restart:
            core.start()
            core.host.stop()
        gc.collect()
        settle(QtCore)  # a nested loop must not delete what is on the stack below it

    core.on_turn = on_turn
    settle(QtCore)
    assert core.reasons == [reason]


def test_host_dropped_inside_turn(core, QtCore, new_host):
    core.start()
    core.fill()

    def on_turn(reason):
        core.host.stop()
        core.host = new_host()
        gc.collect()

    core.on_turn = on_turn
    settle(QtCore)
    assert core.reasons == [TURN_FD]


def test_enter_nests_and_leave_ends_the_innermost(core):
    core.start()
    host, log = core.host, []

    def on_turn(reason):
        depth = host.depth()
        log.append(depth)
        if depth < 3:
            host.wake()
            assert host.enter() == 0
            assert host.depth() == depth
            log.append(-depth)
        host.leave()

    core.on_turn = on_turn
    host.wake()
    assert host.enter() == 0
    assert log == [1, 2, 3, -2, -1]
    assert host.depth() == 0


def test_leave_twice_from_inside_leaves_two_loops(core):
    core.start()
    host = core.host

    def on_turn(reason):
        if host.depth() == 1:
            host.wake()
            assert host.enter() == 0
            return  # the outer loop has been left already
        for _ in range(3):
            host.leave()

    core.on_turn = on_turn
    host.wake()
    assert host.enter() == 0
    assert len(core.reasons) == 2


def test_watch_pauses_and_resumes(core, QtCore):
    core.start()
    core.fill()
    core.host.watch(0)
    settle(QtCore)
    assert core.reasons == []
    core.host.wake()  # wake() works while paused
    settle(QtCore)
    assert core.reasons == [TURN_WAKE]
    core.on_turn = lambda reason: core.drain()
    core.host.watch(1)
    settle(QtCore)
    assert core.reasons == [TURN_WAKE, TURN_FD]


def test_quit_ends_own_loops_and_spoils_none(core, QtCore):
    core.start()
    host = core.host
    host.quit()  # no loop runs: nothing happens

    def on_turn(reason):
        if host.depth() == 1:
            host.wake()
            assert host.enter() == 0
            return
        host.quit()

    core.on_turn = on_turn
    for _ in range(2):
        host.wake()
        assert host.enter() == 0
    assert len(core.reasons) == 4
    loop = QtCore.QEventLoop()
    QtCore.QTimer.singleShot(0, lambda: loop.exit(3))
    assert run_loop(loop) == 3  # -1 after a QCoreApplication.exit()


def test_quit_ends_the_application(core, app):
    core.start()
    core.on_turn = lambda reason: core.host.quit()
    for _ in range(2):  # and it can be run again
        core.host.wake()
        assert run_loop(app) == 0
    assert len(core.reasons) == 2


def test_foreign_exit_code_is_returned(core, QtCore, app):
    core.start()
    core.on_turn = lambda reason: QtCore.QCoreApplication.exit(7)
    core.host.wake()
    assert core.host.enter() == 7
    assert core.host.enter() == -1  # Qt refuses from here on, see quit()
    QtCore.QTimer.singleShot(0, lambda: app.exit(0))
    assert run_loop(app) == 0


def test_works_in_a_thread_of_python(new_host, qt_messages):
    def body():
        core = Core(new_host)
        core.start()
        core.fill()
        threads = set()

        def on_turn(reason):
            threads.add(threading.get_ident())
            if reason == TURN_FD:
                core.drain()
                core.host.wake()
            else:
                core.host.quit()

        core.on_turn = on_turn
        for _ in range(2):  # the second is not spoilt by the first quit()
            assert core.host.enter() == 0
            core.fill()
        assert core.reasons == [TURN_FD, TURN_WAKE] * 2
        assert threads == {threading.get_ident()}
        core.close()

    in_thread(body)


def test_keeps_its_core_until_stop_and_no_longer(binding_host, QtCore, qt_messages):
    core = Core(binding_host)
    core.start()
    alive, host = weakref.ref(core), core.host
    core.host.wake()
    del core
    gc.collect()
    assert alive() is not None  # Qt may call it
    settle(QtCore)
    assert alive().reasons == [TURN_WAKE]
    alive().close()
    del host
    gc.collect()
    assert alive() is None


def test_no_python_code_runs_between_qt_and_turn(binding_core, QtCore):
    """Else a KeyboardInterrupt could be raised there, and escape into Qt."""
    timer, entered, reasons = QtCore.QTimer(), [], []
    loop = QtCore.QEventLoop()
    timer.timeout.connect(loop.quit)
    binding_core.host.start(binding_core.read_fd, reasons.append)
    binding_core.fill()
    binding_core.host.wake()
    run = loop.exec if hasattr(loop, "exec") else loop.exec_
    timer.start(20)  # rounds with nothing but turns, until something else is due
    sys.setprofile(
        lambda frame, event, arg: event == "call" and entered.append(frame.f_code)
    )
    try:
        run()
    finally:
        sys.setprofile(None)
    assert set(reasons) == {TURN_FD, TURN_WAKE}
    assert entered == []


def test_leaves_no_qt_object_behind(binding_core, QtCore):
    dispatcher = QtCore.QAbstractEventDispatcher.instance()
    settle(QtCore)
    before = len(dispatcher.children())
    for _ in range(5):
        binding_core.start()
        binding_core.host.stop()
    settle(QtCore)
    assert len(dispatcher.children()) == before


def test_application_destroyed_while_started(run_isolated):
    result = run_isolated("host_outlives_application.py")
    assert result.stderr == ""
    assert result.stdout.splitlines() == [
        "no application: no instance of QCoreApplication or a derived class exists",
        "stopped, turns: []",
        "second application, turns: [0]",
    ]
    assert result.returncode == 0


# --- the choice ----------------------------------------------------------------------


@pytest.fixture
def fresh_choice(monkeypatch, binding):
    """The choice is made anew, and nothing forces a host."""
    monkeypatch.delenv("QTINTER_HOST", raising=False)
    hosts._load_glue.cache_clear()
    yield monkeypatch
    hosts._load_glue.cache_clear()


def is_native(host):
    return type(host).__name__ == "PyCapsule"


def test_native_host_is_the_default_where_there_is_one(fresh_choice, app):
    host = hosts.new_host()
    assert is_native(host) == HAS_NATIVE
    assert isinstance(host, BindingHost) != HAS_NATIVE


def test_host_can_be_forced(fresh_choice, app):
    fresh_choice.setenv("QTINTER_HOST", "binding")
    assert isinstance(hosts.new_host(), BindingHost)
    fresh_choice.setenv("QTINTER_HOST", "native")
    if HAS_NATIVE:
        assert is_native(hosts.new_host())
    else:
        with pytest.raises(RuntimeError, match="not available: "):
            hosts.new_host()


@pytest.mark.parametrize("value", ["Native", "qt", " "])
def test_unknown_host_is_refused(fresh_choice, value):
    fresh_choice.setenv("QTINTER_HOST", value)
    with pytest.raises(RuntimeError) as caught:
        hosts.new_host()
    assert str(caught.value) == (
        f"QTINTER_HOST is {value!r}: allowed values are 'native' and 'binding'"
    )


class FakeGlue:
    """Stands for the native host's module bound to another Qt than the binding."""

    @staticmethod
    def qt_version():
        return ("6.4.2", "6.0.99")


def import_raises(exc):
    def import_module(name):
        raise exc

    return import_module


@pytest.mark.parametrize(
    ("import_module", "reason"),
    [
        (import_raises(ModuleNotFoundError("x")), "qtinter was installed without it"),
        (import_raises(ImportError("does not work with Qt")), "does not work with Qt"),
        (lambda name: FakeGlue, "bound to Qt 6.0.99, and the binding to Qt "),
    ],
    ids=["not built", "does not load", "other Qt"],
)
def test_native_host_not_available(fresh_choice, QtCore, import_module, reason):
    fresh_choice.setattr(hosts, "_qt_core", lambda: QtCore)
    check = hosts._liveness_check(QtCore)
    fresh_choice.setattr(hosts, "_liveness_check", lambda qt: check)
    fresh_choice.setattr(hosts.importlib, "import_module", import_module)
    assert isinstance(hosts.new_host(), BindingHost)
    fresh_choice.setenv("QTINTER_HOST", "native")
    with pytest.raises(RuntimeError, match="QTINTER_HOST is 'native'.*" + reason):
        hosts.new_host()


class FutureQtCore:
    """Stands for the QtCore of a binding for a Qt that is not out yet."""

    @staticmethod
    def qVersion():
        return "7.0.1"


def test_no_native_host_for_this_qt(fresh_choice):
    fresh_choice.setattr(hosts, "_qt_core", lambda: FutureQtCore)
    fresh_choice.setenv("QTINTER_HOST", "native")
    with pytest.raises(RuntimeError, match=r"not available: there is none for Qt 7\.0"):
        hosts.new_host()


def test_renamed_or_second_qt_is_refused(fresh_choice, QtCore):
    core = f"libQt{QT_MAJOR}Core"
    fresh_choice.setenv("QTINTER_HOST", "native")
    renamed = [f"/opt/{core}_vendor.so.{QT_MAJOR}"]
    fresh_choice.setattr(hosts, "loaded_qt_cores", lambda major: renamed)
    reason = f"not loaded from a {core}.so.{QT_MAJOR}"
    with pytest.raises(RuntimeError, match=re.escape(reason)):
        hosts.new_host()
    hosts._load_glue.cache_clear()
    two = [f"/b/{core}.so.{QT_MAJOR}", f"/a/{core}.so.{QT_MAJOR}"]
    fresh_choice.setattr(hosts, "loaded_qt_cores", lambda major: two)
    reason = r"more than one Qt is loaded: /a/.*, /b/" if HAS_NATIVE else "without it"
    with pytest.raises(RuntimeError, match=reason):
        hosts.new_host()


@pytest.mark.parametrize("host", ["binding", "native"] if HAS_NATIVE else ["binding"])
def test_one_qt_in_the_process(run_isolated, binding, host):
    """After a loop has run: one QtCore, all of Qt from one folder, one binding."""
    if not sys.platform.startswith("linux"):
        pytest.skip("reads /proc/self/maps")
    result = run_isolated("one_qt.py", env={"QTINTER_HOST": host})
    assert result.returncode == 0, result.stderr
    report = json.loads(result.stdout)
    assert report["hosts"] == [host, host]
    assert report["bindings"] == [binding]
    assert len(report["cores"]) == 1, report["cores"]
    assert f"libQt{QT_MAJOR}Core" in report["cores"][0]
    assert len(report["folders"]) == 1, report["folders"]
    assert report["native hosts"] == ([GLUE] if host == "native" else [])


def test_loaded_cores_are_the_mapped_ones(app):
    cores = hosts.loaded_qt_cores(QT_MAJOR)
    if sys.platform.startswith("linux"):
        (core,) = cores
        with open("/proc/self/maps") as maps:
            assert os.path.realpath(core) in maps.read()
    assert hosts.loaded_qt_cores("5" if QT_MAJOR == "6" else "6") == []


def test_capsule_nobody_took_frees_its_host(app):
    if HAS_NATIVE:
        glue = importlib.import_module(GLUE)
        compiled, loaded = glue.qt_version()
        assert compiled.split(".")[0] == loaded.split(".")[0] == QT_MAJOR
        for _ in range(100):
            glue.new_host()
