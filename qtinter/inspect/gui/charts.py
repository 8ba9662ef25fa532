"""Charts: how busy the loops were, and how long steps took."""

from __future__ import annotations

import math
from typing import Any, Iterator

from ..lanes import IDLE
from ..loads import TICK, Load, bin_width
from . import theme as themes
from .application import Application
from .columns import seconds
from .paint import busy_since
from .qt import Qt, QtCore, QtGui, QtWidgets


def _with_rest(
    app: Application, loop: int, end: int, span: int, loads: list[Load]
) -> list[Load]:
    """Adds what goes on since the last turn: events tell of it when it is over."""
    lane = app.lanes.loops.get(loop)
    if lane is None or lane.kind < 0 or not loads:
        return loads
    busy = busy_since(app).get(loop, 0)
    width = span / len(loads)
    found = []
    for i, load in enumerate(loads):
        begin = end - span + i * width
        rest = max(0, int(begin + width - max(begin, lane.since)))
        if rest and busy:
            ran = min(rest, max(0, int(begin + width - max(begin, busy))))
            load = load._replace(asyncio=load.asyncio + ran)
            rest -= ran
        if rest and lane.kind == IDLE:
            load = load._replace(idle=load.idle + rest)
        elif rest:
            load = load._replace(outside=load.outside + rest)
        found.append(load)
    return found


