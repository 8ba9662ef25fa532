"""``top`` and ``gui``: the views that stay open."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from ..errors import UsageError
from ..filters import FilterError
from .sources import pid_of

if TYPE_CHECKING:
    from . import Command


def add_commands(command: Command) -> None:
    made = command(
        "top",
        "Watch tasks, slots and signal waits in this terminal (the default).",
        top,
        machine=False,
    )
    made.add_argument("-f", "--filter", metavar="CONDITION", help="only such tasks")
    made = command(
        "gui", "Watch them in a window.", _gui, target="--pid", machine=False
    )
    made.add_argument("-f", "--filter", metavar="CONDITION", help="only such tasks")
    made.add_argument("file", nargs="?", help="a recording or a segment, instead")
    made.add_argument(
        "--at", type=_time, metavar="TIME", help="of a recording: after its beginning"
    )


def _time(text: str) -> float:
    from .. import filters

    try:
        return filters.duration(text)
    except ValueError as exc:
        raise argparse.ArgumentTypeError(str(exc)) from None


def top(options: argparse.Namespace) -> int:
    try:
        from ..tui import run
    except ImportError as exc:
        raise ImportError(
            f"the terminal view needs textual: pip install 'qtinter[inspect]' ({exc})"
        ) from None
    options.pid = pid_of(options)
    try:
        return run(options)
    except FilterError as exc:
        raise UsageError(str(exc)) from None


def _gui(options: argparse.Namespace) -> int:
    from ..gui import run, run_file
    from ..gui.search import Search

    try:
        Search(options.filter or "")
    except FilterError as exc:
        raise UsageError(str(exc)) from None
    options.pid = pid_of(options)
    return run(options) if options.file is None else run_file(options.file, options.at)
