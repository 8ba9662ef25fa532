"""qtinter.trace.export: recordings in the formats of others."""
# ruff: noqa: F811 - fixtures that are imported

import collections
import csv
import importlib
import io
import json
import os
import random
import tempfile

import pytest

from qtinter import _core
from qtinter.inspect import _tables
from qtinter.trace import export
from qtinter.trace._source import Gap, Note, open_source
from qtinter.trace.export import (
    _timeline,
    _words,
    chrome,
    html,
    jsonl,
    perfetto,
)
from qtinter.trace.export import csv as csv_format

from .recordings import (  # noqa: F401
    ENTITIES,
    HOSTILE,
    KINDS,
    Recorder,
    program,
    recorded,
    ref,
    small,
)

BEGIN = Recorder.BEGIN


def written(module, source, **options):
    out = io.BytesIO()
    counts = module.write(source, out, **options)
    assert not out.closed
    return out.getvalue(), counts


def items_of(source, kind=_timeline.Slice, **where):
    found = [i for i in _timeline.Timeline(source).items() if isinstance(i, kind)]
    return [
        item
        for item in found
        if all(
            (item.track.kind if key == "on" else getattr(item, key)) == value
            for key, value in where.items()
        )
    ]


def us_of(ts):
    return (ts - BEGIN) / 1000


# --- the timeline ---------------------------------------------------------------------


def row_of(kind, ident, state, **columns):
    names = [column for column, _ in _tables.ENTITIES[ENTITIES[kind]][1]]
    return [ENTITIES[kind], ident, state, 1] + [columns.get(name, 0) for name in names]


def test_a_task_runs_waits_and_is_ready():
    source = small().source()
    track = [s for s in items_of(source, on="task") if s.track.ident == 2]
    assert [(s.name, us_of(s.start), us_of(s.end)) for s in track] == [
        ("ready", 20, 120),
        ("runs", 120, 160),
        ("waits for signal finished", 160, 901),
        ("ready", 901, 1000),
        ("runs", 1000, 151_000),
    ]
    assert track[0].args == {"created_by": "task 1 main"}
    assert track[2].args["woken_by"] == "signal finished"
    assert track[4].args["then"] == "ends"
    ends = items_of(source, _timeline.Instant, category="end")
    assert [(i.track.ident, i.name) for i in ends] == [
        (2, "done"),
        (1, "failed: ValueError"),
    ]


def test_the_loop_has_what_ran_inside_of_turns():
    loop = items_of(small().source(), on="loop")
    assert [(s.category, s.name, us_of(s.start), us_of(s.end)) for s in loop] == [
        ("asyncio", "asyncio", 12, 170),
        ("step", "main", 15, 100),
        ("step", HOSTILE, 120, 160),
        ("qt", "Qt", 170, 970),
        ("asyncio", "asyncio", 970, 151_110),
        ("step", HOSTILE, 1000, 151_000),
        ("step", "main", 151_040, 151_100),
    ]


def test_counters():
    r = small()
    for us, name in ((3, "TIMER_SET"), (5, "TIMER_SET"), (7, "TIMER_FIRED")):
        r.add(151_110 + us, name, 0, us)
    counts = items_of(r.source(), _timeline.Count)
    found = collections.defaultdict(list)
    for item in counts:
        found[item.track.kind].append((round(us_of(item.ts)), item.value))
    assert found["ready"] == [(100, 1), (160, 0), (151_000, 0), (151_100, 0)]
    assert found["lag"] == [
        (15, 5000),
        (120, 100_000),
        (1000, 99_000),
        (151_040, 39_000),
    ]
    assert found["timers"] == [(151_113, 1), (151_115, 2), (151_117, 1)]


def test_slices_that_overlap_are_cut():
    """What no program does, but a clock or a loss may make of it."""
    r = Recorder()
    r.task(0, 1)
    r.step(60, 1, 50)
    r.add(100, "TURN", 1, 0, 60_000)
    loop = items_of(r.source(), on="loop")
    assert [(s.name, us_of(s.start), us_of(s.end)) for s in loop] == [
        ("work", 10, 60),
        ("asyncio", 40, 60),
    ]


def test_arrows():
    """From what woke a task to the step that followed: each begins and ends once."""
    source = small().source()
    begins, ends = {}, {}
    for item in _timeline.Timeline(source).items():
        for flow, ts in getattr(item, "sources", ()):
            assert flow not in begins
            begins[flow] = (item.track.kind, item.track.ident, item.name, us_of(ts))
        for flow in getattr(item, "targets", ()):
            assert flow not in ends
            ends[flow] = (item.track.ident, us_of(item.start))
    assert set(begins) == set(ends)
    assert [(begins[flow], ends[flow]) for flow in sorted(begins)] == [
        (("task", 1, "runs", 20), (2, 120)),
        (("loop", 0, "signal finished", 900), (2, 1000)),
    ]


