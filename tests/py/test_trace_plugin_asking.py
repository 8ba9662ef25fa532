"""The plugin for loop traces: marks, the fixture looptrace, other plugins."""

import json
import re
import sys

import pytest

import qtinter.trace

from .suites import needs

pytestmark = pytest.mark.skipif(
    not sys.platform.startswith("linux"), reason="inspection is on Linux only so far"
)

MARKS = """
import time

@pytest.fixture
def blocking(window, qtinter_loop):
    @qtinter.asyncslot
    async def on_block():
        time.sleep(0.11)  # the stall
    def on_timer():
        pass
    qtinter_loop.call_later(0.001, on_timer)
    window.clicked.connect(on_block)
    yield window

@pytest.mark.loop_budget(max_step="50ms", max_tasks=200)
def test_budget(blocking):
    blocking.clicked.emit()
    QtCore.QCoreApplication.processEvents()

@pytest.mark.loop_budget(max_step=60.0)
def test_budget_kept(blocking):
    blocking.clicked.emit()

@pytest.mark.loop_budget(max_tasks=1)
def test_many_tasks(qtinter_loop):
    async def one_of_many():
        pass
    for _ in range(3):
        qtinter_loop.create_task(one_of_many())

@pytest.mark.loop_clean
def test_unclean(hanging):
    hanging.clicked.emit()

@pytest.mark.loop_clean(ignore=["on_hang", "never"])
def test_ignored(hanging):
    hanging.clicked.emit()

@pytest.mark.loop_clean(slots=False, waits=False)
def test_other_kinds(hanging):
    hanging.clicked.emit()

@pytest.mark.loop_clean(timers=True)
def test_timer(qtinter_loop):
    def later():
        pass
    qtinter_loop.call_later(60, later)

@pytest.mark.loop_clean
def test_clean(saving, looptrace):
    saving.clicked.emit()
    looptrace.wait(slot="on_save")

@pytest.mark.qtrace_fail("W")
def test_finding(saving):
    saving.clicked.emit()
    saving.clicked.emit()

@pytest.mark.qtrace_fail("E")
def test_no_error(saving):
    saving.clicked.emit()
    saving.clicked.emit()

@pytest.mark.qtrace_fail("W")
@pytest.mark.qtrace_ignore("QI201")
def test_ignored_finding(saving):
    saving.clicked.emit()
    saving.clicked.emit()

@pytest.mark.loop_budget(max_step="1ns")
def test_own_failure(saving):
    saving.clicked.emit()
    assert False, "of its own"
"""


def test_marks(suite):
    suite.tests(MARKS)
    output = suite.run("--strict-markers")
    failed = set(re.findall(r"^FAILED test_it.py::test_(\w+)", output, re.M))
    assert failed == {
        "budget", "many_tasks", "unclean", "timer", "finding", "own_failure",
    }, output  # fmt: skip
    assert set(suite.kept()) == {f"test_it.py-test_{name}" for name in failed}
    # The message says what it was due to, and is not buried in frames of the plugin.
    where = r"\S*on_block \(suite/test_it.py:\d+\)"
    line = rf"^max_step \d+ ms > 50 ms: {where}; blocked Qt \d+ ms.*"
    budget = re.search(line, output, re.M)
    assert budget, output
    assert "1 timer late" in budget.group()
    assert re.search(
        r"^max_tasks 3 > 1: 3 × \S*one_of_many \(suite/test_it.py:\d+\)", output, re.M
    )
    assert "pytest_qtinter/_checks.py" not in output
    assert "2 left over at the end of the test:" in output
    assert "pending: call of Window.on_hang" in output
    assert "    for signal never" in output
    assert "pending: timer test_timer.<locals>.later (suite/test_it.py" in output
    assert "QI201 W: Window.on_save was called while 1 call of it pended" in output
    assert (
        "FAILED test_it.py::test_budget - pytest_qtinter.LoopBudgetError: max_step"
        in (output)
    )
    assert "max_step 0" not in output, "a test that failed is not judged"


@pytest.mark.parametrize("limit", [None, 10])
def test_a_report_has_forty_lines_at_most(suite, limit):
    """However much there is to tell; a stack is among them."""
    if limit:
        needs("pytest_timeout")
    suite.tests(
        """
import time

def test_it(window, qtinter_loop):
    blocked = []
    async def blocks():
        time.sleep(0.11)  # the stall
        blocked.append(1)
        await asyncio.sleep(3600)
    for _ in range(100):
        qtinter_loop.create_task(asyncio.sleep(3600))
    for _ in range(10):
        qtinter_loop.create_task(blocks())
    while len(blocked) < 10:
        QtCore.QCoreApplication.processEvents()
    time.sleep(60 if LIMIT else 0)  # the time limit ends it
    assert False
""".replace("LIMIT", str(limit))
    )
    options = [f"--timeout={limit}", "--qtrace-timeout-dump"] if limit else []
    output = suite.run(*options, plugins=["timeout"] if limit else [])
    section = re.search(
        r"Captured loop trace -+\n(.*?)\n(?:[-=]+ |qtrace:)", output, re.DOTALL
    )
    lines = section.group(1).splitlines()
    assert lines[0].endswith("test_it.py-test_it")
    assert len(lines) <= 40, output
    for part in ("findings:", "pending:", "last events:"):
        assert part in lines
    assert any("more" in line for line in lines)
    assert ("stack when the time was up:" in lines) == bool(limit)


