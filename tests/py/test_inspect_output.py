"""How qtinter-inspect prints what it found, and what it imports for that."""

import io
import re
import subprocess
import sys

import pytest

from qtinter.inspect import commands
from qtinter.inspect.cli import main, parser
from qtinter.inspect.commands.output import print_table

pytest.importorskip("rich", reason="tables on a terminal are Rich's")

LONG = "a_long_name_of_a_function (a_file.py:1000)"
COLUMNS = ["id", "state", "code", "slot"]


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def printed(monkeypatch):
    """The lines of a table on a terminal of 40 columns without colours, or a pipe."""
    for name, value in (("COLUMNS", "40"), ("NO_COLOR", "1"), ("TERM", "xterm")):
        monkeypatch.setenv(name, value)

    def printed(rows, title="", out=Terminal):
        with monkeypatch.context() as patch:
            made = out()
            patch.setattr(sys, "stdout", made)
            print_table(title, COLUMNS, rows)
        text = re.sub("\x1b\\[[0-9;]*m", "", made.getvalue())  # bold is not a colour
        return [line.rstrip() for line in text.splitlines()]

    return printed


def test_states_and_numbers_are_not_folded(printed):
    lines = printed([["12345", "cancelling", LONG, "s"]])
    assert max(map(len, lines)) <= 40
    assert any(line.startswith("12345  cancelling  a_long") for line in lines)
    assert len(lines) > 3  # the code is


def test_empty_columns_are_left_out_on_a_terminal_only(printed):
    rows = [["1", "ready", "f", ""], ["2", "", "g", ""]]
    assert printed(rows)[0].split() == ["id", "state", "code"]
    assert printed(rows, out=io.StringIO)[0].split() == COLUMNS


def test_many_rows_are_a_line_each(printed):
    lines = printed([[str(i), "waiting", LONG, ""] for i in range(1000)], "tasks")
    assert len(lines) == 1002
    assert max(map(len, lines)) <= 40
    assert lines[0] == "tasks"
    assert lines[-1].startswith("999  waiting  a_long")
    assert lines[-1].endswith("…")


# --- what is imported


def test_the_table_of_commands_is_complete():
    listed = [name for names in commands._MODULES.values() for name in names]
    (choices,) = (
        action.choices for action in parser()._actions if action.dest == "command"
    )
    assert list(choices) == listed


@pytest.mark.parametrize("words", [["--socket", "x", "ps", "1"], ["ps"]])
def test_a_command_imports_only_what_it_needs(words, tmp_path):
    script = (
        "import sys\n"
        "from qtinter.inspect.cli import parser\n"
        "options = parser(sys.argv[1:]).parse_args(sys.argv[1:])\n"
        "assert options.command == 'ps'\n"
        "print(*[m for m in sys.modules if m.startswith(('qtinter.trace', 'rich'))])"
    )
    result = subprocess.run(
        [sys.executable, "-c", script, *words],
        capture_output=True,
        cwd=tmp_path,
        text=True,
    )
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout.strip() == ""


def test_an_unknown_command_is_told_all(capsys):
    with pytest.raises(SystemExit) as info:
        main(["nonsense"])
    assert info.value.code == 2
    assert "'record'" in capsys.readouterr().err
