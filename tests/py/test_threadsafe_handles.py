"""call_soon_threadsafe(): from Python 3.14 on its handles wait for a callback's end."""

import asyncio
import contextvars
import gc
import threading
import weakref

import pytest

import qtinter

from .driving import MODES, drive
from .in_threads import SAFETY_NET

pytestmark = pytest.mark.usefixtures("app")

LOCKED = getattr(asyncio.events, "_ThreadSafeHandle", None)
needs_lock = pytest.mark.skipif(
    LOCKED is None, reason="asyncio has thread-safe handles from Python 3.14 on"
)


@pytest.fixture
def loop(no_leaks, request):
    loop = qtinter.new_event_loop()
    yield loop
    loop.close()
    request.node.funcargs.clear()  # pytest holds the loop beyond no_leaks otherwise


def test_the_class_is_asyncios(loop):
    handle = loop.call_soon_threadsafe(print)
    assert isinstance(handle, LOCKED or asyncio.Handle)
    assert not isinstance(loop.call_soon(print), LOCKED or ())
    assert "ThreadSafe" in repr(handle) or LOCKED is None
    assert "print" in repr(handle)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("debug", [False, True])
def test_callbacks_run_in_order_with_their_arguments(loop, mode, debug):
    loop.set_debug(debug)
    got = []
    for n in range(5):
        args = range(n)
        loop.call_soon_threadsafe(lambda *args: got.append(args), *args)
        loop.call_soon(got.append, n)
    cancelled = loop.call_soon_threadsafe(got.append, "cancelled")
    loop.call_soon_threadsafe(loop.stop)
    assert not cancelled.cancelled()
    cancelled.cancel()
    assert cancelled.cancelled()
    drive(loop, mode)
    assert got == [x for n in range(5) for x in (tuple(range(n)), n)]


@pytest.mark.parametrize("mode", MODES)
def test_an_exception_is_reported_with_its_handle(loop, mode):
    contexts = []
    loop.set_exception_handler(lambda loop, context: contexts.append(context))
    handle = loop.call_soon_threadsafe(lambda: 1 / 0)
    loop.call_soon_threadsafe(loop.stop)
    drive(loop, mode)
    (context,) = contexts
    assert context["handle"] is handle
    assert isinstance(context["exception"], ZeroDivisionError)
    assert not handle.cancelled()


@pytest.mark.parametrize("end", [KeyboardInterrupt, SystemExit])
def test_an_interrupt_ends_the_run_and_frees_the_lock(loop, end):
    def callback():
        raise end

    handle = loop.call_soon_threadsafe(callback)
    with pytest.raises(end):
        drive(loop, "nested")
    waiter = threading.Thread(target=handle.cancel, daemon=True)
    waiter.start()
    waiter.join(SAFETY_NET)
    assert not waiter.is_alive()


class WatchedLock:
    """A lock that tells of threads, other than the given one, that want it."""

    def __init__(self, lock, thread_id):
        self._lock, self._thread_id = lock, thread_id
        self.wanted = threading.Event()

    def acquire(self):
        if threading.get_ident() != self._thread_id:
            self.wanted.set()
        return self._lock.acquire()

    def release(self):
        self._lock.release()


@needs_lock
@pytest.mark.parametrize("question", ["cancel", "cancelled"])
def test_another_thread_waits_for_the_end_of_the_callback(loop, question):
    order = []
    running = threading.Event()

    def callback():
        running.set()
        assert handle._lock.wanted.wait(SAFETY_NET)
        order.append("callback")

    def other():
        assert running.wait(SAFETY_NET)
        getattr(handle, question)()
        order.append(question)
        loop.call_soon_threadsafe(loop.stop)

    handle = loop.call_soon_threadsafe(callback)
    handle._lock = WatchedLock(handle._lock, threading.get_ident())
    thread = threading.Thread(target=other)
    thread.start()
    drive(loop, "attached")
    thread.join()
    assert order == ["callback", question]
    assert handle.cancelled() == (question == "cancel")


def test_a_callback_may_cancel_itself(loop):
    got = []

    def callback(argument):
        handle.cancel()
        got.append((argument, handle.cancelled()))
        loop.stop()

    handle = loop.call_soon_threadsafe(callback, "argument")
    drive(loop, "attached")
    assert got == [("argument", True)]


def test_cancelled_between_the_look_and_the_run(loop):
    got = []
    handle = loop.call_soon_threadsafe(got.append, 1)
    handle.cancel()
    if LOCKED is not None:
        handle._run()  # as the loop does that looked just before
    assert got == []


def test_context(loop):
    variable = contextvars.ContextVar("variable", default="outside")
    context = contextvars.copy_context()
    context.run(variable.set, "inside")
    got = []
    loop.call_soon_threadsafe(lambda: got.append(variable.get()), context=context)
    loop.call_soon_threadsafe(lambda: got.append(variable.get()))
    loop.call_soon_threadsafe(loop.stop)
    drive(loop, "attached")
    assert got == ["inside", "outside"]


def test_a_cycle_through_a_handle_is_collected(loop):
    class Holder:
        pass

    holder = Holder()
    holder.handle = loop.call_soon_threadsafe(print, holder)
    died = weakref.ref(holder)
    holder.handle.cancel()  # out of the queue's reach once that ran
    loop.call_soon_threadsafe(loop.stop)
    drive(loop, "attached")
    del holder
    gc.collect()
    assert died() is None


def test_the_stack_of_the_caller(loop):
    loop.set_debug(True)
    handle = loop.call_soon_threadsafe(print)
    assert handle._source_traceback[-1].name == "test_the_stack_of_the_caller"


def test_memory_serves_other_kinds_afterwards(loop):
    """Memory of dead handles is shared by the three types."""
    for _ in range(3):
        handles = [
            handle
            for _ in range(50)
            for handle in (
                loop.call_soon_threadsafe(print, 1, 2),
                loop.call_soon(print, 1, 2),
                loop.call_later(1000, print, 1, 2),
            )
        ]
        kinds = {type(handle).__name__ for handle in handles}
        assert len(kinds) == (3 if LOCKED else 2)
        for handle in handles:
            handle.cancel()
        del handles, handle
        loop.call_soon(loop.stop)
        drive(loop, "native")
