"""What the terminal view shows, without a terminal."""

import asyncio
import random
import sys
import time

import pytest

pytest.importorskip("msgpack", reason="the tools need msgpack")
pytest.importorskip("rich", reason="the terminal view needs rich")

import qtinter
from qtinter import inspect, trace
from qtinter.inspect import _tables
from qtinter.inspect.feed import Change
from qtinter.inspect.fields import TASK_FIELDS, TaskFields
from qtinter.inspect.model import LOOP, SLOT, TASK, WAIT, Process
from qtinter.inspect.tui import files, layout, text
from qtinter.inspect.tui.history import LagMeter, LoopHistory, StallLog, TaskTrack
from qtinter.inspect.tui.line import LineEdit
from qtinter.inspect.tui.rows import CHUNK, Forest, Group, RowModel
from qtinter.inspect.tui.screens.lints import LintsView
from qtinter.inspect.tui.screens.stalls import StallsView
from qtinter.inspect.tui.screens.tasks import TasksView
from qtinter.inspect.tui.source import LiveSource, Source
from qtinter.inspect.tui.viewer import Viewer

SECOND = 1_000_000_000
TASK_BIT = 0x80000000
PID = 7


def columns(kind, **values):
    names = [name for name, _ in _tables.ENTITIES[kind][1]]
    assert set(values) <= set(names)
    return [values.get(name, 0) for name in names]


def row(kind, ident, state=3, **values):
    return [kind, ident, state, 1, *columns(kind, **values)]


class FakeSource(Source):
    """A process that tests change by hand."""

    def __init__(self, *rows):
        super().__init__()
        self.process = Process({"pid": PID, "name": "fake", "last": 100 * SECOND})
        self.process.alive = False  # its clock stands
        for each in rows:
            self.process.put(each)
        self.processes[PID] = self.process
        self.followed = PID
        self.is_connected = True

    def change(self, *upsert, gone=()):
        for kind, ident, changed in upsert:
            self.process.change(kind, ident, changed)
        for kind, ident in gone:
            self.process.remove(kind, ident)
        data = {"upsert": upsert, "gone": gone, "ts": 0}
        self._tell(Change("rows", PID, data))

    def tell(self, what, **data):
        self._tell(Change(what, PID, data))


def names_of(view):
    view.model.settle()
    process = view.viewer.process
    return [process.task_name(view.get(ident)) for ident in view.model.order]


# --- rows


class Numbers:
    """Rows that are numbers, by ident."""

    def __init__(self, *values):
        self.values = dict(enumerate(values))
        self.looked_at = 0
        self.time = 0.0
        self.model = RowModel(self.get, lambda: list(self.values), lambda: self.time)
        self.model.sort_by(lambda value: value)

    def get(self, ident):
        self.looked_at += 1
        self.time += 1e-6
        return self.values.get(ident)

    def shown(self):
        self.model.settle()
        return [self.values[ident] for ident in self.model.order]


def test_rows_are_sorted_and_stay_sorted():
    numbers = Numbers(5, 3, 9)
    assert numbers.shown() == [3, 5, 9]
    numbers.values[3] = 4
    numbers.values[0] = 1
    del numbers.values[2]
    numbers.model.touch([3, 0, 2])
    assert numbers.shown() == [1, 3, 4]
    assert numbers.model.total == 3
    numbers.model.sort_by(lambda value: value, reverse=True)
    assert numbers.shown() == [4, 3, 1]


def test_rows_of_equal_keys_keep_their_order():
    numbers = Numbers(*range(3 * CHUNK))
    numbers.model.sort_by(lambda value: value % 2)
    shown = numbers.shown()
    assert shown == sorted(range(3 * CHUNK), key=lambda value: value % 2)


def test_a_filter_follows_what_changes():
    numbers = Numbers(1, 2, 3, 4)
    numbers.model.filter_by(lambda value: value % 2 == 0)
    assert numbers.shown() == [2, 4]
    numbers.values.update({0: 10, 1: 5})
    numbers.model.touch([0, 1])
    assert numbers.shown() == [4, 10]
    assert numbers.model.total == 4
    numbers.model.filter_by(None)
    assert numbers.shown() == [3, 4, 5, 10]


