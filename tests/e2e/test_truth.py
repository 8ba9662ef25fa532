"""What the tools show is what the application does."""

import json
import os
import signal
import time

import pytest
from peers import FakeApplication, Peer

from qtinter.inspect import _backlog, connect
from qtinter.inspect.errors import InspectError
from qtinter.inspect.feed import records_of

pytestmark = pytest.mark.usefixtures("daemon")

NAMES = ["alpha", "beta", "gamma"]


def rows_of(result):
    """The rows of the one application in the output of a command with --json."""
    (process,) = json.loads(result.stdout)
    return process["rows"]


def named(process):
    return {task["name"]: task for task in process.tasks()}


@pytest.fixture
def application(start_application, known):
    return known(start_application())


def test_three_tasks_a_slot_and_a_wait(application, inspect):
    tasks = rows_of(inspect("ps", "--json"))
    by_name = {task["name"]: task for task in tasks}
    calls = [task for task in tasks if task["role"] == "slot_call"]
    assert sorted(by_name)[-3:] == NAMES
    assert len(tasks) == 4  # these three and the slot call
    assert len(calls) == 1

    alpha, beta, gamma = (by_name[name] for name in NAMES)
    assert {task["state"] for task in tasks} == {"waiting"}
    assert alpha["code"]["name"] == "sleeper"
    assert os.path.basename(alpha["code"]["file"]) == "application.py"
    assert alpha["code"]["line"] > 0
    assert alpha["waits_for"]["kind"] in ("sleep", "timer")
    assert f"task {alpha['id']} alpha" in beta["waits_for"]["text"]
    assert "released" in gamma["waits_for"]["text"]
    assert "Button 'save'" in gamma["waits_for"]["text"]
    assert all(task["since"] is not None and task["since"] >= 0 for task in tasks)

    (slot,) = rows_of(inspect("slots", "--json"))
    assert slot["name"].endswith("on_clicked")
    assert slot["code"]["name"].endswith("on_clicked")
    assert "Window" in slot["receiver"]
    assert (slot["calls"], slot["live"]) == (1, 1)
    assert slot["pending"] == [calls[0]["id"]]

    (wait,) = rows_of(inspect("waits", "--json"))
    assert wait["signal"].startswith("released")
    assert wait["task"] == gamma["id"]
    assert wait["task_name"] == "gamma"
    assert wait["since"] is not None
    assert "Button" in json.dumps(wait)
    assert "save" in json.dumps(wait)

    (listed,) = json.loads(inspect("ls", "--json").stdout)
    assert listed["pid"] == application.pid
    assert listed["name"] == "victim"
    assert (listed["tasks"], listed["slots"], listed["waits"]) == (4, 1, 1)


def test_a_change_is_seen(application, run, until):
    import time

    async def follow():
        async with connect() as feed:
            await feed.subscribe(application.pid, hz=50)
            process = feed.processes[application.pid]
            latencies = []
            for i in range(10):
                name = f"new{i}"
                before = time.monotonic_ns()
                application.send(f"task {name}")
                await until(feed, lambda name=name: name in named(process))
                latencies.append((time.monotonic_ns() - before) * 1e-6)
                assert application.lines.next().isdigit()
                application.ask(f"end {name}")
                await until(feed, lambda name=name: name not in named(process))
            application.ask("release")
            await until(feed, lambda: "gamma" not in named(process))
            assert process.waits() == []
            return latencies

    latencies = sorted(run(follow()))
    # Not asserted: the machine may be busy.
    print(f"fact to tool: median {latencies[5]:.1f} ms, most {latencies[-1]:.1f} ms")


def span_of(change):
    """The first record of a gap or of events, and how many there are."""
    if change.what == "gap":
        return change.data["first"], change.data["count"]
    return change.data["first"], len(records_of(change.data))


def test_events_have_no_holes(application, run):
    async def follow():
        async with connect() as feed:
            await feed.subscribe(application.pid, events=True, history=True, hz=50)
            application.ask("tasks 500")
            application.ask("task last")
            expected = None
            seen = lost = 0
            async for change in feed:
                if change.what in ("gap", "events"):
                    first, count = span_of(change)
                    assert first == (first if expected is None else expected)
                    lost += first if expected is None else 0
                    lost += count if change.what == "gap" else 0
                    seen += count if change.what == "events" else 0
                    expected = first + count
                if seen > 1500 and "last" in named(feed.processes[application.pid]):
                    return expected, seen + lost

    end, total = run(follow())
    assert end == total


