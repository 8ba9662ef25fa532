"""The standard streams of the command.

What cannot be written to standard output (a disk that is full, a terminal that has hung
up) is an error of its own, :class:`OutputError`, and not taken for one of the daemon's
socket or of a file that was to be read.
"""

from __future__ import annotations

import contextlib
import io
import os
import sys
from typing import Any


class OutputError(Exception):
    """Standard output cannot be written to."""


class _Output(io.FileIO):
    def write(self, data: Any) -> int:
        try:
            return super().write(data)
        except BrokenPipeError:  # whoever read it has seen enough
            raise
        except OSError as exc:
            raise OutputError(f"the output cannot be written: {exc.strerror}") from exc


def prepare() -> None:
    """Have all of them there, and standard output tell its errors."""
    if sys.stderr is None:
        sys.stderr = open(os.devnull, "w")  # noqa: SIM115 - to the end of the process
    if sys.stdout is None:  # it was closed: nobody wants to read
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115 - to the end of the process
    # What the locale cannot write is escaped, and is no error.
    binary = getattr(sys.stdout, "buffer", None)
    if type(getattr(binary, "raw", binary)) is io.FileIO:
        sys.stdout = io.TextIOWrapper(
            io.BufferedWriter(_Output(sys.stdout.fileno(), "w", closefd=False)),
            encoding=sys.stdout.encoding,
            errors="backslashreplace",
            line_buffering=bool(sys.stdout.line_buffering),
        )
    elif isinstance(sys.stdout, io.TextIOWrapper):  # of a test, or a Windows console
        sys.stdout.reconfigure(errors="backslashreplace")


def abandon() -> None:
    """Write no more to standard output, nor what is still in its buffer."""
    with contextlib.suppress(OSError, ValueError):  # of a test, it has no descriptor
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def complain(text: str) -> None:
    """Say on standard error what went wrong, if somebody can read it."""
    with contextlib.suppress(OSError):
        print(f"qtinter-inspect: {text}", file=sys.stderr)
        sys.stderr.flush()
