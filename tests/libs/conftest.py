"""Fixtures for programs that use other people's libraries on our loop."""

import asyncio
import os
import pathlib
import socket
import ssl
import subprocess
import sys
import xml.etree.ElementTree as ElementTree

import pytest

import qtinter

INNER = pathlib.Path(__file__).resolve().parent / "inner"
DEFERRED_DELETE = 52  # QEvent::DeferredDelete, which each binding spells its own way
SAFETY_NET = 60  # seconds; a program that meets it fails


class Heartbeat:
    """A Qt timer that beats while a program runs, to show that Qt is served."""

    def __init__(self, QtCore):
        self.beats = 0
        self._timer = QtCore.QTimer()
        self._timer.setInterval(0)
        self._timer.timeout.connect(self._beat)
        self._timer.start()

    def _beat(self):
        self.beats += 1

    def stop(self):
        self._timer.stop()
        self._timer.timeout.disconnect()
        self._timer.deleteLater()


def run_attached(app, coro):
    """The result of the coroutine, which runs while app.exec() does."""
    with qtinter.using_asyncio_from_qt() as loop:
        task = loop.create_task(asyncio.wait_for(coro, SAFETY_NET))
        task.add_done_callback(lambda _: app.quit())
        (getattr(app, "exec", None) or app.exec_)()
        assert task.done(), "somebody else ended app.exec()"
        return task.result()


def run_nested(app, coro):
    """The result of the coroutine, on a loop that runs Qt."""
    return qtinter.run(asyncio.wait_for(coro, SAFETY_NET))


RUNNERS = {"attached": run_attached, "nested": run_nested}


@pytest.fixture(params=list(RUNNERS))
def run(request, app, QtCore):
    """run(coro): its result; nothing may reach the loop's exception handler.

    Once attached to app.exec(), and once on a loop that runs Qt itself.
    """

    def run(coro):
        reports = []

        async def main():
            loop = asyncio.get_running_loop()
            assert isinstance(loop, qtinter.QiBaseEventLoop)
            loop.set_exception_handler(lambda loop, context: reports.append(context))
            return await coro

        heartbeat = Heartbeat(QtCore)
        try:
            result = RUNNERS[request.param](app, main())
        finally:
            heartbeat.stop()
        assert not reports, f"reported to the exception handler: {reports}"
        assert heartbeat.beats, "Qt was not served while the program ran"
        return result

    return run


@pytest.fixture
def signals(no_leaks, app, QtCore, binding):
    """A QObject with the signals text(str) and number(int)."""
    Signal = QtCore.pyqtSignal if binding.startswith("PyQt") else QtCore.Signal

    class Signals(QtCore.QObject):
        text = Signal(str)
        number = Signal(int)

    signals = Signals()
    yield signals
    # Bindings hold a connected function, which may refer to the object, until that is
    # deleted in C++.
    signals.deleteLater()
    QtCore.QCoreApplication.sendPostedEvents(None, DEFERRED_DELETE)
    QtCore.QCoreApplication.processEvents()


@pytest.fixture(scope="session")
def certificates():
    """(server context, client context) for 127.0.0.1 and localhost."""
    import trustme

    authority = trustme.CA()
    server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("127.0.0.1", "localhost").configure_cert(server)
    client = ssl.create_default_context()
    authority.configure_trust(client)
    return server, client


# --- programs of their own process ---------------------------------------------------


@pytest.fixture(scope="session")
def inner():
    """Folder of the programs that run in a process of their own."""
    return INNER


@pytest.fixture
def run_program(tmp_path):
    """run_program(script, *args, env=None): what a script of inner/ printed.

    The script must end with exit code 0.
    """

    def run(script, *args, env=None):
        ended = subprocess.run(
            [sys.executable, str(INNER / script), *args],
            cwd=str(tmp_path),
            env=_environment(tmp_path, env),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=2 * SAFETY_NET,
        )
        assert ended.returncode == 0, ended.stdout + ended.stderr
        return ended.stdout

    return run


@pytest.fixture
def run_pytest(tmp_path):
    """run_pytest(folder, *args): {test name: outcome} of a pytest project of inner/."""

    def run(folder, *args):
        report = tmp_path / "report.xml"
        command = [sys.executable, "-m", "pytest", str(INNER / folder)]
        command += ["-c", str(INNER / folder / "pytest.ini"), f"--junitxml={report}"]
        command += ["-p", "no:cacheprovider", *args]
        ended = subprocess.run(
            command,
            cwd=str(tmp_path),
            env=_environment(tmp_path, {"PYTHONPATH": _python_path(INNER / folder)}),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=2 * SAFETY_NET,
        )
        assert report.exists(), ended.stdout
        outcomes = {}
        for case in ElementTree.parse(str(report)).iter("testcase"):
            problems = [child.tag for child in case if child.tag in OUTCOMES]
            outcomes[case.get("name")] = problems[0] if problems else "passed"
        bad = {name for name, outcome in outcomes.items() if outcome != "passed"}
        assert not bad, ended.stdout
        assert ended.returncode == 0, ended.stdout
        return outcomes

    return run


OUTCOMES = ("failure", "error", "skipped")


def _python_path(folder):
    before = os.environ.get("PYTHONPATH")
    return f"{folder}{os.pathsep}{before}" if before else str(folder)


def _environment(home, extra):
    """The environment of a program: what IPython and others keep goes to *home*."""
    environment = dict(os.environ, HOME=str(home), PYTHONFAULTHANDLER="1")
    for name, value in (extra or {}).items():
        if value is None:
            environment.pop(name, None)
        else:
            environment[name] = value
    return environment


@pytest.fixture
def unused_port():
    """A TCP port of 127.0.0.1 on which nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
