"""asyncslot."""

import asyncio
import copy
import functools
import gc
import pickle
import sys
import threading
import weakref

import pytest

import qtinter
from qtinter import _core, asyncslot
from qtinter._tasks import coroutine_of

from .driving import settle


class Recorder:
    """A plain receiver."""

    def __init__(self):
        self.log = []

    async def method(self, *args):
        self.log.append(args)
        await asyncio.sleep(0)
        self.log.append("resumed")
        return args

    @classmethod
    async def class_method(cls, log):
        log.append(cls)

    @staticmethod
    async def static_method(log):
        log.append("static")


# --- wrapping ------------------------------------------------------------------------


@pytest.mark.parametrize("value", [3, "text", object()])
def test_not_callable(value):
    """S2."""
    with pytest.raises(
        TypeError, match="expects a coroutine function, but got non-call"
    ):
        asyncslot(value)


def test_a_coroutine_object_is_refused():
    """S2."""
    coro = asyncio.sleep(0)
    with pytest.raises(TypeError, match="pass the function itself, do not call it"):
        asyncslot(coro)
    coro.close()


def test_bad_overlap():
    """1.3, 1.6."""
    with pytest.raises(ValueError, match="allow, drop, restart, queue, not 'never'"):
        asyncslot(asyncio.sleep, overlap="never")


def test_keyword_only_parameters(run):
    """S12."""

    async def needs(*, speed):
        pass

    async def may(x, *, speed=3):
        return x, speed

    class Receiver:
        async def needs(self, *, speed):
            pass

    for fn in (needs, Receiver().needs):
        with pytest.raises(TypeError, match="speed"):
            asyncslot(fn)

    async def main():
        assert await asyncslot(may)(1, 2) == (1, 3)

    run(main())


def test_decorator_with_and_without_arguments(run):
    """1.3: asyncslot(fn), @asyncslot, @asyncslot(...); S6: awaitable result."""

    @asyncslot
    async def first(x):
        return x

    @asyncslot(name="second")
    async def second(x):
        task = asyncio.current_task()
        return x, task.get_name() if sys.version_info >= (3, 8) else "second"

    async def main():
        assert await first(1) == 1
        assert await second(2) == (2, "second")
        assert first.__name__ == "first"

    run(main())


def test_callables_that_return_coroutines(run):
    """S3, and a wrapped slot is not wrapped twice."""

    async def work(a, b):
        return a, b

    async def main():
        assert await asyncslot(lambda x: work(x, 0))(1) == (1, 0)
        assert await asyncslot(functools.partial(work, 5))(1, 2) == (5, 1)
        assert await asyncslot(asyncslot(work))(1, 2) == (1, 2)

    run(main())


# --- arguments -----------------------------------------------------------------------


async def takes_none():
    return ()


async def takes_one(a):
    return (a,)


async def takes_default(a=None):
    return (a,)


# 3.7 has no sign for parameters that are positional only.
POSITIONAL = "a, /, b=0" if sys.version_info >= (3, 8) else "a, b=0"


def make_takes_positional():
    names = {}
    exec(f"async def takes_positional({POSITIONAL}): return (a, b)", names)
    return names["takes_positional"]


takes_positional = make_takes_positional()


async def takes_all(*args, **kwargs):
    return (*args, *kwargs)


async def takes_some(a, *args):
    return (a, *args)


@pytest.mark.parametrize(
    ("fn", "expected"),
    [
        (takes_none, ()),
        (takes_one, (3,)),
        (takes_default, (3,)),
        (takes_positional, (3, "x")),
        (takes_all, (3, "x")),
        (takes_some, (3, "x")),
    ],
)
@pytest.mark.parametrize("kind", ["function", "method", "decorated"])
def test_truncation(run, emitter, qt, fn, expected, kind):
    """S8, S9, S10, pain 56: by the signature, for functions and methods."""

    async def main():
        results = []

        async def collect(*args):
            results.append(await fn(*args))

        def with_signature_of_fn(*args):
            return collect(*args)

        slot = functools.wraps(fn)(with_signature_of_fn)
        if kind == "function":
            emitter.two.connect(asyncslot(slot))
        else:

            class Receiver(qt.QtCore.QObject):
                pass

            # A function of (self, <parameters of fn>).
            parameters = {
                takes_none: "self",
                takes_one: "self, a",
                takes_default: "self, a=None",
                takes_positional: "self, " + POSITIONAL,
                takes_all: "self, *args, **kwargs",
                takes_some: "self, a, *args",
            }[fn]
            passed = {
                takes_none: "",
                takes_one: "a",
                takes_default: "a",
                takes_positional: "a, b",
                takes_all: "*args, **kwargs",
                takes_some: "a, *args",
            }[fn]
            scope = {"slot": slot}
            exec(f"async def method({parameters}): await slot({passed})", scope)
            method = scope["method"]
            Receiver.method = asyncslot(method) if kind == "decorated" else method
            receiver = Receiver()
            wrapped = receiver.method
            emitter.two.connect(wrapped if kind == "decorated" else asyncslot(wrapped))
        emitter.two.emit(3, "x")
        await settle()
        assert results == [expected]

    run(main())


