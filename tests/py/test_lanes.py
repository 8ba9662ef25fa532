"""Lanes of segments and loads, from records."""

import random

import pytest

from qtinter.inspect import _tables
from qtinter.inspect.lanes import (
    ASYNCIO,
    IDLE,
    OUTSIDE,
    READY,
    RUNS,
    SIGNALS,
    WAITS,
    Lane,
    Lanes,
)
from qtinter.inspect.loads import TICK, Loads, bin_width
from qtinter.inspect.model import SLOT, TASK, WAIT, Row

KIND = {name: number for number, (name, _) in _tables.RECORDS.items()}
FOR_TASK, FOR_SIGNAL = WAITS + 3, WAITS + 4


def record(ts, name, x=0, a=0, b=0, loop=1):
    return (ts, KIND[name], loop, x, a, b)


def ref(kind, ident):
    return kind << 56 | ident


def segments(lane):
    return list(zip(lane.starts, lane.ends, lane.kinds))


STORY = [
    record(100, "TASK_CREATED", 7, 1),
    record(210, "TASK_STEP", 0, 1, 10),  # 200 to 210
    record(211, "TASK_WAIT", 4, 1, ref(WAIT, 5)),
    record(212, "WAIT_BEGAN", 3, 5, 9),
    record(400, "WAIT_FIRED", 1, 5),
    record(401, "TASK_WAKE", 4, 1, ref(WAIT, 5)),
    record(450, "TASK_STEP", 2, 1, 20),  # 430 to 450
    record(451, "TASK_ENDED", 5, 1),
]


def test_a_task_is_ready_runs_waits_and_runs():
    lanes = Lanes()
    lanes.feed(STORY)
    lane = lanes.tasks[1]
    assert segments(lane) == [
        (100, 200, READY),
        (200, 210, RUNS),
        (210, 401, FOR_SIGNAL),
        (401, 430, READY),
        (430, 450, RUNS),
    ]
    assert (lane.born, lane.ended, lane.state, lane.code) == (100, 451, 5, 7)
    assert lane.refs[2] == ref(WAIT, 5)
    assert lane.time_of(RUNS, 0, 1000) == 30
    assert lane.time_of(RUNS, 205, 440) == 15
    assert (lanes.first, lanes.last) == (100, 451)


def test_what_goes_on_ends_now():
    lanes = Lanes()
    lanes.feed(STORY[:3])
    (*_, last) = lanes.tasks[1].spans(0, 1000, 1, 900)
    assert (last.start, last.end, last.kind) == (210, 900, FOR_SIGNAL)
    assert lanes.tasks[1].at(500, 900).kind == FOR_SIGNAL
    assert lanes.tasks[1].at(950, 900) is None


def test_an_emission_is_between_who_emitted_and_the_slot():
    lanes = Lanes()
    lanes.feed(
        [
            record(10, "TASK_CREATED", 0, 2, ref(TASK, 1)),
            record(11, "SLOT_CALLED", 33, 2, 8),
            record(12, "TASK_CREATED", 0, 3, ref(TASK, 1)),
            record(20, "WAIT_FIRED", 0, 5),
            record(21, "TASK_WAKE", 4, 3, ref(WAIT, 5)),
            record(22, "TASK_WAKE", 3, 3, ref(TASK, 2)),
            record(23, "TASK_WAKE", 3, 3, ref(TASK, 3)),  # by itself: no arrow
        ]
    )
    assert [flow[1:] for flow in lanes.flows] == [
        (1, SIGNALS, "emitted"),
        (SIGNALS, 2, "called"),
        (1, 3, "created"),
        (SIGNALS, 3, "emitted"),
        (2, 3, "woke"),
    ]
    assert [(e.ts, e.signal, e.task, e.slot, e.wait) for e in lanes.emissions] == [
        (11, 33, 2, 8, 0),
        (20, 0, 0, 0, 5),
    ]


