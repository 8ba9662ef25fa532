"""The fixture ``looptrace``: asking, in a test, what its event loops did so far."""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from typing import TYPE_CHECKING, Any, Callable, Dict, Iterator, List, Optional

import pytest

from qtinter import inspect
from qtinter.trace import (
    AwaitGraph,
    Found,
    Path,
    SlotCall,
    Task,
    Trace,
    TraceIncomplete,
)
from qtinter.trace import Wait as SignalWait

from . import _checks

if TYPE_CHECKING:
    from ._plugin import Plugin, Test

_POLL_MS = 20
_ENDED = ("done", "failed", "cancelled", "destroyed")


class LoopWaitError(_checks.LoopTraceError):
    """What was waited for did not happen; the message has the await graph."""

    __module__ = "pytest_qtinter"


class Questions:
    """The questions of a :class:`qtinter.trace.Trace`, about what is recorded by then.

    What is not listed here, :attr:`trace` answers.
    """

    @property
    def trace(self) -> Trace:
        raise NotImplementedError

    def tasks(self, name: Optional[str] = None, **more: Any) -> Found[Task]:
        return self.trace.tasks(name, **more)

    def slots(self, name: Optional[str] = None, **more: Any) -> Found[SlotCall]:
        return self.trace.slots(name, **more)

    def waits(self, name: Optional[str] = None, **more: Any) -> Found[SignalWait]:
        return self.trace.waits(name, **more)

    def path(self, *names: str) -> Path:
        return self.trace.path(*names)

    def await_graph(self) -> AwaitGraph:
        return self.trace.await_graph()

    def shape(self) -> List[Any]:
        return self.trace.shape()

    def text(self) -> str:
        return self.trace.text()

    def __getattr__(self, name: str) -> Any:
        # steps, stalls, lints, lag, max_step, events, gaps, overlaps(), snapshot(), ...
        if name.startswith("_"):
            raise AttributeError(name)
        return getattr(self.trace, name)


class LoopSpan(Questions):
    """A block of a test; its questions are about that block only."""

    def __init__(self, looptrace: LoopTrace, name: str) -> None:
        self.name = name
        self._looptrace = looptrace
        self._began = time.monotonic_ns()
        self._ended = 0
        self._trace: Optional[Trace] = None

    @property
    def trace(self) -> Trace:
        if self._trace is not None:
            return self._trace
        trace = self._looptrace._read()._part(self._began, self._ended or None)
        if self._ended:
            self._trace = trace
        return trace

    def __repr__(self) -> str:
        return f"<span {self.name}>"


class LoopTrace(Questions):
    """What the event loops of this process have done since the test began."""

    def __init__(self, plugin: Plugin, test: Test) -> None:
        self._plugin = plugin
        self._test = test
        self._spans: List[LoopSpan] = []

    def close(self) -> None:
        self._spans.clear()

    def _read(self) -> Trace:
        trace = self._plugin.trace(self._test)
        if trace is None:
            problems = "; ".join(self._test.problems)
            raise TraceIncomplete(
                "inspection was switched off while the test ran"
                + (f": {problems}" if problems else "")
            )
        return trace

    @property
    def trace(self) -> Trace:
        """The recording so far; it does not grow."""
        return self._read()

    def _where(self) -> str:
        return self._test.folder  # it is not kept for having been asked

    @contextlib.contextmanager
    def span(self, name: str) -> Iterator[LoopSpan]:
        """A block that questions can be asked about, while it runs and afterwards."""
        span = LoopSpan(self, name)
        self._spans.append(span)
        try:
            with inspect.span(name):
                yield span
        finally:
            self._spans.remove(span)
            span._ended = time.monotonic_ns()

    # --- waiting

    def wait(
        self,
        *,
        slot: Optional[str] = None,
        task: Optional[str] = None,
        signal: Optional[str] = None,
        state: str = "done",
        count: int = 1,
        timeout: float = 5.0,
    ) -> None:
        """Let Qt and asyncio run until something is in a state.

        It began in the innermost ``span()`` that is open, or else in the test.  One of
        the three names it:

        :param slot: an asyncslot, of which a call is to be in the state.
        :param task: a task or its coroutine function.
        :param signal: a signal that is waited for; states are ``fired`` (or ``done``),
            ``pending``, ``cancelled``, ``sender_gone`` and ``closed``.
        :param state: done, failed, cancelled, waiting, running, ...
        :param count: how many of them.
        :param timeout: seconds.
        :raises LoopWaitError: it has ended otherwise, or was not there in time; the
            message has the await graph.
        :raises RuntimeError: it was called by a task: use :meth:`reached`.
        """
        condition = _Condition(self, slot, task, signal, state, count, timeout)
        if _is_in_a_task():
            raise RuntimeError(
                "looptrace.wait() would block the loop that runs this coroutine; use "
                "await looptrace.reached() with the same arguments"
            )
        __tracebackhide__ = True
        deadline = time.monotonic() + timeout
        while not condition.holds():
            if time.monotonic() > deadline:
                condition.fail()
            _let_qt_run(_POLL_MS)

    async def reached(
        self,
        *,
        slot: Optional[str] = None,
        task: Optional[str] = None,
        signal: Optional[str] = None,
        state: str = "done",
        count: int = 1,
        timeout: float = 5.0,
    ) -> None:
        """:meth:`wait` for coroutine functions."""
        condition = _Condition(self, slot, task, signal, state, count, timeout)
        __tracebackhide__ = True
        deadline = time.monotonic() + timeout
        while not condition.holds():
            if time.monotonic() > deadline:
                condition.fail()
            await asyncio.sleep(_POLL_MS * 1e-3)

    # --- assertions

    def assert_clean(self, **what: Any) -> None:
        """Fail if something that began in the test is pending, or an exception is lost.

        :param tasks, slots, waits, exceptions: whether these count; they do.
        :param timers: whether timers of ``call_later()`` count; they do not.
        :param ignore: names of tasks, slots and signals that may be pending.
        :raises LoopCleanError: the message lists them, and has the await graph.
        """
        __tracebackhide__ = True
        trace = self._read()
        if self._test.called:
            trace = trace._part(self._test.called, None)
        _checks.check_clean(trace, self._where, **what)

    def assert_budget(self, **limits: Any) -> None:
        """Fail if a figure exceeds its limit: ``max_step="50ms", max_tasks=20``.

        :raises LoopBudgetError: the message says what it was due to.
        :raises ValueError: there is no such figure.
        """
        __tracebackhide__ = True
        budget = {}
        for name, value in limits.items():
            figure = _checks.figure_name(name)
            budget[figure] = _checks.limit_of(figure, value)
        _checks.check_budget(self._read(), budget, self._where)

    def assert_shape(self, path: str) -> None:
        """Fail if other things happened than when the file was written.

        :param path: a JSON file, from the folder of the test file; ``--qtrace-update``
            writes it.
        :raises LoopShapeError: the message has the difference.
        """
        __tracebackhide__ = True
        folder = os.path.dirname(str(self._test.item.path))
        update = self._plugin.settings.update
        _checks.check_shape(self.shape(), os.path.join(folder, path), update)

    def save(self, path: str) -> str:
        """Write the recording so far; returns its path, with the ending."""
        path = os.fspath(path)
        base = path[: -len(".qtrace")] if path.endswith(".qtrace") else path
        return self._plugin.save(self._test, self._read(), base)

    def __repr__(self) -> str:
        return f"<looptrace of {self._test.item.name}>"


