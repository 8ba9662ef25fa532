"""Which columns of a table are shown, and how wide."""

from __future__ import annotations

from typing import Sequence

from .screens.base import Column

GAP = 1  # between two columns


def lay_out(
    columns: Sequence[Column], width: int, fixed: int, skip: int
) -> list[tuple[int, int]]:
    """(index, width) of the columns that there is room for, left to right.

    :param fixed: so many are always there.
    :param skip: so many of the others are passed over.
    """
    chosen = [*range(min(fixed, len(columns))), *range(fixed + skip, len(columns))]
    shown: list[tuple[int, int]] = []
    used = 0
    for index in chosen:
        gap = GAP if shown else 0
        wanted = columns[index].width
        room = width - used - gap
        if room < wanted:
            # Of a column that may grow a part is better than nothing.
            if columns[index].grow and room >= 6:
                shown.append((index, room))
                used += gap + room
            break
        shown.append((index, wanted))
        used += gap + wanted
    left = width - used
    parts = sum(columns[index].grow for index, _ in shown)
    if left > 0 and parts:
        spread = []
        for index, wanted in shown:
            grow = columns[index].grow
            extra = left * grow // parts if parts else 0
            left -= extra
            parts -= grow
            spread.append((index, wanted + extra))
        shown = spread
    return shown


def last_skip(columns: Sequence[Column], width: int, fixed: int) -> int:
    """How many columns can be passed over at most: until the last one is seen."""
    for skip in range(max(0, len(columns) - fixed)):
        shown = lay_out(columns, width, fixed, skip)
        if shown and shown[-1][0] == len(columns) - 1:
            return skip
    return max(0, len(columns) - fixed - 1)
