"""A worker thread with an asyncio loop of its own; signals link it to the GUI.

The GUI thread needs no loop here.  It emits signals; a coroutine in the worker
thread answers them and emits signals in turn, which Qt delivers in the GUI thread.

Run it with ``QTINTERBINDING=PyQt6 python examples/worker_thread.py`` (or another
binding).
"""

import asyncio

import qtinter
from qtinter.bindings import QtCore, QtWidgets

# The bindings agree on what a signal is, but not on its name.
Signal = QtCore.Signal if hasattr(QtCore, "Signal") else QtCore.pyqtSignal


def is_prime(number):
    return all(number % divisor for divisor in range(2, int(number**0.5) + 1))


class PrimeCounter(QtCore.QObject):
    """Counts primes; lives in the worker thread and is used only there."""

    progress = Signal(int, int)  # percent done, primes found
    ended = Signal(str)

    task = None

    async def count(self, limit):
        """Count the primes below *limit*, or fewer when cancelled."""
        self.task = asyncio.current_task()
        found = 0
        try:
            for number in range(2, limit):
                found += is_prime(number)
                if number % 500 == 0:
                    self.progress.emit(100 * number // limit, found)
                    await asyncio.sleep(0)  # let the loop do other work
        except asyncio.CancelledError:
            self.ended.emit(f"Stopped after {found} primes.")
            raise
        self.progress.emit(100, found)
        self.ended.emit(f"There are {found} primes below {limit}.")

    def cancel(self):
        self.task.cancel()


class Worker(QtCore.QThread):
    """A thread whose Qt event loop runs asyncio too, and the signals to talk to it."""

    start_requested = Signal(int)
    stop_requested = Signal()

    ready = Signal()
    progress = Signal(int, int)
    ended = Signal(str)

    def run(self):
        with qtinter.using_asyncio_from_qt():
            counter = PrimeCounter()
            # A slot runs in the thread that calls asyncslot(): this one.
            self.start_requested.connect(qtinter.asyncslot(counter.count))
            self.stop_requested.connect(counter.cancel)
            counter.progress.connect(self.progress)
            counter.ended.connect(self.ended)
            self.ready.emit()
            self.exec()


class Window(QtWidgets.QWidget):
    """Starts and stops the count, and shows how far it is."""

    def __init__(self):
        super().__init__()
        self.setWindowTitle("Worker thread")

        self.limit = QtWidgets.QSpinBox()
        self.limit.setRange(1_000, 10_000_000)
        self.limit.setSingleStep(100_000)
        self.limit.setGroupSeparatorShown(True)
        self.limit.setValue(500_000)
        self.start_button = QtWidgets.QPushButton("Count")
        self.stop_button = QtWidgets.QPushButton("Stop")
        self.bar = QtWidgets.QProgressBar()
        self.result = QtWidgets.QLabel("How many primes are there?")

        layout = QtWidgets.QGridLayout(self)
        layout.addWidget(QtWidgets.QLabel("Primes below"), 0, 0)
        layout.addWidget(self.limit, 0, 1)
        layout.addWidget(self.start_button, 0, 2)
        layout.addWidget(self.stop_button, 0, 3)
        layout.addWidget(self.bar, 1, 0, 1, 4)
        layout.addWidget(self.result, 2, 0, 1, 4)
        self.start_button.setEnabled(False)
        self.stop_button.setEnabled(False)

        self.worker = Worker(self)
        self.worker.ready.connect(self.show_ready)
        self.worker.progress.connect(self.show_progress)
        self.worker.ended.connect(self.show_end)
        self.start_button.clicked.connect(self.start_counting)
        self.stop_button.clicked.connect(self.worker.stop_requested)
        self.worker.start()

    def start_counting(self):
        self.start_button.setEnabled(False)
        self.stop_button.setEnabled(True)
        self.worker.start_requested.emit(self.limit.value())

    def show_ready(self):
        self.start_button.setEnabled(True)

    def show_progress(self, percent, found):
        self.bar.setValue(percent)
        self.result.setText(f"{found} primes so far.")

    def show_end(self, text):
        self.result.setText(text)
        self.start_button.setEnabled(True)
        self.stop_button.setEnabled(False)


def main():
    app = QtWidgets.QApplication([])
    window = Window()
    window.show()
    app.exec()
    window.worker.quit()  # the thread leaves exec(), cancels its tasks and ends
    window.worker.wait()


if __name__ == "__main__":
    main()
