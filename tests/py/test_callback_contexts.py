"""contextvars: each callback has a context of its own, though few copies are made."""

import asyncio
import contextvars
import ctypes
import gc
import random
import socket
import threading
import weakref

import pytest

import qtinter

from .driving import MODES, drive

VAR = contextvars.ContextVar("VAR", default="default")
OTHER = contextvars.ContextVar("OTHER", default=None)


@pytest.fixture(params=MODES)
def run(request, app):
    """run(loop): the callbacks of three iterations."""

    def run(loop):
        loop.call_soon(loop.call_soon, loop.call_soon, loop.stop)
        drive(loop, request.param)

    return run


@pytest.fixture
def loop(no_leaks, request):
    loop = qtinter.new_event_loop()
    yield loop
    loop.close()
    request.node.funcargs.clear()  # pytest holds the loop beyond no_leaks otherwise


@pytest.fixture(autouse=True)
def in_a_copy():
    """What a test sets is gone after it."""
    tokens = [VAR.set("of the test"), OTHER.set(None)]
    yield
    for var, token in zip((VAR, OTHER), tokens):
        var.reset(token)


class Value:
    """Something that a weak reference may refer to."""


def test_a_callback_sees_what_was_set_when_it_was_queued(loop, run):
    seen = []
    for text in ("one", "two", "two", "three"):
        VAR.set(text)
        loop.call_soon(lambda: seen.append(VAR.get()))
    VAR.set("later")
    run(loop)
    assert seen == ["one", "two", "two", "three"]


def test_what_a_callback_sets_is_its_own(loop, run):
    seen = []

    def change(text):
        seen.append(VAR.get())
        VAR.set(text)

    for text in "abc":
        loop.call_soon(change, text)
    loop.call_later(0, change, "d")
    run(loop)
    assert seen == ["of the test"] * 4
    assert VAR.get() == "of the test"


def test_what_a_callback_queues_inherits_from_it(loop, run):
    seen = []

    def outer(text):
        VAR.set(text)
        loop.call_soon(lambda: seen.append(VAR.get()))

    for text in "abc":
        loop.call_soon(outer, text)
    loop.call_soon(loop.call_soon, lambda: seen.append(VAR.get()))
    run(loop)
    assert seen == ["a", "b", "c", "of the test"]


def test_a_reader_keeps_what_it_has_set(loop, run):
    near, far = socket.socketpair()
    seen = []

    def readable():
        seen.append(VAR.get())
        VAR.set(near.recv(1))
        if len(seen) < 3:
            far.send(b"%d" % len(seen))
        else:
            loop.remove_reader(near)
            loop.stop()

    with near, far:
        loop.add_reader(near, readable)
        loop.call_soon(far.send, b"0")
        loop.call_later(60, loop.stop)
        drive(loop, "native")
    assert seen == ["of the test", b"0", b"1"]


def test_the_context_of_a_handle_is_its_own(loop, run):
    seen = []
    handles = [loop.call_soon(lambda: seen.append(VAR.get())) for _ in range(3)]
    contexts = [handle._context for handle in handles]
    assert len(set(map(id, contexts))) == 3
    assert [handle._context for handle in handles] == contexts
    contexts[1].run(VAR.set, "set from outside")
    run(loop)
    assert seen == ["of the test", "set from outside", "of the test"]
    assert [context[VAR] for context in contexts] == seen


def test_the_context_of_a_handle_that_has_run_stays_its_own(loop, run):
    handles = [loop.call_soon(VAR.set, text) for text in "ab"]
    handles += [loop.call_soon(int), loop.call_soon(int)]
    run(loop)
    contexts = [handle._context for handle in handles]
    assert len(set(map(id, contexts))) == 4
    assert [context[VAR] for context in contexts] == [
        *("a", "b", "of the test", "of the test"),
    ]


def test_a_context_that_somebody_keeps_is_used_no_more(loop, run):
    kept = []

    def keep():
        kept.append(handles.pop(0)._context)

    handles = [loop.call_soon(keep) for _ in range(3)]
    run(loop)
    assert len(set(map(id, kept))) == 3


def test_a_context_that_is_watched_is_used_no_more(loop, run):
    watches, seen = [], []

    def watch():
        context = handles.pop(0)._context
        seen.append(any(watch() is context for watch in watches))
        watches.append(weakref.ref(context))

    handles = [loop.call_soon(watch) for _ in range(3)]
    run(loop)
    assert seen == [False] * 3


def test_a_context_that_cannot_be_left_is_used_no_more(no_leaks):
    """As when a callback leaves for another greenlet, which has its own."""
    ran = []

    def work():
        loop = qtinter.new_event_loop()
        loop.set_mode(qtinter.QiLoopMode.NATIVE)
        # Not its exception handler: from 3.12 on that would run in the context itself.
        loop.call_exception_handler = lambda context: ran.append(context["exception"])
        entering = loop.call_soon(ctypes.pythonapi.PyContext_Enter, other)
        for _ in range(3):
            loop.call_soon(ran.append, "next")
        loop.call_soon(loop.stop)
        loop.run_forever()
        loop.close()
        # From 3.14 on a thread fails that does not end in the context that it began in.
        ctypes.pythonapi.PyContext_Exit(other)
        ctypes.pythonapi.PyContext_Exit(ctypes.py_object(entering._context))

    other = ctypes.py_object(contextvars.Context())
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert [type(each) for each in ran] == [RuntimeError, str, str, str]


def test_a_given_context_is_used_itself(loop, run):
    context = contextvars.copy_context()
    loop.call_soon(VAR.set, "set by a callback", context=context)
    loop.call_soon(int)
    run(loop)
    assert context[VAR] == "set by a callback"
    assert VAR.get() == "of the test"


