"""How qtinter-inspect prints what it found, and what it imports for that."""

import io
import pathlib
import re
import subprocess
import sys

import pytest

from qtinter.inspect import commands
from qtinter.inspect.cli import main, parser
from qtinter.inspect.commands.output import drawn, print_table

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


# --- on a terminal that cannot show everything


def test_a_line_for_each_cell_where_there_is_no_room_for_a_table(printed, monkeypatch):
    monkeypatch.setenv("COLUMNS", "20")
    lines = printed([["1", "waiting", LONG, ""], ["2", "ready", "f", ""]], "tasks")
    assert lines == [
        "tasks",
        "   id  1",
        "state  waiting",
        f" code  {LONG}",
        "",
        "   id  2",
        "state  ready",
        " code  f",
    ]


def test_drawings_where_the_locale_has_no_lines(monkeypatch):
    written = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    with monkeypatch.context() as patch:
        patch.setattr(sys, "stdout", written)
        assert drawn("└─ ", "`- ") == "`- "
    written = io.TextIOWrapper(io.BytesIO(), encoding="utf-8")
    with monkeypatch.context() as patch:
        patch.setattr(sys, "stdout", written)
        assert drawn("└─ ", "`- ") == "└─ "


# --- the command line


@pytest.mark.parametrize(
    "words",
    [
        "ps 12 --pid 13",
        "ps --json --csv",
        "tree --dot --json",
        "stack --task 3 --wait",
        "stack --task 3 --loop 1",
        "crash a.qiseg --list",
        "replay a.qtrace --gui --text",
        "replay a.qtrace --json --gui",
        "export a.qtrace --csv --html",
        "gui a.qtrace --pid 3",
        "gui a.qtrace -f id==1",
        "gui --at 3s",
        "--host box gui a.qtrace",
        "--socket a gui a.qtrace",
        "record -o a.qtrace --pre 3s",
        "ps --ssh-command ssh",
        "ps --remote-command qi",
    ],
)
def test_options_that_contradict_each_other_or_mean_nothing(words, capsys):
    assert usage_error(words.split())
    err = capsys.readouterr().err
    assert "qtinter-inspect" in err
    assert "Traceback" not in err


@pytest.mark.parametrize(
    "words",
    [
        "ps 0",
        "ps -p -5",
        "ps x",
        "ps --fil id==2",  # no beginnings of options
        "watch --hz 0",
        "watch --hz 51",
        "watch --hz=-1",
        "crash --events=-3",
        "task x",
        "level 3 7",
        "attach 0",
        "ls 3",
        "doctor 3",
    ],
)
def test_arguments_out_of_their_range(words, capsys):
    assert usage_error(words.split())
    assert "usage: qtinter-inspect" in capsys.readouterr().err


def usage_error(words):
    try:
        return main(words) == 2
    except SystemExit as exc:
        return exc.code == 2


def test_an_export_to_the_standard_output_is_not_followed_by_json(tmp_path, capsys):
    data = pathlib.Path(__file__).parents[1] / "data" / "trace"
    recording = str(min(data.rglob("*.qtrace")))
    assert main(["export", recording, "--jsonl", "--json", "-o", "-"]) == 2
    assert "--json" in capsys.readouterr().err


@pytest.mark.parametrize(
    "name", [n for names in commands._MODULES.values() for n in names]
)
def test_help_is_a_page(name, monkeypatch, capsys):
    """It says what the command does, each of its words, examples, and exit codes."""
    monkeypatch.setenv("COLUMNS", "80")
    made = parser()
    (subparsers,) = (a.choices for a in made._actions if a.dest == "command")
    assert len(subparsers[name].description) > 20
    for action in subparsers[name]._actions:
        assert action.help, (name, action.dest)
    with pytest.raises(SystemExit) as info:
        main([name, "--help"])
    assert info.value.code == 0
    out = capsys.readouterr().out
    assert "examples:\n  qtinter-inspect " in out
    assert "exit status:\n  0  done" in out
    assert max(map(len, out.splitlines())) <= 80
    out.encode("ascii")  # in any locale


def test_the_help_of_all_fits_into_80_columns(monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "80")
    with pytest.raises(SystemExit):
        main(["--help"])
    assert max(map(len, capsys.readouterr().out.splitlines())) <= 80