def test_a_filter_on_ages_is_judged_again_without_a_change():
    numbers = Numbers(1, 2, 3)
    limit = [2]
    numbers.model.filter_by(lambda value: value >= limit[0])
    assert numbers.shown() == [2, 3]
    limit[0] = 3
    for _ in range(4):
        numbers.model.work(1.0)
    assert numbers.shown() == [3]


def test_random_changes_end_where_sorting_anew_would():
    dice = random.Random(4)
    numbers = Numbers(*(dice.randrange(1000) for _ in range(2000)))
    numbers.model.filter_by(lambda value: value % 3)
    for _ in range(50):
        idents = [dice.randrange(2500) for _ in range(40)]
        for ident in idents:
            if dice.random() < 0.3:
                numbers.values.pop(ident, None)
            else:
                numbers.values[ident] = dice.randrange(1000)
        numbers.model.touch(idents)
        numbers.model.work(1e-5)
    expected = sorted(value for value in numbers.values.values() if value % 3)
    assert numbers.shown() == expected
    assert numbers.model.total == len(numbers.values)


def test_the_first_rows_are_shown_before_all_are_known():
    numbers = Numbers(*range(99_999, -1, -1))
    numbers.model.work(2000e-6)  # on this clock: 2000 rows
    assert numbers.model.is_rebuilding
    order = list(numbers.model.order)
    assert 2 * CHUNK <= len(order) <= 2000
    values = [numbers.values[ident] for ident in order]
    assert values == sorted(values)
    assert numbers.model.passed == numbers.model.total == len(numbers.model._seen)
    # What is shown stays until what is wanted is known.
    numbers.model.filter_by(lambda value: value % 2 == 0)
    numbers.model.work(2000e-6)
    assert numbers.model.order == order
    assert numbers.shown() == list(range(0, 100_000, 2))
    assert not numbers.model.is_rebuilding


@pytest.mark.parametrize("tree", [False, True])
def test_the_work_of_a_slice_is_bounded(tree):
    """However many rows there are: the clock is looked at after each CHUNK of them."""
    numbers = Numbers(*range(100_000))
    if tree:
        numbers.model.hang_by(Forest(lambda ident: None, lambda ident: None))
    budget = 1000e-6  # on this clock: 1000 rows
    slices = 0
    while not numbers.model.is_settled:
        before = numbers.looked_at
        numbers.model.work(budget)
        assert numbers.looked_at - before <= 1000 + 2 * CHUNK
        slices += 1
    assert slices > 50
    assert len(numbers.model.order) == 100_000
    numbers.model.touch(range(0, 100_000, 2))
    before = numbers.looked_at
    numbers.model.work(budget)
    assert numbers.looked_at - before <= 1000 + 2 * CHUNK


def test_a_tree():
    parents = {1: 0, 2: 0, 3: 1, 4: "group", "group": None, 0: None}
    numbers = Numbers(0, 1, 2, 3, 4)

    def group(ident):
        return Group("a group") if ident == "group" else None

    numbers.model.hang_by(Forest(parents.get, group))
    numbers.model.settle()
    model = numbers.model
    assert model.order == ["group", 4, 0, 1, 3, 2]
    assert [model.prefix(ident) for ident in model.order] == [
        "",
        "└─",
        "",
        "├─",
        "│ └─",
        "└─",
    ]
    assert model.group("group") == Group("a group")
    # What a row hangs on is shown although the filter does not want it.
    model.filter_by(lambda value: value == 3)
    model.settle()
    assert model.order == [0, 1, 3]


