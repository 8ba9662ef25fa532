"""The plugin that keeps what event loops did in tests that failed: what is kept."""

import html
import json
import os
import re
import sys

import pytest

import qtinter.trace

from .suites import needs

pytestmark = pytest.mark.skipif(
    not sys.platform.startswith("linux"), reason="inspection is on Linux only so far"
)

PHASES = """
@pytest.fixture
def bad_setup(window):
    raise RuntimeError("setup")

@pytest.fixture
def bad_teardown(window):
    yield
    raise RuntimeError("teardown")

def test_passes(saving, qtinter_loop):
    saving.clicked.emit()

def test_setup(bad_setup):
    pass

def test_call(hanging):
    hanging.clicked.emit()
    assert False, "call"

def test_teardown(bad_teardown):
    pass

@pytest.mark.xfail
def test_expected(saving):
    assert False

def test_skipped(saving):
    pytest.skip("not here")
"""


def marks_of(trace):
    return [event.fields["name"] for event in trace.events("mark")]


def open_kept(folder):
    return qtinter.trace.open(folder, allow_gaps=True)


def test_only_what_failed_is_kept(suite):
    suite.tests(PHASES)
    output = suite.run("--junitxml=junit.xml")
    assert "2 passed, 1 skipped, 1 failed" not in output
    kept = suite.kept()
    names = {"setup", "call", "teardown"}
    assert set(kept) == {f"test_it.py-test_{name}" for name in names}, output
    for folder in kept.values():
        assert {"summary.txt", "await.txt", "figures.json"} < set(os.listdir(folder))
        assert "test setup" in marks_of(open_kept(folder))
    trace = open_kept(kept["test_it.py-test_call"])
    assert marks_of(trace)[-3:] == ["test setup", "test call", "test teardown"]
    assert trace.slots("Window.on_hang").one().state == "cancelled", "in the teardown"
    summary = (kept["test_it.py-test_call"] / "summary.txt").read_text("utf-8")
    waiting = (kept["test_it.py-test_call"] / "await.txt").read_text("utf-8")
    assert "on_hang" in waiting  # and not that the teardown has ended it
    assert len(summary.rstrip().split("\n")) <= 40

    section = output.split(" test_call ")[1].split(" test_teardown ")[0]
    assert "Captured loop trace" in section
    assert str(kept["test_it.py-test_call"]) in section
    assert "Window.on_hang (suite/test_it.py:" in section
    assert "waiting for signal never" in section
    assert output.count("Captured loop trace") == 3
    relative = os.path.relpath(suite.sessions()[0], suite.folder)
    assert (
        f"qtrace: 3 traces kept in {relative}; open: qtinter-inspect replay" in output
    )
    junit = (suite.folder / "junit.xml").read_text("utf-8")
    assert junit.count('<property name="qtrace"') == 3
    assert os.path.realpath(suite.traces / "latest") == str(suite.sessions()[0])


def test_nothing_is_written_when_all_pass(suite):
    suite.tests("def test_it(saving):\n    saving.clicked.emit()\n")
    output = suite.run()
    assert "1 passed" in output
    assert "qtrace" not in output
    assert not (suite.folder / ".qtinter").exists()


def test_a_suite_without_qtinter_is_left_alone(suite):
    suite.write(
        "test_it.py",
        "import sys\n"
        "def test_it():\n"
        "    loaded = [name for name in sys.modules if name.startswith('qtinter')]\n"
        "    assert not loaded, loaded\n"
        "    assert not any('Qt' in name for name in sys.modules)\n"
        "def test_fails():\n    assert False\n",
    )
    output = suite.run(loop=False)
    assert "1 failed, 1 passed" in output
    assert not (suite.folder / ".qtinter").exists()


def test_qtinter_is_imported_as_without_the_plugin(suite):
    suite.write(
        "test_it.py",
        "import sys, qtinter, qtinter.inspect\n"
        "def test_loaders():\n"
        "    mine = type(sys.modules[__name__].__loader__).__name__\n"
        "    assert mine == 'AssertionRewritingHook'\n"
        "    for name, module in sys.modules.items():\n"
        "        if name.startswith(('qtinter.', 'pytest_qtinter.')):\n"
        "            loader = type(module.__loader__).__name__\n"
        "            assert loader != mine, name\n",
    )
    output = suite.run(env={"PYTEST_DISABLE_PLUGIN_AUTOLOAD": ""}, loop=False)
    assert "1 passed" in output, output


