"""The help: the keys, the screens, the signs."""

from __future__ import annotations

from .base import BOLD, COOL, DIM, HEAD, HOT, PLAIN, Cell, PageView

_KEYS = (
    ("1 ... 8", "the screens, also Tab and Shift+Tab"),
    ("Enter", "what the row leads to: a task, its stacks"),
    ("Esc", "back"),
    ("↑ ↓ PgUp PgDn", "another row (also j k); Home and End: first, last"),
    ("← →", "other columns (also h l)"),
    ("< >", "sort by another column; a click on its head does, too"),
    ("r", "sort the other way round"),
    ("/", "filter the tasks; an empty one shows all"),
    ("t", "tasks as a tree: by what they wait for, by creator, by receiver"),
    ("e", "tasks that have ended, too, as far as they are known"),
    ("Space", "pause: the view stands still, the collection goes on"),
    ("+ -", "a longer, a shorter timeline"),
    ("[ ]", "in a recording: back and on; { }: in larger steps"),
    ("q, Ctrl+C", "leave"),
)
_FILTERS = (
    ("save", "in a name, in code, in what is waited for"),
    ("state==waiting and age>5s", "fields: id name state role code where waits_for"),
    ('code~"save" and not lint', "since age busy scheduled max_step steps wakes"),
    ("wait.kind==signal", "creator woken_by slot exception lint and more"),
)


class HelpView(PageView):
    name = "help"
    title = "Help"
    hints = (("Esc", "back"),)

    def lines(self, width: int) -> list[list[Cell]]:
        lines: list[list[Cell]] = [[("Keys", HEAD)]]
        lines += [[(f"  {key:<15}", BOLD), (text, PLAIN)] for key, text in _KEYS]
        lines += [[], [("Filters", HEAD)]]
        lines += [[(f"  {key:<27}", BOLD), (text, DIM)] for key, text in _FILTERS]
        lines += [
            [],
            [("Signs", HEAD)],
            [("  + created  ○ ready", COOL), ("  ▶ running  × cancelled", HOT)],
            [("  · waiting  ✓ done", PLAIN), ("  ! failed or destroyed", HOT)],
            [("  E!", HOT), (" error ", PLAIN), ("W", HOT), (" warning ", PLAIN),
             ("i", COOL), (" information: see the screen Lints", PLAIN)],
        ]  # fmt: skip
        return lines