class _Condition:
    """What :meth:`LoopTrace.wait` waits for."""

    def __init__(
        self,
        looptrace: LoopTrace,
        slot: Optional[str],
        task: Optional[str],
        signal: Optional[str],
        state: str,
        count: int,
        timeout: float,
    ) -> None:
        given = [
            (kind, name)
            for kind, name in (("slot", slot), ("task", task), ("signal", signal))
            if name is not None
        ]
        if len(given) != 1:
            raise TypeError("say what to wait for: one of slot=, task= and signal=")
        self._kind, self._name = given[0]
        self._state = "fired" if signal and state == "done" else state
        self._count = count
        self._timeout = timeout
        self._looptrace = looptrace
        spans = looptrace._spans
        self._asked: Questions = spans[-1] if spans else looptrace

    def _found(self, trace: Trace) -> List[Any]:
        questions: Dict[str, Callable[[str], Found[Any]]] = {
            "slot": trace.slots,
            "task": trace.tasks,
            "signal": trace.waits,
        }
        return questions[self._kind](self._name).all()

    def _state_of(self, item: Any) -> str:
        if isinstance(item, SignalWait):
            return "fired" if item.fired and self._state == "fired" else item.outcome
        return str(item.state)

    def holds(self) -> bool:
        found = self._found(self._asked.trace)
        states = [self._state_of(item) for item in found]
        if states.count(self._state) >= self._count:
            return True
        __tracebackhide__ = True
        for item, state in zip(found, states):
            if self._state in _ENDED and state in _ENDED and state != self._state:
                self._raise(f"{item}")
        return False

    def fail(self) -> None:
        __tracebackhide__ = True
        found = self._found(self._asked.trace)
        seen = (
            "; ".join(map(str, found[:5])) or f"there was no {self._kind} of that name"
        )
        self._raise(f"not within {self._timeout} s: {seen}")

    def _raise(self, problem: str) -> None:
        __tracebackhide__ = True
        trace = self._asked.trace
        many = f"{self._count} × " if self._count > 1 else ""
        lines = [f"waited for {many}{self._kind} {self._name} to be {self._state}, "
                 f"{problem}"]  # fmt: skip
        lines += ["await graph:", _checks._indented(str(trace.await_graph()))]
        lost = [str(lint) for lint in trace.all_lints() if lint.severity in "EW"]
        if lost:
            lines += ["findings:", *(f"  {lint}" for lint in lost[:5])]
        raise LoopWaitError("\n".join(lines))


def _is_in_a_task() -> bool:
    try:
        return asyncio.current_task() is not None
    except RuntimeError:  # no loop runs
        return False


def _let_qt_run(milliseconds: int) -> None:
    """Runs a Qt event loop for a time, and with it the loops that are attached."""
    from qtinter.bindings import QtCore

    if QtCore.QCoreApplication.instance() is None:
        pytest.fail(
            "looptrace.wait() lets Qt run, and there is no application object: use a "
            "fixture such as qapp or qtinter_loop",
            pytrace=False,
        )
    loop = QtCore.QEventLoop()
    QtCore.QTimer.singleShot(milliseconds, loop.quit)
    (loop.exec if hasattr(loop, "exec") else loop.exec_)()
