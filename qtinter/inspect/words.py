"""Words for what all tools show: durations and places in the code."""

from __future__ import annotations

import os
from typing import Any

__all__ = ["place", "seconds"]


def seconds(value: float | None) -> str:
    """A duration, in at most seven characters; nothing for None."""
    if value is None:
        return ""
    if value < 0:
        return "-" + seconds(-value)
    if value < 0.9995e-3:
        return f"{value * 1e6:.0f} us"
    if value < 0.99995:
        return f"{value * 1e3:.1f} ms"
    if value < 99.95:
        return f"{value:.1f} s"
    if value < 5999.5:
        return f"{value / 60:.1f} min"
    if value < 356400:
        return f"{value / 3600:.1f} h"
    return f"{value / 86400:.1f} d"


def place(code: dict[str, Any] | None) -> str:
    """A code location, with the file's name only."""
    if code is None:
        return ""
    if not code["file"]:
        return str(code["name"])
    return f"{code['name']} ({os.path.basename(code['file'])}:{code['line']})"
