"""The await chain of a task, as the program tells it to a tool that asks."""

import asyncio
import re

import pytest

from qtinter.inspect._awaits import task_stack

from .driving import settle


def names(text):
    return re.findall(r"line \d+, in (\w+)", text)


@pytest.fixture
def run(run_attached):
    """Runs main(create); the tasks that it makes are cancelled in the end."""

    def run(main):
        async def around():
            made = []

            def create(coro, name):
                task = asyncio.get_running_loop().create_task(coro)
                if hasattr(task, "set_name"):
                    task.set_name(name)
                made.append(task)
                return task

            try:
                await main(create)
            finally:
                for task in made:
                    task.cancel()
                await asyncio.gather(*made, return_exceptions=True)

        run_attached(around())

    return run


async def outer(inner):
    await inner


def test_all_frames_outermost_first(run):
    async def main(create):
        task = create(outer(outer(asyncio.sleep(99))), "deep")
        await settle()
        text = task_stack(task)
        assert names(text) == ["outer", "outer", "sleep"]
        assert "    await inner\n" in text
        assert text.splitlines()[0].endswith("(outer): pending")

    run(main)


def test_a_task_that_has_ended(run):
    async def main(create):
        task = create(asyncio.sleep(0), "over")
        await task
        assert "has ended" in task_stack(task)
        assert names(task_stack(task)) == []

    run(main)


def test_a_lock_and_who_holds_it(run):
    async def main(create):
        lock = asyncio.Lock()

        async def holder():
            async with lock:
                await asyncio.sleep(99)

        async def bystander():
            await asyncio.sleep(99)

        async def wanter():
            async with lock:
                raise AssertionError

        held = create(holder(), "holder")
        create(bystander(), "bystander")
        await settle()
        task = create(wanter(), "wanter")
        other = create(wanter(), "other")
        await settle()
        for waiting in (task, other):
            lines = task_stack(waiting).splitlines()
            assert "waits for: asyncio.Lock, locked, 2 waiting" in lines
            (holding,) = [line for line in lines if line.startswith("held by: ")]
            assert "holder" in holding
            assert holding.endswith(", in holder")
        held.cancel()

    run(main)


@pytest.mark.parametrize("kind", ["attribute", "global"])
def test_a_lock_that_is_no_local_variable(run, kind):
    async def main(create):
        class Owner:
            def __init__(self):
                self.lock = asyncio.Lock()

            async def hold(self):
                async with self.lock:
                    await asyncio.sleep(99)

            async def want(self):
                async with self.lock:
                    pass

        owner = Owner()
        globals()["the_lock"] = owner.lock

        async def hold():
            async with the_lock:  # noqa: F821
                await asyncio.sleep(99)

        create(owner.hold() if kind == "attribute" else hold(), "holder")
        await settle()
        task = create(owner.want(), "wanter")
        await settle()
        assert "held by: " in task_stack(task)
        del globals()["the_lock"]

    run(main)


@pytest.mark.parametrize(
    ("make", "wait", "expected"),
    [
        (asyncio.Event, "wait", "asyncio.Event, not set, 1 waiting"),
        (asyncio.Queue, "get", "asyncio.Queue, 0 items, 1 waiting"),
    ],
)
def test_what_else_is_waited_for(run, make, wait, expected):
    async def main(create):
        task = create(outer(getattr(make(), wait)()), "waits")
        await settle()
        assert f"waits for: {expected}" in task_stack(task).splitlines()

    run(main)


def test_several_tasks_at_once(run):
    async def main(create):
        children = [create(asyncio.sleep(99), f"child {i}") for i in range(10)]
        children.append(create(asyncio.sleep(0), "done"))
        await settle()
        gathering = create(outer(asyncio.gather(*children)), "gathers")
        waiting = create(outer(asyncio.wait(children)), "waits")
        await settle()
        for task in (gathering, waiting):
            assert "waits for: 10 of 11: " in task_stack(task)
            assert "2 more" in task_stack(task)

    run(main)


def test_a_task_that_was_cancelled(run):
    async def main(create):
        async def stubborn():
            try:
                await asyncio.sleep(99)
            except asyncio.CancelledError:
                await asyncio.sleep(99)

        task = create(stubborn(), "stubborn")
        await settle()
        task.cancel()
        await settle()
        text = task_stack(task)
        if hasattr(task, "cancelling"):
            assert "was cancelled" in text.splitlines()[0]
        assert names(text) == ["stubborn", "sleep"]

    run(main)
