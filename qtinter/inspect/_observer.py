"""Rows of what only the package knows: asyncslots, signal waits, objects, jobs.

An observer exists while inspection is on (``_probe.active``).  Its methods are called
on the thread of the loop concerned, with nothing pending; they must not raise into the
code they observe, so each of them is short and touches only what it was given.

Rows are written through ``_core``: a row is (index, id); ids are never used again.
"""

from __future__ import annotations

import functools
import logging
import time
import weakref
from typing import TYPE_CHECKING, Any

from .. import _core, _probe
from .._slots import _is_qobject
from .._tasks import coroutine_of
from . import _lints

if TYPE_CHECKING:
    from collections.abc import Callable

# Numbers of proto/entities.def and proto/records.def; tests compare them.
TASK, SLOT, WAIT, OBJECT, TIMER, WATCH, JOB, LOOP = range(1, 9)
SLOT_REGISTERED, SLOT_GONE = 20, 24  # what comes between is slot_record.c's
SLOT_DELAYED = 25
WAIT_BEGAN, WAIT_FIRED, WAIT_ENDED, SENDER_DESTROYED = range(30, 34)
STREAM_PUSH, STREAM_DROP = 34, 35
JOB_SUBMITTED = 60
TASK_UNRETRIEVED = 17
MARK, SPAN_BEGAN, SPAN_ENDED = 90, 91, 92

OVERLAPS = ("allow", "drop", "restart", "queue")
FORMS = ("asyncsignal", "signalwait", "asyncsignalstream", "multisignal")
ENDED_FIRED, ENDED_CANCELLED, ENDED_SENDER_GONE, ENDED_CLOSED = range(4)

_now = time.monotonic_ns


def _harmless(method: Any) -> Any:
    """A method whose failure ends the observation, and not what is observed.

    It does nothing once the observer is closed, whoever still has it.
    """

    @functools.wraps(method)
    def guarded(self: Any, *args: Any) -> Any:
        observer = getattr(self, "_observer", self)
        if not observer.on:
            return None
        try:
            return method(self, *args)
        except Exception:
            if not observer.on:  # another thread has just called disable()
                return None
            observer.on = False
            if _probe.active is observer:
                _probe.active = None
            # Not before it is needed: pytest goes through all loggers in each test.
            logging.getLogger("qtinter.inspect").warning(
                "asyncslots and waits are not shown any more", exc_info=True
            )
            return None

    return guarded


class WaitRecord:
    """A signal wait in force."""

    __slots__ = (
        "_observer", "dropped", "fired", "futures", "id", "loop", "over", "row",
        "sender",
    )  # fmt: skip

    def __init__(
        self, observer: Observer, loop: Any, row: int, ident: int, sender: int
    ) -> None:
        self._observer = observer
        self.loop = loop
        self.row = row
        self.id = ident
        self.sender = sender
        self.fired = self.dropped = 0
        self.futures: list[Any] = []
        self.over = ENDED_CANCELLED

    @_harmless
    def waits(self, future: Any) -> None:
        """Whoever waits for this future waits for the signal."""
        self.futures.append(future)
        _core.inspect_known(future, WAIT, self.id)

    @_harmless
    def waits_no_more(self, future: Any) -> None:
        """The opposite of :meth:`waits`."""
        if future in self.futures:
            self.futures.remove(future)
            _core.inspect_forget(future)

    @_harmless
    def emitted(self, nargs: int) -> None:
        """The signal came; what is completed until :meth:`delivered` is its doing."""
        if self.row < 0:
            return
        self.fired += 1
        self.over = ENDED_FIRED
        _core.inspect_row_set(WAIT, self.row, {"fired": self.fired})
        _core.inspect_record(WAIT_FIRED, self.loop, nargs, self.id, 0)
        _core.inspect_cause(WAIT, self.id)

    @_harmless
    def delivered(self) -> None:
        _core.inspect_cause(0, 0)

    @_harmless
    def buffered(self, count: int, dropped: int, pushed: bool) -> None:
        """The buffer of a stream changed."""
        if self.row < 0:
            return
        _core.inspect_row_set(WAIT, self.row, {"buffered": count, "dropped": dropped})
        if pushed:
            _core.inspect_record(STREAM_PUSH, self.loop, count, self.id, 0)
        if dropped != self.dropped:
            self.dropped = dropped
            _core.inspect_record(STREAM_DROP, self.loop, dropped, self.id, 0)

    @_harmless
    def sender_gone(self) -> None:
        if self.row < 0:
            return
        self.over = ENDED_SENDER_GONE
        _core.inspect_row_set(WAIT, self.row, {"sender_alive": 0})
        _core.inspect_record(SENDER_DESTROYED, self.loop, 0, self.id, self.sender)

    @_harmless
    def ended(self) -> None:
        if self.row < 0:
            return  # its loop was closed before
        for future in self.futures:
            _core.inspect_forget(future)
        self.futures.clear()
        self._observer.wait_ended(self)
        _core.inspect_row_retire(WAIT, self.row)
        self.row = -1
        _core.inspect_record(WAIT_ENDED, self.loop, self.over, self.id, 0)


