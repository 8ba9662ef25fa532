"""Runs the test suites of other libraries, on asyncio's loop and on ours, and compares.

For each library: its source distribution of the installed version is fetched (by pip),
its suite is run on plain asyncio, and then on our loop in Qt with each chosen binding
and host.  A test that passes on plain asyncio and not on ours is run again, alone, on
both; if it fails again on ours only, it is a defect, unless explained.txt explains it.

The table at the end is in Markdown, for docs/libraries.md.
"""

import fnmatch
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tarfile
import time

import postgres

HERE = pathlib.Path(__file__).resolve().parent
PLUGINS = HERE / "plugins"
EXPLAINED = HERE / "explained.txt"

# Seconds: one test; it only ends what hangs, as the timeout of a suite does.
TEST_TIMEOUT = 60

CONFIGURATIONS = (
    ("PyQt6", "native"),
    ("PyQt6", "binding"),
    ("PySide6", "native"),
    ("PySide6", "binding"),
)
# Without --all: each binding and each host once.
USUAL = (("PyQt6", "native"), ("PySide6", "binding"))

# More than this many tests that fail on ours are not looked at one by one.
MOST_RETRIES = 100


class Run:
    """Outcome of one run of a suite: {test id: "passed", "failed", "skipped"...}."""

    def __init__(self, outcomes, problem, loops, seconds):
        self.outcomes = outcomes
        self.problem = problem  # why it did not end by itself, or ""
        self.loops = loops  # (loops of ours that ran, others), or None
        self.seconds = seconds

    def count(self, outcome):
        return sum(1 for known in self.outcomes.values() if known == outcome)

    @property
    def failed(self):
        return {test for test, outcome in self.outcomes.items() if is_bad(outcome)}

    def __str__(self):
        text = (
            f"{self.count('passed')} passed, {len(self.failed)} failed, "
            f"{self.count('skipped')} skipped, {self.seconds:.0f} s"
        )
        if self.loops:
            text += f", loops run: {self.loops[0]} ours, {self.loops[1]} others"
        return text + (f" ({self.problem})" if self.problem else "")


def is_bad(outcome):
    # "started": the process ended during the test.
    return outcome in ("failed", "started")


# --- the source of a suite ------------------------------------------------------------


def fetch(suite, work):
    """Path of the source distribution of the installed version."""
    folder = work / "sdists" / suite.name
    if not folder.is_dir() or not list(folder.iterdir()):
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
        # Not :all:, which would build the build tools from their sources, too.
        command += [f"--no-binary={suite.distribution}", f"--dest={folder}"]
        requirement = f"{suite.distribution}=={suite.version}"
        subprocess.run([*command, requirement], check=True, stdin=subprocess.DEVNULL)
    return next(folder.iterdir())


def unpack(suite, work):
    """Folder with the suite, without what would hide the installed package."""
    root = work / "src" / suite.name
    if not root.is_dir():
        scratch = work / "src" / f"{suite.name}.new"
        shutil.rmtree(scratch, ignore_errors=True)
        with tarfile.open(str(fetch(suite, work))) as archive:
            archive.extractall(str(scratch))
        for path in suite.remove:
            shutil.rmtree(next(scratch.iterdir()) / path)
        next(scratch.iterdir()).rename(root)
        scratch.rmdir()
    missing = [test for test in suite.tests if not (root / test).exists()]
    if missing:
        raise FileNotFoundError(f"no {', '.join(missing)} in the source distribution")
    return root


def prepare_postgres(work):
    """Environment with which asyncpg's suite starts clusters of PostgreSQL.

    PostgreSQL refuses root: then its programs are wrapped to run as another user, who
    gets the folder of the cluster first.
    """
    identity = postgres.account()
    if identity is None:
        return {"PGINSTALLATION": str(postgres.programs())}
    folder = work / "pg-as-user"
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o755)
    uid, gid = identity
    as_user = f"setpriv --reuid={uid} --regid={gid} --clear-groups"
    for program in ("pg_ctl", "postgres", "initdb", "pg_basebackup"):
        script = [
            "#!/bin/sh",
            "previous=",
            "for word; do  # the word that follows -D is the folder",
            f'  [ "$previous" != -D ] || chown -R {uid}:{gid} "$word"',
            "  previous=$word",
            "done",
            f'exec {as_user} {postgres.programs()}/{program} "$@"',
        ]
        write_script(folder / program, script)
    # Of what it prints, asyncpg uses the version and the folder of the programs.
    version = subprocess.run(
        [str(postgres.programs() / "postgres"), "--version"],
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    ).stdout.split()[-1]
    lines = ["#!/bin/sh", f"echo 'VERSION = PostgreSQL {version}'"]
    lines.append(f"echo 'BINDIR = {folder}'")
    write_script(folder / "pg_config", lines)
    return {"PGINSTALLATION": str(folder)}