def test_what_is_judged_is_recorded(suite):
    """Also at level 1, which has no events: a demand that is never met is none."""
    suite.tests(
        """
import time

@pytest.mark.loop_budget(max_step="50ms")
def test_budget(window, qtinter_loop):
    block(qtinter_loop)

@pytest.mark.qtrace_fail("W")
def test_finding(window, qtinter_loop):
    block(qtinter_loop)

def test_asks(window, qtinter_loop, looptrace):
    block(qtinter_loop)
    assert looptrace.max_step.duration < 0.05

def block(loop):
    async def blocks():
        time.sleep(0.15)  # the stall
    loop.create_task(blocks())
    QtCore.QCoreApplication.processEvents()
"""
    )
    output = suite.run("--qtrace-level=1")
    assert "3 failed" in output, output


def test_the_command_line_is_stronger_than_marks_than_ini(suite):
    suite.tests(
        """
import time

def block(window, seconds):
    @qtinter.asyncslot
    async def on_block():
        time.sleep(seconds)
    window.clicked.connect(on_block)
    window.clicked.emit()

def test_plain(window):
    block(window, 0.02)

@pytest.mark.loop_budget(max_step="30s")
def test_marked(window):
    block(window, 0.02)
"""
    )
    assert "2 passed" in suite.run()
    ini = ("-o", "qtrace_budget=max_step<10ms")
    output = suite.run(*ini)
    assert "1 failed, 1 passed" in output
    assert "FAILED test_it.py::test_plain" in output
    assert "2 failed" in suite.run("--qtrace-budget=step_max<10ms, p99_lag<1min")


LOOPTRACE = """
import json
import pathlib
import pytest_qtinter

def test_questions(saving, looptrace):
    with looptrace.span("click save") as span:
        saving.clicked.emit()
        looptrace.wait(slot="Window.on_save", state="done", timeout=30)
    call = span.slots("on_save").one()
    assert call.state == "done"
    assert call.max_step <= span.max_step.duration
    assert span.overlaps("on_save") == 0
    assert span.path("on_save")
    assert not span.path("on_save", "on_hang")
    assert span.tasks(filter='code~"on_save" and state==done').count() == 1
    assert looptrace.slots("on_save").count() == 1
    assert looptrace.span("second").__enter__().slots().none()
    looptrace.assert_clean()
    assert "1 slot calls" in looptrace.text()

def test_not_in_time(hanging, looptrace):
    hanging.clicked.emit()
    with pytest.raises(pytest_qtinter.LoopWaitError) as caught:
        looptrace.wait(slot="on_hang", timeout=0.1)
    message = str(caught.value)
    assert "waited for slot on_hang to be done, not within 0.1 s: call of" in message
    assert "for signal never" in message
    with pytest.raises(pytest_qtinter.LoopWaitError, match="no task of that name"):
        looptrace.wait(task="nobody", timeout=0.05)
    looptrace.wait(slot="on_hang", state="waiting", timeout=30)
    looptrace.wait(signal="never", state="pending", timeout=30)
    with pytest.raises(pytest_qtinter.LoopCleanError, match="on_hang"):
        looptrace.assert_clean()
    looptrace.assert_clean(ignore=["on_hang", "never"])
    with pytest.raises(TypeError, match="one of slot=, task= and signal="):
        looptrace.wait()

def test_ended_otherwise(qtinter_loop, looptrace):
    async def fails():
        await asyncio.sleep(0)
        raise KeyError("x")
    task = qtinter_loop.create_task(fails())
    with pytest.raises(pytest_qtinter.LoopWaitError, match="failed with KeyError"):
        looptrace.wait(task="fails", timeout=30)
    assert isinstance(task.exception(), KeyError)

def test_in_a_coroutine(qtinter_loop, looptrace):
    async def other():
        await asyncio.sleep(0)
    async def main():
        kept = asyncio.create_task(other())
        with pytest.raises(RuntimeError, match="looptrace.reached"):
            looptrace.wait(task="other")
        await looptrace.reached(task="other", timeout=30)
        await kept
        return True
    task = qtinter_loop.create_task(main())
    looptrace.wait(task="main", timeout=60)
    assert task.result()

def test_budget(window, looptrace):
    with pytest.raises(ValueError, match="no figure 'speed'"):
        looptrace.assert_budget(speed=1)
    looptrace.assert_budget(max_step="30s", tasks=100)

def test_saving(saving, looptrace, tmp_path):
    saving.clicked.emit()
    path = looptrace.save(tmp_path / "mine.qtrace")
    import qtinter.trace
    assert qtinter.trace.open(path, allow_gaps=True).slots("on_save").count() >= 1

@pytest.mark.qtrace("off")
def test_asked_for_where_it_is_off(saving, looptrace):
    saving.clicked.emit()
    assert looptrace.slots("on_save").count() == 1
"""


