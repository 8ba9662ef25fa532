"""Ctrl+C and other signals, while a loop runs within Qt.

While the loop runs on the main thread, a signal writes into the loop's self-pipe
(``signal.set_wakeup_fd``), which wakes Qt, which gives the loop a turn, which runs
Python's signal handlers.  Python's own handler for SIGINT would raise KeyboardInterrupt
wherever Python code happens to run, for instance in a slot, from where PyQt aborts the
process; so it is replaced by one that waits for the next turn.  A second Ctrl+C does
not wait.  docs/interrupts.md has all cases.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found] # typeshed has none
import contextlib
import signal
import sys
import threading
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from types import FrameType, TracebackType

    # What the methods below use of the loop that they are part of.
    class _Loop:
        _mode: Any
        _csock: Any
        _ssock: Any
        _signal_fd: int
        _sigint_pending: bool
        _sigint_guarded: bool

        def _in_callback(self) -> bool: ...
        def remove_signal_handler(self, sig: int) -> bool: ...

else:
    _Loop = object

# Not those of the module signal, which turn handlers into enums: that takes as long as
# all else of beginning and ending a run, and leaves reference cycles in Python 3.7.
_set_handler: Any = _signal.signal
_get_handler: Any = _signal.getsignal


class InterruptHook:
    """``sys.excepthook`` while a KeyboardInterrupt of a loop is on its way.

    An exception that leaves a slot gets lost in Qt: the bindings hand it to
    ``sys.excepthook``, and PyQt ends the process if that is Python's own.  This one
    gives ours to the loop, which ends its run, and passes on every other.
    """

    def __init__(self, loop: Any, exc: KeyboardInterrupt) -> None:
        self._loop = loop
        self._exc = exc
        self._before = sys.excepthook
        sys.excepthook = self

    def __call__(
        self,
        exc_type: type[BaseException],
        exc: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        if exc is self._exc:
            self.remove()
            self._loop._interrupt(exc)
        else:
            self._before(exc_type, exc, tb)  # type: ignore[arg-type]

    def remove(self) -> None:
        if sys.excepthook is self:
            sys.excepthook = self._before


class SignalListening(_Loop):
    """The part of a loop with a self-pipe that listens for signals while it runs."""

    _wakeup_fd_before: int | None = None
    _sigint_taken = False
    _interrupt_hook: InterruptHook | None = None

    def _take_signals(self) -> None:
        csock = getattr(self, "_csock", None)
        if csock is None or threading.get_ident() != threading.main_thread().ident:
            return
        wakeup_fd = csock.fileno()
        if not isinstance(wakeup_fd, int):  # a stand-in for the self-pipe, in tests
            return
        with contextlib.suppress(ValueError):  # not the main interpreter
            self._wakeup_fd_before = signal.set_wakeup_fd(
                wakeup_fd, warn_on_full_buffer=False
            )
            if _get_handler(signal.SIGINT) is signal.default_int_handler:
                _set_handler(signal.SIGINT, self._on_sigint)
                self._sigint_taken = True
            self._signal_fd = self._ssock.fileno()

    def _give_signals_back(self) -> None:
        self._signal_fd = -1
        self._sigint_over()
        if self._sigint_taken:
            self._sigint_taken = False
            if _get_handler(signal.SIGINT) == self._on_sigint:
                _set_handler(signal.SIGINT, signal.default_int_handler)
        if self._wakeup_fd_before is None:
            return
        before, self._wakeup_fd_before = self._wakeup_fd_before, None
        try:
            found = signal.set_wakeup_fd(before, warn_on_full_buffer=False)
        except (OSError, ValueError):  # its owner has closed it meanwhile
            found = signal.set_wakeup_fd(-1)
        if found not in (-1, self._csock.fileno()):
            # Somebody else's by now: theirs to give back.
            signal.set_wakeup_fd(found, warn_on_full_buffer=False)

    def _on_sigint(self, signum: int, frame: FrameType | None) -> None:
        raise_here = self._mode.name == "NATIVE" or self._in_callback()
        if not raise_here and not self._sigint_pending:
            # In a slot: for the next turn, which is due because the signal has also
            # written to the self-pipe.
            self._sigint_pending = True
            return
        self._sigint_over()
        exc = KeyboardInterrupt()
        self._interrupt_hook = InterruptHook(self, exc)
        self._sigint_guarded = True
        raise exc

    def _sigint_over(self) -> None:
        """What became of a KeyboardInterrupt is known; the core calls this."""
        self._sigint_guarded = False
        hook, self._interrupt_hook = self._interrupt_hook, None
        if hook is not None:
            hook.remove()

    def remove_signal_handler(self, sig: int) -> bool:
        """Remove the handler of a signal; see asyncio.

        Other than in asyncio, the loop keeps listening for signals while it runs.
        """
        removed = super().remove_signal_handler(sig)
        if removed and sig == signal.SIGINT and self._sigint_taken:
            _set_handler(signal.SIGINT, self._on_sigint)
        if self._wakeup_fd_before is not None:
            signal.set_wakeup_fd(self._csock.fileno(), warn_on_full_buffer=False)
        return removed