def test_modes(suite):
    suite.tests(
        """
def test_plain(saving):
    pass

@pytest.mark.qtrace("on", level=4)
def test_on(saving):
    from qtinter import _core
    assert _core.inspect_level() == 4

@pytest.mark.qtrace("off")
def test_off(saving):
    assert False

def test_twice(saving):
    from qtinter import _core
    assert _core.inspect_level() == 3
    saving.clicked.emit()
    saving.clicked.emit()
"""
    )
    plain, on, twice = (f"test_it.py-test_{name}" for name in ("plain", "on", "twice"))
    for options, expected in (
        ((), {on}),
        (("--qtrace=off", "-k", "not test_twice and not test_on"), set()),
        (("-o", "qtrace=off", "-k", "not test_twice"), {on}),
        (("--qtrace=retain-on-warning",), {twice}),
        (("--qtrace=retain-on-warning", "--qtrace-ignore=QI201"), set()),
        (("-o", "qtrace=on"), {plain, on, twice}),
    ):
        directory = suite.folder / "traces"
        suite.traces = directory
        output = suite.run("--qtrace-dir=traces", *options)
        found = set(suite.kept())
        if "--qtrace=retain-on-warning" in options:
            found.discard("test_it.py-test_off")  # the command line is stronger
        assert found == expected, (options, output)
        for session in suite.sessions():
            os.rename(session, suite.folder / f"old-{session.name}")


def test_options_that_cannot_be_understood(suite):
    suite.tests("def test_it(saving):\n    pass\n")
    for option, message in (
        ("--qtrace=always", "qtrace=always: choose one of off, on,"),
        ("--qtrace-level=9", "qtrace-level=9: write 1, 2, 3 or 4"),
        ("--qtrace-ring=huge", "qtrace-ring=huge: write a size such as 8MiB"),
        ("--qtrace-budget=fast<5ms", "there is no figure 'fast'"),
        ("--qtrace-format=svg", "there are qtrace, perfetto, html, chrome"),
        ("--qtrace-keep=all", "qtrace-keep=all: write a number, 1 or more"),
        ("--qtrace-baseline=gone", "qtrace-baseline=gone: there is no such folder"),
        ("--qtrace-compare-fail=max_step:+9%", "Add --qtrace-baseline=DIR"),
    ):
        assert message in suite.run(option), option
    suite.tests("@pytest.mark.loop_budget(fast=1)\ndef test_it(saving):\n    pass\n")
    output = suite.run()
    assert "there is no figure 'fast'" in output


IDS = """
@pytest.mark.parametrize("x", ["a/b", "a-b", "ä", "ö", "x" * 300, "y" * 300,
                               "x" * 299 + "z", "..", "con: *?", "a\\nb"])
def test_it(saving, x):
    assert False
"""


def test_names_are_unique_and_portable(suite):
    suite.tests(IDS)
    output = suite.run()
    assert "10 failed" in output
    kept = suite.kept()
    assert len(kept) == 10
    assert len({name.lower() for name in kept}) == 10
    for name in kept:
        assert re.fullmatch(r"[A-Za-z0-9._-]{1,140}", name), name
        assert not name.endswith(".")


def test_reruns(suite):
    needs("pytest_rerunfailures")
    suite.tests(
        """
runs = []

def test_it(saving):
    runs.append(1)
    assert len(runs) == 3
"""
    )
    output = suite.run("--reruns=4", plugins=("rerunfailures",))
    assert "1 passed, 2 rerun" in output
    assert set(suite.kept()) == {"test_it.py-test_it", "test_it.py-test_it-rerun1"}


@pytest.mark.parametrize("reruns", [False, True])
def test_failures_that_others_declare(suite, reruns):
    """Of a phase that went well a report may say otherwise; its state is not lost."""
    if reruns:
        needs("pytest_rerunfailures")
    suite.write(
        "conftest.py",
        """
import pytest

@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    report = (yield).get_result()
    if call.when == "call" and item.name == "test_declared":
        report.outcome, report.longrepr = "failed", "declared to have failed"
""",
    )
    suite.tests(
        """
@pytest.mark.xfail(strict=True, reason="should have failed")
def test_strict(hanging):
    hanging.clicked.emit()

def test_declared(hanging):
    hanging.clicked.emit()
"""
    )
    output = suite.run(*["--reruns=1"] * reruns, plugins=["rerunfailures"] * reruns)
    assert "2 failed" in output
    kept = suite.kept()
    names = {"test_it.py-test_strict", "test_it.py-test_declared"}
    assert names <= set(kept)
    for name in names:
        assert "on_hang" in (kept[name] / "await.txt").read_text("utf-8")
        assert str(kept[name]) in output


