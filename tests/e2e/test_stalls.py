"""Programs that hang: what is shown of them meanwhile, and that they go on."""

import os
import signal
import sys

import pytest

from qtinter.inspect import _tables, connect
from qtinter.inspect.errors import InspectError

pytestmark = [
    pytest.mark.usefixtures("daemon"),
    pytest.mark.skipif(
        not sys.platform.startswith("linux"), reason="needs tgkill(2), that is Linux"
    ),
]

KINDS = ["spin", "wait", "holding_the_gil", "in_process_events"]
FIELDS = {
    key: name for key, (name, _, _) in _tables.MESSAGES[17][2].items()
}  # of STALL


async def stalls(feed):
    """The stalls that are told, as dicts by field name."""
    async for change in feed:
        if change.what == "stall":
            yield {FIELDS[key]: value for key, value in change.data["stall"].items()}


async def next_stack(told):
    async for stall in told:
        if "stack" in stall:
            return stall
    raise AssertionError("the daemon went away")


@pytest.mark.parametrize("kind", KINDS)
def test_the_stack_of_a_hang(application, known, run, kind):
    known(application)

    async def follow():
        async with connect() as feed:
            await feed.subscribe(application.pid)
            told = stalls(feed)
            assert application.ask(f"hang {kind}") == "done"
            first = await next_stack(told)
            names = [name for _, _, name in first["frames"]]
            assert names[0] == "<module>"  # the outermost one
            assert f"hang_{kind}" in names
            assert f"in hang_{kind}\n" in first["stack"]
            assert first["stack"].count("\n") == len(names)
            assert first["sample"] == 1
            assert not first["over"]
            second = await next_stack(told)
            assert (second["since"], second["sample"]) == (first["since"], 2)
            assert second["duration"] > first["duration"]
            # What hangs does not move, whatever happens in it.
            assert second["steady"] >= names.index(f"hang_{kind}")
            # Whoever asks gets it at once.
            text = await feed.request("STACK", pid=application.pid)
            assert text.startswith("Stack of the thread of loop 1 ")
            assert f"in hang_{kind}\n" in text
            application.send("")
            last = first
            while not last["over"]:
                last = await told.__anext__()
            assert last["since"] == first["since"]
            # The finding says where.
            lints = await feed.request("LINTS", pid=application.pid)
            texts = [lint[4] for lint in lints if lint[1] == "QI101"]
            assert any("(hangs.py:" in text for text in texts), texts

    run(follow())
    assert application.lines.next() == "went on"
    assert application.ask("state") == "connected"


def test_a_modal_loop_has_a_stack(application, known, run):
    known(application)

    async def follow():
        async with connect() as feed:
            await feed.subscribe(application.pid)
            assert application.ask("hang modal") == "done"
            text = ""
            while "hang_modal" not in text:
                text = await feed.request("STACK", pid=application.pid)
            application.send("")

    run(follow())
    assert application.lines.next() == "went on"


def test_a_tool_that_comes_later_is_told(application, known, run):
    known(application)

    async def follow():
        async with connect() as feed:
            await feed.subscribe(application.pid)
            assert application.ask("hang wait") == "done"
            first = await next_stack(stalls(feed))
        async with connect() as feed:
            told = stalls(feed)
            await feed.subscribe(application.pid)
            assert (await next_stack(told))["since"] == first["since"]

    run(follow())
    application.send("")


def test_the_task_that_hangs_and_one_that_waits(application, known, run, until):
    known(application)

    async def follow():
        async with connect(role="control") as feed:
            await feed.subscribe(application.pid)
            process = feed.processes[application.pid]
            assert application.ask("hang asyncio") == "done"

            def tasks():
                return {task["name"]: task["id"] for task in process.tasks()}

            await next_stack(stalls(feed))
            # Its code: a task's own name is seen after its first step.
            await until(feed, lambda: "_task" in tasks())
            text = await feed.request(
                "STACK", pid=application.pid, task=tasks()["_task"]
            )
            assert "in hang_spin" in text
            # The loop itself would have to say it.
            with pytest.raises(InspectError, match="when it runs again"):
                await feed.request("STACK", pid=application.pid, task=tasks()["alpha"])
            application.send("")
            text = await feed.request(
                "STACK", pid=application.pid, task=tasks()["alpha"]
            )
            assert "sleeper" in text

    run(follow())


def wait_for_state(pid, letters):
    """Until the process is in one of these states of proc(5)."""
    while True:
        with open(f"/proc/{pid}/stat", encoding="utf-8") as file:
            if file.read().rpartition(")")[2].split()[0] in letters:
                return


def test_a_stopped_program(application, known, run):
    known(application)

    async def follow():
        async with connect() as feed:
            await feed.subscribe(application.pid)  # the daemon has its state
        os.kill(application.pid, signal.SIGSTOP)
        wait_for_state(application.pid, "T")
        async with connect() as feed:
            await feed.subscribe(application.pid)
            names = {task["name"] for task in feed.processes[application.pid].tasks()}
            assert {"alpha", "beta", "gamma"} <= names
            with pytest.raises(InspectError, match="is stopped"):
                await feed.request("STACK", pid=application.pid)
            os.kill(application.pid, signal.SIGCONT)
            wait_for_state(application.pid, "RS")
            text = await feed.request("STACK", pid=application.pid)
            assert "in main\n" in text

    run(follow())


def test_two_loops_in_two_threads(application, known, run):
    known(application)

    async def follow():
        async with connect() as feed:
            await feed.subscribe(application.pid)
            assert application.ask("hang in_thread") == "done"
            stall = await next_stack(stalls(feed))
            assert stall["loop"] == 2
            assert "in other\n" in stall["stack"]
            for loop, there, not_there in ((1, "main", "other"), (2, "other", "main")):
                text = await feed.request("STACK", pid=application.pid, loop=loop)
                assert f"in {there}\n" in text
                assert f"in {not_there}\n" not in text
            # The one that hangs is the one that is meant.
            assert "in other\n" in await feed.request("STACK", pid=application.pid)
            with pytest.raises(InspectError, match="no such loop"):
                await feed.request("STACK", pid=application.pid, loop=3)

    run(follow())
    assert application.lines.next() == "started"
    application.send("")


def test_forks_meanwhile(application, known, run):
    known(application)

    async def follow():
        async with connect() as feed:
            await feed.subscribe(application.pid)
            told = stalls(feed)
            assert application.ask("hang forking") == "done"
            for _ in range(3):
                stall = await next_stack(told)
                assert "hang_forking" in stall["stack"]
                for _ in range(10):
                    await feed.request("STACK", pid=application.pid)
            application.send("")

    run(follow())
    assert application.lines.next() == "[0]"


def test_disabled_while_it_hangs(application, known, run):
    known(application)

    async def follow():
        async with connect() as feed:
            assert application.ask("hang while_disabled") == "done"
            async for change in feed:
                if change.what == "down":
                    return change.data["cause"]

    assert run(follow()) == "goodbye"
    application.send("")
    assert application.lines.next() == "True"
    assert application.ask("click") == "done"


def test_an_end_that_hangs(application, known, run):
    known(application)

    async def follow():
        async with connect() as feed:
            await feed.subscribe(application.pid)
            assert application.ask("hang at_exit") == "done"
            async for change in feed:
                if change.what == "down":
                    return change.data["cause"]
                application.send("")

    assert run(follow()) == "goodbye"
    assert application.process.wait(60) == 0
