"""Modes, starting, stopping, exit codes and nested Qt loops."""

import asyncio
import threading

import pytest

import qtinter
from qtinter import QiLoopMode

from .driving import MODES, drive, spin


@pytest.fixture
def loop(request):
    loop = qtinter.new_event_loop()
    yield loop
    if loop.is_running():
        loop.stop()
    loop.close()
    request.node.funcargs.clear()  # pytest holds the loop beyond no_leaks otherwise


@pytest.fixture
def guest(app, loop):
    loop.set_mode(QiLoopMode.GUEST)
    return loop


def run_qt(QtCore, milliseconds):
    """A Qt loop of our own for a while."""
    qt_loop = QtCore.QEventLoop()
    QtCore.QTimer.singleShot(milliseconds, qt_loop.quit)
    qt_loop.exec()


# --- modes ---------------------------------------------------------------------------


def test_the_enumeration():
    assert [mode.name for mode in QiLoopMode] == ["OWNER", "GUEST", "NATIVE"]
    assert all(mode.name == mode.value for mode in QiLoopMode)
    assert QiLoopMode.ATTACHED is QiLoopMode.GUEST
    assert QiLoopMode.NESTED is QiLoopMode.OWNER


def test_new_loops_are_owners(loop):
    assert loop.mode is QiLoopMode.OWNER
    for mode in QiLoopMode:
        assert loop.set_mode(mode) is None
        assert loop.mode is mode
    loop.set_guest(True)
    assert loop.mode is QiLoopMode.GUEST
    loop.set_guest(False)
    assert loop.mode is QiLoopMode.OWNER


@pytest.mark.parametrize("mode", ["GUEST", None, 0, QiLoopMode])
def test_a_mode_must_be_a_mode(loop, mode):
    with pytest.raises(TypeError, match="QiLoopMode"):
        loop.set_mode(mode)
    assert loop.mode is QiLoopMode.OWNER


def test_set_mode_errors_in_their_order(app, loop, guest):
    other = qtinter.new_event_loop()
    guest.start()
    with pytest.raises(RuntimeError, match="already running"):
        guest.set_mode(QiLoopMode.NATIVE)
    with pytest.raises(RuntimeError, match="while another loop is running"):
        other.set_mode(QiLoopMode.NATIVE)
    other.stop()
    with pytest.raises(RuntimeError, match="while another loop is running"):
        other.set_mode(QiLoopMode.NATIVE)
    guest.stop()
    with pytest.raises(RuntimeError, match="set_mode when the loop is stopping"):
        other.set_mode(QiLoopMode.NATIVE)
    with pytest.raises(RuntimeError, match="set_mode when the loop is stopping"):
        other.set_mode("nonsense")
    other.close()
    with pytest.raises(RuntimeError, match="Event loop is closed"):
        other.set_mode(QiLoopMode.NATIVE)


@pytest.mark.parametrize("mode", [QiLoopMode.OWNER, QiLoopMode.NATIVE])
def test_start_is_for_guests(app, loop, mode):
    loop.set_mode(mode)
    with pytest.raises(RuntimeError, match="operating in GUEST mode"):
        loop.start()
    assert not loop.is_running()


def test_start_returns_at_once_and_runs_nothing(guest):
    ran = []
    guest.call_soon(ran.append, 1)
    assert guest.start() is None
    assert guest.is_running()
    assert asyncio.get_running_loop() is guest
    assert ran == []
    with pytest.raises(RuntimeError, match="already running"):
        guest.start()
    with pytest.raises(RuntimeError, match="running"):
        guest.close()
    spin(lambda: ran)
    guest.stop()
    guest.close()
    with pytest.raises(RuntimeError, match="closed"):
        guest.start()


def test_start_stop_close_without_a_qt_loop(guest):
    guest.start()
    guest.stop()
    assert not guest.is_running()
    guest.close()
    guest.close()
    assert guest.is_closed()


