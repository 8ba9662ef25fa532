"""What users of such loops ran into: the loop, Qt's event loops, shutdown, I/O.

Numbers of pains are those of docs/pains.md, other ids those of tests/statements.ini.
"""

import asyncio
import concurrent.futures
import gc
import heapq
import os
import signal
import socket
import sys
import threading
import weakref

import pytest

import qtinter
from qtinter import asyncsignal, asyncslot

from .driving import MODES, drive, settle, spin


@pytest.fixture
def loop(request, app):
    loop = qtinter.new_event_loop()
    yield loop
    if loop.is_running():
        loop.stop()
    loop.close()
    request.node.funcargs.clear()  # pytest holds the loop beyond no_leaks otherwise


# --- nested Qt loops -----------------------------------------------------------------


def test_slots_run_inside_a_bare_nested_loop(run_qt, emitter, qt, reports):
    """Pain 1, I6, I7: tasks wait, a slot's first part runs, and nothing is confused."""

    async def main():
        contexts, log, outer = reports(), [], asyncio.current_task()

        async def slot():
            log.append(("slot", asyncio.current_task() not in (None, outer)))
            await asyncio.sleep(0)
            log.append("slot resumes")

        async def other():
            log.append("other task")

        emitter.none.connect(asyncslot(slot))
        other_task = asyncio.get_running_loop().create_task(other())
        qt_loop = qt.QtCore.QEventLoop()
        qt.QtCore.QTimer.singleShot(0, emitter.none.emit)
        qt.QtCore.QTimer.singleShot(20, qt_loop.quit)
        qt_loop.exec()
        assert asyncio.current_task() is outer
        log.append("nested loop ended")
        await settle()
        assert log == [
            ("slot", True),
            "nested loop ended",
            "other task",
            "slot resumes",
        ]
        assert other_task.done()
        assert contexts == []

    run_qt(main())


def test_a_run_inside_a_running_qt_loop(app, QtCore):
    """R2: it nests; the outer Qt loop goes on afterwards."""
    results = []
    qt_loop = QtCore.QEventLoop()

    def slot():
        try:
            results.append(qtinter.run(asyncio.sleep(0.001, "slept")))
        except RuntimeError as exc:
            results.append(exc)  # PyQt would abort
        QtCore.QTimer.singleShot(0, lambda: results.append("outer") or qt_loop.quit())

    QtCore.QTimer.singleShot(0, slot)
    qt_loop.exec()
    assert results == ["slept", "outer"]


def test_waiting_in_a_slot_is_refused_with_a_way_out(run_qt):
    """Pain 6, 1.6/a: run_until_complete() in what the loop or Qt calls."""

    async def main():
        loop = asyncio.get_running_loop()
        future = loop.create_future()
        with pytest.raises(RuntimeError, match=r"already running.*run_task\(\)"):
            loop.run_until_complete(future)
        loop.call_soon(future.set_result, "goes on")
        assert await future == "goes on"

    run_qt(main())


def test_tools_that_step_the_loop_themselves(app, loop):
    """Pain 7: select(), the queues and the handles mean what they mean in asyncio."""

    def run_inside(future):
        while not future.done():
            timeout = None
            if loop._ready:
                timeout = 0
            elif loop._scheduled:
                timeout = max(0, loop._scheduled[0].when() - loop.time())
            loop._process_events(loop._selector.select(timeout))
            now = loop.time() + loop._clock_resolution
            while loop._scheduled and loop._scheduled[0].when() <= now:
                loop._ready.append(heapq.heappop(loop._scheduled))
            for _ in range(len(loop._ready)):
                handle = loop._ready.popleft()
                if not handle.cancelled():
                    handle._run()
        return future.result()

    async def work():
        await asyncio.sleep(0.001)
        ours, theirs = socket.socketpair()
        with ours, theirs:
            ours.setblocking(False)
            loop.call_soon(theirs.send, b"data")
            return await loop.sock_recv(ours, 10)

    results = []

    def callback():
        results.append(run_inside(loop.create_task(work())))
        loop.stop()

    for mode in MODES:
        loop.call_soon(callback)
        drive(loop, mode)
    assert results == [b"data"] * 3


def test_windows_that_close_one_after_the_other(run_qt, qt):
    """Pain 4: the last window of the moment does not end what asyncio waits for."""
    QtWidgets = pytest.importorskip(qt.QtCore.__name__[:-6] + "QtWidgets")
    app = QtWidgets.QApplication.instance()
    before = app.quitOnLastWindowClosed()
    app.setQuitOnLastWindowClosed(True)

    async def main():
        results = []
        for close in ("accept", "reject"):
            dialog = QtWidgets.QDialog()
            dialog.show()
            qt.QtCore.QTimer.singleShot(0, getattr(dialog, close))
            results.append(int(await asyncsignal(dialog.finished)))
            await asyncio.sleep(0.01)
        return results

    try:
        assert run_qt(main()) == [1, 0]
    finally:
        app.setQuitOnLastWindowClosed(before)


