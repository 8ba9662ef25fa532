"""Loops in threads that Python or Qt started, and calls from other threads.

Kinds of thread:

    python      threading.Thread
    qthread     a QThread with a run() of the program's own
    qt exec     a QThread that runs Qt's own exec(); Python code runs in slots only
"""

import asyncio
import concurrent.futures
import gc
import random
import socket
import subprocess
import sys
import threading
import warnings

import pytest

import qtinter
from qtinter import QiLoopMode

from .driving import MODES, shut_down_executor
from .in_threads import DEFERRED_DELETE, SAFETY_NET, THREADS, run, run_on

# --- one loop ------------------------------------------------------------------------


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("thread", THREADS)
def test_a_loop_in_a_thread(start_thread, thread, mode):
    """Timers, tasks, generators, executors, sockets: all on the thread of the loop."""

    async def main(loop):
        where = {threading.get_ident()}

        async def numbers():
            for i in range(3):
                await asyncio.sleep(0.001)
                where.add(threading.get_ident())
                yield i

        assert asyncio.get_running_loop() is loop
        assert [i async for i in numbers()] == [0, 1, 2]
        elsewhere = await loop.run_in_executor(None, threading.get_ident)
        assert elsewhere != threading.get_ident()
        ours, theirs = socket.socketpair()
        with ours, theirs:
            ours.setblocking(False)
            theirs.send(b"data")
            assert await loop.sock_recv(ours, 10) == b"data"
        await shut_down_executor(loop)
        return where

    join = start_thread(thread, lambda: (run(mode, main), threading.get_ident()))
    where, ident = join()
    assert where == {ident}
    assert ident != threading.get_ident()


@pytest.mark.skipif(
    sys.version_info < (3, 8), reason="3.7 watches children in the main thread's loop"
)
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("thread", THREADS)
def test_a_subprocess_of_a_thread(start_thread, thread, mode):
    async def main(loop):
        code = "import sys; print(sys.stdin.read().upper()); sys.exit(3)"
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", code),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        out, _ = await process.communicate(b"text")
        return out, process.returncode

    assert start_thread(thread, run, mode, main)() == (b"TEXT\n", 3)


# --- Qt's own exec() in a QThread ----------------------------------------------------


def test_attached_to_qts_own_loop_of_a_qthread(in_qt_thread):
    """What asyncio keeps per thread outlives the slot that attached the loop."""
    loop = qtinter.new_event_loop()
    loop.set_mode(QiLoopMode.GUEST)
    log = []

    async def numbers():
        yield 1
        yield 2

    async def main(done):
        log.append(asyncio.get_running_loop() is loop)
        await asyncio.sleep(0.001)
        log.append(asyncio.get_running_loop() is loop)
        abandoned = numbers()
        log.append(await abandoned.__anext__())
        log.append(len(loop._asyncgens))
        assert await loop.run_in_executor(None, lambda: 42) == 42
        await shut_down_executor(loop)
        await loop.shutdown_asyncgens()
        done()

    def attach(done):
        loop.start()
        done()

    def use(done):
        log.append(asyncio.get_running_loop() is loop)
        loop.main = asyncio.create_task(main(done))

    def detach(done):
        loop.main.result()
        loop.stop()
        log.append(asyncio._get_running_loop())
        loop.close()
        done()

    in_qt_thread(attach, use, detach)
    assert log == [True, True, True, 1, 1, None]


def test_a_block_in_a_slot_of_a_qthread(in_qt_thread, QtCore):
    got = []

    def slot(done):
        with qtinter.using_asyncio_from_qt() as loop:
            qt_loop = QtCore.QEventLoop()
            loop.create_task(asyncio.sleep(0.001, "slept")).add_done_callback(
                lambda task: got.append(task.result()) or qt_loop.quit()
            )
            (qt_loop.exec if hasattr(qt_loop, "exec") else qt_loop.exec_)()
        done()

    in_qt_thread(slot, slot)
    assert got == ["slept"] * 2


def test_asyncslot_in_a_qthread(in_qt_thread, qt, QtCore):
    """The slot runs, to its end, on the thread of its loop."""
    got = []
    emitter = qt.Emitter()
    loop = qtinter.new_event_loop()
    loop.set_mode(QiLoopMode.GUEST)

    def attach(done):
        loop.start()
        got.append(threading.get_ident())

        @qtinter.asyncslot
        async def slot(number):
            await asyncio.sleep(0.001)
            got.append((number, threading.get_ident()))
            if number == 2:
                done()

        emitter.one.connect(slot)
        threading.Thread(target=lambda: [emitter.one.emit(i) for i in range(3)]).start()

    def detach(done):
        loop.stop()
        loop.close()
        done()

    in_qt_thread(attach, detach)
    ident, *calls = got
    assert calls == [(i, ident) for i in range(3)]
    assert ident != threading.get_ident()
    qt.delete(emitter)