class LoadChart(QtWidgets.QWidget):
    """The load of a loop over time, and its lag: as a timeline has its range."""

    def __init__(self, theme: themes.Theme, parent: Any = None) -> None:
        super().__init__(parent)
        self.theme = theme
        self.application: Application | None = None
        self.minutes = 1.0
        self.setMinimumHeight(150)
        self.setSizePolicy(
            QtWidgets.QSizePolicy.Policy.Expanding,
            QtWidgets.QSizePolicy.Policy.Expanding,
        )
        self.setAccessibleName("Load of the loops")
        self.setToolTip(
            "How the time of each loop's thread was spent, and the longest time that a "
            "task was ready before it ran"
        )

    def sizeHint(self) -> Any:
        return QtCore.QSize(400, 180)

    def paintEvent(self, event: Any) -> None:
        painter = QtGui.QPainter(self)
        painter.setRenderHint(QtGui.QPainter.RenderHint.Antialiasing)
        painter.fillRect(self.rect(), self.theme.base)
        application = self.application
        loops = sorted(application.loads.loops) if application is not None else []
        if application is None or not loops:
            painter.setPen(self.theme.dim)
            painter.drawText(
                self.rect(),
                Qt.AlignmentFlag.AlignCenter,
                "The load is drawn from events, which are recorded from level 2 on.",
            )
            return
        height = self.height() / len(loops)
        for i, loop in enumerate(loops):
            area = QtCore.QRectF(0, i * height, self.width(), height)
            self._paint_loop(painter, application, loop, area)

    def _paint_loop(self, painter: Any, app: Application, loop: int, area: Any) -> None:
        theme = self.theme
        chart = area.adjusted(52, 26, -64, -20)
        end = app.now() // TICK * TICK
        if app.kind != "live":
            end += TICK
            span = max(TICK * 10, end - app.lanes.first // TICK * TICK)
        else:
            span = int(self.minutes * 60e9)
        bins = max(10, int(chart.width() // 4))
        bin_ns = bin_width(span, bins)
        # Bins begin at the same moments in each frame: they do not flicker.
        end = (end if app.kind == "live" else end + bin_ns - 1) // bin_ns * bin_ns
        span = -(-span // bin_ns) * bin_ns
        loads = app.loads.of(loop, end - span, end, bins)
        loads = _with_rest(app, loop, end, span, loads)
        width = chart.width() / max(1, len(loads))
        longest = max(max((load.lag for load in loads), default=0), 1_000_000)
        painter.setPen(theme.dim)
        for share, text in ((0.0, "0"), (0.5, "50 %"), (1.0, "100 %")):
            y = chart.bottom() - share * chart.height()
            painter.fillRect(
                QtCore.QRectF(chart.left(), y, chart.width(), 1), theme.grid
            )
            painter.drawText(
                QtCore.QRectF(area.left(), y - 8, 46, 16),
                Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter,
                text,
            )
        points = []
        painter.setRenderHint(QtGui.QPainter.RenderHint.Antialiasing, False)
        for i, load in enumerate(loads):
            x = chart.left() + i * width
            y = chart.bottom()
            for value, color in (
                (load.asyncio, theme.asyncio),
                (load.outside, theme.outside),
                (load.idle, theme.idle),
            ):
                part = min(1.0, value / bin_ns) * chart.height()
                if part > 0:
                    part = max(part, 1.0)
                    top = max(y - part, chart.top())
                    painter.fillRect(QtCore.QRectF(x, top, width + 0.5, y - top), color)
                    y = top
            points.append(
                QtCore.QPointF(
                    x + width / 2,
                    chart.bottom() - load.lag / longest * chart.height(),
                )
            )
        painter.setRenderHint(QtGui.QPainter.RenderHint.Antialiasing)
        painter.setPen(QtGui.QPen(theme.lag, 1.4))
        painter.drawPolyline(QtGui.QPolygonF(points))
        painter.drawText(
            QtCore.QRectF(chart.right() + 6, chart.top() - 8, 60, 16),
            Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter,
            seconds(longest * 1e-9),
        )
        self._legend(painter, loop, area, chart)
        painter.setPen(theme.dim)
        for text, side in (
            (
                f"{seconds(span * 1e-9)} ago" if app.kind == "live" else "begin",
                Qt.AlignmentFlag.AlignLeft,
            ),
            ("now" if app.kind == "live" else "end", Qt.AlignmentFlag.AlignRight),
        ):
            painter.drawText(
                QtCore.QRectF(chart.left(), chart.bottom() + 2, chart.width(), 16),
                side,
                text,
            )

    def _legend(self, painter: Any, loop: int, area: Any, chart: Any) -> None:
        theme = self.theme
        x = chart.left()
        y = area.top() + 6
        metrics = painter.fontMetrics()
        painter.setPen(theme.text)
        title = f"Loop {loop}"
        painter.drawText(QtCore.QPointF(x, y + 11), title)
        x += metrics.horizontalAdvance(title) + 16
        for color, text in (
            (theme.asyncio, "asyncio"),
            (theme.outside, "Qt, or asleep"),
            (theme.idle, "waiting, without Qt"),
            (theme.lag, "lag (longest)"),
        ):
            painter.fillRect(QtCore.QRectF(x, y + 2, 10, 10), color)
            painter.setPen(theme.dim)
            painter.drawText(QtCore.QPointF(x + 15, y + 11), text)
            x += metrics.horizontalAdvance(text) + 30


class Histogram(QtWidgets.QWidget):
    """How long steps, or slot calls, took: as the daemon's HISTOGRAM answers."""

    def __init__(self, theme: themes.Theme, parent: Any = None) -> None:
        super().__init__(parent)
        self.theme = theme
        self.title = ""
        self.data: dict[str, Any] | None = None
        self.setFixedHeight(146)
        self.setAccessibleName("Distribution of durations")

    def show_data(self, title: str, data: dict[str, Any] | None) -> None:
        """
        :param data: count, sum, max, p50, p90, p99 (ns), and buckets:
            [lower, count, ...]; None: there is nothing to show.
        """
        self.title, self.data = title, data
        self.setVisible(data is not None)
        if data is not None:
            self.setAccessibleDescription("   ".join(self._lines(data)))
        self.update()

    @staticmethod
    def _lines(data: dict[str, Any]) -> tuple[str, str]:
        p50, p90, p99, most = (
            f"{name} {seconds(data[name] * 1e-9)}"
            for name in ("p50", "p90", "p99", "max")
        )
        return f"{data['count']:,} ×   {most}", f"{p50}   {p90}   {p99}"

    def paintEvent(self, event: Any) -> None:
        data = self.data
        if data is None:
            return
        painter = QtGui.QPainter(self)
        theme = self.theme
        painter.fillRect(self.rect(), theme.base)
        painter.setPen(theme.text)
        painter.drawText(
            QtCore.QRectF(10, 4, self.width() - 20, 18),
            Qt.AlignmentFlag.AlignVCenter,
            self.title,
        )
        painter.setPen(theme.dim)
        for i, text in enumerate(self._lines(data)):
            painter.drawText(
                QtCore.QRectF(10, 22 + 16 * i, self.width() - 20, 16),
                Qt.AlignmentFlag.AlignVCenter,
                painter.fontMetrics().elidedText(
                    text, Qt.TextElideMode.ElideRight, self.width() - 20
                ),
            )
        flat = list(data["buckets"])
        pairs = list(zip(flat[::2], flat[1::2]))
        if not pairs:
            return
        area = QtCore.QRectF(10, 62, self.width() - 20, self.height() - 86)
        low, high = _octave(pairs[0][0]), _octave(pairs[-1][0]) + 0.25
        if high - low < 3:
            middle = (low + high) / 2
            low, high = middle - 1.5, middle + 1.5
        most = max(count for _, count in pairs)
        scale = area.width() / (high - low)
        for lower, count in pairs:
            x = area.left() + (_octave(lower) - low) * scale
            tall = max(2.0, count / most * area.height())
            painter.fillRect(
                QtCore.QRectF(x, area.bottom() - tall, max(2.0, scale / 8 - 1), tall),
                theme.runs,
            )
        painter.fillRect(
            QtCore.QRectF(area.left(), area.bottom(), area.width(), 1), theme.grid
        )
        metrics = painter.fontMetrics()
        ends = area.left()
        for ns in _round_durations(2**low, 2**high):
            x = area.left() + (_octave(ns) - low) * scale
            label = seconds(ns * 1e-9)
            wide = metrics.horizontalAdvance(label)
            left = min(max(area.left(), x - wide / 2), area.right() - wide)
            if left < ends:
                continue
            painter.fillRect(QtCore.QRectF(x, area.bottom(), 1, 4), theme.dim)
            painter.drawText(QtCore.QPointF(left, self.height() - 6), label)
            ends = left + wide + 14


def _round_durations(low: float, high: float) -> Iterator[float]:
    """The powers of ten in a range, ns; if there are few, also twos and fives."""
    wide = high / low > 300
    for power in range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1):
        for digit in (1,) if wide else (1, 2, 5):
            if low <= digit * 10.0**power <= high:
                yield digit * 10.0**power


def _octave(ns: float) -> float:
    return math.log2(max(1, ns))