def test_too_few_arguments(run):
    """S11: when called."""

    async def main():
        wrapper = asyncslot(takes_one)
        with pytest.raises(TypeError, match="'a'"):
            wrapper()

    run(main())


def test_too_few_arguments_from_a_signal(run_qt, emitter, reports, qt):
    """S11, E1: reported, and nothing escapes into PyQt, which would abort."""
    if not qt.is_pyqt:
        pytest.skip("PySide prints exceptions of slots and goes on")

    async def main():
        contexts = reports()
        emitter.none.connect(asyncslot(takes_one))
        emitter.none.emit()
        (context,) = contexts
        assert isinstance(context["exception"], TypeError)
        assert "takes_one" in context["message"]

    run_qt(main())


# --- calling -------------------------------------------------------------------------


def test_the_first_part_runs_in_the_emission(run, emitter):
    """S4, S5, S27, and G: the task is held until it is done (pain 16)."""

    async def main():
        log = []

        async def slot(x):
            log.append((x, asyncio.current_task() is not outer))
            future = asyncio.get_running_loop().create_future()
            futures.append(weakref.ref(future))
            loop.call_soon(loop.call_soon, future_done, future)
            await future
            log.append("resumed")

        def future_done(future):
            future.set_result(None)

        futures, loop, outer = [], asyncio.get_running_loop(), asyncio.current_task()
        emitter.one.connect(asyncslot(slot))
        emitter.one.emit(3)
        assert log == [(3, True)]
        gc.collect()
        await settle()
        assert log == [(3, True), "resumed"]

    run(main())


def test_the_wrapper_returns_the_task(run, emitter):
    """S6, S7."""

    async def main():
        receiver = Recorder()
        for fn in (receiver.method, lambda *args: receiver.method(*args)):
            task = asyncslot(fn)(1)
            assert isinstance(task, asyncio.Task)
            assert await task == (1,)

    run(main())


def test_no_running_loop(qt):
    """S13, and fn is not even called."""

    async def slot():
        raise AssertionError

    with pytest.raises(RuntimeError, match="no running event loop"):
        asyncslot(slot)()
    receiver = Recorder()
    with pytest.raises(RuntimeError, match="no running event loop"):
        asyncslot(receiver.method)()
    assert receiver.log == []


def test_no_running_loop_in_an_emission(emitter, qt, caplog):
    """S13 from Qt: PyQt would abort on an exception, so it is logged."""
    if not qt.is_pyqt:
        pytest.skip("PySide prints exceptions of slots and goes on")

    emitter.none.connect(asyncslot(takes_none))
    emitter.none.emit()
    (record,) = caplog.records
    assert record.name == "qtinter.slots"
    assert "no running event loop" in record.message
    assert "takes_none" in record.message


def test_task_runner(run):
    """S26."""

    async def main():
        coros = []

        def runner(coro):
            coros.append(coro)
            return asyncio.get_running_loop().create_task(coro)

        task = asyncslot(takes_one, task_runner=runner)(7)
        assert coroutine_of(task) is coros[0]
        assert await task == (7,)

    run(main())


def test_slots_call_slots(run):
    """Pain 5: nested eager parts, to any depth, in the order of the calls."""

    async def main():
        log = []

        @asyncslot
        async def slot(depth):
            log.append(depth)
            if depth:
                task = slot(depth - 1)
                log.append(-depth)
                await task

        await slot(4)
        assert log == [4, 3, 2, 1, 0, -1, -2, -3, -4]

    run(main())


