"""The driver of CPython's asyncio tests: what it makes of results and of crashes."""

import importlib.util
import pathlib
import subprocess
import sys
import xml.etree.ElementTree as ElementTree

import pytest

FOLDER = pathlib.Path(__file__).resolve().parents[1] / "asyncio_suite"
VERSIONS = ("3.8", "3.9", "3.10", "3.11", "3.12", "3.13")
MODES = ("nested", "attached")


def load(name):
    spec = importlib.util.spec_from_file_location(name, str(FOLDER / f"{name}.py"))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


processes, verdicts = load("processes"), load("verdicts")


def outcome(test, result):
    return processes.Outcome(f"test.test_asyncio.{test}", result, f"why {test}")


def judged(explanations, first, again=(), on_asyncio=()):
    results = verdicts.judge(
        [outcome("t", first)],
        [outcome("t", result) for result in again],
        [outcome("t", result) for result in on_asyncio],
        explanations,
    )
    assert [result.test for result in results] == ["t"]
    return results[0].verdict


@pytest.fixture
def explain(tmp_path):
    """explain(text): the explanations for Python 3.11, nested, in such a file."""

    def make(text=""):
        path = tmp_path / "explained.ini"
        path.write_text(text)
        return verdicts.Explanations("3.11", "nested", path)

    return make


ENTRY = "[t]\nversions = 3.11 3.12\nreason = because\n  of this\n"


def test_verdicts(explain):
    nothing, explained = explain(), explain(ENTRY)
    assert judged(nothing, "passed") == verdicts.PASSED
    assert judged(nothing, "skipped") == verdicts.SKIPPED
    assert judged(nothing, "failed", ["passed"]) == verdicts.FLAKY
    twice = ("failed", ["failed"])
    assert judged(nothing, *twice, ["failed"]) == verdicts.FAILS_ON_ASYNCIO
    assert judged(nothing, *twice, ["passed"]) == verdicts.UNEXPLAINED
    assert judged(explained, *twice, ["passed"]) == verdicts.EXPLAINED_FAILURE


def test_a_crash_after_the_last_test_is_ours(explain):
    crash = processes.Outcome(
        "test.test_asyncio.x" + processes.AFTER_LAST_TEST, "failed"
    )
    [result] = verdicts.judge([crash], [], [], explain())
    assert result.verdict == verdicts.UNEXPLAINED


def test_explanations_hold_for_their_versions_and_modes(explain):
    assert explain(ENTRY).reason("t") == "because of this"
    assert explain(ENTRY.replace("3.11 ", "")).reason("t") is None
    assert explain(ENTRY + "modes = attached\n").reason("t") is None
    stale = verdicts.stale_explanations
    assert stale([verdicts.Verdict("t", verdicts.PASSED, "")], explain(ENTRY)) == ["t"]
    assert (
        stale([verdicts.Verdict("t", verdicts.UNEXPLAINED, "")], explain(ENTRY)) == []
    )


@pytest.mark.parametrize(
    "text",
    [
        "[t]\nversions = 3.11\n",
        "[t]\nreason = because\n",
        "[t]\nversions = 3.11\nreason = because\nplatform = linux\n",
    ],
)
def test_incomplete_explanations_are_refused(explain, text):
    with pytest.raises(ValueError):
        explain(text)


def test_at_most_three_tests_of_a_version_are_explained():
    for version in VERSIONS:
        for mode in MODES:
            assert len(list(verdicts.Explanations(version, mode))) <= 3


def test_junit_counts_only_what_is_ours_as_failed(tmp_path):
    report = tmp_path / "report.xml"
    results = [
        verdicts.Verdict(f"a.{i}", verdict, "\x00 \udc80 <detail>")
        for i, verdict in enumerate(verdicts.VERDICTS)
    ]
    verdicts.write_junit(report, results)
    cases = list(ElementTree.parse(str(report)).iter("testcase"))
    kinds = [[child.tag for child in case] for case in cases]
    assert kinds == [[], ["skipped"], [], ["skipped"], ["skipped"], ["failure"]]


# --- processes -----------------------------------------------------------------------

TESTS = """
import os, signal, unittest

class Tests(unittest.TestCase):
    def test_1_passes(self):
        pass

    def test_2_fails(self):
        with self.subTest("sub"):
            self.fail("on purpose")

    def test_3_skips(self):
        self.skipTest("reason")

    def test_4_crashes(self):
        os.kill(os.getpid(), signal.SIGKILL)

    def test_5_passes(self):
        pass

    @unittest.skip("from outside")
    def test_6_is_skipped(self):
        pass

class Fixture(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        raise ValueError("in the fixture")

    def test(self):
        pass
"""


def test_outcomes_survive_crashes(tmp_path):
    (tmp_path / "some_tests.py").write_text(TESTS)
    (tmp_path / "skips.py").write_text("import unittest; raise unittest.SkipTest('no')")
    (tmp_path / "broken.py").write_text("1 / 0")
    names = ["some_tests", "skips", "broken", "some_tests.Missing"]
    outcomes = processes.run_tests("asyncio", names, {"PYTHONPATH": str(tmp_path)})
    results = {outcome.test: outcome for outcome in outcomes}
    tests = "some_tests.Tests.test_"
    assert {test: outcome.outcome for test, outcome in results.items()} == {
        tests + "1_passes": "passed",
        tests + "2_fails": "failed",
        tests + "3_skips": "skipped",
        tests + "4_crashes": "failed",
        tests + "5_passes": "passed",
        tests + "6_is_skipped": "skipped",
        "some_tests.Fixture": "failed",
        "some_tests.Missing": "failed",
        "skips": "skipped",
        "broken": "failed",
    }
    assert "on purpose" in results[tests + "2_fails"].detail
    assert "SIGKILL" in results[tests + "4_crashes"].detail
    assert "in the fixture" in results["some_tests.Fixture"].detail
    assert "ZeroDivisionError" in results["broken"].detail
    assert len(outcomes) == len(results)


# --- all of it -----------------------------------------------------------------------

has_tests = importlib.util.find_spec("test") is not None and (
    importlib.util.find_spec("test.test_asyncio") is not None
)


@pytest.mark.slow
@pytest.mark.skipif(not has_tests, reason="Python was installed without its own tests")
@pytest.mark.parametrize("mode", MODES)
def test_some_tests_run_inside_qt(binding, mode):
    names = ["test_events.HandleTests", "test_queues"]
    result = subprocess.run(
        [sys.executable, str(FOLDER), "--binding", binding, "--mode", mode, *names],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert result.returncode == 0, result.stdout
    assert "0 unexplained failure" in result.stdout
    in_qt = int(result.stdout.split(" of them ran a loop inside Qt")[0].split()[-1])
    assert in_qt > 10
