"""An HTTP client window: concurrent downloads with aiohttp while the GUI stays alive.

``QTINTERBINDING=PyQt6 python examples/http_window.py URL ...`` (or another binding)
downloads what is named; the bodies are counted and hashed, not kept.

``... examples/http_window.py --demo`` needs no URL: it starts a server of its own,
downloads from it over HTTP and HTTPS, prints what happened and exits.
"""

import argparse
import asyncio
import hashlib
import sys

import aiohttp

import qtinter
from qtinter.bindings import QtCore, QtGui, QtWidgets

EXAMPLE_URLS = [
    "https://www.python.org/",
    "https://docs.python.org/3/library/asyncio.html",
    "https://doc.qt.io/qt-6/qeventloop.html",
    "https://peps.python.org/pep-3156/",
]


class Spinner(QtWidgets.QWidget):
    """A turning arc; it shows that the GUI thread is free."""

    def __init__(self):
        super().__init__()
        self.setFixedSize(32, 32)
        self.frames = 0
        self.animation = QtCore.QVariantAnimation(self)
        self.animation.setStartValue(360.0)
        self.animation.setEndValue(0.0)
        self.animation.setDuration(1_000)
        self.animation.setLoopCount(-1)
        self.animation.valueChanged.connect(self.update)

    def paintEvent(self, event):
        if self.animation.state() != QtCore.QAbstractAnimation.State.Running:
            return
        self.frames += 1
        painter = QtGui.QPainter(self)
        painter.setRenderHint(QtGui.QPainter.RenderHint.Antialiasing)
        pen = QtGui.QPen(self.palette().highlight(), 4)
        pen.setCapStyle(QtCore.Qt.PenCapStyle.RoundCap)
        painter.setPen(pen)
        angle = int(self.animation.currentValue() * 16)
        painter.drawArc(self.rect().adjusted(4, 4, -4, -4), angle, 270 * 16)
        painter.end()

    def start(self):
        self.animation.start()

    def stop(self):
        self.animation.stop()
        self.update()


