"""qtinter-inspect doctor and completion."""

import argparse
import json
import os
import shlex
import shutil
import subprocess
import sys

import pytest

pytest.importorskip("msgpack", reason="the tools need msgpack")

from qtinter.inspect import completion, doctor
from qtinter.inspect.cli import main, parser
from qtinter.inspect.commands.examples import EXAMPLES
from qtinter.inspect.fields import FIELDS


@pytest.fixture
def runtime(tmp_path, monkeypatch):
    """A runtime directory that may be spoiled."""
    path = tmp_path / "run"
    path.mkdir(0o700)
    monkeypatch.setenv("QTINTER_RUNTIME_DIR", str(path))
    return path


# --- doctor


@pytest.fixture
def without_trying(monkeypatch):
    """The checks only: the whole path is tried once, below."""
    monkeypatch.setattr(doctor, "_try_everything", lambda binding: iter(()))


def findings(socket=None):
    return {finding.what: finding for finding in doctor.examine(socket)}


def test_the_whole_path(runtime, capsys, binding):
    code = main(["doctor", "--json"])
    found = json.loads(capsys.readouterr().out)
    if any("no daemon" in f["text"] for f in found):
        pytest.skip("qtinterd is not built: Qt 6 Network or msgpack-c was missing")
    assert code == 0, found
    tried = {f["what"]: f["status"] for f in found if "self-test" in f["what"]}
    assert tried == {
        "self-test: a daemon": "ok",
        f"self-test: a program ({binding})": "ok",
        "self-test: a thread that hangs": "ok",
    }
    assert list(runtime.iterdir()) == []  # it has a place of its own


def test_a_program_that_cannot_start(runtime, monkeypatch):
    monkeypatch.setattr(doctor, "_VICTIM", "raise SystemExit('no display')")
    monkeypatch.setattr(doctor, "_PATIENCE", 2.0)
    if findings()["qtinterd"].status != "ok":
        pytest.skip("qtinterd is not built: Qt 6 Network or msgpack-c was missing")
    last = list(doctor.examine())[-1]
    assert (last.status, last.text) == ("bad", "the program ended: no display")


@pytest.mark.usefixtures("without_trying")
class TestPlaces:
    def test_all_is_well(self, runtime):
        found = findings()
        assert found["runtime directory"].status == "ok"
        assert found["key"].status == "ok"
        assert found["running daemon"].text.startswith("none")

    def test_nothing_is_there_yet(self, runtime):
        runtime.rmdir()
        assert findings()["runtime directory"].status == "ok"

    @pytest.mark.parametrize("mode", [0o755, 0o770])
    def test_others_may_enter(self, runtime, mode):
        runtime.chmod(mode)
        found = findings()["runtime directory"]
        assert (found.status, found.remedy) == ("bad", f"chmod 700 {runtime}")

    def test_it_is_a_file(self, runtime):
        runtime.rmdir()
        runtime.write_text("")
        assert "is no directory" in findings()["runtime directory"].text

    def test_it_is_a_link(self, runtime, tmp_path):
        runtime.rename(tmp_path / "other")
        runtime.symlink_to(tmp_path / "other")
        assert findings()["runtime directory"].status == "bad"

    def test_a_key_that_others_may_read(self, runtime):
        (runtime / "key").write_bytes(bytes(32))
        (runtime / "key").chmod(0o640)
        found = findings()["key"]
        assert (found.status, found.remedy) == ("bad", f"chmod 600 {runtime / 'key'}")

    def test_a_key_that_is_none(self, runtime):
        (runtime / "key").touch(0o600)
        assert "0 bytes, not 32" in findings()["key"].text

    def test_a_path_that_is_too_long_for_a_socket(self, runtime):
        found = findings(str(runtime / ("x" * 120) / "qtinterd.sock"))["socket"]
        assert found.status == "bad"
        assert "QTINTER_RUNTIME_DIR" in found.remedy

    def test_a_signal_that_is_none(self, runtime, monkeypatch):
        monkeypatch.setenv("QTINTER_INSPECT_SIGNAL", "SIGNONSENSE")
        assert findings()["stack signal"].status == "bad"

    def test_a_daemon_that_does_not_run(self, runtime, monkeypatch, capsys):
        program = runtime / "broken"
        program.write_text("#!/bin/sh\necho no libQt6Core >&2\nexit 127\n")
        program.chmod(0o700)
        monkeypatch.setenv("QTINTERD", str(program))
        assert "does not run: no libQt6Core" in findings()["qtinterd"].text
        assert main(["doctor"]) == 1  # findings
        assert "bad" in capsys.readouterr().out

    def test_no_msgpack(self, runtime, monkeypatch):
        version_of = doctor._version_of
        monkeypatch.setattr(
            doctor, "_version_of", lambda n: None if n == "msgpack" else version_of(n)
        )
        found = findings()
        assert found["msgpack"].status == "bad"
        assert found["msgpack"].remedy == f"{sys.executable} -m pip install msgpack"
        assert "qtinterd" not in found  # what needs it is left out


