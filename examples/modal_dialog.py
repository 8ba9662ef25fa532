"""A modal dialog inside a coroutine: asyncio goes on while the question is open.

``QMessageBox.question`` runs a Qt event loop of its own and returns when the user has
answered.  Called directly from a coroutine it would hold up every other task;
``qtinter.modal`` runs it so that they continue, as the ticker shows.

Run it with ``QTINTERBINDING=PyQt6 python examples/modal_dialog.py`` (or another
binding).
"""

import asyncio

import qtinter
from qtinter.bindings import QtCore, QtWidgets


class Window(QtWidgets.QWidget):
    """A counter that never pauses, and a button that asks whether to reset it."""

    def __init__(self):
        super().__init__()
        self.setWindowTitle("Modal dialog")
        self.count = 0

        self.ticker = QtWidgets.QLabel()
        self.ticker.setAlignment(QtCore.Qt.AlignmentFlag.AlignCenter)
        self.ticker.setStyleSheet("font-size: 48px; padding: 12px")
        self.button = QtWidgets.QPushButton("Reset the counter …")
        self.answer = QtWidgets.QLabel(
            "Open the dialog: the counter goes on behind it."
        )

        layout = QtWidgets.QVBoxLayout(self)
        layout.addWidget(self.ticker)
        layout.addWidget(self.button)
        layout.addWidget(self.answer)

        self.button.clicked.connect(qtinter.asyncslot(self.ask))

    async def tick(self):
        """Count up, ten times a second, until cancelled."""
        while True:
            self.ticker.setText(f"{self.count}")
            await asyncio.sleep(0.1)
            self.count += 1

    async def ask(self):
        """Ask whether to reset the counter, and do what the user says."""
        Button = QtWidgets.QMessageBox.StandardButton
        asked_at = self.count
        reply = await qtinter.modal(QtWidgets.QMessageBox.question)(
            self,
            "Modal dialog",
            f"The counter was at {asked_at} when this dialog opened.\n\nReset it?",
        )
        self.answer.setText(f"{self.count - asked_at} ticks while the dialog was open.")
        if reply == Button.Yes:
            self.count = 0


def main():
    app = QtWidgets.QApplication([])
    with qtinter.using_asyncio_from_qt():
        window = Window()
        ticking = asyncio.create_task(window.tick())
        window.show()
        app.exec()
        ticking.cancel()


if __name__ == "__main__":
    main()
