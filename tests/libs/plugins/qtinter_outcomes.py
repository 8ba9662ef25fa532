"""pytest plugin: writes the outcome of each test to a file as soon as it is known.

QTINTER_OUTCOMES names the file.  A line is "<outcome> <node id>", the outcome one of
started, passed, failed, skipped; the last line of a test counts.  A test that ends the
process has "started".
"""

import os

import pytest

PATH = os.environ["QTINTER_OUTCOMES"]


def _write(outcome, nodeid):
    # In one write, to the end: sessions inside of sessions may share the file.
    with open(PATH, "a") as file:
        file.write(f"{outcome} {nodeid}\n")


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_logstart(nodeid):
    _write("started", nodeid)


def pytest_runtest_logreport(report):
    if report.when == "call" or report.outcome != "passed":
        _write(report.outcome, report.nodeid)
