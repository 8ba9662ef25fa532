"""Small random programs for event loops, and what they observe of a loop.

A program is plain data: nodes (name, argument, children) in a tuple.  A node is an
operation, which a callback carries out at once, or a step, which a coroutine may wait
in; the children are what the callback or coroutine does that the node starts.  trace()
carries a program out on a loop and returns all that it observed, each thing with the
iteration of the loop in which it happened: two loops can be compared exactly.

Nothing depends on the time: timers are due in the past or never come, and sockets are
ready at once or not at all.
"""

import asyncio
import contextvars
import gc
import socket
import sys
import types

from hypothesis import strategies as st

ITERATIONS = 80  # of the loop, in which a program has its course
ENDINGS, ENDING = 8, 10  # how often its tasks are cancelled; iterations after each
NEVER = 1e6  # seconds
MOST_CALLBACKS = 500  # that do anything: callbacks of watches are called repeatedly
VARIABLE = contextvars.ContextVar("variable", default=0)
HAS_TASK_CONTEXT = sys.version_info >= (3, 11)

# For each name, what its argument is drawn from: a number of something, or one of
# these.
_SMALL = st.integers(0, 5)
_DELAY = st.sampled_from([0, -1, NEVER])
_CONTEXT = st.sampled_from(["none", "none", "own", "shared"])
_FAILURE = st.sampled_from([ZeroDivisionError, KeyboardInterrupt, SystemExit])
_NOTHING = st.none()

_OPERATIONS = {
    "soon": _CONTEXT,
    "threadsafe": _CONTEXT,
    "due": _CONTEXT,
    "later": _DELAY,
    "cancel_handle": _SMALL,
    "task": _CONTEXT,
    "cancel_task": _SMALL,
    "reader": _SMALL,
    "writer": _SMALL,
    "remove_reader": _SMALL,
    "remove_writer": _SMALL,
    "send": _SMALL,
    "receive": _SMALL,
    "future": _NOTHING,
    "result": _SMALL,
    "exception": _SMALL,
    "cancel_future": _SMALL,
    "when_done": _SMALL,
    "not_when_done": _SMALL,
    "variable": _SMALL,
    "fail": _FAILURE,
    "stop": _NOTHING,
    "debug": st.booleans(),
}
_STEPS = {
    "sleep": _DELAY,
    "bare_yield": _NOTHING,
    "wrong_yield": _NOTHING,
    "await_future": _SMALL,
    "await_task": _SMALL,
    "shield": _SMALL,
    "gather": _NOTHING,
    "wait_for": _DELAY,
    "wait": _SMALL,
    "catch": _NOTHING,
    "put": _SMALL,
    "get": _NOTHING,
    "locked": _NOTHING,
    "set_event": _NOTHING,
    "wait_event": _NOTHING,
}
_WITH_CHILDREN = {"soon", "threadsafe", "due", "later", "task", "reader", "writer"}
_WITH_CHILDREN |= {"when_done", "gather", "wait_for", "catch", "locked"}

# A node and how far back its parent is: lists stay long, and are easily made shorter.
_placed = st.one_of(
    *(
        st.tuples(st.just(name), argument, st.integers(0, 6))
        for name, argument in {**_OPERATIONS, **_STEPS}.items()
    )
)


def _grow(flat):
    root = []
    lists = [root]
    for name, argument, back in flat:
        children = []
        lists[-1 - back % len(lists)].append((name, argument, children))
        if name in _WITH_CHILDREN:
            lists.append(children)
    return tuple(root)


def programs(least=15, most=60):
    """Strategy: programs of so many nodes; of the least, most of the time."""
    return st.lists(_placed, min_size=least, max_size=most).map(_grow)


def trace(loop, run, program):
    """What the program observes on the loop, which run(loop) runs until it stops."""
    machine = _Machine(loop)
    try:
        machine.carry_out(program, run)
    finally:
        machine.close()
    return list(machine.seen)  # the collector may still add to it


@types.coroutine
def _yield(value):
    yield value