def test_a_guest_starts_again(app, QtCore, guest):
    ran = []
    for i in range(3):
        guest.start()
        guest.call_soon(ran.append, i)
        run_qt(QtCore, 0)
        spin(lambda i=i: len(ran) > i)
        guest.stop()
        run_qt(QtCore, 0)
    assert ran == [0, 1, 2]


def test_a_guest_is_not_run(guest):
    with pytest.raises(RuntimeError, match=r"run_forever cannot.*in GUEST mode"):
        guest.run_forever()

    async def main():
        raise AssertionError("not run")

    coroutine = main()
    with pytest.raises(RuntimeError, match=r"run_until_complete cannot.*GUEST mode"):
        guest.run_until_complete(coroutine)
    coroutine.close()
    with pytest.raises(
        RuntimeError,
        match="stop can only be called when a loop operating in GUEST mode is running",
    ):
        guest.stop()


def test_everything_that_runs_needs_an_open_loop(app, loop):
    loop.close()
    for call in (loop.run_forever, loop.start, loop._run_forever_setup):
        with pytest.raises(RuntimeError, match="closed"):
            call()
    future = asyncio.Future(loop=loop)
    with pytest.raises(RuntimeError, match="closed"):
        loop.run_until_complete(future)


def test_another_loop_on_the_thread_is_refused(guest):
    other = qtinter.new_event_loop()
    guest.start()
    for mode in MODES:
        with pytest.raises(RuntimeError, match="another loop is running"):
            other._mode = {
                "native": QiLoopMode.NATIVE,
                "nested": QiLoopMode.OWNER,
                "attached": QiLoopMode.GUEST,
            }[mode]
            other.start() if mode == "attached" else other.run_forever()
        assert asyncio.get_running_loop() is guest
    other.close()
    guest.stop()


def test_native_mode_wants_no_qt(run_isolated):
    result = run_isolated("native_without_qt.py")
    assert (result.returncode, result.stdout) == (0, "ok\n"), result.stderr


def test_without_an_application_object(run_isolated):
    result = run_isolated("no_application.py")
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout.splitlines() == ["attached refused", "nested refused"] * 2


# --- stop ----------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["native", "nested"])
def test_stop_before_the_run_gives_one_iteration(app, loop, mode):
    ran = []

    def first():
        ran.append("first")
        loop.call_soon(ran.append, "second")

    loop.call_soon(first)
    loop.set_mode(QiLoopMode.NATIVE if mode == "native" else QiLoopMode.OWNER)
    loop.stop()
    loop.run_forever()
    assert ran == ["first"]
    loop.stop()
    loop.run_forever()
    assert ran == ["first", "second"]


@pytest.mark.parametrize("mode", MODES)
def test_stop_in_a_callback(app, loop, mode):
    ran = []

    def first():
        loop.stop()
        loop.call_soon(ran.append, "later")

    loop.call_soon(first)
    loop.call_soon(ran.append, "same iteration")
    drive(loop, mode)
    assert ran == ["same iteration"]
    drive_once(loop, mode)
    assert ran == ["same iteration", "later"]


def drive_once(loop, mode):
    loop.call_soon(loop.stop)
    drive(loop, mode)


@pytest.mark.parametrize("mode", ["nested", "attached"])
def test_stop_from_a_slot(app, QtCore, loop, mode):
    """Of a loop that sleeps."""
    states = []

    def slot():
        loop.stop()
        states.append(loop.is_running())

    QtCore.QTimer.singleShot(1, slot)
    drive(loop, mode)
    assert states == [mode == "nested"]
    assert asyncio._get_running_loop() is None
    run_qt(QtCore, 0)  # the binding lets go of the slot


def test_stop_from_another_thread_of_a_guest_is_refused(guest):
    """Nothing may be left half stopped: its Qt objects belong to the loop's thread."""
    guest.start()
    errors = []

    def stop():
        try:
            guest.stop()
        except Exception as exc:
            errors.append((type(exc), str(exc)))

    thread = threading.Thread(target=stop)
    thread.start()
    thread.join()
    assert [kind for kind, _ in errors] == [RuntimeError], errors
    assert "thread" in errors[0][1]
    ran = []
    guest.call_soon(ran.append, 1)
    spin(lambda: ran)
    guest.stop()


