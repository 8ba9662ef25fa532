"""The commands of ``qtinter-inspect``, one module for each group of them.

A module has ``add_commands(command)``, which is called to build the command line, and
imports what its commands need (a feed, Rich, Textual, Qt) only when one of them runs.
"""

from __future__ import annotations

import argparse
import importlib
from typing import Any, Callable

__all__ = ["ON_FILES", "Command", "add_all"]

Command = Callable[..., argparse.ArgumentParser]
"""``command(name, text, run, target=True, table=False, machine=True)`` makes the parser
of a command.

``target``: True, the application can be given as ``[PID]`` or ``--pid``; ``"--pid"``,
only so; False, not at all.  ``table``: it has ``--csv``, ``--filter`` and ``--sort``.
``machine``: it has ``--json``."""

# In the order of the help.  Paths, because some are not in this folder.
_MODULES = (
    "qtinter.inspect.commands.screens",
    "qtinter.inspect.commands.tables",
    "qtinter.inspect.commands.tasks",
    "qtinter.inspect.commands.health",
    "qtinter.inspect.commands.control",
    "qtinter.inspect.commands.watch",
    "qtinter.inspect.commands.crash",
    "qtinter.inspect.commands.machine",
    "qtinter.trace.commands",
)

# With --host these run on the other machine: they look at files and processes there.
ON_FILES = ("attach", "crash", "diff", "doctor", "dump", "export", "record", "replay")


def add_all(command: Any) -> None:
    """Add the commands of all modules."""
    for name in _MODULES:
        importlib.import_module(name).add_commands(command)