# --- lifetime ------------------------------------------------------------------------


@pytest.fixture(params=["plain", "qobject", "pyqtslot"])
def receiver_class(request, qt):
    bases = (object,) if request.param == "plain" else (qt.QtCore.QObject,)

    async def method(self, *args):
        self.log.append(args)

    if request.param == "pyqtslot":
        method = qt.Slot(int)(method)

    def __init__(self, log):
        bases[0].__init__(self)
        self.log = log

    return type("Receiver", bases, {"__init__": __init__, "method": method})


def test_connection_lives_as_long_as_the_receiver(run, emitter, receiver_class):
    """S15, at once, without a collection."""

    async def main():
        log = []
        receiver = receiver_class(log)
        emitter.one.connect(asyncslot(receiver.method))
        gc.collect()
        emitter.one.emit(1)
        await settle()
        assert log == [(1,)]
        reference = weakref.ref(receiver)
        del receiver
        assert reference() is None
        emitter.one.emit(2)
        await settle()
        assert log == [(1,)]

    gc.disable()
    try:
        run(main())
    finally:
        gc.enable()


def test_deleted_qobject_receiver(run, emitter, qt):
    """S15: its Python part lives on."""

    class Receiver(qt.QtCore.QObject):
        async def method(self):
            raise AssertionError

    async def main():
        receiver = Receiver()
        emitter.none.connect(asyncslot(receiver.method))
        qt.delete(receiver)
        emitter.none.emit()

    run(main())


def test_holding_the_wrapper_holds_the_receiver(run, emitter, receiver_class):
    """S16."""

    async def main():
        log = []
        receiver = receiver_class(log)
        reference = weakref.ref(receiver)
        wrapper = asyncslot(receiver.method)
        del receiver
        assert reference() is not None
        emitter.one.connect(wrapper)
        emitter.one.emit(1)
        await settle()
        assert log == [(1,)]
        second = asyncslot(reference().method)
        del wrapper
        emitter.one.emit(2)
        await settle()
        assert log == [(1,), (2,)]
        del second
        assert reference() is None
        emitter.one.emit(3)
        await settle()
        assert log == [(1,), (2,)]

    run(main())


def test_a_wrapper_stored_in_its_receiver_is_collectable(run, receiver_class):
    """S16: the usual way to keep the wrapper must not leak."""

    async def main():
        receiver = receiver_class([])
        receiver.slot = asyncslot(receiver.method)
        reference = weakref.ref(receiver)
        del receiver
        gc.collect()
        assert reference() is None

    run(main())


def test_decorated_method_is_held_weakly(run, emitter, qt):
    """S17."""
    log = []

    class Receiver(qt.QtCore.QObject):
        @asyncslot
        async def method(self, x):
            log.append(x)

    async def main():
        receiver = Receiver()
        emitter.one.connect(receiver.method)
        emitter.one.emit(1)
        await settle()
        del receiver
        emitter.one.emit(2)
        await settle()
        assert log == [1]

    run(main())


def test_other_callables_are_held_by_the_connection(run, emitter):
    """S18."""

    async def main():
        receiver = Recorder()
        log = receiver.log
        emitter.one.connect(asyncslot(functools.partial(receiver.method)))
        del receiver
        gc.collect()
        emitter.one.emit(1)
        await settle()
        assert log == [(1,), "resumed"]

    run(main())


def test_receiver_without_weak_references():
    """S19."""

    class Slotted:
        __slots__ = ("log",)

        async def method(self):
            pass

    with pytest.raises(TypeError, match="weak reference"):
        asyncslot(Slotted().method)


def test_receiver_without_dict(run, emitter):
    """S15 for an object that has no __dict__ to keep anything in."""

    class Slotted:
        __slots__ = ("__weakref__", "log")

        async def method(self, x):
            self.log.append(x)

    async def main():
        receiver = Slotted()
        log = receiver.log = []
        emitter.one.connect(asyncslot(receiver.method))
        assert asyncslot(receiver.method) == asyncslot(receiver.method)
        emitter.one.emit(1)
        await settle()
        del receiver
        emitter.one.emit(2)
        await settle()
        assert log == [1]

    run(main())


