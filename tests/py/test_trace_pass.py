"""qtinter.trace._state: what C counts is what a plain model in Python counts."""

import heapq
import pathlib
import random
import sys

import pytest

import qtinter.trace
from qtinter import _core
from qtinter.inspect import _tables
from qtinter.trace import Trace, _source, _state
from qtinter.trace._state import COLUMN, KIND, TASK_STATE

TESTS = pathlib.Path(__file__).parent.parent
sys.path.insert(0, str(TESTS / "tools"))
from trace_damage import ask_everything, forged  # noqa: E402

sys.path.remove(str(TESTS / "tools"))

if not hasattr(_core, "TraceReader"):
    pytest.skip("this build is without recordings", allow_module_level=True)

KEPT = TESTS / "data" / "trace"

TASK, SLOT, WAIT = 1, 2, 3
T = COLUMN[TASK]
REF = 56
NOW = (
    "changed", "woken_by", "wait_kind", "wait_ref", "wait_detail", "cancels",
    "canceller", "exception", "where",
)  # fmt: skip
RANGE = ("busy", "scheduled", "max_step", "steps", "wakes", "self_wakes")


class Model:
    """What TracePass does, as plainly as can be: a task is a dictionary."""

    def __init__(self, rows, kept, t0, t1):
        self.rows = rows
        self.kept, self.t0, self.t1 = kept, t0, t1
        self.tasks = {}
        self.steps, self.lags, self.longest = [], [], []
        self.lag_most = (0, 0, 0)
        self.alive = self.alive_most = self.turns = self.idle = 0

    def first(self, ident, loop):
        task = dict.fromkeys(T, 0)
        if ident in self.rows:
            task.update(zip(T, self.rows[ident][4:]))
            task.update(dict.fromkeys(NOW + RANGE, 0))
        task.update(STATE=TASK_STATE["running"], LOOP=loop, NEW=0, ENDED=0, READY=0)
        self.tasks[ident] = task
        return task

    def take(self, ts, kind, loop, x, a, b):
        name = _tables.RECORDS[kind][0]
        if name == "CALLBACK":
            self.steps.append(a)
            self.longest.append((a, ts, 0, x, loop))
        elif name == "TURN":
            self.turns += 1
        elif name == "IDLE":
            self.idle += a
        elif name == "TASK_CREATED":
            task = self.first(a, loop)
            task.update(code=x, created=ts, changed=ts, creator=b, READY=ts, NEW=1)
            task["STATE"] = TASK_STATE["ready"]
            if b >> REF == SLOT:
                task.update(slot=b & (1 << REF) - 1, role=1)
            self.alive += 1
            self.alive_most = max(self.alive_most, self.alive)
        elif name.startswith("TASK_") and name != "TASK_UNRETRIEVED":
            task = self.tasks.get(a) or self.first(a, loop)
            if name == "TASK_STEP":
                self.longest.append((b, ts, a, 0, loop))
            getattr(self, name[5:].lower())(task, ts, x, a, b)

    def step(self, task, ts, x, a, b):
        task["busy"] += b
        task["steps"] += 1
        task["max_step"] = max(task["max_step"], b)
        if task["READY"]:
            lag = max(0, ts - b - task["READY"])
            task["scheduled"] += lag
            if lag > max(self.lags, default=0):
                self.lag_most = (lag, task["READY"], a)
            self.lags.append(lag)
            task["READY"] = 0
        self.steps.append(b)
        task["changed"] = ts
        if x == 1:
            task.update(STATE=TASK_STATE["ready"], READY=ts)
        elif x == 0:
            task["STATE"] = TASK_STATE["waiting"]

    def wake(self, task, ts, x, a, b):
        task["wakes"] += 1
        task["self_wakes"] += b == TASK << REF | a
        task.update(woken_by=b, STATE=TASK_STATE["ready"], READY=ts, changed=ts)

    def wait(self, task, ts, x, a, b):
        task.update(wait_kind=x, wait_ref=b)

    def cancel(self, task, ts, x, a, b):
        task["cancels"] += 1
        task["canceller"] = b

    def ended(self, task, ts, x, a, b):
        task.update(STATE=x, exception=b, ENDED=ts, changed=ts, READY=0)
        self.alive -= task["NEW"]

    def destroyed(self, task, ts, x, a, b):
        task.update(STATE=TASK_STATE["destroyed"], ENDED=ts, changed=ts)

    def named(self, task, ts, x, a, b):
        task["name"] = x

    def finish(self):
        for ident, (_, _, state, loop, *columns) in self.rows.items():
            row = dict(zip(T, columns))
            task = self.tasks.get(ident)
            is_over = state >= TASK_STATE["done"]
            if row["changed"] > self.t1 or self.kept < self.t0:
                continue
            if task is None and is_over:
                continue
            task = task or self.first(ident, loop)
            if task["ENDED"] or row["changed"] < task["changed"]:
                continue
            task.update({name: row[name] for name in NOW}, STATE=state)
            if is_over:
                task["ENDED"] = row["changed"]


