"""Types of arguments: what texts of the command line stand for.

All raise ``argparse.ArgumentTypeError``, with a text for the user.
"""

from __future__ import annotations

import argparse
import sys
from typing import Callable

__all__ = ["MOST_HZ", "count", "duration", "hertz", "number", "pid", "row_id"]

MOST_HZ = 50  # that a daemon sends


def number(what: str, least: int, most: int = sys.maxsize) -> Callable[[str], int]:
    """The type of a whole number within bounds.

    :param what: the number is; said of any other text.
    """

    def parse(text: str) -> int:
        if text.isdecimal() and least <= int(text) <= most:
            return int(text)
        bounds = (
            f"from {least} on" if most == sys.maxsize else f"from {least} to {most}"
        )
        raise argparse.ArgumentTypeError(f"{text!r} is no {what}: a number {bounds}")

    return parse


pid = number("pid", 1)
row_id = number("id", 0)
count = number("count", 0)
hertz = number("frequency in Hz", 1, MOST_HZ)


def duration(text: str) -> float:
    """Seconds, of a text as 1.5s or 200ms."""
    from .. import filters

    try:
        return float(filters.duration(text))
    except ValueError as exc:
        raise argparse.ArgumentTypeError(str(exc)) from None