def test_what_goes_on_at_the_end_is_pending():
    r = Recorder()
    r.task(0, 1)
    r.step(20, 1, 10)
    r.wait(20, 1, "timer")
    r.add(500, "TURN", 1, 0, 500_000)
    slices = items_of(r.source(), on="task")
    assert (slices[-1].name, us_of(slices[-1].end)) == ("waits for sleep", 500)
    assert slices[-1].args == {"pending": True}


def test_what_was_there_before_the_first_record():
    """States of the first keyframe, and what the first records imply."""
    r = Recorder()
    old = {"name": r.text("old"), "code": r.code("old")}
    row = row_of("task", 1, 3, wait_kind=2, changed=BEGIN - 77_000, **old)
    late = row_of("task", 1, 3, wait_kind=5, changed=BEGIN + 130_000, **old)
    r.add(100, "TASK_WAKE", 2, 1)
    r.step(130, 1, 20)
    r.wait(130, 1)
    r.add(200, "TASK_WAKE", 5, 9)
    r.step(230, 9, 10, "ends")
    r.end(230, 9)
    source = r.source(keyframes=[(BEGIN, [row]), (BEGIN + 150_000, [late])])
    slices = items_of(source, on="task")
    assert [(s.track.ident, s.name, us_of(s.start)) for s in slices] == [
        (1, "waits for future", 0),
        (1, "ready", 100),
        (1, "runs", 110),
        (9, "waits for sleep", 0),
        (9, "ready", 200),
        (9, "runs", 220),
        (1, "waits for future", 130),
    ]
    assert slices[0].track.name == "old #1"


def test_names_of_what_was_short(monkeypatch):
    """A file has the rows of what ended between two states; not all are kept."""
    monkeypatch.setattr(_words, "_KEPT", 3)
    r = Recorder()
    ended = []
    for i in range(1, 31):
        r.task(i * 1e6, i)
        r.step(i * 1e6 + 50, i, 20, "ends")
        r.end(i * 1e6 + 50, i)
        ends = BEGIN + round(i * 1e9) + 50_000
        name = r.text(f"job {i}")
        ended.append(row_of("task", i, 5, name=name, changed=ends))
    ended[3:3] = [row_of("object", 7, 1, **{"class": r.text("Reply")})]
    source = r.source(ended=ended)
    names = [s.track.name for s in items_of(source, on="task", name="runs")]
    assert names == [f"job {i} #{i}" for i in range(1, 31)]
    words = _words.Words(source)
    for record in source.records(BEGIN + round(5e9)):
        words.learn(record)
        assert len(words.rows) <= 17
    assert words.object_text(7) == "Reply"
    assert words.task_text(30) == "job 30"
    assert words.task_text(2) == "task 2"


def test_a_name_that_asyncio_made_up_gives_way_to_the_code():
    r = Recorder()
    made_up = 0x80000000 | 17
    names = {1: made_up, 2: r.text("ticker"), 3: made_up}
    for ident in names:
        r.task(ident * 10, ident, "Window.on_save")
        r.step(ident * 10 + 5, ident, 2)
    codes = {1: r.code("Window.on_save"), 2: r.code("tick"), 3: 0}
    r.rows = [
        row_of("task", ident, 1, name=name, code=codes[ident])
        for ident, name in names.items()
    ]
    source = r.source(keyframes=[(BEGIN, r.rows)])
    labels = ["Window.on_save", "ticker", "Task-17"]
    lanes = [s.track.name for s in items_of(source, on="task", name="runs")]
    assert lanes == [f"{label} #{i}" for i, label in enumerate(labels, 1)]
    steps = [s.name for s in items_of(source, on="loop") if s.category == "step"]
    assert steps == labels


