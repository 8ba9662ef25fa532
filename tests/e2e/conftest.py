"""A daemon, applications and peers, each in a runtime directory of the test's own."""

import asyncio
import contextlib
import gc
import pathlib
import queue
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import threading

import pytest

pytest.importorskip("msgpack", reason="the inspection protocol needs msgpack")

import qtinter
from qtinter.inspect import feed as feed_module

HERE = pathlib.Path(__file__).resolve().parent
sys.path.append(str(HERE))  # for peers.py; nothing of the package is there
PATIENCE = 60  # seconds; only a safety net


@pytest.fixture(autouse=True)
def runtime(monkeypatch):
    """A runtime directory, with a short path: a socket's name is limited."""
    path = tempfile.mkdtemp(prefix="qi")
    monkeypatch.setenv("QTINTER_RUNTIME_DIR", path)
    monkeypatch.setenv("QT_QPA_PLATFORM", "offscreen")
    monkeypatch.delenv("QTINTER_INSPECT", raising=False)
    yield pathlib.Path(path)
    shutil.rmtree(path, ignore_errors=True)


class Lines:
    """The lines that a process prints, with waiting."""

    def __init__(self, stream):
        self.seen = []
        self.ended = False
        self._queue = queue.Queue()
        self._thread = threading.Thread(target=self._read, args=(stream,), daemon=True)
        self._thread.start()

    def _read(self, stream):
        for line in stream:
            self._queue.put(line.rstrip("\n"))
        self._queue.put(None)

    def next(self):
        line = self._queue.get(timeout=PATIENCE)
        if line is None:
            self.ended = True
            raise EOFError(f"the process ended; it printed {self.seen}")
        self.seen.append(line)
        return line

    def wait_for(self, *words):
        """The first line from here on in which all the words are."""
        while True:
            line = self.next()
            if all(word in line for word in words):
                return line

    def rest(self):
        """Everything up to the end of the process."""
        while not self.ended:
            line = self._queue.get(timeout=PATIENCE)
            if line is None:
                self.ended = True
            else:
                self.seen.append(line)
        return self.seen


class Daemon:
    """A qtinterd in the foreground."""

    def __init__(self, program, *options, environment=None, prepare=None):
        self.process = subprocess.Popen(
            [program, "--foreground", *options],
            env=dict(feed_module.daemon_environment(), **(environment or {})),
            stdin=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            preexec_fn=prepare,
        )
        self.log = Lines(self.process.stderr)

    @property
    def pid(self):
        return self.process.pid

    def stop(self, number=signal.SIGTERM):
        self.process.send_signal(number)
        return self.process.wait(PATIENCE)


@pytest.fixture(scope="session")
def program():
    """Path of qtinterd."""
    path = feed_module.find_daemon()
    if path is None:
        pytest.skip("qtinterd is not built: Qt 6 Network or msgpack-c was missing")
    return path


@pytest.fixture
def start_daemon(program):
    started = []

    def start(*options, wait=True, **more):
        daemon = Daemon(program, *options, **more)
        started.append(daemon)
        if wait:
            daemon.log.wait_for("listening on")
        return daemon

    yield start
    for daemon in started:
        if daemon.process.poll() is None:
            daemon.process.send_signal(signal.SIGCONT)
            daemon.stop()
        log = "\n".join(daemon.log.rest())
        daemon.process.stderr.close()
        assert "Sanitizer" not in log, log
        assert "runtime error" not in log, log


@pytest.fixture
def daemon(start_daemon):
    return start_daemon()


class Application:
    def __init__(self, *options):
        self.process = subprocess.Popen(
            [sys.executable, str(HERE / "application.py"), *options],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            bufsize=1,
        )
        self.lines = Lines(self.process.stdout)
        self.lines.wait_for("ready")

    @property
    def pid(self):
        return self.process.pid

    def send(self, line):
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()

    def ask(self, line):
        self.send(line)
        return self.lines.next()

    def kill(self):
        self.process.kill()
        self.process.wait(PATIENCE)


@pytest.fixture
def start_application():
    started = []

    def start(*options):
        application = Application(*options)
        started.append(application)
        return application

    yield start
    for application in started:
        with contextlib.suppress(ProcessLookupError):
            application.process.send_signal(signal.SIGCONT)
        application.kill()
        application.process.stdin.close()
        application.process.stdout.close()


@pytest.fixture
def application(start_application):
    return start_application()


@pytest.fixture
def inspect():
    """Runs a command of qtinter-inspect; returns the completed process."""

    def run(*words):
        return subprocess.run(
            [sys.executable, "-m", "qtinter.inspect", *words],
            cwd="/",  # not the checkout, which would hide the installed package
            capture_output=True,
            text=True,
            timeout=PATIENCE,
        )

    return run


@pytest.fixture
def run():
    """Runs a coroutine on a plain asyncio loop, within PATIENCE."""

    def run(coroutine):
        return asyncio.run(asyncio.wait_for(coroutine, PATIENCE))

    return run


@pytest.fixture
def until():
    """``await until(feed, condition)``: takes in changes until the condition holds."""

    async def until(feed, condition):
        changes = feed.__aiter__()
        while not condition():
            await changes.__anext__()

    return until


@pytest.fixture
def known(run):
    """Waits until the daemon knows an application; returns it."""

    async def wait(pid):
        async with feed_module.connect() as feed:
            async for change in feed:
                if change.what == "up" and change.pid == pid:
                    return

    def known(application):
        run(wait(application.pid))
        return application

    return known


@pytest.fixture
def path(tmp_path):
    """Where a recording of the test goes."""
    return tmp_path / "a.qtrace"


@pytest.fixture
def ask(run):
    """Sends a request in the role control, or another one; returns its value."""

    async def request(role, name, **fields):
        async with feed_module.connect(role=role) as feed:
            return await feed.request(name, **fields)

    def ask(name, role="control", **fields):
        return run(request(role, name, **fields))

    return ask


@pytest.fixture
def show(app):
    """Runs a coroutine function with the window, on our loop in Qt's.

    ``live`` is what the window shows: True the daemon, False nothing, or the address of
    a daemon.
    """

    def show(coroutine_function, live=True, theme="light"):
        failure = []

        async def main(window):
            try:
                if live:
                    window.start_live(None if live is True else live)
                else:
                    window.start()
                await asyncio.wait_for(coroutine_function(window), PATIENCE)
            except BaseException as exc:
                failure.append(exc)
            finally:
                if window.live is not None:
                    await window.live.stop()
                app.quit()

        with qtinter.using_asyncio_from_qt() as loop:
            from qtinter.inspect.gui.qt import QtCore
            from qtinter.inspect.gui.window import Window

            window = Window(theme)
            window.show()
            task = loop.create_task(main(window))
            app.exec()
            del task
            window.close()
        window.deleteLater()
        del window, main
        app.sendPostedEvents(None, QtCore.QEvent.Type.DeferredDelete)
        gc.collect()
        if failure:
            raise failure[0]

    return show


@pytest.fixture
def many_descriptors():
    """Enough of them for many connections."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 4096), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
