"""Exports as chrome://tracing of a real Chromium shows them."""
# ruff: noqa: F811 - fixtures that are imported

import importlib.util
import json
import pathlib

import pytest

from qtinter.trace import export

from .recordings import HOSTILE, program, recorded, small  # noqa: F401


def has_chromium():
    """Whether PyQt6-WebEngine is installed; PyQt6 is not imported, as a binding is."""
    spec = importlib.util.find_spec("PyQt6")
    folders = [] if spec is None else spec.submodule_search_locations or []
    return any(
        next(pathlib.Path(folder).glob("QtWebEngineWidgets.*"), None)
        for folder in folders
    )


pytestmark = pytest.mark.skipif(
    not has_chromium(),
    reason="needs a Chromium with chrome://tracing: that of PyQt6-WebEngine",
)

SAFETY_NET = 120  # seconds; a browser begins


@pytest.fixture
def tracing(run_isolated, foreign_environment, tmp_path):
    """tracing(path): what chrome://tracing shows of a file."""
    environment = {
        "QT_QPA_PLATFORM": "offscreen",
        "LD_PRELOAD": foreign_environment.get("LD_PRELOAD"),
        "QTINTER_INSPECT": None,
        "XDG_RUNTIME_DIR": str(tmp_path),
    }

    def open_it(path):
        done = run_isolated(
            "chrome_tracing.py", path, env=environment, timeout=SAFETY_NET
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    return open_it


def exported(source, tmp_path):
    path = tmp_path / "recording.json"
    export.export(source, path, "chrome")
    return path


def test_tracks_slices_and_arrows(tracing, tmp_path):
    """All that is in the file is shown, at its time, nested as it was."""
    found = tracing(exported(small().source(), tmp_path))
    assert found["errors"] == []
    assert found["warnings"] == []
    assert found["processes"] == ["app"]
    threads = {thread["name"]: thread for thread in found["threads"]}
    by_order = sorted(threads, key=lambda name: threads[name]["order"])
    assert [name.split(" (")[0] for name in by_order] == [
        "loop 1",
        "main #1",
        f"{HOSTILE} #2",
    ]
    task = threads[by_order[2]]["slices"]
    began = task[0][2] - 20  # the page's times begin with what it found first
    assert [
        (title, round(start - began, 3), round(duration, 3))
        for kind, title, start, duration, _ in task
        if kind not in ("end", "mark")
    ] == [
        ("ready", 20, 100),
        ("runs", 120, 40),
        ("waits for signal finished", 160, 741),
        ("ready", 901, 99),
        ("runs", 1000, 150_000),
    ]
    loop = threads[by_order[0]]["slices"]
    assert [(title, above) for kind, title, _, _, above in loop if kind == "step"] == [
        ("main", "asyncio"),
        (HOSTILE, "asyncio"),
        (HOSTILE, "asyncio"),
        ("main", "asyncio"),
    ]
    assert [end for _, end in found["flows"]] == [
        [by_order[2], "runs"],
        [by_order[2], "runs"],
    ]
    counters = dict(found["counters"])
    assert counters["ready tasks of loop 1"] == [1, 0, 0, 0]
    assert len(counters["lag (ns) of loop 1"]) == 4


def arrows_of(events):
    """The file's arrows: each end is written after the slice that it is of."""
    threads = {
        e["tid"]: e["args"]["name"] for e in events if e["name"] == "thread_name"
    }
    ends = {}
    for event in events:
        if event["ph"] in "Xi":
            last = [threads[event["tid"]], event["name"]]
        elif event["ph"] in "sf":
            ends.setdefault(event["id"], {})[event["ph"]] = last
    return [[end["s"], end["f"]] for end in ends.values()]


def test_a_program(tracing, recorded, tmp_path):
    """Every track and arrow of the file is one of the page; names are text there."""
    path = exported(recorded, tmp_path)
    events = json.loads(path.read_text())["traceEvents"]
    found = tracing(path)
    assert (found["errors"], found["warnings"]) == ([], [])
    named = [e for e in events if e["name"] == "thread_name"]
    assert sorted(thread["name"] for thread in found["threads"]) == sorted(
        event["args"]["name"] for event in named
    )
    assert sum(len(thread["slices"]) for thread in found["threads"]) == sum(
        event["ph"] in "Xi" for event in events
    )
    arrows = arrows_of(events)
    assert arrows
    assert sorted(found["flows"]) == sorted(arrows)
    assert {name for name, _ in found["counters"]} == {
        event["name"] for event in events if event["ph"] == "C"
    }
    assert found["title"] == "chrome://tracing"


def test_complaints_are_seen(tracing, tmp_path):
    """The page does complain of a file that is wrong: silence above has a meaning."""
    path = tmp_path / "wrong.json"
    begin = {"ph": "B", "name": "x", "pid": 1, "tid": 1, "ts": 5}
    end = {**begin, "ph": "E"}
    path.write_text(json.dumps([end, begin]))
    (warning,) = tracing(path)["warnings"]
    assert "without a matching B phase event" in warning
    path.write_text(json.dumps([begin, {**end, "ts": 4}]))
    assert "end time is before its start" in tracing(path)["failure"]
