"""How a timeline is painted: one pass over what can be seen."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from ..lanes import RUNS, SIGNALS, WAITS, Flow, Lane, Span
from ..model import LOOP
from .columns import seconds
from .qt import Qt, QtCore, QtGui

if TYPE_CHECKING:
    from .application import Application
    from .timeline import Timeline

_PIXELS = 2  # width below which segments are drawn together
_ARROW_WIDTH = 8  # pixels for each, on the average; if there are less, fewer are drawn
_TEXT_WIDTH = 56  # pixels that a segment needs to be labelled
_STEPS = (1, 2, 5)


class LaneRow(NamedTuple):
    """One line: a task's (key > 0), the emissions' (0) or a loop's (< 0)."""

    key: int
    label: str
    lane: Lane | None


def tick_step(span: float, most: int) -> int:
    """A round distance of ticks, so that there are at most so many."""
    step = 1
    while True:
        for digit in _STEPS:
            if span / (step * digit) <= most:
                return step * digit
        step *= 10


def tick_text(ns: int, step: int) -> str:
    """A moment, since the beginning, as exact as the distance of ticks needs."""
    sign = "-" if ns < 0 else ""
    ns = abs(ns)
    digits = 0
    while step % 1_000_000_000 and digits < 9:
        step *= 10
        digits += 1
    whole, rest = divmod(ns, 1_000_000_000)
    minutes, whole_s = divmod(whole, 60)
    fraction = f".{rest:09d}"[: digits + 1] if digits else ""
    if minutes:
        return f"{sign}{minutes}:{whole_s:02d}{fraction}"
    return f"{sign}{whole_s}{fraction} s"


def busy_since(application: Application) -> dict[int, int]:
    """Since when the loops that are busy now have been; by number."""
    found = {}
    for ident in application.loops:
        row = application.process.rows.get((LOOP, ident))
        if row is not None and row["busy_since"]:
            found[row.loop] = int(row["busy_since"])
    return found