def test_a_user_who_takes_nothing_loses_events_and_is_told(
    application, run, monkeypatch
):
    monkeypatch.setattr(_backlog, "MAX_RECORDS", 5000)

    async def follow():
        async with connect() as feed:
            await feed.subscribe(application.pid, events=True, hz=50)
            process = feed.processes[application.pid]
            for first in range(0, 20_000, 2000):
                application.ask(f"marks {first} {first + 2000}")
            # Nothing is taken, and it comes in all the same.
            while process.lost == 0:
                await feed.request("PING")
            application.ask("task last")
            expected = None
            lost = 0
            async for change in feed:
                if change.what in ("gap", "events"):
                    first, count = span_of(change)
                    assert first == (first if expected is None else expected)
                    lost += count if change.what == "gap" else 0
                    expected = first + count
                elif "last" in named(process):
                    return lost, process.lost

    lost, known = run(follow())
    assert 0 < lost <= known


@pytest.mark.parametrize("control", [False, True])
def test_cancel_needs_control(start_application, known, run, until, control):
    application = known(start_application(*(["--control"] if control else [])))

    async def follow():
        async with connect(role="observe") as observer:
            await observer.subscribe(application.pid)
            alpha = named(observer.processes[application.pid])["alpha"]["id"]
            with pytest.raises(InspectError, match="control"):
                await observer.request("CANCEL", task=alpha, pid=application.pid)
        async with connect(role="control") as feed:
            await feed.subscribe(application.pid)
            process = feed.processes[application.pid]
            # 85 characters of three bytes: the limit of 255 bytes is not among them.
            ask = feed.request(
                "CANCEL", task=alpha, pid=application.pid, message="–" * 90
            )
            if not control:
                with pytest.raises(InspectError, match="does not let tools cancel"):
                    await ask
                assert "alpha" in named(process)
            else:
                await ask
                await until(feed, lambda: "alpha" not in named(process))
                assert process.alive

    run(follow())


def test_stack_and_level(application, run, until):
    async def follow():
        async with connect(role="control") as feed:
            await feed.subscribe(application.pid)
            alpha = named(feed.processes[application.pid])["alpha"]["id"]
            text = await feed.request("STACK", pid=application.pid, task=alpha)
            assert "sleeper" in text
            assert "main" in await feed.request("STACK", pid=application.pid)
            await feed.request("SET_LEVEL", pid=application.pid, level=1)
            with pytest.raises(InspectError, match="0 to 4"):
                await feed.request("SET_LEVEL", pid=application.pid, level=256)
            with pytest.raises(InspectError, match="no such application"):
                await feed.request("STACK", pid=1)

    run(follow())


def test_a_busy_loop_is_still_shown(application, run, until):
    async def follow():
        async with connect() as feed:
            await feed.subscribe(application.pid, hz=50)
            process = feed.processes[application.pid]
            application.send("busy 1.5")
            stalls = []
            async for change in feed:
                if change.what == "stall":
                    stalls.append(change.data)
                (loop,) = process.loops()
                if stalls and loop["state"] == "busy" and loop["current"]:
                    break
            assert "spin" in loop["current"]
            assert loop["busy_for"] > 0
            await until(feed, lambda: any(key[0] == "QI101" for key in process.lints))
            return stalls

    stalls = run(follow())
    assert stalls[0]["pid"] == application.pid


def test_a_stopped_application_is_still_shown(application, run, inspect):
    async def follow():
        async with connect() as feed:
            await feed.subscribe(application.pid)
            return sorted(named(feed.processes[application.pid]))

    before = run(follow())
    os.kill(application.pid, signal.SIGSTOP)
    assert run(follow()) == before
    assert {task["name"] for task in rows_of(inspect("ps", "--json"))} >= set(NAMES)
    os.kill(application.pid, signal.SIGCONT)
    application.ask("task after")
    assert set(before) < set(run(follow())) | {"after"}


