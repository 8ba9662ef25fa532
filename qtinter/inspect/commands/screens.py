"""``top`` and ``gui``: the views that stay open."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..errors import UsageError
from ..filters import FilterError
from . import arguments
from .sources import pid_of

if TYPE_CHECKING:
    import argparse

    from . import Command


def add_commands(command: Command) -> None:
    made = command(
        "top",
        "Watch tasks, slots and signal waits in this terminal (the default). F1 or ? "
        "shows the keys; docs/terminal-view.md describes the screens.",
        top,
        machine=False,
    )
    made.add_argument("-f", "--filter", metavar="CONDITION", help="only such tasks")
    made = command(
        "gui",
        "Watch them in a window. Needs a binding of Qt; docs/window.md describes it.",
        _gui,
        target="--pid",
        machine=False,
    )
    made.add_argument("-f", "--filter", metavar="CONDITION", help="only such tasks")
    made.add_argument("file", nargs="?", help="a recording or a segment, instead")
    made.add_argument(
        "--at",
        type=arguments.duration,
        metavar="TIME",
        help="of a recording: so long after its beginning, as 1.5s",
    )


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
    _refuse_contradictions(options)
    from ..gui import run, run_file
    from ..gui.search import Search

    try:
        Search(options.filter or "")
    except FilterError as exc:
        raise UsageError(str(exc)) from None
    options.pid = pid_of(options)
    return run(options) if options.file is None else run_file(options.file, options.at)


def _refuse_contradictions(options: argparse.Namespace) -> None:
    if options.file is None:
        if options.at is not None:
            raise UsageError("--at is a time of a recording: say which file")
        return
    for option, value in (
        ("--pid", options.pid),
        ("--filter", options.filter),
        ("--host", options.host),
        ("--socket", options.socket),
    ):
        if value is not None:
            raise UsageError(f"{option} is about programs that run, not about a file")
