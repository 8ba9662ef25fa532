"""Colours, dark and light, that people with colour-blindness can tell apart.

The hues are those of Okabe and Ito; what differs in meaning differs in lightness or
form, too.  A theme follows the system's palette unless one is chosen.
"""

from __future__ import annotations

import dataclasses
from typing import Any

from .qt import Qt, QtCore, QtGui, QtWidgets

SYSTEM, LIGHT, DARK = "system", "light", "dark"

# By wait kind (proto: enum qi_wait_kind); 0: not known.
_WAITS = {
    0: "#8c8c8c",
    1: "#e69f00",
    2: "#8c8c8c",
    3: "#009e73",
    4: "#cc79a7",
    5: "#56b4e9",
    6: "#d55e00",
    7: "#b8a914",
    8: "#7a5195",
}


@dataclasses.dataclass(frozen=True)
class Theme:
    """The colours of what is drawn by hand."""

    dark: bool
    base: Any
    band: Any  # every other lane
    text: Any
    dim: Any
    grid: Any
    accent: Any
    runs: Any
    ready: Any
    asyncio: Any
    outside: Any
    idle: Any
    lag: Any
    bad: Any
    warning: Any
    brush: Any
    waits: dict[int, Any]

    def of_segment(self, kind: int) -> Any:
        if kind == 0:
            return self.runs
        if kind == 1:
            return self.ready
        return self.waits.get(kind - 2, self.waits[0])


def _color(name: str, alpha: int = 255) -> Any:
    color = QtGui.QColor(name)
    color.setAlpha(alpha)
    return color


def make(dark: bool) -> Theme:
    """The theme for a dark or a light palette."""
    return Theme(
        dark=dark,
        base=_color("#1b1d21" if dark else "#ffffff"),
        band=_color("#202328" if dark else "#f6f7f9"),
        text=_color("#e4e6ea" if dark else "#1f2328"),
        dim=_color("#9aa1ab" if dark else "#646c76"),
        grid=_color("#31353c" if dark else "#e3e6ea"),
        accent=_color("#4aa3ff" if dark else "#0b6bcb"),
        runs=_color("#4f9bea" if dark else "#0072b2"),
        ready=_color("#e69f00"),
        asyncio=_color("#4f9bea" if dark else "#0072b2"),
        outside=_color("#4b5563" if dark else "#ccd2da"),
        idle=_color("#2a2e35" if dark else "#eceff3"),
        lag=_color("#e69f00" if dark else "#c77700"),
        bad=_color("#ff7a59" if dark else "#c2410c"),
        warning=_color("#e69f00" if dark else "#a16207"),
        brush=_color("#4aa3ff" if dark else "#0b6bcb", 46),
        waits={kind: _color(name) for kind, name in _WAITS.items()},
    )


def palette(dark: bool) -> Any:
    """A palette for the whole application."""
    role = QtGui.QPalette.ColorRole
    off = QtGui.QPalette.ColorGroup.Disabled
    names = (
        (role.Window, "#24272c", "#f3f4f6"),
        (role.WindowText, "#e4e6ea", "#1f2328"),
        (role.Base, "#1b1d21", "#ffffff"),
        (role.AlternateBase, "#202328", "#f6f7f9"),
        (role.Text, "#e4e6ea", "#1f2328"),
        (role.Button, "#2d3137", "#f3f4f6"),
        (role.ButtonText, "#e4e6ea", "#1f2328"),
        (role.BrightText, "#ffffff", "#ffffff"),
        (role.ToolTipBase, "#2d3137", "#ffffff"),
        (role.ToolTipText, "#e4e6ea", "#1f2328"),
        (role.PlaceholderText, "#7d848e", "#8a919b"),
        (role.Highlight, "#1f5f9e", "#cfe4fa"),
        (role.HighlightedText, "#ffffff", "#10243a"),
        (role.Link, "#6cb4ff", "#0b5cad"),
        (role.LinkVisited, "#6cb4ff", "#0b5cad"),
        (role.Light, "#3a3f47", "#ffffff"),
        (role.Midlight, "#33373e", "#eceef1"),
        (role.Mid, "#3a3f47", "#cfd4da"),
        (role.Dark, "#15171a", "#b4bac2"),
        (role.Shadow, "#0e0f11", "#8d949d"),
    )
    made = QtGui.QPalette()
    for number, for_dark, for_light in names:
        made.setColor(number, _color(for_dark if dark else for_light))
    for number in (role.WindowText, role.Text, role.ButtonText):
        made.setColor(off, number, _color("#6b727c" if dark else "#9aa1ab"))
    return made


def system_is_dark() -> bool:
    """Whether the desktop asks for dark windows."""
    hints = QtGui.QGuiApplication.styleHints()
    scheme = getattr(hints, "colorScheme", None)  # Qt 6.5
    if scheme is not None and scheme() != Qt.ColorScheme.Unknown:
        return bool(scheme() == Qt.ColorScheme.Dark)
    window = QtWidgets.QApplication.style().standardPalette()
    return bool(window.color(QtGui.QPalette.ColorRole.Window).lightness() < 128)