class Observer:
    """What ``_probe.active`` is while inspection is on."""

    def __init__(self) -> None:
        self.on = True
        # By slot and receiver: a slot is a method of many objects.
        self._slots: dict[tuple[int, int], _core.SlotRecord] = {}
        self._waits: dict[int, WaitRecord] = {}
        self._objects: dict[int, tuple[int, int]] = {}  # address -> (row, id)
        self._users: dict[int, int] = {}  # id of an object -> waits and slots of it
        self._destroyed: dict[int, int] = {}  # id -> row, as long as it has users
        self._links: dict[int, Any] = {}
        self._spans = 0

    def close(self) -> None:
        """Forgets everything; called while the core's probe is still there."""
        self.on = False
        for record in self._slots.values():
            record.links.clear()
            record.retire()
        for wait in list(self._waits.values()):
            _core.inspect_row_retire(WAIT, wait.row)
        for row, _ in self._objects.values():
            _core.inspect_row_retire(OBJECT, row)
        for row in self._destroyed.values():
            _core.inspect_row_retire(OBJECT, row)
        for link in self._links.values():
            link.close()
        for owned in (self._slots, self._waits, self._objects, self._links):
            owned.clear()
        self._users.clear()
        self._destroyed.clear()

    # --- asyncslots

    @_harmless
    def slot_made(self, slot: Any, receiver: Any = None) -> _core.SlotRecord | None:
        """Returns the record of a slot for a receiver, made if there is none."""
        key = (id(slot), 0 if receiver is None else id(receiver))
        record = self._slots.get(key)
        if record is not None:
            return record
        home = slot.home() if slot.home is not None else None
        code = _core.inspect_code(slot.fn)
        owner = self.object_id(receiver)
        made = _core.inspect_row_new(
            SLOT,
            home,
            {
                "name": _core.inspect_text(slot.label),
                "code": code,
                "policy": OVERLAPS.index(slot.overlap),
                "created": _now(),
                "receiver": owner,
                "ignore": _core.inspect_text(_lints.ignored(slot.fn, slot.made_at)),
            },
        )
        if made is None:
            return None  # no room
        record = _core.SlotRecord(*made, owner, receiver)
        self._slots[key] = record
        self._use(owner)
        _core.inspect_record(SLOT_REGISTERED, home, code, record.id, owner)
        for obj in (slot, receiver):
            if obj is not None and type(obj).__weakrefoffset__:
                record.links.append(self._link(obj, key))
        return record

    def _link(self, obj: Any, key: tuple[int, int]) -> Any:
        observer = weakref.ref(self)

        def gone(_: Any) -> None:
            alive = observer()
            if alive is not None:
                alive._slot_gone(key)

        return weakref.ref(obj, gone)

    @_harmless
    def _slot_gone(self, key: tuple[int, int]) -> None:
        record = self._slots.pop(key, None)
        if record is not None:
            record.retire()
            _core.inspect_record(SLOT_GONE, None, 0, record.id, 0)
            self._use_no_more(record.receiver)

    @_harmless
    def slot_calling(self, slot: Any, receiver: Any) -> Any:
        """An emission is about to start an invocation: the cause of its task.

        This and :meth:`slot_called` are for slots with options; without, slot_call.c
        uses the record itself.

        :returns: what :meth:`slot_called` is to be given, or None
        """
        record = self.slot_made(slot, receiver)
        if record is None:
            return None
        signal = self.signal_to(receiver) if _core.inspect_level() >= 3 else ""
        record.calling()
        return record, signal

    @_harmless
    def slot_called(
        self, calling: Any, loop: Any, task: Any, args: tuple[Any, ...]
    ) -> None:
        """The invocation has a task, whose first step has run; None: it has none."""
        record, signal = calling
        record.called(loop, task, _lints.class_that_wants_answer(args), signal)

    @_harmless
    def signal_to(self, receiver: Any) -> str:
        """Name of the signal that is calling a slot; "" if it is not known."""
        from ._emissions import signal_of_call

        return signal_of_call(receiver)

    @_harmless
    def answer_to(self, args: tuple[Any, ...]) -> str:
        """The class of an argument that wants an answer within the emission, or ""."""
        return _lints.class_that_wants_answer(args)

    @_harmless
    def slot_refused(self, slot: Any, receiver: Any, loop: Any) -> None:
        """An emission started nothing: overlap="drop"."""
        record = self.slot_made(slot, receiver)
        if record is not None:
            record.refused(loop, OVERLAPS.index(slot.overlap))

    @_harmless
    def slot_delayed(self, slot: Any, receiver: Any, loop: Any, emitted: int) -> None:
        """An emission is called only now, for earlier calls or another thread."""
        record = self.slot_made(slot, receiver)
        if record is not None:
            delay = max(0, _now() - emitted)
            _core.inspect_record(SLOT_DELAYED, loop, 0, record.id, delay)

    # --- signal waits

    @_harmless
    def wait_began(self, loop: Any, signal: Any, sender: Any, user: str) -> Any:
        """Returns the record of a wait that has been connected, None without room."""
        _qt = _binding()
        if sender is None and hasattr(signal, "signal_map"):
            name, form = "multisignal", FORMS.index("multisignal")
        else:
            name = _signal_name(signal)
            form = FORMS.index(user)
            if sender is None:
                from ._senders import sender_of

                sender = sender_of(signal)
        kind, current = _core.inspect_current(loop)
        text, owner = _core.inspect_text(name), self.object_id(sender)
        made = _core.inspect_row_new(
            WAIT,
            loop,
            {
                "signal": text,
                "sender": owner,
                "task": current if kind == TASK else 0,
                "since": _now(),
                "form": form,
                "sender_alive": 1,
                "foreign": int(owner != 0 and _qt.is_of_other_thread(sender)),
            },
        )
        if made is None:
            return None
        record = WaitRecord(self, loop, *made, owner)
        self._use(owner)
        self._waits[record.id] = record
        _core.inspect_record(WAIT_BEGAN, loop, text, record.id, owner)
        return record

    def wait_ended(self, record: WaitRecord) -> None:
        """Lets go of a record; :meth:`WaitRecord.ended` calls this."""
        if self._waits.pop(record.id, None) is not None:
            self._use_no_more(record.sender)

    @_harmless
    def loop_closes(self, loop: Any) -> None:
        """Ends the waits of abandoned tasks, whose records would keep the loop."""
        for record in list(self._waits.values()):
            if record.loop is loop:
                record.ended()

    # --- objects

    @_harmless
    def object_id(self, obj: Any) -> int:
        """Returns the id of a QObject, entered if it is new; 0 for anything else."""
        if obj is None or not _is_qobject(obj):
            return 0
        _qt = _binding()
        if _qt.is_deleted(obj):
            return 0
        address = _qt.address(obj)
        known = self._objects.get(address)
        if known is None:
            parent = obj.parent()
            known = _core.inspect_row_new(
                OBJECT,
                None,
                {
                    "class": _core.inspect_text(type(obj).__name__),
                    "name": _core.inspect_text(obj.objectName()),
                    "created": _now(),
                    "parent": 0
                    if parent is None
                    else self._objects.get(_qt.address(parent), (0, 0))[1],
                },
            )
            if known is None:
                return 0
            self._objects[address] = known
            gone = functools.partial(self._object_gone, address)
            self._links[address] = _qt.when_destroyed(obj, gone)
        return known[1]

    @_harmless
    def _object_gone(self, address: int) -> None:
        known = self._objects.pop(address, None)
        link = self._links.pop(address, None)
        if link is not None:
            link.sender_gone()
        if known is not None and self.on:
            row, ident = known
            _core.inspect_row_set(OBJECT, row, {"destroyed": _now()})
            if ident in self._users:
                self._destroyed[ident] = row  # it can still be told who is missed
            else:
                _core.inspect_row_retire(OBJECT, row)

    def _use(self, ident: int) -> None:
        if ident:
            self._users[ident] = self._users.get(ident, 0) + 1

    def _use_no_more(self, ident: int) -> None:
        left = self._users.get(ident, 0) - 1
        if left > 0:
            self._users[ident] = left
        elif self._users.pop(ident, None) is not None:
            row = self._destroyed.pop(ident, None)
            if row is not None:
                _core.inspect_row_retire(OBJECT, row)

    # --- the rest

    @_harmless
    def job_submitted(self, loop: Any, future: Any, function: Any) -> None:
        """run_in_executor() was called."""
        kind, current = _core.inspect_current(loop)
        task = current if kind == TASK else 0
        code = _core.inspect_code(function)
        made = _core.inspect_row_new(
            JOB, loop, {"code": code, "task": task, "created": _now()}
        )
        if made is not None:
            row, ident = made
            _core.inspect_known(future, JOB, ident, row)
            _core.inspect_record(JOB_SUBMITTED, loop, code, ident, task)

    @_harmless
    def exception_reported(self, loop: Any, context: dict[str, Any]) -> None:
        """The loop's exception handler was called, perhaps by a task that died."""
        task = context.get("task") or context.get("future")
        if task is None or coroutine_of(task) is None:
            return
        if "exception" in context and task.done():
            name = _core.inspect_text(type(context["exception"]).__name__)
            _core.inspect_record(TASK_UNRETRIEVED, loop, 0, 0, name)
        elif not task.done() and isinstance(loop, _core.Loop):
            _core.inspect_task_gone(loop, task)

    @_harmless
    def mark(self, loop: Any, name: str) -> None:
        kind, current = _core.inspect_current(loop)
        task = current if kind == TASK else 0
        _core.inspect_record(MARK, loop, _core.inspect_text(name), task, 0)

    @_harmless
    def span(self, loop: Any, name: str) -> Callable[[], None]:
        """Records the beginning of a span; the result records its end."""
        self._spans += 1
        number, text = self._spans, _core.inspect_text(name)
        kind, current = _core.inspect_current(loop)
        task = current if kind == TASK else 0
        _core.inspect_record(SPAN_BEGAN, loop, text, number, task)

        return functools.partial(self._span_ended, loop, text, number, task)

    @_harmless
    def _span_ended(self, loop: Any, text: int, number: int, task: int) -> None:
        _core.inspect_record(SPAN_ENDED, loop, text, number, task)


@functools.lru_cache(maxsize=None)
def _binding() -> Any:
    """The module about the Qt binding; not there before something of Qt is seen."""
    from .. import _qt

    return _qt


def _signal_name(signal: Any) -> str:
    try:
        signature: str = _binding().signal_signature(signal)
    except (AttributeError, TypeError):  # something with connect(), not a signal
        return type(signal).__name__
    return signature.partition("(")[0].lstrip("2")
