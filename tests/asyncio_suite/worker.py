"""One process of the asyncio suite: runs tests on one loop and reports on each.

    worker.py REPORT LOOP NAME...

LOOP is ``asyncio`` (nothing is replaced, but Qt is there), ``nested`` or ``attached``
(see loops.py); NAME is a module, class or test, such as
``test.test_asyncio.test_events.HandleTests``.
REPORT gets one JSON object a line: the plan, the start and the end of each test, and a
last one when all is done; so that after a crash it is known what ran and what did not.
"""

import faulthandler
import gc
import json
import os
import re
import signal
import sys
import traceback
import unittest
import warnings

# Seconds for one test, and for the end of the process; only safety nets.
TEST_TIMEOUT = 300
EXIT_TIMEOUT = 60

# The worst of several outcomes of one test (its subtests) counts.
SEVERITY = ("passed", "skipped", "failed")


class Reporter(unittest.TestResult):
    """Writes what becomes of each test as a line of JSON."""

    def __init__(self, write, count_runs):
        super().__init__()
        self._write = write
        self._count_runs = count_runs
        self._outcome = None
        self._runs_before = 0

    def startTest(self, test):
        super().startTest(test)
        faulthandler.dump_traceback_later(TEST_TIMEOUT, exit=True)
        self._outcome = ("passed", "")
        self._runs_before = self._count_runs()
        self._write(event="start", test=test.id())

    def stopTest(self, test):
        faulthandler.cancel_dump_traceback_later()
        if self._outcome is not None:  # 3.12.1 does not start what it skips
            self._write_end(test.id(), *self._outcome)
            self._outcome = None
        super().stopTest(test)

    def _write_end(self, test, outcome, detail):
        in_qt = self._count_runs() > self._runs_before
        self._write(event="end", test=test, outcome=outcome, detail=detail, in_qt=in_qt)

    def _note(self, test, outcome, detail=""):
        if self._outcome is None:
            self._note_fixture(test, outcome, detail)
        elif SEVERITY.index(outcome) >= SEVERITY.index(self._outcome[0]):
            self._outcome = (outcome, detail)

    def _note_fixture(self, test, outcome, detail):
        # setUpClass() or setUpModule(): its id is "setUpClass (module.Class)".
        named = re.search(r"\((.+)\)", test.id())
        self._runs_before = self._count_runs()
        self._write_end(named.group(1) if named else test.id(), outcome, detail)

    def addSuccess(self, test):
        self._note(test, "passed")

    def addExpectedFailure(self, test, err):
        self._note(test, "passed")

    def addUnexpectedSuccess(self, test):
        self._note(test, "failed", "was expected to fail, and passed")

    def addSkip(self, test, reason):
        self._note(test, "skipped", reason)

    def addError(self, test, err):
        self._note(test, "failed", self._exc_info_to_string(err, test))

    addFailure = addError

    def addSubTest(self, test, subtest, err):
        if err is not None:
            text = self._exc_info_to_string(err, test)
            self._note(test, "failed", f"{subtest}\n{text}")


class StandIn(unittest.TestCase):
    """What is reported for a name that cannot be loaded."""

    def __init__(self, name, act, text):
        super().__init__()
        self._name, self._act, self._text = name, act, text

    def id(self):
        return self._name

    def runTest(self):
        self._act(self, self._text)


def load(name):
    loader = unittest.TestLoader()
    try:
        suite = loader.loadTestsFromName(name)
    except unittest.SkipTest as exc:
        return StandIn(name, unittest.TestCase.skipTest, str(exc))
    except Exception:  # whatever a module raises at import
        return StandIn(name, unittest.TestCase.fail, traceback.format_exc())
    if loader.errors:
        return StandIn(name, unittest.TestCase.fail, "\n".join(loader.errors))
    return suite


def test_ids(suite):
    for test in suite:
        if isinstance(test, unittest.TestSuite):
            yield from test_ids(test)
        else:
            yield test.id()


def make_application():
    """The QCoreApplication that the loops run in; to be kept."""
    from qtinter.bindings import QtCore

    return QtCore.QCoreApplication([sys.argv[0]])


def native_counts():
    core = sys.modules.get("qtinter._core")
    return core._debug_counts() if core is not None else {}


def main(report_path, loop, names):
    faulthandler.enable()
    # A shell starts background jobs with SIGINT ignored, and that is inherited.
    signal.signal(signal.SIGINT, signal.default_int_handler)

    # Opened for each line: processes that a test forks hold no half-written buffer.
    def write(**record):
        with open(report_path, "a", encoding="utf-8") as report:
            report.write(json.dumps(record) + "\n")

    # Also for asyncio: bindings change what Python does, PySide the import statement.
    application, count_runs = make_application(), lambda: 0
    if loop != "asyncio":
        import loops

        counter = loops.RunCounter()
        count_runs = lambda: counter.runs  # noqa: E731
        loops.substitute(loop)
    warnings.simplefilter("default")
    warnings.filterwarnings("error", category=DeprecationWarning, module=r"qtinter\b")
    suite = unittest.TestSuite([load(name) for name in names])
    write(event="plan", tests=list(test_ids(suite)))
    suite.run(Reporter(write, count_runs))
    gc.collect()
    gc.collect()
    write(event="done", alive=native_counts())
    faulthandler.dump_traceback_later(EXIT_TIMEOUT, exit=True)
    del application


if __name__ == "__main__":
    # Not at import: processes that a test starts import this file again.
    os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
    main(sys.argv[1], sys.argv[2], sys.argv[3:])
