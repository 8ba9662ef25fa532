"""Texts for a terminal: safe ones, of a width, and times, numbers and bars as texts.

Whatever the inspected program names its tasks and objects: nothing of it may move the
cursor, change colours or shift the columns beside it.
"""

from __future__ import annotations

from rich.cells import cell_len, set_cell_size

from ..words import seconds

__all__ = [
    "bar",
    "clean",
    "count",
    "fit",
    "nanoseconds",
    "seconds",
    "sparkline",
    "width_of",
]

ELLIPSIS = "…"
REPLACEMENT = "\ufffd"
BARS = " ▁▂▃▄▅▆▇█"

# Variation selectors: terminals differ in how wide they make what is before.
_DROPPED = frozenset(map(chr, range(0xFE00, 0xFE10)))
_PICTURES = 0x2400  # "␀", the picture of the control character 0


def clean(text: str) -> str:
    """The text with everything visible that would be a command to the terminal.

    Control characters become their pictures, other characters without a form of their
    own (directions, zero widths, lone surrogates) one replacement each.
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join(map(_clean, text))


def _clean(char: str) -> str:
    if char in _DROPPED:
        return ""
    if char.isprintable():
        return char
    code = ord(char)
    if code < 0x20:
        return chr(_PICTURES + code)
    return "␡" if code == 0x7F else REPLACEMENT


def fit(text: str, width: int, right: bool = False) -> str:
    """A clean text, cut or filled to a number of terminal cells."""
    length = len(text) if text.isascii() else cell_len(text)
    if length > width:
        if width <= 1:
            return ELLIPSIS[:width]
        return set_cell_size(text, width - 1) + ELLIPSIS
    padding = " " * (width - length)
    return padding + text if right else text + padding


def width_of(text: str) -> int:
    """How many terminal cells a clean text takes."""
    return len(text) if text.isascii() else cell_len(text)


def nanoseconds(value: int) -> str:
    """A duration in nanoseconds; nothing for 0."""
    return seconds(value * 1e-9) if value else ""


def count(value: int) -> str:
    """A number, in at most six characters."""
    if value < 100_000:
        return str(value)
    rest = float(value)
    for unit in "kMG":
        rest /= 1000
        if rest < 999.5:
            return f"{rest:.3g}{unit}"
    return f"{rest / 1000:.3g}T"


def sparkline(values: list[float], width: int, top: float | None = None) -> str:
    """The last values as bars, one cell each; the highest one, or ``top``, is full."""
    shown = values[-width:] if width > 0 else []
    highest = max([*shown, 0.0]) if top is None else top
    if highest <= 0:
        return (BARS[0] * len(shown)).rjust(width)
    bars = []
    for value in shown:
        level = min(1.0, value / highest) * (len(BARS) - 1)
        # What is not nothing is seen.
        bars.append(BARS[max(1, round(level)) if value > 0 else 0])
    return "".join(bars).rjust(width)


def bar(share: float, width: int) -> str:
    """A horizontal bar of a share of the width, in eighths of a cell."""
    eighths = round(max(0.0, min(1.0, share)) * width * 8)
    full, rest = divmod(eighths, 8)
    text = "█" * full
    if rest:
        text += "▏▎▍▌▋▊▉"[rest - 1]
    return text.ljust(width)
