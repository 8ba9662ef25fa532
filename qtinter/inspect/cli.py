"""The command ``qtinter-inspect``: its command line and its exit codes.

The commands themselves are in ``commands/``.
"""

from __future__ import annotations

import argparse
import sys
import textwrap
from typing import TYPE_CHECKING, Any, Callable

from .._version import __version__
from . import commands, remote, stdio
from .commands import arguments, examples
from .commands.sources import NoTargetError
from .errors import IncompatibleError, InspectError, UsageError
from .fields import FIELDS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

EXIT_FINDINGS = 1
EXIT_USAGE = 2
EXIT_NO_TARGET = 3
EXIT_PERMISSION = 4
EXIT_INCOMPATIBLE = 5
EXIT_OUTPUT = 6

_HELP_WIDTH = 78

_EPILOG = """\
A program is shown if it was started with QTINTER_INSPECT=1 in its environment
(or a level from 1 to 4, or the path of the daemon's socket), or has called
qtinter.inspect.enable().  Levels: 1 state, 2 also events, 3 also where tasks
were created and where they wait, 4 also the repr of what they wait for.

The commands speak to the daemon qtinterd and start it if it does not run; only
"crash" and those that work on recordings need none.  Without PID they show all
programs.

examples:
  qtinter-inspect                        watch all programs in this terminal
  qtinter-inspect ls                     which programs there are
  qtinter-inspect ps 4242 -f 'state==waiting and age>5s'
  qtinter-inspect why 17                 why task 17 does not go on
  qtinter-inspect stack 4242             where the program hangs
  qtinter-inspect watch --events | jq .  what happens, as it happens
  qtinter-inspect crash                  the last moments of one that died

exit status:
  0  done                        3  no such program, task, file or daemon
  1  there are findings          4  no permission
  2  wrong use of the command    5  the daemon's version does not fit
                                 6  the output cannot be written

environment:
  QTINTER_RUNTIME_DIR  where sockets and segments are, by default
                       $XDG_RUNTIME_DIR/qtinter or /tmp/qtinter-UID
  QTINTERD             path of the daemon, if it is not found on PATH
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    words = sys.argv[1:] if argv is None else list(argv)
    stdio.prepare()
    try:
        try:
            return _run(words)
        finally:
            sys.stdout.flush()  # here, where a reader that is gone is no error
    except stdio.OutputError as exc:
        stdio.abandon()
        return _fail(str(exc), EXIT_OUTPUT)
    except BrokenPipeError:
        stdio.abandon()
        return 0


def _run(words: list[str]) -> int:
    made = parser(words)
    options = made.parse_args(words)
    if options.host is None and (options.ssh_command or options.remote_command):
        made.error("--ssh-command and --remote-command are of no use without --host")
    try:
        if options.host is not None and options.command in commands.ON_FILES:
            return remote.run_there(words)
        return int(options.run(options) or 0)
    except NoTargetError as exc:
        return _fail(str(exc), EXIT_NO_TARGET)
    except IncompatibleError as exc:
        return _fail(str(exc), EXIT_INCOMPATIBLE)
    except PermissionError as exc:
        return _fail(str(exc), EXIT_PERMISSION)
    except BrokenPipeError:
        raise
    except KeyboardInterrupt:
        return 0
    except UsageError as exc:
        return _fail(str(exc), EXIT_USAGE)
    except OSError as exc:
        text = f"{exc.filename}: {exc.strerror}" if exc.filename else str(exc)
        return _fail(text, EXIT_NO_TARGET)
    except (ImportError, InspectError, ValueError) as exc:
        return _fail(str(exc), EXIT_NO_TARGET)


def _fail(text: str, code: int) -> int:
    stdio.complain(text)
    return code


# --- arguments -----------------------------------------------------------------------


def parser(words: Sequence[str] | None = None) -> argparse.ArgumentParser:
    """The command line, with all commands.

    :param words: with those commands that are needed to parse these.
    """
    made = argparse.ArgumentParser(
        prog="qtinter-inspect",
        description="Show what the asyncio loops of running Qt programs do.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,  # or a later option would make a script's word ambiguous
    )
    made.add_argument("--version", action="version", version=__version__)
    made.add_argument(
        "--socket", metavar="PATH", help="the daemon's socket, if not the usual one"
    )
    remote.add_options(made)
    made.set_defaults(run=_watch_by_default, pid=None, target=None, filter=None)
    added = made.add_subparsers(dest="command", metavar="COMMAND")

    def command(
        name: str,
        text: str,
        run: Callable[[Any], Any],
        target: bool | str = True,
        table: str | None = None,
        machine: bool = True,
        forms: Mapping[str, str] | None = None,
    ) -> argparse.ArgumentParser:
        summary = text.split(". ")[0].split(": ")[0].rstrip(".") + "."
        command = added.add_parser(
            name,
            help=summary,
            description=textwrap.fill(text, _HELP_WIDTH),
            epilog=examples.epilog(name),
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )
        forms = dict(forms or {})
        if table:
            forms["--csv"] = "comma-separated values, as the table shows them"
        if machine:
            forms["--json"] = "machine-readable output"
        one_of = command.add_mutually_exclusive_group() if forms else command
        for option, words_about in forms.items():
            one_of.add_argument(option, action="store_true", help=words_about)
        one_of = command.add_mutually_exclusive_group() if target else command
        if target is True:
            one_of.add_argument(
                "target",
                metavar="PID",
                nargs="?",
                type=arguments.pid,
                help="the application",
            )
        if target:
            one_of.add_argument(
                "-p",
                "--pid",
                type=arguments.pid,
                help="the application, if there are several",
            )
        if table:
            _add_table_options(command, FIELDS[table])
        remote.add_options(command, default=argparse.SUPPRESS)
        command.set_defaults(run=run)
        return command

    if words is None:
        commands.add_all(command)
    else:
        commands.add_needed(command, words)
    return made


def _add_table_options(command: argparse.ArgumentParser, fields: Sequence[str]) -> None:
    def condition(text: str) -> Any:
        from . import filters

        try:
            return filters.compile(text, fields)
        except ValueError as exc:
            raise argparse.ArgumentTypeError(str(exc)) from None

    def order(text: str) -> str:
        if text.lstrip("-") not in fields:
            known = ", ".join(sorted(fields))
            raise argparse.ArgumentTypeError(f"there is no {text!r}; there are {known}")
        return text

    command.add_argument(
        "-f",
        "--filter",
        metavar="CONDITION",
        type=condition,
        help="only rows for which it holds, as: state==waiting and age>5s (names are "
        "those of --json)",
    )
    sort = command.add_argument(
        "--sort",
        metavar="NAME",
        type=order,
        help="the biggest first; --sort=-NAME: the smallest",
    )
    sort.completions = fields  # type: ignore[attr-defined] # for completion.py


def _watch_by_default(options: argparse.Namespace) -> int:
    from .commands.screens import top

    return top(options)


if __name__ == "__main__":
    sys.exit(main())