def write_script(path, lines):
    path.write_text("\n".join(lines) + "\n")
    path.chmod(0o755)


# --- running --------------------------------------------------------------------------


def run_suite(suite, work, binding, host=None, only=None):
    """Runs the suite, or the tests `only`; host None is plain asyncio."""
    root = unpack(suite, work)
    title = "-".join((suite.name, binding, host or "asyncio"))
    title += ".again" if only else ""
    outcomes, counts = work / f"{title}.outcomes", work / f"{title}.loops"
    for path in (outcomes, counts):
        if path.exists():
            path.unlink()
    env = dict(
        os.environ,
        PYTHONPATH=os.pathsep.join(
            filter(None, (str(PLUGINS), os.environ.get("PYTHONPATH")))
        ),
        PYTHONFAULTHANDLER="1",
        QT_QPA_PLATFORM="offscreen",
        QT_API=binding.lower(),
        PYTEST_QT_API=binding.lower(),
        QTINTER_OUTCOMES=str(outcomes),
        QTINTER_LOOP_COUNTS=str(counts),
        PYTEST_DISABLE_PLUGIN_AUTOLOAD="1",
        **suite.environment,
    )
    if suite.distribution == "asyncpg":
        env.update(prepare_postgres(work))
    command = [sys.executable, "-m", "pytest", "-p", "qtinter_outcomes"]
    for plugin in suite.plugins:
        command += ["-p", plugin]
    if host:
        env.update(QTINTERBINDING=binding, QTINTER_HOST=host)
        env["QTINTER_EVERYWHERE"] = suite.mode
        command += ["-p", "qtinter_everywhere"]
    command += [f"--rootdir={root}", "-o", "addopts=", f"--timeout={TEST_TIMEOUT}"]
    command += ["-p", "no:cacheprovider", "--color=no", "--tb=short", "-q"]
    command += suite.options
    for pattern in suite.leave_out:
        command.append(f"--deselect={pattern}")
    command += sorted(only) if only else suite.tests
    log = work / f"{title}.log"
    started = time.monotonic()
    problem = run_bounded(command, root, env, log, suite.timeout)
    seconds = time.monotonic() - started
    loops = tuple(map(int, counts.read_text().split())) if counts.exists() else None
    return Run(read_outcomes(outcomes), problem, loops, seconds)


