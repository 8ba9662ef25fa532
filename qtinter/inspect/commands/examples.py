"""What ``--help`` of each command says at its end: examples, and exit codes."""

from __future__ import annotations

_WIDTH = 79

# (the words after qtinter-inspect, what they do).  The tests parse them all.
EXAMPLES: dict[str, tuple[tuple[str, str], ...]] = {
    "top": (
        ("top", "all programs of this machine"),
        ("top -f 'state==waiting and age>5s'", "only what has waited for long"),
        ("--host me@box top", "those of another machine"),
    ),
    "gui": (
        ("gui", "a window with the programs of this machine"),
        ("gui save.qtrace", "the same views of a recording"),
    ),
    "ls": (
        ("ls", "what runs"),
        ("ls --json", "for a script"),
    ),
    "ps": (
        ("ps 4242", "the tasks of a program"),
        ("ps -f 'code~\"save\" and age>5s'", "those of a function, older than 5 s"),
        ("ps --sort busy --csv", "who has used most time first, for a spreadsheet"),
    ),
    "slots": (("slots --sort calls", "the most often called asyncslot first"),),
    "waits": (("waits -f 'not sender_alive'", "signals that can never come"),),
    "loops": (("loops 4242", "what the loops of a program do now"),),
    "timers": (("timers 4242", "what is due next, and who asked for it"),),
    "task": (("task 17 --pid 4242", "everything about task 17"),),
    "tree": (
        ("tree --dot", "a graph, for: | dot -Tsvg > tasks.svg"),
        ("tree --by await", "who waits for whom"),
        ("tree --by creator", "who made whom"),
        ("tree --by object", "calls of asyncslots below their receivers"),
    ),
    "why": (
        ("why 17", "why task 17 does not go on"),
        ("why 17 --json", "the same as data: verdict, chain, circle"),
    ),
    "lag": (("lag 4242", "how late the loop is, and what takes its time"),),
    "lint": (
        ("lint", "what is probably wrong, in all programs"),
        ("lint --fail-on W 4242", "exit with 1 also for warnings"),
    ),
    "stack": (
        ("stack 4242", "where the thread is now"),
        ("stack 4242 --wait", "where it is when it hangs the next time"),
        ("stack 4242 --task 17", "the await chain of a task"),
    ),
    "cancel": (
        ("cancel 17 --message 'stuck'", "task 17 gets CancelledError('stuck')"),
    ),
    "level": (
        ("level 4242 3", "also show where tasks are created and wait"),
        ("level 4242 1", "only the state, no events"),
    ),
    "attach": (("attach 4242", "show a program that was started without"),),
    "watch": (
        ("watch --events", "each event of all programs, one JSON object a line"),
        ("watch 4242 --hz 2", "changes of one program, twice a second"),
    ),
    "crash": (
        ("crash", "the last program that died"),
        ("crash --list", "all that are still there"),
        ("crash 4242-77.qiseg --events 100", "more of its end"),
    ),
    "doctor": (
        ("doctor", "whether all is well"),
        ("--host me@box doctor", "whether it is there"),
    ),
    "completion": (
        ("completion bash", 'in ~/.bashrc: eval "$(qtinter-inspect completion bash)"'),
    ),
    "proxy": (("proxy --stdio", "what --host runs on the other machine"),),
    "record": (
        ("record 4242 -o save.qtrace --for 30s", "half a minute"),
        ("record -o all.qtrace", "until Ctrl+C"),
    ),
    "dump": (("dump 4242 -o last.qtrace", "what is still in its memory"),),
    "replay": (
        ("replay save.qtrace", "what it holds"),
        ("replay save.qtrace --at=-2s", "the state two seconds before its end"),
    ),
    "export": (
        ("export save.qtrace --perfetto -o save.pftrace", "for ui.perfetto.dev"),
    ),
    "diff": (
        ("diff old.qtrace new.qtrace --fail-on p99_step:+20%", "exit with 1 if slower"),
    ),
}

_STATUS = """\
exit status:
  0  done{found}
  2  wrong use of the command
  3  no such program, task, file or daemon
  4  no permission
  5  the daemon's version does not fit
  6  the output cannot be written
"""

_FINDS = {
    "lint": "there are findings as bad as --fail-on, or worse",
    "doctor": "something is bad",
    "diff": "a limit of --fail-on is exceeded",
}


def epilog(name: str) -> str:
    """The end of the help of a command."""
    lines = []
    examples = EXAMPLES.get(name, ())
    if examples:
        lines.append("examples:")
        width = max(len(words) for words, _ in examples)
        for words, what in examples:
            line = f"  qtinter-inspect {words:<{width}}  {what}"
            if len(line) > _WIDTH:
                line = f"  qtinter-inspect {words}\n      {what}"
            lines.append(line)
        lines.append("")
    found = f"\n  1  {_FINDS[name]}" if name in _FINDS else ""
    return "\n".join(lines) + "\n" + _STATUS.format(found=found)