def test_a_killed_application_leaves_its_state(application, run, inspect):
    async def follow():
        async with connect() as feed:
            await feed.subscribe(application.pid)
            application.kill()
            async for change in feed:
                if change.what == "down":
                    assert change.data["cause"] == "died"
                    break
            process = feed.processes[application.pid]
            assert not process.alive
            assert set(named(process)) >= set(NAMES)
        async with connect() as feed:  # and to whoever comes later
            (crash,) = await feed.request("CRASHES")
            assert crash[0] == application.pid
            assert await feed.list() == []
            await feed.subscribe(application.pid, events=True, history=True)
            assert set(named(feed.processes[application.pid])) >= set(NAMES)
            async for change in feed:
                if change.what == "events":
                    assert records_of(change.data)
                    break

    run(follow())
    crash = json.loads(inspect("crash", "--json").stdout)
    assert crash["alive"] is False
    assert {task["name"] for task in crash["tasks"]} >= set(NAMES)
    assert crash["events"]
    assert json.loads(inspect("ls", "--json").stdout) == []


def test_an_orderly_end(application, run):
    async def follow():
        async with connect() as feed:
            await feed.subscribe(application.pid)
            application.ask("quit")
            async for change in feed:
                if change.what == "down":
                    assert change.data["cause"] == "goodbye"
                    return

    run(follow())


def test_a_stopped_tool_holds_up_nobody(application, run, until):
    import subprocess
    import sys

    script = (
        "import asyncio, qtinter.inspect as qi\n"
        "async def main():\n"
        "    async with qi.connect() as feed:\n"
        "        await feed.subscribe(events=True, hz=50)\n"
        "        print('following', flush=True)\n"
        "        async for _ in feed: pass\n"
        "asyncio.run(main())\n"
    )
    tool = subprocess.Popen(
        [sys.executable, "-c", script], cwd="/", stdout=subprocess.PIPE, text=True
    )
    assert tool.stdout.readline() == "following\n"
    tool.send_signal(signal.SIGSTOP)

    async def follow():
        async with connect() as feed:
            await feed.subscribe(application.pid, hz=50)
            process = feed.processes[application.pid]
            for i in range(5):
                application.ask("tasks 2000")
                application.ask(f"task marker{i}")
                await until(feed, lambda i=i: f"marker{i}" in named(process))

    try:
        run(follow())
        assert tool.poll() is None
    finally:
        tool.kill()
        tool.wait()
        tool.stdout.close()


def test_a_slow_tool_is_answered_after_its_snapshot(daemon, runtime):
    """Not after as long as an application may be mute: it has sent everything."""
    count = 20_000
    with FakeApplication(runtime) as application, Peer(runtime).enter(
        "observe"
    ) as tool:
        application.until("SET_RATE")
        application.send("SNAP_BEGIN", rows=count)
        for first in range(1, count, 1000):
            rows = [[1, first + i, 3, 1, *[1 << 60] * 20] for i in range(1000)]
            application.send("STATE", ts=1, rows=rows)
        application.send("SNAP_END")
        tool.send("SUBSCRIBE", 1, sub=1, pid=application.pid)
        tool.until("SUB_ROWS")
        # It takes nothing while the daemon goes on with others.
        end = time.monotonic() + 1.5
        with Peer(runtime).enter("observe") as other:
            while time.monotonic() < end:
                other.send("PING", 1)
                other.until("RESULT")
        names = []
        while "RESULT" not in names:
            names.append(tool.next()[0])
        assert "SUB_END" in names
        assert names.count("SUB_ROWS") > 2


def test_histograms(application, run):
    async def follow():
        async with connect() as feed:
            await feed.subscribe(application.pid, events=True)
            application.ask("tasks 100")
            while True:
                answer = await feed.request("HISTOGRAM", pid=application.pid)
                if answer["steps"]["count"] >= 200:
                    break
                await feed.__aiter__().__anext__()
            steps = answer["steps"]
            assert sum(steps["buckets"][1::2]) == steps["count"]
            assert 0 < steps["p50"] <= steps["p99"] <= steps["max"] <= steps["sum"]
            none = await feed.request("HISTOGRAM", pid=application.pid, code=999999)
            assert none == {"steps": None, "calls": None}

    run(follow())


def test_a_finding_comes_and_goes(application, run, until):
    async def follow():
        async with connect() as feed:
            await feed.subscribe(application.pid)
            process = feed.processes[application.pid]
            application.ask("click")  # while the first call is pending
            await until(feed, lambda: any(k[0] == "QI201" for k in process.lints))
            findings = await feed.request("LINTS", pid=application.pid)
            assert "QI201" in [finding[1] for finding in findings]
            assert "on_clicked" in next(f[4] for f in findings if f[1] == "QI201")
        async with connect() as feed:  # who comes later is told
            await feed.subscribe(application.pid)
            process = feed.processes[application.pid]
            await until(feed, lambda: any(k[0] == "QI201" for k in process.lints))

    run(follow())
