"""A signal as an asynchronous iterator: ``async for`` over every emission.

The dial repeats each movement of the slider, in order, but takes its time over it.
The stream keeps what is emitted meanwhile, so that nothing is lost.

Run it with ``QTINTERBINDING=PyQt6 python examples/signal_stream.py`` (or another
binding).
"""

import asyncio

import qtinter
from qtinter.bindings import QtCore, QtWidgets


class Window(QtWidgets.QWidget):
    """A slider, and a dial that follows it step by step."""

    def __init__(self):
        super().__init__()
        self.setWindowTitle("Signal stream")
        self.emitted = 0
        self.followed = []

        self.slider = QtWidgets.QSlider(QtCore.Qt.Orientation.Horizontal)
        self.dial = QtWidgets.QDial()
        self.dial.setNotchesVisible(True)
        self.dial.setMinimumSize(160, 160)
        self.dial.setEnabled(False)
        self.label = QtWidgets.QLabel("Move the slider.")
        self.label.setAlignment(QtCore.Qt.AlignmentFlag.AlignCenter)

        layout = QtWidgets.QVBoxLayout(self)
        layout.addWidget(self.dial)
        layout.addWidget(self.slider)
        layout.addWidget(self.label)

        self.slider.valueChanged.connect(self.count_emission)

    def count_emission(self):
        self.emitted += 1
        self.show_counts()

    async def follow(self):
        """Move the dial to each value the slider had, until cancelled."""
        async for value in qtinter.asyncsignalstream(self.slider.valueChanged):
            self.followed.append(value)
            self.dial.setValue(value)
            self.show_counts()
            await asyncio.sleep(0.05)

    def show_counts(self):
        waiting = self.emitted - len(self.followed)
        self.label.setText(f"{self.emitted} movements, {waiting} waiting")


def main():
    app = QtWidgets.QApplication([])
    with qtinter.using_asyncio_from_qt():
        window = Window()
        following = asyncio.create_task(window.follow())
        window.show()
        app.exec()
        following.cancel()


if __name__ == "__main__":
    main()