def test_after_a_loss():
    """What ended among the lost records ends; what is new began after them."""
    r = Recorder()
    for task in (1, 2):
        r.task(task, task, f"task{task}")
        r.step(10 * task + 5, task, 5)
        r.wait(10 * task + 5, task)
    r.add(500, "TURN", 1, 0, 490_000)
    r.add(910, "TASK_WAKE", 2, 3)
    r.step(930, 3, 10)
    r.wait(930, 3)
    rows = [
        row_of("task", 2, 3, changed=BEGIN + 25_000),
        row_of("task", 3, 3, changed=BEGIN + 700_000),
        row_of("task", 4, 3, changed=BEGIN + 40_000),
    ]
    gap = Gap(len(r.records) - 3, 9, "ring", BEGIN + 510_000, BEGIN + 600_000)
    source = r.source(gaps=[gap], keyframes=[(BEGIN + 900_000, rows)])
    slices = [
        (s.track.ident, us_of(s.start), us_of(s.end), s.args.get("pending", False))
        for s in items_of(source, on="task", category="wait")
    ]
    assert sorted(slices) == [
        (1, 15, 500, False),
        (2, 25, 930, True),
        (3, 700, 910, False),
        (4, 600, 930, True),
    ]


def test_a_range_of_time():
    source = small().source()
    only = _timeline.Timeline(source, BEGIN + 500_000, BEGIN + 2_000_000)
    found = list(only.items())
    times = [i.start for i in found if isinstance(i, _timeline.Slice)]
    assert min(times) >= BEGIN + 500_000
    assert {i.name for i in found if hasattr(i, "name")} == {
        "signal finished",
        "waits for signal finished",
        f"waits for task 2 {HOSTILE}",
        "ready",  # that it ran is told by a record that is later
    }


def test_losses_and_findings_are_instants():
    r = small()
    source = r.source(
        gaps=[Gap(4, 31, "ring", BEGIN + 150_000, BEGIN + 160_000)],
        notes=[
            Note(BEGIN + 120_000_000, "stall", {
                "loop": 1, "duration": 119_000_000, "current": ref("task", 2),
                "stack": "File app.py", "since": BEGIN + 1_000_000,
            }),
            Note(BEGIN + 151_000_000, "lint", {
                "id": "QI101", "severity": "W", "text": "blocked", "ref": 0,
            }),
        ],
    )  # fmt: skip
    instants = {i.category: i for i in items_of(source, _timeline.Instant)}
    assert instants["gap"].name == "LOST 31 events"
    assert instants["stall"].name == "stall, 119 ms"
    assert instants["stall"].args["stack"] == "File app.py"
    assert HOSTILE in instants["stall"].args["runs"]
    assert instants["lint"].name == "QI101: blocked"


def test_an_empty_recording():
    for name in export.FORMATS:
        module = importlib.import_module(f"qtinter.trace.export.{name}")
        data, counts = written(module, Recorder().source())
        assert data, name
        assert counts["events"] >= 0


@pytest.mark.parametrize("seed", range(20))
def test_records_that_make_no_sense(seed):
    """Whatever is in a file, the slices nest and the formats are what they are."""
    chance = random.Random(seed)
    r = Recorder()
    texts = [r.text("a"), r.code("f"), r.text(HOSTILE), 0, 99, 1 << 31 | 7]
    us = 0
    for _ in range(400):
        us += chance.choice([0, 0, 1, 50, -30])
        name = chance.choice(list(KINDS))
        big = chance.choice([0, 3, 10_000, 1 << 40, (1 << 64) - 1])
        b = chance.choice(
            [big, ref("task", 2), ref("slot", 1), ref("wait", 3), 11 << 56]
        )
        a = chance.choice([0, 1, 2, 3, big])
        r.add(
            us, name, chance.choice([*texts, 1, 2]), a, b, chance.choice([0, 1, 1, 2])
        )
    rows = [
        [
            ENTITIES[kind],
            chance.randint(1, 3),
            chance.randint(0, 9),
            chance.randint(0, 2),
        ]
        + [chance.choice([*texts, 5, 1 << 40]) for _ in range(24)]
        for kind in ("task", "slot", "wait", "object", "timer", "loop") * 2
    ]
    source = r.source(
        keyframes=[(BEGIN + 1000 * chance.randint(-5, us + 5), rows)] * 2,
        gaps=[Gap(50, 3, "ring", 0, 0)],
        notes=[Note(BEGIN + 9000, "stall", {}), Note(0, "lint", {})],
    )
    check_perfetto(written(perfetto, source)[0], is_sane=False)
    check_chrome(written(chrome, source)[0])
    for module in (jsonl, csv_format, html):
        written(module, source)
    written(perfetto, source, t0=BEGIN + 5000, t1=BEGIN + 20_000)


