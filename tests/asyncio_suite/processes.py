"""Runs tests in worker processes and collects their outcomes, whatever happens."""

import concurrent.futures
import contextlib
import json
import os
import pathlib
import signal
import subprocess
import sys
import tempfile

WORKER = pathlib.Path(__file__).resolve().with_name("worker.py")
LOG_LINES = 60  # of a process that died, in a report

AFTER_LAST_TEST = ".<end of the process>"

# Seconds for one process; the worker has a shorter limit for each test.
PROCESS_TIMEOUT = 1200


class Outcome:
    """What became of one test in one process.

    :param test: Its id.
    :param outcome: "passed", "skipped" or "failed".
    :param detail: Reason of a skip, or traceback.
    :param in_qt: Did it run a loop inside of Qt?
    """

    def __init__(self, test, outcome, detail="", in_qt=False):
        self.test = test
        self.outcome = outcome
        self.detail = detail
        self.in_qt = in_qt

    def __repr__(self):
        return f"Outcome({self.test!r}, {self.outcome!r})"

    @property
    def failed(self):
        return self.outcome == "failed"

    @property
    def can_run_again(self):
        """False for a process that died after its last test."""
        return not self.test.endswith(AFTER_LAST_TEST)


class _Process:
    """A finished worker: its report, how it ended, and what it printed."""

    def __init__(self, loop, names, environment):
        with tempfile.TemporaryDirectory(prefix="asyncio-suite-") as folder:
            report = pathlib.Path(folder, "report")
            report.touch()
            with open(pathlib.Path(folder, "log"), "w+b") as log:
                self.code = _run(
                    [sys.executable, str(WORKER), str(report), loop, *names],
                    dict(os.environ, **environment),
                    folder,
                    log,
                )
                log.seek(0)
                self.log = log.read().decode(errors="replace")
            lines = report.read_text(encoding="utf-8").splitlines()
        self.records = [json.loads(line) for line in lines]

    def of(self, event):
        return [record for record in self.records if record["event"] == event]

    @property
    def completed(self):
        return self.code == 0 and bool(self.of("done"))

    @property
    def epitaph(self):
        """How it died, with the end of its output."""
        if self.code is None:
            how = f"was killed after {PROCESS_TIMEOUT} s"
        elif self.code < 0:
            how = f"was killed by {signal.Signals(-self.code).name}"
        else:
            how = f"ended with exit code {self.code}"
        tail = self.log.splitlines()[-LOG_LINES:]
        return "\n".join([f"The process {how}. Its output ends with:", *tail])


def _run(command, environment, folder, log):
    process = subprocess.Popen(
        command,
        env=environment,
        cwd=folder,
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    try:
        return process.wait(PROCESS_TIMEOUT)
    except subprocess.TimeoutExpired:
        return None
    finally:
        # With all that a test started and did not end.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def run_tests(loop, names, environment):
    """Run *names* in a worker, and in another one what a crash left undone.

    :param loop: See worker.py.
    :param environment: Variables for the worker, on top of the current ones.
    :returns: A list of :class:`Outcome`.
    """
    outcomes = []
    while names:
        process = _Process(loop, names, environment)
        ended = [
            Outcome(r["test"], r["outcome"], r["detail"], r["in_qt"])
            for r in process.of("end")
        ]
        outcomes += ended
        if process.completed:
            return outcomes + _leaks(process, names, ended)
        names = _after_crash(process, names, ended, outcomes)
    return outcomes


def _leaks(process, names, ended):
    """A failure if loops or handles outlive all tests."""
    [done] = process.of("done")
    alive = {what: count for what, count in done["alive"].items() if count}
    if not alive or any(outcome.failed for outcome in ended):
        return []  # the traceback of a failure keeps objects alive
    what = f"Native objects are left: {alive}"
    return [Outcome(names[0] + AFTER_LAST_TEST, "failed", what)]


def _after_crash(process, names, ended, outcomes):
    """Blame the crash on a test; returns the tests that are still to be run."""
    done = {outcome.test for outcome in ended}
    started = [r["test"] for r in process.of("start") if r["test"] not in done]
    planned = [test for r in process.of("plan") for test in r["tests"]]
    if started:
        culprits = started
    elif not planned:
        culprits = names  # they cannot even be imported
    else:
        culprits = [names[0] + AFTER_LAST_TEST]
    outcomes += [Outcome(test, "failed", process.epitaph) for test in culprits]
    if process.of("done"):
        return []
    # A class or module whose fixture failed ended under its own name.
    ended_whole = tuple(f"{test}." for test in done.difference(planned))
    return [
        test
        for test in planned
        if test not in done
        and test not in culprits
        and not test.startswith(ended_whole)
    ]


def run_in_parallel(loop, groups, environment, jobs, on_group=None):
    """Run groups of names, each in processes of its own.

    :param groups: {title: names}.
    :param jobs: How many processes at a time.
    :param on_group: Called with the title and the outcomes of each finished group.
    :returns: The :class:`Outcome` of all tests, in the order of the groups.
    """
    with concurrent.futures.ThreadPoolExecutor(jobs) as pool:
        running = {
            pool.submit(run_tests, loop, names, environment): title
            for title, names in groups.items()
        }
        for future in concurrent.futures.as_completed(running):
            if on_group is not None:
                on_group(running[future], future.result())
    return [outcome for future in running for outcome in future.result()]