def test_failures_of_subtests(suite):
    if not hasattr(pytest, "Subtests"):
        needs("pytest_subtests")
    suite.tests(
        """
def test_it(hanging, subtests):
    hanging.clicked.emit()
    for n in range(3):
        with subtests.test(n=n):
            assert n != 1
"""
    )
    output = suite.run()
    assert "Captured loop trace" in output
    folder = suite.kept()["test_it.py-test_it"]
    marks = ["test setup", "test call", "test teardown"]
    assert marks_of(open_kept(folder))[-3:] == marks
    assert "on_hang" in (folder / "await.txt").read_text("utf-8")


@pytest.mark.parametrize(
    ("formats", "end"),
    [("qtrace", "test_it.py-test_it"), ("qtrace,html", "trace.html")],
)
def test_a_report_of_pytest_html_links_to_the_trace(suite, formats, end):
    needs("pytest_html")
    suite.tests(
        """
def test_it(saving):
    assert False

def test_passes(saving):
    pass
"""
    )
    suite.run(
        "--html=out/report.html",
        f"--qtrace-format={formats}",
        plugins=("metadata", "html"),
    )
    text = html.unescape((suite.folder / "out" / "report.html").read_text())
    (link,) = (
        re.findall(r'"name": "loop trace".*?"content": "([^"]*)"', text)
        or re.findall(r'"content": "([^"]*)"[^{}]*"name": "loop trace"', text)
        or re.findall(r'href="([^"]*)"[^<>]*>loop trace<', text)  # before version 4
    )
    assert link.endswith(end)
    assert (suite.folder / "out" / link).exists()


def test_workers(suite):
    needs("xdist")
    suite.tests(
        """
@pytest.mark.parametrize("n", range(6))
def test_it(saving, n):
    assert n % 2
"""
    )
    output = suite.run("-n2", plugins=("xdist",))
    assert "3 failed, 3 passed" in output
    kept = suite.kept()
    assert len(kept) == 3
    for name in kept:
        assert re.fullmatch(r"test_it.py-test_it-[024]-gw[01]", name), name
    assert "qtrace: 3 traces kept in" in output
    assert output.count("Captured loop trace") == 3


def test_a_worker_that_dies(suite):
    needs("xdist")
    suite.tests(
        """
import os
import signal

def test_before(saving):
    pass

def test_crash(hanging):
    hanging.clicked.emit()
    os.kill(os.getpid(), signal.SIGSEGV)

def test_after(saving):
    saving.clicked.emit()
"""
    )
    output = suite.run("-n1", plugins=("xdist",))
    assert "1 failed, 2 passed" in output, output
    ((name, folder),) = suite.kept().items()
    assert name == "test_it.py-test_crash-gw0"
    trace = open_kept(folder)
    call = trace.slots("on_hang").one()
    assert call.task.waits_for.startswith("signal never")
    assert marks_of(trace)[-2:] == ["test setup", "test call"]
    assert "on_hang" in (folder / "await.txt").read_text("utf-8")
    assert "what the worker did before it died:" in output
    assert "waiting for signal never" in output
    assert "qtrace: 1 trace kept in" in output


def test_a_time_limit_with_the_gil_held(suite):
    needs("pytest_timeout")
    suite.tests(
        """
import ctypes

def hold_the_gil(seconds):
    ctypes.PyDLL(None).usleep(ctypes.c_uint(int(seconds * 1e6)))

@pytest.mark.timeout(3, method="signal")
def test_hangs(window, qtinter_loop):
    async def blocks():
        for _ in range(40):
            hold_the_gil(0.9)
    qtinter_loop.create_task(blocks())
    QtCore.QCoreApplication.processEvents()
"""
    )
    output = suite.run("--qtrace-timeout-dump", plugins=("timeout",))
    assert "Timeout (>3.0s)" in output, output
    folder = suite.kept()["test_it.py-test_hangs"]
    stack = (folder / "stack.txt").read_text("utf-8")
    assert "hold_the_gil" in stack
    assert "blocks" in stack
    assert "stack when the time was up:" in output
    assert open_kept(folder).tasks("blocks").count() == 1