class Download:
    """One request: its row in the table and, at the end, what came of it."""

    def __init__(self, url, table, row):
        self.url = url
        self.status = QtWidgets.QTableWidgetItem()
        self.bar = QtWidgets.QProgressBar()
        table.setItem(row, 0, QtWidgets.QTableWidgetItem(url))
        table.setItem(row, 1, self.status)
        table.setCellWidget(row, 2, self.bar)
        self.reset()

    def reset(self):
        self.done = False
        self.size = 0  # bytes of the body received so far
        self.sha256 = hashlib.sha256()
        self.headers = None
        self.status.setText("waiting")
        self.bar.setRange(0, 100)
        self.bar.setValue(0)

    async def run(self, session):
        """Download the body with *session*; the status tells success or failure."""
        try:
            async with session.get(self.url) as response:
                response.raise_for_status()
                self.headers = response.headers
                self.show_headers(response)
                async for data in response.content.iter_any():
                    self.size += len(data)
                    self.sha256.update(data)
                    self.show_progress(response.content_length)
        except asyncio.CancelledError:
            self.show_failure("cancelled")
            raise
        except aiohttp.ClientResponseError as error:
            self.show_failure(f"{error.status} {error.message}")
        except (aiohttp.ClientError, asyncio.TimeoutError, OSError) as error:
            self.show_failure(str(error) or type(error).__name__)
        else:
            self.done = True
            self.status.setText(f"{self.size:,} bytes")
            self.bar.setRange(0, 100)
            self.bar.setValue(100)

    def show_failure(self, reason):
        self.status.setText(reason)
        self.status.setToolTip(reason)  # the column may be too narrow for it
        self.bar.setRange(0, 100)

    def show_headers(self, response):
        self.status.setText(f"{response.status} {response.reason}")
        if response.content_length is None:
            self.bar.setRange(0, 0)  # busy: nobody knows how much will come

    def show_progress(self, length):
        if length:
            self.bar.setValue(100 * self.size // length)

    def percent(self):
        return 100 if self.done else max(0, self.bar.value())


class HttpWindow(QtWidgets.QWidget):
    """A list of URLs, the progress of each, of all, and an animation."""

    def __init__(self, urls, ssl_context=None):
        """Show *urls*; verify servers with *ssl_context*, by default aiohttp's own."""
        super().__init__()
        self.setWindowTitle("HTTP client")
        self.resize(760, 460)
        self.ssl_context = ssl_context
        self.task = None

        self.start_button = QtWidgets.QPushButton("Download")
        self.cancel_button = QtWidgets.QPushButton("Cancel")
        self.cancel_button.setEnabled(False)
        self.spinner = Spinner()
        self.table = QtWidgets.QTableWidget(len(urls), 3)
        self.downloads = [
            Download(url, self.table, row) for row, url in enumerate(urls)
        ]
        self.bar = QtWidgets.QProgressBar()
        self.bar.setRange(0, max(1, 100 * len(urls)))
        self.bar.setValue(0)
        self.status = QtWidgets.QLabel("Ready.")
        self.arrange()

        self.start_button.clicked.connect(qtinter.asyncslot(self.download_all))
        self.cancel_button.clicked.connect(self.cancel)
        for download in self.downloads:
            download.bar.valueChanged.connect(self.show_progress)

    def arrange(self):
        Mode = QtWidgets.QHeaderView.ResizeMode
        self.table.setHorizontalHeaderLabels(["URL", "Status", "Progress"])
        self.table.verticalHeader().hide()
        self.table.setEditTriggers(self.table.EditTrigger.NoEditTriggers)
        self.table.setShowGrid(False)
        self.table.setWordWrap(False)
        header = self.table.horizontalHeader()
        header.setSectionResizeMode(0, Mode.Stretch)
        header.resizeSection(1, 220)
        header.resizeSection(2, 160)

        # However long its text is, it must not make the window wider.
        Policy = QtWidgets.QSizePolicy.Policy
        self.status.setSizePolicy(Policy.Ignored, Policy.Fixed)

        buttons = QtWidgets.QHBoxLayout()
        buttons.addWidget(self.start_button)
        buttons.addWidget(self.cancel_button)
        buttons.addStretch()
        buttons.addWidget(self.spinner)
        layout = QtWidgets.QVBoxLayout(self)
        layout.addLayout(buttons)
        layout.addWidget(self.table)
        layout.addWidget(self.bar)
        layout.addWidget(self.status)

    async def download_all(self):
        """Download all URLs at the same time; end early when cancelled."""
        self.task = asyncio.current_task()
        self.start_button.setEnabled(False)
        self.cancel_button.setEnabled(True)
        self.spinner.start()
        for download in self.downloads:
            download.reset()
        try:
            options = {"ssl": self.ssl_context} if self.ssl_context else {}
            connector = aiohttp.TCPConnector(**options)
            # Uncompressed, so that the length announced is that of the body.
            headers = {"Accept-Encoding": "identity"}
            async with aiohttp.ClientSession(
                connector=connector, headers=headers
            ) as session:
                await asyncio.gather(*(d.run(session) for d in self.downloads))
        finally:
            self.spinner.stop()
            self.show_progress()
            self.start_button.setEnabled(True)
            self.cancel_button.setEnabled(False)

    def cancel(self):
        self.task.cancel()

    def show_progress(self):
        done = sum(download.done for download in self.downloads)
        size = sum(download.size for download in self.downloads)
        self.bar.setValue(sum(download.percent() for download in self.downloads))
        self.status.setText(
            f"{done} of {len(self.downloads)} downloads done, {size:,} bytes"
        )


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("urls", metavar="URL", nargs="*", default=EXAMPLE_URLS)
    parser.add_argument("--demo", action="store_true", help="run by itself and report")
    args = parser.parse_args()
    if args.demo:
        import http_demo

        return http_demo.main(HttpWindow)

    app = QtWidgets.QApplication([])
    with qtinter.using_asyncio_from_qt():
        window = HttpWindow(args.urls)
        window.show()
        return app.exec()


if __name__ == "__main__":
    sys.exit(main())
