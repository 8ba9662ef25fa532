"""using_asyncio_from_qt, QiRunner, using_qt_from_asyncio and run."""

import asyncio
import inspect
import sys
import threading
import warnings
import weakref

import pytest

import qtinter
from qtinter import QiLoopMode, QiRunner, using_asyncio_from_qt, using_qt_from_asyncio

from .driving import spin

ATTACHERS = [using_asyncio_from_qt, QiRunner]


@pytest.fixture(params=ATTACHERS, ids=["function", "class"])
def attach(request, app):
    return request.param


def current_loop():
    return qtinter._policy.current_event_loop()


# --- attached ------------------------------------------------------------------------


def test_parameters_are_keywords_only(attach):
    parameters = inspect.signature(attach).parameters
    assert list(parameters) == ["debug", "loop_factory", "shutdown_timeout"]
    assert {p.kind for p in parameters.values()} == {inspect.Parameter.KEYWORD_ONLY}
    assert parameters["shutdown_timeout"].default == 10.0
    with pytest.raises(TypeError):
        attach(True)


def test_entry_runs_nothing_and_binds_the_loop(attach):
    ran = []
    made = []

    def factory():
        made.append(qtinter.new_event_loop())
        made[0].call_soon(ran.append, 1)
        return made[0]

    with attach(loop_factory=factory, debug=True) as loop:
        assert loop is made[0]
        assert ran == []
        assert loop.is_running()
        assert loop.mode is QiLoopMode.GUEST
        assert loop.get_debug()
        assert asyncio.get_running_loop() is loop
        assert current_loop() is loop
    assert ran == [1], "what was queued ran on exit"
    assert loop.is_closed()
    assert current_loop() is None
    assert asyncio._get_running_loop() is None


@pytest.mark.parametrize("result", [None, 5, asyncio.new_event_loop])
def test_the_factory_must_make_one_of_our_loops(attach, result):
    made = []

    def factory():
        made.append(result() if callable(result) else result)
        return made[0]

    with pytest.raises(TypeError, match="QiBaseEventLoop"):
        with attach(loop_factory=factory):
            raise AssertionError("entered")
    if callable(result):
        made[0].close()
    with pytest.raises(TypeError):
        with attach(loop_factory=5):
            raise AssertionError("entered")
    assert asyncio._get_running_loop() is None


def test_callbacks_run_while_qt_does(app, attach):
    ran = []
    with attach() as loop:
        task = loop.create_task(asyncio.sleep(0.001, "slept"))
        loop.call_soon(ran.append, 1)
        assert ran == []
        spin(task.done)
        assert ran == [1]
        assert task.result() == "slept"


def test_nested_use_leaves_the_outer_loop_current(attach):
    ran = []
    with attach() as loop:
        with pytest.raises(RuntimeError, match="while another loop is running"):
            with attach():
                raise AssertionError("entered")
        coroutine = asyncio.sleep(0)
        with pytest.raises(RuntimeError, match="cannot be called from a running"):
            asyncio.run(coroutine)
        with pytest.raises(RuntimeError, match="cannot be called from a running"):
            qtinter.run(coroutine)
        coroutine.close()
        assert asyncio.get_running_loop() is loop
        assert current_loop() is loop
        loop.call_soon(ran.append, 1)
        spin(lambda: ran)


def test_the_previous_current_loop_comes_back(attach):
    previous = asyncio.new_event_loop()
    asyncio.set_event_loop(previous)
    try:
        with attach() as loop:
            assert current_loop() is loop
        assert current_loop() is previous
    finally:
        asyncio.set_event_loop(None)
        previous.close()


def test_a_runner_is_used_once_at_a_time(app):
    runner = QiRunner()
    with runner:
        with pytest.raises(RuntimeError, match="already in use"):
            runner.__enter__()
    with runner as loop:
        assert loop.is_running()


def test_exit_cancels_and_awaits_tasks(attach):
    log = []

    async def worker(name):
        try:
            await asyncio.sleep(3600)
        finally:
            await asyncio.sleep(0)
            log.append(name)

    async def generator():
        try:
            while True:
                yield 1
        finally:
            log.append("generator")

    async def iterate(generated):
        async for _ in generated:
            await asyncio.sleep(3600)

    with attach() as loop:
        tasks = [loop.create_task(worker(i)) for i in range(3)]
        generated = generator()
        tasks.append(loop.create_task(iterate(generated)))
        spin_once(loop)
    assert sorted(log[:3], key=str) == [0, 1, 2]
    assert "generator" in log
    assert all(task.cancelled() for task in tasks)


