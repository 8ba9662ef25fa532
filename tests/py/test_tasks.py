"""run_task."""

import asyncio
import contextvars
import gc
import sys

import pytest

import qtinter
from qtinter import run_task

try:
    import uvloop
except ImportError:
    uvloop = None
else:
    uvloop.new_event_loop().close()  # opens what the first loop opens for good

variable = contextvars.ContextVar("variable", default="none")


def run_plain(coro):
    return asyncio.run(coro)


def run_uvloop(coro):
    loop = uvloop.new_event_loop()
    try:
        return loop.run_until_complete(coro)
    finally:
        loop.close()


def with_factory(factory):
    async def main(coro):
        asyncio.get_running_loop().set_task_factory(factory)
        return await coro

    return lambda coro: asyncio.run(main(coro))


def lazy_factory(loop, coro, **keywords):
    return asyncio.Task(coro, loop=loop, **keywords)


def python_factory(loop, coro, **keywords):
    return asyncio.tasks._PyTask(coro, loop=loop, **keywords)


RUNNERS = {
    "asyncio": run_plain,
    "factory": with_factory(lazy_factory),
    "python-task": with_factory(python_factory),
}
if uvloop is not None:
    RUNNERS["uvloop"] = run_uvloop
if sys.version_info >= (3, 12):
    RUNNERS["eager-factory"] = with_factory(asyncio.eager_task_factory)
    RUNNERS["own-eager-factory"] = with_factory(
        asyncio.create_eager_task_factory(asyncio.Task)
    )


@pytest.fixture(params=["attached", "nested", *RUNNERS])
def run(request, app):
    """Each kind of loop and task factory (K8, K12)."""
    if request.param == "attached":
        return request.getfixturevalue("run_attached")
    if request.param == "nested":
        return qtinter.run
    return RUNNERS[request.param]


def skip_without_current_task(request):
    is_python = request.node.callspec.params["run"] == "python-task"
    if is_python and sys.version_info >= (3, 14):
        pytest.skip("since 3.14 current_task() does not know asyncio.tasks._PyTask")


def test_runs_up_to_the_first_suspension(run):
    """K2, K3, K4: ahead of what is queued, on the caller's stack, once."""

    async def work(log):
        frame, callers = sys._getframe(), set()
        while frame is not None:
            callers.add(frame.f_code.co_name)
            frame = frame.f_back
        log.append("main" in callers)
        await asyncio.sleep(0)
        log.append("second")
        return 7

    async def main():
        log = []
        other = asyncio.get_running_loop().create_task(asyncio.sleep(0))
        asyncio.get_running_loop().call_soon(log.append, "queued")
        task = run_task(work(log))
        assert log == [True]
        assert asyncio.isfuture(task)
        assert not task.done()
        assert await task == 7
        await other
        assert log == [True, "queued", "second"]

    run(main())


def test_a_coroutine_that_never_suspends_is_done(run):
    """K2, K9: result and exception are in the task."""

    async def returns():
        return 5

    async def fails():
        raise ValueError("stored")

    async def main():
        task = run_task(returns())
        assert task.done()
        assert task.result() == 5
        task = run_task(fails())
        assert task.done()
        with pytest.raises(ValueError, match="stored"):
            task.result()

    run(main())


def test_the_caller_is_suspended_around_the_step(run, request):
    """K5, K14: current_task() is the innermost task, at any depth."""
    skip_without_current_task(request)

    async def nested(depth, seen):
        if depth:
            inner = run_task(nested(depth - 1, seen))
            assert asyncio.current_task() is not inner
            seen.append((depth, inner.done()))
        own = asyncio.current_task()
        await asyncio.sleep(0)
        assert asyncio.current_task() is own
        return own

    async def main():
        seen = []
        before = asyncio.current_task()
        task = run_task(nested(5, seen))
        assert asyncio.current_task() is before
        assert seen == [(depth, False) for depth in (1, 2, 3, 4, 5)]
        assert await task is task
        await asyncio.sleep(0)

    run(main())