def test_what_happened_in_a_range():
    lanes = Lanes()
    lanes.feed([*STORY, record(500, "TASK_CREATED", 0, 2)])
    assert lanes.active(205, 207) == {(TASK, 1)}
    assert lanes.active(300, 310) == set()  # it waits all the time
    assert lanes.active(399, 400) == {(WAIT, 5)}
    assert lanes.active(440, 600) == {(TASK, 1), (TASK, 2)}
    lanes.feed([record(700, "SLOT_CALLED", 0, 9, 4)])
    assert lanes.active(700, 700) == {(SLOT, 4)}


def test_a_loop_is_in_asyncio_outside_and_idle():
    lanes = Lanes()
    lanes.feed(
        [
            record(1000, "TURN", 1, 0, 100),
            record(1500, "TURN", 1, 300, 200),
            record(2000, "IDLE", 0, 400, 0, loop=2),
            record(2100, "TURN", 1, 0, 100, loop=2),
        ]
    )
    assert segments(lanes.loops[1]) == [
        (900, 1000, ASYNCIO),
        (1000, 1300, OUTSIDE),
        (1300, 1500, ASYNCIO),
    ]
    assert segments(lanes.loops[2]) == [(1600, 2000, IDLE), (2000, 2100, ASYNCIO)]
    assert (lanes.loops[1].kind, lanes.loops[1].since) == (OUTSIDE, 1500)
    assert (lanes.loops[2].kind, lanes.loops[2].since) == (IDLE, 2100)
    lanes.feed([record(2200, "LOOP_STOPPED")])
    assert segments(lanes.loops[1])[-1] == (1500, 2200, OUTSIDE)
    assert lanes.loops[1].kind == -1


def test_gaps_are_between_what_is_known():
    lanes = Lanes()
    lanes.gap(5)  # before the first one: nothing to draw
    lanes.feed([record(10, "MARK", 1)])
    lanes.gap(7)
    lanes.gap(1)
    lanes.feed([record(90, "MARK", 1)])
    assert lanes.gaps == [(10, 90, 8)]


def test_notes_are_in_order_although_spans_are_told_at_their_end():
    lanes = Lanes()
    lanes.feed(
        [
            record(10, "SPAN_BEGAN", 5, 1, 3),
            record(20, "MARK", 6, 3),
            record(30, "SPAN_ENDED", 5, 1, 3),
        ]
    )
    assert [(n.ts, n.end, n.lane, n.kind, n.text) for n in lanes.notes] == [
        (10, 30, 3, "span", 5),
        (20, 20, 3, "mark", 6),
    ]


def test_memory_is_bounded():
    lanes = Lanes(limit=1000)
    ts = 0
    for task in range(1, 2001):
        lanes.feed(
            [
                record(ts + 1, "TASK_CREATED", 0, task),
                record(ts + 9, "TASK_STEP", 2, task, 5),
                record(ts + 9, "TASK_ENDED", 5, task),
            ]
        )
        ts += 10
    kept = sum(map(len, lanes.tasks.values()))
    assert 500 < kept <= 1001
    assert 2000 in lanes.tasks
    assert 1 not in lanes.tasks
    assert lanes.first > 1


def random_lane(rng, count):
    lane, ts = Lane(1), 0
    for _ in range(count):
        ts += rng.choice((0, 1, 5, 1000))
        length = rng.choice((1, 2, 3, 50, 5000))
        lane.add(ts, ts + length, rng.choice((RUNS, READY, FOR_TASK)))
        ts += length
    return lane, ts


