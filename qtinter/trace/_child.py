"""Recording a program that a test has started: QTINTER_TRACE_DIR is set.

The program's segment is made in that folder and stays there however the program ends;
who started it keeps or removes it.
"""

from __future__ import annotations

import atexit
import os
import warnings

from .. import inspect

_EXIT_TIMEOUT_MS = 200


def begin() -> None:
    """Begin to record, unless this process is shown already."""
    if inspect.is_enabled():
        return
    folder = os.environ["QTINTER_TRACE_DIR"]
    connect = os.environ.get("QTINTER_INSPECT", "0") not in ("", "0")
    try:
        os.makedirs(folder, mode=0o700, exist_ok=True)
        inspect.enable(level=3, connect=connect, directory=folder)
    except (OSError, RuntimeError, ValueError) as exc:
        # Not a reason for the program not to start.
        text = f"QTINTER_TRACE_DIR={folder}: {exc}"
        warnings.warn(text, RuntimeWarning, stacklevel=2)
        return
    atexit.register(_leave)


def _leave() -> None:
    if inspect.is_enabled():
        inspect._close(timeout_ms=_EXIT_TIMEOUT_MS, keep=True)
