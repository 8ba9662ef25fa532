"""What an outcome means: the verdicts, the explained tests, and the JUnit report."""

import collections
import configparser
import pathlib
import re
import xml.etree.ElementTree as ElementTree

PACKAGE = "test.test_asyncio"
EXPLAINED = pathlib.Path(__file__).resolve().with_name("explained.ini")

PASSED = "passed"
SKIPPED = "skipped"
FLAKY = "failed once, then passed"
FAILS_ON_ASYNCIO = "failed, on plain asyncio too"
EXPLAINED_FAILURE = "explained"
UNEXPLAINED = "unexplained failure"

VERDICTS = (
    PASSED,
    SKIPPED,
    FLAKY,
    FAILS_ON_ASYNCIO,
    EXPLAINED_FAILURE,
    UNEXPLAINED,
)

Verdict = collections.namedtuple("Verdict", "test verdict detail")


def short(test):
    """The id without the package, as explained.ini and the reports have it."""
    return test[len(PACKAGE) + 1 :] if test.startswith(PACKAGE + ".") else test


class Explanations:
    """The tests that explained.ini excuses for one version of Python and one mode.

    :raises ValueError: An entry has an unknown option, no version or no reason.
    """

    def __init__(self, version, mode, path=EXPLAINED):
        self._reasons = {}
        parser = configparser.ConfigParser(interpolation=None)
        parser.optionxform = str
        with open(path, encoding="utf-8") as file:
            parser.read_file(file)
        for test in parser.sections():
            entry = dict(parser[test])
            versions = entry.pop("versions", "").split()
            modes = entry.pop("modes", mode).split()
            reason = " ".join(entry.pop("reason", "").split())
            if entry or not versions or not reason:
                raise ValueError(
                    f"[{test}] in {path}: versions and reason are required, modes is "
                    "optional, and there is nothing else"
                )
            if version in versions and mode in modes:
                self._reasons[test] = reason

    def __iter__(self):
        return iter(self._reasons)

    def reason(self, test):
        """Why the test may fail, or None."""
        return self._reasons.get(test)


def judge(first, again, on_asyncio, explanations):
    """Turn outcomes into verdicts.

    :param first: The outcomes of all tests on the loop.
    :param again: Those of a second run, of the tests that failed.
    :param on_asyncio: Those of the tests that failed twice, on plain asyncio.
    :param explanations: An :class:`Explanations`.
    :returns: A list of :class:`Verdict`, one for each outcome in *first*.
    """
    second = {outcome.test: outcome for outcome in again}
    plain = {outcome.test: outcome for outcome in on_asyncio}
    verdicts = []
    for outcome in first:
        if not outcome.failed:
            verdict, detail = outcome.outcome, outcome.detail
        else:
            verdict, detail = _judge_failure(
                outcome, second.get(outcome.test), plain.get(outcome.test), explanations
            )
        verdicts.append(Verdict(short(outcome.test), verdict, detail))
    return verdicts


def _judge_failure(outcome, second, plain, explanations):
    # What has no outcome there did not fail: a setUpClass() has one only if it does.
    if outcome.can_run_again and not (second is not None and second.failed):
        return FLAKY, outcome.detail
    if plain is not None and plain.failed:
        return FAILS_ON_ASYNCIO, plain.detail
    reason = explanations.reason(short(outcome.test))
    if reason is not None:
        return EXPLAINED_FAILURE, reason
    return UNEXPLAINED, outcome.detail


def stale_explanations(verdicts, explanations):
    """The tests that explained.ini excuses and that did not fail."""
    passed = {v.test for v in verdicts if v.verdict in (PASSED, SKIPPED)}
    return [test for test in explanations if test in passed]


def write_junit(path, verdicts):
    """Write a JUnit report: what needs nobody's attention is passed or skipped."""
    suite = ElementTree.Element("testsuite", name="asyncio", tests=str(len(verdicts)))
    for test, verdict, detail in verdicts:
        classname, _, name = test.rpartition(".")
        case = ElementTree.SubElement(suite, "testcase", classname=classname, name=name)
        if verdict == UNEXPLAINED:
            ElementTree.SubElement(case, "failure", message=verdict).text = _xml(detail)
        elif verdict == SKIPPED:
            ElementTree.SubElement(case, "skipped", message=_xml(detail))
        elif verdict == FAILS_ON_ASYNCIO:
            ElementTree.SubElement(case, "skipped", message=verdict)
        elif verdict == EXPLAINED_FAILURE:
            message = f"{verdict}: {detail}"
            ElementTree.SubElement(case, "skipped", message=_xml(message))
    ElementTree.ElementTree(suite).write(str(path), encoding="utf-8")


def _xml(text):
    """Replace what XML cannot hold."""
    return re.sub("[^\n\t -\ud7ff\ue000-\ufffd]", "?", text)