def test_a_time_limit_that_ends_the_process(suite):
    needs("pytest_timeout")
    suite.tests(
        """
import threading

@pytest.mark.timeout(5, method="thread")
def test_hangs(hanging):
    hanging.clicked.emit()
    threading.Event().wait(60)
"""
    )
    output = suite.run("--qtrace-timeout-dump", plugins=("timeout",))
    assert "Timeout" in output
    folder = suite.kept()["test_it.py-test_hangs"]
    assert open_kept(folder).slots("on_hang").one().state == "waiting"
    assert "on_hang" in (folder / "await.txt").read_text("utf-8")
    stack = (folder / "stack.txt").read_text("utf-8")
    assert "in test_hangs" in stack
    assert "in wait" in stack


def test_ctrl_c(suite):
    suite.tests(
        """
def test_it(hanging):
    hanging.clicked.emit()
    raise KeyboardInterrupt
"""
    )
    output = suite.run("--qtrace-timeout-dump")
    folder = suite.kept()["test_it.py-test_it"]
    assert "raise KeyboardInterrupt" in (folder / "stack.txt").read_text("utf-8")
    assert open_kept(folder).slots("on_hang").count() == 1
    assert "qtrace: 1 trace kept" in output


def test_two_suites_at_a_time(suite):
    suite.tests("def test_it(saving):\n    assert False\n")
    processes = [suite.start("-k", "test_it", f"--junitxml={i}.xml") for i in range(2)]
    for process in processes:
        assert "1 failed" in suite.output(process)
    sessions = suite.sessions()
    assert len(sessions) == 2
    for session in sessions:
        assert os.listdir(session) == ["test_it.py-test_it"]


def test_other_formats(suite):
    suite.tests("def test_it(saving):\n    saving.clicked.emit()\n    assert False\n")
    output = suite.run("--qtrace-format=qtrace,perfetto,html")
    folder = suite.kept()["test_it.py-test_it"]
    assert {"trace.qtrace", "trace.pftrace", "trace.html"} < set(os.listdir(folder)), (
        output
    )
    assert "on_save" in (folder / "trace.html").read_text("utf-8")


def test_old_sessions_go(suite):
    suite.tests("def test_it(saving):\n    assert False\n")
    suite.traces.mkdir(parents=True)
    for day in (1, 2, 3):
        (suite.traces / f"2020010{day}T000000Z-abc").mkdir()
    (suite.traces / "mine").mkdir()
    suite.run("--qtrace-keep=2")
    names = [path.name for path in suite.sessions()]
    assert names[0] == "20200103T000000Z-abc"
    assert names[2] == "mine", "only sessions are removed"
    assert len(names) == 3
    assert (suite.traces / ".gitignore").read_text() == "*\n"


def test_programs_that_a_test_starts(suite):
    suite.write(
        "program.py",
        "import asyncio, os, sys, qtinter\n"
        "from qtinter.bindings import QtCore\n"
        "app = QtCore.QCoreApplication([])\n"
        "async def in_the_program():\n"
        "    await asyncio.sleep(0)\n"
        "    if 'die' in sys.argv:\n"
        "        os.abort()\n"
        "qtinter.run(in_the_program())\n",
    )
    suite.tests(
        """
import subprocess
import sys

@pytest.mark.parametrize("fails", [False, True])
def test_it(fails):
    subprocess.run([sys.executable, "program.py"], check=True)
    subprocess.run([sys.executable, "program.py", "die"])
    assert not fails
"""
    )
    output = suite.run()
    assert "1 failed, 1 passed" in output, output
    folder = suite.kept()["test_it.py-test_it-True"]
    assert len([name for name in os.listdir(folder) if name.startswith("trace-p")]) == 2
    trace = open_kept(folder)
    states = {each.tasks("in_the_program").one().state for each in trace.others}
    assert states == {"done", "running"}


def test_a_program_that_outlives_its_test(suite):
    suite.write(
        "server.py",
        "import asyncio, sys, qtinter\n"
        "async def serve():\n"
        "    print('ready', flush=True)\n"
        "    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)\n"
        "loop = qtinter.new_event_loop()\n"
        "loop.set_mode(qtinter.QiLoopMode.NATIVE)\n"
        "loop.run_until_complete(serve())\n",
    )
    suite.tests(
        """
import subprocess
import sys

@pytest.fixture(scope="module")
def server():
    with subprocess.Popen(
        [sys.executable, "server.py"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout.readline() == b"ready\\n"
        yield process

def test_starts(server):
    pass

def test_fails(server):
    assert False

def test_goes_on(server):
    pass
"""
    )
    output = suite.run()
    assert "1 failed, 2 passed" in output, output
    (other,) = open_kept(suite.kept()["test_it.py-test_fails"]).others
    assert other.tasks("serve").one().state == "waiting"


