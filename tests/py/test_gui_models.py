"""The models of the window, and what it knows of an application."""

import os

import pytest

pytest.importorskip("msgpack", reason="the tools need msgpack")
if os.environ.get("QTINTERBINDING", "PyQt6") not in ("PyQt6", "PySide6"):
    pytest.skip("the window needs Qt 6", allow_module_level=True)

from qtinter.inspect import _tables
from qtinter.inspect.gui import tables, trees
from qtinter.inspect.gui.application import GONE, LIVE, Application
from qtinter.inspect.gui.columns import TABLES
from qtinter.inspect.gui.describe import durations, tooltip
from qtinter.inspect.gui.search import Search
from qtinter.inspect.model import OBJECT, SLOT, TASK, TIMER, WAIT, Process

COLUMNS = {
    kind: [name for name, _ in columns]
    for kind, (_, columns) in _tables.ENTITIES.items()
}
RECORD = {name: number for number, (name, _) in _tables.RECORDS.items()}
WAITING, DONE = 3, 5


def row(kind, ident, state=0, **values):
    return [kind, ident, state, 1, *(values.get(name, 0) for name in COLUMNS[kind])]


def ref(kind, ident):
    return kind << 56 | ident


def application(tasks=0, **info):
    process = Process({"pid": 1, "name": "app", "mono0": 0, **info})
    process.entries.update({1: "alpha", 2: "beta", 3: "released", 4: "Button"})
    for ident in range(1, tasks + 1):
        process.put(row(TASK, ident, WAITING, name=1 + ident % 2, created=1, changed=1))
    return Application(process)


def change(app, ident, state=WAITING, **values):
    """A task changed, as a feed tells it."""
    columns = {COLUMNS[TASK].index(name): value for name, value in values.items()}
    app.source.change(TASK, ident, {-1: state, **columns})
    app.take("rows", {"upsert": [[TASK, ident, columns]], "gone": []})


def remove(app, ident):
    app.source.remove(TASK, ident)
    app.take("rows", {"upsert": [], "gone": [[TASK, ident]]})


def work(model):
    """Until there is nothing left to do."""
    model.work(10)
    while model.busy:
        model.work(10)


# --- applications


def test_events_that_were_told_before_are_not_told_again():
    app = application()

    def events(first, count):
        flat = [
            x for i in range(count) for x in (1, RECORD["MARK"], 1, first + i, 0, 0)
        ]
        return {"first": first, "ts": first, "records": flat}

    app.take("gap", {"first": 0, "count": 10})
    app.take("events", events(10, 5))
    app.take("gap", {"first": 15, "count": 5})
    app.take("events", events(20, 2))
    app.take("gap", {"first": 0, "count": 12})  # another connection
    app.take("events", events(12, 11))
    while app.work(1):
        pass
    assert [note.text for note in app.lanes.notes] == [*range(10, 15), 20, 21, 22]
    assert (app.older, app.lost) == (10, 5)
    assert [gap[2] for gap in app.lanes.gaps] == [5]


def test_work_is_done_in_slices():
    app = application()
    app.add_records((ts, RECORD["MARK"], 1, 0, 0, 0) for ts in range(1, 20_001))
    app.work(0)
    assert app.behind
    while app.work(0):
        pass
    assert len(app.lanes.notes) == 20_000


def test_a_frozen_application_does_not_change():
    app = application(2)
    app.freeze()
    changes = app.watch(TASK)
    change(app, 1, DONE)
    remove(app, 2)
    assert app.process.rows[TASK, 1].state == WAITING
    assert (TASK, 2) in app.process.rows
    assert app.now() == app.now()
    app.thaw()
    assert app.process.rows[TASK, 1].state == DONE
    assert (TASK, 2) not in app.process.rows
    assert changes.all


def test_a_stall_keeps_its_stack_when_it_is_over():
    app = application()
    stall = {0: 1, 1: 500, 2: 100, 3: ref(TASK, 1), 4: "the stack", 5: False}
    app.take("stall", {"stall": stall})
    app.take("stall", {"stall": {**stall, 2: 300, 3: 0, 4: "", 5: True}})
    ((_, known),) = app.stalls.items()
    assert known["duration"] == 300
    assert known["stack"] == "the stack"
    assert known["current"] == ref(TASK, 1)
    assert known["over"]


