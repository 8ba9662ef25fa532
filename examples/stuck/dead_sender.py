"""Stuck: the object that should say "finished" has been destroyed.

"Save" uploads the document and waits, for half of it first, so that the user sees how
far it is. Closing the document destroys the upload, which is its child, and with it the
only one who could set the event.

Run it, with PyQt6 or another binding::

    QTINTER_INSPECT=3 QTINTERBINDING=PyQt6 python examples/stuck/dead_sender.py

and in another terminal::

    qtinter-inspect lint       QI301: the sender is destroyed
    qtinter-inspect ps         which task is the call of on_save
    qtinter-inspect why ID     what it waits for, and that nobody can wake it

The cure: wait for the signal itself. ``await finished`` raises SenderDestroyedError
when the sender goes away; an event that a slot sets waits for ever."""

import asyncio

import qtinter
from qtinter.bindings import QtCore, QtWidgets

Signal = QtCore.pyqtSignal if hasattr(QtCore, "pyqtSignal") else QtCore.Signal


class Upload(QtCore.QObject):
    """Sends a document; a slow one."""

    half = Signal()
    finished = Signal()


class Window(QtWidgets.QWidget):
    def __init__(self):
        super().__init__()
        self.setWindowTitle("Dead sender")
        self.document = QtCore.QObject(self)
        save = QtWidgets.QPushButton("Save", self)
        save.clicked.connect(qtinter.asyncslot(self.on_save))
        # So that it gets stuck without you, too.
        QtCore.QTimer.singleShot(0, save.click)
        QtCore.QTimer.singleShot(300, self.close_document)

    async def on_save(self):
        upload = Upload(self.document)
        upload.setObjectName("upload")
        half_done = asyncio.Event()
        upload.half.connect(half_done.set)
        async with qtinter.signalwait(upload.finished, sender=upload) as finished:
            await half_done.wait()  # nobody will set it
            self.setWindowTitle("Half of it is saved")
            await finished

    def close_document(self):
        self.document.deleteLater()


def main():
    app = QtWidgets.QApplication([])
    with qtinter.using_asyncio_from_qt():
        window = Window()
        window.show()
        app.exec()


if __name__ == "__main__":
    main()
