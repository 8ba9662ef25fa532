"""Runs every test suite with every binding and host, and prints one table.

    run_suites.py --build-dir DIR [--sanitize] [--rerun] [pytest arguments]
    run_suites.py --build-dir DIR --cell BINDING/HOST [--suites A,B] [--summary FILE]

Each row of the table is one process: the C units (ctest), pytest once per binding and
host, because a process can load only one Qt binding, and CPython's own tests of asyncio
(tests/asyncio_suite).  With --cell only those of one binding and host run.
The exit code is 1 if a test failed or if a suite ran no test.
PySide2, which has no wheel for Python 3.11 and later, and the native host for Qt 5 may
be missing: their rows say so and are no failure.  The last line is the table's sum.

With --rerun (as in CPython's own runner) a few failed tests of a pytest suite that
ended by itself run once more, in a process of their own.  Those that pass then are
shown as unsteady, with their first failure, and do not fail the run: on a busy machine
one test of twenty thousand should not hide what the others say.
"""

import argparse
import json
import os
import pathlib
import re
import subprocess
import sys
import time
import xml.etree.ElementTree as ElementTree

ROOT = pathlib.Path(__file__).resolve().parents[2]
BIN = pathlib.Path(sys.executable).parent
BINDINGS = ("PyQt6", "PySide6", "PyQt5", "PySide2")
HOSTS = ("native", "binding")
# (binding, host) whose absence is no failure.
OPTIONAL = {
    ("PyQt5", "native"),
    ("PySide2", "native"),
    ("PySide2", "binding"),
    ("PySide2", ""),
}

# Tests in tests/py of what is the same for every binding and host: they run in one row,
# and those of the window in one for each binding that it is made for.
OF_TOOLS = ("bench", "filters", "lanes", "lints", "matrix_tool", "protocol", "trace*",
            "transport_win", "tui_*")  # fmt: skip
OF_WINDOW = ("gui_*",)
TOOLS_ROW = ("PyQt6", "native")
WINDOW_ROWS = (TOOLS_ROW, ("PySide6", "native"))
# Of CPython's tests of asyncio, which take long: each host once.
ASYNCIO_ROWS = (("PyQt6", "native"), ("PyQt6", "binding"))

# Seconds after which a suite is taken for hung, only safety nets: in all, and without a
# line in its log for those that log every test.
SUITE_TIMEOUT = 1800
SILENCE_TIMEOUT = 300
NO_TEST_SELECTED = 5  # pytest's exit code
MOST_RERUN = 3  # a suite with more failures is broken, not unsteady


class Result:
    """Outcome of one suite: counts and what explains them."""

    def __init__(self):
        self.passed = 0
        self.failed = 0
        self.skipped = 0
        self.skip_reasons = {}
        self.failures = []  # names of the tests that failed, as far as reported
        self.unsteady = []  # of those that failed first and passed when run again
        self.problem = ""  # why it ran no test, or did not end by itself

    @property
    def ran(self):
        return self.passed + self.failed + self.skipped

    def add_skip(self, reason):
        self.skipped += 1
        self.skip_reasons[reason] = self.skip_reasons.get(reason, 0) + 1


class Suite:
    """One process that runs tests and writes a JUnit report."""

    def __init__(self, name, binding, host, command, env, silence=SUITE_TIMEOUT):
        self.name = name
        self.group = name.split(",")[0]  # what --suites calls it
        self.binding = binding
        self.host = host
        self.command = command
        self.env = env
        self.silence = silence
        self.folder = ""  # of its tests, and the command that runs tests given by id:
        self.rerun = []  # none where that is not possible
        self.missing = ""  # why it cannot be run
        self.result = Result()

    @property
    def title(self):
        return " ".join(part for part in (self.name, self.binding, self.host) if part)

    @property
    def may_be_missing(self):
        return (self.binding, self.host) in OPTIONAL

    @property
    def slug(self):
        return re.sub(r"[^\w.-]+", "-", self.title)