def test_an_application_that_is_gone_stands_still():
    app = application(1, last=77)
    assert app.kind == LIVE
    app.take("down", {"cause": "died"})
    assert app.kind == GONE
    assert app.now() == 77
    app.take("up", {})
    assert app.kind == LIVE


def test_one_that_had_ended_before_ended_with_its_last_change():
    app = application(2)
    app.kind = GONE
    app.take("down", {"cause": "died"})
    change(app, 2, changed=7_000)
    app.take("snapshot", {})
    assert app.now() == 7_000
    app.add_records([(9_000, RECORD["MARK"], 1, 0, 0, 0)])
    while app.work(1):
        pass
    assert app.now() == app.source.info["last"] == 9_000


# --- trees and chains


def test_a_task_is_below_what_it_waits_for():
    app = application(5)
    process = app.process
    process.put(row(WAIT, 9, signal=3, sender=0, sender_alive=1))
    process.put(row(TASK, 1, WAITING, wait_kind=4, wait_ref=ref(WAIT, 9)))
    process.put(row(TASK, 2, WAITING, wait_kind=3, wait_ref=ref(TASK, 1)))
    process.put(row(TASK, 3, WAITING, wait_kind=3, wait_ref=ref(TASK, 4)))
    process.put(row(TASK, 4, WAITING, wait_kind=3, wait_ref=ref(TASK, 3)))
    process.put(row(TASK, 5, WAITING, wait_kind=5))

    def above(ident):
        return trees.by_await(process, process.rows[TASK, ident])

    assert above(1) == trees.entity(WAIT, 9)
    assert above(2) == trees.entity(TASK, 1)
    assert above(3) == above(4) == trees.group(trees.CYCLE)
    assert above(5) == trees.group(trees.ASLEEP)
    texts = [link.text for link in trees.await_chain(process, process.rows[TASK, 2])]
    assert texts[-1] == "signal released"
    assert len(texts) == 3
    circle = trees.await_chain(process, process.rows[TASK, 3])
    assert "circle" in circle[-1].text
    assert trees.waiters(process, ref(TASK, 1)) == [2]


def test_creators_and_receivers():
    app = application(3)
    process = app.process
    process.put(row(OBJECT, 6, **{"class": 4}))
    process.put(row(SLOT, 7, name=1, receiver=6))
    process.put(row(TASK, 2, WAITING, creator=ref(TASK, 1), slot=7))
    process.put(row(TASK, 3, WAITING, creator=ref(TASK, 2)))
    task = process.rows[TASK, 2]
    assert trees.by_creator(process, task) == trees.entity(TASK, 1)
    assert trees.by_object(process, task) == trees.entity(SLOT, 7)
    assert trees.above(process, trees.entity(SLOT, 7)) == trees.entity(OBJECT, 6)
    assert trees.by_object(process, process.rows[TASK, 1]) == trees.group(
        trees.NO_RECEIVER
    )
    chain = trees.creator_chain(process, process.rows[TASK, 3])
    assert [link.ref for link in chain] == [ref(TASK, 2), ref(TASK, 1)]


# --- search


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("", [1, 2, 3, 4]),
        ("alph", [2, 4]),
        ("BETA waiting", [1, 3]),
        ("name==alpha and id>2", [4]),
        ("not state==waiting", []),
        ("pending", []),  # no operator: words
        ("4", [4]),  # a number, and not what is counted
    ],
)
def test_words_and_filters(text, shown):
    app = application(4)
    change(app, 1, steps=4)
    accepts = Search(text).of(app, "tasks")
    rows = TABLES["tasks"].items(app)
    assert [i for i, r in rows.items() if accepts is None or accepts(i, r)] == shown


