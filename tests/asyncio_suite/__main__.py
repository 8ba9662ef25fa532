"""Runs CPython's own tests of asyncio on qtinter's loops, inside a QCoreApplication.

    python tests/asyncio_suite [options] [test_module[.Class[.test]] ...]

The tests are ``test.test_asyncio`` of the interpreter that runs this file.  qtinter's
classes take the places of asyncio's in the modules under test (see loops.py), and a
QCoreApplication exists throughout.  What "inside Qt" means is up to --mode:

  nested    ``run_forever()``, and so ``run_until_complete()`` and ``asyncio.run()``,
            executes a Qt event loop until the asyncio loop stops: mode OWNER, which is
            how a qtinter loop behaves when it is told nothing else.
  attached  ``run_forever()`` attaches the loop, executes ``QCoreApplication.exec()``
            (on other threads a ``QEventLoop``) and ends it when the asyncio loop stops:
            mode GUEST, the way of ``using_asyncio_from_qt()``.

About a quarter of the tests run no loop at all, or call ``_run_once()`` themselves;
the report says how many ran one inside Qt.

Each module runs in a process of its own.  A test that fails is run again, then on plain
asyncio beside Qt, each time in a fresh process.  If it fails all three times, or if
explained.ini excuses it, that is no failure of ours.  The exit code is 1 for a failure
that nobody explained, or if an excused test passes.  If the interpreter came without
its tests, it is 2, or 0 with --junit, whose report then says so.
"""

import argparse
import importlib.util
import os
import pkgutil
import platform
import sys
import time

import processes
import verdicts

PACKAGE = verdicts.PACKAGE
HOSTS = ("native", "binding")
MODES = ("nested", "attached")


def parse_arguments():
    parser = argparse.ArgumentParser(
        prog="python tests/asyncio_suite",
        description=__doc__.splitlines()[0],
        epilog="See the head of tests/asyncio_suite/__main__.py for what it all means.",
    )
    parser.add_argument(
        "names",
        nargs="*",
        metavar="test_module[.Class[.test]]",
        help="what to run; all of test.test_asyncio by default",
    )
    parser.add_argument("--host", choices=HOSTS, help="default: qtinter's own choice")
    parser.add_argument("--binding", help="PyQt6, PySide6, PyQt5 or PySide2")
    parser.add_argument("--mode", choices=MODES, default="nested")
    parser.add_argument("--junit", metavar="FILE", help="write a JUnit report")
    parser.add_argument(
        "-j",
        "--jobs",
        type=int,
        default=os.cpu_count() or 1,
        help="processes at a time (default: one for each processor)",
    )
    return parser.parse_args()


def why_unavailable():
    """Why the interpreter cannot run its tests, or ""."""
    # Not by importing it: test.support changes the process.
    try:
        found = importlib.util.find_spec(PACKAGE)
    except ModuleNotFoundError:
        found = None
    if found is not None:
        return ""
    version = platform.python_version()
    return (
        f"Python {version} was installed without {PACKAGE} (Debian: apt-get install "
        f"libpython{version.rpartition('.')[0]}-testsuite)"
    )


def groups_of(names):
    """{module: names to run in one process}."""
    if not names:
        package = importlib.import_module(PACKAGE)
        modules = [
            module
            for module in pkgutil.iter_modules(package.__path__)
            if module.name.startswith("test_")
        ]
        # The longest first, so that no process works alone at the end.
        modules.sort(key=source_size, reverse=True)
        names = [module.name for module in modules]
    groups = {}
    for name in names:
        if not name.startswith(PACKAGE):
            name = f"{PACKAGE}.{name}"
        groups.setdefault(module_of(name), []).append(name)
    return groups


def source_size(module):
    spec = module.module_finder.find_spec(module.name)
    return os.path.getsize(spec.origin)


def module_of(test):
    return ".".join(test.split(".")[:3])


def names_by_module(outcomes):
    """{module: tests}, of those that can be run by name."""
    groups = {}
    for outcome in outcomes:
        if outcome.can_run_again:
            groups.setdefault(module_of(outcome.test), []).append(outcome.test)
    return groups


