"""The benchmark suite itself: workloads run, and the report tells the truth.

Nothing here asserts a time. The workloads run with tiny counts.
"""

import os
import pathlib
import sys

import pytest

BENCH = pathlib.Path(__file__).resolve().parent.parent / "bench"
sys.path.insert(0, str(BENCH))

from qtinter_bench import cli, peers, report  # noqa: E402
from qtinter_bench.registry import WORKLOADS, Line, Workload  # noqa: E402
from qtinter_bench.targets import (  # noqa: E402
    ahead_of,
    at_most,
    at_most_times,
    level_with,
    times,
)


def _run_all(peer_name):
    answer = cli.run_child(peers.PEERS[peer_name], "all", "tiny", {})
    assert answer.error is None, answer.stderr
    return answer.data


def _check_shape(workload, answer):
    values = answer["values"]
    assert set(values) == {line.key for line in workload.lines}
    for line in workload.lines:
        lowest = 0 if line.may_be_zero else sys.float_info.min
        assert values[line.key] >= lowest, line
    assert answer["operations"] > 0
    usage = answer["usage"]
    if usage is not None:
        assert set(usage) == {"wall_ns", "cpu_ns", "voluntary", "involuntary"}
        assert usage["wall_ns"] > 0
        assert min(usage.values()) >= 0


def test_workloads_on_asyncio():
    answers = _run_all("asyncio")
    assert set(answers) == set(WORKLOADS)
    for name, workload in WORKLOADS.items():
        if workload.needs:
            assert answers[name] == {"not_applicable": True}
        else:
            _check_shape(workload, answers[name])


@pytest.mark.parametrize("mode", ["attached", "nested"])
def test_workloads_on_qtinter(mode, binding):
    parts = (mode, binding.lower(), os.environ.get("QTINTER_HOST"))
    answers = _run_all("-".join(filter(None, parts)))
    assert set(answers) == set(WORKLOADS)
    for name, workload in WORKLOADS.items():
        _check_shape(workload, answers[name])


def test_failed_child_is_reported_with_its_stderr():
    answer = cli.run_child(peers.PEERS["asyncio"], "no such workload", "tiny", {})
    assert answer.error == "exit status 1"
    assert "KeyError: 'no such workload'" in answer.stderr


def test_child_that_never_ends_is_killed(monkeypatch):
    monkeypatch.setattr(cli, "TIMEOUT_S", 0.0)
    answer = cli.run_child(peers.PEERS["asyncio"], "all", "full", {})
    assert answer.error == "no end after 0 s"


# --- the report ----------------------------------------------------------------------


def _workload(*lines):
    return Workload("load", "a load", None, lines, {}, 0, (), {})


def _answers(*numbers, key="rate"):
    return [cli.Answer({"values": {key: number}, "usage": None}) for number in numbers]


def _outcome(workload, answers, probes=None):
    """A run of one workload; ``answers`` by peer name."""
    chosen = [peers.PEERS[name] for name in {**answers, **(probes or {})}]
    found = {peer.name: cli.Answer({"versions": {}}) for peer in chosen}
    return report.Outcome(
        machine={"system": "S", "processor": "P", "processors": 2, "load": [0, 0]},
        started=0.0,
        seconds=1.0,
        rounds=3,
        size="full",
        peers=chosen,
        probes={**found, **(probes or {})},
        workloads=[workload],
        answers={"load": answers},
    )


RATE = Line("rate", "", "/s", higher_is_better=True)
TIME = Line("rate", "", "µs")


def _line_of(text, start):
    (found,) = (line for line in text.splitlines() if line.startswith(start))
    return found


def test_report_shows_medians_and_ratios():
    outcome = _outcome(
        _workload(RATE),
        {
            "asyncio": _answers(100e3, 90e3, 900e3),
            "uvloop": _answers(290e3, 310e3, 300e3),
            "attached-pyqt6": _answers(303e3, 302e3, 100e3),
        },
    )
    line = _line_of(report.render(outcome, markdown=True), "| a load")
    cells = [cell.strip() for cell in line.strip("|").split("|")]
    assert cells[:4] == ["a load, /s", "100 k", "300 k", "302 k"]
    assert cells[4:7] == ["≈", "3.02", "≈"]  # best other, asyncio, uvloop


def test_ratio_is_oriented_by_the_line():
    answers = {"asyncio": _answers(30.0), "attached-pyqt6": _answers(10.0)}
    slower = report.render(_outcome(_workload(RATE), answers), markdown=True)
    assert "| 0.33 |" in _line_of(slower, "| a load")
    faster = report.render(_outcome(_workload(TIME), answers), markdown=True)
    assert "| 3.00 |" in _line_of(faster, "| a load")


def test_worst_round_is_not_averaged_away():
    line = Line(
        "rate", "", "count", may_be_zero=True, worst=True, must=(at_most(0, "0"),)
    )
    outcome = _outcome(_workload(line), {"attached-pyqt6": _answers(0.0, 0.0, 1.0)})
    assert report.rows(outcome)[0].medians == {"attached-pyqt6": 1.0}
    assert report.missed(outcome) == ["a load: attached-pyqt6: ≤ 0"]


