"""Fixtures of all Python tests.

One pytest process tests one Qt binding and one host, because a process can load only
one binding: QTINTERBINDING names the binding, QTINTER_HOST forces the host (see
tests/tools/run_suites.py, which runs all of them).
"""

import gc
import importlib
import importlib.util
import os
import pathlib
import signal
import subprocess
import sys
import time

import pytest

TESTS = pathlib.Path(__file__).resolve().parent
CHECKOUT = TESTS.parent

BINDINGS = ("PyQt6", "PySide6", "PyQt5", "PySide2")


def _choose_binding():
    chosen = os.environ.get("QTINTERBINDING")
    if chosen:
        return chosen
    for name in BINDINGS:
        if importlib.util.find_spec(name) is not None:
            return name
    raise pytest.UsageError(f"no Qt binding is installed, of {BINDINGS}")


def _check_installed_package():
    """Refuses to test the checkout instead of the installed package."""
    import qtinter

    found = pathlib.Path(qtinter.__file__).resolve().parent
    if found == CHECKOUT / "qtinter":
        raise pytest.UsageError(
            f"qtinter was imported from the checkout ({found}), not from an installed "
            "package: run pytest (not python -m pytest), outside of PYTHONPATH=."
        )


def native_host_module(binding):
    """Name of the module with the native host for a binding's Qt; None if not built."""
    from qtinter._hosts import GLUE_MODULES

    name = GLUE_MODULES["6" if binding.endswith("6") else "5"]  # PySide2 is Qt 5, too
    return name if importlib.util.find_spec(name) is not None else None


def pytest_configure(config):
    os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
    # Painting would start threads of Qt's, whose descriptors come and go.
    os.environ["QT_NO_GUI_THREADPOOL"] = "1"
    os.environ["QTINTERBINDING"] = _choose_binding()
    _check_installed_package()


def pytest_report_header(config):
    import qtinter

    host = os.environ.get("QTINTER_HOST", "not forced")
    return [
        f"qtinter {qtinter.__version__} from {pathlib.Path(qtinter.__file__).parent}",
        f"binding {os.environ['QTINTERBINDING']}, host {host}",
    ]


@pytest.fixture(scope="session")
def binding():
    """Name of the binding under test, e.g. "PyQt6"."""
    return os.environ["QTINTERBINDING"]


@pytest.fixture(scope="session")
def host_name(binding):
    """Name of the host that loops of this process are expected to have."""
    forced = os.environ.get("QTINTER_HOST")
    if forced:
        return forced
    return "native" if native_host_module(binding) is not None else "binding"


@pytest.fixture(scope="session")
def QtCore(binding):
    """The QtCore module of the binding under test."""
    qt_core = importlib.import_module(f"{binding}.QtCore")
    # PySide2 has only exec_(): in Python 2, exec was a statement.
    for cls in (qt_core.QEventLoop, qt_core.QCoreApplication, qt_core.QThread):
        if not hasattr(cls, "exec"):
            cls.exec = cls.__dict__["exec_"]
    return qt_core


@pytest.fixture(scope="session")
def app(binding, QtCore):
    """The application object of the process: a QApplication where there are widgets.

    Tests that need a process without an application object use run_isolated.
    """
    if importlib.util.find_spec(f"{binding}.QtWidgets") is not None:
        application = importlib.import_module(f"{binding}.QtWidgets").QApplication
    else:
        application = QtCore.QCoreApplication
    return QtCore.QCoreApplication.instance() or application(["qtinter-tests"])


# --- leaks ---------------------------------------------------------------------------

_call_failed = pytest.StashKey()


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    outcome = yield
    if call.when == "call":
        item.stash[_call_failed] = not outcome.get_result().passed


def _native_counts():
    core = sys.modules.get("qtinter._core")
    counts = getattr(core, "_debug_counts", None)
    return dict(counts()) if counts is not None else {}


def _open_fds():
    """Open descriptors and what they are, or {} where /proc does not tell."""
    folder = pathlib.Path("/proc/self/fd")
    if not folder.is_dir():
        return {}
    fds = {}
    for name in os.listdir(folder):
        try:
            fds[int(name)] = os.readlink(folder / name)
        except FileNotFoundError:
            pass  # the descriptor that listed the folder
    return fds


