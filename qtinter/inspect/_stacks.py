"""Stacks of loop threads that cannot answer, taken by a signal.

``faulthandler`` can write the Python stack of the thread that gets a signal, although
another one holds the GIL or the thread is in C code.  It is registered here, with a
descriptor that only the sender thread reads; the core puts its own handler around it
(``client/capture.h``), which ignores signals of that number that others send.

Whoever hangs is asked at most eight times per stall.  A signal ends system calls with
EINTR: Python's go on (PEP 475), Qt's too; C code that does not expect it may not, which
is what the number 0 is for.
"""

from __future__ import annotations

import faulthandler
import os
import signal
from typing import Any

from .. import _core

VARIABLE = "QTINTER_INSPECT_SIGNAL"

# Why there are no stacks by a signal; "" while there are.
reason = "inspection is not enabled"

_registered = 0


def number_of(chosen: int | None) -> int:
    """The signal that is meant by the argument of enable(), or by the environment.

    :raises ValueError: the environment names no signal.
    """
    if chosen is not None:
        return int(chosen)
    text = os.environ.get(VARIABLE, "").strip()
    if text.isdecimal():
        return int(text)
    if text:
        named = getattr(signal, text, None)
        if not isinstance(named, signal.Signals):
            raise ValueError(f"{VARIABLE}={text}: neither a number nor a signal's name")
        return int(named)
    last: Any = getattr(signal, "SIGRTMAX", None)
    return 0 if last is None else int(last) - 3


def begin(number: int) -> None:
    """Take stacks by this signal from here on; :data:`reason` says why not."""
    global reason, _registered
    register = getattr(faulthandler, "register", None)
    if number == 0:
        reason = "no signal is chosen for it"
        return
    if register is None:
        reason = "this system's faulthandler has no register()"
        return
    try:
        file = _core.inspect_stacks_prepare(number)
        # chain=False: what comes after us is the default, which ends the process.
        register(number, file=file, all_threads=False, chain=False)
        _registered = number
        _core.inspect_stacks_arm()
    except (OSError, RuntimeError, ValueError) as exc:
        reason = str(exc)
        if _registered:
            faulthandler.unregister(_registered)
            _registered = 0
    else:
        reason = ""


def end(why: str = "inspection is not enabled") -> None:
    """Send no signal any more, and give the signal back."""
    global reason, _registered
    reason = why
    # False: somebody else has it now.
    if _core.inspect_stacks_disarm() and _registered:
        faulthandler.unregister(_registered)
    _registered = 0
