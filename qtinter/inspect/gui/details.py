"""The pane that says everything about what is selected."""

from __future__ import annotations

from typing import Any

from . import describe
from . import theme as themes
from .application import Application
from .charts import Histogram
from .qt import QtWidgets, Signal

_EMPTY = (
    "<p class='dim'>Select a task, a slot, a signal wait, a finding or a stall to see "
    "what it waits for, who made it, and how long its steps take.</p>"
)


class Details(QtWidgets.QWidget):
    """Details of the selection, and the distribution of its steps."""

    chosen = Signal(object)  # a ref: a link was followed

    def __init__(self, theme: themes.Theme, parent: Any = None) -> None:
        super().__init__(parent)
        self._theme = theme
        self._html = ""
        self.browser = QtWidgets.QTextBrowser()
        self.browser.setOpenLinks(False)
        self.browser.setOpenExternalLinks(False)
        self.browser.anchorClicked.connect(self._follow)
        self.browser.document().setDocumentMargin(10)
        self.browser.setAccessibleName("Details")
        self.histogram = Histogram(theme)
        self.histogram.hide()
        layout = QtWidgets.QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(0)
        layout.addWidget(self.browser, 1)
        layout.addWidget(self.histogram)
        self.set_theme(theme)

    def set_theme(self, theme: themes.Theme) -> None:
        self._theme = theme
        self.histogram.theme = theme
        self.browser.document().setDefaultStyleSheet(
            f".dim {{ color: {theme.dim.name()}; font-weight: normal; }}"
            f".bad {{ color: {theme.bad.name()}; }}"
            f"a {{ color: {theme.accent.name()}; text-decoration: none; }}"
            "h3 { margin: 0 0 6px 0; } h4 { margin: 10px 0 2px 0; }"
            "p { margin: 2px 0; } pre { white-space: pre-wrap; }"
        )
        html, self._html = self._html, ""
        self._show(html or _EMPTY)

    def clear(self) -> None:
        self._show(_EMPTY)
        self.histogram.show_data("", None)

    def show_ref(self, application: Application, ref: int) -> None:
        self._show(describe.of_ref(application, ref))

    def show_stall(self, application: Application, stall: dict[str, Any]) -> None:
        self._show(describe.of_stall(application, stall))

    def show_lint(self, application: Application, lint: dict[str, Any]) -> None:
        self._show(describe.of_lint(application, lint))

    def show_text(self, title: str, text: str) -> None:
        self._show(describe.of_text(title, text))

    def text(self) -> str:
        return str(self.browser.toPlainText())

    def _show(self, html: str) -> None:
        if html == self._html:
            return
        self._html = html
        bar = self.browser.verticalScrollBar()
        place = bar.value()
        self.browser.setHtml(html)
        bar.setValue(place)

    def _follow(self, url: Any) -> None:
        scheme, _, ref = url.toString().partition(":")
        if scheme == "ref" and ref.isdigit():
            self.chosen.emit(int(ref))
