"""Suites of tests in processes of their own, for the tests of our pytest plugins."""

import importlib.util
import os
import subprocess
import sys

import pytest

TIMEOUT = 180  # seconds, a safety net

PRELUDE = """
import asyncio
import pytest
import qtinter
from qtinter.bindings import QtCore

Signal = getattr(QtCore, "Signal", None) or QtCore.pyqtSignal


class Window(QtCore.QObject):
    clicked = Signal()
    saved = Signal()
    never = Signal()

    @qtinter.asyncslot
    async def on_save(self):
        await asyncio.sleep(0.001)
        self.saved.emit()

    @qtinter.asyncslot
    async def on_hang(self):
        await qtinter.asyncsignal(self.never)


@pytest.fixture
def window(qtinter_loop):
    return Window()


@pytest.fixture
def saving(window):
    window.clicked.connect(window.on_save)
    return window


@pytest.fixture
def hanging(window):
    window.clicked.connect(window.on_hang)
    return window
"""


class Suite:
    """A folder with test files, and pytest processes on it."""

    def __init__(self, folder, runtime):
        self.folder = folder
        self.traces = folder / ".qtinter" / "traces"
        self._runtime = runtime
        self.write("pytest.ini", "[pytest]\n")

    def write(self, name, text):
        (self.folder / name).write_text(text, encoding="utf-8")

    def tests(self, text, name="test_it.py"):
        """Writes a test file, with what PRELUDE has before it."""
        self.write(name, PRELUDE + text)

    def start(self, *options, plugins=(), env=(), loop=True):
        """A pytest process with our plugins and these, which must be installed.

        loop: with qtinter.pytest_plugin, which imports qtinter.
        """
        command = [sys.executable, "-m", "pytest", "-rA", "-p", "no:cacheprovider"]
        ours = ("qtinter", "qtinter.pytest_plugin") if loop else ("qtinter",)
        for name in (*ours, *plugins):
            command += ["-p", name]
        environment = dict(
            os.environ,
            PYTEST_DISABLE_PLUGIN_AUTOLOAD="1",
            PYTHONIOENCODING="utf-8",
            QTINTER_RUNTIME_DIR=str(self._runtime),
            COLUMNS="200",
        )
        for name in ("QTINTER_INSPECT", "PYTEST_ADDOPTS", "PYTEST_CURRENT_TEST"):
            environment.pop(name, None)
        environment.update(env)
        return subprocess.Popen(
            command + list(map(str, options)),
            cwd=str(self.folder),
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )

    def run(self, *options, **more):
        """What a pytest process printed."""
        return self.output(self.start(*options, **more))

    def output(self, process):
        try:
            output, _ = process.communicate(timeout=TIMEOUT)
        except subprocess.TimeoutExpired:
            process.kill()
            output, _ = process.communicate()
            text = output.decode("utf-8", "replace")
            pytest.fail(f"pytest did not end within {TIMEOUT} s:\n{text}")
        return output.decode("utf-8", "replace")

    def sessions(self):
        """The folders of sessions, oldest first."""
        if not self.traces.is_dir():
            return []
        found = [path for path in self.traces.iterdir() if not path.is_symlink()]
        return sorted(path for path in found if path.is_dir())

    def kept(self):
        """The folders of tests that were kept, by name; of the only session."""
        sessions = self.sessions()
        assert len(sessions) <= 1, sessions
        return {path.name: path for each in sessions for path in each.iterdir()}


def needs(*modules):
    """Skips the test where one of these plugins is not installed."""
    for module in modules:
        if importlib.util.find_spec(module) is None:
            pytest.skip(f"{module} is not installed")
