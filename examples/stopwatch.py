"""A stopwatch: the Start button runs a coroutine, the Stop button cancels it.

Run it with ``QTINTERBINDING=PyQt6 python examples/stopwatch.py`` (or another binding).
"""

import asyncio
import time

import qtinter
from qtinter.bindings import QtCore, QtWidgets


class Stopwatch(QtWidgets.QWidget):
    """A display with Start, Stop and Reset buttons."""

    def __init__(self):
        super().__init__()
        self.setWindowTitle("Stopwatch")
        self.elapsed = 0.0
        self.task = None

        self.display = QtWidgets.QLabel()
        self.display.setAlignment(QtCore.Qt.AlignmentFlag.AlignCenter)
        self.display.setStyleSheet("font: 56px monospace; padding: 12px")
        self.start_button = QtWidgets.QPushButton("Start")
        self.stop_button = QtWidgets.QPushButton("Stop")
        self.reset_button = QtWidgets.QPushButton("Reset")

        layout = QtWidgets.QGridLayout(self)
        layout.addWidget(self.display, 0, 0, 1, 3)
        layout.addWidget(self.start_button, 1, 0)
        layout.addWidget(self.stop_button, 1, 1)
        layout.addWidget(self.reset_button, 1, 2)

        self.start_button.clicked.connect(qtinter.asyncslot(self.run))
        self.stop_button.clicked.connect(self.stop)
        self.reset_button.clicked.connect(self.reset)
        self.show_running(False)
        self.reset()

    async def run(self):
        """Count the time until the Stop button cancels this coroutine."""
        # Everything up to the first await happens inside the click, so a second
        # click finds the Start button disabled already.
        self.task = asyncio.current_task()
        self.show_running(True)
        started = time.monotonic() - self.elapsed
        try:
            while True:
                self.show_elapsed(time.monotonic() - started)
                await asyncio.sleep(1 / 50)
        finally:
            self.show_elapsed(time.monotonic() - started)
            self.show_running(False)

    def stop(self):
        self.task.cancel()

    def reset(self):
        self.show_elapsed(0.0)

    def show_running(self, running):
        self.start_button.setEnabled(not running)
        self.stop_button.setEnabled(running)
        self.reset_button.setEnabled(not running)

    def show_elapsed(self, seconds):
        self.elapsed = seconds
        minutes, hundredths = divmod(int(seconds * 100), 6000)
        self.display.setText(f"{minutes:02}:{hundredths / 100:05.2f}")


def main():
    app = QtWidgets.QApplication([])
    with qtinter.using_asyncio_from_qt():
        window = Stopwatch()
        window.show()
        app.exec()


if __name__ == "__main__":
    main()