def test_the_program(recorded):
    """What a real program does is there, each slice inside of the one around it."""
    found = list(_timeline.Timeline(recorded).items())
    categories = {i.category for i in found if not isinstance(i, _timeline.Count)}
    assert categories >= {
        "run", "wait", "ready", "step", "asyncio", "qt", "callback", "modal", "nested",
        "span", "mark", "signal", "slot", "end",
    }  # fmt: skip
    open_ends = collections.defaultdict(list)
    for item in found:
        if isinstance(item, _timeline.Slice):
            ends = open_ends[item.track.number]
            while ends and ends[-1] <= item.start:
                ends.pop()
            assert item.start <= item.end
            assert not ends or item.end <= ends[-1], item
            ends.append(item.end)
    names = {i.track.name.rpartition(" #")[0] for i in found if i.track.kind == "task"}
    assert names >= {"sleeper", HOSTILE, "failing"}
    waits = {i.name for i in found if getattr(i, "category", "") == "wait"}
    assert "waits for signal one of Emitter 'source'" in waits
    slot = next(i for i in found if getattr(i, "category", "") == "slot")
    flow = slot.sources[0][0]
    started = next(i for i in found if flow in getattr(i, "targets", ()))
    assert "on_none" in started.track.title


# --- Perfetto -------------------------------------------------------------------------


def parsed(data):
    pb2 = pytest.importorskip(
        "perfetto.protos.perfetto.trace.perfetto_trace_pb2",
        reason="the published schema comes with the package perfetto",
    )
    trace = pb2.Trace()
    trace.ParseFromString(data)
    assert trace.SerializeToString() == data or not unknown_fields(trace)
    return pb2, trace


def unknown_fields(message):
    """Names of messages in which there is something that the schema does not know."""
    from google.protobuf import unknown_fields as unknown

    found = [message.DESCRIPTOR.name] if len(unknown.UnknownFieldSet(message)) else []
    for field, value in message.ListFields():
        if field.message_type is not None:
            for one in value if field.is_repeated else [value]:
                found += unknown_fields(one)
    return found


def check_perfetto(data, is_sane=True):
    """The rules of TrackEvent: returns (trace, events, names of tracks by uuid).

    Times are absolute in what is returned, and nothing is left to defaults.
    """
    pb2, trace = parsed(data)
    assert unknown_fields(trace) == []
    tracks, names, categories, keys, values = {}, {}, {}, {}, {}
    events, begun = [], False
    defaults = trace.packet[1].trace_packet_defaults
    clocks = trace.packet[0].clock_snapshot.clocks
    (clock,) = [c for c in clocks if c.clock_id == defaults.timestamp_clock_id]
    now = clock.timestamp
    assert clock.is_incremental
    open_slices = collections.Counter()
    for packet in trace.packet:
        assert packet.trusted_packet_sequence_id == 1
        for table, entries in (
            (names, packet.interned_data.event_names),
            (categories, packet.interned_data.event_categories),
            (keys, packet.interned_data.debug_annotation_names),
        ):
            table.update((entry.iid, entry.name) for entry in entries)
        texts = packet.interned_data.debug_annotation_string_values
        values.update((entry.iid, entry.str.decode()) for entry in texts)
        if packet.HasField("track_descriptor"):
            descriptor = packet.track_descriptor
            assert not begun, "descriptors come first"
            assert descriptor.uuid not in tracks
            if descriptor.HasField("parent_uuid"):
                assert descriptor.parent_uuid in tracks
            tracks[descriptor.uuid] = descriptor
        if not packet.HasField("track_event"):
            continue
        begun = True
        event = packet.track_event
        now += packet.timestamp
        assert now < 1 << 63, "sorted by time: none is before the one before"
        packet.timestamp = now  # for those who ask
        if not event.HasField("track_uuid"):
            event.track_uuid = defaults.track_event_defaults.track_uuid
        assert event.track_uuid in tracks
        assert packet.sequence_flags == 2
        if event.type == pb2.TrackEvent.TYPE_SLICE_BEGIN:
            open_slices[event.track_uuid] += 1
        elif event.type == pb2.TrackEvent.TYPE_SLICE_END:
            open_slices[event.track_uuid] -= 1
            assert open_slices[event.track_uuid] >= 0, "an end without a begin"
        elif event.type == pb2.TrackEvent.TYPE_COUNTER:
            assert tracks[event.track_uuid].HasField("counter")
        if event.type in (1, 3):
            name = event.name or names[event.name_iid]
            assert event.categories or categories[event.category_iids[0]]
            for annotation in event.debug_annotations:
                assert keys[annotation.name_iid]
                if annotation.HasField("string_value_iid"):
                    annotation.string_value = values[annotation.string_value_iid]
            events.append((packet.timestamp, event, name))
    assert not +open_slices, "a slice that has no end"
    flows = [flow for _, event, _ in events for flow in event.flow_ids]
    ends = [flow for _, event, _ in events for flow in event.terminating_flow_ids]
    assert len(set(flows)) == len(flows)
    assert len(set(ends)) == len(ends)
    # Where records are missing, an arrow may come from what is not there.
    assert not is_sane or set(ends) <= set(flows)
    return trace, events, tracks


