"""Recording a program that a test has started: QTINTER_TRACE_DIR is set.

The program's segment is made in that folder and stays there however the program ends;
who started it keeps or removes it.
"""

from __future__ import annotations

import os
import sys
import warnings
from typing import Any

from .. import inspect


def begin() -> None:
    """Begin to record, unless this process is shown already."""
    if inspect.is_enabled():
        return
    folder = os.environ["QTINTER_TRACE_DIR"]
    connect = os.environ.get("QTINTER_INSPECT", "0") not in ("", "0")
    try:
        os.makedirs(folder, mode=0o700, exist_ok=True)
        inspect.enable(level=3, connect=connect, directory=folder)
        inspect.keep_segment()
    except (OSError, RuntimeError, ValueError) as exc:
        # Not a reason for the program not to start.
        text = f"QTINTER_TRACE_DIR={folder}: {exc}"
        warnings.warn(text, RuntimeWarning, stacklevel=2)


def begin_after_fork() -> None:
    """[child] Begin to record, if this is a child of multiprocessing.

    Any other is about to become another program.
    """
    util: Any = sys.modules.get("multiprocessing.util")
    if util is not None:
        util.register_after_fork(begin, lambda function: function())