def test_must_have_without_a_number_is_missed():
    line = Line("rate", "", "/s", higher_is_better=True, must=(ahead_of("asyncio"),))
    absent = {"attached-pyqt6": cli.Answer({"not_installed": "qtinter"})}
    outcome = _outcome(_workload(line), {"asyncio": _answers(5.0)}, absent)
    assert report.missed(outcome) == ["a load, /s: attached-pyqt6: ahead of asyncio"]
    alone = _outcome(_workload(line), {"attached-pyqt6": _answers(5.0)})
    assert report.missed(alone) == []


def test_cost_of_an_operation():
    usage = {"wall_ns": 1, "cpu_ns": 6000, "voluntary": 2, "involuntary": 0}
    data = {"values": {"rate": 5.0}, "operations": 4, "usage": usage}
    outcome = _outcome(_workload(RATE), {"asyncio": [cli.Answer(data)]})
    costs = {row.line.key: row.medians for row in report.rows(outcome) if row.is_cost}
    assert costs == {"cpu": {"asyncio": 1.5}, "switches": {"asyncio": 0.5}}


def test_failures_are_shown_and_never_dropped():
    answers = {
        "asyncio": [
            cli.Answer(error="exit status -6", stderr=f"at 0x{index}f\nFatal: b")
            for index in range(3)
        ],
        "uvloop": [*_answers(5.0), cli.Answer(error="exit status 1", stderr="Boom")],
    }
    text = report.render(_outcome(_workload(RATE), answers), markdown=False)
    assert "error" in _line_of(text, "a load")
    assert "(1 failed)" in _line_of(text, "a load")
    rounds = "load, round 1; load, round 2; load, round 3"
    assert f"ERROR asyncio: {rounds}: exit status -6\n    at 0x0f\n    Fatal: b" in text
    assert "ERROR uvloop: load, round 2: exit status 1\n    Boom" in text


@pytest.mark.parametrize(
    ("load", "warns"), [([0.9, 1.9], False), ([1.1, 1.0], True), ([0.0, 2.1], True)]
)
def test_busy_machine_is_mentioned(load, warns):
    outcome = _outcome(_workload(RATE), {"asyncio": _answers(5.0)})
    outcome.machine["load"] = load  # of two processors
    text = report.render(outcome, markdown=False)
    assert ("the machine was busy" in text) is warns


def test_stray_output_of_a_child_is_shown():
    data = {"values": {"rate": 5.0}, "usage": None}
    answers = {"asyncio": [cli.Answer(data, stderr="QWarning: odd\n")]}
    text = report.render(_outcome(_workload(RATE), answers), markdown=False)
    assert "NOTE asyncio wrote to standard error" in text
    assert "QWarning: odd" in text


def test_absent_peer_and_missing_facility_have_a_cell():
    outcome = _outcome(
        _workload(RATE),
        {"asyncio": [cli.Answer({"not_applicable": True})]},
        {"uvloop": cli.Answer({"not_installed": "uvloop"})},
    )
    cells = _line_of(report.render(outcome, markdown=True), "| a load").split(" | ")
    assert [cell.strip(" |") for cell in cells[1:]] == ["n/a", "not installed"]


@pytest.mark.parametrize(
    ("target", "ours", "other", "met"),
    [
        (ahead_of("asyncio"), 104.0, 100.0, False),
        (ahead_of("asyncio"), 106.0, 100.0, True),
        (level_with("asyncio"), 96.0, 100.0, True),
        (level_with("asyncio"), 94.0, 100.0, False),
        (times(2, "asyncio"), 199.0, 100.0, False),
        (times(2, "asyncio"), 200.0, 100.0, True),
        (times(2, "uvloop"), 200.0, 100.0, None),  # uvloop was not measured
    ],
)
def test_target_of_a_rate(target, ours, other, met):
    assert target.met(ours, {"asyncio": other}, True) is met


@pytest.mark.parametrize(
    ("target", "ours", "met"),
    [
        (at_most_times(1.1, "asyncio"), 109.0, True),
        (at_most_times(1.1, "asyncio"), 111.0, False),
        (ahead_of("asyncio"), 94.0, True),
        (ahead_of("asyncio"), 96.0, False),
        (at_most(150, "150 µs"), 150.0, True),
        (at_most(150, "150 µs"), 151.0, False),
    ],
)
def test_target_of_a_time(target, ours, met):
    assert target.met(ours, {"asyncio": 100.0}, False) is met


def test_unknown_peer_is_refused():
    with pytest.raises(ValueError, match="no peer is called 'gevent'"):
        peers.choose("asyncio,gevent")
    assert [peer.name for peer in peers.choose("nested-pyqt6*")] == [
        "nested-pyqt6",
        "nested-pyqt6-native",
        "nested-pyqt6-binding",
    ]


def test_children_see_only_the_choices_of_their_peer(monkeypatch):
    monkeypatch.setenv("QTINTER_HOST", "binding")
    monkeypatch.setenv("QT_NO_GLIB", "1")
    env = peers.child_environment(peers.PEERS["attached-pyside6-native"], {"A": "b"})
    assert env["QTINTER_HOST"] == "native"
    assert env["QTINTERBINDING"] == "PySide6"
    assert env["A"] == "b"
    assert "QT_NO_GLIB" not in env