def test_perfetto_of_the_program(recorded):
    data, counts = written(perfetto, recorded)
    _, events, tracks = check_perfetto(data)
    processes = [t.process for t in tracks.values() if t.HasField("process")]
    assert [(p.pid, p.process_name) for p in processes] == [(os.getpid(), "program")]
    names = {track.name for track in tracks.values()}
    assert any(name.startswith("loop 1 (attached") for name in names)
    assert {"tasks", "timers", "ready tasks", "spans", "modal, depth 1"} <= names
    slices = {name for _, event, name in events if event.type == 1}
    assert {"asyncio", "Qt", "runs", "ready", "answer"} <= slices
    assert any(event.flow_ids for _, event, name in events if "emission" in name)
    assert counts["tracks"] == len(tracks) - 2


def test_perfetto_is_exact():
    data, _ = written(perfetto, small().source())
    trace, events, tracks = check_perfetto(data)
    by_track = collections.defaultdict(list)
    for ts, event, name in events:
        by_track[tracks[event.track_uuid].name].append((us_of(ts), name))
    assert by_track[f"{HOSTILE} #2"] == [
        (20, "ready"),
        (120, "runs"),
        (160, "waits for signal finished"),
        (901, "ready"),
        (1000, "runs"),
        (150_900, "saved"),
        (151_000, "done"),
    ]
    flows = {flow: ts for ts, event, _ in events for flow in event.flow_ids}
    for ts, event, _ in events:
        for flow in event.terminating_flow_ids:
            assert flows[flow] <= ts, "an arrow goes forward"
    lengths, open_slices = [], []
    pb2, _ = parsed(data)
    loop = next(uuid for uuid, track in tracks.items() if track.name == "loop 1")
    for packet in trace.packet:
        event = packet.track_event
        if event.track_uuid != loop:
            continue
        if event.type == pb2.TrackEvent.TYPE_SLICE_BEGIN:
            open_slices.append(packet.timestamp)
        elif event.type == pb2.TrackEvent.TYPE_SLICE_END:
            lengths.append((us_of(open_slices.pop()), us_of(packet.timestamp)))
    assert lengths == [
        (15, 100),
        (120, 160),
        (12, 170),
        (170, 970),
        (1000, 151_000),
        (151_040, 151_100),
        (970, 151_110),
    ]
    assert trace.packet[1].trace_packet_defaults.timestamp_clock_id == 64
    clocks = trace.packet[0].clock_snapshot.clocks
    assert {c.clock_id: c.timestamp for c in clocks} == {
        1: 10**18,
        3: BEGIN,
        6: BEGIN,
        64: BEGIN,
    }


def test_perfetto_values_of_every_type():
    """Negative, large, real and odd ones survive."""
    out = io.BytesIO()
    with tempfile.TemporaryFile() as file:
        writer = perfetto._Writer(Recorder().source(), file.fileno())
        track = _timeline.Track(1, "loop", 1, 0, "half \ud800 pair")
        args = {"i": -5, "big": 1 << 62, "f": 0.25, "b": True, "s": "a\ud800b"}
        lag = _timeline.Track(2, "lag", 1, 0, "lag")
        instant = _timeline.Instant(track, 1 << 60, "name", "c", args, ())
        writer.put([instant, _timeline.Count(lag, 5, -1)])
        writer.write(out)
    trace, _, _ = check_perfetto(out.getvalue())
    event = trace.packet[-1].track_event
    values = [
        getattr(annotation, annotation.WhichOneof("value"))
        for annotation in event.debug_annotations
    ]
    assert values == [-5, 1 << 62, 0.25, True, "a?b"]
    assert trace.packet[-1].timestamp == 1 << 60
    assert trace.packet[-2].track_event.counter_value == -1


def test_perfetto_writes_out_what_is_not_interned(monkeypatch):
    monkeypatch.setattr(perfetto, "_MAX_NAMES", 8)
    data, _ = written(perfetto, small().source())
    _, events, _ = check_perfetto(data)
    assert any(event.name for _, event, _ in events)
    assert any(event.name_iid for _, event, _ in events)


