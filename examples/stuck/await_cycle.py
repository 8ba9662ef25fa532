"""Stuck: two tasks wait for each other.

The catalogue waits until the prices are there, to show them; the prices wait until the
catalogue is there, to know for what.  Each of them is right, both together never end.

Run it, with PyQt6 or another binding::

    QTINTER_INSPECT=3 QTINTERBINDING=PyQt6 python examples/stuck/await_cycle.py

and in another terminal::

    qtinter-inspect lint               QI403: tasks wait for each other in a circle
    qtinter-inspect tree --by await    who waits for whom
    qtinter-inspect why ID             the circle, with the lines that wait

The cure: let one function load both, in the order in which they depend on each other.
"""

import asyncio

import qtinter
from qtinter.bindings import QtCore, QtWidgets


class Window(QtWidgets.QWidget):
    def __init__(self):
        super().__init__()
        self.setWindowTitle("Await cycle")
        self.catalogue = self.prices = None
        reload = QtWidgets.QPushButton("Reload", self)
        reload.clicked.connect(qtinter.asyncslot(self.on_reload))
        QtCore.QTimer.singleShot(0, reload.click)  # without you, too

    async def on_reload(self):
        self.catalogue = asyncio.ensure_future(self.load_catalogue())
        self.prices = asyncio.ensure_future(self.load_prices())
        await self.catalogue
        self.setWindowTitle("Loaded")

    async def load_catalogue(self):
        await asyncio.sleep(0.1)
        await self.prices

    async def load_prices(self):
        await asyncio.sleep(0.1)
        await self.catalogue  # which waits for us


def main():
    app = QtWidgets.QApplication([])
    with qtinter.using_asyncio_from_qt():
        window = Window()
        window.show()
        app.exec()


if __name__ == "__main__":
    main()