# --- remedies: each is a command, and after it nothing is found any more

LOOK = """
import json
from qtinter.inspect import doctor
doctor._try_everything = lambda binding: iter(())
print(json.dumps([vars(finding) for finding in doctor.examine()]))
"""
LISTENER = """
import socket, sys
listening = socket.socket(socket.AF_UNIX)
listening.bind(sys.argv[1])
listening.listen()
print("ready", flush=True)
sys.stdin.read()
"""


def no_directory(runtime, monkeypatch):
    runtime.rmdir()
    runtime.write_text("")


def a_link(runtime, monkeypatch):
    runtime.rename(runtime.parent / "other")
    runtime.symlink_to(runtime.parent / "other")


def a_mode(runtime, monkeypatch):
    runtime.chmod(0o755)


def no_parent(runtime, monkeypatch):
    monkeypatch.setenv("QTINTER_RUNTIME_DIR", str(runtime / "no" / "where"))


def a_long_name(runtime, monkeypatch):
    (runtime / ("x" * 120)).mkdir(0o700)
    monkeypatch.setenv("QTINTER_RUNTIME_DIR", str(runtime / ("x" * 120)))


def a_key_of_all(runtime, monkeypatch):
    (runtime / "key").write_bytes(bytes(32))
    (runtime / "key").chmod(0o644)


def a_key_of_nothing(runtime, monkeypatch):
    (runtime / "key").touch(0o600)


def a_key_that_is_a_link(runtime, monkeypatch):
    (runtime / "key").symlink_to("/dev/null")


def a_key_that_is_a_folder(runtime, monkeypatch):
    (runtime / "key").mkdir(0o700)


def no_signal(runtime, monkeypatch):
    monkeypatch.setenv("QTINTER_INSPECT_SIGNAL", "SIGNONSENSE")


def a_signal_of_zero(runtime, monkeypatch):
    monkeypatch.setenv("QTINTER_INSPECT_SIGNAL", "0")


def no_binding(runtime, monkeypatch):
    monkeypatch.setenv("QTINTERBINDING", "PyQt9")


def no_daemon(runtime, monkeypatch):
    monkeypatch.setenv("QTINTERD", str(runtime / "nothing"))


def a_broken_daemon(runtime, monkeypatch):
    (runtime / "broken").write_text("#!/bin/sh\nexit 127\n")
    (runtime / "broken").chmod(0o700)
    monkeypatch.setenv("QTINTERD", str(runtime / "broken"))


@pytest.fixture
def look(runtime, monkeypatch):
    """Findings by name, in a shell in which a command was given before."""
    monkeypatch.setenv("HOME", str(runtime.parent))

    def look(command="true"):
        python = f"{shlex.quote(sys.executable)} -c {shlex.quote(LOOK)}"
        script = f"{command} >&2 && exec {python}"
        result = subprocess.run(
            ["sh", "-c", script], capture_output=True, text=True, timeout=60, cwd="/"
        )
        assert result.returncode == 0, result.stderr
        return {finding["what"]: finding for finding in json.loads(result.stdout)}

    return look


@pytest.mark.parametrize(
    ("spoil", "what"),
    [
        (no_directory, "runtime directory"),
        (a_link, "runtime directory"),
        (a_mode, "runtime directory"),
        (no_parent, "runtime directory"),
        (a_long_name, "socket"),
        (a_key_of_all, "key"),
        (a_key_of_nothing, "key"),
        (a_key_that_is_a_link, "key"),
        (a_key_that_is_a_folder, "key"),
        (no_signal, "stack signal"),
        (a_signal_of_zero, "stack signal"),
        (no_binding, "QTINTERBINDING"),
        (no_daemon, "qtinterd"),
        (a_broken_daemon, "qtinterd"),
    ],
)
def test_a_remedy_works(runtime, monkeypatch, look, spoil, what):
    before = look()
    if before["qtinterd"]["status"] != "ok" and what == "qtinterd":
        pytest.skip("qtinterd is not built: Qt 6 Network or msgpack-c was missing")
    spoil(runtime, monkeypatch)
    found = look()[what]
    assert found["status"] in ("bad", "note")
    assert found["remedy"]
    after = look(found["remedy"])
    assert {name: f["status"] for name, f in after.items()} == {
        name: f["status"] for name, f in before.items()
    }