@pytest.mark.parametrize("mode", MODES)
def test_run_until_complete_and_stop(app, loop, mode):
    if mode == "attached":
        loop.set_mode(QiLoopMode.GUEST)
        return
    loop.set_mode(QiLoopMode.NATIVE if mode == "native" else QiLoopMode.OWNER)

    async def main():
        await asyncio.sleep(0)
        return 42

    assert loop.run_until_complete(main()) == 42
    future = loop.create_future()
    loop.call_soon(loop.stop)
    with pytest.raises(RuntimeError, match="stopped before Future completed"):
        loop.run_until_complete(future)
    for thing in (None, 5):
        with pytest.raises(TypeError):
            loop.run_until_complete(thing)


def test_closing_while_running(app, loop):
    errors = []

    def callback():
        for call in (loop.close, loop.run_forever):
            try:
                call()
            except RuntimeError as exc:
                errors.append(str(exc))
        loop.stop()

    for mode in MODES:
        loop.call_soon(callback)
        drive(loop, mode)
        assert len(errors) == 2
        assert "Cannot close a running event loop" in errors[0]
        assert "already running" in errors[1]
        errors.clear()


# --- exit codes of Qt loops ----------------------------------------------------------


def test_exit_codes(run_isolated, binding):
    result = run_isolated("exit_codes.py")
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout.splitlines() == [
        "exit before: Qt event loop exited with code '-1'",
        "quit: Event loop stopped before Future completed: the Qt event loop in which "
        "it ran was ended by QCoreApplication.quit(), exit() or something like it, and "
        "not by the asyncio loop",
        "exit 3: Qt event loop exited with code '3'",
        "after application exec: 42",
    ]


def test_leaving_the_qt_loop_does_not_stop_a_guest(app, QtCore, guest):
    ran = []

    def tick():
        ran.append(1)
        guest.call_later(0.001, tick)

    guest.start()
    guest.call_soon(tick)
    spin(lambda: len(ran) >= 3)
    assert guest.is_running()
    before = len(ran)
    assert asyncio.get_running_loop() is guest
    spin(lambda: len(ran) >= before + 3)
    guest.stop()


def test_process_events_is_enough(app, guest):
    ran = []
    guest.start()
    guest.call_soon(ran.append, 1)
    for _ in range(10):
        app.processEvents()
    assert ran == [1]
    guest.stop()


# --- nested Qt loops -----------------------------------------------------------------


@pytest.mark.parametrize("mode", ["nested", "attached"])
def test_a_bare_nested_qt_loop_pauses_asyncio(app, QtCore, loop, mode):
    ran = []

    def callback():
        loop.call_soon(ran.append, "meanwhile")
        loop.call_later(0, ran.append, "timer")
        QtCore.QTimer.singleShot(0, lambda: ran.append("Qt goes on"))
        run_qt(QtCore, 20)
        ran.append("callback ends")
        loop.call_later(0.001, loop.stop)

    loop.call_soon(callback)
    drive(loop, mode)
    assert ran == ["Qt goes on", "callback ends", "meanwhile", "timer"]


def test_a_bare_nested_qt_loop_in_a_slot_pauses_asyncio(
    app, QtCore, run_attached, emitter
):
    """Qt calls the slot, not a turn: its first step has no tasks inside of it."""
    ran = []

    async def other():
        for i in range(3):
            await asyncio.sleep(0.001)
            ran.append(i)

    async def on_none():
        run_qt(QtCore, 20)
        ran.append("the step ends")

    async def main():
        contexts = []
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, context: contexts.append(context))
        slot = qtinter.asyncslot(on_none)
        emitter.none.connect(slot)
        task = loop.create_task(other())
        await asyncio.sleep(0)
        QtCore.QTimer.singleShot(0, emitter.none.emit)
        await asyncio.wait_for(task, 60)
        emitter.none.disconnect(slot)
        assert contexts == []

    run_attached(main())
    assert ran == ["the step ends", 0, 1, 2]


