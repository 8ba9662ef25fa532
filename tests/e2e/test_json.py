"""docs/json.md says what --json prints; here it is compared with what is printed."""

import argparse
import json
import pathlib
import re
import subprocess
import sys

import pytest

from qtinter.inspect import cli

PAGE = pathlib.Path(__file__).resolve().parents[2] / "docs" / "json.md"
PLAIN = {
    "integer": int,
    "number": (int, float),
    "text": str,
    "bool": bool,
    "any": object,
}
ANYTHING = "..."  # a field of that name: there are others, too
NEEDS_REMOTE_EXEC = not hasattr(sys, "remote_exec")


class Page:
    """The page: for each heading its fields, as (what, name, type, is optional)."""

    def __init__(self, text):
        self.sections = {}
        self.lists = set()
        self._bases = {}
        for part in re.split(r"^## ", text, flags=re.MULTILINE)[1:]:
            heading, _, body = part.partition("\n")
            heading = heading.strip().replace("shape: ", "shape ")
            self.sections[heading] = list(self._fields(body))
            base = re.search(r"[Tt]he fields of a \[([^]]*)\]", body)
            if base:
                self._bases[heading] = f"shape {base.group(1)}"
            if body.lstrip().startswith("A list"):
                self.lists.add(heading)

    @staticmethod
    def _fields(body):
        for line in body.splitlines():
            cells = [cell.strip() for cell in line.strip("|").split("|")]
            if not line.startswith("|") or "field" in cells or set(line) <= set("|-"):
                continue
            what = cells.pop(0) if len(cells) == 4 else None
            name, kind = cells[:2]
            kind, _, optional = kind.partition(", ")
            yield what, name, kind, bool(optional)

    def fields(self, section, what=None):
        """Name to (type, whether it may be missing)."""
        base = self._bases.get(section)
        found = self.fields(base) if base else {}
        for its_what, name, kind, optional in self.sections[section]:
            if its_what == what:
                found[name] = kind, optional
        return found

    def wrong(self, value, kind, where):
        """What is not as the page says of a value of this type."""
        if kind.endswith(" or null"):
            if value is not None:
                yield from self.wrong(value, kind[: -len(" or null")], where)
        elif kind.startswith("["):
            if not isinstance(value, list):
                yield f"{where} is no list: {value!r}"
                return
            for n, one in enumerate(value):
                yield from self.wrong(one, kind[1:-1], f"{where}[{n}]")
        elif kind.startswith("{text: "):
            for name, one in value.items():
                yield from self.wrong(one, kind[len("{text: ") : -1], f"{where}.{name}")
        elif kind in PLAIN:
            is_bool = isinstance(value, bool) and kind not in ("bool", "any")
            if is_bool or not isinstance(value, PLAIN[kind]):
                yield f"{where} is no {kind}: {value!r}"
        else:
            yield from self.wrong_object(value, f"shape {kind}", where)

    def wrong_object(self, value, section, where, what=None):
        """What is not as a section says of an object."""
        fields = self.fields(section, what)
        for name in value.keys() - fields.keys():
            if ANYTHING not in fields:
                yield f"{where}.{name} is not described: {value[name]!r}"
        for name, (kind, optional) in fields.items():
            if name in value:
                yield from self.wrong(value[name], kind, f"{where}.{name}")
            elif not optional and name != ANYTHING:
                yield f"{where}.{name} is not there"


@pytest.fixture(scope="module")
def page():
    return Page(PAGE.read_text())


def checked(page, section, text):
    document = json.loads(text)
    rows = document if section in page.lists else [document]
    assert isinstance(rows, list)
    return [
        error
        for n, row in enumerate(rows)
        for error in page.wrong_object(row, section, f"{section} {n}")
    ]


def test_each_command_with_json_has_a_section(page):
    (commands,) = (
        action.choices
        for action in cli.parser()._actions
        if isinstance(action, argparse._SubParsersAction)
    )
    for name, command in commands.items():
        options = command._option_string_actions
        if "--json" in options or "--jsonl" in options:
            assert name in page.sections, name
    shapes = {name for name in page.sections if name.startswith("shape ")}
    assert {name.split()[0] for name in page.sections.keys() - shapes} <= {*commands}


def test_what_the_commands_print(
    page, daemon, start_application, known, inspect, tmp_path
):
    application = known(start_application("--control"))
    pid = str(application.pid)
    first, second = str(tmp_path / "first.qtrace"), str(tmp_path / "second.qtrace")
    application.ask("busy 0.2")
    wrong = []

    def check(section, *words, code=0):
        result = inspect(section.split()[0], "--json", *words)
        assert result.returncode == code, (section, result.stderr)
        wrong.extend(checked(page, section, result.stdout))

    while inspect("task", "1").returncode != 0:
        pass  # the daemon has heard of the application, and not yet of its tasks
    check("task", "1")  # one that has ended is not kept for long
    check("record", "--for", "0.3s", "-o", first)
    check("dump", "-o", second)
    check("export", "--csv", first)
    check("export", "--perfetto", second)
    check("diff", first, second)
    check("replay", second)
    check("replay", second, "--at", "0.1s")
    for section in ("ls", "ps", "slots", "waits", "loops", "timers", "lag", "stack"):
        check(section)
    check("ps", "--all")
    for by in ("await", "creator", "object"):
        check("tree", "--by", by)
    for task in ("2", "3", "4", "5"):
        check("task", task)
        check("why", task)
    application.ask("fault QI201")
    while not json.loads(inspect("lint", "--json").stdout):
        pass
    check("lint", "--fail-on", "I", code=1)
    check("doctor")
    check("level", pid, "2")
    check("cancel", "2")
    if not NEEDS_REMOTE_EXEC:
        check("attach", pid)
    application.kill()
    check("crash")
    check("crash --list", "--list")
    assert not wrong, "\n".join(wrong)


def test_what_watch_prints(page, daemon, application, known):
    known(application)
    command = [sys.executable, "-m", "qtinter.inspect", "watch", "--events"]
    watching = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd="/")
    wrong, seen, asked = [], set(), False
    try:
        for text in watching.stdout:
            line = json.loads(text)
            what = line.pop("what")
            assert isinstance(line.pop("pid"), int)
            seen.add(what)
            wrong += page.wrong_object(line, "watch", what, what)
            if what == "snapshot" and not asked:
                asked = True
                application.ask("task delta")
                application.ask("busy 0.5")
            if {"rows", "events", "lint", "stall"} <= seen:
                application.kill()
            if what == "down":
                break
    finally:
        watching.kill()
        watching.wait()
        watching.stdout.close()
    assert {"up", "down", "snapshot"} <= seen
    assert not wrong, "\n".join(wrong)
    assert seen <= {what for what, *_ in page.sections["watch"]}
