"""modal and exec_modal."""

import asyncio
import contextvars
import functools
import gc
import inspect

import pytest

import qtinter
from qtinter import asyncslot, modal

variable = contextvars.ContextVar("variable", default="none")


@pytest.fixture
def nested(qt):
    """nested(start): runs a nested Qt event loop until the function given to start."""

    def exec_nested(start, result=None):
        loop = qt.QtCore.QEventLoop()
        start(loop.quit)
        loop.exec()
        return result

    return exec_nested


def test_result_arguments_and_metadata(run_qt):
    """X1."""

    def fn(*args, **kwargs):
        """Says what it got."""
        return args, kwargs

    async def main():
        assert await modal(fn)(1, x=2) == ((1,), {"x": 2})
        assert modal(fn).__name__ == "fn"
        assert modal(fn).__doc__ == "Says what it got."
        assert inspect.iscoroutinefunction(modal(fn))
        assert await modal(functools.partial(fn, 1))(2) == ((1, 2), {})

    run_qt(main())


@pytest.mark.parametrize("exception", [ValueError, StopIteration])
def test_exception(run_qt, exception):
    """X1: raised by the await; StopIteration as asyncio raises it."""

    def fn():
        raise exception("no")

    async def main():
        expected = RuntimeError if exception is StopIteration else exception
        with pytest.raises(expected) as info:
            await modal(fn)()
        if exception is StopIteration:
            assert isinstance(info.value.__cause__, StopIteration)

    run_qt(main())


def test_foreign_loop(app):
    """X2."""

    async def main():
        with pytest.raises(
            RuntimeError,
            match=r"qtinter\.modal\(\) requires QiBaseEventLoop, but got <_Unix",
        ):
            await modal(print)()

    asyncio.run(main())


def test_runs_outside_of_tasks_and_at_once(run_qt):
    """X3, X5: before other ready callbacks, with no task current."""

    async def main():
        log = []
        asyncio.get_running_loop().call_soon(log.append, "callback")
        await modal(lambda: log.append(asyncio.current_task()))()
        await asyncio.sleep(0)
        assert log == [None, "callback"]

    run_qt(main())


def test_asyncio_goes_on_inside(run_qt, nested):
    """X4."""

    async def main():
        ticks = []

        async def ticker():
            for i in range(5):
                ticks.append((i, asyncio.current_task() is task))
                await asyncio.sleep(0.001)

        task = asyncio.get_running_loop().create_task(ticker())

        def fn():
            nested(lambda quit_loop: task.add_done_callback(lambda _: quit_loop()))
            return len(ticks)

        assert await modal(fn)() == 5
        assert ticks == [(i, True) for i in range(5)]

    run_qt(main())


def test_in_the_eager_part_of_a_slot(run_attached, emitter, qt, nested):
    """X14, pain 2: a slot that Qt calls."""

    async def main():
        done = asyncio.get_running_loop().create_future()

        async def slot():
            result = await modal(nested)(
                lambda quit_loop: qt.QtCore.QTimer.singleShot(0, quit_loop), "answer"
            )
            done.set_result(result)

        emitter.none.connect(asyncslot(slot))
        qt.QtCore.QTimer.singleShot(0, emitter.none.emit)
        assert await done == "answer"

    run_attached(main())


def test_in_an_eager_part_within_a_task(run_qt):
    """X15: after the outer callback ends."""

    async def main():
        log = []

        async def inner():
            log.append(await modal(lambda: log.append("fn") or "result")())

        task = qtinter.run_task(inner())
        log.append("outer")
        await task
        assert log == ["outer", "fn", "result"]

    run_qt(main())


def test_context(run_qt):
    """fn runs in a copy of the context of the awaiting task."""

    def fn():
        before = variable.get()
        variable.set("fn")
        return before

    async def main():
        variable.set("task")
        assert await modal(fn)() == "task"
        assert variable.get() == "task"

    run_qt(main())


def test_cancelling_does_not_stop_the_function(run_qt, nested, qt, reports):
    """X12: the result is dropped."""

    async def main():
        contexts, log = reports(), []

        def fn():
            def start(quit_loop):
                task.cancel()
                task.add_done_callback(lambda _: quit_loop())

            nested(start)
            log.append(("fn ends", task.cancelled()))
            ended.set_result(None)

        ended = asyncio.get_running_loop().create_future()
        task = asyncio.get_running_loop().create_task(modal(fn)())
        with pytest.raises(asyncio.CancelledError):
            await task
        await ended  # this goes on within the nested loop of fn
        await asyncio.sleep(0)
        assert log == [("fn ends", True)]
        assert contexts == []

    run_qt(main())


def test_exception_after_cancelling_is_reported(run_qt, nested, reports):
    """X12: not swallowed."""

    async def main():
        contexts = reports()

        def fn():
            def start(quit_loop):
                task.cancel()
                task.add_done_callback(lambda _: quit_loop())

            nested(start)
            ended.set_result(None)
            raise ValueError("late")

        ended = asyncio.get_running_loop().create_future()
        task = asyncio.get_running_loop().create_task(modal(fn)())
        with pytest.raises(asyncio.CancelledError):
            await task
        await ended  # this goes on within the nested loop of fn
        await asyncio.sleep(0)
        gc.collect()
        (context,) = contexts
        assert str(context["exception"]) == "late"
        assert "modal()" in context["message"]

    run_qt(main())


def test_cancelled_before_it_began(run_qt):
    """1.3: then the function is not run."""

    async def main():
        log = []

        async def work():
            await modal(log.append)("ran")

        task = qtinter.run_task(work())
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert log == []
        assert await modal(lambda: "next")() == "next"

    run_qt(main())


@pytest.mark.parametrize("exception", [KeyboardInterrupt, SystemExit])
def test_interrupts_reach_the_awaiter(app, exception):
    """X11: as in any task, they stop the loop if it does not catch them."""

    def fn():
        raise exception("stop")

    async def catches():
        try:
            await modal(fn)()
        except exception:
            return "caught"

    async def passes():
        await modal(fn)()

    with qtinter.using_asyncio_from_qt() as loop:
        task = loop.create_task(catches())
        task.add_done_callback(lambda _: app.quit())
        app.exec()
        assert task.result() == "caught"
    with pytest.raises(exception, match="stop"):
        with qtinter.using_asyncio_from_qt() as loop:
            task = loop.create_task(passes())
            app.exec()
    assert isinstance(task.exception(), exception)


def test_native_mode(app):
    """X8, A14: while tasks are cancelled at the end of the block."""
    log = []

    async def work():
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            try:
                await modal(log.append)("ran")
            except RuntimeError as exc:
                log.append(str(exc))

    with qtinter.using_asyncio_from_qt():
        task = qtinter.run_task(work())
    assert task.cancelled()
    (text,) = log
    assert "not supported in NATIVE mode" in text


def test_two_at_once(run_qt, nested):
    """X13: the second inside of the first, which cannot return before it."""

    async def main():
        log = []
        loop = asyncio.get_running_loop()

        def first():
            log.append("first begins")
            nested(
                lambda quit_loop: log.append("first waits") or quits.append(quit_loop)
            )
            log.append("first ends")

        def second():
            log.append("second begins")
            quits[0]()
            log.append("second ends")

        quits = []
        tasks = [loop.create_task(modal(first)()), loop.create_task(modal(second)())]
        await asyncio.wait(tasks)
        assert log == [
            "first begins",
            "first waits",
            "second begins",
            "second ends",
            "first ends",
        ]

    run_qt(main())