@pytest.mark.parametrize("room", [1, 2000, 1 << 20])
def test_perfetto_sorts_more_than_fits(room):
    times = [(i * 7919) % 101 for i in range(500)]
    with tempfile.TemporaryFile() as file:
        packets = _core.PerfettoPackets(0, 16, file.fileno(), room, 3)
        track, tracks = _timeline.Track(1, "loop", 1, 0, "loop"), []
        for number, ts in enumerate(times):
            item = (track, ts, f"{number}", "c", {"n": "x" * ts}, ())
            packets.take([item], tracks.append)
        assert tracks == [track]
        blocks = []
        packets.write(blocks.append, 0)
        assert bool(file.seek(0, 2)) == (room < 1 << 20)
    _, trace = parsed(b"".join(blocks))
    numbers = {number: text for text, number in packets.tables[0].items()}
    now, found = 0, []
    for packet in trace.packet:
        now += packet.timestamp
        event = packet.track_event
        found.append((now, int(event.name or numbers[event.name_iid])))
    assert found == sorted((ts, number) for number, ts in enumerate(times))
    assert packets.events == 500
    with pytest.raises(RuntimeError, match="was written"):
        packets.write(blocks.append, 0)
    with pytest.raises(RuntimeError, match="was written"):
        packets.take([], str)


LOOP = _timeline.Track(1, "loop", 1, 0, "loop")


@pytest.mark.parametrize(
    "item",
    [
        None,
        (),
        (LOOP, 5, 9, 1),
        (None, 5, 9),
        (_timeline.Track(0, "loop", 1, 0, "loop"), 5, 9),
        (_timeline.Track(1 << 40, "loop", 1, 0, "loop"), 5, 9),
        (LOOP, 5, "x"),
        (LOOP, 5, 9, "n", "c", [], (), ()),
        (LOOP, 5, 9, "n", None, {}, (), ()),
        (LOOP, 5, 9, "n", "c", {1: 2}, (), ()),
        (LOOP, 5, 9, "n", "c", {"k": None}, (), ()),
        (LOOP, 5, 9, "n", "c", {}, (1,), ()),
        (LOOP, 5, 9, "n", "c", {}, (), [1]),
        (LOOP, 5, 9, "n", "c", {}, (), ("x",)),
        (LOOP, 5, "x", "n", "c", {}, (), ()),
    ],
)
def test_perfetto_takes_no_nonsense(item):
    packets = _core.PerfettoPackets(0, 16, -1, 100, 3)
    with pytest.raises((TypeError, ValueError, OverflowError, AttributeError)):
        packets.take([item], str)
    assert packets.events == 0


def test_numbers_that_perfetto_has_no_room_for():
    packets = _core.PerfettoPackets(0, 16, -1, 100, 3)
    packets.take([(LOOP, 5, 1 << 64), (LOOP, -(1 << 70), 1)], str)
    assert packets.events == 2


def test_perfetto_says_that_the_file_cannot_be_written():
    with open(os.devnull, "rb") as file:
        packets = _core.PerfettoPackets(0, 16, file.fileno(), 0, 3)
        packets.take([(LOOP, 5, 1)], str)
        with pytest.raises(OSError, match="Bad file descriptor"):
            packets.take([(LOOP, 6, 1)], str)


# --- Chrome ---------------------------------------------------------------------------


def check_chrome(data):
    """The rules of the trace-event format; returns its events."""
    value = json.loads(data)
    assert value["displayTimeUnit"] == "ms"
    named, flows = set(), {}
    for event in value["traceEvents"]:
        assert event["ph"] in "MXCisf"
        assert isinstance(event["name"], str)
        assert type(event["pid"]) is int
        assert type(event["tid"]) is int
        if event["ph"] == "M":
            named.add(event["tid"])
            continue
        assert isinstance(event["ts"], (int, float))
        assert event["tid"] in named
        if event["ph"] == "X":
            assert event["dur"] >= 0
        if event["ph"] == "C":
            assert all(type(v) is int for v in event["args"].values())
        if event["ph"] in "sf":
            flows.setdefault(event["id"], []).append(event["ph"])
            assert event["ph"] == "s" or event["bp"] == "e"
    assert all(ends[0] in "sf" and len(ends) <= 2 for ends in flows.values())
    return value["traceEvents"]


def test_chrome(recorded):
    data, counts = written(chrome, recorded)
    events = check_chrome(data)
    assert counts["events"] == len(events)
    slices = {event["name"] for event in events if event["ph"] == "X"}
    assert {"asyncio", "Qt", "runs", "ready", "answer"} <= slices
    threads = [e["args"]["name"] for e in events if e["name"] == "thread_name"]
    assert any(name.startswith(HOSTILE) for name in threads)


