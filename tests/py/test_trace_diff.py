"""qtinter.trace._diff: what changed from one recording to another."""
# ruff: noqa: F811 - fixtures that are imported

import json

import pytest

from qtinter import trace
from qtinter.trace._diff import METRICS, Limit, diff, figures
from qtinter.trace._source import Gap

from .recordings import Recorder, program, recorded, ref, small  # noqa: F401


def run(steps, slot=False, **more):
    """A trace of tasks with steps of these microseconds: {code: [[us, ...], ...]}."""
    r = Recorder()
    us, task = 0, 0
    if slot:
        r.add(0, "SLOT_REGISTERED", r.code("on_click"), 1)
    for code, tasks in steps.items():
        for durations in tasks:
            task += 1
            r.task(us, task, code, ref("slot", 1) if slot else 0)
            if slot:
                r.add(us, "SLOT_CALLED", 0, task, 1)
            for duration in durations:
                r.add(us + 1, "TASK_WAKE", 1, task)
                us += duration + 2
                r.step(us, task, duration)
                r.wait(us, task)
    r.add(us + 1, "TURN", 1, 0, 1000)
    return trace.Trace(r.source(**more))


def change(found, metric):
    (one,) = [c for c in found.changes if c.metric == metric]
    return one


def test_the_whole_and_each_code():
    before = run({"load": [[100, 300]], "poll": [[10]]})
    after = run({"load": [[100, 600]], "save": [[50], [70]]})
    found = diff(before, after)
    assert [c.metric for c in found.changes] == list(METRICS)
    assert change(found, "tasks").before == 2
    assert change(found, "tasks").after == 3
    assert change(found, "busy").before == pytest.approx(410e-6)
    assert change(found, "busy").after == pytest.approx(820e-6)
    assert change(found, "max_step").percent == pytest.approx(100)
    assert change(found, "wakes").after == 4
    assert list(found.codes) == ["load (app.py)", "save (app.py)", "poll (app.py)"]
    load = {c.metric: (c.before, c.after) for c in found.codes["load (app.py)"]}
    assert load["steps"] == (2, 2)
    assert load["busy"] == (pytest.approx(400e-6), pytest.approx(700e-6))
    assert load["max_step"] == (pytest.approx(300e-6), pytest.approx(600e-6))
    words = [c.words() for c in found.codes["save (app.py)"]]
    assert ["tasks", "", "2", "new"] in words
    words = [c.words() for c in found.codes["poll (app.py)"]]
    assert ["steps", "1", "", "gone"] in words
    assert found.exceeded == found.incomplete == []
    json.dumps(found.row())


def test_a_line_that_moved_is_the_same_code():
    r = [Recorder(), Recorder()]
    for line, recorder in zip((3, 9), r):
        recorder.code("f", line=line)
        recorder.add(0, "TASK_CREATED", recorder.code("f", line=line), 1)
        recorder.step(100, 1, 50)
    found = diff(*(trace.Trace(recorder.source()) for recorder in r))
    assert list(found.codes) == ["f (app.py)"]


@pytest.mark.parametrize(
    ("limit", "exceeded"),
    [
        ("max_step:+100%", False),
        ("max_step:+99%", True),
        ("max_step:+300us", False),
        ("max_step:+299us", True),
        ("tasks:+1", False),
        ("tasks:+0", True),
        ("steps:-10%", False),
        ("steps:-0", False),
        ("waits:+0%", False),
        ("lints:+0", False),
        (" busy : +1s ", False),
        ("lag_p99:+1h", False),
    ],
)
def test_limits(limit, exceeded):
    before = run({"load": [[100, 300]], "poll": [[10]]})
    after = run({"load": [[100, 600]], "save": [[50], [70]]})
    found = diff(before, after, [limit])
    assert bool(found.exceeded) is exceeded, found.exceeded


def test_a_limit_says_what_it_is_about():
    before, after = run({"f": [[1000]]}), run({"f": [[2500]]})
    (line,) = diff(before, after, ["max_step:+20%"]).exceeded
    assert line == "max_step went from 1.0 ms to 2.5 ms (+150 %); allowed is +20%"
    (line,) = diff(after, before, ["max_step:-1ms"]).exceeded
    assert line == "max_step went from 2.5 ms to 1.0 ms (-60 %); allowed is -1ms"


def test_a_change_that_is_not_worth_a_word():
    found = diff(run({"f": [[1000.0]]}), run({"f": [[1000.4]]}))
    assert change(found, "max_step").words() == ["max_step", "1.0 ms", "1.0 ms", ""]
    assert change(found, "max_step").percent == pytest.approx(0.04)


def test_anything_is_more_than_nothing():
    """No percentage of zero is enough."""
    found = diff(run({}), run({"f": [[5]]}), ["tasks:+1000%"])
    assert found.exceeded == ["tasks went from 0 to 1 (new); allowed is +1000%"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (
            "max_stp:+20%",
            "no metric 'max_stp' as in 'max_stp:\\+20%'; there are asyncio",
        ),
        ("max_step", "'max_step' is no limit: write metric:"),
        ("max_step:20%", "is no limit"),
        ("max_step:+many", "neither a percentage nor a duration"),
        ("tasks:+5ms", "neither a percentage nor a number"),
        ("tasks:+inf", "neither a percentage nor a number"),
        ("tasks:+-3", "neither a percentage nor a number"),
        ("tasks:+x%", "neither a percentage nor a number"),
    ],
)
def test_what_is_no_limit(text, words):
    with pytest.raises(ValueError, match=words):
        Limit.parse(text)
    with pytest.raises(ValueError, match=words):
        diff(run({}), run({}), [text])


def test_overlaps_and_slots():
    found = diff(run({"f": [[1]]}, slot=True), run({"f": [[1], [1], [1]]}, slot=True))
    assert (change(found, "slots").before, change(found, "slots").after) == (1, 3)
    assert change(found, "overlaps").after == 2


def test_records_that_are_missing():
    gap = Gap(0, 9, "ring", Recorder.BEGIN, Recorder.BEGIN + 10)
    whole, torn = run({"f": [[5]]}), run({"f": [[5]]}, gaps=[gap], problems=["cut"])
    found = diff(whole, torn)
    assert found.incomplete == ["after: 9 records are missing", "after: cut"]
    for pair in ((whole, torn), (torn, whole)):
        with pytest.raises(trace.TraceIncomplete, match="9 records are missing"):
            diff(*pair, ["tasks:+1"])
    assert diff(whole, torn.with_gaps(), ["tasks:+1"]).exceeded == []


def test_figures_are_those_of_the_metrics(recorded):
    """All of them exist for a real program, and are what there are limits for."""
    found = figures(trace.Trace(recorded))
    assert sorted(found) == sorted(METRICS)
    assert found["slots"] >= 1
    assert found["wakes"] > 0
    assert 0 < found["busy"] <= found["duration"]