# --- ends ----------------------------------------------------------------------------


def test_the_error_says_that_qt_ended_the_loop(run_isolated):
    """Pains 8, 10, 18, O6, O7: the error names Qt, and run() cleans up without it."""
    result = run_isolated("exit_during_run.py")
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout.splitlines() == [
        "quit: Event loop stopped before Future completed: the Qt event loop in which "
        "it ran was ended by QCoreApplication.quit(), exit() or something like it, and "
        "not by the asyncio loop",
        "cleaned up",
        "qtinter.run: Event loop stopped before Future completed",
        "cleaned up",
        "qtinter.run: Qt event loop exited with code '3'",
        "asyncio.run: Qt event loop exited with code '-1'",
    ]


def test_clean_up_delivers_no_event_of_qt(app, QtCore):
    """A13: on the way out of the block asyncio runs alone."""
    log = []

    async def work():
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            QtCore.QTimer.singleShot(0, lambda: log.append("Qt"))
            await asyncio.sleep(0.01)
            log.append("cleaned up")

    with qtinter.using_asyncio_from_qt():
        qtinter.run_task(work())
    assert log == ["cleaned up"]
    spin(lambda: len(log) == 2)
    assert log == ["cleaned up", "Qt"]


def test_a_foreign_current_loop(app):
    """Pain 30: others set, close and reset the thread's current loop meanwhile."""
    before = asyncio.new_event_loop()
    asyncio.set_event_loop(before)
    with qtinter.using_asyncio_from_qt() as loop:
        other = asyncio.new_event_loop()
        asyncio.set_event_loop(other)
        other.close()
        task = loop.create_task(asyncio.sleep(0.001, "slept"))
        spin(task.done)
        assert task.result() == "slept"
        asyncio.set_event_loop(None)
        assert asyncio.get_running_loop() is loop
    assert qtinter._policy.current_event_loop() is before
    asyncio.set_event_loop(None)
    before.close()


def test_the_policy_is_left_alone(app):
    """Pains 63 and 65, O3, 1.4/h: loops come from factories."""
    seen = []

    async def look():
        seen.append(
            (type(asyncio.get_running_loop()), asyncio.events._event_loop_policy)
        )

    before = asyncio.events._event_loop_policy
    with qtinter.using_asyncio_from_qt() as loop:
        spin(loop.create_task(look()).done)
    if sys.version_info >= (3, 11):
        qtinter.run(look())
        with asyncio.Runner(loop_factory=qtinter.new_event_loop) as runner:
            runner.run(look())
    if sys.version_info >= (3, 12):
        asyncio.run(look(), loop_factory=qtinter.new_event_loop)
    assert set(seen) == {(qtinter.QiDefaultEventLoop, before)}
    assert asyncio.events._event_loop_policy is before


# --- order and cost ------------------------------------------------------------------


def test_eight_hundred_sleepers(run_qt):
    """R16."""

    async def sleeper(steps):
        for _ in range(steps):
            await asyncio.sleep(0.008 / steps)
        return steps

    async def main():
        counts = [8, 4, 2, 1] * 200
        assert await asyncio.gather(*map(sleeper, counts)) == counts

    run_qt(main())


@pytest.mark.parametrize("mode", ["nested", "attached"])
def test_order_under_load_of_the_window(app, QtCore, loop, mode):
    """Pain 37: first in, first out, whoever calls call_soon() and when."""
    ran, numbers = [], iter(range(10**9))

    def add(times):
        loop.call_soon(callback, next(numbers), times)

    def callback(number, times):
        ran.append(number)
        if len(ran) == 3000:
            loop.stop()
        if times:
            add(times - 1)

    timer = QtCore.QTimer()
    timer.timeout.connect(lambda: [add(50) for _ in range(3)])
    timer.start(0)
    loop.slice_ms = 0.1  # many turns
    drive(loop, mode)
    timer.stop()
    timer.timeout.disconnect()
    assert len(ran) >= 3000
    assert ran == list(range(len(ran)))
    loop._ready.clear()