def test_copies_of_a_receiver_are_on_their_own(run):
    """Copying and pickling a receiver that has wrappers works and shares none."""

    async def main():
        original = Recorder()
        wrapper = asyncslot(original.method)
        for duplicate in (
            copy.copy(original),
            copy.deepcopy(original),
            pickle.loads(pickle.dumps(original)),
        ):
            duplicate.log = []
            original.log.clear()
            await asyncslot(duplicate.method)(1)
            assert duplicate.log
            assert original.log == []
            assert asyncslot(duplicate.method) != wrapper

    run(main())


def test_disconnect_with_a_new_wrapper(run, emitter, receiver_class):
    """S20."""

    async def main():
        log = []
        receiver = receiver_class(log)
        emitter.one.connect(asyncslot(receiver.method))
        emitter.one.emit(1)
        emitter.one.disconnect(asyncslot(receiver.method))
        emitter.one.emit(2)
        await settle()
        assert log == [(1,)]
        assert asyncslot(receiver.method) == asyncslot(receiver.method)
        assert asyncslot(receiver.method) != asyncslot(receiver_class([]).method)

    run(main())


# --- errors --------------------------------------------------------------------------


async def fails_at_once():
    raise ValueError("at once")


async def fails_later():
    await asyncio.sleep(0)
    raise ValueError("later")


@pytest.mark.parametrize("fn", [fails_at_once, fails_later])
def test_a_failure_is_reported_once(run, emitter, reports, qt, fn):
    """S25, pain 22: with task, slot and (if it fails in the emission) signal."""

    async def main():
        contexts = reports()
        emitter.setObjectName("anna")
        emitter.none.connect(asyncslot(fn))
        emitter.none.emit()
        await settle()
        (context,) = contexts
        assert fn.__name__ in context["message"]
        assert isinstance(context["exception"], ValueError)
        assert context["task"].done()
        assert context["slot"] is fn
        if qt.is_pyqt and fn is fails_at_once:
            assert "Emitter 'anna'" in context["signal"]
        contexts.clear()
        del context
        gc.collect()
        assert contexts == []

    run(main())


@pytest.mark.parametrize("fn", [fails_at_once, fails_later])
def test_a_failure_that_somebody_awaits_is_not_reported(run, reports, fn):
    """S25: by await, gather, wait, wait_for, shield or exception()."""

    async def by_wait(task):
        done, _ = await asyncio.wait([task])
        done.pop().result()

    async def by_exception(task):
        while not task.done():
            await asyncio.sleep(0)
        raise task.exception()

    async def by_await(task):
        await task

    async def main():
        contexts = reports()
        for waiter in (
            by_await,
            by_wait,
            by_exception,
            asyncio.gather,
            asyncio.shield,
            lambda task: asyncio.wait_for(task, 10),
        ):
            with pytest.raises(ValueError):
                await waiter(asyncslot(fn)())
            await settle()
        gc.collect()
        assert contexts == []

    run(main())


def test_cancellation_is_silent(run, emitter, reports):
    """Pain 17, S25."""

    async def cancels_itself():
        raise asyncio.CancelledError

    async def main():
        contexts = reports()
        task = asyncslot(asyncio.sleep)(1000)
        task.cancel()
        asyncslot(cancels_itself)()
        await settle()
        gc.collect()
        assert task.cancelled()
        assert contexts == []

    run(main())


@pytest.mark.parametrize("exception", [KeyboardInterrupt, SystemExit])
def test_interrupts_stop_an_attached_loop(app, qt, emitter, exception):
    """1.3, 1.4, pain 24: raised by the with block; nothing escapes into Qt."""

    async def slot():
        raise exception("stop")

    emitter.none.connect(asyncslot(slot))
    log = []
    with pytest.raises(exception, match="stop"):
        with qtinter.using_asyncio_from_qt():
            qt.QtCore.QTimer.singleShot(0, emitter.none.emit)
            app.exec()
            log.append("exec returned")
    assert log == ["exec returned"]


@pytest.mark.parametrize("exception", [KeyboardInterrupt, SystemExit])
def test_interrupts_propagate_elsewhere(exception):
    """K10: on asyncio's own loop, and in NATIVE mode."""

    async def slot():
        raise exception("stop")

    async def main():
        try:
            asyncslot(slot)()
        except exception:
            return "propagated"

    assert asyncio.run(main()) == "propagated"
    loop = qtinter.new_event_loop()
    loop.set_mode(qtinter.QiLoopMode.NATIVE)
    try:
        assert loop.run_until_complete(main()) == "propagated"
    finally:
        loop.close()


