"""Stuck: a coroutine opens a modal dialog with exec(), and all tasks pause.

``exec()`` runs an event loop of Qt inside of the task's step. The dialog works and the
window is painted, but no task goes on until somebody answers: the download stands
still.

Run it, with PyQt6 or another binding::

    QTINTER_INSPECT=3 QTINTERBINDING=PyQt6 python examples/stuck/nested_exec.py

and in another terminal::

    qtinter-inspect lint       QI502: a step runs a nested Qt event loop
    qtinter-inspect stack      the exec() call
    qtinter-inspect why ID     of the download: what it has to wait for

The cure: ``await qtinter.modal(QtWidgets.QMessageBox.question)(...)``, with which tasks
go on behind the dialog."""

import asyncio

import qtinter
from qtinter.bindings import QtCore, QtWidgets


class Window(QtWidgets.QWidget):
    def __init__(self):
        super().__init__()
        self.setWindowTitle("Nested exec")
        quit_button = QtWidgets.QPushButton("Quit", self)
        quit_button.clicked.connect(qtinter.asyncslot(self.on_quit))
        self.download = asyncio.ensure_future(self.load())
        QtCore.QTimer.singleShot(300, quit_button.click)  # without you, too

    async def load(self):
        for percent in range(100_000):
            self.setWindowTitle(f"{percent // 1000} %")
            await asyncio.sleep(0.05)

    async def on_quit(self):
        answer = QtWidgets.QMessageBox.question(self, "Quit", "Stop the download?")
        if answer == QtWidgets.QMessageBox.StandardButton.Yes:
            self.download.cancel()
            self.close()


def main():
    app = QtWidgets.QApplication([])
    with qtinter.using_asyncio_from_qt():
        window = Window()
        window.show()
        app.exec()


if __name__ == "__main__":
    main()