def test_slots_that_leave_the_loop_alone_cost_it_nothing(app, QtCore):
    """I3."""
    slots = []
    timer = QtCore.QTimer()
    timer.timeout.connect(lambda: slots.append(1))
    with qtinter.using_asyncio_from_qt() as loop:
        waiting = loop.create_task(asyncio.sleep(3600))
        spin(lambda: loop.statistics()["callbacks"])
        timer.start(0)
        before = loop.statistics()
        spin(lambda: len(slots) >= 100)
        assert loop.statistics() == before
        timer.stop()
    timer.timeout.disconnect()
    assert waiting.cancelled()


def test_a_connection_with_nothing_to_say_costs_nothing(app, QtCore):
    """Pain 33: a write watch ends with the write, and nothing polls."""
    size = 1 << 20

    async def serve(reader, writer):
        writer.write(await reader.readexactly(size))
        await writer.drain()
        await reader.read()
        writer.close()
        await writer.wait_closed()
        served.set()

    async def talk():
        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        address = server.sockets[0].getsockname()
        reader, writer = await asyncio.open_connection(*address)
        writer.write(bytes(size))  # more than the socket takes at once
        await reader.readexactly(size)
        return server, writer

    async def end(server, writer):
        writer.close()
        await writer.wait_closed()
        await served.wait()
        server.close()
        await server.wait_closed()

    slots = []
    timer = QtCore.QTimer()
    timer.timeout.connect(lambda: slots.append(1))
    with qtinter.using_asyncio_from_qt() as loop:
        served = asyncio.Event()
        task = loop.create_task(talk())
        spin(task.done)
        spin(loop.create_task(asyncio.sleep(0.01)).done)
        before = loop.statistics()
        timer.start(1)
        spin(lambda: len(slots) >= 30)
        assert loop.statistics() == before
        timer.stop()
        spin(loop.create_task(end(*task.result())).done)
    timer.timeout.disconnect()


def test_ten_thousand_timers_are_one_to_the_system(app, QtCore):
    """Pain 36: no Qt timer, descriptor or thread for each of them."""

    def census():
        gc.collect()
        return (
            sum(isinstance(obj, QtCore.QTimer) for obj in gc.get_objects()),
            len(os.listdir("/proc/self/fd")),
            threading.active_count(),
        )

    with qtinter.using_asyncio_from_qt() as loop:
        spin(loop.create_task(asyncio.sleep(0.001)).done)
        before = census()
        ran = []
        for i in range(10_000):
            loop.call_later(0.001 * (i % 7), ran.append, i)
            loop.call_later(3600, ran.append, i)
        assert census() == before
        spin(lambda: len(ran) == 10_000)
        assert census() == before


def test_streaming_a_pipe_takes_a_turn_for_each_read(app):
    """Pain 35: a subprocess that writes a lot costs no extra rounds of Qt."""
    size = 4 << 20
    code = f"import sys; sys.stdout.buffer.write(bytes({size}))"
    reads = []

    class Protocol(asyncio.SubprocessProtocol):
        def pipe_data_received(self, fd, data):
            reads.append(len(data))

        def process_exited(self):
            exited.append(1)

    exited = []
    with qtinter.using_asyncio_from_qt() as loop:
        task = loop.create_task(
            loop.subprocess_exec(Protocol, sys.executable, "-c", code)
        )
        spin(lambda: exited and sum(reads) == size)
        transport, _ = task.result()
        transport.close()
        assert loop.statistics()["polls"] <= 2 * len(reads) + 50


# --- signals -------------------------------------------------------------------------


@pytest.fixture
def default_sigint():
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("signum", [signal.SIGCHLD, signal.SIGINT])
@pytest.mark.parametrize("removed", [False, True])
def test_ctrl_c_beside_signal_handlers(loop, default_sigint, mode, signum, removed):
    """E5: handlers that were added, or added and removed, do not spoil Ctrl+C."""
    got = []
    # The signal arrives while the loop sleeps and nothing else will wake it.
    thread = threading.Timer(0.05, os.kill, (os.getpid(), signal.SIGINT))

    def handler():
        got.append("handler")
        loop.stop()

    def prepare():
        loop.add_signal_handler(signum, handler)
        if removed:
            loop.remove_signal_handler(signum)
        thread.start()

    loop.call_soon(prepare)
    if signum == signal.SIGINT and not removed:
        drive(loop, mode)
        assert got == ["handler"]
    else:
        with pytest.raises(KeyboardInterrupt):
            drive(loop, mode)
        assert got == []
    thread.join()
    loop.remove_signal_handler(signum)


