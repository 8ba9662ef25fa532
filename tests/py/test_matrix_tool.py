"""What ./dev matrix makes of the results of its cells."""

import importlib
import pathlib
import subprocess
import sys

import pytest

TOOLS = pathlib.Path(__file__).resolve().parents[1] / "tools"


@pytest.fixture
def matrix(monkeypatch, tmp_path):
    """The modules matrix and matrix_cells, which keep their results in tmp_path."""
    monkeypatch.syspath_prepend(str(TOOLS))
    for name in ("matrix", "matrix_cells"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    module = importlib.import_module("matrix")
    monkeypatch.setattr(module.cells, "WORK", tmp_path)
    return module


def suite(**counts):
    row = {"name": "py", "passed": 5, "failed": 0, "skipped": 1, "problem": ""}
    return dict(row, log="py.log", **counts)


def ran(**more):
    about = {
        "python": "3.12.1",
        "system": "Debian GNU/Linux 12, x86_64",
        "binding_version": "6.9.0",
        "qt_version": "6.9.1",
        "qt_headers": "6.4.2",
        "suites": [suite()],
    }
    return dict(about, **more)


@pytest.mark.parametrize(
    ("outcome", "failed"),
    [
        (ran(), False),
        (ran(suites=[suite(), suite(failed=2)]), True),
        (ran(suites=[suite(problem="crashed with signal 11")]), True),
        ({"error": "no compiler"}, True),
        ({"unavailable": "no wheel"}, False),
    ],
)
def test_what_makes_the_command_fail(matrix, outcome, failed):
    assert matrix.cells.has_failed(outcome) is failed


def test_results_are_kept_for_the_next_run(matrix):
    matrix.cells.write_result(("3.12", "PyQt6", "native"), ran())
    ((key, outcome),) = matrix.stored_results().items()
    assert key == ("3.12", "PyQt6", "native")
    assert outcome["qt_version"] == "6.9.1"
    assert outcome["date"]


def test_markdown_tells_what_ran_and_what_could_not(matrix):
    results = {
        ("3.12", "PyQt6", "native"): ran(),
        ("3.12", "PyQt6", "binding"): ran(
            suites=[
                suite(
                    failed=2, failures=["a::b[1]", "a::b[2]", "a::c"], problem="it hung"
                )
            ]
        ),
        ("3.12", "PySide6", "native"): {"unavailable": "pip: no wheel"},
        ("3.12", "PySide6", "binding"): {"unavailable": "pip: no wheel"},
        ("3.12", "PyQt5", "native"): {"error": "no Qt 5 headers"},
        ("3.12", "PyQt5", "binding"): ran(binding_version="5.15.11"),
    }
    results["3.12", "PyQt5", "binding"]["suites"] += [suite(name="asyncio")]
    for outcome in results.values():
        for each in outcome.get("suites", ()):
            each.update(date="2020-01-02", commit="abc")
    each["commit"] = "def"
    lines = matrix.markdown(results).splitlines()
    assert lines[2] == (
        "| 3.12.1 | 6.9.0 (Qt 6.9.1): native, binding: 2 failed (1) | – (2) "
        "| 5.15.11 (Qt 6.9.1): native – (3), binding | not run |"
    )
    assert "(1) failed: `a::b` × 2, `a::c`, it hung  " in lines
    assert "(2) pip: no wheel  " in lines
    assert "(3) no Qt 5 headers  " in lines
    assert "Run 2020-01-02 on Debian GNU/Linux 12, x86_64." in lines
    assert lines[-3:] == [
        "",
        "- Suite `py`, commit abc: all cells that ran.",
        "- Suite `asyncio`, commit def: PyQt5 binding on 3.12.",
    ]


def test_terminal_table_names_the_log_of_a_failure(matrix, capsys):
    key = ("3.12", "PyQt6", "native")
    matrix.print_table({key: ran(suites=[suite(failed=2)])})
    out = capsys.readouterr().out
    assert "5 passed, 1 skipped, 2 FAILED" in out
    assert f"{matrix.cells.WORK}/cells/3.12-PyQt6-native/reports/py.log" in out


def test_readme_is_changed_between_the_markers_only(matrix, monkeypatch, tmp_path):
    readme = tmp_path / "README.md"
    readme.write_text(f"above\n{matrix.BEGIN}\nold\n{matrix.END}\nbelow\n")
    monkeypatch.setattr(matrix, "README", readme)
    matrix.put_into_readme("new\n")
    assert readme.read_text() == (
        f"above\n{matrix.BEGIN}\n\nnew\n\n{matrix.END}\nbelow\n"
    )
    readme.write_text("no markers\n")
    with pytest.raises(SystemExit):
        matrix.put_into_readme("new\n")


def test_interpreter_is_found_by_what_it_says(matrix, monkeypatch, tmp_path):
    def fake(folder, answer):
        path = tmp_path / folder / "python3.99"
        path.parent.mkdir()
        path.write_text(f"#!/bin/sh\necho '{answer}'\n")
        path.chmod(0o755)
        return path

    other = fake("other-version", "3.98 0")
    free_threaded = fake("free-threaded", "3.99 1")
    right = fake("right", "3.99 0")
    monkeypatch.setenv("QTINTER_PYTHONS", f"{other.parent}:{free_threaded}:{right}")
    assert matrix.find_interpreter("3.99") == right
    monkeypatch.setenv("QTINTER_PYTHONS", "")
    assert matrix.find_interpreter("3.99") is None


def test_another_run_keeps_its_interpreters(matrix, tmp_path):
    matrix.show_to_nox({"3.98": tmp_path / "one"})
    folder = matrix.show_to_nox({"3.99": tmp_path / "two"})
    assert sorted(path.name for path in folder.iterdir()) == [
        "python3.98",
        "python3.99",
    ]
    assert f'exec "{tmp_path}/two"' in (folder / "python3.99").read_text()


def test_stored_results_are_tabulated_without_a_run(matrix, monkeypatch, capsys):
    key = ("3.12", "PyQt6", "native")
    matrix.cells.write_result(key, ran(suites=[suite(failed=2)]))
    monkeypatch.setattr(matrix, "run", None)
    monkeypatch.setattr(sys, "argv", ["matrix.py", "--stored"])
    assert matrix.main() == 1
    assert "2 FAILED" in capsys.readouterr().out
    (stored,) = matrix.cells.read_result(key)["suites"]
    assert stored["failed"] == 2


@pytest.mark.parametrize("same", [True, False])
def test_other_suites_of_earlier_runs_stay(matrix, monkeypatch, same):
    key = ("3.12", "PyQt6", "native")
    monkeypatch.setattr(matrix.cells, "commit", lambda: "old")
    old = [suite(), suite(name="asyncio", failed=2)]
    matrix.cells.write_result(key, ran(suites=old))
    monkeypatch.setattr(matrix.cells, "commit", lambda: "new")
    matrix.cells.set_aside(key)
    assert matrix.cells.read_result(key) is None
    qt = {} if same else {"qt_version": "6.10.0"}  # what was found is not of this Qt
    matrix.cells.write_result(key, ran(suites=[suite(name="asyncio")], **qt))
    stored = matrix.cells.read_result(key)["suites"]
    assert [(s["name"], s["failed"], s["commit"]) for s in stored] == [
        ("asyncio", 0, "new"),
        ("py", 0, "old"),
    ][: 2 if same else 1]


@pytest.mark.parametrize(
    ("names", "chosen"),
    [
        (["py"], ["py"]),
        (["variants"], ["py, no GLib", "py, inspected"]),
        (["examples", "asyncio"], ["examples", "asyncio, attached"]),
        ([], ["py", "py, no GLib", "py, inspected", "e2e", "examples",
              "asyncio, attached"]),
    ],
)  # fmt: skip
def test_suites_of_a_cell(matrix, tmp_path, names, chosen):
    run_suites = importlib.import_module("run_suites")
    suites = run_suites.all_suites(tmp_path, [], {}, [("PyQt6", "native")])
    suites = run_suites.suites_of_cell(suites, "PyQt6", "native", names)
    assert [suite.name for suite in suites] == chosen
    assert {suite.env["QTINTER_HOST"] for suite in suites} == {"native"}
    assert set(names) <= set(matrix.cells.SUITES)


def test_asyncios_tests_are_of_every_cell(matrix, tmp_path):
    run_suites = importlib.import_module("run_suites")
    cell = ("PySide2", "binding")
    suites = run_suites.all_suites(tmp_path, [], {}, [cell])
    (suite,) = run_suites.suites_of_cell(suites, *cell, ["asyncio"])
    assert (suite.name, suite.binding) == ("asyncio, nested", "PySide2")


JUNIT = """<testsuites><testsuite name="pytest">
<testcase classname="tests.py.test_a" name="test_good"/>
<testcase classname="tests.py.test_a" name="test_bad[1]"><failure/></testcase>
</testsuite></testsuites>"""
PROGRESS = """tests/py/test_a.py::test_good PASSED [ 50%]
tests/py/test_a.py::test_bad[1] FAILED [100%]
"""


@pytest.mark.parametrize(
    ("reader", "text", "name"),
    [
        ("read_junit", JUNIT, "test_a::test_bad[1]"),
        ("read_progress", PROGRESS, "test_a::test_bad[1]"),
    ],
)
def test_names_of_failed_tests_are_kept(matrix, tmp_path, reader, text, name):
    run_suites = importlib.import_module("run_suites")
    report = tmp_path / "report"
    report.write_text(text)
    result = run_suites.Result()
    getattr(run_suites, reader)(report, result)
    assert (result.passed, result.failed, result.failures) == (1, 1, [name])


@pytest.mark.parametrize(("silence", "code"), [(60, 7), (1, None)])
def test_a_suite_that_logs_nothing_more_hangs(matrix, tmp_path, silence, code):
    run_suites = importlib.import_module("run_suites")
    log = tmp_path / "log"
    log.write_text("one test\n")
    command = [sys.executable, "-c", "import sys; sys.stdin.read(); sys.exit(7)"]
    with subprocess.Popen(command, stdin=subprocess.PIPE) as process:
        if code is not None:
            process.stdin.close()
        assert run_suites.wait_while_it_logs(process, log, silence) == code
        process.kill()


SOMETIMES = """
import pathlib
import pytest

def test_steady():
    pass

@pytest.mark.parametrize("limit", [1, 2])
def test_sometimes(limit):
    runs = pathlib.Path(__file__).with_suffix(".runs" + str(limit))
    count = len(runs.read_text()) if runs.exists() else 0
    runs.write_text("x" * (count + 1))
    assert count >= limit
"""


@pytest.mark.parametrize(("test", "failed"), [("sometimes[1]", 0), ("sometimes", 2)])
def test_failed_tests_run_again(matrix, tmp_path, monkeypatch, capsys, test, failed):
    """[1] passes when it is run again, [2] when it is run a third time."""
    run_suites = importlib.import_module("run_suites")
    monkeypatch.setattr(run_suites, "ROOT", tmp_path)
    (tmp_path / "suite").mkdir()
    (tmp_path / "suite" / "test_it.py").write_text(SOMETIMES)
    suite = run_suites.pytest_suite(
        "it", "suite", "PyQt6", "", ["-p", "no:cacheprovider"]
    )
    suite.command += [f"{suite.command.pop()}/test_it.py::test_steady"]
    suite.command += [f"suite/test_it.py::test_{test}"]
    run_suites.run_suite(suite, tmp_path, rerun=True)
    result = suite.result
    assert result.failed == failed
    assert len(result.failures) == failed
    assert result.unsteady == ([] if failed else ["test_it::test_sometimes[1]"])
    assert result.passed == (1 if failed else 2)
    run_suites.print_unsteady([suite])
    assert ("Unsteady" in capsys.readouterr().out) == (not failed)
