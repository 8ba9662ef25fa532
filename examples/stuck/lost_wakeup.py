"""Stuck: the signal came before anybody waited for it.

A reply that is in the cache is finished at once, while ``fetch()`` still runs. The slot
begins to wait afterwards, for a signal that will not come again.

Run it, with PyQt6 or another binding::

    QTINTER_INSPECT=3 QTINTERBINDING=PyQt6 python examples/stuck/lost_wakeup.py

and in another terminal::

    qtinter-inspect waits      the sender lives, and nothing was ever received
    qtinter-inspect why ID     the line that waits, and since when
    qtinter-inspect lint       after 30 s, QI302: a signal is waited for too long

The cure: connect first, then start::

    async with qtinter.signalwait(reply.finished) as finished:
        reply.fetch()
        await finished
"""

import qtinter
from qtinter.bindings import QtCore, QtWidgets

Signal = QtCore.pyqtSignal if hasattr(QtCore, "pyqtSignal") else QtCore.Signal


class Reply(QtCore.QObject):
    """A reply that the cache has already."""

    finished = Signal()

    def fetch(self):
        self.finished.emit()


class Window(QtWidgets.QWidget):
    def __init__(self):
        super().__init__()
        self.setWindowTitle("Lost wakeup")
        self.reply = Reply(self)
        self.reply.setObjectName("reply")
        fetch = QtWidgets.QPushButton("Fetch", self)
        fetch.clicked.connect(qtinter.asyncslot(self.on_fetch))
        QtCore.QTimer.singleShot(0, fetch.click)  # without you, too

    async def on_fetch(self):
        self.reply.fetch()
        reply = self.reply
        await qtinter.asyncsignal(reply.finished, sender=reply)  # too late
        self.setWindowTitle("Fetched")


def main():
    app = QtWidgets.QApplication([])
    with qtinter.using_asyncio_from_qt():
        window = Window()
        window.show()
        app.exec()


if __name__ == "__main__":
    main()
