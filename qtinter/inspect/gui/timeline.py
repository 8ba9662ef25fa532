"""The timeline: what each task did when, and what made it do so."""

from __future__ import annotations

import time
from bisect import bisect_left
from typing import Any, Callable, Iterator

from .. import _tables
from ..lanes import SIGNALS, Emission, Flow, Note, Span
from ..model import SLOT, TASK, WAIT
from . import theme as themes
from . import trees
from .application import LIVE, Application, Changes
from .columns import seconds
from .describe import tooltip
from .paint import LaneRow, Painting
from .qt import Qt, QtCore, QtGui, QtWidgets, Signal

RULER = 26
LANE = 22
LABELS = 210
_WIDTH = 10_000_000_000  # ns that are seen at first
_SHORTEST, _LONGEST = 2_000, 86_400_000_000_000  # ns that can be seen at once
_REFRESH_SECONDS = 0.25  # how often the list of lanes is made anew
BUDGET_SECONDS = 0.006  # of a frame
_LOOK = 64  # lanes between two looks at the clock
_DRAG = 4  # pixels that make a press a drag


class Timeline(QtWidgets.QAbstractScrollArea):
    """A lane for each loop, one for emissions, one for each task.

    What is painted is bounded by what can be seen: lanes outside of the view are not
    looked at, and segments narrower than two pixels are drawn together.
    """

    selected = Signal(object)  # a ref
    brushed = Signal(object)  # (t0, t1) or None
    followed = Signal(bool)
    moved = Signal()

    def __init__(self, theme: themes.Theme, parent: Any = None) -> None:
        super().__init__(parent)
        self.theme = theme
        self.application: Application | None = None
        self.t0, self.t1 = 0, _WIDTH
        self.following = True
        self.brush: tuple[int, int] | None = None
        self.selection = 0
        self.show_flows = True
        self.accepts: Callable[[int], bool] | None = None  # of a task's id
        self.keys: list[int] = []  # of the lanes of tasks
        self.pinned: list[LaneRow] = []  # loops, emissions
        self._refreshed = 0.0
        self._stale = True
        self._looking: Iterator[None] | None = None
        self._changes: Changes | None = None
        self._accepted: dict[int, bool] = {}
        self._drag: Any = None
        self._dragged = False
        self._hover: Any = None
        self.painted_seconds = 0.0
        self.setFrameShape(QtWidgets.QFrame.Shape.NoFrame)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.viewport().setMouseTracking(True)
        self.viewport().setAttribute(Qt.WidgetAttribute.WA_OpaquePaintEvent)
        self.setMinimumHeight(120)
        self.setAccessibleName("Timeline")
        self.setAccessibleDescription(
            "When each task ran and waited. Arrow keys move, plus and minus zoom, Up "
            "and Down choose a lane."
        )

    # --- what is shown

    def set_theme(self, theme: themes.Theme) -> None:
        self.theme = theme
        self.viewport().update()

    def set_application(self, application: Application | None) -> None:
        if self._changes is not None and self.application is not None:
            self.application.unwatch(self._changes)
        self.application = application
        self._changes = application.watch(TASK) if application is not None else None
        self._accepted.clear()
        self.keys = []
        self.brush = None
        self._stale = True
        self.following = application is not None and application.kind == LIVE
        self.followed.emit(self.following)
        if self.following:
            self.t0, self.t1 = 0, _WIDTH  # tick() moves it
        elif application is not None:
            self.show_all()
        self.verticalScrollBar().setValue(0)
        self.viewport().update()

    def now(self) -> int:
        """Where what goes on ends."""
        return self.application.now() if self.application is not None else 0

    def set_accepts(self, accepts: Callable[[int], bool] | None) -> None:
        self.accepts = accepts
        self._accepted.clear()
        self._looking = None
        self._stale = True
        self.viewport().update()

    def look_again(self) -> None:
        """Asks again whether each task is to be shown: time has passed."""
        self._accepted.clear()
        self._stale = True

    def set_selection(self, ref: int) -> None:
        """Marks an entity, and brings the lane of a task into view."""
        self.selection = ref
        row = self._row_of(self._key(ref))
        if row >= 0:
            bar = self.verticalScrollBar()
            page = max(1, bar.pageStep())
            if not bar.value() <= row < bar.value() + page:
                bar.setValue(max(0, row - page // 2))
        self.viewport().update()

    def _key(self, ref: int) -> int:
        """The lane of an entity, -1: it has none."""
        kind, ident = ref >> 56, ref & (1 << 56) - 1
        if kind == TASK:
            return ident
        if kind == WAIT and self.application is not None:
            row = self.application.process.rows.get((WAIT, ident))
            return int(row["task"]) if row is not None else -1
        return -1

    def _row_of(self, key: int) -> int:
        i = bisect_left(self.keys, key)
        return i if i < len(self.keys) and self.keys[i] == key else -1

    def tick(self, budget: float = BUDGET_SECONDS) -> None:
        """Follows the clock; called once a frame.

        :param budget: seconds, to find out which lanes there are.
        """
        if self.application is None:
            return
        if self.following:
            width = self.t1 - self.t0
            self.t1 = self.now() + width // 40
            self.t0 = self.t1 - width
        if time.monotonic() - self._refreshed > _REFRESH_SECONDS:
            self._stale = True
        self._look(budget)
        self.viewport().update()

    def show_all(self) -> None:
        """Shows everything from the first event on."""
        application = self.application
        if application is None:
            return
        first = application.lanes.first or application.now() - 10_000_000_000
        last = max(application.lanes.last, application.now(), first + 1_000_000)
        margin = max(1000, (last - first) // 50)
        self._set_range(first - margin, last + margin)

    def show_range(self, t0: int, t1: int) -> None:
        self.set_following(False)
        margin = max(1000, (t1 - t0) // 8)
        self._set_range(t0 - margin, t1 + margin)

    def _set_range(self, t0: float, t1: float) -> None:
        width = min(max(t1 - t0, _SHORTEST), _LONGEST)
        middle = (t0 + t1) / 2
        self.t0 = int(middle - width / 2)
        self.t1 = self.t0 + int(width)
        self._stale = True
        self.moved.emit()
        self.viewport().update()

    def set_following(self, following: bool) -> None:
        if following != self.following:
            self.following = following
            self.followed.emit(following)
            self.tick()

    def zoom(self, factor: float, at: float | None = None) -> None:
        """
        :param factor: above 1: shows less, larger.
        :param at: the moment that stays where it is; by default the middle, or the
            right edge while the view follows.
        """
        if at is None:
            at = self.t1 if self.following else (self.t0 + self.t1) / 2
        width = min(max((self.t1 - self.t0) / factor, _SHORTEST), _LONGEST)
        part = (at - self.t0) / (self.t1 - self.t0)
        self._set_range(at - part * width, at - part * width + width)

    def pan(self, share: float) -> None:
        """Moves by a share of what is seen; to the right if above 0."""
        self.set_following(False)
        step = share * (self.t1 - self.t0)
        self._set_range(self.t0 + step, self.t1 + step)

    def set_brush(self, brush: tuple[int, int] | None) -> None:
        if brush != self.brush:
            self.brush = brush
            self.brushed.emit(brush)
            self.viewport().update()

    # --- geometry

    @property
    def labels_width(self) -> int:
        return min(LABELS, int(self.viewport().width()) // 3)

    def x_of(self, ts: float) -> float:
        width = int(self.viewport().width()) - self.labels_width
        return self.labels_width + (ts - self.t0) * width / (self.t1 - self.t0)

    def ts_of(self, x: float) -> int:
        width = max(1, self.viewport().width() - self.labels_width)
        return int(self.t0 + (x - self.labels_width) * (self.t1 - self.t0) / width)

    @property
    def top(self) -> int:
        """Where the lanes of tasks begin."""
        return RULER + LANE * len(self.pinned)

    def row_at(self, y: float) -> LaneRow | None:
        if y < RULER:
            return None
        i = int(y - RULER) // LANE
        if i < len(self.pinned):
            return self.pinned[i]
        i = int(y - self.top) // LANE + self.verticalScrollBar().value()
        return self._row(self.keys[i]) if 0 <= i < len(self.keys) else None

    def _row(self, key: int) -> LaneRow:
        assert self.application is not None
        return LaneRow(key, "", self.application.lanes.tasks.get(key))

    @property
    def lanes(self) -> list[LaneRow]:
        """The lanes of tasks, in order."""
        return self.rows(0, len(self.keys))

    def rows(self, first: int, count: int) -> list[LaneRow]:
        """Some of the lanes of tasks."""
        return [self._row(key) for key in self.keys[first : first + count]]

    def refresh(self) -> None:
        """Makes the list of lanes anew, whatever it takes."""
        self._stale, self._looking = True, None
        while self._stale or self._looking is not None:
            self._look(1.0)

    def _look(self, seconds: float) -> None:
        """Goes on to find out which tasks there is something to see of."""
        if self._looking is None:
            if not self._stale:
                return
            self._stale = False
            self._looking = self._find_lanes()
        deadline = time.monotonic() + seconds
        for _ in self._looking:
            if time.monotonic() > deadline:
                return
        self._looking = None
        self._refreshed = time.monotonic()

    def _find_lanes(self) -> Iterator[None]:
        self.pinned = []
        found = []
        application = self.application
        if application is not None and self._changes is not None:
            lanes = application.lanes
            for number in sorted(lanes.loops):
                row = LaneRow(-number, f"Loop {number}", lanes.loops[number])
                self.pinned.append(row)
            self.pinned.append(LaneRow(SIGNALS, "Signals", None))
            everything, ids = self._changes.take()
            if everything:
                self._accepted.clear()
            for ident in ids:
                self._accepted.pop(ident, None)
            accepts, accepted = self.accepts, self._accepted
            keep = self._key(self.selection)
            t0, t1 = self.t0, self.t1
            for number, (key, lane) in enumerate(list(lanes.tasks.items())):
                if number % _LOOK == 0:
                    yield
                if key != keep and not lane.exists(t0, t1):
                    continue
                if accepts is not None and key != keep:
                    accepts_it = accepted.get(key)
                    if accepts_it is None:
                        accepts_it = accepted[key] = accepts(key)
                    if not accepts_it:
                        continue
                found.append(key)
            found.sort()
        self.keys = found
        bar = self.verticalScrollBar()
        page = max(1, (self.viewport().height() - self.top) // LANE)
        bar.setPageStep(page)
        bar.setRange(0, max(0, len(found) - page))

    def label_of(self, row: LaneRow) -> str:
        """What a lane is called."""
        if row.label or self.application is None:
            return row.label
        process = self.application.process
        task = process.rows.get((TASK, row.key))
        if task is not None:
            return trees.task_label(process, task)
        code = process.code(row.lane.code) if row.lane is not None else None
        return f"{row.key}  {code['name'] if code else 'task'}"

    # --- painting

    def paintEvent(self, event: Any) -> None:
        began = time.perf_counter()
        self._look(0)
        painter = QtGui.QPainter(self.viewport())
        Painting(self, painter).paint()
        if self.hasFocus():
            painter.setPen(QtGui.QPen(self.theme.accent, 1))
            painter.drawRect(self.viewport().rect().adjusted(0, 0, -1, -1))
        painter.end()
        self.painted_seconds = time.perf_counter() - began

    def paint(self, painter: Any) -> None:
        """Paints what is seen elsewhere, for an export."""
        self.refresh()
        Painting(self, painter).paint()

    def resizeEvent(self, event: Any) -> None:
        self._stale = True
        super().resizeEvent(event)

    def scrollContentsBy(self, dx: int, dy: int) -> None:
        self.viewport().update()

    # --- what is under the mouse

    def span_at(self, row: LaneRow, x: float) -> Span | None:
        if row.lane is None:
            return None
        return row.lane.at(self.ts_of(x), self.now())

    def _near(self, kept: list[Any], x: float) -> list[Any]:
        assert self.application is not None
        reach = (self.t1 - self.t0) * 5 // max(1, self.viewport().width())
        ts = self.ts_of(x)
        return self.application.lanes.between(kept, ts - reach, ts + reach)

    def describe(self, position: Any) -> str:
        """What a tooltip says of a place."""
        application = self.application
        row = self.row_at(position.y())
        if application is None or row is None or position.x() < self.labels_width:
            return self.label_of(row) if row is not None else ""
        lanes = application.lanes
        lines = []
        if row.key == SIGNALS:
            for emission in self._near(lanes.emissions, position.x())[:6]:
                lines.append(self.emission_text(emission))
        for note in self._near(lanes.notes, position.x()):
            if note.lane == row.key:
                lines.append(self.note_text(note))
        span = self.span_at(row, position.x())
        if span is not None:
            lines.append(self.span_text(row, span))
        if not lines:
            return ""
        return "\n".join([self.label_of(row), *lines])

    def span_text(self, row: LaneRow, span: Span) -> str:
        length = seconds((span.end - span.start) * 1e-9)
        if row.key < 0:
            words = ("in asyncio", "in Qt, or asleep", "waiting", "in a nested loop")
            return f"{words[span.kind]} for {length}"
        if span.kind == 0:
            return f"ran for {length}"
        if span.kind == 1:
            return f"ready, not running, for {length}"
        return f"waited {length} for {self.wait_text(row.key, span)}"

    def wait_text(self, task: int, span: Span) -> str:
        """What a task waited for."""
        assert self.application is not None
        process = self.application.process
        kind = _tables.WAIT_KINDS.get(span.kind - 2, "unknown")
        if kind == "timer":
            return "sleep"
        if span.ref and process.rows.get(process.ref(span.ref) or (0, 0)) is not None:
            return process.describe(span.ref)
        row = process.rows.get((TASK, task))
        if row is not None and span.end >= self.now() and row["wait_detail"]:
            return process.text(row["wait_detail"])
        return kind

    def emission_text(self, emission: Emission) -> str:
        assert self.application is not None
        process = self.application.process
        if emission.wait:
            row = process.rows.get((WAIT, emission.wait))
            return f"{process.wait_text(row) if row else 'a signal'} came"
        slot = process.rows.get((SLOT, emission.slot))
        name = process.text(slot["name"]) if slot is not None else "a slot"
        signal = process.text(emission.signal) or "a signal"
        if not emission.task:
            return f"an emission that {name} refused"
        receiver = process.object_text(slot["receiver"]) if slot is not None else ""
        return f"{signal} called {name}" + (f" of {receiver}" if receiver else "")

    def note_text(self, note: Note) -> str:
        assert self.application is not None
        process = self.application.process
        text = process.text(note.text) or process.code_text(note.text)
        length = (
            f", {seconds((note.end - note.ts) * 1e-9)}" if note.end > note.ts else ""
        )
        return f"{note.kind}{': ' if text else ''}{text}{length}"

    def flow_text(self, flow: Flow) -> str:
        names = {SIGNALS: "a signal"}
        source = names.get(flow.source, f"task {flow.source}")
        return f"{source} {flow.kind} {names.get(flow.target, f'task {flow.target}')}"

    # --- mouse and keys

    def viewportEvent(self, event: Any) -> bool:
        if event.type() == QtCore.QEvent.Type.ToolTip:
            text = self.describe(QtCore.QPointF(event.pos()))
            if text:
                QtWidgets.QToolTip.showText(event.globalPos(), tooltip(text), self)
            else:
                QtWidgets.QToolTip.hideText()
            return True
        if event.type() == QtCore.QEvent.Type.Leave:
            self._hover = None
            self.viewport().update()
        return bool(super().viewportEvent(event))

    def wheelEvent(self, event: Any) -> None:
        delta = event.angleDelta()
        position = event.position()
        sideways = delta.x() / 120
        steps = delta.y() / 120
        modifiers = event.modifiers()
        if sideways and not steps:
            self.pan(-sideways / 10)
        elif (
            position.x() < self.labels_width
            or modifiers & Qt.KeyboardModifier.ShiftModifier
        ):
            bar = self.verticalScrollBar()
            bar.setValue(bar.value() - int(steps * 3))
        elif steps:
            at = None if self.following else self.ts_of(position.x())
            self.zoom(1.25**steps, at)
        event.accept()

    def mousePressEvent(self, event: Any) -> None:
        if event.button() != Qt.MouseButton.LeftButton:
            return
        position = event.position()
        self._dragged = False
        if position.y() < RULER and position.x() >= self.labels_width:
            self._drag = ("brush", self.ts_of(position.x()), position)
        else:
            self._drag = ("pan", (self.t0, self.t1), position)

    def mouseMoveEvent(self, event: Any) -> None:
        position = event.position()
        self._hover = position
        if self._drag is None:
            over_ruler = position.y() < RULER and position.x() >= self.labels_width
            self.viewport().setCursor(
                Qt.CursorShape.IBeamCursor if over_ruler else Qt.CursorShape.ArrowCursor
            )
            self.viewport().update()
            return
        what, start, begun = self._drag
        if not self._dragged and (position - begun).manhattanLength() < _DRAG:
            return
        if what == "brush":
            self._dragged = True
            ts = self.ts_of(position.x())
            self.set_brush((min(start, ts), max(start, ts)))
            return
        if not self._dragged:
            self._dragged = True
            self.viewport().setCursor(Qt.CursorShape.ClosedHandCursor)
            self.set_following(False)
        width = max(1, self.viewport().width() - self.labels_width)
        moved = (begun.x() - position.x()) * (start[1] - start[0]) / width
        self._set_range(start[0] + moved, start[1] + moved)
        rows = int((begun.y() - position.y()) / LANE)
        if rows:
            bar = self.verticalScrollBar()
            bar.setValue(bar.value() + rows)
            self._drag = ("pan", (self.t0, self.t1), position)

    def mouseReleaseEvent(self, event: Any) -> None:
        drag, self._drag = self._drag, None
        self.viewport().setCursor(Qt.CursorShape.ArrowCursor)
        if drag is None or self._dragged:
            return
        position = event.position()
        if drag[0] == "brush":
            self.set_brush(None)
            return
        row = self.row_at(position.y())
        if row is None:
            return
        if row.key > 0:
            self.selected.emit(TASK << 56 | row.key)
        elif row.key == SIGNALS and self.application is not None:
            found = self._near(self.application.lanes.emissions, position.x())
            if found:
                ref = (
                    TASK << 56 | found[0].task
                    if found[0].task
                    else WAIT << 56 | found[0].wait
                )
                self.selected.emit(ref)

    def mouseDoubleClickEvent(self, event: Any) -> None:
        row = self.row_at(event.position().y())
        if row is not None and row.lane is not None:
            span = self.span_at(row, event.position().x())
            if span is not None:
                self.show_range(span.start, span.end)

    def keyPressEvent(self, event: Any) -> None:
        key = event.key()
        keys = Qt.Key
        if key in (keys.Key_Plus, keys.Key_Equal, keys.Key_W):
            self.zoom(1.5)
        elif key in (keys.Key_Minus, keys.Key_S):
            self.zoom(1 / 1.5)
        elif key in (keys.Key_Left, keys.Key_A):
            self.pan(-0.2)
        elif key in (keys.Key_Right, keys.Key_D):
            self.pan(0.2)
        elif key == keys.Key_Home:
            self.set_following(False)
            self.show_all()
        elif key == keys.Key_End:
            self.set_following(True)
        elif key in (keys.Key_Up, keys.Key_Down):
            self._choose(1 if key == keys.Key_Down else -1)
        elif key == keys.Key_Escape and self.brush is not None:
            self.set_brush(None)
        else:
            super().keyPressEvent(event)

    def _choose(self, step: int) -> None:
        if not self.keys:
            return
        row = self._row_of(self._key(self.selection))
        row = min(max(0, row + step), len(self.keys) - 1) if row >= 0 else 0
        self.selected.emit(TASK << 56 | self.keys[row])

    # --- for the window

    def counts(self) -> dict[str, int]:
        """Lanes, and segments in view; for tests and the status bar."""
        if self._stale:
            self.refresh()
        return {"lanes": len(self.keys), "pinned": len(self.pinned)}