# --- threads -------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["function", "plain", "qobject"])
def test_emission_from_another_thread(run_qt, emitter, qt, kind):
    """S29, pain 60: the slot runs in the loop that was running where it was wrapped."""

    async def main():
        seen = asyncio.get_running_loop().create_future()

        async def slot(*args):
            seen.set_result((threading.get_ident(), args, asyncio.get_running_loop()))

        class Plain:
            async def method(self, x):
                await slot(x)

        class Receiver(Plain, qt.QtCore.QObject):
            pass

        receiver = Plain() if kind == "plain" else Receiver()
        fn = slot if kind == "function" else receiver.method
        emitter.one.connect(asyncslot(fn))
        thread = threading.Thread(target=lambda: emitter.one.emit(5))
        thread.start()
        result = await seen
        assert result == (threading.get_ident(), (5,), asyncio.get_running_loop())
        thread.join()

    run_qt(main())


def test_wrapped_outside_of_a_loop(run_attached, emitter):
    """S29, README: the loop that runs when the signal is emitted is used."""
    log = []

    async def slot(x):
        log.append(x)

    emitter.one.connect(asyncslot(slot))

    async def main(x):
        emitter.one.emit(x)

    run_attached(main(1))
    run_attached(main(2))
    assert log == [1, 2]


def test_wrapped_in_a_loop_that_is_gone(run_attached, emitter):
    """S29: the next loop takes over, for functions and for methods."""
    receiver = Recorder()

    async def wrap():
        emitter.one.connect(asyncslot(takes_one))
        emitter.one.connect(asyncslot(receiver.method))

    async def emit():
        emitter.one.emit(1)
        await settle()

    run_attached(wrap())
    run_attached(emit())
    assert receiver.log == [(1,), "resumed"]


def test_a_slot_does_not_keep_its_loop(app):
    """1.4: a closed loop is collectable at once."""

    async def main():
        return asyncslot(takes_none), weakref.ref(asyncio.get_running_loop())

    wrapper, loop = qtinter.run(main())
    gc.collect()
    assert loop() is None
    assert callable(wrapper)


# --- the hot path in C ---------------------------------------------------------------


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        (1,),
        (None, None, "1", True, None, None, set()),
        (None, None, 1, True, None, None, []),
        (None, None, 1 << 80, True, None, None, set()),
    ],
)
def test_a_slot_call_checks_what_it_is_made_of(arguments):
    with pytest.raises((TypeError, OverflowError)):
        _core.SlotCall(*arguments)


@pytest.mark.parametrize("arguments", [None, [], 1, ([],)])
def test_a_slot_call_takes_a_tuple(arguments, run_attached):
    async def main():
        started = []
        call = _core.SlotCall(
            None, started.append, 1, False, started.append, tuple, set()
        )
        if type(arguments) is tuple:
            call.start(arguments)
            assert started == [arguments]
        else:
            with pytest.raises(TypeError, match="tuple"):
                call.start(arguments)

    run_attached(main())


def test_any_argument_is_copied_or_passed(qt, emitter, run_attached):
    class Text(str):
        pass

    values = [Text("a"), object(), [1], None, True, 1.5, b"x", emitter]

    async def main():
        got = []

        @asyncslot
        async def slot(value):
            got.append(value)
            await asyncio.sleep(0)

        emitter.any.connect(slot)
        for value in values:
            emitter.any.emit(value)
        await asyncio.sleep(0)
        assert all(a is b for a, b in zip(got, values))
        assert len(got) == len(values)

    run_attached(main())


@pytest.mark.parametrize("at", ["call", "first step"])
def test_interrupts_of_a_slot_stop_the_loop(qt, emitter, app, at):
    """Also of the hot path: KeyboardInterrupt before the first suspension."""

    def slot():
        if at == "call":
            raise KeyboardInterrupt
        return interrupted()

    async def interrupted():
        raise KeyboardInterrupt

    async def main():
        emitter.none.connect(asyncslot(slot))
        asyncio.get_running_loop().call_soon(emitter.none.emit)
        await asyncio.sleep(60)

    with pytest.raises(KeyboardInterrupt):
        qtinter.run(main())
