"""chrome_tracing.py FILE [PICTURE]: opens FILE in chrome://tracing of a real Chromium.

That of Qt WebEngine: Debian's package has no such page.  As a person would: the button
"Load" is clicked, and the file chosen in the dialog.  Prints one JSON object with what
the page then shows.  PICTURE is what a person sees of it (PNG).
"""

import json
import os
import pathlib
import sys

# Containers have no namespaces for the sandbox, and no GPU.
os.environ["QTWEBENGINE_CHROMIUM_FLAGS"] = "--no-sandbox --disable-gpu"

from PyQt6 import QtCore, QtWidgets
from PyQt6.QtTest import QTest
from PyQt6.QtWebEngineCore import QWebEnginePage, qWebEngineChromiumVersion
from PyQt6.QtWebEngineWidgets import QWebEngineView

BUTTON = """(() => {
    const box = document.querySelector("#load-button").getBoundingClientRect();
    return [box.left + box.width / 2, box.top + box.height / 2];
})()"""

# The page has an overlay while it imports, and after that for what went wrong.
SHOWN = """(() => {
    const failure = document.body.innerText.match(/While importing:[^]*/);
    if (failure) return JSON.stringify({failure: failure[0]});
    const model = document.querySelector("tr-ui-timeline-view").model;
    if (!model) return "";
    const threads = model.getAllThreads();
    return JSON.stringify({
        processes: Object.values(model.processes).map((one) => one.name),
        warnings: model.importWarnings.map((one) => one.message),
        threads: threads.map((thread) => ({
            name: thread.name,
            order: thread.sortIndex,
            slices: Array.from(thread.sliceGroup.slices, (slice) => [
                slice.category, slice.title, slice.start * 1000, slice.duration * 1000,
                slice.parentSlice ? slice.parentSlice.title : null,
            ]),
        })),
        flows: model.flowEvents.map((flow) => [
            flow.startSlice && [flow.startSlice.parentContainer.name,
                                flow.startSlice.title],
            flow.endSlice && [flow.endSlice.parentContainer.name, flow.endSlice.title],
        ]),
        counters: model.getAllCounters().map((counter) => [
            counter.name, counter.series[0].samples.map((one) => one.value),
        ]),
        title: document.title,
    });
})()"""


class Page(QWebEnginePage):
    def __init__(self, path, parent):
        super().__init__(parent)
        self.path = path
        self.errors = []

    def chooseFiles(self, *_):
        return [self.path]

    def javaScriptConsoleMessage(self, level, message, line, source):
        if level == self.JavaScriptConsoleMessageLevel.ErrorMessageLevel:
            self.errors.append(f"{source}:{line}: {message}")


class Window(QWebEngineView):
    def __init__(self, path, picture):
        super().__init__()
        self.picture = picture
        self.shown = None
        self.setPage(Page(path, self))
        self.resize(1400, 900)
        self.loadFinished.connect(self.loaded)
        self.timer = QtCore.QTimer(self, interval=50)
        self.timer.timeout.connect(self.look)
        self.load(QtCore.QUrl("chrome://tracing"))

    def loaded(self, well):
        if not well:
            sys.exit("this Chromium has no chrome://tracing")
        self.page().runJavaScript(BUTTON, self.click)

    def click(self, at):
        """A file chooser is opened for a click alone, not for a script."""
        at = QtCore.QPoint(*map(round, at))
        QTest.mouseClick(self.focusProxy(), QtCore.Qt.MouseButton.LeftButton, pos=at)
        self.timer.start()

    def look(self):
        self.page().runJavaScript(SHOWN, self.seen)

    def seen(self, text):
        if not text or self.shown:
            return
        self.timer.stop()
        self.shown = json.loads(text)
        self.shown["errors"] = self.page().errors
        self.shown["chromium"] = qWebEngineChromiumVersion()
        if self.picture:  # what has been imported is painted a bit later
            QtCore.QTimer.singleShot(1000, self.end)
        else:
            self.end()

    def end(self):
        if self.picture:
            self.grab().save(self.picture)
        print(json.dumps(self.shown))
        QtWidgets.QApplication.quit()


def main(path, picture=None):
    application = QtWidgets.QApplication(sys.argv[:1])
    window = Window(str(pathlib.Path(path).resolve()), picture)
    window.show()
    application.exec()
    page = window.page()
    window.setPage(None)
    page.deleteLater()


main(*sys.argv[1:])
