"""A clock: one coroutine that sets a label at the start of every second.

Run it with ``QTINTERBINDING=PyQt6 python examples/clock.py`` (or another binding).
"""

import asyncio
import time

import qtinter
from qtinter.bindings import QtCore, QtWidgets


def until_next_second(now):
    """Return the seconds from *now*, a POSIX timestamp, to the next full second."""
    return 1 - now % 1


class Clock(QtWidgets.QLabel):
    """A label that shows the time of day."""

    def __init__(self):
        super().__init__()
        self.setWindowTitle("Clock")
        self.setAlignment(QtCore.Qt.AlignmentFlag.AlignCenter)
        self.setStyleSheet("font: 64px monospace; padding: 24px")

    async def tick(self):
        """Show the time, second by second, until cancelled."""
        while True:
            now = time.time()
            self.setText(time.strftime("%H:%M:%S", time.localtime(now)))
            await asyncio.sleep(until_next_second(now))


def main():
    app = QtWidgets.QApplication([])
    with qtinter.using_asyncio_from_qt():
        clock = Clock()
        # Runs up to the first await at once: the label is shown with the time on it.
        ticking = qtinter.run_task(clock.tick())
        clock.show()
        app.exec()
        ticking.cancel()


if __name__ == "__main__":
    main()
