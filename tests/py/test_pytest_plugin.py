"""The plugin for pytest (pain 62), in pytest processes of its own."""

import asyncio
import importlib.util
import os
import subprocess
import sys

import pytest

from qtinter.pytest_plugin import wait_signal

FUNCTIONS = """
import asyncio
import pytest
import qtinter
from qtinter.bindings import QtCore

Signal = getattr(QtCore, "Signal", None) or QtCore.pyqtSignal


class Button(QtCore.QObject):
    clicked = Signal(bool)
    shown = ""

    @qtinter.asyncslot
    async def show(self):
        self.shown = "busy"
        await asyncio.sleep(0.001)
        self.shown = "done"

    async def fail(self):
        raise LookupError("in the slot")


@pytest.fixture
def button():
    return Button()


def wait_until(condition):
    while not condition():
        QtCore.QCoreApplication.processEvents()


def test_a_click(qtinter_loop, button):
    assert asyncio.get_running_loop() is qtinter_loop
    button.clicked.connect(button.show)
    button.clicked.emit(True)
    assert button.shown == "busy"
    wait_until(lambda: button.shown == "done")


def test_a_task_that_is_left(qtinter_loop):
    qtinter_loop.create_task(asyncio.sleep(3600))


def test_a_handler_of_its_own(qtinter_loop, button):
    contexts = []
    qtinter_loop.set_exception_handler(lambda loop, context: contexts.append(context))
    button.clicked.connect(qtinter.asyncslot(button.fail))
    button.clicked.emit(True)
    wait_until(lambda: contexts)


def test_a_slot_that_fails(qtinter_loop, button):
    button.clicked.connect(qtinter.asyncslot(button.fail))
    button.clicked.emit(True)
"""

COROUTINES = """
import asyncio
import pytest
import qtinter
from qtinter.bindings import QtCore


@pytest.mark.asyncio
async def test_on_our_loop():
    assert isinstance(asyncio.get_running_loop(), qtinter.QiDefaultEventLoop)
    timer = QtCore.QTimer()
    timer.setSingleShot(True)
    timer.start(1)
    await qtinter.asyncsignal(timer.timeout)
"""


@pytest.fixture
def run_pytest(tmp_path):
    """run_pytest(source, *plugins): the output of pytest with our plugin and these."""

    def run(source, *plugins, options=()):
        (tmp_path / "test_it.py").write_text(source)
        (tmp_path / "pytest.ini").write_text("[pytest]\n")
        command = [sys.executable, "-m", "pytest", "-rA", "-W", "error", "test_it.py"]
        for plugin in ("qtinter.pytest_plugin", *plugins):
            command += ["-p", plugin]
        command += options
        result = subprocess.run(
            command,
            cwd=str(tmp_path),
            env=dict(os.environ, PYTEST_DISABLE_PLUGIN_AUTOLOAD="1"),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=120,
        )
        return result.stdout

    return run


def check_functions(output):
    for name in ("a_click", "a_task_that_is_left", "a_handler_of_its_own"):
        assert f"PASSED test_it.py::test_{name}" in output, output
    assert "4 passed, 1 error" in output, output
    assert "ERROR test_it.py::test_a_slot_that_fails - RuntimeError" in output
    assert "LookupError: in the slot" in output
    assert "Exception in asyncslot Button.fail" in output


def test_the_fixture(run_pytest):
    check_functions(run_pytest(FUNCTIONS))


def test_the_fixture_beside_pytest_qt(run_pytest, binding):
    if binding == "PySide2":
        pytest.skip("pytest-qt knows PySide2 no more")
    if importlib.util.find_spec("pytestqt") is None:
        pytest.skip("pytest-qt is not installed")
    source = FUNCTIONS + (
        "\n\ndef test_the_application(qapp, qtinter_loop):\n"
        "    assert QtCore.QCoreApplication.instance() is qapp\n"
    )
    output = run_pytest(source, "pytestqt.plugin")
    check_functions(output.replace("5 passed", "4 passed"))
    assert "PASSED test_it.py::test_the_application" in output


def test_coroutine_functions_with_pytest_asyncio(run_pytest):
    if importlib.util.find_spec("pytest_asyncio") is None:
        pytest.skip("pytest-asyncio is not installed")
    metadata = pytest.importorskip("importlib.metadata", reason="3.7 has none")
    version = metadata.version("pytest-asyncio")
    if tuple(map(int, version.split(".")[:2])) < (1, 4):
        pytest.skip(f"pytest-asyncio {version} knows no loop factories; 1.4 does")
    scope = ("-o", "asyncio_default_fixture_loop_scope=function")
    output = run_pytest(COROUTINES, "pytest_asyncio.plugin", options=scope)
    assert "1 passed" in output, output


def test_wait_signal(run_qt, emitter, qt):
    async def main():
        async with wait_signal(emitter.one) as wait:
            emitter.one.emit(1)
        assert await wait == 1
        async with wait_signal(emitter.two, timeout=None) as wait:
            qt.QtCore.QTimer.singleShot(0, lambda: emitter.two.emit(2, "x"))
        assert await wait == (2, "x")
        with pytest.raises(asyncio.TimeoutError):
            async with wait_signal(emitter.one, timeout=0.001):
                pass

    run_qt(main())


def test_the_plugin_needs_asking_for(tmp_path):
    """importing qtinter imports no pytest, and no entry point loads the plugin."""
    pytest.importorskip("importlib.metadata", reason="3.7 has none")
    code = (
        "import sys; "
        "from importlib.metadata import entry_points as e; "
        "all = e(); "
        "mine = all.get('pytest11', ()) if isinstance(all, dict) else "
        "e(group='pytest11'); "
        "mine = {each.value for each in mine if 'qtinter' in each.value}; "
        "assert mine == {'pytest_qtinter'}, mine; "
        "import pytest_qtinter, sys; "
        "assert 'qtinter' not in sys.modules; "
        "del sys.modules['pytest'], sys.modules['pytest_qtinter']; "
        "import qtinter; assert 'pytest' not in sys.modules"
    )
    command = [sys.executable, "-c", code]
    subprocess.run(command, cwd=str(tmp_path), check=True, timeout=60)