def _pool_threads():
    """How many threads Qt's pools have, which paint large areas, for example.

    They outlive the test that they were started for.  With Qt 6.6 and 6.7 each has an
    eventfd.
    """
    count = 0
    for task in pathlib.Path("/proc/self/task").glob("*/comm"):
        try:
            count += task.read_text().strip() == "Thread (pooled)"
        except OSError:
            pass  # it ended meanwhile
    return count


def _binding_keeps_functions():
    """PySide6 6.6 never releases the functions given to QTimer.singleShot().

    It is the last one for Python 3.8.  The loops that they hold stay alive, too.
    """
    version = getattr(sys.modules.get("PySide6"), "__version_info__", (7,))
    return tuple(version[:2]) < (6, 7)


DEFERRED_DELETE = 52  # QEvent::DeferredDelete, which each binding spells its own way


def _settle(core_application):
    if core_application is not None:
        # The bindings let go of a slot when the object in between is deleted "later".
        core_application.sendPostedEvents(None, DEFERRED_DELETE)
    # Twice: a finalizer of the first round may drop the last reference to a cycle.
    gc.collect()
    gc.collect()


@pytest.fixture(autouse=True)
def no_leaks(request):
    """Each test leaves as many native objects and descriptors as it found."""
    core_application = None
    if "app" in request.fixturenames:
        request.getfixturevalue("app")  # opens Qt's own descriptors before we count
        core_application = request.getfixturevalue("QtCore").QCoreApplication
    _settle(core_application)
    # What exists now is not looked at again: a collection of everything, four times a
    # test, would take most of the time of the whole suite.
    gc.freeze()
    counts_before, fds_before = _native_counts(), _open_fds()
    pool_before = _pool_threads()
    yield
    if request.node.stash.get(_call_failed, True):
        return  # its traceback keeps objects alive; the failure itself is reported
    _settle(core_application)
    counts, fds = _native_counts(), _open_fds()
    grown = {
        name: (counts_before.get(name, 0), count)
        for name, count in counts.items()
        if count > counts_before.get(name, 0) and not _binding_keeps_functions()
    }
    assert not grown, f"native objects (before, after): {grown}"
    # Qt closes what it has in a thread when the thread's storage is torn down, which is
    # a moment after join(): give that a chance to happen.
    deadline = time.monotonic() + 5
    while len(fds) > len(fds_before) and time.monotonic() < deadline:
        if len(fds) <= len(fds_before) + max(0, _pool_threads() - pool_before):
            return
        os.sched_yield()
        fds = _open_fds()
    new = {fd: what for fd, what in fds.items() if fds_before.get(fd) != what}
    assert len(fds) <= len(fds_before), f"descriptors left open: {new}"


# --- own processes -------------------------------------------------------------------


@pytest.fixture(scope="session")
def foreign_environment():
    """Environment of programs that are not ours: no sanitizer is loaded into them."""
    environment = dict(os.environ)
    environment.pop("LD_PRELOAD", None)
    return environment


@pytest.fixture
def run_isolated(tmp_path):
    """Runs a script of tests/isolated in a process of its own.

    run_isolated(script, *args, env=None, timeout=60) gives a CompletedProcess with the
    output as text.  env is added to the environment; a value of None removes the name.
    The timeout (seconds) is a safety net: it fails the test with what was printed.
    """

    def hear_ctrl_c():
        # A shell starts background jobs with SIGINT ignored, and that is inherited.
        signal.signal(signal.SIGINT, signal.SIG_DFL)

    def run(script, *args, env=None, timeout=60):
        environment = dict(os.environ, PYTHONFAULTHANDLER="1")
        for name, value in (env or {}).items():
            if value is None:
                environment.pop(name, None)
            else:
                environment[name] = value
        command = [sys.executable, str(TESTS / "isolated" / script), *map(str, args)]
        try:
            return subprocess.run(
                command,
                env=environment,
                cwd=str(tmp_path),
                stdin=subprocess.DEVNULL,
                preexec_fn=hear_ctrl_c if os.name == "posix" else None,
                capture_output=True,
                text=True,
                timeout=timeout,
            )
        except subprocess.TimeoutExpired as exc:
            pytest.fail(
                f"{script} did not end within {timeout} s\n"
                f"stdout: {exc.stdout}\nstderr: {exc.stderr}"
            )

    return run