class Suite:
    """Runs the tests, up to three times each."""

    def __init__(self, arguments):
        self._mode = arguments.mode
        self._jobs = arguments.jobs
        self._environment = {"QT_QPA_PLATFORM": "offscreen"}
        if arguments.host:
            self._environment["QTINTER_HOST"] = arguments.host
        if arguments.binding:
            self._environment["QTINTERBINDING"] = arguments.binding

    def run(self, names):
        """Return the outcomes of the first run, of the second, and of asyncio."""
        first = self._run(self._mode, groups_of(names), show_group)
        again = self._run_failed(self._mode, first)
        failed = {outcome.test for outcome in again if outcome.failed}
        on_asyncio = self._run_failed(
            "asyncio", [outcome for outcome in first if outcome.test in failed]
        )
        return first, again, on_asyncio

    def _run(self, loop, groups, on_group=None):
        return processes.run_in_parallel(
            loop, groups, self._environment, self._jobs, on_group
        )

    def _run_failed(self, loop, outcomes):
        groups = names_by_module([outcome for outcome in outcomes if outcome.failed])
        return self._run(loop, groups)


# --- report ---------------------------------------------------------------------------


def show_group(module, outcomes):
    failed = sum(outcome.failed for outcome in outcomes)
    print(
        f"  {verdicts.short(module):<28}{len(outcomes):5} tests{failed:4} failed",
        flush=True,
    )


def show(judged, stale, in_qt):
    for verdict in verdicts.VERDICTS[2:]:
        for test, its_verdict, detail in judged:
            if its_verdict == verdict:
                print(f"\n{verdict}: {test}")
                print("\n".join("    " + line for line in detail.splitlines()))
    for test in stale:
        print(f"\nexplained.ini excuses {test}, which did not fail: remove the entry")
    print()
    for verdict in verdicts.VERDICTS:
        count = sum(its_verdict == verdict for _, its_verdict, _ in judged)
        print(f"{count:6} {verdict}")
    print(f"{in_qt:6} of them ran a loop inside Qt", flush=True)


def report_unavailable(arguments, reason):
    print(reason, file=sys.stderr)
    if not arguments.junit:
        return 2
    nothing = [verdicts.Verdict(PACKAGE, verdicts.SKIPPED, reason)]
    verdicts.write_junit(arguments.junit, nothing)
    return 0


def main():
    sys.stdout.reconfigure(errors="backslashreplace")
    arguments = parse_arguments()
    unavailable = why_unavailable()
    if unavailable:
        return report_unavailable(arguments, unavailable)
    started = time.monotonic()
    version = "{}.{}".format(*sys.version_info)
    explanations = verdicts.Explanations(version, arguments.mode)
    print(
        f"{PACKAGE} of Python {platform.python_version()}, binding "
        f"{arguments.binding or os.environ.get('QTINTERBINDING', 'by default')}, host "
        f"{arguments.host or os.environ.get('QTINTER_HOST', 'by default')}, mode "
        f"{arguments.mode}",
        flush=True,
    )
    first, again, on_asyncio = Suite(arguments).run(arguments.names)
    judged = verdicts.judge(first, again, on_asyncio, explanations)
    stale = verdicts.stale_explanations(judged, explanations)
    in_qt = sum(outcome.in_qt for outcome in first)
    show(judged, stale, in_qt)
    print(f"{len(first)} tests in {time.monotonic() - started:.0f} s", flush=True)
    if arguments.junit:
        verdicts.write_junit(arguments.junit, judged)
    return exit_code(arguments, judged, stale, in_qt)


def exit_code(arguments, judged, stale, in_qt):
    if not arguments.names and not in_qt:
        print("no test ran a loop inside Qt: qtinter's classes are not in place")
        return 1
    unexplained = any(v.verdict == verdicts.UNEXPLAINED for v in judged)
    return 1 if unexplained or stale or not judged else 0


if __name__ == "__main__":
    sys.exit(main())