def test_a_context_can_be_given_to_a_handle(loop, run):
    seen = []
    handle = loop.call_soon(lambda: seen.append(VAR.get()))
    handle._context = contextvars.Context()
    run(loop)
    assert seen == ["default"]


def test_a_loop_at_rest_keeps_no_values(loop, run):
    value = Value()
    gone = weakref.ref(value)
    OTHER.set(value)
    for _ in range(3):
        loop.call_soon(int)
    loop.call_later(3600, int).cancel()
    OTHER.set(None)
    del value
    run(loop)
    if gone() is not None:  # the cancelled timer, as in asyncio
        loop._scheduled.clear()
        gc.collect()
    assert gone() is None


def test_a_value_set_by_a_callback_goes_with_it(loop, run):
    values = []

    def set_one():
        value = Value()
        OTHER.set(value)
        values.append(weakref.ref(value))

    for _ in range(3):
        loop.call_soon(set_one)
        loop.call_soon(lambda: counts.append(sum(ref() is not None for ref in values)))
    counts = []
    run(loop)
    assert counts == [0, 0, 0]


def test_what_the_end_of_a_value_queues_is_run(loop, run):
    """It goes where the loop would go to sleep."""

    class Last:
        def __del__(self):
            loop.call_soon(loop.stop)

    def forget():
        loop.call_soon(int)

    OTHER.set(Last())
    loop.call_soon(forget)
    OTHER.set(None)
    drive(loop, "attached")
    OTHER.set(Last())
    loop.call_soon(forget)
    OTHER.set(None)
    drive(loop, "native")


def test_timers_have_no_contexts_each(loop):
    def contexts():
        gc.collect()
        return sum(type(obj) is contextvars.Context for obj in gc.get_objects())

    before = contexts()
    timers = [loop.call_later(3600, int) for _ in range(1000)]
    shared = contexts()
    assert shared <= before + 1
    kept = timers[0]._context
    assert contexts() == shared + 1
    assert kept is timers[0]._context is not timers[1]._context


@pytest.mark.parametrize("seed", range(5))
def test_random_programs_see_what_they_see_on_asyncio(app, seed):
    assert trace_of(qtinter.new_event_loop(), seed) == trace_of(
        asyncio.SelectorEventLoop(), seed
    )


def trace_of(loop, seed):
    """What callbacks that set, reset, queue, cancel and keep contexts see."""
    rng = random.Random(seed)
    trace, kept, timers = [], [], []
    left = 400

    def step(name):
        nonlocal left
        if left < 0:
            return
        trace.append((name, VAR.get(), OTHER.get()))
        token = None
        for _ in range(rng.randrange(4)):
            action = rng.randrange(9)
            if action == 0:
                token = VAR.set(rng.randrange(3))
            elif action == 1:
                OTHER.set(rng.randrange(3))
            elif action == 2 and token is not None:
                VAR.reset(token)
                token = None
            elif action == 3:
                timers.append(loop.call_later(0, step, left))
            elif action == 4:
                kept.append(loop.call_soon(step, left))
            elif action == 5 and kept:
                context = rng.choice(kept)._context
                loop.call_soon(step, left, context=context)
            elif action == 6 and timers:
                timers.pop(rng.randrange(len(timers))).cancel()
            elif action == 7:
                loop.create_task(coro(left))
            elif action == 8 and kept:
                handle = kept.pop(rng.randrange(len(kept)))
                trace.append(sorted(map(repr, handle._context.values())))
        left -= 1
        loop.call_soon(step, left)
        if left < 0:
            loop.stop()

    async def coro(name):
        trace.append((name, VAR.get()))
        VAR.set(name)
        await asyncio.sleep(0)
        trace.append((name, VAR.get()))

    if isinstance(loop, qtinter.QiBaseEventLoop):
        loop.set_mode(qtinter.QiLoopMode.NATIVE)
    loop.call_soon(step, 0)
    try:
        loop.run_forever()
        pending = asyncio.all_tasks(loop)
        while pending:
            loop.run_until_complete(asyncio.wait(pending))
            pending = asyncio.all_tasks(loop)
    finally:
        loop.close()
    return trace


class Recorder:
    """No Context, but it has the run() of one, as asyncio asks for."""

    def __init__(self):
        self.calls = []

    def run(self, callback, *args):
        self.calls.append((callback, args))
        return callback(*args)


@pytest.mark.parametrize("args", [(), (1,), (1, 2), (1, 2, 3)])
@pytest.mark.parametrize("method", ["call_soon", "call_soon_threadsafe", "call_later"])
def test_what_acts_as_a_context(loop, run, method, args):
    recorder, got = Recorder(), []

    def callback(*args):
        got.append(args)

    leading = (0,) if method == "call_later" else ()
    handle = getattr(loop, method)(*leading, callback, *args, context=recorder)
    assert handle._context is recorder
    while not got:
        run(loop)
    assert got == [args]
    assert recorder.calls == [(callback, args)]


def test_what_acts_as_a_context_may_raise(loop, run):
    contexts = []
    loop.set_exception_handler(lambda loop, context: contexts.append(context))

    class Refusing:
        def run(self, callback, *args):
            if callback is print:
                raise LookupError("not here")
            return callback(*args)  # from 3.14 on the exception handler runs in it too

    handle = loop.call_soon(print, context=Refusing())
    run(loop)
    assert [str(c["exception"]) for c in contexts] == ["not here"]
    assert contexts[0]["handle"] is handle
