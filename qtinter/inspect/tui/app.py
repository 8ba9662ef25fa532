"""The terminal view, on Textual."""

from __future__ import annotations

import asyncio
import gc
import time
from typing import TYPE_CHECKING, Any, Callable, ClassVar

from textual.app import App
from textual.binding import Binding
from textual.screen import Screen

from ..errors import InspectError
from .driver import driver_for
from .line import LineEdit
from .scene import TABS, Scene
from .screens.base import PageView, TableView, View
from .styles import BAR, GREY, GROUND
from .widgets import Bar, Page, Table

if TYPE_CHECKING:
    from textual import events
    from textual.app import ComposeResult

    from ..feed import Change
    from .first import Taken
    from .source import Source

TICK_SECONDS = 0.05
FRAME_SECONDS = 0.1  # between two drawings because of what came
STILL_SECONDS = 0.5  # between two drawings because time passes
POLL_SECONDS = 1.0
BUDGET = 0.008  # seconds of sorting and filtering in a tick
REST_SECONDS = 0.001  # between two slices of what the user waits for: keys are heard


class MainScreen(Screen[None], inherit_bindings=False):
    """All keys go to the application, unless a filter is being typed."""

    ALLOW_SELECT = False

    def on_key(self, event: events.Key) -> None:
        app = self.app
        assert isinstance(app, InspectApp)
        if app.press(event):
            event.stop()
            event.prevent_default()