def apply(choice: str) -> Theme:
    """Puts the palette of a choice in place; returns the theme that goes with it."""
    dark = system_is_dark() if choice == SYSTEM else choice == DARK
    application = QtWidgets.QApplication.instance()
    if application.style().objectName().lower() != "fusion":
        application.setStyle("Fusion")
    sheet = _sheet(dark)
    if application.styleSheet() != sheet:  # it would cost all widgets a new layout
        application.setPalette(palette(dark))
        application.setStyleSheet(sheet)
    return make(dark)


def _sheet(dark: bool) -> str:
    line = "#31353c" if dark else "#dfe3e8"
    head = "#24272c" if dark else "#f3f4f6"
    dim = "#9aa1ab" if dark else "#5b636d"
    accent = "#4aa3ff" if dark else "#0b6bcb"
    return f"""
QToolTip {{ border: 1px solid {line}; padding: 4px; }}
QMainWindow::separator {{ background: {line}; width: 1px; height: 1px; }}
QSplitter::handle {{ background: {line}; }}
QHeaderView::section {{
    background: {head}; color: {dim}; padding: 4px 14px 4px 8px; border: none;
    border-bottom: 1px solid {line};
}}
QTableView, QTreeView, QListView, QTextBrowser {{
    border: 1px solid transparent; outline: none;
}}
QTableView:focus, QTreeView:focus, QListView:focus, QTextBrowser:focus {{
    border: 1px solid {accent};
}}
QTableView::item {{ padding: 0 14px 0 5px; }}
QTreeView::item {{ padding: 3px 14px 3px 5px; }}
QTabWidget::pane {{ border: none; border-top: 1px solid {line}; }}
QTabBar::tab {{
    padding: 6px 12px; border: none; color: {dim}; background: transparent;
}}
QTabBar::tab:selected {{
    color: palette(text); border-bottom: 2px solid {accent};
}}
QTabBar::tab:hover {{ color: palette(text); }}
QToolBar {{
    border: none; border-bottom: 1px solid {line}; spacing: 4px; padding: 4px;
}}
QStatusBar {{ border-top: 1px solid {line}; }}
QStatusBar QLabel {{ padding: 0 8px; }}
QStatusBar::item {{ border: none; }}
QDockWidget::title {{ padding: 6px 8px; background: {head}; }}
QLabel#heading {{ color: {dim}; font-weight: 600; padding: 8px 10px 4px 10px; }}
QLabel#empty {{ color: {dim}; }}
QStackedWidget#views {{ background: palette(base); }}
"""


def state_icon(kind: str, theme: Theme, size: int = 12) -> Any:
    """A sign for a state: its form differs, not only its colour."""
    pixmap = QtGui.QPixmap(size * 3, size * 3)
    pixmap.setDevicePixelRatio(3)
    pixmap.fill(Qt.GlobalColor.transparent)
    painter = QtGui.QPainter(pixmap)
    painter.setRenderHint(QtGui.QPainter.RenderHint.Antialiasing)
    area = QtCore.QRectF(2, 2, size - 4, size - 4)
    colors = {
        "running": theme.runs,
        "ready": theme.ready,
        "created": theme.ready,
        "waiting": theme.dim,
        "cancelling": theme.warning,
        "failed": theme.bad,
        "destroyed": theme.bad,
        "E": theme.bad,
        "W": theme.warning,
        "dead": theme.bad,
        "live": theme.waits[3],
        "file": theme.accent,
    }
    color = colors.get(kind, theme.dim)
    painter.setPen(QtGui.QPen(color, 1.6))
    if kind in ("running", "live"):
        painter.setBrush(color)
        painter.drawEllipse(area)
    elif kind in ("ready", "created"):
        painter.setBrush(color)
        painter.drawPolygon(
            QtGui.QPolygonF(
                [
                    area.topLeft(),
                    QtCore.QPointF(area.right(), area.center().y()),
                    area.bottomLeft(),
                ]
            )
        )
    elif kind in ("failed", "destroyed", "E", "dead"):
        painter.drawLine(area.topLeft(), area.bottomRight())
        painter.drawLine(area.topRight(), area.bottomLeft())
    elif kind in ("W", "cancelling"):
        painter.drawPolygon(
            QtGui.QPolygonF(
                [
                    QtCore.QPointF(area.center().x(), area.top()),
                    area.bottomRight(),
                    area.bottomLeft(),
                ]
            )
        )
    elif kind in ("done", "cancelled"):
        y = area.center().y()
        if kind == "done":
            painter.drawPolyline(
                QtGui.QPolygonF(
                    [
                        QtCore.QPointF(area.left(), y),
                        QtCore.QPointF(area.center().x(), area.bottom()),
                        area.topRight(),
                    ]
                )
            )
        else:
            painter.drawLine(
                QtCore.QPointF(area.left(), y), QtCore.QPointF(area.right(), y)
            )
    elif kind == "file":
        painter.drawRect(area.adjusted(1, 0, -1, 0))
    else:
        painter.drawEllipse(area)
    painter.end()
    icon = QtGui.QIcon(pixmap)
    icon.addPixmap(pixmap, QtGui.QIcon.Mode.Selected)  # and not tinted
    return icon