def test_a_filter_of_tasks_leaves_slots_alone():
    app = application(1)
    app.process.put(row(SLOT, 7, name=1, calls=3))
    assert Search("steps>3").of(app, "slots") is None
    accepts = Search("calls>2").of(app, "slots")
    assert accepts(7, app.process.rows[SLOT, 7])
    assert not Search("calls>3").of(app, "slots")(7, app.process.rows[SLOT, 7])
    with pytest.raises(ValueError, match="nonsense"):
        Search("nonsense==3")


def test_durations_of_a_file():
    app = application()
    for task, ns in enumerate((1000, 1001, 9_000_000), 1):
        app.lanes.feed(
            [
                (10 * task, RECORD["TASK_CREATED"], 1, 5, task, 0),
                (10**8 * task, RECORD["TASK_STEP"], 1, 2, task, ns),
            ]
        )
    found = durations(app.lanes, 5)
    assert (found["count"], found["max"], found["p50"]) == (3, 9_000_000, 1001)
    assert found["buckets"][1::2] == [2, 1]
    assert durations(app.lanes, 6) is None


# --- models (Qt)


@pytest.fixture
def qt_application(app):
    return app


class Shadow:
    """What a view has made of the signals of a table."""

    def __init__(self, model):
        self.model = model
        self.resets = self.runs = 0
        self.take()
        model.rowsInserted.connect(self.inserted)
        model.rowsRemoved.connect(self.removed)
        model.layoutChanged.connect(self.take)
        model.modelReset.connect(self.reset)

    def take(self, *_):
        self.ids = [self.model.id_at(i) for i in range(self.model.rowCount())]

    def reset(self):
        self.resets += 1
        self.take()

    def inserted(self, parent, first, last):
        self.runs += 1
        self.ids[first:first] = [self.model.id_at(i) for i in range(first, last + 1)]

    def removed(self, parent, first, last):
        self.runs += 1
        del self.ids[first : last + 1]

    def check(self):
        ids = [self.model.id_at(i) for i in range(self.model.rowCount())]
        assert self.ids == ids
        assert all(self.model.row_of(ident) == i for i, ident in enumerate(ids))
        return ids


@pytest.fixture
def table(qt_application):
    from qtinter.inspect.gui.tables import RowTable

    return RowTable(TABLES["tasks"])


def test_rows_come_and_go_without_a_reset(table):
    app = application(10)
    table.set_application(app)
    work(table)
    shadow = Shadow(table)
    change(app, 3, DONE)
    change(app, 4, DONE)
    remove(app, 9)
    for ident in (12, 13, 14):
        change(app, ident)
    work(table)
    assert shadow.check() == [1, 2, 5, 6, 7, 8, 10, 12, 13, 14]
    assert shadow.resets == 0
    assert shadow.runs == 3  # neighbours together
    table.show_ended = True
    table.refilter()
    work(table)
    assert shadow.check() == [1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 13, 14]


def test_time_alone_can_make_a_row_match(table):
    app = application(2)
    search = Search("age>5s")
    assert search.is_of_time
    assert not Search("steps>5").is_of_time
    ages = {1: 1.0, 2: 9.0}
    table.set_application(app)
    table.set_filter(lambda ident, item: ages[ident] > 5)
    work(table)
    shadow = Shadow(table)
    assert shadow.check() == [2]
    ages[1] = 6.0
    work(table)
    assert shadow.check() == [2]
    table.look_again()
    work(table)
    assert shadow.check() == [1, 2]
    assert shadow.resets == 0


def test_random_changes_against_a_naive_table(table):
    import random

    from qtinter.inspect.gui.qt import Qt

    rng = random.Random(5)
    app = application(50)
    table.set_application(app)
    work(table)
    shadow = Shadow(table)
    busy = [column.title for column in TABLES["tasks"].columns].index("Busy")
    for turn in range(60):
        for _ in range(rng.randrange(12)):
            ident = rng.randrange(1, 80)
            if rng.random() < 0.3:
                remove(app, ident)
            else:
                change(app, ident, rng.choice((WAITING, DONE)), busy=rng.randrange(9))
        if turn % 20 == 10:
            table.sort(busy, Qt.SortOrder.DescendingOrder)
        elif turn % 20 == 0:
            table.sort(0, Qt.SortOrder.AscendingOrder)
        work(table)
        ids = shadow.check()
        expected = {i for (k, i), r in app.process.rows.items() if not r.is_over}
        assert set(ids) == expected
        assert len(ids) == len(expected)
        if turn % 20 < 10:
            assert ids == sorted(ids)
    for column, order in (
        (0, Qt.SortOrder.AscendingOrder),
        (busy, Qt.SortOrder.DescendingOrder),
    ):
        table.sort(column, order)
        work(table)
    values = [app.process.rows[TASK, i]["busy"] for i in shadow.check()]
    assert values == sorted(values, reverse=True)