def read_junit(path, result):
    """Adds up the test cases of a JUnit report (pytest's or ctest's)."""
    for case in ElementTree.parse(str(path)).iter("testcase"):
        skipped = case.find("skipped")
        if case.find("failure") is not None or case.find("error") is not None:
            result.failed += 1
            module = (case.get("classname") or "").rpartition(".")[2]
            result.failures.append(f"{module}::{case.get('name')}")
        elif skipped is not None or case.get("status") in ("notrun", "disabled"):
            reason = skipped.get("message") if skipped is not None else None
            result.add_skip(reason or "not run by ctest")
        else:
            result.passed += 1


def read_progress(log, result):
    """Adds up the lines of pytest -v: all there is after a crash."""
    for line in log.read_text(errors="replace").splitlines():
        if re.match(r"\S+::.* PASSED\b", line):
            result.passed += 1
        elif re.match(r"\S+::.* (FAILED|ERROR)\b", line):
            result.failed += 1
            # By the name that it would have in the report.
            name = line.split(" ")[0].rpartition("/")[2]
            result.failures.append(name.replace(".py::", "::", 1))


def run_suite(suite, report_dir, rerun=False):
    """Runs the suite; its output goes to a log and is shown if something failed.

    :param rerun: give a few failed tests a second run
    """
    result = suite.result
    report = report_dir / (suite.slug + ".xml")
    log = report_dir / (suite.slug + ".log")
    if report.exists():
        report.unlink()
    print(f"  {suite.title:<34}", end="", flush=True)
    started = time.monotonic()
    code = run_logged(suite, report, log)
    took = time.monotonic() - started
    if report.exists():
        try:
            read_junit(report, result)
        except ElementTree.ParseError as exc:
            result.problem = f"unreadable report: {exc}"
    else:
        read_progress(log, result)
    explain_exit(result, code)
    print(
        f"{result.passed:5} passed {result.failed:3} failed {result.skipped:3} skipped"
        f"  {took:6.1f} s" + (f"  ({result.problem})" if result.problem else ""),
        flush=True,
    )
    if result.failed:
        print(explanation(log), flush=True)
        if rerun and suite.rerun and not result.problem:
            run_again(suite, report_dir)


def run_again(suite, report_dir):
    """Runs the failed tests once more; those that pass become unsteady ones."""
    failed = suite.result
    tests = [file_of_test(name, suite.folder) for name in failed.failures]
    if len(tests) > MOST_RERUN or None in tests:
        return
    second = Suite(
        f"{suite.name}, again",
        suite.binding,
        suite.host,
        suite.rerun + tests,
        suite.env,
        suite.silence,
    )
    run_suite(second, report_dir)
    if second.result.failed or second.result.passed != len(tests):
        return
    failed.unsteady, failed.failures = failed.failures, []
    failed.passed += len(tests)
    failed.failed = 0


def file_of_test(name, folder):
    """pytest's id of a test that a report calls module::test, or None."""
    module, _, test = name.partition("::")
    files = sorted((ROOT / folder).rglob(module + ".py"))
    return f"{files[0]}::{test}" if len(files) == 1 else None