@pytest.mark.parametrize("mode", MODES)
def test_a_signal_handler_waits_for_the_callback(loop, mode):
    """E6: it is a callback itself and interrupts none."""
    log = []

    def handler():
        log.append("handler")
        loop.stop()

    def callback():
        os.kill(os.getpid(), signal.SIGINT)
        log.append("callback ends")

    loop.add_signal_handler(signal.SIGINT, handler)
    loop.call_soon(callback)
    drive(loop, mode)
    loop.remove_signal_handler(signal.SIGINT)
    assert log == ["callback ends", "handler"]


@pytest.mark.parametrize("mode", ["nested", "attached"])
@pytest.mark.parametrize("kind", [SystemExit, KeyboardInterrupt])
def test_a_modal_function_outlives_an_interrupt(loop, mode, kind):
    """X9: it is called when the loop runs next."""
    log = []

    def callback():
        loop.exec_modal(lambda: log.append("modal"))
        raise kind(3)

    loop.call_soon(callback)
    with pytest.raises(kind):
        drive(loop, mode)
    assert log == []
    loop.call_later(0.001, loop.stop)
    drive(loop, mode)
    assert log == ["modal"]


# --- I/O -----------------------------------------------------------------------------


def test_readers_are_level_triggered(run_qt):
    """Pain 44: as long as something is left to read, the reader is called."""

    async def main():
        loop = asyncio.get_running_loop()
        ours, theirs = socket.socketpair()
        got, done = [], loop.create_future()

        def readable():
            got.append(ours.recv(1))
            if len(got) == 5:
                done.set_result(None)

        with ours, theirs:
            loop.add_reader(ours, readable)
            theirs.send(b"hello")
            await done
            await settle()
            loop.remove_reader(ours)
        assert b"".join(got) == b"hello"

    run_qt(main())


def test_what_completes_after_it_was_cancelled(run_qt, reports):
    """Pain 23: the completion is dropped, and nobody hears of it."""

    async def main():
        contexts, loop = reports(), asyncio.get_running_loop()
        ours, theirs = socket.socketpair()
        with ours, theirs:
            ours.setblocking(False)
            receiving = loop.create_task(loop.sock_recv(ours, 10))
            await settle()
            theirs.send(b"x")
            receiving.cancel()
            gate, executor = threading.Event(), concurrent.futures.ThreadPoolExecutor()
            working = loop.run_in_executor(executor, gate.wait)
            await settle()
            working.cancel()
            gate.set()
            results = await asyncio.gather(receiving, working, return_exceptions=True)
            assert [type(result) for result in results] == [asyncio.CancelledError] * 2
            executor.shutdown()
            await settle()
            assert ours.recv(10) == b"x", "the cancelled wait took nothing"
        assert contexts == []

    run_qt(main())


@pytest.mark.skipif(
    sys.version_info < (3, 8), reason="3.7 watches children in the main thread's loop"
)
@pytest.mark.parametrize("kind", ["thread", "QThread"])
def test_subprocesses_of_a_loop_in_another_thread(app, QtCore, kind):
    """Pain 41: attached in a QThread, nested in a Python thread."""
    results = []

    async def main():
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", "print('hello')", stdout=asyncio.subprocess.PIPE
        )
        output, _ = await process.communicate()
        return output.split(), process.returncode

    class Worker(QtCore.QThread):
        def run(self):
            with qtinter.using_asyncio_from_qt() as loop:
                task = loop.create_task(main())
                task.add_done_callback(lambda task: self.quit())
                self.exec()
                results.append(task.result())

    if kind == "QThread":
        worker = Worker()
        worker.start()
        assert worker.wait(60_000)
    else:
        thread = threading.Thread(target=lambda: results.append(qtinter.run(main())))
        thread.start()
        thread.join(60)
    assert results == [([b"hello"], 0)]


def test_the_executor_is_the_standard_one(run_qt):
    """Pain 64: any executor can be set, and results are not kept."""

    class Result:
        pass

    async def main():
        loop = asyncio.get_running_loop()
        with concurrent.futures.ThreadPoolExecutor(1, "mine") as executor:
            loop.set_default_executor(executor)
            name = await loop.run_in_executor(
                None, lambda: threading.current_thread().name
            )
            assert name.startswith("mine")
            references = []

            def work():
                result = Result()
                references.append(weakref.ref(result))
                return result

            await loop.run_in_executor(None, work)
            # The worker drops its own reference after it has told us.
            await loop.run_in_executor(None, int)
            assert references[0]() is None

    run_qt(main())


def test_qtcore_is_enough(run_isolated):
    """Pain 52, B10: no module of widgets or of the GUI is imported."""
    result = run_isolated("only_qtcore.py")
    assert (result.returncode, result.stdout, result.stderr) == (0, "ok\n", "")