def test_circles_in_a_tree_are_cut_and_shown():
    parents = {0: 1, 1: 2, 2: 0, 3: 4, 4: 3, 5: None, 6: 0}
    numbers = Numbers(*range(7))
    numbers.model.hang_by(Forest(parents.get, lambda ident: None))
    numbers.model.settle()
    assert sorted(numbers.model.order) == list(range(7))
    cut = [i for i in numbers.model.order if numbers.model.prefix(i).startswith("↻")]
    assert len(cut) == 2


# --- texts


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("plain [bold]x[/bold]", "plain [bold]x[/bold]"),
        ("a\x1b[31mb", "a␛[31mb"),
        ("\r\n\t\0\x7f", "␍␊␉␀␡"),
        ("\x9b31m", "\ufffd31m"),
        ("\u202eabc\u200b", "\ufffdabc\ufffd"),
        ("\udc80", "\ufffd"),
        ("日本 é", "日本 é"),
        ("\u2764\ufe0f", "\u2764"),
    ],
)
def test_clean(given, shown):
    assert text.clean(given) == shown
    text.clean(given).encode()


@pytest.mark.parametrize("given", ["", "abc", "日本語日本語", "a日b本c", "e\u0301" * 9])
@pytest.mark.parametrize("width", range(9))
def test_fit_is_as_wide_as_asked_for(given, width):
    assert text.width_of(text.fit(given, width)) == width
    assert text.width_of(text.fit(given, width, right=True)) == width


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (None, ""),
        (0, "0 us"),
        (12e-6, "12 us"),
        (0.9996e-3, "1.0 ms"),
        (0.25, "250.0 ms"),
        (1, "1.0 s"),
        (99.96, "1.7 min"),
        (7000, "1.9 h"),
        (1e6, "11.6 d"),
        (-2, "-2.0 s"),
    ],
)
def test_seconds(seconds, shown):
    assert text.seconds(seconds) == shown
    assert len(shown) <= 8


def test_counts_and_bars():
    counts = [0, 99_999, 100_000, 1_234_567, 10**12]
    assert [text.count(n) for n in counts] == ["0", "99999", "100k", "1.23M", "1T"]
    assert text.sparkline([0, 0.001, 0.5, 1], 4, 1.0) == " ▁▄█"
    assert text.sparkline([1, 2], 4) == "  ▄█"
    assert text.bar(0.5, 4) == "██  "
    assert text.width_of(text.bar(0.33, 7)) == 7


def test_columns_fill_the_width_and_leave_out_what_has_no_room():
    view = TasksView(Viewer(FakeSource()))
    for width in (40, 80, 120, 200, 300):
        shown = layout.lay_out(view.columns, width, view.fixed, 0)
        used = sum(size for _, size in shown) + len(shown) - 1
        assert used <= width
        assert [index for index, _ in shown][:2] == [0, 1]
    assert len(shown) == len(view.columns)
    assert used == width
    last = layout.last_skip(view.columns, 80, view.fixed)
    assert layout.lay_out(view.columns, 80, view.fixed, last)[-1][0] == 12


def test_line_edit():
    line = LineEdit("ab")
    for key in ("left", "x", "end", "y", "home", "delete", "backspace"):
        line.press(key, key if len(key) == 1 else None)
    assert (line.text, line.before) == ("xby", "ab")
    assert line.parts() == ("", "x", "by")
    line.press("end", None)
    assert line.press("ctrl+u", None)
    assert line.text == ""


# --- the viewer


@pytest.fixture
def source():
    made = FakeSource(
        row(TASK, 1, 3, name=1, code=11, created=90 * SECOND, busy=5),
        row(
            TASK,
            2,
            3,
            name=2,
            created=95 * SECOND,
            wait_kind=3,
            wait_ref=TASK << 56 | 1,
        ),
        row(TASK, 3, 5, name=3, created=80 * SECOND),
        row(LOOP, 1, 1, tasks=2),
    )
    made.process.entries.update({1: "one", 2: "two", 3: "three"})
    return made


def test_ended_tasks_are_hidden_until_asked_for(source):
    view = TasksView(Viewer(source))
    assert names_of(view) == ["one", "two"]
    assert view.key("e")
    assert names_of(view) == ["one", "two", "three"]


