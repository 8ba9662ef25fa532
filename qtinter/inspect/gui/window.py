"""The window of ``qtinter-inspect gui``."""

from __future__ import annotations

import asyncio
import gc
import os
import time
from html import escape
from typing import Any

from ..model import KEPT_ENDED, SLOT, TASK, WAIT
from ..segment import segments
from . import theme as themes
from .actions import Actions
from .application import CRASH, GONE, LIVE, RECORDING, Application
from .columns import LINT, STALL, TABLES, process_title
from .describe import tooltip
from .details import Details
from .export import export
from .files import open_file, open_files
from .live import Live
from .pages import Page, TablePage, TreePage, icons
from .qt import Qt, QtCore, QtWidgets, Signal
from .requests import Requests
from .search import Search
from .timeline import Timeline

FRAME_SECONDS = 0.05
BUDGET_SECONDS = 0.012  # of a frame, for each of events, rows
SLOW_FRAMES = 10  # frames between two looks at what need not be looked at each time
_MANY_ROWS = 20_000

_OPEN = "<p>Or open what one has left behind: <b>File &rsaquo; Open</b>.</p>"
_NOTHING = f"""<h2>No application is shown</h2>
<p>Start a program with <code>QTINTER_INSPECT=1</code> in its environment,<br>
or call <code>qtinter.inspect.enable()</code> in it: it appears here by itself.</p>
{_OPEN}"""
_NO_DAEMON = f"""<h2>No connection to the daemon</h2>
<p>%s</p>
<p>It is tried again by itself; <b>F5</b> does so at once.<br>
<code>qtinter-inspect doctor</code> says what is in the way.</p>
{_OPEN}"""


class SearchLine(QtWidgets.QLineEdit):
    """The line for words and filters; Enter, Down and Esc leave it."""

    left = Signal()

    def keyPressEvent(self, event: Any) -> None:
        keys = Qt.Key
        if event.key() in (
            keys.Key_Return,
            keys.Key_Enter,
            keys.Key_Down,
            keys.Key_Escape,
        ):
            self.left.emit()
        else:
            super().keyPressEvent(event)