@pytest.mark.parametrize("nested", [True, False])
def test_versions(nested):
    """Segments have them one by one, recordings together."""
    source = small().source()
    versions = {"python": "3.11.7", "binding": "PyQt6", "qt": "6.5"}
    if nested:
        for name in versions:
            del source.info[name]
        source.info["versions"] = {**versions, "qtinter": ""}
    other = json.loads(written(chrome, source)[0])["otherData"]
    assert other == {**versions, "begin_unix_ns": str(10**18)}
    assert b'"binding":"PyQt6"' in written(html, source)[0]


def trace_events(items, zero=0):
    lines = bytearray()
    _core.put_trace_events(lines, items, zero, 7, set(), {}, lambda track: b"")
    return lines.decode("ascii")


def test_chrome_times_are_exact():
    for ts, zero, text in (
        (1_000_005, 0, "1000.005"),
        (3, 10, "-0.007"),
        (10**18 + 1, 0, "1000000000000000.001"),
        (-(1 << 63), 0, "-9223372036854775.808"),
    ):
        assert f'"ts":{text},' in trace_events([(LOOP, ts, "n", "c", {}, ())], zero)


def test_chrome_texts_are_those_of_json():
    texts = ["", HOSTILE, "".join(map(chr, range(1, 300))), "\0", "\ud800 \U0001f600é"]
    for text in texts:
        args = {text: text, "f": 0.25, "b": True, "i": -(1 << 70), "n": None}
        line = trace_events([(LOOP, 5, text, "c", args, ())])
        encoded = json.dumps(text)
        assert f'"name":{encoded},' in line
        assert f'"args":{json.dumps(args, separators=(",", ":"))},' in line


@pytest.mark.parametrize(
    "item",
    [
        None,
        (),
        (None, 5, 9),
        (LOOP, 5, "x"),
        (LOOP, "x", 9, "n", "c", {}, (), ()),
        (LOOP, 5, "x", "n", "c", {}, (), ()),
        (LOOP, 5, 9, None, "c", {}, (), ()),
        (LOOP, 5, 9, "n", "c", [], (), ()),
        (LOOP, 5, 9, "n", "c", {1: 2}, (), ()),
        (LOOP, 5, 9, "n", "c", {}, (1,), ()),
        (LOOP, 5, 9, "n", "c", {}, (), ("x",)),
        (LOOP, 5, 9, "n", "c", {}, ((1, "x"),), ()),
    ],
)
def test_chrome_takes_no_nonsense(item):
    with pytest.raises((TypeError, AttributeError)):
        trace_events([item])


def test_lines_of_any_values():
    """As the json and csv modules of Python write them."""
    row = {
        "t": "".join(map(chr, range(1, 300))), "nul": "a\0b", "half": "a\ud800b",
        "big": 1 << 70, "small": -(1 << 63), "f": 1e300, "g": 0.1, "b": True, "n": None,
        "q": 'a"b,c\r\n', "formula": "=1+1", "minus": "-", "": "", "zero": 0, "z": 0.0,
    }  # fmt: skip
    lines = bytearray(b"before\n")
    _core.put_json_line(lines, row)
    text = json.dumps(row, ensure_ascii=False, separators=(",", ":"))
    assert bytes(lines) == b"before\n" + text.encode("utf-8", "replace") + b"\n"
    lines.clear()
    _core.put_json_line(lines, {})
    assert bytes(lines) == b"{}\n"

    columns = dict.fromkeys(
        ("t", "nul", "big", "f", "n", "q", "formula", "minus", "no")
    )
    lines.clear()
    _core.put_csv_line(lines, columns, row)
    out = io.StringIO(newline="")
    cells = [row.get(column, "") for column in columns]
    cells[6:8] = "'=1+1", "'-"
    rest = [f"{k}={v}" for k, v in row.items() if k not in columns and v not in ("", 0)]
    csv.writer(out).writerow([*cells, " ".join(rest)])
    assert bytes(lines) == out.getvalue().encode("utf-8", "replace")
    for function in (
        lambda: _core.put_json_line(b"", row),
        lambda: _core.put_csv_line(bytearray(), {}, []),
    ):
        with pytest.raises(TypeError):
            function()


