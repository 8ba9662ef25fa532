"""pytest plugin: the event loops of this process are qtinter's, inside of Qt.

    QTINTERBINDING=PyQt6 pytest -p qtinter_everywhere ...

QTINTER_EVERYWHERE chooses how:

nested (default)
    Whoever asks asyncio for a new loop, or for its class, gets one of ours, whose
    run_forever() executes a Qt event loop.  For suites that make loops.
attached
    Each test runs with asyncio attached to Qt.  For suites that run Qt event loops.

The last lines of the session tell how many loops were run, ours and others.
"""

import asyncio
import functools
import os

import pytest

import qtinter

MODE = os.environ.get("QTINTER_EVERYWHERE", "nested")

runs = {"qtinter": 0, "other": 0}
_application = []


def _count_runs(loop_class, kind):
    run_forever = loop_class.run_forever

    @functools.wraps(run_forever)
    def counted(self):
        runs[kind] += 1
        return run_forever(self)

    loop_class.run_forever = counted


def _make_ours_the_default():
    # Beside the policy there are the names, which some suites call.
    asyncio.SelectorEventLoop = qtinter.QiSelectorEventLoop
    if hasattr(asyncio, "EventLoop"):
        asyncio.EventLoop = qtinter.QiSelectorEventLoop
    qtinter._policy._set_policy(qtinter.QiDefaultEventLoopPolicy())


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config):
    if _application:
        return  # a session inside of a session, of a suite that tests pytest plugins
    from qtinter.bindings import QtCore

    os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
    if MODE == "nested":
        app = QtCore.QCoreApplication.instance() or QtCore.QCoreApplication([])
        _make_ours_the_default()
    else:
        from qtinter.bindings import QtWidgets

        app = QtCore.QCoreApplication.instance() or QtWidgets.QApplication([])
    _application.append(app)
    _count_runs(asyncio.BaseEventLoop, "other")
    _count_runs(qtinter.QiBaseEventLoop, "qtinter")


if MODE == "attached":

    @pytest.fixture(autouse=True)
    def asyncio_is_attached():
        with qtinter.using_asyncio_from_qt():
            yield
            runs["qtinter"] += 1


def pytest_terminal_summary(terminalreporter):
    terminalreporter.write_line(
        f"event loops run: qtinter {runs['qtinter']}, other {runs['other']}"
    )
    record = os.environ.get("QTINTER_LOOP_COUNTS")
    if record:
        with open(record, "w") as file:
            print(runs["qtinter"], runs["other"], file=file)
