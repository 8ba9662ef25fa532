"""Stuck: a slot calls something that blocks, and the window is frozen.

``urlopen`` waits for a server that accepts the connection and never answers.  It knows
nothing of asyncio: while it waits nothing else runs, neither tasks nor Qt.

Run it, with PyQt6 or another binding::

    QTINTER_INSPECT=3 QTINTERBINDING=PyQt6 python examples/stuck/blocking_call.py

and in another terminal::

    qtinter-inspect stack      the Python stack of the frozen thread
    qtinter-inspect lint       QI101: a step keeps the loop, and where it is
    qtinter-inspect why ID     that it runs, and since when

The cure: ``await loop.run_in_executor(None, urlopen, url)``, or a client that is made
for asyncio; and a timeout in any case."""

import socket
from urllib.request import urlopen

import qtinter
from qtinter.bindings import QtCore, QtWidgets


class Window(QtWidgets.QWidget):
    def __init__(self):
        super().__init__()
        self.setWindowTitle("Blocking call")
        # A server that never answers: the system accepts connections for it.
        self.server = socket.socket()
        self.server.bind(("127.0.0.1", 0))
        self.server.listen()
        fetch = QtWidgets.QPushButton("Fetch", self)
        fetch.clicked.connect(qtinter.asyncslot(self.on_fetch))
        QtCore.QTimer.singleShot(300, fetch.click)  # without you, too

    async def on_fetch(self):
        host, port = self.server.getsockname()
        page = urlopen(f"http://{host}:{port}/").read()  # noqa: ASYNC210 - the mistake
        self.setWindowTitle(f"{len(page)} bytes")


def main():
    app = QtWidgets.QApplication([])
    with qtinter.using_asyncio_from_qt():
        window = Window()
        window.show()
        app.exec()


if __name__ == "__main__":
    main()
