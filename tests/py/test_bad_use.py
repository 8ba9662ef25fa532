"""1.6: bad use gets one error that names the object and the remedy, and in time."""

import asyncio

import pytest

import qtinter
from qtinter import asyncsignal, asyncsignalstream, asyncslot, multisignal

from .driving import spin


async def nothing():
    """A slot."""


# --- asyncslot -----------------------------------------------------------------------


@pytest.mark.parametrize("runner", [None, 5, "run_task"])
def test_a_task_runner_that_cannot_be_called(runner):
    with pytest.raises(TypeError, match=f"task_runner must be a callable.*{runner!r}"):
        asyncslot(nothing, task_runner=runner)


def test_a_callable_without_a_signature():
    with pytest.raises(TypeError, match="which arguments <class 'type'> takes: wrap"):
        asyncslot(type)


def test_cancel_with_a_deleted_object(qt):
    gone = qt.Emitter()
    qt.delete(gone)
    with pytest.raises(RuntimeError, match=r"cancel_with is a .*Emitter that has been"):
        asyncslot(nothing, cancel_with=gone)


def close_and_give(result):
    def runner(coro):
        coro.close()
        return result

    return runner


@pytest.mark.parametrize("result", [None, 5])
def test_a_task_runner_that_returns_no_task(run, result):
    async def main():
        wrapper = asyncslot(nothing, task_runner=close_and_give(result))
        with pytest.raises(
            TypeError, match=f"task_runner of asyncslot nothing .* returned {result}"
        ):
            wrapper()

    run(main())


def test_a_task_runner_that_returns_no_task_to_a_signal(run_qt, emitter, reports, qt):
    """It is reported, and nothing escapes into PyQt, which would abort."""
    if not qt.is_pyqt:
        pytest.skip("PySide prints exceptions of slots and goes on")

    async def main():
        contexts = reports()
        emitter.none.connect(asyncslot(nothing, task_runner=close_and_give(None)))
        emitter.none.emit()
        (context,) = contexts
        assert isinstance(context["exception"], TypeError)

    run_qt(main())


@pytest.mark.parametrize("exception", [KeyboardInterrupt, SystemExit])
def test_an_exception_handler_that_interrupts(app, qt, emitter, exception):
    """1.4: the report of what a slot raised ends the run as a callback would."""
    if not qt.is_pyqt:
        pytest.skip("PySide prints exceptions of slots and goes on")

    def interrupt(loop, context):
        raise exception("stop")

    emitter.none.connect(asyncslot(lambda: 1 / 0))
    with pytest.raises(exception, match="stop"):
        with qtinter.using_asyncio_from_qt() as loop:
            loop.set_exception_handler(interrupt)
            qt.QtCore.QTimer.singleShot(0, emitter.none.emit)
            spin(lambda: not loop.is_running())


# --- the loop and its block ----------------------------------------------------------


@pytest.mark.parametrize(
    ("parameters", "error", "message"),
    [
        ({"loop_factory": 5}, TypeError, "loop_factory must be a callable.* not 5"),
        ({"shutdown_timeout": "1"}, TypeError, "shutdown_timeout must be a num.* '1'"),
        ({"shutdown_timeout": -1}, ValueError, "shutdown_timeout must be at.* not -1"),
        ({"shutdown_timeout": float("nan")}, ValueError, "shutdown_timeout .* not nan"),
    ],
)
def test_parameters_of_a_block_are_checked_on_entry(parameters, error, message):
    with pytest.raises(error, match=message):
        qtinter.using_asyncio_from_qt(**parameters)


def test_leaving_a_block_that_was_not_entered():
    with pytest.raises(RuntimeError, match="has not been entered"):
        qtinter.QiRunner().__exit__(None, None, None)


def test_a_block_that_closed_its_loop(app):
    """There is nothing left to clean up, and what the block raised comes out."""
    with pytest.raises(ZeroDivisionError):
        with qtinter.using_asyncio_from_qt() as loop:
            loop.stop()
            loop.close()
            raise ZeroDivisionError


@pytest.mark.parametrize("value", [None, "2", [2]])
def test_a_slice_that_is_no_number(value):
    loop = qtinter.new_event_loop()
    try:
        with pytest.raises(
            TypeError, match="slice_ms must be a number of milliseconds"
        ):
            loop.slice_ms = value
        assert loop.slice_ms == 2
    finally:
        loop.close()


# --- signals -------------------------------------------------------------------------


def test_a_class_is_no_signal(run_qt, qt):
    """A QObject class has a method connect() in PySide."""

    async def main():
        with pytest.raises(TypeError, match="asyncsignal expects a bound signal"):
            await asyncsignal(qt.Emitter)

    run_qt(main())


def test_a_deleted_sender_is_named_by_its_signal(run_qt, qt, name_of_one):
    message = f"connect to {name_of_one}: .* deleted"

    async def main():
        sender = qt.Emitter()
        signal = sender.one
        qt.delete(sender)
        with pytest.raises(RuntimeError, match=message):
            await asyncsignal(signal)
        with pytest.raises(RuntimeError, match=message):
            asyncsignalstream(signal)

    run_qt(main())


def test_a_sender_that_is_no_qobject(run_qt, emitter, name_of_one):
    message = f"sender of {name_of_one} must be a QObject"

    async def main():
        with pytest.raises(TypeError, match=message):
            await asyncsignal(emitter.one, sender=5)

    run_qt(main())


@pytest.mark.parametrize("maxsize", [None, "1", 1.5])
def test_a_size_that_is_no_number(emitter, maxsize):
    with pytest.raises(TypeError, match=f"maxsize must be an int, not {maxsize!r}"):
        asyncsignalstream(emitter.one, maxsize=maxsize)


@pytest.mark.parametrize("value", [None, 5, ["signal"], "signal"])
def test_a_multisignal_of_something_else(value):
    with pytest.raises(TypeError, match="multisignal expects a mapping"):
        multisignal(value)


def test_a_multisignal_connected_to_something_else(emitter):
    with pytest.raises(TypeError, match=r"multisignal.connect expects a call.* got 5"):
        multisignal({emitter.one: 1}).connect(5)


@pytest.mark.usefixtures("sender_is_missed")
def test_the_end_of_all_senders_names_the_signals(run_qt, qt, name_of_one):
    message = rf"multisignal\({name_of_one}\) was waited"

    async def main():
        sender = qt.Emitter()
        wait = asyncio.ensure_future(asyncsignal(multisignal({sender.one: 1})))
        await asyncio.sleep(0)
        qt.delete(sender)
        with pytest.raises(qtinter.SenderDestroyedError, match=message):
            await wait

    run_qt(main())