def test_a_selection_stays_on_its_row(table):
    from qtinter.inspect.gui.qt import Qt, QtCore

    app = application(5)
    table.set_application(app)
    work(table)
    index = QtCore.QPersistentModelIndex(table.index(table.row_of(4), 0))
    for ident in range(1, 6):
        change(app, ident, busy=ident)
    work(table)
    titles = [column.title for column in table.table.columns]
    table.sort(titles.index("Busy"), Qt.SortOrder.DescendingOrder)
    work(table)
    assert index.row() == table.row_of(4) == 1


def test_a_large_table_is_looked_at_in_slices(table):
    app = application(5_000)
    table.set_application(app)
    table.work(0)
    assert table.busy
    assert table.rowCount() == 0
    turns = 1
    while table.busy:
        table.work(0)
        turns += 1
    assert table.rowCount() == 5_000
    assert turns > 20


def test_what_a_filter_finds_is_shown_before_it_has_seen_all(table, monkeypatch):
    monkeypatch.setattr(tables, "PREVIEW_SECONDS", 0.0)
    app = application(5_000)
    table.set_application(app)
    work(table)
    assert not table.is_awaited
    table.set_filter(Search("alpha").of(app, "tasks"))
    sizes = set()
    while table.busy:
        assert table.is_awaited
        table.work(0)
        ids = [table.id_at(i) for i in range(table.rowCount())]
        assert all(table.row_of(ident) == i for i, ident in enumerate(ids))
        sizes.add(len(ids))
    assert table.rowCount() == 2_500
    assert not table.is_awaited
    some = sorted(sizes - {0, 1, 2_500, 5_000})
    assert some, "it was shown in parts"
    assert len(some) < 15, "and not for each row"


def test_a_large_table_is_sorted_in_slices(table):
    compared = 0

    class Key:
        def __init__(self, number):
            self.number = number

        def __eq__(self, other):
            nonlocal compared
            compared += 1
            return self.number == other.number

        def __lt__(self, other):
            return self.number < other.number

    column = table.table.columns[0]._replace(
        key=lambda app, item: Key(item.id * 7919 % 20_011)
    )
    table.table = table.table._replace(columns=(column, *table.table.columns[1:]))

    def longest():
        nonlocal compared
        most = total = 0
        while table.busy:
            compared = 0
            table.work(0)
            most, total = max(most, compared), total + compared
        return most, total

    table.set_application(application(20_000))
    most, total = longest()
    assert total > 100_000
    assert most < total / 5
    table.sort(1)
    longest()
    table.sort(0)
    most, total = longest()
    assert total > 100_000
    assert most < total / 5
    keys = [i * 7919 % 20_011 for i in map(table.id_at, range(table.rowCount()))]
    assert keys == sorted(keys)
    assert len(keys) == 20_000


def test_cells(table):
    from qtinter.inspect.gui.qt import Qt

    app = application(1)
    app.process.put(row(TASK, 1, WAITING, name=1, wait_kind=3, wait_ref=ref(TASK, 2)))
    table.set_application(app)
    work(table)
    cells = [table.index(0, i).data() for i in range(table.columnCount())]
    header = [table.headerData(i, Qt.Orientation.Horizontal) for i in range(len(cells))]
    assert header[:5] == ["Id", "State", "Name", "Coroutine", "Waits for"]
    assert cells[:5] == ["1", "waiting", "alpha", None, "task 2"]
    change(app, 1, wait_kind=5, wait_ref=ref(TIMER, 8))  # of which nothing is known
    assert table.index(0, header.index("Waits for")).data() == "sleep"


