"""Stuck: a cancelled task keeps the lock.

"Save" needs the connection, one user at a time. The synchronisation that had it was
cancelled, but says goodbye to the server first, and the server does not answer any
more: it is cancelled, alive, and has the lock.

Run it, with PyQt6 or another binding::

    QTINTER_INSPECT=3 QTINTERBINDING=PyQt6 python examples/stuck/cancelled_lock.py

and in another terminal::

    qtinter-inspect why ID     on_save: which lock it waits for, and who has it
    qtinter-inspect lint       QI406: a task is still there 5 s after it was cancelled

The cure: a limit for what is done after a cancellation,
``await asyncio.wait_for(self.say_goodbye(), 1)``.
"""

import asyncio

import qtinter
from qtinter.bindings import QtCore, QtWidgets


class Window(QtWidgets.QWidget):
    def __init__(self):
        super().__init__()
        self.setWindowTitle("Lock of a cancelled task")
        self.connection = asyncio.Lock()
        self.server_said_goodbye = asyncio.Event()
        save = QtWidgets.QPushButton("Save", self)
        save.clicked.connect(qtinter.asyncslot(self.on_save))
        self.synchronisation = asyncio.ensure_future(self.synchronise())
        QtCore.QTimer.singleShot(300, save.click)  # without you, too

    async def synchronise(self):
        async with self.connection:
            try:
                await asyncio.sleep(3600)
            finally:
                await self.say_goodbye()

    async def say_goodbye(self):
        await self.server_said_goodbye.wait()  # no limit

    async def on_save(self):
        self.synchronisation.cancel()
        async with self.connection:
            self.setWindowTitle("Saved")


def main():
    app = QtWidgets.QApplication([])
    with qtinter.using_asyncio_from_qt():
        window = Window()
        window.show()
        app.exec()


if __name__ == "__main__":
    main()
