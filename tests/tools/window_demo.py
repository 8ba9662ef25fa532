"""The program in the pictures of docs/window.md: an editor that saves and polls."""

import asyncio
import sys
import time

import qtinter
import qtinter.inspect
from qtinter.bindings import QtCore

Signal = QtCore.pyqtSignal if hasattr(QtCore, "pyqtSignal") else QtCore.Signal


class Reply(QtCore.QObject):
    finished = Signal(int)


class Button(QtCore.QObject):
    clicked = Signal()


class Editor(QtCore.QObject):
    def __init__(self):
        super().__init__()
        self.setObjectName("editor")
        self.number = 0
        self.replies = [Reply() for _ in range(3)]
        for i, reply in enumerate(self.replies):
            reply.setObjectName(f"upload-{i}")

    async def on_save(self):
        reply = self.replies[self.number % 3]
        self.number += 1
        asyncio.get_running_loop().call_later(0.7, reply.finished.emit, 1)
        await qtinter.asyncsignal(reply.finished, sender=reply)
        work(0.02)


def work(seconds):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        pass


async def poll(period):
    while True:
        await asyncio.sleep(period)
        work(0.03)


async def preview(reply):
    while True:
        await qtinter.asyncsignal(reply.finished, sender=reply)
        await asyncio.get_running_loop().run_in_executor(None, time.sleep, 0.3)
        work(0.12)


async def together(*tasks):
    await asyncio.gather(*tasks)


async def after(task):
    await task


async def main():
    editor, button = Editor(), Button()
    button.setObjectName("save")
    button.clicked.connect(qtinter.asyncslot(editor.on_save))
    create = asyncio.get_running_loop().create_task
    fast = create(poll(0.4), name="poll status")
    slow = create(poll(1.1), name="poll mail")
    seen = create(preview(editor.replies[1]), name="preview")
    services = create(together(fast, slow), name="services")
    last = create(after(services), name="shutdown")
    print("ready", flush=True)
    while not (seen.done() or last.done()):
        await asyncio.sleep(0.5)
        button.clicked.emit()
        await asyncio.sleep(0.9)


def run():
    app = QtCore.QCoreApplication(sys.argv[:1])
    with qtinter.using_asyncio_from_qt() as loop:
        qtinter.inspect.enable(level=3, name="editor")
        task = loop.create_task(main(), name="main")
        app.exec()
        del task


if __name__ == "__main__":
    run()
