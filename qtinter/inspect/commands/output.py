"""What the commands print: tables, JSON, words for times and places.

On a terminal tables are Rich's; on a pipe a line is a row, without colours, whatever
its length.  Texts of the inspected program are shown without their control characters.
"""

from __future__ import annotations

import csv
import json
import shutil
import sys
from typing import TYPE_CHECKING, Any, Callable

from ..words import place, seconds

__all__ = [
    "chosen",
    "drawn",
    "heading",
    "place",
    "print_json",
    "print_table",
    "safe",
    "seconds",
    "sender",
    "show",
]

if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping, Sequence

    from ..model import Process

    Fields = Mapping[str, Any]
    Columns = Mapping[str, Callable[[Fields], str]]


# Rows, beyond which Rich takes longer to lay them out than somebody wants to wait.
_MOST_FOLDED = 200
_SHORT = 10  # cells: numbers, states and times are not folded
_LEGIBLE = 12  # cells, in which one still sees what a long text is
_NARROWEST = 6  # columns are not made narrower than that


def print_json(value: Any) -> None:
    json.dump(value, sys.stdout, ensure_ascii=False, default=str)
    print()


def drawn(lines: str, plain: str) -> str:
    """Lines of a drawing, or what stands for them where they cannot be written."""
    try:
        lines.encode(sys.stdout.encoding or "ascii")
    except UnicodeEncodeError:
        return plain
    return lines


def safe(text: object) -> str:
    """A text of somebody else's, for a terminal: control characters are escaped."""
    shown = str(text)
    if shown.isprintable():
        return shown
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape").decode()
        for char in shown
    )


def print_table(title: str, columns: Sequence[str], rows: list[list[str]]) -> None:
    rows = [[safe(cell) for cell in row] for row in rows]
    title = safe(title)
    if not sys.stdout.isatty():  # for other programs
        _plain_table(title, columns, rows)
        return
    columns, rows = _without_empty_columns(columns, rows)
    try:
        if _least_width(columns, rows) > shutil.get_terminal_size().columns:
            _stacked_rows(title, columns, rows)
        elif len(rows) > _MOST_FOLDED:
            _fitted_table(title, columns, rows)
        else:
            _rich_table(title, columns, rows)
    except ImportError:
        _plain_table(title, columns, rows)


def _without_empty_columns(
    columns: Sequence[str], rows: list[list[str]]
) -> tuple[Sequence[str], list[list[str]]]:
    """In a terminal there is no room for columns in which nothing is said."""
    kept = [i for i in range(len(columns)) if not rows or any(row[i] for row in rows)]
    return [columns[i] for i in kept], [[row[i] for i in kept] for row in rows]


def _least_width(columns: Sequence[str], rows: list[list[str]]) -> int:
    """Cells of a table whose short columns are whole, and the others legible."""
    widths = [max(map(len, cells)) for cells in zip(columns, *rows)]
    return sum(min(width, _LEGIBLE) for width in widths) + 2 * (len(widths) - 1)


def _stacked_rows(title: str, columns: Sequence[str], rows: list[list[str]]) -> None:
    """A line a cell, where the terminal is too narrow for a table."""
    width = max(map(len, columns), default=0)
    if title:
        print(title)
    for i, row in enumerate(rows):
        if i:
            print()
        for column, cell in zip(columns, row):
            if cell:
                print(f"{column:>{width}}  {cell}")


def _rich_table(title: str, columns: Sequence[str], rows: list[list[str]]) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(
        title=Text(title) if title else None,
        title_justify="left",
        box=box.SIMPLE_HEAD,
        show_edge=False,
        padding=(0, 1, 0, 0),
        pad_edge=False,
    )
    for column, *cells in zip(columns, *rows):
        is_short = max(map(len, cells), default=0) <= _SHORT
        table.add_column(column, overflow="fold", no_wrap=is_short)
    for row in rows:
        table.add_row(*map(Text, row))
    Console().print(table)


def _plain_table(title: str, columns: Sequence[str], rows: list[list[str]]) -> None:
    widths = [max(map(len, cells)) for cells in zip(columns, *rows)]
    if title:
        print(title)
    for row in [list(columns), *rows]:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip())


def _fitted_table(title: str, columns: Sequence[str], rows: list[list[str]]) -> None:
    """A line a row, in the width of the terminal: the widest columns are cut."""
    from ..tui.text import fit, width_of

    widths = [max(map(width_of, cells)) for cells in zip(columns, *rows)]
    left = shutil.get_terminal_size().columns - 2 * (len(widths) - 1)
    while sum(widths) > left and max(widths) > _NARROWEST:
        widths[widths.index(max(widths))] -= 1
    if title:
        print(title)
    for row in [list(columns), *rows]:
        print("  ".join(map(fit, row, widths)).rstrip())


def show(
    options: argparse.Namespace,
    processes: list[Process],
    rows_of: Callable[[Process], Sequence[Fields]],
    columns: Columns,
) -> None:
    """The rows of each application, filtered and sorted as the options say."""
    found = [(process, chosen(options, rows_of(process))) for process in processes]
    if options.json:
        print_json(
            [{"pid": p.info["pid"], "rows": [*map(dict, rows)]} for p, rows in found]
        )
    elif options.csv:
        writer = csv.writer(sys.stdout)
        writer.writerow(["pid", *columns])
        for process, rows in found:
            for row in rows:
                cells = [text(row) for text in columns.values()]
                writer.writerow([process.info["pid"], *cells])
    else:
        for process, rows in found:
            cells_of_rows = [[text(row) for text in columns.values()] for row in rows]
            print_table(heading(process, processes), list(columns), cells_of_rows)


def chosen(options: argparse.Namespace, rows: Sequence[Fields]) -> Sequence[Fields]:
    """What --filter lets through, in the order of --sort (biggest first)."""
    if options.filter is not None:
        rows = [row for row in rows if options.filter(row)]
    if options.sort is not None:
        name = options.sort.lstrip("-")
        rows = sorted(
            rows, key=lambda row: _order(row[name]), reverse=options.sort[0] != "-"
        )
    return rows


def _order(value: Any) -> tuple[int, Any]:
    """Numbers after nothing, texts after numbers."""
    if value is None:
        return (0, 0)
    if isinstance(value, (int, float)):
        return (1, value)
    return (2, str(value))


def heading(process: Process, processes: list[Process]) -> str:
    text = f"{process.info.get('name', '?')}, pid {process.info['pid']}"
    if process.lost:
        text += f", {process.lost} events LOST"
    return text if len(processes) > 1 or process.lost else ""


def sender(wait: Fields) -> str:
    text = wait["sender_class"] or ""
    if wait["sender_name"]:
        text += f" {wait['sender_name']!r}"
    if not wait["sender_alive"]:
        text += " DESTROYED"
    return text.strip()