def spin_once(loop):
    ran = []
    loop.call_soon(ran.append, 1)
    spin(lambda: ran)


def test_a_block_that_stopped_the_loop(attach):
    with attach() as loop:
        loop.stop()
        assert asyncio._get_running_loop() is None
    assert loop.is_closed()


def test_a_callback_that_stopped_the_loop(attach):
    ran = []
    with attach() as loop:
        loop.call_soon(loop.stop)
        loop.call_soon(loop.call_soon, ran.append, "queued when it stopped")
        spin(lambda: not loop.is_running())
        assert ran == []
    assert ran == ["queued when it stopped"]


def test_the_exception_of_the_block_comes_out(attach):
    log = []

    async def worker():
        try:
            await asyncio.sleep(3600)
        finally:
            log.append("cleaned up")

    with pytest.raises(LookupError, match="block"):
        with attach() as loop:
            loop.create_task(worker())
            spin_once(loop)
            raise LookupError("block")
    assert log == ["cleaned up"]
    assert loop.is_closed()


@pytest.mark.parametrize("kind", [SystemExit, KeyboardInterrupt])
def test_an_interrupt_in_a_callback_comes_out_of_the_block(attach, kind):
    def fail():
        raise kind(3)

    with pytest.raises(kind) as info:
        with attach() as loop:
            loop.call_soon(fail)
            spin(lambda: not loop.is_running())
    assert info.value.args == (3,)
    assert loop.is_closed()


def test_exceptions_while_cleaning_up_are_reported(attach):
    reports = []

    async def worker():
        try:
            await asyncio.sleep(3600)
        finally:
            raise LookupError("worker")

    with attach() as loop:
        loop.set_exception_handler(lambda loop, context: reports.append(context))
        loop.create_task(worker())
        spin_once(loop)
    assert [type(report["exception"]) for report in reports] == [LookupError]
    reports.clear()


def test_clean_up_after_the_application_was_told_to_exit(run_isolated):
    result = run_isolated("cleanup_after_exit.py")
    assert (result.returncode, result.stdout, result.stderr) == (0, "ok\n", "")


def test_a_task_in_modal_when_the_block_ends(app, attach):
    errors = []

    async def worker():
        try:
            await asyncio.sleep(3600)
        finally:
            try:
                await qtinter.modal(print)()
            except RuntimeError as exc:
                errors.append(str(exc))

    with attach() as loop:
        loop.create_task(worker())
        spin_once(loop)
    assert len(errors) == 1
    assert "not supported in NATIVE mode" in errors[0]


def test_a_task_that_refuses_to_end_is_named(app, attach):
    gate = None

    async def stubborn():
        nonlocal gate
        gate = asyncio.get_running_loop().create_future()
        while not gate.done():
            try:
                await asyncio.shield(gate)
            except asyncio.CancelledError:
                pass

    with pytest.warns(RuntimeWarning, match="stubborn") as caught:
        with attach(shutdown_timeout=0.01) as loop:
            task = loop.create_task(stubborn())
            spin_once(loop)
    assert loop.is_closed()
    text = str(caught[0].message)
    assert "0.01 s" in text
    assert "await asyncio.shield(gate)" in text, "where it is"
    assert not task.done()
    task._log_destroy_pending = False
    gate = None


def test_an_executor_thread_that_does_not_end_is_named(app, attach, caplog):
    release = threading.Event()
    before = threading.enumerate()
    # asyncio gives the threads a name of its own from 3.9 on.
    name = r"asyncio_0" if sys.version_info >= (3, 9) else r"ThreadPoolExecutor-\d+_0"
    try:
        with pytest.warns(RuntimeWarning, match=name):
            with attach(shutdown_timeout=0.01) as loop:
                loop.run_in_executor(None, release.wait)
                spin_once(loop)
    finally:
        release.set()  # or the thread would keep the process from ending
    assert loop.is_closed()
    for thread in threading.enumerate():
        if thread not in before:
            thread.join()
    caplog.clear()  # 3.7 reports that the loop was closed, with frames that hold it