class InspectApp(App[int]):
    """The program; what it shows is in a :class:`~.scene.Scene`.

    :param taken: the terminal, if it was taken and drawn on before.
    """

    ENABLE_COMMAND_PALETTE = False
    TITLE = "qtinter-inspect"
    BINDINGS = [
        Binding("ctrl+c", "quit", show=False, priority=True, system=True),
        Binding("ctrl+z", "suspend_process", show=False, priority=True, system=True),
    ]
    CSS = f"""
    Screen {{ background: {GROUND}; layout: vertical; }}
    Scrolled {{
        background: {GROUND};
        scrollbar-color: {GREY}; scrollbar-background: {BAR};
        scrollbar-color-hover: {GREY}; scrollbar-background-hover: {BAR};
        scrollbar-color-active: white; scrollbar-background-active: {BAR};
    }}
    .hidden {{ display: none; }}
    """

    def __init__(self, scene: Scene, taken: Taken | None = None) -> None:
        super().__init__(None if taken is None else driver_for(taken))
        self.scene = scene
        self.viewer = scene.viewer
        self._behind: list[str] = []  # where Esc leads, last first
        assert isinstance(scene.view, TableView)
        self._table = Table(scene.view, "table")
        help_view = scene.views["help"]
        assert isinstance(help_view, PageView)
        self._page = Page(help_view, "page")
        self._page.add_class("hidden")
        self._tabs = Bar(scene.tabs, "tabs")
        self._head = Bar(lambda _: scene.heads(self._shown), "head")
        self._status = Bar(lambda _: scene.status(), "status")
        self._keys = Bar(lambda _: scene.key_line(), "keys")
        self._drawn = 0.0
        self._seen = -1
        self._is_moved = False  # the user has chosen a screen
        self._shifting: asyncio.Task[None] | None = None
        self._going_on: asyncio.TimerHandle | None = None
        self.worst_tick = 0.0
        self.viewer.source.listen(self._on_change)

    @property
    def source(self) -> Source:
        return self.viewer.source

    @property
    def view(self) -> View:
        return self.scene.view

    @property
    def _shown(self) -> list[tuple[int, int]]:
        """(column, width) of the table that is seen; of a page none."""
        return self._table.layout_of() if isinstance(self.view, TableView) else []

    # --- life

    def get_default_screen(self) -> Screen[None]:
        return MainScreen(id="_default")

    def compose(self) -> ComposeResult:
        yield self._tabs
        yield self._head
        yield self._table
        yield self._page
        yield self._status
        yield self._keys

    def on_mount(self) -> None:
        self.set_interval(TICK_SECONDS, self.tick)
        self.set_interval(POLL_SECONDS, self._poll)
        self.tick()

    def _on_change(self, change: Change) -> None:
        if change.what == "snapshot":
            gc.freeze()  # rows are in no circles
        if change.what == "snapshot" and self.is_running:
            self.call_next(self.tick)  # what came is shown at once

    def tick(self) -> None:
        """Do a little of what is outstanding, and draw if something has changed."""
        began = time.perf_counter()
        self.viewer.tick()
        changed = self.view.work(BUDGET)
        self._go_on_soon()
        if not self._is_moved and self.source.is_connected:
            self._is_moved = True
            self.go(self.scene.first_view())
        shown = self.viewer.changes
        since = began - self._drawn
        if since >= STILL_SECONDS or (
            since >= FRAME_SECONDS and (changed or shown != self._seen)
        ):
            self._seen = shown
            self.draw()
        self.worst_tick = max(self.worst_tick, time.perf_counter() - began)

    def _go_on_soon(self) -> None:
        """What was asked for is not put off until the next tick."""
        view = self.view
        is_wanted = isinstance(view, TableView) and view.model.is_rebuilding
        if is_wanted and self._going_on is None:
            loop = asyncio.get_running_loop()
            self._going_on = loop.call_later(REST_SECONDS, self._go_on)

    def _go_on(self) -> None:
        self._going_on = None
        if self.is_running:
            if self.view.work(BUDGET):
                self.draw()
            self._go_on_soon()

    def draw(self) -> None:
        """Have everything that may have changed drawn."""
        self._drawn = time.perf_counter()
        self._body.update_rows()
        for bar in (self._tabs, self._head, self._status, self._keys):
            bar.refresh()

    @property
    def _body(self) -> Table | Page:
        return self._table if isinstance(self.view, TableView) else self._page

    async def _poll(self) -> None:
        if self.source.is_connected and self.viewer.pid is not None:
            self.run_worker(self.view.poll(), group="poll", exclusive=True)

    # --- screens

    def go(self, name: str, argument: Any = None, back: bool = False) -> None:
        """Show another screen; ``argument``: what it should show."""
        scene = self.scene
        before, after = scene.view, scene.views[name]
        if before is not after and not back:
            self._behind = [*self._behind[-20:], before.name]
        scene.view = after
        scene.problem = ""
        after.work(BUDGET)
        is_table = isinstance(after, TableView)
        self._table.set_class(not is_table, "hidden")
        self._page.set_class(is_table, "hidden")
        if isinstance(after, TableView):
            self._table.show(after)
        elif isinstance(after, PageView):
            self._page.show(after)
        shift = self._shift(before, after, argument, self._shifting)
        self._shifting = asyncio.ensure_future(shift)
        self.draw()

    async def _shift(
        self,
        before: View,
        after: View,
        argument: Any,
        earlier: asyncio.Task[None] | None,
    ) -> None:
        """What the daemon is to be told because of another screen, in this order."""
        if earlier is not None:
            await asyncio.wait([earlier])
        try:
            if before is not after:
                await before.leave()
            await after.enter(argument)
        except (InspectError, OSError, asyncio.TimeoutError) as exc:
            self.scene.problem = str(exc) or "the daemon does not answer"
        if self.view is after:
            self.draw()
            await after.poll()

    def back(self) -> None:
        if self._behind:
            self.go(self._behind.pop(), back=True)

    def open_row(self) -> None:
        """What Enter does."""
        view = self.view
        if not isinstance(view, TableView) or self._table.ident is None:
            return
        opening = view.open(self._table.ident)
        if opening is None:
            return
        if view.name == "processes":
            self.run_worker(self._look_at(opening.argument), exclusive=True)
        elif opening.screen == "tasks":
            self.scene.set_filter(opening.argument)
            self.go("tasks")
        else:
            self.go(opening.screen, opening.argument)

    async def _look_at(self, pid: int) -> None:
        try:
            await self.viewer.look_at(pid)
        except (InspectError, OSError, asyncio.TimeoutError) as exc:
            self.scene.problem = str(exc) or "the daemon does not answer"
        self.go("tasks")

    # --- keys

    def press(self, event: events.Key) -> bool:
        """Handle a key; False: it is nobody's."""
        if self.scene.line is not None:
            return self._press_while_typing(event)
        key = event.character if event.is_printable and event.character else event.key
        if key in "12345678" and len(key) == 1:
            self.go(TABS[int(key) - 1])
            return True
        action = self._ACTIONS.get(key)
        if action is not None:
            action(self)
            return True
        if self._body_key(key):
            return True
        if self.view.key(key):
            self.view.work(BUDGET)
            self.draw()
            return True
        return False

    def _body_key(self, key: str) -> bool:
        table, page = self._table, self._page
        is_table = isinstance(self.view, TableView)
        body = table if is_table else page
        steps = {
            "up": -1,
            "k": -1,
            "down": 1,
            "j": 1,
            "pageup": -body.page,
            "pagedown": body.page,
            "home": -(1 << 40),
            "end": 1 << 40,
            "g": -(1 << 40),
            "G": 1 << 40,
        }
        if key in steps:
            if is_table:
                table.move_to(table.cursor + steps[key])
            else:
                page.go_to(
                    max(0, min(page.max_scroll_y, page.scroll_offset.y + steps[key]))
                )
            self._status.refresh()
            return True
        if not isinstance(self.view, TableView):
            return False
        if key in ("left", "h", "right", "l"):
            table.skip += 1 if key in ("right", "l") else -1
        elif key in ("<", ">"):
            self.view.sort_step(1 if key == ">" else -1)
        elif key == "r":
            self.view.turn()
        else:
            return False
        self.view.work(BUDGET)
        self.draw()
        return True

    def action_pause(self) -> None:
        if self.viewer.paused:
            self.viewer.resume()
        else:
            self.viewer.pause()
        self.tick()
        self.draw()

    def _turn_tab(self, step: int) -> None:
        index = max(0, self.scene.tab)
        self.go(TABS[(index + step) % len(TABS)])

    def _step_time(self, share: float) -> None:
        source = self.scene.recording
        if source is not None:
            source.go_to(source.at + source.length * share)
            self.tick()
            self.draw()

    def _quit(self) -> None:
        self.exit(0)

    _ACTIONS: ClassVar[dict[str, Callable[[InspectApp], None]]] = {
        "q": _quit,
        "escape": back,
        "backspace": back,
        "enter": open_row,
        "space": action_pause,
        " ": action_pause,
        "tab": lambda self: self._turn_tab(1),
        "shift+tab": lambda self: self._turn_tab(-1),
        "?": lambda self: self.go("help"),
        "f1": lambda self: self.go("help"),
        "/": lambda self: self._type_filter(),
        "[": lambda self: self._step_time(-0.01),
        "]": lambda self: self._step_time(0.01),
        "{": lambda self: self._step_time(-0.1),
        "}": lambda self: self._step_time(0.1),
    }

    # --- the filter

    def _type_filter(self) -> None:
        if self.view.name != "tasks":
            self.go("tasks")
        self.scene.line = LineEdit(self.viewer.filter_text)
        self.draw()

    def _press_while_typing(self, event: events.Key) -> bool:
        line = self.scene.line
        assert line is not None
        if event.key == "enter":
            if self.scene.set_filter(line.text):
                self.scene.line = None
        elif event.key == "escape":
            self.scene.set_filter(line.before)
            self.scene.line = None
        elif line.press(event.key, event.character if event.is_printable else None):
            self.scene.set_filter(line.text)  # what it would show is shown at once
        self.tick()
        self.draw()
        return True

    def on_paste(self, event: events.Paste) -> None:
        if self.scene.line is not None:
            self.scene.line.insert(" ".join(event.text.split()))
            self.scene.set_filter(self.scene.line.text)
            self.draw()

    # --- the mouse

    def on_bar_clicked(self, event: Bar.Clicked) -> None:
        if event.bar is self._tabs and event.cell < len(TABS):
            self.go(TABS[event.cell])
        elif event.bar is self._head and isinstance(self.view, TableView):
            shown = self._table.layout_of()
            if event.cell // 2 < len(shown):
                self.view.sort_by(shown[event.cell // 2][0])
                self.view.work(BUDGET)
                self.draw()

    def on_table_opened(self) -> None:
        self.open_row()