def test_step_in_a_callback(run):
    """K6: in a callback no task is suspended, so that nesting is not refused."""

    async def work():
        await asyncio.sleep(0)

    async def main():
        loop = asyncio.get_running_loop()
        future = loop.create_future()

        def callback():
            assert asyncio.current_task() is None
            future.set_result(run_task(work(), allow_task_nesting=False))

        loop.call_soon(callback)
        await (await future)

    run(main())


def test_nesting_refused(run):
    """K6."""

    async def main():
        coro = asyncio.sleep(0)
        with pytest.raises(RuntimeError, match="cannot call run_task from a running"):
            run_task(coro, allow_task_nesting=False)
        await coro

    run(main())


def test_without_running_loop():
    """K7."""
    coro = asyncio.sleep(0)
    with pytest.raises(RuntimeError, match="no running event loop"):
        run_task(coro)
    coro.close()


@pytest.mark.parametrize("exception", [KeyboardInterrupt, SystemExit])
@pytest.mark.parametrize("nested", [False, True])
def test_interrupts_propagate_without_noise(run, reports, exception, nested, request):
    """K10: raised to the caller, the caller's task is current again, said once."""
    if request.node.callspec.params["run"] == "own-eager-factory":
        pytest.skip("the task is lost in the factory, and asyncio reports it")

    async def fails():
        raise exception("now")

    async def main():
        contexts = reports()
        before = asyncio.current_task()
        try:
            run_task(fails())
        except exception as exc:
            assert str(exc) == "now"
        else:
            raise AssertionError("not raised")
        assert asyncio.current_task() is before
        gc.collect()
        await asyncio.sleep(0)
        assert contexts == []

    run(main())


def test_context(run):
    """K11: a copy of the current context, or the one given."""

    async def work():
        before = variable.get()
        variable.set("task")
        return before

    async def main():
        variable.set("main")
        assert await run_task(work()) == "main"
        assert variable.get() == "main"
        if sys.version_info >= (3, 11):
            context = contextvars.copy_context()
            context.run(variable.set, "given")
            assert await run_task(work(), context=context) == "given"
            assert context[variable] == "task"

    run(main())


def test_name(run, request):
    """K1: from the first line on."""
    if request.node.callspec.params["run"] == "own-eager-factory":
        pytest.skip("asyncio names the task of a factory after its first step")
    if sys.version_info < (3, 8):
        pytest.skip("tasks have no names before 3.8")
    skip_without_current_task(request)

    async def work():
        return asyncio.current_task().get_name()

    async def main():
        assert await run_task(work(), name="Anna") == "Anna"

    run(main())


def test_not_a_coroutine(run):
    """K13."""

    async def main():
        for value in (None, 3, lambda: None):
            with pytest.raises(TypeError):
                run_task(value)
        assert await asyncio.sleep(0, "still running") == "still running"

    run(main())


def test_first_step_that_schedules(run):
    """K12: only the step of the new task is taken back, not what it schedules."""

    async def child(log):
        log.append("child")

    async def work(log):
        loop = asyncio.get_running_loop()
        loop.call_soon(log.append, "callback")
        task = loop.create_task(child(log))
        await asyncio.sleep(0)
        log.append("work")
        await task

    async def main():
        log = []
        await run_task(work(log))
        # An eager factory runs the child within create_task().
        assert sorted(log) == ["callback", "child", "work"]
        assert "call_soon" not in getattr(asyncio.get_running_loop(), "__dict__", {})

    run(main())


def test_foreign_call_soon_is_left_alone():
    """A subclass that queues something else runs the first step in its own time."""

    class Loop(asyncio.SelectorEventLoop):
        def call_soon(self, callback, *args, context=None):
            return super().call_soon(lambda: callback(*args), context=context)

    async def work(log):
        log.append("ran")

    async def main():
        log = []
        task = run_task(work(log))
        await task
        assert log == ["ran"]

    loop = Loop()
    loop.run_until_complete(main())
    loop.close()
