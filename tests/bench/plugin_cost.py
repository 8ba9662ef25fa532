"""Cost of the recording that the plugin of pytest keeps for tests that fail.

    python tests/bench/plugin_cost.py [--rounds N] [--tests N] [--suite NAME]

Suites of small tests that pass are run without the plugin, with --qtrace=off and with
--qtrace=retain-on-failure, one after the other in each round.  What is compared is the
CPU time of the whole pytest process, which is what a suite takes on a machine that does
nothing else: the median of the rounds, the best of them, and the median of what the
cases of one round, which are neighbours, are to each other.
"""

import argparse
import os
import resource
import statistics
import subprocess
import sys
import tempfile

SUITES = {
    "plain": """
import pytest, qtinter

@pytest.mark.parametrize("n", range({count}))
def test_it(n):
    assert n >= 0
""",
    "a coroutine": """
import asyncio, pytest, qtinter
from qtinter.bindings import QtCore

app = QtCore.QCoreApplication([])

async def double(n):
    await asyncio.sleep(0)
    return 2 * n

async def compute(n):
    await asyncio.sleep(0)
    task = asyncio.ensure_future(double(n))
    await asyncio.sleep(0.0001)
    return await task

@pytest.mark.parametrize("n", range({count}))
def test_it(n):
    assert qtinter.run(compute(n)) == 2 * n
""",
    "a loop and an asyncslot": """
import asyncio, pytest, qtinter
from qtinter.bindings import QtCore

Signal = getattr(QtCore, "Signal", None) or QtCore.pyqtSignal

class Window(QtCore.QObject):
    clicked = Signal()
    done = False

    @qtinter.asyncslot
    async def on_click(self):
        await asyncio.sleep(0)
        self.done = True

@pytest.mark.parametrize("n", range({count}))
def test_it(n, qtinter_loop):
    window = Window()
    window.clicked.connect(window.on_click)
    window.clicked.emit()
    while not window.done:
        QtCore.QCoreApplication.processEvents()
""",
}
CASES = {
    "no plugin": (),
    "off": ("-p", "qtinter", "--qtrace=off"),
    "retain-on-failure": ("-p", "qtinter", "--qtrace=retain-on-failure"),
}


def cpu_of(folder, options):
    environment = dict(
        os.environ,
        PYTEST_DISABLE_PLUGIN_AUTOLOAD="1",
        QTINTER_RUNTIME_DIR=folder,
        QT_QPA_PLATFORM="offscreen",
    )
    environment.setdefault("QTINTERBINDING", "PyQt6")
    # As anybody's: the modules are compiled once, and not in each run.
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
    command += [*options, "-p", "qtinter.pytest_plugin"]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(
        command, cwd=folder, env=environment, stdout=subprocess.DEVNULL, check=True
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)  # to the microsecond
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--tests", type=int, default=1000)
    parser.add_argument("--suite", choices=SUITES, help="only this one")
    options = parser.parse_args()
    for suite in [options.suite] if options.suite else SUITES:
        text = SUITES[suite]
        times = {case: [] for case in CASES}
        with tempfile.TemporaryDirectory() as folder:
            os.chmod(folder, 0o700)
            with open(os.path.join(folder, "test_it.py"), "w") as file:
                file.write(text.format(count=options.tests))
            with open(os.path.join(folder, "pytest.ini"), "w") as file:
                file.write("[pytest]\n")
            cpu_of(folder, CASES["off"])  # compiles
            for _ in range(options.rounds):
                for case, given in CASES.items():
                    times[case].append(cpu_of(folder, given))
        print(f"{options.tests} tests: {suite}")
        for case, found in times.items():
            rounds = [each / off for each, off in zip(found, times["off"])]
            print(
                f"  {case:18} median {statistics.median(found):.3f} s, "
                f"best {min(found):.3f} s, of off: {statistics.median(rounds):.3f}"
            )


if __name__ == "__main__":
    main()