def test_each_column_can_be_sorted_by(source):
    view = TasksView(Viewer(source))
    view.key("e")
    for index, column in enumerate(view.columns):
        view.sort_by(index)
        view.model.settle()
        keys = [column.key(view.get(ident)) for ident in view.model.order]
        assert keys == sorted(keys, reverse=view.reverse), column.name
    index = [column.name for column in view.columns].index("age")
    view.sort_by(index)
    assert names_of(view) in (["three", "one", "two"], ["two", "one", "three"])


def test_what_changes_is_taken_in(source):
    view = TasksView(Viewer(source))
    assert names_of(view) == ["one", "two"]
    source.process.entries[4] = "four"
    source.change((TASK, 4, {0: 4, -1: 1}), gone=[(TASK, 1)])
    assert names_of(view) == ["two", "four"]


def test_the_pause(source):
    viewer = Viewer(source)
    view = TasksView(viewer)
    assert names_of(view) == ["one", "two"]
    viewer.pause()
    now = viewer.now()
    source.process.info["last"] += 5 * SECOND
    source.change((TASK, 1, {10: 77}), (TASK, 9, {0: 2, -1: 3}), gone=[(TASK, 2)])
    assert names_of(view) == ["one", "two"]
    view.turn()
    assert names_of(view) == ["two", "one"]
    view.turn()
    assert viewer.row(TASK, 1)["steps"] == 0
    assert viewer.now() == now
    viewer.resume()
    assert names_of(view) == ["one", "two"]  # the second of them is number 9
    assert view.model.order == [1, 9]
    assert viewer.row(TASK, 1)["steps"] == 77
    assert viewer.now() == now + 5 * SECOND


def test_filters_and_searches(source):
    viewer = Viewer(source)
    view = TasksView(viewer)
    for given, expected in (
        ("one", ["one", "two"]),  # two waits for one
        ("TWO", ["two"]),
        ("age > 7s", ["one"]),
        ("wait.kind == task", ["two"]),
        ("lint", []),
        ("", ["one", "two"]),
    ):
        view.filter_by(given)
        assert names_of(view) == expected, given
    with pytest.raises(ValueError, match="column"):
        view.filter_by("age >")
    assert viewer.filter_text == ""


def test_fields_of_filters_are_those_of_a_task(source):
    process = source.process
    for ident in (1, 2, 3):
        found = process.rows[TASK, ident]
        fields = TaskFields(process, found, lambda: ["QI101"])
        assert dict(fields) == {**process.task(found), "lint": ["QI101"]}


def test_only_fields_that_are_asked_for_are_made(source, monkeypatch):
    made = []
    for name in [*TASK_FIELDS]:
        monkeypatch.setitem(TASK_FIELDS, name, lambda *_, name=name: made.append(name))
    found = source.process.rows[TASK, 1]
    fields = TaskFields(source.process, found, lambda: made.append("lint"))
    fields["age"], fields["lint"]
    assert made == ["age", "lint"]


def test_warnings(source):
    viewer = Viewer(source)
    tasks, lints = TasksView(viewer), LintsView(viewer)
    for name, severity in (("QI405", "I"), ("QI404", "W")):
        lint = {
            "id": name,
            "severity": severity,
            "ref": TASK << 56 | 2,
            "text": "it waits",
            "count": 1,
            "since": 0,
        }
        source.process.lints[name, lint["ref"]] = lint
        source.tell("lint", **lint)
    viewer.tick()
    assert viewer.warnings[TASK, 2].severity == "W"
    tasks.filter_by('lint == "QI404"')
    assert names_of(tasks) == ["two"]
    assert tasks.cells(2, [0]) == [("W", "hot")]
    lints.model.settle()
    assert [name for name, _ in lints.model.order] == ["QI404", "QI405"]
    assert lints.open(lints.model.order[0]).argument == 2


