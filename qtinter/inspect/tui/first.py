"""The first screen, drawn while Textual is still being imported.

That takes three times as long as getting the data.  So the terminal is taken before,
and gets the same lines that Textual will draw over them; what is typed in the meantime
waits for it.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
from typing import TYPE_CHECKING, Any

from rich.color import ColorSystem

from ..errors import UsageError
from .layout import lay_out
from .scene import Scene, cut, row_cells
from .screens.base import Cell, TableView
from .styles import SELECTED, STYLES, Styles

if TYPE_CHECKING:
    from collections.abc import Sequence

ENTER = "\x1b[?1049h"  # the alternate screen, which is empty then
_LEAVE = "\x1b[?1049l\x1b[?25h"
_HIDE_CURSOR = "\x1b[?25l"
_NO_WRAP, _WRAP = "\x1b[?7l", "\x1b[?7h"
_BARS = 4  # lines that are not of the table
_WORK_SECONDS = 0.2  # for putting rows in order: 200,000 of them


def need_terminal() -> None:
    """
    :raises UsageError: there is nowhere to draw, or nobody to press a key.
    """
    if os.environ.get("TEXTUAL_DRIVER"):  # something else draws
        return
    # Those that Textual uses.
    for stream, what in ((sys.__stdin__, "input"), (sys.__stderr__, "error output")):
        if stream is None or stream.closed or not stream.isatty():
            raise UsageError(
                f"the terminal view needs a terminal, and its standard {what} is none; "
                "ls, ps and watch print on anything"
            )


def can_draw() -> bool:
    """Whether the terminal that there is can be drawn on by ourselves."""
    return (
        os.name == "posix"
        and os.environ.get("TERM", "dumb") not in ("", "dumb")
        and not os.environ.get("TEXTUAL_DRIVER")
    )


class Taken:
    """A terminal that was taken, with its other screen; to be used with ``with``.

    Nothing of what is typed is shown on it.  In the end it is as it was before.

    :ivar before: its attributes, as of ``termios``, to be set when it is given back.
    :ivar is_handed_on: whether Textual sees to the screen now.
    """

    def __init__(self) -> None:
        assert sys.__stdin__ is not None
        self._keyboard = sys.__stdin__.fileno()
        self.before: list[Any] = []
        self.is_handed_on = False

    def __enter__(self) -> Taken:
        import termios

        self.before = termios.tcgetattr(self._keyboard)
        wanted: list[Any] = [*self.before[:6], [*self.before[6]]]
        # As Textual will have it, which also takes Ctrl+C for a key.
        wanted[0] &= ~(termios.ICRNL | termios.INLCR | termios.IGNCR)
        wanted[3] &= ~(termios.ECHO | termios.ICANON | termios.IEXTEN | termios.ISIG)
        wanted[6][termios.VMIN] = 1
        termios.tcsetattr(self._keyboard, termios.TCSANOW, wanted)
        _write(ENTER + _HIDE_CURSOR)
        return self

    def __exit__(self, *_: object) -> None:
        import termios

        if self.is_handed_on:
            return
        _write(_LEAVE)
        with contextlib.suppress(termios.error):  # the terminal has gone
            termios.tcsetattr(self._keyboard, termios.TCSANOW, self.before)


def draw(scene: Scene) -> None:
    """Draw what the scene shows now."""
    width, height = shutil.get_terminal_size()
    scene.viewer.tick()
    scene.view = scene.views[scene.first_view()]
    scene.view.work(_WORK_SECONDS)
    lines = _lines(scene, width, height)
    _write(_NO_WRAP + "\x1b[H" + "\r\n".join(lines) + _WRAP)


def _write(text: str) -> None:
    with contextlib.suppress(OSError):  # it has gone: Textual will find that
        assert sys.__stderr__ is not None
        sys.__stderr__.write(text)
        sys.__stderr__.flush()


def _lines(scene: Scene, width: int, height: int) -> list[str]:
    view = scene.view
    assert isinstance(view, TableView)
    inner = width - 1  # beside the scroll bar
    shown = lay_out(view.columns, inner, view.fixed, 0)
    colors = _colors()

    def drawn(cells: Sequence[Cell], styles: Styles = STYLES) -> str:
        return "".join(
            styles[style].render(text, color_system=colors) for text, style in cells
        )

    def bar(cells: Sequence[Cell]) -> str:
        return drawn(cut(cells, width, "bar"))

    lines = [bar(scene.tabs(width)), bar(scene.heads(shown))]
    scroll_bar = drawn([(" ", "bar")])
    for index in range(height - _BARS):
        cells = cut(row_cells(view, index, shown, inner), inner, "plain")
        is_cursor = index == 0 and bool(view.model.order)
        lines.append(drawn(cells, SELECTED if is_cursor else STYLES) + scroll_bar)
    return [*lines, bar(scene.status()), bar(scene.key_line())]


def _colors() -> ColorSystem | None:
    """What the terminal can show."""
    if os.environ.get("NO_COLOR"):
        return None
    if os.environ.get("COLORTERM", "").strip().lower() in ("truecolor", "24bit"):
        return ColorSystem.TRUECOLOR
    is_256 = "256" in os.environ.get("TERM", "")
    return ColorSystem.EIGHT_BIT if is_256 else ColorSystem.STANDARD