@pytest.mark.parametrize("how", ["spawn", "fork", "forkserver"])
def test_children_of_multiprocessing(suite, how):
    suite.write(
        "work.py",
        "import asyncio, qtinter\n"
        "async def in_the_child():\n"
        "    await asyncio.sleep(0)\n"
        "def work():\n"
        "    loop = qtinter.new_event_loop()\n"
        "    loop.set_mode(qtinter.QiLoopMode.NATIVE)\n"
        "    loop.run_until_complete(in_the_child())\n"
        "    loop.close()\n",
    )
    suite.tests(
        f"""
import multiprocessing
import work

@pytest.mark.parametrize("fails", [False, True])
def test_it(fails):
    process = multiprocessing.get_context({how!r}).Process(target=work.work)
    process.start()
    process.join()
    assert process.exitcode == 0
    assert not fails
"""
    )
    output = suite.run(env={"PYTHONPATH": str(suite.folder)})
    assert "1 failed, 1 passed" in output, output
    trace = open_kept(suite.kept()["test_it.py-test_it-True"])
    (child,) = trace.others
    assert child.tasks("in_the_child").one().state == "done"


def test_qtinter_is_imported_by_a_test(suite):
    suite.write(
        "test_it.py",
        "def test_first():\n"
        "    import asyncio, qtinter\n"
        "    from qtinter.bindings import QtCore\n"
        "    app = QtCore.QCoreApplication([])\n"
        "    async def lazily():\n"
        "        await asyncio.sleep(0)\n"
        "    qtinter.run(lazily())\n"
        "    assert False\n",
    )
    output = suite.run(loop=False)
    assert "1 failed" in output
    trace = open_kept(suite.kept()["test_it.py-test_first"])
    assert trace.tasks("lazily").one().state == "done"


def test_a_test_that_switches_inspection_off(suite):
    suite.tests(
        """
def test_off(saving):
    from qtinter import inspect
    inspect.disable()
    assert False

def test_next(saving):
    saving.clicked.emit()
    assert False
"""
    )
    output = suite.run()
    assert "2 failed" in output, output
    assert "inspection was switched off while the test ran" in output
    assert open_kept(suite.kept()["test_it.py-test_next"]).slots("on_save").count() == 1


def test_nothing_can_be_recorded(suite):
    suite.tests(
        "def test_it(saving):\n    assert False\n\ndef test_ok(saving):\n    pass\n"
    )
    nowhere = suite.folder / "a file"
    nowhere.write_text("")
    output = suite.run("-W", "error", env={"QTINTER_RUNTIME_DIR": str(nowhere)})
    assert "1 failed, 1 passed" in output, output
    assert "qtrace: nothing is recorded: " in output
    assert suite.kept() == {}


def test_a_baseline(suite):
    suite.tests(
        """
import os, time

def test_it(window, qtinter_loop):
    async def work():
        time.sleep(0.15 if os.environ.get("SLOW") else 0)
    qtinter_loop.create_task(work())
    QtCore.QCoreApplication.processEvents()
"""
    )
    suite.run("--qtrace=on", "--qtrace-dir=before")
    (session,) = [p for p in (suite.folder / "before").iterdir() if "Z-" in p.name]
    options = (f"--qtrace-baseline={session}", "--qtrace-compare-fail=max_step:+900%")
    path = session / "test_it.py-test_it" / "figures.json"
    figures = json.loads(path.read_text())
    path.write_text(json.dumps(dict(figures, max_step=0.01)))
    assert "1 passed" in suite.run(*options)
    output = suite.run(options[0], "--qtrace-compare-fail=p99_step:20")
    assert "'p99_step:20' is no limit" in output
    # Made with xdist, too: a worker's folders have its name.
    path.parent.rename(path.parent.with_name("test_it.py-test_it-gw3"))
    output = suite.run(*options, env={"SLOW": "1"})
    assert "1 failed" in output
    assert re.search(
        r"max_step went from 10 ms to \d+ ms, allowed is \+900%: \S*work", output
    )