def run_logged(suite, report, log):
    """Exit code of the suite's process, or None if it had to be killed."""
    command = [part.replace("{report}", str(report)) for part in suite.command]
    with open(log, "w") as output:
        process = subprocess.Popen(
            command,
            cwd=str(ROOT),
            env=dict(os.environ, **suite.env),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
        try:
            return wait_while_it_logs(process, log, suite.silence)
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()


def wait_while_it_logs(process, log, silence):
    """Exit code of a process; None if it hangs: it still runs and has to be killed.

    :param log: file that it writes to
    :param silence: seconds without a further line after which it hangs
    """
    end = time.monotonic() + SUITE_TIMEOUT
    size, since = -1, time.monotonic()
    while time.monotonic() < min(end, since + silence):
        try:
            return process.wait(1)
        except subprocess.TimeoutExpired:
            if log.stat().st_size != size:
                size, since = log.stat().st_size, time.monotonic()
    return None


def explain_exit(result, code):
    """Counts an end that the report does not show as a failure."""
    if code is None:
        result.problem = "killed: it hung, see the last test in its log"
        result.failed += 1
    elif code < 0:
        result.problem = f"crashed with signal {-code}"
        result.failed += 1
    elif code == NO_TEST_SELECTED:
        result.problem = "no test selected"
    elif code != 0 and not result.failed:
        result.problem = result.problem or f"exit code {code}"
        result.failed += 1


def explanation(log, lines=120):
    """The part of a log that tells about failures: pytest's sections, or its end."""
    text = log.read_text(errors="replace").splitlines()
    for number, line in enumerate(text):
        if re.match(r"=+ (ERRORS|FAILURES) =+$", line):
            text = text[number:]
            break
    if len(text) > lines:
        half = lines // 2
        cut = f"... {len(text) - lines} more lines in {log}"
        text = [*text[:half], cut, *text[-half:]]
    return "\n".join("    " + line for line in text)


# --- the suites ----------------------------------------------------------------------


def importable(module, env):
    code = f"import {module}"
    command = [sys.executable, "-c", code]
    probe = subprocess.run(
        command,
        cwd="/",
        env=dict(os.environ, **env),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    output = probe.stdout.strip().splitlines()
    return "" if probe.returncode == 0 else (output or ["no output"])[-1]


def c_suite(build_dir):
    command = ["ctest", "--test-dir", str(build_dir), "--no-tests=error"]
    ctest = BIN / "ctest"
    if ctest.exists():
        command[0] = str(ctest)
    command += ["--output-on-failure", "--output-junit", "{report}"]
    return Suite("c", "", "", command, {})


def pytest_command():
    """pytest without the working directory in sys.path, which holds our sources."""
    if (BIN / "pytest").exists():
        return [str(BIN / "pytest")]
    code = "import sys; del sys.path[0]; import pytest; sys.exit(pytest.main())"
    return [sys.executable, "-c", code]


def pytest_suite(name, folder, binding, host, options, env=None):
    paths = [option for option in options if is_test_path(option)]
    options = [option for option in options if option not in paths]
    within = [path for path in paths if path.startswith(folder)]
    if paths and not within:
        return None
    common = ["-vv", "--tb=short", "--color=no", "-o", "junit_family=xunit2"]
    common = [*pytest_command(), *common, "--junitxml={report}"]
    environment = {"QTINTERBINDING": binding, "QT_QPA_PLATFORM": "offscreen"}
    if host:
        environment["QTINTER_HOST"] = host
    environment.update(env or {})
    command = [*common, *options, *(within or [folder])]
    suite = Suite(name, binding, host, command, environment, SILENCE_TIMEOUT)
    suite.folder, suite.rerun = folder, common
    return suite


def asyncio_suite(binding, host):
    """CPython's own tests of asyncio; see tests/asyncio_suite/__main__.py."""
    mode = "attached" if host == "native" else "nested"
    command = [sys.executable, "tests/asyncio_suite", "--junit", "{report}"]
    command += ["--binding", binding, "--host", host, "--mode", mode]
    return Suite(f"asyncio, {mode}", binding, host, command, {})


def is_test_path(option):
    """Is this pytest argument a file, folder or test of ours?"""
    return not option.startswith("-") and (ROOT / option.split("::")[0]).exists()


def left_out(binding, host, options):
    """Arguments of pytest that leave out what another row tests."""
    if any(is_test_path(option) for option in options):
        return []  # what was asked for by name runs everywhere
    names = [] if (binding, host) == TOOLS_ROW else [*OF_TOOLS]
    names += [] if (binding, host) in WINDOW_ROWS else [*OF_WINDOW]
    return [f"--ignore-glob=tests/py/test_{name}.py" for name in names]


def all_suites(build_dir, options, common_env, asyncio_rows=ASYNCIO_ROWS):
    """Every suite of the project, in the order in which they run.

    asyncio_rows: the bindings and hosts with which CPython's own tests run.
    """
    suites = [] if options else [c_suite(build_dir)]
    for binding in BINDINGS:
        for host in HOSTS:
            of_row = [*options, *left_out(binding, host, options)]
            suites.append(pytest_suite("py", "tests/py", binding, host, of_row))
    once = [*options, *left_out("", "", options)]
    # The wheels' Qt may use GLib's event dispatcher or Qt's own: try both.
    suites.append(
        pytest_suite(
            "py, no GLib", "tests/py", "PyQt6", "native", once, {"QT_NO_GLIB": "1"}
        )
    )
    # Nothing may change while an inspector looks on.
    suites.append(
        pytest_suite(
            "py, inspected", "tests/py", "PyQt6", "", once, {"QTINTER_INSPECT": "2"}
        )
    )
    # The daemon is the same for all; the application of these tests is of one binding.
    suites.append(pytest_suite("e2e", "tests/e2e", "PyQt6", "", options))
    for binding in BINDINGS:
        suites.append(pytest_suite("examples", "tests/examples", binding, "", options))
    if not options:
        suites += [asyncio_suite(*row) for row in asyncio_rows]
    suites = [suite for suite in suites if suite is not None]
    for suite in suites:
        if suite.name.startswith("py, "):
            suite.group = "variants"
        suite.env = dict(common_env, **suite.env)
    return suites


def suites_of_cell(suites, binding, host, names):
    """The suites of one binding and host; those for any host get this one."""
    chosen = []
    for suite in suites:
        fits = suite.binding == binding and suite.host in ("", host)
        if fits and (not names or suite.group in names):
            suite.host = suite.env["QTINTER_HOST"] = host
            chosen.append(suite)
    return chosen


def missing_bindings(common_env):
    """{(binding, host): why it cannot be tested}; host None: with any host."""
    missing = {}
    for binding in BINDINGS:
        reason = importable(f"{binding}.QtCore", common_env)
        if reason:
            missing[binding, None] = f"{binding} does not load: {reason}"
            continue
        glue = "qtinter._qtglue" if binding.endswith("6") else "qtinter._qtglue5"
        reason = importable(f"{binding}.QtCore, {glue}", common_env)
        if reason:
            missing[binding, "native"] = f"the native host does not load: {reason}"
    return missing


# --- the table -----------------------------------------------------------------------


def print_table(suites):
    head = ("suite", "binding", "host", "passed", "failed", "skipped")
    rows = [
        (
            suite.name,
            suite.binding or "-",
            suite.host or ("default" if suite.binding else "-"),
            str(suite.result.passed),
            str(suite.result.failed),
            str(suite.result.skipped),
        )
        for suite in suites
    ]
    widths = [max(len(row[i]) for row in [head, *rows]) for i in range(len(head))]
    print()
    for row in [head, tuple("-" * width for width in widths), *rows]:
        cells = [
            cell.ljust(width) if i < 3 else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths))
        ]
        print("  ".join(cells).rstrip())