class _Machine:
    def __init__(self, loop):
        self.loop = loop
        self.seen = []
        self.iteration = 0
        self.labels = 0
        self.handles = []
        self.tasks = []
        self.futures = []
        self.done_callbacks = []
        self.shared = contextvars.copy_context()
        self.ends = [*socket.socketpair(), *socket.socketpair()]
        self.clock = socket.socketpair()
        for end in (*self.ends, *self.clock):
            end.setblocking(False)
        self.long_ago = loop.time() - 1000
        loop.set_exception_handler(self.report)

    def carry_out(self, program, run):
        self.loop.call_soon(self.begin, program)
        self.run(run, ITERATIONS)
        for end in self.ends:
            self.loop.remove_reader(end)
            self.loop.remove_writer(end)
        for handle in self.handles:
            handle.cancel()
        for _ in range(ENDINGS):  # coroutines may catch it and go on
            for task in self.tasks:
                task.cancel()
            self.iteration = 0
            self.run(run, ENDING)
        self.note("left", [self.describe(each) for each in self.tasks + self.futures])
        # What is reported at collection comes in no order.
        before = len(self.seen)
        del self.tasks[:], self.futures[:], self.handles[:], self.done_callbacks[:]
        self.queue = self.lock = self.event = None
        gc.collect()
        self.seen[before:] = sorted(self.seen[before:], key=repr)

    def run(self, run, last):
        self.last = last
        while self.iteration < last:
            try:
                run(self.loop)
            except (KeyboardInterrupt, SystemExit) as exc:
                self.note("run ended", type(exc).__name__)
            else:
                self.note("run ended")

    def begin(self, program):
        self.queue = asyncio.Queue(2)
        self.lock = asyncio.Lock()
        self.event = asyncio.Event()
        # Always ready: our loop looks at descriptors less often when nothing comes.
        self.loop.add_writer(self.clock[0], self.tick)
        self.do(program)

    def tick(self):
        self.iteration += 1
        if self.iteration == self.last:
            self.loop.stop()

    def close(self):
        self.loop.remove_writer(self.clock[0])
        for end in (*self.ends, *self.clock):
            end.close()
        self.loop.close()

    # --- what is observed

    def note(self, *what):
        self.seen.append((self.iteration, *what))

    def report(self, loop, context):
        exc = context.get("exception")
        message = context["message"].split(" at 0x")[0].split(" <")[0][:60]
        known = [key for key in sorted(context) if key != "source_traceback"]
        self.note("report", message, type(exc).__name__, known)

    def describe(self, value):
        for kind, known in (("task", self.tasks), ("future", self.futures)):
            for i, each in enumerate(known):
                if each is value:
                    return kind, i, self.state(value)
        return type(value).__name__

    @staticmethod
    def state(future):
        if not future.done():
            return "pending"
        if future.cancelled():
            return "cancelled"
        exc = future.exception()
        return repr(future.result()) if exc is None else type(exc).__name__

    def new_label(self, body):
        self.labels += 1
        return body if self.labels <= MOST_CALLBACKS else ()

    def callback(self, body):
        body = self.new_label(body)
        label = self.labels

        def called(*args):
            current = asyncio.current_task() is None
            what = [self.describe(arg) for arg in args]
            self.note("called", label, VARIABLE.get(), current, what)
            self.do(body)

        return called

    def do(self, body):
        for node in body:
            name, argument, children = node
            try:
                if name in _STEPS:
                    self.start([node])
                elif name in _WITH_CHILDREN:
                    getattr(self, name)(argument, children)
                else:
                    getattr(self, name)(argument)
            except (RuntimeError, ValueError, asyncio.InvalidStateError) as exc:
                self.note("raised", name, type(exc).__name__)

    def options(self, context):
        if context == "none":
            return {}
        if context == "own":
            return {"context": contextvars.copy_context()}
        return {"context": self.shared}

    @staticmethod
    def pick(known, i):
        return known[i % len(known)] if known else None

    # --- operations

    def soon(self, context, body):
        callback, options = self.callback(body), self.options(context)
        self.handles.append(self.loop.call_soon(callback, **options))

    def threadsafe(self, context, body):
        callback, options = self.callback(body), self.options(context)
        self.handles.append(self.loop.call_soon_threadsafe(callback, **options))

    def due(self, context, body):
        callback, options = self.callback(body), self.options(context)
        # No two at one time: asyncio leaves their order open.
        when = self.long_ago + self.labels * 37 % 100 + self.labels / 1000
        self.handles.append(self.loop.call_at(when, callback, **options))

    def later(self, delay, body):
        self.handles.append(self.loop.call_later(delay, self.callback(body)))

    def cancel_handle(self, i):
        handle = self.pick(self.handles, i)
        if handle is not None:
            handle.cancel()
            self.note("handle", handle.cancelled())

    def task(self, context, steps):
        self.start(steps, **(self.options(context) if HAS_TASK_CONTEXT else {}))

    def start(self, steps, **options):
        coro = self.inner(steps)
        self.tasks.append(self.loop.create_task(coro, **options))

    def cancel_task(self, i):
        task = self.pick(self.tasks, i)
        if task is not None:
            self.note("cancel", task.cancel())

    def reader(self, i, body):
        self.watch("reader", self.pick(self.ends, i), body)

    def writer(self, i, body):
        self.watch("writer", self.pick(self.ends, i), body)

    def watch(self, kind, end, body):
        callback = self.callback(body)
        calls = []

        def called():
            calls.append(1)
            if len(calls) == 3:  # not for ever
                self.note("removed", getattr(self.loop, f"remove_{kind}")(end))
            callback()

        getattr(self.loop, f"add_{kind}")(end, called)

    def remove_reader(self, i):
        self.note("removed", self.loop.remove_reader(self.pick(self.ends, i)))

    def remove_writer(self, i):
        self.note("removed", self.loop.remove_writer(self.pick(self.ends, i).fileno()))

    def send(self, i):
        self.note("sent", self.pick(self.ends, i).send(b"x"))

    def receive(self, i):
        try:
            self.note("received", self.pick(self.ends, i).recv(100))
        except BlockingIOError:
            self.note("nothing to receive")

    def future(self, _):
        self.futures.append(self.loop.create_future())

    def result(self, i):
        future = self.pick(self.futures, i)
        if future is not None:
            future.set_result(i)

    def exception(self, i):
        future = self.pick(self.futures, i)
        if future is not None:
            future.set_exception(LookupError(i))

    def cancel_future(self, i):
        future = self.pick(self.futures, i)
        if future is not None:
            self.note("cancel", future.cancel())

    def when_done(self, i, body):
        future = self.pick(self.futures + self.tasks, i)
        if future is not None:
            callback = self.callback(body)
            future.add_done_callback(callback)
            self.done_callbacks.append((future, callback))

    def not_when_done(self, i):
        found = self.pick(self.done_callbacks, i)
        if found is not None:
            self.note("removed", found[0].remove_done_callback(found[1]))

    def variable(self, value):
        VARIABLE.set(value)

    def fail(self, kind):
        raise kind

    def stop(self, _):
        self.loop.stop()

    def debug(self, on):
        self.loop.set_debug(on)

    # --- coroutines

    async def coroutine(self, label, steps):
        self.note("begins", label, VARIABLE.get())
        try:
            for node in steps:
                name, argument, children = node
                if name not in _STEPS:
                    self.do([node])
                    continue
                step = getattr(self, name)
                if name in _WITH_CHILDREN:
                    result = await step(argument, children)
                else:
                    result = await step(argument)
                self.note("after", label, name, result, VARIABLE.get())
        except BaseException as exc:
            self.note("leaves", label, type(exc).__name__)
            raise
        return label

    def inner(self, steps):
        steps = self.new_label(steps)
        return self.coroutine(self.labels, steps)

    async def sleep(self, delay):
        await asyncio.sleep(delay)

    async def bare_yield(self, _):
        await _yield(None)

    async def wrong_yield(self, _):
        await _yield(1)

    async def await_future(self, i):
        future = self.pick(self.futures, i)
        if future is not None:
            return await future

    async def await_task(self, i):
        task = self.pick(self.tasks, i)
        if task is not None:  # asyncio.wait(): it may be this one, or wait for it
            await asyncio.wait([task])
            return self.describe(task)

    async def shield(self, i):
        future = self.pick(self.futures + self.tasks, i)
        if future is not None:
            return await asyncio.shield(future)

    async def gather(self, _, steps):
        before = len(self.tasks)
        for step in steps:
            self.start([step])
        return await asyncio.gather(*self.tasks[before:])

    async def wait_for(self, delay, steps):
        return await asyncio.wait_for(self.inner(steps), delay)

    async def wait(self, n):
        known = (self.futures + self.tasks)[: n + 1]
        if known:
            done, pending = await asyncio.wait(known, timeout=0)
            return len(done), len(pending)

    async def catch(self, _, steps):
        try:
            return await self.inner(steps)
        except (Exception, asyncio.CancelledError) as exc:
            return type(exc).__name__

    async def put(self, item):
        await self.queue.put(item)

    async def get(self, _):
        return await self.queue.get()

    async def locked(self, _, steps):
        async with self.lock:
            return await self.inner(steps)

    async def set_event(self, _):
        self.event.set()

    async def wait_event(self, _):
        return await self.event.wait()