def test_a_quick_executor_is_waited_for_without_a_word(app, attach):
    done = []
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with attach() as loop:
            loop.run_in_executor(None, done.append, 1)
    assert done == [1]


def test_the_function_is_a_decorator(app):
    seen = []

    @using_asyncio_from_qt()
    def function(argument):
        seen.append((argument, asyncio.get_running_loop().is_running()))
        return "result"

    assert function(1) == "result"
    assert function(2) == "result"
    assert seen == [(1, True), (2, True)]


def test_the_loop_is_gone_after_the_block(app, attach):
    with attach() as loop:
        spin_once(loop)
    reference = weakref.ref(loop)
    del loop
    assert reference() is None


# --- using_qt_from_asyncio and run ---------------------------------------------------


async def loop_and_slept():
    await asyncio.sleep(0.001)
    return asyncio.get_running_loop()


def test_asyncio_run_uses_a_qtinter_loop(app, host_name):
    with using_qt_from_asyncio() as nothing:
        assert nothing is None
        loop = asyncio.run(loop_and_slept())
    assert isinstance(loop, qtinter.QiDefaultEventLoop)
    assert loop.is_closed()
    assert loop.host_name == host_name
    assert not isinstance(asyncio.run(loop_and_slept()), qtinter.QiBaseEventLoop)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("fails", [False, True])
def test_the_policy_before_comes_back(app, fails):
    policy = asyncio.DefaultEventLoopPolicy()
    asyncio.set_event_loop_policy(policy)
    try:
        try:
            with using_qt_from_asyncio():
                assert asyncio.get_event_loop_policy() is not policy
                if fails:
                    raise LookupError
        except LookupError:
            assert fails
        assert asyncio.get_event_loop_policy() is policy
    finally:
        asyncio.set_event_loop_policy(None)
    with using_qt_from_asyncio():
        pass
    assert asyncio.events._event_loop_policy is None, "there was none before"


def test_policy_blocks_nest(app):
    with using_qt_from_asyncio():
        outer = asyncio.events._event_loop_policy
        with using_qt_from_asyncio():
            assert asyncio.events._event_loop_policy is not outer
        assert asyncio.events._event_loop_policy is outer
        assert isinstance(asyncio.run(loop_and_slept()), qtinter.QiBaseEventLoop)


def test_qt_is_served_while_coroutines_wait(app, QtCore):
    async def main():
        fired = asyncio.get_running_loop().create_future()
        QtCore.QTimer.singleShot(0, lambda: fired.set_result("fired"))
        return await fired

    with using_qt_from_asyncio():
        assert asyncio.run(main()) == "fired"
    assert qtinter.run(main()) == "fired"


def test_run(app):
    loop = qtinter.run(loop_and_slept(), debug=True)
    assert isinstance(loop, qtinter.QiDefaultEventLoop)
    assert loop.get_debug()
    assert loop.is_closed()

    async def fail():
        raise LookupError("main")

    with pytest.raises(LookupError, match="main"):
        qtinter.run(fail())
    for thing in (None, 5, loop_and_slept):
        with pytest.raises((TypeError, ValueError), match="coroutine"):
            qtinter.run(thing)


def test_run_makes_an_application_for_the_duration(run_isolated):
    result = run_isolated("run_without_application.py")
    assert (result.returncode, result.stdout, result.stderr) == (0, "ok\n", "")


@pytest.mark.parametrize("runner", ["policy", "run"])
def test_from_a_thread_that_is_not_the_main_one(app, runner):
    results = []

    def work():
        if runner == "run":
            results.append(qtinter.run(loop_and_slept()))
        else:
            with using_qt_from_asyncio():
                results.append(asyncio.run(loop_and_slept()))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert isinstance(results[0], qtinter.QiBaseEventLoop)


def test_attached_in_a_qthread(app, QtCore):
    results = []

    class Worker(QtCore.QThread):
        def run(self):
            with using_asyncio_from_qt() as loop:
                task = loop.create_task(loop_and_slept())
                task.add_done_callback(lambda task: self.quit())
                self.exec()
                results.append(task.result() is loop)

    worker = Worker()
    worker.start()
    assert worker.wait(60_000)
    assert results == [True]