def print_skips(suites):
    reasons = {}
    for suite in suites:
        for reason, count in suite.result.skip_reasons.items():
            reasons.setdefault(reason, []).append(f"{suite.title}: {count}")
    if reasons:
        print("\nSkipped:")
        for reason, where in sorted(reasons.items()):
            print(f"  {reason}  [{'; '.join(where)}]")


def print_problems(suites):
    problems = [(suite.title, suite.result.problem) for suite in suites]
    problems = [(title, problem) for title, problem in problems if problem]
    if problems:
        print("\nProblems:")
        for title, problem in problems:
            print(f"  {title}: {problem}")


def print_unsteady(suites):
    for suite in suites:
        for name in suite.result.unsteady:
            print(f"\nUnsteady: {name}  [{suite.title}]: failed, then passed", end="")


def write_summary(suites, path):
    """The rows of the table as JSON, for ./dev matrix."""
    rows = [
        {
            "name": suite.name,
            "passed": suite.result.passed,
            "failed": suite.result.failed,
            "skipped": suite.result.skipped,
            "failures": suite.result.failures,
            "problem": suite.result.problem,
            "log": suite.slug + ".log",
        }
        for suite in suites
    ]
    path.write_text(json.dumps(rows))


def summarise(suites, options):
    """Prints everything that stands at the end; returns the exit code."""
    empty = [suite for suite in suites if not suite.result.ran]
    bad = [suite for suite in empty if not (suite.missing and suite.may_be_missing)]
    for suite in empty:
        suite.result.problem = suite.result.problem or "ran no test"
    print_table(suites)
    print_skips(suites)
    print_problems(suites)
    print_unsteady(suites)
    passed = sum(suite.result.passed for suite in suites)
    failed = sum(suite.result.failed for suite in suites)
    skipped = sum(suite.result.skipped for suite in suites)
    # With a selection (-k, a path) a suite may well have nothing to run.
    incomplete = bool(bad) and (not options or len(empty) == len(suites))
    print(f"\n{passed} passed, {failed} failed, {skipped} skipped", flush=True)
    return 1 if failed or incomplete else 0


