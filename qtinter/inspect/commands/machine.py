"""``doctor completion proxy``: what concerns the machine, not a program on it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import argparse

    from . import Command


def add_commands(command: Command) -> None:
    command(
        "doctor",
        "Check whether programs can be shown on this machine: places and permissions, "
        "the daemon, packages, and the whole path with a program of its own. The exit "
        "code is 1 if something is bad.",
        _doctor,
        target=False,
    )
    made = command(
        "completion",
        "Print a script for a shell that completes this command.",
        _completion,
        target=False,
        machine=False,
    )
    made.add_argument("shell", choices=("bash", "zsh", "fish"), help="which shell")
    made = command(
        "proxy",
        "Pass the daemon's protocol on: what --host starts on the other machine.",
        _proxy,
        target=False,
        machine=False,
    )
    made.add_argument(
        "--stdio",
        action="store_true",
        required=True,
        help="on standard input and output",
    )


def _proxy(options: argparse.Namespace) -> int:
    from ..proxy import run

    return run(options)


def _doctor(options: argparse.Namespace) -> int:
    from ..doctor import run

    return run(options)


def _completion(options: argparse.Namespace) -> int:
    from ..completion import run

    return run(options)