# --- several loops -------------------------------------------------------------------


def test_loops_of_several_threads_with_signals_and_timers(start_thread, qt, QtCore):
    """Each loop gets what is sent to it, and nothing that is sent to others."""
    loops, rounds = 6, 50
    ready = [threading.Event() for _ in range(loops)]
    emitters = [qt.Emitter() for _ in range(loops)]

    def work(number, mode):
        got, ticks = [], []

        async def main(loop):
            finished = loop.create_future()

            @qtinter.asyncslot
            async def slot(value, text):
                await asyncio.sleep(0)
                got.append((value, text, threading.get_ident()))
                if len(got) == rounds:
                    finished.set_result(None)

            async def tick():
                for i in range(rounds):
                    await asyncio.sleep(0.0005)
                    ticks.append(i)

            emitters[number].two.connect(slot)
            ready[number].set()
            await asyncio.gather(finished, tick())
            emitters[number].two.disconnect(slot)

        run(mode, main)
        # PyQt holds what was connected until its proxy is deleted, on this thread.
        QtCore.QCoreApplication.sendPostedEvents(None, DEFERRED_DELETE)
        return got, ticks, threading.get_ident()

    joins = [
        start_thread(THREADS[i % 2], work, i, ("nested", "attached")[i // 2 % 2])
        for i in range(loops)
    ]
    for event in ready:
        assert event.wait(SAFETY_NET)
    for value in range(rounds):
        for number, emitter in enumerate(emitters):
            emitter.two.emit(value, str(number))
    for number, join in enumerate(joins):
        got, ticks, ident = join()
        assert got == [(value, str(number), ident) for value in range(rounds)]
        assert ticks == list(range(rounds))
    for emitter in emitters:
        qt.delete(emitter)


def test_a_loop_moves_between_threads(app, start_thread):
    """Made here, run in two other threads one after the other, closed here."""
    loop = qtinter.new_event_loop()
    idents = []

    async def main(loop):
        await asyncio.sleep(0.001)
        idents.append(threading.get_ident())
        return await loop.run_in_executor(None, int)

    for mode in MODES:
        for thread in THREADS:
            assert start_thread(thread, run_on, loop, mode, main)() == 0
        run_on(loop, mode, main)
    assert len(idents) == 3 * len(MODES)
    assert idents[2] == threading.get_ident()
    assert not loop.is_running()
    loop.close()


# --- calls from other threads --------------------------------------------------------


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("thread", ["main", *THREADS])
def test_call_soon_threadsafe_from_ten_threads(app, start_thread, thread, mode):
    """Every call runs once, on the loop's thread, in the order of its thread."""
    senders, calls = 10, 1000

    async def main(loop):
        here = threading.get_ident()
        got = [[] for _ in range(senders)]
        finished = loop.create_future()
        busy = loop.create_task(load())

        def receive(sender, number):
            assert threading.get_ident() == here
            got[sender].append(number)
            if number == calls - 1 and all(len(each) == calls for each in got):
                finished.set_result(None)

        def send(sender):
            for number in range(calls):
                loop.call_soon_threadsafe(receive, sender, number)

        threads = [threading.Thread(target=send, args=(i,)) for i in range(senders)]
        for each in threads:
            each.start()
        await finished
        for each in threads:
            each.join()
        busy.cancel()
        return got

    async def load():
        while True:
            await asyncio.sleep(0)

    if thread == "main":
        got = run(mode, main)
    else:
        got = start_thread(thread, run, mode, main)()
    assert got == [list(range(calls))] * senders


@pytest.mark.parametrize("mode", MODES)
def test_call_soon_threadsafe_wakes_a_loop_that_sleeps(app, mode):
    """One call at a time: a wakeup that got lost would leave the loop asleep."""
    rounds = 2000

    async def main(loop):
        seen = threading.Semaphore(0)
        got = []
        finished = loop.create_future()

        def receive(number):
            got.append(number)
            seen.release()
            if number == rounds - 1:
                finished.set_result(None)

        def send():
            for number in range(rounds):
                loop.call_soon_threadsafe(receive, number)
                assert seen.acquire(timeout=SAFETY_NET)

        thread = threading.Thread(target=send)
        thread.start()
        await finished
        thread.join()
        return got

    assert run(mode, main) == list(range(rounds))


@pytest.mark.parametrize("mode", MODES)
def test_run_coroutine_threadsafe(app, mode):
    """Results, exceptions and cancellation go back to the thread that asked."""
    senders, calls = 10, 50

    async def main(loop):
        async def answer(sender, number):
            await asyncio.sleep(0)
            if number % 10 == 9:
                raise KeyError(sender, number)
            return sender, number, threading.get_ident()

        def ask(sender):
            futures = [
                asyncio.run_coroutine_threadsafe(answer(sender, number), loop)
                for number in range(calls)
            ]
            return [
                future.exception(SAFETY_NET) or future.result() for future in futures
            ]

        def cancel():
            future = asyncio.run_coroutine_threadsafe(asyncio.sleep(3600), loop)
            return future.cancel(), future.cancelled()

        with concurrent.futures.ThreadPoolExecutor(senders) as pool:
            asked = [loop.run_in_executor(pool, ask, i) for i in range(senders)]
            answers = await asyncio.gather(*asked)
            assert await loop.run_in_executor(pool, cancel) == (True, True)
        while len(asyncio.all_tasks()) > 2:  # this one, and wait_for's in old Pythons
            await asyncio.sleep(0)
        return answers, threading.get_ident()

    answers, ident = run(mode, main)
    for sender, mine in enumerate(answers):
        for number, got in enumerate(mine):
            if number % 10 == 9:
                assert isinstance(got, KeyError)
                assert got.args == (sender, number)
            else:
                assert got == (sender, number, ident)


@pytest.mark.parametrize("thread", THREADS)
@pytest.mark.parametrize("mode", ["nested", "attached"])
def test_asyncslots_of_signals_from_other_threads(
    app, start_thread, qt, emitter, mode, thread
):
    senders, emissions = 4, 200

    async def main(loop):
        got = [[] for _ in range(senders)]
        finished = loop.create_future()

        @qtinter.asyncslot
        async def slot(number, sender):
            begun = threading.get_ident()
            await asyncio.sleep(0)
            got[int(sender)].append((number, begun, threading.get_ident()))
            if sum(map(len, got)) == senders * emissions:
                finished.set_result(None)

        emitter.two.connect(slot)

        def emit(sender):
            for number in range(emissions):
                emitter.two.emit(number, sender)

        joins = [start_thread(thread, emit, str(i)) for i in range(senders)]
        await finished
        for join in joins:
            join()
        emitter.two.disconnect(slot)
        return got

    got = run(mode, main)
    here = threading.get_ident()
    assert got == [[(i, here, here) for i in range(emissions)]] * senders


class Interloper(qtinter.QiSelectorEventLoop):
    """call_soon(), and right after it two calls come in from another thread."""

    def call_soon(self, callback, *args, context=None):
        handle = super().call_soon(callback, *args, context=context)
        if self.intrusions:
            intrusions, self.intrusions = self.intrusions, []
            thread = threading.Thread(
                target=lambda: [self.call_soon_threadsafe(*each) for each in intrusions]
            )
            thread.start()
            thread.join()
        return handle


@pytest.mark.skipif(
    sys.version_info >= (3, 12),
    reason="from Python 3.12 on the first step has no handle to be found",
)
@pytest.mark.parametrize("mode", MODES)
def test_a_first_step_among_calls_from_other_threads(app, mode):
    """run_task() finds its handle, and leaves the order of the others alone."""
    log = []

    async def child():
        log.append("first step")
        await asyncio.sleep(0)
        log.append("second step")

    async def main(loop):
        loop.intrusions = [(log.append, "one"), (log.append, "two")]
        task = qtinter.run_task(child())
        log.append("run_task returned")
        await task

    loop = Interloper()
    loop.intrusions = []
    run_on(loop, mode, main)
    loop.close()
    assert log == ["first step", "run_task returned", "one", "two", "second step"]


# --- the wrong thread ----------------------------------------------------------------


WRONG_CALLS = {
    "call_soon": lambda loop: loop.call_soon(int),
    "call_later": lambda loop: loop.call_later(3600, int),
    "call_at": lambda loop: loop.call_at(loop.time() + 3600, int),
    "create_task": lambda loop: loop.create_task(asyncio.sleep(0)),
    "ensure_future": lambda loop: asyncio.ensure_future(asyncio.sleep(0), loop=loop),
    "create_future": lambda loop: loop.create_future().set_result(None),
    "future's callback": lambda loop: done_future(loop).add_done_callback(id),
    "run_in_executor": lambda loop: loop.run_in_executor(None, int),
    "run_until_complete": lambda loop: loop.run_until_complete(loop.create_future()),
    "run_forever": lambda loop: loop.run_forever(),
    "close": lambda loop: loop.close(),
    "set_debug": lambda loop: loop.set_debug(True),
    "add_signal_handler": lambda loop: loop.add_signal_handler(10, int),
    "asyncgens": lambda loop: loop.run_until_complete(loop.shutdown_asyncgens()),
}


def done_future(loop):
    future = loop.create_future()
    future.set_result(None)
    return future


def try_from_another_thread(loop, call, set_debug):
    """(type, text) of what call(loop) raised in a thread while the loop runs here."""
    raised = []

    def attempt():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of coroutines that are never awaited
            try:
                call(loop)
            except BaseException as exc:
                raised.append((type(exc), str(exc)))
            else:
                raised.append(None)
            gc.collect()

    async def main():
        loop.set_debug(set_debug)
        thread = threading.Thread(target=attempt)
        thread.start()
        while thread.is_alive():
            await asyncio.sleep(0.001)
        loop.set_debug(False)
        await asyncio.sleep(0)
        return raised[0]

    return main()


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("debug", [True, False])
@pytest.mark.parametrize("name", WRONG_CALLS)
def test_the_wrong_thread_is_told_what_asyncio_tells_it(app, name, debug, mode):
    """And the loop goes on."""
    call = WRONG_CALLS[name]

    async def main(loop):
        return await try_from_another_thread(loop, call, debug)

    theirs = asyncio.new_event_loop()
    try:
        expected = theirs.run_until_complete(main(theirs))
        theirs.run_until_complete(shut_down_executor(theirs))
    finally:
        theirs.close()
    loop = qtinter.new_event_loop()
    try:
        got = run_on(loop, mode, main)
        loop.set_mode(QiLoopMode.NATIVE)
        loop.run_until_complete(shut_down_executor(loop))
    finally:
        loop.close()
    assert got == expected
    if debug and name in ("call_soon", "call_later", "call_at", "create_task"):
        assert got == (
            RuntimeError,
            "Non-thread-safe operation invoked on an event loop other than the current "
            "one",
        )


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("held", [False, True])
def test_the_wrong_thread_does_no_harm(app, mode, held):
    """Not allowed, not noticed without debug mode, and still every call counts.

    held: somebody holds the loop's ready queue as a Python object meanwhile.  (Whoever
    holds the timers gets asyncio's own code, in which such a thread may fail.)
    """
    senders, rounds = 6, 400

    async def main(loop):
        counts = {"soon": 0, "later": 0, "at": 0, "task": 0, "cancelled": 0, "read": 0}
        ours, theirs = socket.socketpair()
        theirs.setblocking(False)

        def count(name):
            counts[name] += 1

        async def count_task():
            count("task")

        def intrude(seed):
            choose = random.Random(seed)
            mine = ours.dup()
            for _ in range(rounds):
                loop.call_soon(count, "soon")
                loop.call_later(choose.random() / 100, count, "later")
                loop.call_at(loop.time(), count, "at")
                tasks.append(loop.create_task(count_task()))
                loop.call_soon(int).cancel()  # which may come too late
                loop.call_later(3600, count, "cancelled").cancel()
                loop.add_reader(mine, count, "read")
                loop.add_writer(theirs, int)
                loop.remove_writer(theirs)
                loop.remove_reader(mine)
            mine.close()

        tasks = []
        queue = loop._ready if held else None
        with concurrent.futures.ThreadPoolExecutor(senders) as pool:
            intruders = [loop.run_in_executor(pool, intrude, i) for i in range(senders)]
            while not all(each.done() for each in intruders):
                await asyncio.sleep(0.0001)
            await asyncio.gather(*intruders)
        await asyncio.gather(*tasks)
        del queue
        await asyncio.sleep(0.02)  # later than every timer above
        ours.close()
        theirs.close()
        return counts

    total = senders * rounds
    assert run(mode, main) == {
        **dict.fromkeys(("soon", "later", "at", "task"), total),
        **{"cancelled": 0, "read": 0},
    }