def run_bounded(command, cwd, env, log, timeout):
    """Runs pytest; returns "" if it ended by itself, with or without failed tests."""
    with open(log, "w") as output:
        process = subprocess.Popen(
            command,
            cwd=str(cwd),
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            code = process.wait(timeout)
        except subprocess.TimeoutExpired:
            code = None
        finally:
            kill_group(process)
    if code is None:
        return f"did not end within {timeout} s"
    if code not in (0, 1):  # 1: some test failed
        return f"exit code {code}, see {log}"
    return ""


def kill_group(process):
    """Ends what the suite left behind."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass  # nothing was left
    process.wait()


def read_outcomes(path):
    outcomes = {}
    if not path.exists():
        return outcomes
    for line in path.read_text().splitlines():
        outcome, _, test = line.partition(" ")
        # A test whose teardown fails has passed before.
        if not is_bad(outcomes.get(test, "")) or outcomes[test] == "started":
            outcomes[test] = outcome
    return outcomes


# --- comparing ------------------------------------------------------------------------


def read_explanations():
    """[(library, pattern, reason)] of explained.txt."""
    explanations = []
    for line in EXPLAINED.read_text().splitlines():
        if line.strip() and not line.startswith("#"):
            library, pattern, reason = (part.strip() for part in line.split(" | "))
            explanations.append((library, pattern, reason))
    return explanations


def explanation(suite, test):
    for library, pattern, reason in read_explanations():
        if library == suite.distribution and fnmatch.fnmatchcase(test, pattern):
            return reason
    return None


def worse_on_ours(plain, ours):
    """Tests that passed or were skipped on plain asyncio and did not on ours."""
    good = {test for test, outcome in plain.outcomes.items() if not is_bad(outcome)}
    not_run = good - set(ours.outcomes)
    return (ours.failed & good) | not_run | (ours.failed - set(plain.outcomes))


class Comparison:
    """What is left of the differences after the tests were run again alone."""

    def __init__(self):
        self.defects = set()
        self.explained = {}
        self.unstable = set()  # passed alone on ours, or failed alone on plain


def compare(suite, work, configuration, plain, ours):
    result = Comparison()
    worse = worse_on_ours(plain, ours)
    if not worse:
        return result
    if len(worse) > MOST_RETRIES:
        result.defects = worse
        return result
    again = run_suite(suite, work, *configuration, only=worse)
    plain_again = run_suite(suite, work, configuration[0], only=worse)
    for test in worse:
        reason = explanation(suite, test)
        ours_passed = not is_bad(again.outcomes.get(test, "started"))
        plain_passed = not is_bad(plain_again.outcomes.get(test, "started"))
        if ours_passed or not plain_passed:
            result.unstable.add(test)
        elif reason:
            result.explained[test] = reason
        else:
            result.defects.add(test)
    return result


class Report:
    """Everything about one library."""

    def __init__(self, suite):
        self.suite = suite
        self.absent = ""  # why there is nothing to run
        self.plain = {}  # binding, or "any": Run
        self.ours = {}  # configuration: Run
        self.comparisons = {}  # configuration: Comparison
        self.problem = ""

    @property
    def is_good(self):
        return not self.problem and not any(
            comparison.defects for comparison in self.comparisons.values()
        )


def examine(make_suite, work, configurations):
    suite = make_suite()
    report = Report(suite)
    print(f"== {suite.distribution} {suite.version}", flush=True)
    try:
        unpack(suite, work)
    except FileNotFoundError as exc:
        report.absent = str(exc)
        print(f"  {report.absent}", flush=True)
        return report
    for binding, host in configurations:
        # Only a suite about Qt may depend on the binding when it runs without us.
        plain = report.plain.get(binding if suite.mode == "attached" else "any")
        if plain is None:
            plain = run_suite(suite, work, binding)
            report.plain[binding if suite.mode == "attached" else "any"] = plain
            print(f"  {'asyncio':<18}{plain}", flush=True)
        if not plain.count("passed"):
            report.problem = "no test passed on plain asyncio"
            continue
        ours = run_suite(suite, work, binding, host)
        report.ours[binding, host] = ours
        print(f"  {binding + ' ' + host:<18}{ours}", flush=True)
        if not ours.loops or not ours.loops[0]:
            report.problem = "no loop of ours ran"
        comparison = compare(suite, work, (binding, host), plain, ours)
        report.comparisons[binding, host] = comparison
        print_differences(comparison)
    return report


def print_differences(comparison):
    for test in sorted(comparison.defects)[:MOST_RETRIES]:
        print(f"    DEFECT {test}", flush=True)
    if len(comparison.defects) > MOST_RETRIES:
        print(f"    ... {len(comparison.defects)} in all", flush=True)
    for test, reason in sorted(comparison.explained.items()):
        print(f"    explained {test}: {reason}", flush=True)
    for test in sorted(comparison.unstable):
        print(f"    unstable {test}", flush=True)


# --- the table ------------------------------------------------------------------------


def print_table(reports, configurations):
    heads = ["library", "version", "part", "tests", "failed: asyncio"]
    heads += [" ".join(configuration) for configuration in configurations]
    heads += ["only on ours", "of these explained", "unstable"]
    print()
    print("| " + " | ".join(heads) + " |")
    print("|" + "---|" * len(heads))
    for report in reports:
        suite = report.suite
        cells = [suite.distribution, suite.version]
        cells += [report.absent] if report.absent else table_cells(report)
        print("| " + " | ".join(cells) + " |")
    for report in reports:
        if report.problem:
            print(f"{report.suite.distribution}: {report.problem}")


def table_cells(report):
    plain = list(report.plain.values())
    ran = max(len(run.outcomes) - run.count("skipped") for run in plain)
    cells = [report.suite.part, str(ran)]
    cells.append("/".join(str(len(run.failed)) for run in plain))
    cells += [str(len(run.failed)) for run in report.ours.values()]
    found = report.comparisons.values()
    defects = {test for each in found for test in each.defects}
    explained = {test for each in found for test in each.explained}
    unstable = {test for each in found for test in each.unstable}
    cells += [str(len(defects | explained)), str(len(explained)), str(len(unstable))]
    return cells
