"""``top`` and ``gui``: the views that stay open."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import argparse

    from . import Command


def add_commands(command: Command) -> None:
    made = command(
        "top",
        "Watch tasks, slots and signal waits in this terminal (the default).",
        top,
        machine=False,
    )
    made.add_argument("-f", "--filter", metavar="CONDITION", help="only such tasks")
    made = command("gui", "Watch them in a window.", _gui, machine=False)
    made.add_argument("-f", "--filter", metavar="CONDITION", help="only such tasks")
    made.add_argument("file", nargs="?", help="a recording or a segment, instead")


def top(options: argparse.Namespace) -> int:
    try:
        from ..tui import run
    except ImportError as exc:
        raise ImportError(
            f"the terminal view needs textual: pip install 'qtinter[inspect]' ({exc})"
        ) from None
    return run(options)


def _gui(options: argparse.Namespace) -> int:
    from ..gui import run, run_file

    return run(options) if options.file is None else run_file(options.file)
