"""``qtinter-inspect completion bash|zsh|fish``: a script that completes the command.

It is made from the command line itself, so it knows what that knows.  Process ids come
from the names of segments in the runtime directory: no daemon is started by a tab key.
"""

from __future__ import annotations

import argparse
from typing import Any, Iterator

SHELLS = ("bash", "zsh", "fish")

_PROGRAM = "qtinter-inspect"
_FUNCTION = "_qtinter_inspect"
_PIDS, _FILES = "pids", "files"  # kinds of values that are not a fixed list

_USAGE = {
    "bash": f'# For ~/.bashrc: eval "$({_PROGRAM} completion bash)"\n',
    "zsh": f"#compdef {_PROGRAM}\n# A file _{_PROGRAM} in a folder of $fpath; or, in "
    f'~/.zshrc: eval "$({_PROGRAM} completion zsh)"\n',
    "fish": f"# {_PROGRAM} completion fish > "
    f"~/.config/fish/completions/{_PROGRAM}.fish\n",
}

_PIDS_SH = f"""\
{_FUNCTION}_pids() {{
    local directory=$QTINTER_RUNTIME_DIR pid
    [ -n "$directory" ] || directory=${{XDG_RUNTIME_DIR:+$XDG_RUNTIME_DIR/qtinter}}
    [ -n "$directory" ] || directory=/tmp/qtinter-$(id -u)
    for pid in $(command ls "$directory" 2>/dev/null); do
        case $pid in
        *.qiseg) pid=${{pid%%-*}}; kill -0 "$pid" 2>/dev/null && echo "$pid" ;;
        esac
    done
}}
"""

_PIDS_FISH = f"""\
function {_FUNCTION}_pids
    set -l directory $QTINTER_RUNTIME_DIR
    test -n "$directory"; or test -z "$XDG_RUNTIME_DIR"
    or set directory $XDG_RUNTIME_DIR/qtinter
    test -n "$directory"; or set directory /tmp/qtinter-(id -u)
    for name in (command ls $directory 2>/dev/null | string match '*.qiseg')
        set -l pid (string split -m 1 -- - $name)[1]
        kill -0 $pid 2>/dev/null; and echo $pid
    end
end
"""


def script(shell: str, parser: argparse.ArgumentParser) -> str:
    """Return the completion script for a shell.

    :param shell: one of :data:`SHELLS`.
    :param parser: the whole command line.
    :raises ValueError: there is no script for this shell.
    """
    makers = {"bash": _bash, "zsh": _zsh, "fish": _fish}
    if shell not in makers:
        raise ValueError(f"no completion for {shell!r}; for {', '.join(SHELLS)}")
    return _USAGE[shell] + makers[shell](parser)


# --- the command line ----------------------------------------------------------------


def _commands(
    parser: argparse.ArgumentParser,
) -> list[tuple[str, str, argparse.ArgumentParser]]:
    """(name, help, parser) of each command."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            texts = {a.dest: a.help or "" for a in action._choices_actions}
            return [
                (name, texts.get(name, ""), made)
                for name, made in action.choices.items()
            ]
    return []


def _options(parser: argparse.ArgumentParser) -> list[argparse.Action]:
    return [
        action
        for action in parser._actions
        if action.option_strings and action.help != argparse.SUPPRESS
    ]


def _positionals(parser: argparse.ArgumentParser) -> Iterator[argparse.Action]:
    for action in parser._actions:
        is_command = isinstance(action, argparse._SubParsersAction)
        if not action.option_strings and not is_command:
            yield action


def _takes_value(action: argparse.Action) -> bool:
    return action.nargs != 0


def _values(action: argparse.Action) -> str:
    """The words that an argument can be, or the kind of them; "" if anything."""
    words = action.choices or getattr(action, "completions", None)
    if words is not None:
        return " ".join(map(str, words))
    if action.dest in ("pid", "target"):
        return _PIDS
    if action.metavar in ("PATH", "FILE") or action.dest in ("file", "output"):
        return _FILES
    return ""


def _help(action: argparse.Action) -> str:
    return " ".join((action.help or "").split()).replace("%%", "%")


# --- bash and zsh: one function, which says what may come next -----------------------


def _candidates(parser: argparse.ArgumentParser) -> str:
    """The body that sets `found` to words, "pids" or "files" (POSIX shell)."""
    lines = ['    case "$command $previous" in']
    for name, made in [("", parser), *((name, p) for name, _, p in _commands(parser))]:
        for action in filter(_takes_value, _options(made)):
            patterns = "|".join(f'"{name} {word}"' for word in action.option_strings)
            lines.append(f"    {patterns}) found={_quoted(_values(action))}; return ;;")
    lines += ["    esac", "    case $command:$current in"]
    lines.append(f"    :-*) found={_quoted(_words(parser))} ;;")
    names = " ".join(name for name, _, _ in _commands(parser))
    lines.append(f"    :*) found={_quoted(names)} ;;")
    for name, _, made in _commands(parser):
        lines.append(f"    {name}:-*) found={_quoted(_words(made))} ;;")
        values = list(filter(None, map(_values, _positionals(made))))
        lines.append(f"    {name}:*) found={_quoted(' '.join(values))} ;;")
    return "\n".join([*lines, "    esac", ""])


def _words(parser: argparse.ArgumentParser) -> str:
    return " ".join(word for a in _options(parser) for word in a.option_strings)


def _with_values(parser: argparse.ArgumentParser) -> str:
    actions = filter(_takes_value, _options(parser))
    return "|".join(word for action in actions for word in action.option_strings)


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "'\\''") + "'"


def _find_command(words: str, parser: argparse.ArgumentParser) -> str:
    """The part that finds the command among the words before the current one."""
    return f"""\
    for word in {words}; do
        if [ -n "$skip" ]; then skip=; continue; fi
        case $word in
        {_with_values(parser)}) skip=1 ;;
        -*) ;;
        *) command=$word; break ;;
        esac
    done