def test_looptrace(suite):
    suite.tests(LOOPTRACE)
    output = suite.run()
    assert "7 passed" in output, output
    assert not suite.traces.exists(), "asking does not keep"
    output = suite.run("--qtrace=off", "-k", "questions")
    assert "1 passed" in output, output


def test_shapes(suite):
    suite.tests(
        """
import os

def test_shape(qtinter_loop, looptrace):
    async def child():
        await asyncio.sleep(0.001)
    async def main():
        await asyncio.gather(child(), child())
        if os.environ.get("MORE"):
            await asyncio.create_task(child())
    qtinter_loop.create_task(main())
    looptrace.wait(task="main", timeout=60)
    looptrace.assert_shape("shapes/main.json")
"""
    )
    assert "--qtrace-update writes it" in suite.run()
    assert "1 passed" in suite.run("--qtrace-update")
    (root,) = json.loads((suite.folder / "shapes" / "main.json").read_text("utf-8"))
    assert root["waits"] == ["gather"]
    assert len(root["creates"]) == 2
    assert "1 passed" in suite.run()
    output = suite.run(env={"MORE": "1"})
    assert "1 failed" in output
    assert "LoopShapeError: something else happened" in output
    assert re.search(r"^E +\+ +\"task\": \"\S*child\"", output, re.M), output


def check_kept(suite, name, *tasks):
    trace = qtinter.trace.open(suite.kept()[name], allow_gaps=True)
    for task in tasks:
        assert trace.tasks(task).all(), (task, trace.tasks())


@pytest.mark.skipif(
    sys.version_info < (3, 8), reason="IsolatedAsyncioTestCase came with 3.8"
)
def test_unittest_classes(suite):
    suite.tests(
        """
import unittest

class TestIt(unittest.TestCase):
    def test_fails(self):
        async def in_a_class():
            await asyncio.sleep(0)
        QtCore.QCoreApplication.instance() or keep.append(QtCore.QCoreApplication([]))
        qtinter.run(in_a_class())
        self.assertEqual(1, 2)

    def test_passes(self):
        pass

class TestAsync(unittest.IsolatedAsyncioTestCase):
    async def test_plain_asyncio(self):
        self.assertEqual(1, 2)

keep = []
"""
    )
    output = suite.run()
    assert "2 failed, 1 passed" in output, output
    check_kept(suite, "test_it.py-TestIt-test_fails", "in_a_class")
    assert "test_it.py-TestAsync-test_plain_asyncio" in suite.kept()


def test_pytest_qt(suite):
    needs("pytestqt")
    suite.tests(
        """
def test_it(qtbot, saving, looptrace):
    with qtbot.waitSignal(saving.saved, timeout=60000):
        saving.clicked.emit()
    looptrace.wait(slot="on_save", timeout=60)
    assert looptrace.slots("on_save").one().state == "done"
    assert False, "here"
"""
    )
    output = suite.run(plugins=("pytest-qt",))
    assert "AssertionError: here" in output, output
    check_kept(suite, "test_it.py-test_it", "on_save")


def test_pytest_asyncio(suite):
    needs("pytest_asyncio")
    metadata = pytest.importorskip("importlib.metadata", reason="3.7 has none")
    version = metadata.version("pytest-asyncio")
    if tuple(map(int, version.split(".")[:2])) < (1, 4):
        pytest.skip(f"pytest-asyncio {version} knows no loop factories; 1.4 does")
    suite.tests(
        """
@pytest.mark.asyncio
@pytest.mark.loop_clean
async def test_it(looptrace):
    async def helper():
        await asyncio.sleep(0)
    task = asyncio.create_task(helper())
    await looptrace.reached(task="helper", timeout=60)
    await task

@pytest.mark.asyncio
@pytest.mark.loop_budget(max_tasks=2)
async def test_fails():
    async def left():
        await asyncio.sleep(0.001)
    await asyncio.gather(*(left() for _ in range(5)))
"""
    )
    scope = ("-o", "asyncio_default_fixture_loop_scope=function")
    output = suite.run(*scope, plugins=("asyncio",))
    assert "1 failed, 1 passed" in output, output
    assert "max_tasks 6 > 2: 5 × " in output
    (name,) = suite.kept()
    check_kept(suite, name, "left")


@pytest.mark.skipif(
    sys.version_info < (3, 8), reason="the last anyio for 3.7 takes no loop factory"
)
def test_anyio(suite):
    needs("anyio")
    suite.tests(
        """
@pytest.fixture
def anyio_backend():
    keep.append(QtCore.QCoreApplication.instance() or QtCore.QCoreApplication([]))
    return "asyncio", {"loop_factory": qtinter.new_event_loop}

keep = []

@pytest.mark.anyio
async def test_fails():
    import anyio
    async def child():
        await anyio.sleep(0.001)
    async with anyio.create_task_group() as group:
        group.start_soon(child)
    assert False, "in anyio"
"""
    )
    output = suite.run(plugins=("anyio",))
    assert "AssertionError: in anyio" in output, output
    (name,) = suite.kept()
    check_kept(suite, name, "child")