def some_records(rng, count):
    kinds = [KIND[name] for name in KIND if name.startswith("TASK_")]
    kinds += [KIND["TASK_STEP"], KIND["TASK_WAKE"]] * 4
    kinds += [KIND["CALLBACK"], KIND["TURN"], KIND["IDLE"], KIND["MARK"]]
    ts, found = 1_000, []
    for number in range(count):
        ts += rng.randrange(50_000)
        kind = rng.choice(kinds)
        ns = rng.choice((1, 70, 100_000)) * count + number  # no two are the same
        a = ns if kind == KIND["CALLBACK"] else rng.randrange(1, 60)
        ref = rng.choice((TASK, SLOT, WAIT, 0)) << REF | rng.randrange(60)
        b = ns if kind == KIND["TASK_STEP"] else ref
        x = rng.choice((5, 6, 7)) if kind == KIND["TASK_ENDED"] else rng.randrange(3)
        found.append((ts, kind, rng.randrange(1, 3), x, a, b))
    return found


def some_row(rng, ident, state, last):
    row = [TASK, ident, state, 1] + [rng.randrange(1_000) for _ in T]
    row[4 + T["changed"]] = rng.randrange(last)
    return row


@pytest.mark.parametrize("seed", range(20))
def test_the_pass_counts_as_the_model_does(seed):
    rng = random.Random(seed)
    records = some_records(rng, 3_000)
    last = records[-1][0]
    live = [some_row(rng, i, rng.randrange(5), last) for i in range(1, 80, 2)]
    over = [some_row(rng, i, rng.randrange(5, 9), last) for i in range(1, 90, 5)]

    class Kept(_source.ListSource):
        def ended(self):
            return iter(over)

    kept = rng.choice((last, last // 2))
    source = Kept({"mono0": 0}, {}, records, [(kept, live), (kept, live[:3])])
    source.info["last"] = last
    bounds = rng.choice(((None, None), (last // 3, last // 2)))
    found = _state.Pass(source, _state.Known(source), *bounds)

    t0, t1 = bounds if bounds[1] else (0, last)
    model = Model({row[1]: row for row in live + over}, kept, t0, t1)
    for record in records:
        if t0 <= record[0] <= t1:
            model.take(*record)
    model.finish()
    assert {i: list(task.values()) for i, task in model.tasks.items()} == dict(
        found.tasks.items()
    )
    assert list(model.tasks) == list(found.tasks), "in the order they came"
    assert len(found.tasks) == len(model.tasks)
    assert found.made == sum(task["NEW"] for task in model.tasks.values())
    assert found.longest == heapq.nlargest(100, (s for s in model.longest if s[0]))
    assert found.lag_most == model.lag_most
    assert (found.alive_most, found.turns, found.idle_ns) == (
        model.alive_most, model.turns, model.idle,
    )  # fmt: skip
    for durations, histogram in ((model.steps, found.step_times),
                                 (model.lags, found.lags)):  # fmt: skip
        plain = _state.Histogram()
        for ns in durations:
            plain.add(ns)
        assert vars_of(plain) == vars_of(histogram)
    pending = [i for i, t in model.tasks.items() if t["STATE"] < TASK_STATE["done"]]
    assert found.tasks.pending() == pending
    assert found.tasks.remarkable(20) == [
        i for i, t in model.tasks.items() if t["wakes"] >= 20 or not 5 <= t["STATE"] < 8
    ]
    assert found.tasks.sum("busy") == sum(t["busy"] for t in model.tasks.values())


def vars_of(histogram):
    return {name: getattr(histogram, name) for name in histogram.__slots__}


def test_durations_of_any_length():
    for ns in (0, 1, 63, 64, 65, 127, 128, 1 << 20, (1 << 63) + 5, (1 << 64) - 1):
        source = _source.ListSource({}, {}, [(5, KIND["CALLBACK"], 1, 0, ns, 0)])
        found = _state.Pass(source, _state.Known(source), None, None)
        plain = _state.Histogram()
        plain.add(ns)
        assert vars_of(found.step_times) == vars_of(plain)


def test_what_is_no_record_and_no_task():
    known = _core.TraceTasks()
    with pytest.raises(TypeError, match="takes a TraceTasks, not object"):
        _core.TracePass(object())
    found = _core.TracePass(known)
    found.feed(b"\xff" * 79, -(1 << 63), (1 << 63) - 1, {})  # the last one is cut
    assert found.totals()["count"] == 2
    for ident in (-1, 0, 1 << 64):
        assert found.task(ident) is None
    with pytest.raises(TypeError, match="id of a task is an int, not str"):
        found.task("1")
    with pytest.raises(TypeError):
        known.put(["x"] * 30, False)
    with pytest.raises(IndexError, match="columns 0 to 21, not 22"):
        found.sum(22)

    def fails(*record):
        raise KeyError(record)

    mark = _source._RECORD.pack(5, KIND["MARK"], 1, 2, 3, 4)
    with pytest.raises(KeyError, match=r"\(5, 1, 2, 3, 4\)"):
        found.feed(mark, 0, 10, {KIND["MARK"]: fails})


def test_rows_at_the_end_are_made_when_asked():
    """And are a dictionary's: in order, with what was changed."""
    created = KIND["TASK_CREATED"]
    records = [(10 + i, created, 1, 0, i, 0) for i in range(1, 4)]
    records.append((20, KIND["TASK_ENDED"], 1, 5, 2, 0))
    timer = (15, KIND["TIMER_SET"], 1, 0, 9, 100)
    slot = [SLOT, 7, 0, 0] + [0] * len(COLUMN[SLOT])
    source = _source.ListSource({"last": 30}, {}, [*records, timer], [(30, [slot])])
    trace = Trace(source)
    rows = trace.process.rows
    keys = [(SLOT, 7), (TASK, 1), (TASK, 2), (TASK, 3), (5, 9)]
    assert list(rows) == keys
    assert len(rows) == 5
    assert [rows[key].id for key in keys] == [7, 1, 2, 3, 9]
    assert (TASK, 4) not in rows
    assert rows.get((TASK, 4)) is None
    with pytest.raises(KeyError):
        rows[SLOT, 8]
    assert [row.id for row in trace.process.of_kind(TASK)] == [1, 3]
    assert [row.id for row in trace.process.of_kind(TASK, ended=True)] == [1, 2, 3]
    trace.process.change(TASK, 1, {-1: 7})
    trace.process.remove(TASK, 3)
    assert list(rows) == [key for key in keys if key != (TASK, 3)]
    assert [row.id for row in trace.process.of_kind(TASK)] == []
    rows[TASK, 1].change({T["busy"]: 5})
    assert rows[TASK, 1]["busy"] == 5


def test_forged_contents_are_answered_or_refused(tmp_path):
    """What no checksum tells: numbers, lengths and types that nobody wrote."""
    data = (KEPT / "v1.0-raw.qtrace").read_bytes()
    refused = 0
    for seed in range(40):
        path = tmp_path / f"{seed}.qtrace"
        path.write_bytes(forged(data, seed))
        trace = qtinter.trace.open(path, allow_gaps=True)
        refused += any("checksum" not in problem for problem in trace.problems)
        assert not any("checksum" in problem for problem in trace.problems)
        ask_everything(trace)
    assert 0 < refused < 40


def test_records_that_nobody_wrote():
    rng = random.Random(7)
    known = _core.TraceTasks()
    for _ in range(200):
        known.put([rng.getrandbits(63) for _ in range(40)], rng.random() < 0.5)
    found = _core.TracePass(known)
    for kinds in (100, 1 << 16):
        for _ in range(20_000):
            number = rng.getrandbits
            record = (number(64) - (1 << 63), rng.randrange(kinds), number(16),
                      number(32), number(64), number(64))  # fmt: skip
            found.feed(_source._RECORD.pack(*record), -(1 << 63), (1 << 63) - 1, {})
    found.finish((1 << 63) - 1, -(1 << 63), (1 << 63) - 1)
    totals = found.totals()
    assert totals["count"] == 40_000
    assert len(found) == len(set(found.ids()))
    assert all(len(found.task(ident)) == 27 for ident in found.ids())