def test_chrome_is_exact():
    events = check_chrome(written(chrome, small().source())[0])
    tid = next(e["tid"] for e in events if e["args"].get("name", "").startswith("main"))
    mine = [e for e in events if e["ph"] == "X" and e["tid"] == tid]
    assert [(e["name"], e["ts"], e["dur"]) for e in mine] == [
        ("ready", 10, 5),
        ("runs", 15, 85),
        (f"waits for task 2 {HOSTILE}", 100, 150_901),
        ("ready", 151_001, 39),
        ("runs", 151_040, 60),
    ]
    arrows = [(e["ph"], e["id"], e["ts"]) for e in events if e["ph"] in "sf"]
    assert ("s", 2, 900) in arrows
    assert ("f", 2, 1000.001) in arrows  # inside of the slice, not at its edge


# --- lines and rows -------------------------------------------------------------------


def test_jsonl():
    source = small().source(
        gaps=[Gap(3, 5, "ring", 0, 0)],
        notes=[Note(BEGIN + 1, "lint", {"id": "QI1", "text": "t"})],
    )
    lines = [json.loads(line) for line in written(jsonl, source)[0].splitlines()]
    assert lines[0]["process"]["pid"] == 4321
    assert lines[0]["lost"] == 5
    events = lines[1:]
    assert sum(1 for e in events if "number" in e) == len(list(source.records()))
    gap = next(i for i, e in enumerate(events) if e["event"] == "gap")
    assert events[gap + 1]["number"] == 3
    assert any(e["event"] == "lint" and e["text"] == "QI1: t" for e in events)
    step = next(e for e in events if e["event"] == "task_step" and e["task"] == 2)
    assert step["task_name"] == HOSTILE
    assert step["duration"] == 40e-6
    assert step["why"] == "waits"
    assert step["ts"] == pytest.approx(1e9 + 160e-6)
    wait = next(e for e in events if e["event"] == "task_wait" and e["task"] == 2)
    assert (wait["wait_kind"], wait["wait"]) == ("signal", "signal finished")


def test_jsonl_of_the_program(recorded):
    data, counts = written(jsonl, recorded)
    lines = [json.loads(line) for line in data.splitlines()]
    assert counts["events"] == len(lines) - 1 == len(list(recorded.records()))
    assert [line["mono"] for line in lines[1:]] == [r[1] for r in recorded.records()]


def test_csv():
    r = small()
    r.task(151_200, 5, '=cmd("x")\n')
    data, counts = written(csv_format, r.source())
    rows = list(csv.DictReader(io.StringIO(data.decode(), newline="")))
    assert len(rows) == counts["events"]
    assert rows[-1]["task_name"] == '\'=cmd("x")\n'
    step = next(row for row in rows if row["event"] == "task_step")
    assert (step["task"], step["duration"], step["why"]) == ("1", "8.5e-05", "waits")


# --- files ----------------------------------------------------------------------------


def test_export_to_a_file(tmp_path):
    path = tmp_path / "out.json"
    path.write_text("before")
    counts = export.export(small().source(), path, "chrome")
    assert counts["events"] > 10
    check_chrome(path.read_bytes())
    assert os.listdir(tmp_path) == ["out.json"]


def test_a_recording_is_not_exported_over_itself(program, tmp_path):
    recording = tmp_path / "a.qtrace"
    _core.segment_to_trace(program, recording)
    before = recording.read_bytes()
    link = tmp_path / "b.jsonl"
    os.link(recording, link)
    source = open_source(recording)
    for path in (recording, link, os.fsencode(recording)):
        with pytest.raises(ValueError, match=r"is the recording itself: write to an"):
            export.export(source, path, "jsonl")
    assert recording.read_bytes() == before
    assert export.export(source, os.fsencode(tmp_path / "c.csv"), "csv")["events"] > 0
    assert sorted(os.listdir(tmp_path))[:4] == [
        "a.qtrace",
        "b.jsonl",
        "c.csv",
        "program.qiseg",
    ]


def test_a_failure_leaves_what_was_there(tmp_path, monkeypatch):
    def fail(*args, **options):
        raise OSError("disk full")

    path = tmp_path / "out.json"
    path.write_text("before")
    monkeypatch.setattr(chrome, "write", fail)
    with pytest.raises(OSError, match="disk full"):
        export.export(small().source(), path, "chrome")
    assert path.read_text() == "before"
    assert os.listdir(tmp_path) == ["out.json"]


def test_no_such_format(tmp_path):
    with pytest.raises(ValueError, match="'pdf': choose one of perfetto, chrome"):
        export.export(small().source(), tmp_path / "x", "pdf")
    assert os.listdir(tmp_path) == []
