"""The commands of ``qtinter-inspect``, one module for each group of them.

A module has ``add_commands(command)``, which is called to build the command line, and
imports what its commands need (a feed, Rich, Textual, Qt) only when one of them runs.
"""

from __future__ import annotations

import argparse
import importlib
from typing import TYPE_CHECKING, Any, Callable

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["ON_FILES", "Command", "add_all", "add_needed"]

Command = Callable[..., argparse.ArgumentParser]
"""``command(name, text, run, target=True, table=None, machine=True, forms={})``
makes the parser of a command.

``target``: True, the application can be given as ``[PID]`` or ``--pid``; ``"--pid"``,
only so; False, not at all.  ``table``: it has ``--csv``, ``--filter`` and ``--sort`` of
these :data:`~qtinter.inspect.fields.FIELDS`.
``machine``: it has ``--json``; ``forms``: other forms of its output, each an option and
its help.  Of all forms one can be chosen."""

# In the order of the help: a module, and the commands that it adds, so that only those
# are imported that are needed.  Paths, because some are not in this folder.
_MODULES = {
    "qtinter.inspect.commands.screens": ("top", "gui"),
    "qtinter.inspect.commands.tables": (
        "ls", "ps", "slots", "waits", "loops", "timers",
    ),
    "qtinter.inspect.commands.tasks": ("task", "tree", "why"),
    "qtinter.inspect.commands.health": ("lag", "lint", "stack"),
    "qtinter.inspect.commands.control": ("cancel", "level"),
    "qtinter.inspect.commands.attach": ("attach",),
    "qtinter.inspect.commands.watch": ("watch",),
    "qtinter.inspect.commands.crash": ("crash",),
    "qtinter.inspect.commands.machine": ("doctor", "completion", "proxy"),
    "qtinter.trace.commands": ("record", "dump", "replay", "export", "diff"),
}  # fmt: skip

# With --host these run on the other machine: they look at files and processes there.
ON_FILES = ("attach", "crash", "diff", "doctor", "dump", "export", "record", "replay")


def add_all(command: Any) -> None:
    """Add the commands of all modules."""
    for module in _MODULES:
        importlib.import_module(module).add_commands(command)


def add_needed(command: Any, words: Sequence[str]) -> None:
    """Add the commands among these words, with all others of their modules.

    All, if there are none among them: then there is help to be shown, or a mistake.
    """
    if list(words) == ["--version"]:
        return
    needed = [m for m, names in _MODULES.items() if not set(names).isdisjoint(words)]
    for module in needed or (_MODULES if words else ()):
        importlib.import_module(module).add_commands(command)