@pytest.mark.parametrize("mode", ["nested", "attached"])
def test_a_modal_qt_loop_does_not_pause_asyncio(app, QtCore, loop, mode):
    ran = []

    async def ticker(qt_loop):
        for i in range(5):
            await asyncio.sleep(0.001)
            ran.append(i)
        qt_loop.quit()

    async def main():
        qt_loop = QtCore.QEventLoop()
        task = loop.create_task(ticker(qt_loop))
        await qtinter.modal(qt_loop.exec)()
        ran.append("modal ended")
        await task
        loop.stop()

    task = loop.create_task(main())
    drive(loop, mode)
    task.result()
    assert ran == [0, 1, 2, 3, 4, "modal ended"]


@pytest.mark.parametrize("mode", ["nested", "attached"])
def test_stop_during_a_modal_loop(app, QtCore, loop, mode):
    ran = []

    def modal():
        qt_loop = QtCore.QEventLoop()

        def slot():
            loop.stop()
            ran.append(("running", loop.is_running()))
            loop.call_soon(ran.append, "not in this run")
            QtCore.QTimer.singleShot(5, qt_loop.quit)

        QtCore.QTimer.singleShot(0, slot)
        qt_loop.exec()
        ran.append("modal ends")

    loop.call_soon(loop.exec_modal, modal)
    drive(loop, mode)
    assert ran == [("running", True), "modal ends"]


def test_exec_modal_is_not_for_native_mode(loop):
    loop.set_mode(QiLoopMode.NATIVE)
    errors = []

    def callback():
        try:
            loop.exec_modal(print)
        except RuntimeError as exc:
            errors.append(str(exc))
        loop.stop()

    loop.call_soon(callback)
    loop.run_forever()
    assert "not supported in NATIVE mode" in errors[0]


@pytest.mark.parametrize("mode", ["nested", "attached"])
def test_interleaved_code(app, QtCore, loop, mode):
    """call_soon, call_later, create_task of a slot wake a sleeping loop, later."""
    ran = []

    async def coroutine():
        ran.append(("task", asyncio.current_task() is not None))

    def slot():
        assert asyncio.get_running_loop() is loop
        assert asyncio.current_task() is None
        loop.call_soon(ran.append, "soon")
        loop.create_task(coroutine())
        loop.call_later(0.001, ran.append, "later")
        loop.call_later(0.002, loop.stop)
        ran.append("slot ends")

    QtCore.QTimer.singleShot(1, slot)
    drive(loop, mode)
    assert ran == ["slot ends", "soon", ("task", True), "later"]


@pytest.mark.parametrize("mode", ["nested", "attached"])
def test_qt_events_are_served_between_turns(app, QtCore, loop, mode):
    """10,000 callbacks that never end do not keep a 5 ms timer from its ticks."""
    ticks = []
    timer = QtCore.QTimer()
    timer.timeout.connect(lambda: ticks.append(1) or (len(ticks) == 5 and loop.stop()))
    timer.start(5)

    def again():
        if len(ticks) < 5:
            loop.call_soon(again)

    for _ in range(10_000):
        loop.call_soon(again)
    drive(loop, mode)
    timer.stop()
    timer.timeout.disconnect()
    run_qt(QtCore, 0)  # the binding lets go of the slot
    assert len(ticks) >= 5
    assert loop.statistics()["slices"] >= 4  # one between each tick and the next


def test_loops_in_threads_know_nothing_of_each_other(app):
    results = {}

    def work(number):
        async def main():
            await asyncio.sleep(0.001)
            results[number] = asyncio.get_running_loop()

        loop = qtinter.new_event_loop()
        try:
            loop.run_until_complete(main())
        finally:
            loop.close()

    threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(map(id, results.values()))) == 4