def tree(model, parent=None):
    from qtinter.inspect.gui.qt import QtCore

    parent = QtCore.QModelIndex() if parent is None else parent
    found = {}
    for i in range(model.rowCount(parent)):
        index = model.index(i, 0, parent)
        assert model.parent(index) == parent
        found[index.data()] = tree(model, index)
    return found


@pytest.fixture
def forest(qt_application):
    from qtinter.inspect.gui.forest import Forest

    return Forest()


def test_the_tree_follows_what_tasks_wait_for(forest):
    app = application(3)
    app.process.put(row(WAIT, 9, signal=3, sender_alive=1))
    change(app, 1, wait_kind=4, wait_ref=ref(WAIT, 9))
    change(app, 2, wait_kind=3, wait_ref=ref(TASK, 1))
    change(app, 3, wait_kind=3, wait_ref=ref(TASK, 2))
    forest.set_application(app)
    work(forest)
    below = {"1  beta": {"2  alpha": {"3  beta": {}}}}
    assert tree(forest) == {"signal released": below}
    resets = []
    forest.modelReset.connect(lambda: resets.append(1))
    change(app, 2, wait_kind=5, wait_ref=0)
    work(forest)
    assert tree(forest) == {
        "signal released": {"1  beta": {}},
        "sleeping": {"2  alpha": {"3  beta": {}}},
    }
    change(app, 1, DONE)
    work(forest)
    assert tree(forest) == {"sleeping": {"2  alpha": {"3  beta": {}}}}
    change(app, 2, DONE)  # what is below keeps its place until it changes, too
    change(app, 3, wait_kind=5, wait_ref=0)
    work(forest)
    assert tree(forest) == {"sleeping": {"3  beta": {}}}
    assert not resets


def test_a_filter_keeps_what_is_above(forest):
    app = application(2)
    change(app, 1, wait_kind=5)
    change(app, 2, wait_kind=3, wait_ref=ref(TASK, 1))
    forest.set_application(app)
    forest.set_filter(lambda ident, item: ident == 2)
    work(forest)
    assert tree(forest) == {"sleeping": {"1  beta": {"2  alpha": {}}}}
    removed = []
    forest.rowsRemoved.connect(lambda *_: removed.append(1))
    change(app, 1)
    work(forest)
    assert tree(forest) == {"sleeping": {"1  beta": {"2  alpha": {}}}}
    assert not removed
    remove(app, 2)
    work(forest)
    assert tree(forest) == {}


def test_a_large_part_of_the_tree_goes_in_slices(forest):
    app = application(1000)
    for ident in range(2, 1001):
        change(app, ident, creator=ref(TASK, 1))
    forest.set_mode("creator")
    forest.set_application(app)
    work(forest)
    key = trees.entity(TASK, 500)
    assert forest.index_of(key).parent().data() == "1  beta"
    remove(app, 1)
    forest.work(0)
    assert forest.rowCount() == 0
    assert not forest.index_of(key).isValid()
    turns = 0
    while forest.busy:
        forest.work(0)
        turns += 1
    assert turns > 1000
    ((_, below),) = tree(forest).items()
    assert len(below) == 999
    assert forest.index_of(key).isValid()


@pytest.mark.parametrize("mode", sorted(trees.MODES))
def test_random_changes_of_the_tree(forest, mode):
    import random

    rng = random.Random(3)
    app = application(20)
    app.process.put(row(OBJECT, 6, **{"class": 4}))
    app.process.put(row(SLOT, 7, name=1, receiver=6))
    forest.set_mode(mode)
    forest.set_application(app)
    for _ in range(100):
        for _ in range(rng.randrange(6)):
            ident = rng.randrange(1, 30)
            if rng.random() < 0.2:
                remove(app, ident)
                continue
            change(
                app,
                ident,
                rng.choice((WAITING, WAITING, DONE)),
                wait_kind=3,
                wait_ref=rng.choice((0, ref(TASK, rng.randrange(1, 30)))),
                creator=rng.choice((0, ref(TASK, rng.randrange(1, 30)))),
                slot=rng.choice((0, 7)),
            )
            for _ in range(rng.randrange(4)):
                forest.work(0)  # only a part of what there is to do
        work(forest)
        shown = set()

        def collect(parent, shown=shown):
            for i in range(forest.rowCount(parent)):
                index = forest.index(i, 0, parent)
                key = forest.key_at(index)
                assert key not in shown
                assert forest.index_of(key) == index
                shown.add(key)
                collect(index)

        from qtinter.inspect.gui.qt import QtCore

        collect(QtCore.QModelIndex())
        wanted = {
            trees.entity(TASK, i)
            for (k, i), r in app.process.rows.items()
            if k == TASK and not r.is_over
        }
        assert wanted <= shown