class Window(QtWidgets.QMainWindow):
    """Applications on the left, views of one of them in the middle, details right.

    :param theme: "system", "light" or "dark".
    """

    def __init__(self, theme: str = themes.SYSTEM) -> None:
        super().__init__()
        self.setWindowTitle("qtinter-inspect")
        room = self.screen().availableGeometry().size()
        self.resize(QtCore.QSize(1440, 900).boundedTo(room))
        self.theme_choice = theme
        self.theme = themes.apply(theme)
        self.application: Application | None = None
        self.applications: list[Application] = []
        self.selection: Any = 0  # a ref, or (table, id)
        self.search = Search("")
        self.live: Live | None = None
        self.longest_frame = 0.0
        self._wanted_pid: int | None = None
        self._frames = 0
        self._counted_any = False
        self._spared = 0  # rows that the collector does not look at
        self._status = ""
        self._make_views()
        self.requests = Requests(self)
        self.requests.answered.connect(self._show_details)
        self.actions_ = Actions(self)
        self._make_bars()
        self.set_theme(theme)
        self.show_application(None)
        self._ticking: Any = None
        changed = getattr(
            QtWidgets.QApplication.styleHints(), "colorSchemeChanged", None
        )
        if changed is not None:  # Qt 6.5
            changed.connect(self._desktop_changed)

    # --- making

    def _make_views(self) -> None:
        self.list = QtWidgets.QListWidget()
        self.list.setAccessibleName("Applications")
        self.list.setIconSize(QtCore.QSize(12, 12))
        self.list.setTextElideMode(Qt.TextElideMode.ElideRight)
        self.list.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.list.currentRowChanged.connect(self._row_chosen)
        heading = QtWidgets.QLabel("Applications")
        heading.setObjectName("heading")
        left = QtWidgets.QWidget()
        box = QtWidgets.QVBoxLayout(left)
        box.setContentsMargins(0, 0, 0, 0)
        box.setSpacing(0)
        box.addWidget(heading)
        box.addWidget(self.list, 1)

        self.pages: dict[str, Page] = {"tasks": TablePage("tasks"), "tree": TreePage()}
        for name in TABLES:
            if name not in self.pages:
                self.pages[name] = TablePage(name)
        self.tabs = QtWidgets.QTabWidget()
        self.tabs.setDocumentMode(True)
        self.tabs.setAccessibleName("Views")
        for name, page in self.pages.items():
            title = "Tree" if name == "tree" else TABLES[name].title
            self.tabs.addTab(page, title)
            page.chosen.connect(self.select)
            page.model.modelReset.connect(self._select_again)
        self.tabs.currentChanged.connect(self._tab_changed)

        self.timeline = Timeline(self.theme)
        self.timeline.selected.connect(self.select)
        self.timeline.brushed.connect(self._brush_changed)
        self.middle = QtWidgets.QSplitter(Qt.Orientation.Vertical)
        self.middle.addWidget(self.tabs)
        self.middle.addWidget(self.timeline)
        self.middle.setSizes([430, 400])
        self.middle.setChildrenCollapsible(False)

        self.nothing = QtWidgets.QLabel(_NOTHING)
        self.nothing.setObjectName("empty")
        self.nothing.setAlignment(Qt.AlignmentFlag.AlignCenter)
        self.nothing.setWordWrap(True)
        self.nothing.setMargin(24)
        self.centre = QtWidgets.QStackedWidget()
        self.centre.addWidget(self.middle)
        self.centre.addWidget(self.nothing)

        self.details = Details(self.theme)
        self.details.chosen.connect(self.select)
        heading = QtWidgets.QLabel("Details")
        heading.setObjectName("heading")
        right = QtWidgets.QWidget()
        box = QtWidgets.QVBoxLayout(right)
        box.setContentsMargins(0, 0, 0, 0)
        box.setSpacing(0)
        box.addWidget(heading)
        box.addWidget(self.details, 1)

        self.split = QtWidgets.QSplitter(Qt.Orientation.Horizontal)
        for widget in (left, self.centre, right):
            self.split.addWidget(widget)
        for widget, width in ((left, 110), (self.centre, 400), (right, 190)):
            widget.setMinimumWidth(width)
        self.split.setSizes([180, 920, 310])
        self.split.setStretchFactor(1, 1)

        self.banner = QtWidgets.QLabel()
        self.banner.setObjectName("banner")
        self.banner.setWordWrap(True)
        self.banner.setTextFormat(Qt.TextFormat.PlainText)  # names are in it
        self.banner.setTextInteractionFlags(
            Qt.TextInteractionFlag.TextSelectableByMouse
        )
        self.banner.setAccessibleName("What is missing")
        whole = QtWidgets.QWidget()
        box = QtWidgets.QVBoxLayout(whole)
        box.setContentsMargins(0, 0, 0, 0)
        box.setSpacing(0)
        box.addWidget(self.banner)
        box.addWidget(self.split, 1)
        self.setCentralWidget(whole)

    def _make_bars(self) -> None:
        bar = self.addToolBar("Main")
        bar.setObjectName("main")
        bar.setMovable(False)
        bar.setToolButtonStyle(Qt.ToolButtonStyle.ToolButtonTextOnly)
        self.line = SearchLine()
        self.line.left.connect(lambda: self.page.view.setFocus())
        self.line.setPlaceholderText(
            'Search, or filter:  state==waiting and age>5s and code~"save"'
        )
        self.line.setAccessibleName("Search or filter")
        self.line.setMinimumWidth(260)
        self.line.textChanged.connect(self._line_changed)
        self.range_label = QtWidgets.QLabel()
        self.range_label.setObjectName("empty")
        for action in (self.actions_.pause, self.actions_.follow):
            bar.addAction(action)
        bar.addSeparator()
        bar.addWidget(self.line)
        bar.addAction(self.actions_.ended)
        bar.addAction(self.actions_.flows)
        bar.addSeparator()
        for action in (
            self.actions_.zoom_in,
            self.actions_.zoom_out,
            self.actions_.show_all,
            self.actions_.clear_range,
        ):
            bar.addAction(action)
        self.counts = QtWidgets.QLabel()
        self.counts.setTextFormat(Qt.TextFormat.PlainText)
        self.lost = QtWidgets.QLabel()
        status = self.statusBar()
        status.addWidget(self.counts, 1)
        status.addPermanentWidget(self.lost)

    def set_theme(self, choice: str) -> None:
        """Changes the colours: "system", "light" or "dark"."""
        self.theme_choice = choice
        theme = self.theme = themes.apply(choice)
        signs = icons(theme)
        for page in self.pages.values():
            page.set_theme(theme, signs)
        self.timeline.set_theme(theme)
        self.details.set_theme(theme)
        self.lost.setStyleSheet(f"color: {theme.bad.name()}; font-weight: 600;")
        self._update_list()
        self._update_banner()

    def _desktop_changed(self, *_: Any) -> None:
        if (
            self.theme_choice == themes.SYSTEM
            and themes.system_is_dark() != self.theme.dark
        ):
            self.set_theme(themes.SYSTEM)

    # --- applications

    def start_live(
        self, address: Any = None, pid: int | None = None, text: str | None = None
    ) -> None:
        """Shows what the daemon knows; needs a running loop.

        :param pid: the application to show first; by default the first that appears.
        :param text: the filter to begin with.
        """
        self._wanted_pid = pid
        self.line.setText(text or "")
        self.live = Live(address, self)
        self.live.appeared.connect(self.add_application)
        self.live.changed.connect(self._application_changed)
        self.live.status.connect(self._connection_changed)
        self.live.start()
        self.start()

    def start(self) -> None:
        """Begins to work, frame by frame; needs a running loop."""
        if self._ticking is None:
            self._ticking = asyncio.ensure_future(self._tick())

    def closeEvent(self, event: Any) -> None:
        """Ends the work; what is on its way is given up."""
        if self._ticking is not None:
            self._ticking.cancel()
            self._ticking = None
        if self.live is not None:
            self.live.cancel()
        super().closeEvent(event)

    def open(self, path: str, at: float | None = None) -> Application:
        """Opens a recording or a segment, and shows it; all in the folder of a test.

        :raises OSError: it cannot be opened.
        :raises ValueError: it is neither, or is damaged.
        """
        application, *others = open_files(path, at)
        self.add_application(application, show=True)
        for other in others:
            self.add_application(other)
        if not any(application.source.of_kind(TASK)):
            self.actions_.ended.setChecked(True)  # all that it tells of is over
        return application

    def add_application(self, application: Any, show: bool = False) -> None:
        self.applications.append(application)
        item = QtWidgets.QListWidgetItem()
        item.setSizeHint(QtCore.QSize(10, 2 * self.fontMetrics().height() + 14))
        self.list.addItem(item)
        self._update_list()
        self._forget_ended()
        wanted = self._wanted_pid in (None, application.pid)
        if show or (self.application is None and wanted and application.kind == LIVE):
            self.list.setCurrentRow(len(self.applications) - 1)

    def _forget_ended(self) -> None:
        """Of those that were live the last ones that ended stay, and what is shown."""
        ended = [a for a in self.applications if a.kind == GONE]
        ended.sort(key=lambda application: application.ended_at)
        for application in ended[:-KEPT_ENDED]:
            if application is not self.application:
                self.remove_application(application)

    def remove_application(self, application: Application) -> None:
        """Takes an application that has ended, or a file, out of the list."""
        row = self.applications.index(application)
        if self.live is not None:
            self.live.forget(application)
        # First: the list tells at once which row is the current one now.
        del self.applications[row]
        self.list.takeItem(row)

    def close_application(self) -> None:
        """Takes away the one that is shown, which does not run any more."""
        if self.application is not None and self.application.kind != LIVE:
            self.remove_application(self.application)

    def _row_chosen(self, row: int) -> None:
        self.show_application(self.applications[row] if row >= 0 else None)

    def show_application(self, application: Application | None) -> None:
        """Shows one of the applications."""
        if self.application is not None and self.application is not application:
            self.application.thaw()
        self.application = application
        self.selection = 0
        self.details.clear()
        self.requests.forget()
        self.actions_.pause.setChecked(False)
        self.timeline.set_application(application)
        self.timeline.set_selection(0)
        for page in self.pages.values():
            page.set_application(application)
        self._apply_search()
        if self.live is not None:
            followed = (
                application if application in self.live.applications.values() else None
            )
            self.live.follow(followed)
        self.centre.setCurrentIndex(1 if application is None else 0)
        self.setWindowTitle(self._title_of(application))
        self.actions_.update()
        self._update_slowly()

    def _title_of(self, application: Application | None) -> str:
        if application is None:
            return "qtinter-inspect"
        host = self.live.host if self.live is not None else ""
        where = f" on {host}" if host and application.kind in (LIVE, GONE) else ""
        return f"{application.name}{where} - qtinter-inspect"

    def _application_changed(self, application: Any) -> None:
        if application.kind == GONE:
            self._forget_ended()
        self._update_list()
        if application is self.application:
            self._update_banner()
            live = self.application is not None and self.application.kind == LIVE
            self.timeline.set_following(live)
            if live and self.live is not None:
                self.live.follow(application)
            self.actions_.update()

    def _connection_changed(self, text: str, there: bool) -> None:
        self._status = text if there else f"no daemon: {text}"
        self.nothing.setText(_NOTHING if there else _NO_DAEMON % escape(text))
        self.actions_.retry.setEnabled(not there)
        self._update_slowly()

    def retry(self) -> None:
        """Looks for the daemon again, now."""
        if self.live is not None:
            self.live.retry.emit()

    def _update_list(self) -> None:
        for i, application in enumerate(self.applications):
            item = self.list.item(i)
            about = {
                LIVE: f"pid {application.pid}",
                GONE: f"pid {application.pid}, "
                + ("no daemon" if application.cut_off else "ended"),
                CRASH: f"pid {application.pid}, segment",
                RECORDING: "recording",
            }[application.kind]
            if application.lost:
                about += ", LOST events"
            found = len(application.source.lints)
            if found:
                about += f", {found} finding{'s' if found > 1 else ''}"
            text = f"{application.name}\n{about}"
            if item.text() != text:
                item.setText(text)
                item.setToolTip(tooltip(application.path or text))
            sign = {LIVE: "live", GONE: "dead"}.get(application.kind, "file")
            if application.cut_off:
                sign = "waiting"
            item.setIcon(themes.state_icon(sign, self.theme))

    # --- frames

    async def _tick(self) -> None:
        while True:
            began = time.perf_counter()
            self.frame()
            spent = time.perf_counter() - began
            self.longest_frame = max(self.longest_frame, spent)
            # What was asked for is not put off, and keys are heard.
            rest = 0.0 if self._is_awaited() else FRAME_SECONDS - spent
            await asyncio.sleep(max(0.005, rest))

    def _is_awaited(self) -> bool:
        return self.application is not None and self.page.model.is_awaited

    def frame(self) -> None:
        """Does a bounded part of what there is to do."""
        if not self.line.isClearButtonEnabled():  # its icon takes long to find
            self.line.setClearButtonEnabled(self._frames > 0)
        for application in self.applications:
            if application is self.application:
                was_behind = application.behind
                application.work(BUDGET_SECONDS)
                if was_behind and not application.behind and application.kind != LIVE:
                    self.timeline.show_all()
            else:
                application.work(BUDGET_SECONDS / 8)
        if self.application is None:
            return
        self._frames += 1
        if not self.application.frozen:
            self.page.work(BUDGET_SECONDS)
            self.timeline.tick(BUDGET_SECONDS / (2 if self.page.model.busy else 1))
        if bool(self.page.model.rowCount()) != self._counted_any:
            self._update_counts(self.application)  # what was empty is seen at once
        if self._frames % SLOW_FRAMES == 0:
            self._update_slowly()
            self._spare_collector(self.application)
            if self.search.is_of_time and self.application.kind == LIVE:
                self.page.model.look_again()
                self.timeline.look_again()

    def _spare_collector(self, application: Application) -> None:
        """Has the collector not look at many rows: it would find no garbage in them,
        and take so long that it is seen."""
        rows = len(application.source.rows) + len(application.lanes.tasks)
        if rows > self._spared + _MANY_ROWS:
            self._spared = rows
            gc.freeze()

    @property
    def page(self) -> Page:
        """The tab that is shown."""
        page: Page = self.tabs.currentWidget()
        return page

    def _update_slowly(self) -> None:
        application = self.application
        self._update_list()
        self._update_banner()
        if application is None:
            self.counts.setText(self._status)
            self.lost.clear()
            return
        self.page.repaint_ages()
        self._update_counts(application)
        self.lost.setText(f"LOST {application.lost:,}" if application.lost else "")
        for name in ("lints", "stalls"):
            many = len(TABLES[name].items(application))
            title = TABLES[name].title
            i = self.tabs.indexOf(self.pages[name])
            self.tabs.setTabText(i, f"{title} ({many})" if many else title)
        if not application.frozen and (
            len(application.process.rows) < _MANY_ROWS or self._frames % 100 == 0
        ):
            self._show_details()

    def _update_counts(self, application: Application) -> None:
        rows = self.page.model.rowCount()
        self._counted_any = bool(rows)
        shown = rows if self.page.name != "tree" else None
        words = [process_title(application.process)]
        if self.page.model.busy:
            words.append("looking through all rows")
        elif shown is not None:
            words.append(f"{TABLES[self.page.name].title}: {shown:,} shown")
        if self.timeline.brush is not None:
            words.append("in the chosen range")
        if application.older:
            words.append(f"{application.older:,} older events are no longer kept")
        if application.behind:
            words.append("reading events")
        words.append(self._status if application.kind in (LIVE, GONE) else "")
        self.counts.setText("   ·   ".join(word for word in words if word))

    def _update_banner(self) -> None:
        application = self.application
        lines = []
        bad = False
        if application is not None:
            if application.lost:
                bad = True
                lines.append(
                    f"{application.lost:,} events were LOST; the timeline is hatched "
                    "where they are missing. The state is exact."
                )
            if application.frozen:
                lines.append("Paused: the view stands still, the collection goes on.")
            if application.problem:
                lines.append(f"{application.name}: {application.problem}.")
        self.banner.setVisible(bool(lines))
        color = self.theme.bad if bad else self.theme.accent
        text = "   ·   ".join(lines)
        if self.banner.text() != text:
            self.banner.setText(text)
        style = (
            f"background: {'#3a2a22' if self.theme.dark else '#fdeee6'};"
            if bad
            else f"background: {'#1f2d3d' if self.theme.dark else '#e8f1fb'};"
        )
        style += f" padding: 6px 12px; border-left: 4px solid {color.name()};"
        if self.banner.styleSheet() != style:
            self.banner.setStyleSheet(style)

    # --- selection

    def select(self, chosen: Any) -> None:
        """
        :param chosen: the ref of an entity, or ("lints" or "stalls", id).
        """
        self.selection = chosen
        self._show_details()
        ref = self.selected_ref()
        self.timeline.set_selection(ref)
        if not isinstance(chosen, tuple):
            self.page.select(chosen)
        self.actions_.update()

    def selected_ref(self) -> int:
        """The entity that is selected, or that what is selected is about; 0: none."""
        if not isinstance(self.selection, tuple):
            return int(self.selection)
        name, ident = self.selection
        assert self.application is not None
        return TABLES[name].ref(self.application, ident)

    def show_text(self, title: str, text: str) -> None:
        """Shows a text of several lines instead of details."""
        self.selection = 0
        self.details.show_text(title, text)

    def _select_again(self) -> None:
        if self.selection and not isinstance(self.selection, tuple):
            self.page.select(self.selection)

    def _tab_changed(self, *_: Any) -> None:
        self.page.work(BUDGET_SECONDS)
        self._select_again()
        self._update_slowly()

    def _show_details(self) -> None:
        application = self.application
        if application is None or not self.selection:
            return
        if isinstance(self.selection, tuple):
            name, ident = self.selection
            item = TABLES[name].get(application, ident)
            if item is None:
                return
            if name == "stalls":
                self.details.show_stall(application, item)
            else:
                self.details.show_lint(application, item)
        else:
            self.details.show_ref(application, self.selection)
        self.requests.about(application, self.selected_ref(), self._frames)

    # --- filters

    def _line_changed(self, text: str) -> None:
        try:
            self.search = Search(text)
        except ValueError as exc:
            self.line.setToolTip(tooltip(str(exc)))
            self.line.setStyleSheet(f"border: 1px solid {self.theme.bad.name()};")
            self.statusBar().showMessage(str(exc), 8000)
            return
        self.line.setToolTip("")
        self.line.setStyleSheet("")
        self.statusBar().clearMessage()
        self._apply_search()

    def _brush_changed(self, brush: Any) -> None:
        self._apply_search()
        self.actions_.update()

    def _apply_search(self) -> None:
        """Has every view show what the line and the range of the timeline say."""
        application = self.application
        if application is None:
            return
        brush = self.timeline.brush
        active = application.lanes.active(*brush) if brush is not None else None
        for name, page in self.pages.items():
            table = "tasks" if name == "tree" else name
            accepts = self.search.of(application, table)
            page.model.set_filter(self._in_range(accepts, TABLES[table].kind, active))
        tasks = self._in_range(self.search.of(application, "tasks"), TASK, active)
        if tasks is None:
            self.timeline.set_accepts(None)
            return

        def of_lane(task: int) -> bool:
            assert application is not None
            row = application.process.rows.get((TASK, task))
            if row is None:  # gone: only the range can be asked
                return (
                    not self.search.text
                    and active is not None
                    and (TASK, task) in active
                )
            return bool(tasks(task, row))

        self.timeline.set_accepts(of_lane)

    def _in_range(self, accepts: Any, kind: int, active: Any) -> Any:
        brush = self.timeline.brush
        if active is None or brush is None:
            return accepts

        def both(ident: Any, item: Any) -> bool:
            if kind in (TASK, SLOT, WAIT):
                there = (kind, ident) in active
            elif kind == STALL:
                there = item["since"] <= brush[1] and (
                    item["since"] + item["duration"] >= brush[0]
                )
            elif kind == LINT:
                there = brush[0] <= item["since"] <= brush[1]
            else:
                there = True
            return there and (accepts is None or accepts(ident, item))

        return both

    def set_show_ended(self, shown: bool) -> None:
        for page in self.pages.values():
            page.model.show_ended = shown
        self._apply_search()

    def set_paused(self, paused: bool) -> None:
        """Stops the view, not the collection."""
        if self.application is None:
            return
        if paused:
            self.application.freeze()
        else:
            self.application.thaw()
        self.timeline.viewport().update()
        self._update_banner()

    # --- files

    def open_dialog(self) -> None:
        path, _ = QtWidgets.QFileDialog.getOpenFileName(
            self,
            "Open a recording or a segment",
            "",
            "Recordings and segments (*.qtrace *.qiseg);;All files (*)",
        )
        if path:
            self._open_or_say(path)

    def open_last_crash(self) -> None:
        for path in segments():
            try:
                application = open_file(path)
            except (OSError, ValueError):
                continue  # not a segment, or gone since
            if "died" in application.problem:
                self.add_application(application, show=True)
                return
        self.statusBar().showMessage("No application has left a segment behind.", 8000)

    def _open_or_say(self, path: str) -> None:
        try:
            self.open(path)
        except (OSError, ValueError) as exc:
            QtWidgets.QMessageBox.warning(self, "Cannot be opened", str(exc))

    def export_dialog(self, timeline: bool = False) -> None:
        name = f"{self.application.name if self.application else 'qtinter'}.png"
        path, _ = QtWidgets.QFileDialog.getSaveFileName(
            self,
            "Export the timeline" if timeline else "Export the view",
            name,
            "Images (*.png *.svg)",
        )
        if path:
            self.export(path, timeline)

    def export(self, path: str, timeline: bool = False) -> bool:
        """Writes what is seen.

        :param path: its end, .png or .svg, says as what.
        :param timeline: the timeline alone.
        """
        widget = self.timeline if timeline else self.centralWidget()
        try:
            export(widget, path)
        except (ImportError, OSError, ValueError) as exc:
            self.statusBar().showMessage(str(exc), 10000)
            return False
        self.statusBar().showMessage(f"written to {os.path.abspath(path)}", 8000)
        return True