class Painting:
    """One frame of a timeline."""

    def __init__(self, timeline: Timeline, painter: Any) -> None:
        from .timeline import LANE, RULER

        self.timeline = timeline
        self.painter = painter
        self.theme = timeline.theme
        self.lane_height = LANE
        self.ruler = RULER
        self.width = timeline.viewport().width()
        self.height = timeline.viewport().height()
        self.left = timeline.labels_width
        self.now = timeline.now()
        self.resolution = max(
            1, (timeline.t1 - timeline.t0) * _PIXELS // max(1, self.width - self.left)
        )
        self.rows: list[tuple[LaneRow, int]] = []  # with y
        self.metrics = QtGui.QFontMetrics(timeline.font())
        # Rectangles by colour: a change of colour costs more than a rectangle.
        self.rectangles: dict[Any, list[Any]] = {}
        self.texts: list[tuple[Any, str]] = []
        application = timeline.application
        self._busy = busy_since(application) if application is not None else {}

    def paint(self) -> None:
        painter, theme = self.painter, self.theme
        painter.fillRect(QtCore.QRectF(0, 0, self.width, self.height), theme.base)
        self._place_rows()
        self._bands()
        area = QtCore.QRectF(
            self.left, self.ruler, self.width - self.left, self.height - self.ruler
        )
        painter.save()
        painter.setClipRect(area)
        self._grid()
        self._gaps()
        for row, y in self.rows:
            if row.lane is not None:
                self._lane(row, y)
        self._flush()
        self._notes()
        painter.setRenderHint(QtGui.QPainter.RenderHint.Antialiasing)
        self._emissions()
        if self.timeline.show_flows:
            self._flows()
        self._now_line()
        self._brush()
        painter.restore()
        self._labels()
        self._ruler()
        self._hover()
        self._nothing()

    def _x(self, ts: float) -> float:
        """Where a moment is, or the edge it is beyond: not each painter clips."""
        x: float = min(max(self.timeline.x_of(ts), self.left), self.width)
        return x

    def _place_rows(self) -> None:
        timeline = self.timeline
        y = self.ruler
        for row in timeline.pinned:
            self.rows.append((row, y))
            y += self.lane_height
        first = timeline.verticalScrollBar().value()
        for row in timeline.rows(first, (self.height - y) // self.lane_height + 1):
            self.rows.append((row, y))
            y += self.lane_height

    def _bands(self) -> None:
        chosen = self.timeline._key(self.timeline.selection)
        accent = QtGui.QColor(self.theme.accent)
        accent.setAlpha(34)
        for row, y in self.rows:
            area = QtCore.QRectF(0, y, self.width, self.lane_height)
            if row.key <= 0:
                self.painter.fillRect(area, self.theme.band)
            if row.key > 0 and row.key == chosen:
                self.painter.fillRect(area, accent)
            self.painter.fillRect(
                QtCore.QRectF(0, y + self.lane_height - 1, self.width, 1),
                self.theme.grid,
            )

    def _ticks(self) -> tuple[int, list[int]]:
        timeline = self.timeline
        most = max(2, (self.width - self.left) // 110)
        step = tick_step(timeline.t1 - timeline.t0, most)
        zero = self._zero()
        first = zero + -(-(timeline.t0 - zero) // step) * step
        return step, list(range(first, timeline.t1, step))

    def _zero(self) -> int:
        application = self.timeline.application
        if application is None:
            return 0
        return int(application.process.info.get("mono0", 0)) or application.lanes.first

    def _grid(self) -> None:
        _, ticks = self._ticks()
        for ts in ticks:
            x = self.timeline.x_of(ts)
            self.painter.fillRect(
                QtCore.QRectF(x, self.ruler, 1, self.height), self.theme.grid
            )

    def _gaps(self) -> None:
        application = self.timeline.application
        if application is None:
            return
        color = QtGui.QColor(self.theme.bad)
        color.setAlpha(90)
        pattern = QtGui.QBrush(color, Qt.BrushStyle.BDiagPattern)
        for t0, t1, _count in application.lanes.gaps[-200:]:
            if t1 >= self.timeline.t0 and t0 <= self.timeline.t1:
                x = self._x(t0)
                width = max(2.0, self.timeline.x_of(t1) - x)
                self.painter.fillRect(
                    QtCore.QRectF(x, self.ruler, width, self.height), pattern
                )

    # --- lanes

    def _rectangle(self, color: Any, x: float, y: float, w: float, h: float) -> None:
        key = color.rgba()
        found = self.rectangles.get(key)
        if found is None:
            found = self.rectangles[key] = [color]
        found.append(QtCore.QRectF(x, y, w, h))

    def _flush(self) -> None:
        painter = self.painter
        painter.setPen(Qt.PenStyle.NoPen)
        for color, *rectangles in self.rectangles.values():
            painter.setBrush(color)
            painter.drawRects(rectangles)
        painter.setBrush(Qt.BrushStyle.NoBrush)
        painter.setPen(self.theme.text)
        for area, text in self.texts:
            painter.drawText(
                area, Qt.AlignmentFlag.AlignVCenter | Qt.AlignmentFlag.AlignLeft, text
            )

    def _lane(self, row: LaneRow, y: int) -> None:
        assert row.lane is not None
        timeline = self.timeline
        # A view that is frozen shows nothing of what came since.
        last = min(timeline.t1, self.now)
        for span in row.lane.spans(timeline.t0, last, self.resolution, self.now):
            x0 = max(self.left - 1.0, timeline.x_of(span.start))
            x1 = min(self.width + 1.0, timeline.x_of(min(span.end, self.now)))
            width = max(1.0, x1 - x0)
            if row.key < 0:
                self._loop_span(span, x0, y, width)
            else:
                self._task_span(row, span, x0, y, width)
        if row.key < 0:
            self._busy_now(row, y)

    def _busy_now(self, row: LaneRow, y: int) -> None:
        """What runs and has not ended: events tell of it only then."""
        since = self._busy.get(-row.key, 0)
        if since and since < self.timeline.t1:
            x = max(self.left - 1.0, self.timeline.x_of(since))
            width = self.timeline.x_of(self.now) - x
            if width > 0:
                self._rectangle(
                    self.theme.asyncio, x, y + 4, width, self.lane_height - 8
                )

    def _loop_span(self, span: Span, x: float, y: int, width: float) -> None:
        theme, height = self.theme, self.lane_height - 8
        bottom = y + self.lane_height - 4
        if span.segments == 1 and span.kind == RUNS:
            self._rectangle(theme.asyncio, x, y + 4, width, height)
            return
        color = theme.idle if span.kind == 2 else theme.outside
        self._rectangle(color, x, y + 4, width, height)
        if span.share > 0:
            part = max(1.0, span.share * height)
            self._rectangle(theme.asyncio, x, bottom - part, width, part)

    def _task_span(
        self, row: LaneRow, span: Span, x: float, y: int, width: float
    ) -> None:
        theme = self.theme
        top, height = y + 3, self.lane_height - 7
        if span.segments == 1 and span.kind == RUNS:
            self._rectangle(theme.runs, x, top, width, height)
            return
        color = theme.of_segment(span.kind)
        if span.kind == 1 and span.segments == 1:
            self._rectangle(color, x, top + height // 3, width, height - height // 3)
            return
        if span.kind != RUNS:
            tint = QtGui.QColor(color)
            tint.setAlpha(70 if theme.dark else 56)
            self._rectangle(tint, x, top, width, height)
            self._rectangle(color, x, top + height - 3, width, 3)
        if span.segments > 1 and span.share > 0:
            part = max(2.0, span.share * height)
            self._rectangle(theme.runs, x, top + height - part, width, part)
        elif span.kind >= WAITS and width >= _TEXT_WIDTH:
            text = self.timeline.wait_text(row.key, span)
            text = self.metrics.elidedText(
                text, Qt.TextElideMode.ElideRight, int(width) - 12
            )
            self.texts.append(
                (QtCore.QRectF(x + 6, top - 1, width - 8, height - 2), text)
            )

    # --- signs and arrows

    def _lane_y(self) -> dict[int, int]:
        return {row.key: y for row, y in self.rows}

    def _notes(self) -> None:
        application = self.timeline.application
        if application is None:
            return
        places = self._lane_y()
        theme, painter = self.theme, self.painter
        found = application.lanes.between(
            application.lanes.notes, self.timeline.t0 - 10_000_000_000, self.timeline.t1
        )
        for note in found[-400:]:
            y = places.get(note.lane)
            if y is None or note.end < self.timeline.t0:
                continue
            x = self._x(note.ts)
            if note.end > note.ts:
                width = max(1.0, self.timeline.x_of(note.end) - x)
                color = QtGui.QColor(theme.accent)
                painter.fillRect(QtCore.QRectF(x, y + 1, width, 2), color)
                continue
            bad = note.kind not in ("mark", "cancel")
            color = theme.bad if bad else theme.accent
            painter.setPen(QtGui.QPen(color, 2))
            middle = y + self.lane_height / 2
            if bad:
                painter.drawLine(
                    QtCore.QPointF(x - 4, middle - 4), QtCore.QPointF(x + 4, middle + 4)
                )
                painter.drawLine(
                    QtCore.QPointF(x - 4, middle + 4), QtCore.QPointF(x + 4, middle - 4)
                )
            else:
                painter.drawLine(
                    QtCore.QPointF(x, y + 2),
                    QtCore.QPointF(x, y + self.lane_height - 3),
                )

    def _emissions(self) -> None:
        application = self.timeline.application
        y = self._lane_y().get(SIGNALS)
        if application is None or y is None:
            return
        painter = self.painter
        color = self.theme.waits[4]
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(color)
        middle = y + self.lane_height / 2
        seen = set()
        lanes = application.lanes
        for emission in lanes.between(
            lanes.emissions, self.timeline.t0, self.timeline.t1
        ):
            x = self.timeline.x_of(emission.ts)
            if int(x) in seen:
                continue
            seen.add(int(x))
            painter.drawPolygon(
                QtGui.QPolygonF(
                    [
                        QtCore.QPointF(x, middle - 5),
                        QtCore.QPointF(x + 4, middle),
                        QtCore.QPointF(x, middle + 5),
                        QtCore.QPointF(x - 4, middle),
                    ]
                )
            )
        painter.setBrush(Qt.BrushStyle.NoBrush)

    def _flows(self) -> None:
        application = self.timeline.application
        if application is None:
            return
        places = self._lane_y()
        chosen = self.timeline._key(self.timeline.selection)
        lanes = application.lanes
        found = lanes.between(lanes.flows, self.timeline.t0, self.timeline.t1)
        most = (self.width - self.left) // _ARROW_WIDTH
        if len(found) > most:
            found = [f for f in found if chosen > 0 and chosen in (f.source, f.target)]
        if len(found) > most:
            return  # they would hide what is below
        seen = set()
        for flow in found:
            of_chosen = chosen > 0 and chosen in (flow.source, flow.target)
            source, target = places.get(flow.source), places.get(flow.target)
            if source is None or target is None:
                continue
            x = self.timeline.x_of(flow.ts)
            key = (int(x) // 2, source, target)
            if key in seen:
                continue
            seen.add(key)
            self._arrow(flow, x, source, target, of_chosen)

    def _arrow(
        self, flow: Flow, x: float, source: int, target: int, strong: bool
    ) -> None:
        theme, painter = self.theme, self.painter
        if flow.kind in ("called", "emitted"):
            color = QtGui.QColor(theme.waits[4])
        elif flow.kind == "woke":
            color = QtGui.QColor(theme.waits[3])
        else:
            color = QtGui.QColor(theme.dim)
        color.setAlpha(255 if strong else 150)
        painter.setPen(QtGui.QPen(color, 2 if strong else 1))
        half = self.lane_height / 2
        begin = QtCore.QPointF(x, source + half)
        down = target > source
        end = QtCore.QPointF(x, target + (4 if down else self.lane_height - 5))
        painter.drawLine(begin, end)
        size = 4
        back = -size if down else size
        painter.setBrush(color)
        painter.setPen(Qt.PenStyle.NoPen)
        painter.drawPolygon(
            QtGui.QPolygonF(
                [
                    end,
                    QtCore.QPointF(x - size * 0.7, end.y() + back),
                    QtCore.QPointF(x + size * 0.7, end.y() + back),
                ]
            )
        )
        painter.setBrush(Qt.BrushStyle.NoBrush)

    # --- around

    def _now_line(self) -> None:
        x = self.timeline.x_of(self.now)
        if self.left <= x <= self.width:
            self.painter.setPen(QtGui.QPen(self.theme.dim, 1, Qt.PenStyle.DashLine))
            self.painter.drawLine(
                QtCore.QPointF(x, self.ruler), QtCore.QPointF(x, self.height)
            )

    def _brush(self) -> None:
        brush = self.timeline.brush
        if brush is None:
            return
        x0, x1 = self._x(brush[0]), self._x(brush[1])
        self.painter.fillRect(
            QtCore.QRectF(x0, self.ruler, max(1.0, x1 - x0), self.height),
            self.theme.brush,
        )
        self.painter.setPen(QtGui.QPen(self.theme.accent, 1))
        for x in (x0, x1):
            self.painter.drawLine(
                QtCore.QPointF(x, self.ruler), QtCore.QPointF(x, self.height)
            )

    def _labels(self) -> None:
        painter, theme = self.painter, self.theme
        chosen = self.timeline._key(self.timeline.selection)
        left = Qt.AlignmentFlag.AlignVCenter | Qt.AlignmentFlag.AlignLeft
        for row, y in self.rows:
            over = row.key > 0 and row.lane is not None and row.lane.ended
            bold = row.key <= 0 or row.key == chosen
            font = QtGui.QFont(self.timeline.font())
            font.setBold(bold)
            painter.setFont(font)
            painter.setPen(theme.dim if over else theme.text)
            text = QtGui.QFontMetrics(font).elidedText(
                self.timeline.label_of(row), Qt.TextElideMode.ElideRight, self.left - 18
            )
            painter.drawText(
                QtCore.QRectF(10, y, self.left - 16, self.lane_height - 1), left, text
            )
        painter.setFont(self.timeline.font())
        painter.fillRect(
            QtCore.QRectF(self.left - 1, self.ruler, 1, self.height), theme.grid
        )

    def _ruler(self) -> None:
        painter, theme = self.painter, self.theme
        painter.fillRect(QtCore.QRectF(0, 0, self.width, self.ruler), theme.band)
        painter.fillRect(QtCore.QRectF(0, self.ruler - 1, self.width, 1), theme.grid)
        step, ticks = self._ticks()
        zero = self._zero()
        painter.save()
        painter.setClipRect(QtCore.QRectF(self.left, 0, self.width, self.ruler))
        painter.setPen(theme.dim)
        for ts in ticks:
            x = self.timeline.x_of(ts)
            painter.drawLine(
                QtCore.QPointF(x, self.ruler - 6), QtCore.QPointF(x, self.ruler - 2)
            )
            painter.drawText(
                QtCore.QRectF(x + 4, 0, 140, self.ruler - 4),
                Qt.AlignmentFlag.AlignVCenter | Qt.AlignmentFlag.AlignLeft,
                tick_text(ts - zero, step),
            )
        brush = self.timeline.brush
        if brush is not None:
            x0, x1 = self._x(brush[0]), self._x(brush[1])
            painter.fillRect(
                QtCore.QRectF(x0, 0, max(1.0, x1 - x0), self.ruler - 1), theme.brush
            )
            text = seconds((brush[1] - brush[0]) * 1e-9)
            wide = self.metrics.horizontalAdvance(text) + 12
            middle = (max(x0, self.left) + min(x1, self.width)) / 2
            area = QtCore.QRectF(middle - wide / 2, 2, wide, self.ruler - 5)
            painter.fillRect(area, theme.base)  # a label of the ruler may be there
            painter.setPen(theme.text)
            painter.drawText(area, Qt.AlignmentFlag.AlignCenter, text)
        painter.restore()
        painter.setPen(theme.dim)
        span = seconds((self.timeline.t1 - self.timeline.t0) * 1e-9)
        painter.drawText(
            QtCore.QRectF(10, 0, self.left - 16, self.ruler - 2),
            Qt.AlignmentFlag.AlignVCenter | Qt.AlignmentFlag.AlignLeft,
            f"{span} in view",
        )

    def _hover(self) -> None:
        position = self.timeline._hover
        if position is None or position.x() < self.left:
            return
        color = QtGui.QColor(self.theme.text)
        color.setAlpha(70)
        self.painter.setPen(QtGui.QPen(color, 1))
        self.painter.drawLine(
            QtCore.QPointF(position.x(), 0), QtCore.QPointF(position.x(), self.height)
        )

    def _nothing(self) -> None:
        """Says what to do when there is nothing to see."""
        application = self.timeline.application
        if application is None or self.timeline.keys:
            return
        if application.behind:
            text = "Reading events…"
        elif not application.lanes.last and application.source.info.get("level", 0) < 2:
            text = (
                "No events yet.\nThey are recorded from level 2 on "
                "(QTINTER_INSPECT=2, or the level in the menu Application)."
            )
        elif not application.lanes.last:
            text = "No events yet."
        else:
            text = "No task matches in this range.  Home shows everything."
        self.painter.setPen(self.theme.dim)
        self.painter.drawText(
            QtCore.QRectF(
                self.left,
                self.timeline.top,
                self.width - self.left,
                max(60, self.height - self.timeline.top),
            ),
            Qt.AlignmentFlag.AlignCenter | Qt.TextFlag.TextWordWrap,
            text,
        )