def test_losses_add_up_and_never_go_away(source):
    viewer = Viewer(source)
    assert viewer.lost() == 0
    source.process.lost = 3
    lint = {"id": "QI901", "text": "12 events were lost", "severity": "W", "ref": 0}
    source.process.lints["QI901", 0] = lint
    assert viewer.lost() == 12
    source.process.lints.clear()
    assert viewer.lost() == 12


def test_trees_of_tasks(source):
    for each in (
        row(SLOT, 5, 0, name=1, receiver=0),
        row(TASK, 6, 3, name=3, slot=5, creator=TASK << 56 | 1),
        row(WAIT, 8, 0, signal=2, sender_alive=0, task=6),
    ):
        source.process.put(each)
    source.process.rows[TASK, 6].change({15: WAIT << 56 | 8})
    view = TasksView(Viewer(source))
    view.hang_by("await")
    view.model.settle()
    assert view.model.order == [(WAIT, 8), 6, 1, 2]
    assert view.model.group((WAIT, 8)).live is False
    view.hang_by("creator")
    view.model.settle()
    assert view.model.order == [1, 6, 2]
    view.hang_by("object")
    view.model.settle()
    assert view.model.order == [(SLOT, 5), 6, 1, 2]
    assert view.note() == "3/3 ▲id tree by receiver"


# --- the connection


class FakeFeed:
    """What a connection to a daemon tells, one change after the other."""

    def __init__(self, process, changes):
        self.processes = {PID: process}
        self._changes = changes

    async def __aiter__(self):
        for change in self._changes:
            yield change


def test_what_was_known_stays_until_all_is_known_anew():
    """After the daemon was away: what comes first is not everything."""
    source = LiveSource()
    source.followed = PID
    before = Process({"pid": PID})
    before.put(row(TASK, 1))
    before.lost = 3
    source.processes[PID] = before
    after = Process({"pid": PID})
    after.lost = 1
    shown = []
    source.listen(lambda change: shown.append(source.processes[PID] is before))
    changes = [
        Change("up", PID, {}),
        Change("snapshot", PID, {"sub": 1}),  # the loops of all programs
        Change("rows", PID, {"sub": 1}),
        Change("snapshot", PID, {"sub": 2}),
        Change("rows", PID, {"sub": 2}),
    ]
    asyncio.run(source._take(FakeFeed(after, changes)))
    assert shown == [True, True, True, False, False]
    assert source.processes[PID].lost == 4


# --- what was