# --- the timeline


@pytest.fixture
def timeline(qt_application):
    from qtinter.inspect.gui import theme
    from qtinter.inspect.gui.timeline import Timeline

    made = Timeline(theme.make(False))
    made.resize(1000, 400)
    yield made
    made.close()


def busy_lanes(tasks, steps):
    app = application(tasks)
    ts = 1_000_000_000
    for task in range(1, tasks + 1):
        app.lanes.feed([(ts, RECORD["TASK_CREATED"], 1, 0, task, 0)])
    for step in range(steps):
        ts += 1000
        task = 1 + step % tasks
        app.lanes.feed(
            [
                (ts, RECORD["TASK_STEP"], 1, 0, task, 500),
                (ts, RECORD["TASK_WAIT"], 1, 5, task, 0),
                (ts + 200, RECORD["TASK_WAKE"], 1, 5, task, 0),
            ]
        )
    app.kind = GONE
    return app


def test_what_is_painted_is_bounded(timeline):
    few, many = busy_lanes(30, 3_000), busy_lanes(30, 60_000)
    drawn = []
    for app in (few, many):
        timeline.set_application(app)
        timeline.refresh()
        resolution = (timeline.t1 - timeline.t0) * 2 // 790
        drawn.append(
            sum(
                len(list(row.lane.spans(timeline.t0, timeline.t1, resolution, 0)))
                for row in timeline.lanes
            )
        )
        timeline.grab()
    assert drawn[1] < 30 * 3 * 400
    assert sum(map(len, many.lanes.tasks.values())) > 100_000


def test_zoom_keeps_the_moment_under_the_mouse(timeline):
    timeline.set_application(busy_lanes(2, 100))
    middle = timeline.t0 + (timeline.t1 - timeline.t0) // 4
    x = timeline.x_of(middle)
    width = timeline.t1 - timeline.t0
    timeline.zoom(4, middle)
    assert timeline.t1 - timeline.t0 == pytest.approx(width / 4, rel=0.01)
    assert timeline.x_of(middle) == pytest.approx(x, abs=1)
    timeline.pan(0.5)
    assert timeline.x_of(middle) < x


def test_a_range_is_told_once(timeline):
    timeline.set_application(busy_lanes(2, 100))
    told = []
    timeline.brushed.connect(told.append)
    timeline.set_brush((1, 2))
    timeline.set_brush((1, 2))
    timeline.set_brush(None)
    assert told == [(1, 2), None]


def test_ticks_are_round():
    from qtinter.inspect.gui.paint import tick_step, tick_text

    assert tick_step(10_000_000_000, 10) == 1_000_000_000
    assert tick_step(10_100_000_000, 10) == 2_000_000_000
    assert tick_text(1_500_000_000, 100_000_000) == "1.5 s"
    assert tick_text(61_250_000_000, 50_000_000) == "1:01.25"
    assert tick_text(-2_000_000_000, 1_000_000_000) == "-2 s"


@pytest.mark.parametrize("text", ["plain & simple", "f.<locals>.g", "<b>\n<img src=x>"])
def test_tooltips_show_names_as_they_are(text):
    """Qt takes what looks like it for HTML."""
    from qtinter.inspect.gui.qt import QtGui

    shown = tooltip(text)
    assert shown.startswith("<span>") == ("<" in text)
    if shown != text:
        shown = QtGui.QTextDocumentFragment.fromHtml(shown).toPlainText()
    assert shown == text
