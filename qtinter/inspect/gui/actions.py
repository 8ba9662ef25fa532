"""The menu of the window, and its keys."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any, Callable

from ..model import TASK
from . import theme as themes
from .application import LIVE
from .qt import Qt, QtGui, QtWidgets

if TYPE_CHECKING:
    from .window import Window

_LEVELS = (
    (1, "&1 state"),
    (2, "&2 state and events"),
    (3, "&3 also where tasks are created and wait"),
    (4, "&4 also the repr of what they wait for"),
)
_KEYS = """\
<table cellspacing="6">
<tr><td><b>Space</b></td><td>pause the view, not the collection</td></tr>
<tr><td><b>/</b> or <b>Ctrl+F</b></td><td>search and filter</td></tr>
<tr><td><b>Enter</b>, <b>Esc</b> there</td><td>back to the view</td></tr>
<tr><td><b>Ctrl+1</b> to <b>Ctrl+7</b></td><td>the views</td></tr>
<tr><td><b>T</b></td><td>the timeline gets the keys</td></tr>
<tr><td><b>E</b></td><td>also show what has ended</td></tr>
<tr><td><b>F</b></td><td>follow the clock</td></tr>
<tr><td><b>+ -</b>, wheel</td><td>zoom the timeline</td></tr>
<tr><td><b>&larr; &rarr;</b>, drag</td><td>move it</td></tr>
<tr><td><b>&uarr; &darr;</b></td><td>choose a lane</td></tr>
<tr><td>drag in the ruler</td><td>only show what happened in that range</td></tr>
<tr><td><b>Esc</b></td><td>give the range up</td></tr>
<tr><td><b>Home</b></td><td>show everything</td></tr>
<tr><td><b>Ctrl+O</b></td><td>open a recording or a segment</td></tr>
<tr><td><b>F5</b></td><td>look for the daemon again, now</td></tr>
<tr><td><b>Ctrl+W</b></td><td>close a file, or what has ended</td></tr>
<tr><td><b>Ctrl+E</b> or <b>Ctrl+S</b></td><td>export the view as PNG or SVG</td></tr>
<tr><td><b>Ctrl+Shift+E</b></td><td>export the timeline alone</td></tr>
</table>"""


class Actions:
    """The actions of a window; they are also in its menu."""

    def __init__(self, window: Window) -> None:
        self.window = window
        timeline = window.timeline
        bar = window.menuBar()

        file = bar.addMenu("&File")
        self.open = self._add(file, "&Open…", "Ctrl+O", window.open_dialog)
        self.crash = self._add(file, "Open the last &crash", "", window.open_last_crash)
        file.addSeparator()
        self.export = self._add(
            file, "&Export the view…", "Ctrl+E", window.export_dialog, "Ctrl+S"
        )
        self.export_timeline = self._add(
            file,
            "Export the &timeline…",
            "Ctrl+Shift+E",
            lambda: window.export_dialog(timeline=True),
        )
        file.addSeparator()
        self.close = self._add(
            file, "&Close the application", "Ctrl+W", window.close_application
        )
        self._add(file, "&Quit", "Ctrl+Q", window.close)

        view = bar.addMenu("&View")
        self.pause = self._switch(view, "&Pause", "Space", window.set_paused)
        self.follow = self._switch(view, "&Follow", "F", timeline.set_following)
        self.ended = self._switch(view, "&Ended", "E", window.set_show_ended)
        self.ended.setToolTip("Also show tasks, slots and waits that have ended")
        self.flows = self._switch(view, "&Arrows", "", self._show_flows, True)
        self.flows.setToolTip("Who started or woke whom")
        view.addSeparator()
        self.zoom_in = self._add(view, "Zoom &in", "Ctrl++", lambda: timeline.zoom(1.5))
        self.zoom_out = self._add(
            view, "Zoom &out", "Ctrl+-", lambda: timeline.zoom(1 / 1.5)
        )
        self.show_all = self._add(view, "&Whole time", "Home", self._show_all)
        self.clear_range = self._add(
            view, "&Clear range", "Esc", lambda: timeline.set_brush(None)
        )
        view.addSeparator()
        for i, page in enumerate(window.pages.values(), 1):
            title = window.tabs.tabText(window.tabs.indexOf(page))
            self._add(
                view,
                title,
                f"Ctrl+{i}",
                functools.partial(window.tabs.setCurrentWidget, page),
            )
        self._add(view, "&Timeline", "T", timeline.setFocus)
        self._add(view, "&Search", "Ctrl+F", self._search, "/")
        view.addSeparator()
        colours = view.addMenu("&Colours")
        group = QtGui.QActionGroup(window)
        for choice, title in (
            (themes.SYSTEM, "As the &desktop"),
            (themes.LIGHT, "&Light"),
            (themes.DARK, "&Dark"),
        ):
            action = colours.addAction(title)
            action.setCheckable(True)
            action.setChecked(choice == window.theme_choice)
            action.triggered.connect(lambda _=False, c=choice: window.set_theme(c))
            group.addAction(action)

        application = bar.addMenu("&Application")
        self.stack = self._add(
            application,
            "&Stack of the loop's thread",
            "Ctrl+T",
            lambda: window.requests.show_stack(),
        )
        self.cancel = self._add(
            application,
            "&Cancel the task…",
            "",
            lambda: window.requests.cancel_task(),
        )
        self.levels = application.addMenu("&Level")
        self.retry = self._add(application, "Connect &again", "F5", window.retry)
        self.retry.setEnabled(False)
        self.levels.aboutToShow.connect(self._show_levels)

        menu = bar.addMenu("&Help")
        self._add(menu, "&Keys", "F1", self._keys)

        timeline.followed.connect(self.follow.setChecked)
        self.update()

    def _add(
        self, menu: Any, text: str, key: str, call: Callable[[], Any], *more: str
    ) -> Any:
        action = menu.addAction(text)
        if key:
            action.setShortcuts([QtGui.QKeySequence(k) for k in (key, *more)])
        action.triggered.connect(lambda _=False: call())
        return action

    def _switch(
        self,
        menu: Any,
        text: str,
        key: str,
        call: Callable[[bool], Any],
        on: bool = False,
    ) -> Any:
        action = menu.addAction(text)
        action.setCheckable(True)
        action.setChecked(on)
        if key:
            action.setShortcut(QtGui.QKeySequence(key))
        action.toggled.connect(call)
        return action

    def update(self) -> None:
        """Enables what can be done now."""
        window = self.window
        application = window.application
        live = application is not None and application.kind == LIVE
        there = application is not None
        for action in (self.stack, self.levels.menuAction(), self.follow):
            action.setEnabled(live)
        ref = window.selected_ref() if there and window.selection else 0
        self.cancel.setEnabled(live and ref >> 56 == TASK)
        self.close.setEnabled(there and not live)
        for action in (
            self.pause,
            self.zoom_in,
            self.zoom_out,
            self.show_all,
            self.export,
            self.export_timeline,
        ):
            action.setEnabled(there)
        self.clear_range.setEnabled(window.timeline.brush is not None)

    def _show_levels(self) -> None:
        """Makes the menu of levels, with a mark at that in force."""
        self.levels.clear()
        application = self.window.application
        now = application.source.info.get("level") if application is not None else None
        for level, title in _LEVELS:
            action = self.levels.addAction(title)
            action.setCheckable(True)
            action.setChecked(level == now)
            action.triggered.connect(
                lambda _=False, n=level: self.window.requests.set_level(n)
            )

    def _show_all(self) -> None:
        self.window.timeline.set_following(False)
        self.window.timeline.show_all()

    def _show_flows(self, shown: bool) -> None:
        self.window.timeline.show_flows = shown
        self.window.timeline.viewport().update()

    def _search(self) -> None:
        self.window.line.setFocus(Qt.FocusReason.ShortcutFocusReason)
        self.window.line.selectAll()

    def _keys(self) -> None:
        QtWidgets.QMessageBox.information(self.window, "Keys", _KEYS)