def test_the_timeline_of_a_task():
    track = TaskTrack(4)
    track.add(
        [
            (10 * SECOND, 12, 1, 0, 4, TASK << 56 | 2),
            (11 * SECOND, 11, 1, 0, 5, SECOND),  # another task's
            (13 * SECOND, 11, 1, 0, 4, SECOND),
            (15 * SECOND, 12, 1, 0, 4, 0),
            (16 * SECOND, 11, 1, 0, 4, SECOND // 1000),
        ]
    )
    assert track.strip(8 * SECOND, 18 * SECOND, 10, "waiting") == "  rrRwwRww"
    assert track.strip(8 * SECOND, 18 * SECOND, 10, "running")[-1] == "R"
    assert [ts // SECOND for ts, _ in track.wakes] == [10, 15]
    assert track.strip(0, 0, 10, "waiting") == ""


def test_shares_of_a_loop():
    source = FakeSource(row(LOOP, 1, 1))
    loop = source.process.rows[LOOP, 1]
    history = LoopHistory()
    for tick in range(9):
        half = tick * SECOND // 8
        # asyncio: half of the time; the other half Qt had it, and worked in half of it.
        loop.change({12: half, 13: half, 17: half // 2, 6: tick * 10})
        history.add(tick * SECOND // 4, loop)
    shares = history.shares(10)
    assert len(shares) == 4
    assert all(share == pytest.approx((0.5, 0.25, 0.25)) for share in shares)
    assert history.rate() == pytest.approx(40)


def test_lag_is_the_worst_of_each_second():
    lag = LagMeter()
    lag.add(
        [
            (SECOND, 12, 1, 0, 4, 0),
            (SECOND + 500, 11, 1, 0, 4, 200),  # 300 ns from ready to running
            (2 * SECOND, 41, 1, 0, 9, 5000),
            (2 * SECOND, 80, 1, 1, 0, 7000),
        ]
    )
    assert lag.worst(0, 3, 3 * SECOND) == pytest.approx([300e-9, 0, 0])
    assert lag.worst(1, 3, 3 * SECOND) == pytest.approx([0, 5000e-9, 0])
    assert lag.worst(2, 3, 3 * SECOND) == pytest.approx([0, 7000e-9, 0])


def test_stacks_of_a_stall_are_one_tree():
    log = StallLog()
    fields = {0: 1, 1: 5, 2: 100, 3: 0, 5: False}
    for stack in ("main\nwork\nread", "main\nwork\nparse", "main\nwork\nread"):
        stall = log.add(PID, {**fields, 4: stack})
    log.add(PID, {**fields, 2: 400, 5: True})
    assert len(log.stalls) == 1
    assert (stall.duration, stall.over) == (400, True)
    assert stall.merged() == [
        (0, "main", 3),
        (1, "work", 3),
        (2, "read", 2),
        (2, "parse", 1),
    ]
    assert log.add(PID, {0: 1}) is None  # it lacks what each has


# --- files


def test_a_recording(tmp_path, monkeypatch):
    asked = []

    class Recording:
        duration = 20.0
        others = ()

        def snapshot(self, at=None):
            asked.append(at)
            return Process({"pid": PID})

        def stalls(self):
            return []

        lints = stalls

    path = tmp_path / "x.qtrace"
    path.write_bytes(b"something")
    monkeypatch.setattr(trace, "open", lambda *a, **k: Recording(), raising=False)
    source = files.open_file(str(path), 4.0)
    assert (asked, source.at, source.has_times) == ([None, 4.0], 4.0, True)
    viewer = Viewer(source)
    shown = viewer.process
    source.go_to(99.0)
    assert source.at == 20.0
    assert viewer.process is not shown


@pytest.mark.skipif(
    not sys.platform.startswith("linux"), reason="inspection is on Linux only so far"
)
def test_stalls_and_findings_of_a_recording(tmp_path):
    """They are there from the time on at which they were."""
    path = tmp_path / "x.qtrace"

    async def blocks():
        await asyncio.sleep(0.05)
        time.sleep(0.15)  # the stall

    with inspect.record(path):
        loop = qtinter.new_event_loop()
        loop.set_mode(qtinter.QiLoopMode.NATIVE)
        loop.run_until_complete(blocks())
        loop.close()
    viewer = Viewer(files.open_file(str(path)))
    stalls, lints = StallsView(viewer), LintsView(viewer)

    def shown(view):
        return [view.get(ident) for ident in view.idents() if view.get(ident)]

    assert [stall.what.partition(" (")[0] for stall in shown(stalls)] == [
        "test_stalls_and_findings_of_a_recording.<locals>.blocks"
    ]
    assert [lint["id"] for lint in shown(lints)] == ["QI101"]
    viewer.source.go_to(0.0)
    assert (shown(stalls), shown(lints)) == ([], [])
    assert stalls.empty_text() == "no stalls"
    viewer.source.go_to(99.0)
    tasks = TasksView(viewer)  # all of them have ended: they are seen nevertheless
    assert [row.id for row in shown(tasks)] == [1]


def test_a_file_that_is_none(tmp_path):
    path = tmp_path / "x.qiseg"
    path.write_bytes(b"QTINSEG1")
    with pytest.raises(ValueError, match="segment"):
        files.open_file(str(path))
    with pytest.raises(ValueError, match="last state only"):
        files.open_file(str(path), 3.0)
    with pytest.raises(OSError, match="none"):
        files.open_file(str(tmp_path / "none"))