"""


def _bash(parser: argparse.ArgumentParser) -> str:
    return f"""\
{_PIDS_SH}
{_FUNCTION}_find() {{
{_candidates(parser)}}}

{_FUNCTION}() {{
    local current=${{COMP_WORDS[COMP_CWORD]}} previous=${{COMP_WORDS[COMP_CWORD-1]}}
    local command= found= skip= word
{_find_command('"${COMP_WORDS[@]:1:COMP_CWORD-1}"', parser)}\
    {_FUNCTION}_find
    COMPREPLY=()
    for word in $found; do
        case $word in
        {_PIDS}) COMPREPLY+=($(compgen -W "$({_FUNCTION}_pids)" -- "$current")) ;;
        {_FILES}) compopt -o filenames 2>/dev/null
            local IFS=$'\\n'; COMPREPLY+=($(compgen -f -- "$current")) ;;
        *) COMPREPLY+=($(compgen -W "$word" -- "$current")) ;;
        esac
    done
}}
complete -F {_FUNCTION} {_PROGRAM}
"""


def _zsh(parser: argparse.ArgumentParser) -> str:
    described = [
        _quoted(f"{name}:{text}".replace("\n", " "))
        for name, text, _ in _commands(parser)
    ]
    return f"""\
{_PIDS_SH}
{_FUNCTION}_find() {{
{_candidates(parser)}}}

{_FUNCTION}() {{
    emulate -L zsh
    local current=$words[CURRENT] previous=$words[CURRENT-1]
    local command= found= skip= word
    local -a described
    described=({" ".join(described)})
{_find_command('"${(@)words[2,CURRENT-1]}"', parser)}\
    {_FUNCTION}_find
    if [[ -z $command && $current != -* && $found != *{_PIDS}* ]]; then
        if [[ $found = *' '* ]]; then _describe command described; return; fi
    fi
    for word in ${{=found}}; do
        case $word in
        {_PIDS}) compadd -- $({_FUNCTION}_pids) ;;
        {_FILES}) _files ;;
        *) compadd -- $word ;;
        esac
    done
}}
if [[ $funcstack[1] = _{_PROGRAM} ]]; then
    {_FUNCTION} "$@"
else
    compdef {_FUNCTION} {_PROGRAM}
fi
"""


# --- fish ----------------------------------------------------------------------------


def _fish(parser: argparse.ArgumentParser) -> str:
    lines = [_PIDS_FISH, f"complete -c {_PROGRAM} -f"]
    names = " ".join(name for name, _, _ in _commands(parser))
    first = f"'not __fish_seen_subcommand_from {names}'"
    for action in _options(parser):
        lines.append(_fish_option(first, action))
    for name, text, made in _commands(parser):
        lines.append(
            f"complete -c {_PROGRAM} -n {first} -a {name} -d {_fish_quoted(text)}"
        )
        condition = f"'__fish_seen_subcommand_from {name}'"
        for action in _options(made):
            lines.append(_fish_option(condition, action))
        for values in filter(None, map(_values, _positionals(made))):
            lines.append(
                f"complete -c {_PROGRAM} -n {condition} {_fish_values(values)}"
            )
    return "\n".join([*lines, ""])


def _fish_option(condition: str, action: argparse.Action) -> str:
    words = [f"complete -c {_PROGRAM} -n {condition}"]
    for word in action.option_strings:
        words.append(f"-l {word[2:]}" if word.startswith("--") else f"-s {word[1:]}")
    if _takes_value(action):
        words.append("-x" if _values(action) != _FILES else "-r")
        if _values(action):
            words.append(_fish_values(_values(action)))
    return " ".join([*words, f"-d {_fish_quoted(_help(action))}"])


def _fish_values(values: str) -> str:
    if values == _FILES:
        return "-F"
    return f"-a '({_FUNCTION}_pids)'" if values == _PIDS else f"-a {_quoted(values)}"


def _fish_quoted(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


def run(options: Any) -> int:
    """The command; ``options.shell`` is the shell."""
    from .cli import parser

    print(script(options.shell, parser()), end="")
    return 0
