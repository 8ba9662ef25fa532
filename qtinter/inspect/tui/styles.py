"""How the styles of the screens look.

Blue and orange tell apart what matters, for whom red and green look alike, too; what a
colour says is always said by a sign or a word besides.
"""

from __future__ import annotations

from typing import Dict

from rich.style import Style

ORANGE = "#ffaf5f"
BLUE = "#5fafff"
RED = "#ff5f5f"
GREY = "#9a9a9a"
GROUND = "#121418"
BAR = "#22262e"
CURSOR = "#1d4f7c"

Styles = Dict[str, Style]

STYLES: Styles = {
    "plain": Style(color="#e4e4e4", bgcolor=GROUND),
    "dim": Style(color=GREY, bgcolor=GROUND),
    "hot": Style(color=ORANGE, bgcolor=GROUND),
    "cool": Style(color=BLUE, bgcolor=GROUND),
    "bad": Style(color="#ffffff", bgcolor="#a8341f", bold=True),
    "bold": Style(color="#ffffff", bgcolor=GROUND, bold=True),
    "head": Style(color=BLUE, bgcolor=GROUND, bold=True),
    "bar": Style(color="#d0d0d0", bgcolor=BAR),
    "bar.dim": Style(color=GREY, bgcolor=BAR),
    "bar.key": Style(color=ORANGE, bgcolor=BAR, bold=True),
    "bar.on": Style(color="#ffffff", bgcolor=CURSOR, bold=True),
    "bar.hot": Style(color="#101010", bgcolor=ORANGE, bold=True),
    "bar.lost": Style(color="#ffffff", bgcolor="#c01818", bold=True),
    "column": Style(color="#d0d0d0", bgcolor=BAR, bold=True),
    "column.on": Style(color=ORANGE, bgcolor=BAR, bold=True),
}
_SELECTED = Style(bgcolor=CURSOR)
SELECTED: Styles = {name: style + _SELECTED for name, style in STYLES.items()}