def sanitizer_env():
    """Environment in which a sanitized module loads into a plain interpreter."""
    names = ("libasan.so", "libubsan.so", "libstdc++.so.6")
    paths = []
    for name in names:
        path = subprocess.run(
            ["cc", f"-print-file-name={name}"],
            check=True,
            stdout=subprocess.PIPE,
            text=True,
        ).stdout.strip()
        paths.append(os.path.realpath(path))
    return {
        "LD_PRELOAD": ":".join(paths),
        "PYTHONMALLOC": "malloc",
        # The interpreter and Qt free little at exit; our own leaks are counted by the
        # tests (_debug_counts).
        "ASAN_OPTIONS": "detect_leaks=0:allocator_may_return_null=1:abort_on_error=0",
        "UBSAN_OPTIONS": "print_stacktrace=1",
        "QTINTER_SANITIZED": "1",
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--build-dir", required=True, type=pathlib.Path)
    parser.add_argument("--site", help="folder of the package, put on PYTHONPATH")
    parser.add_argument("--sanitize", action="store_true")
    parser.add_argument("--rerun", action="store_true")
    parser.add_argument("--cell", metavar="BINDING/HOST")
    parser.add_argument("--suites", default="", help="groups, of those of the cell")
    parser.add_argument("--summary", type=pathlib.Path)
    arguments, options = parser.parse_known_args()

    report_dir = arguments.build_dir / "reports"
    report_dir.mkdir(parents=True, exist_ok=True)
    common_env = sanitizer_env() if arguments.sanitize else {}
    if arguments.site:
        common_env["PYTHONPATH"] = arguments.site
    if arguments.cell:
        cell = tuple(arguments.cell.split("/"))
        names = [name for name in arguments.suites.split(",") if name]
        suites = all_suites(arguments.build_dir, options, common_env, [cell])
        suites = suites_of_cell(suites, *cell, names)
    else:
        suites = all_suites(arguments.build_dir, options, common_env)
    missing = missing_bindings(common_env)
    print(f"Running {len(suites)} suites; reports in {report_dir}", flush=True)
    for suite in suites:
        suite.missing = missing.get((suite.binding, None)) or missing.get(
            (suite.binding, suite.host), ""
        )
        if suite.missing:
            suite.result.problem = "not run: " + suite.missing
            print(f"  {suite.title:<34}{suite.result.problem}", flush=True)
        else:
            run_suite(suite, report_dir, arguments.rerun)
    code = summarise(suites, options)
    if arguments.summary:
        write_summary(suites, arguments.summary)
    return code


if __name__ == "__main__":
    sys.exit(main())