def test_who_listens_is_ended(runtime, look, monkeypatch):
    path = str(runtime / "qtinterd.sock")
    listener = subprocess.Popen(
        [sys.executable, "-c", LISTENER, path],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert listener.stdout.readline() == "ready\n"
        found = look()["running daemon"]
        assert "does not answer in time" in found["text"]
        assert found["remedy"] == f"kill -9 {listener.pid}"
        assert look(found["remedy"])["running daemon"]["status"] == "ok"
        assert listener.wait(60) == -9
    finally:
        listener.kill()
        listener.communicate()


def test_remedies_can_be_copied(runtime, without_trying, capsys):
    runtime.chmod(0o755)
    assert main(["doctor"]) == 1
    lines = capsys.readouterr().out.splitlines()
    mended = lines.index("What mends it:")
    assert f"  chmod 700 {runtime}    # runtime directory" in lines[mended:]


# --- completion


@pytest.fixture(params=completion.SHELLS)
def shell(request):
    if shutil.which(request.param) is None:
        pytest.skip(f"{request.param} is not installed")
    return request.param


# What asks a shell for the completions of the words: one a line.
ASK = {
    "bash": 'COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _qtinter_inspect; '
    'printf "%s\\n" "${COMPREPLY[@]}"',
    "zsh": "compadd() { shift; print -l -- $* }; "
    "_describe() { print -l -- ${${(P)2}%%:*} }; _files() { print -l -- *(N) }; "
    'words=("$@"); CURRENT=$#; _qtinter_inspect',
    "fish": 'complete -C "$argv" | string split -f 1 \\t',
}


@pytest.fixture
def complete(shell, tmp_path):
    """complete("ps", "--so"): what may come in the place of the last word."""
    script = tmp_path / "script"
    text = completion.script(shell, parser())
    if shell == "zsh":
        text = f"autoload -Uz compinit; compinit -u -D\n{text}"
    script.write_text(f"{text}\n{ASK[shell]}\n")

    def complete(*words):
        words = ("qtinter-inspect", *words)
        command = [shell, *(["-f"] if shell == "zsh" else []), str(script)]
        if shell == "fish":
            words = [" ".join(words)]
        result = subprocess.run(
            [*command, *words], cwd=tmp_path, capture_output=True, text=True, timeout=60
        )
        assert result.stderr == ""
        found = result.stdout.split()
        # zsh chooses from all that may be there.
        return {word for word in found if shell != "zsh" or fits(words, word)}

    def fits(words, word):
        return word.startswith(words[-1])

    return complete


def test_commands(complete):
    assert complete("l") >= {"ls", "lag", "lint", "level"}
    assert complete("--host", "box", "why"[:2]) == {"why"}


def test_options(complete):
    assert "--sort" in complete("ps", "--so")
    assert "--socket" in complete("--so")
    assert "--sort" not in complete("why", "--so")


def test_choices(complete):
    assert complete("tree", "--by", "") == {"await", "creator", "object"}
    assert complete("completion", "") == set(completion.SHELLS)
    assert complete("timers", "--sort", "") == set(FIELDS["timers"])


def test_pids_of_programs_that_run(complete, runtime):
    (runtime / f"{os.getpid()}-1.qiseg").touch()
    (runtime / "999999999-1.qiseg").touch()  # of one that has ended
    assert complete("ps", "") == {str(os.getpid())}


def test_a_pid_that_is_no_pid_runs_nothing(complete, runtime, tmp_path):
    (runtime / "$(touch evil)-1.qiseg").touch()
    (runtime / "`touch evil`-1.qiseg").touch()
    complete("ps", "")
    assert not (tmp_path / "evil").exists()


def test_hostile_help_is_quoted(shell, tmp_path):
    made = argparse.ArgumentParser()
    made.add_argument("--x", help="it's $(touch evil) `touch evil` \\")
    commands = made.add_subparsers()
    commands.add_parser("a", help="'; touch evil; '")
    script = tmp_path / "script"
    script.write_text(completion.script(shell, made))
    start = "autoload -Uz compinit; compinit -u -D; " if shell == "zsh" else ""
    result = subprocess.run(
        [shell, "-c", f"{start}source {script}"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (result.returncode, result.stderr) == (0, "")
    assert not (tmp_path / "evil").exists()


def test_another_shell():
    with pytest.raises(ValueError, match="no completion for 'tcsh'"):
        completion.script("tcsh", parser())


def test_the_command(capsys):
    assert main(["completion", "bash"]) == 0
    assert "complete -F" in capsys.readouterr().out


# --- help


def commands():
    for action in parser()._actions:
        if isinstance(action, argparse._SubParsersAction):
            return action.choices
    raise AssertionError("there are no commands")


def test_every_command_has_examples_and_no_other_has():
    assert set(EXAMPLES) == set(commands())


@pytest.mark.parametrize(
    "words", [words for examples in EXAMPLES.values() for words, _ in examples]
)
def test_examples_can_be_typed(words):
    options = parser().parse_args(shlex.split(words))
    assert options.command in EXAMPLES


@pytest.mark.parametrize("name", sorted(EXAMPLES))
def test_help(name, capsys):
    with pytest.raises(SystemExit) as info:
        main([name, "--help"])
    assert info.value.code == 0
    text = capsys.readouterr().out
    for part in ("examples:", "exit status:", "--host", "another machine:"):
        assert part in text
    assert "%%" not in text