@pytest.mark.parametrize("seed", range(20))
def test_spans_cover_what_there_is(seed):
    rng = random.Random(seed)
    lane, end = random_lane(rng, 300)
    t0 = rng.randrange(end)
    t1 = t0 + rng.randrange(1, end)
    resolution = rng.choice((1, 7, 100, 3000))
    spans = list(lane.spans(t0, t1, resolution, end))
    seen = [i for i in range(len(lane)) if lane.ends[i] > t0 and lane.starts[i] < t1]
    assert sum(span.segments for span in spans) >= len(seen)
    for before, after in zip(spans, spans[1:]):
        assert before.end <= after.start
    for i in seen:
        holders = [
            s for s in spans if s.start <= lane.starts[i] and lane.ends[i] <= s.end
        ]
        assert len(holders) == 1
        if lane.ends[i] - lane.starts[i] >= resolution:
            assert holders[0].segments == 1  # what can be seen is drawn as it is
    for span in spans:
        ran = lane.time_of(RUNS, span.start, span.end)
        assert span.share == pytest.approx(ran / max(1, span.end - span.start))
    # A bound that does not grow with the number of segments.
    assert len(spans) <= 3 * ((t1 - t0) // resolution + 2)


def test_bins_do_not_move_with_the_range():
    lane = Lane(1)
    for ts in range(0, 10_000, 10):
        lane.add(ts, ts + 3, RUNS)
    whole = {(s.start, s.end) for s in lane.spans(0, 10_000, 100, 0)}
    first, *part = [(s.start, s.end) for s in lane.spans(2_045, 8_000, 100, 0)]
    assert first == (2_050, 2_093)
    assert len(part) == 59
    assert set(part) <= whole


def test_loads_of_ticks():
    lanes = Lanes()
    loads = Loads(lanes)
    second = 10 * TICK
    lanes.feed(
        [
            record(second, "TURN", 0, 0, TICK // 2),
            record(second + 2 * TICK, "TURN", 0, TICK, TICK),
            record(second + 2 * TICK, "TASK_CREATED", 0, 1),
            record(second + 3 * TICK, "TASK_STEP", 2, 1, TICK // 4),
        ]
    )
    before, first, then, last = loads.of(1, second - TICK, second + 3 * TICK, 4)
    assert before.asyncio == TICK // 2
    assert (first.asyncio, first.outside) == (0, TICK)
    assert (then.asyncio, then.outside) == (TICK, 0)
    assert last.lag == TICK * 3 // 4
    (all_of_it,) = loads.of(1, second - TICK, second + 3 * TICK, 1)
    assert all_of_it == (TICK * 3 // 2, TICK, 0, TICK * 3 // 4)


@pytest.mark.parametrize("bins", [7, 10, 150, 1000])
def test_bins_of_loads_are_of_whole_ticks(bins):
    lanes = Lanes()
    loads = Loads(lanes)
    end = 400 * TICK
    lanes.feed([record(end, "TURN", 0, 0, 400 * TICK)])  # busy all the time
    width = bin_width(end, bins)
    found = loads.of(1, 0, end, bins)
    assert len(found) <= bins
    assert [load.asyncio for load in found[:-1]] == [width] * (len(found) - 1)


def known_row(ident, state, **values):
    names = [name for name, _ in _tables.ENTITIES[TASK][1]]
    return Row(TASK, ident, state, 1, [values.get(name, 0) for name in names])


def test_a_task_without_records_has_waited_since_its_row_changed():
    lanes = Lanes()
    lanes.know(known_row(1, 3, created=100, changed=150, wait_kind=5, code=9))
    lanes.know(known_row(2, 2, created=100, changed=300))
    lanes.know(known_row(3, 5, created=100, changed=300))  # it is over
    assert [*lanes.tasks[1].spans(0, 1000, 1, 900)] == [(150, 900, WAITS + 5, 0, 0, 1)]
    assert lanes.tasks[1].code == 9
    assert [span.kind for span in lanes.tasks[2].spans(0, 1000, 1, 900)] == [RUNS]
    assert set(lanes.tasks) == {1, 2}


def test_what_records_tell_of_a_task_counts_more_than_its_row():
    lanes = Lanes()
    lanes.know(known_row(1, 3, created=100, changed=500, wait_kind=5))
    lanes.feed(
        [
            record(200, "TASK_WAKE", 5, 1),
            record(300, "TASK_STEP", 0, 1, 50),
            record(300, "TASK_WAIT", 5, 1),
            record(450, "TASK_WAKE", 5, 1),
            record(500, "TASK_STEP", 0, 1, 10),
            record(500, "TASK_WAIT", 5, 1),
        ]
    )
    lanes.know(known_row(1, 3, created=100, changed=700, wait_kind=4))
    found = [(s.start, s.end, s.kind) for s in lanes.tasks[1].spans(0, 1000, 1, 900)]
    assert found == [
        (200, 250, READY),
        (250, 300, RUNS),
        (300, 450, WAITS + 5),
        (450, 490, READY),
        (490, 500, RUNS),
        (500, 900, WAITS + 5),
    ]
