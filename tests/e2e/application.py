"""The application that the tests look at: three tasks, a slot call, a signal wait.

It is driven by lines on its standard input; each is answered by one line, and the first
line it prints is "ready".
"""

import asyncio
import os
import sys
import time

import faults
import hangs

import qtinter
import qtinter.inspect
from qtinter import _core
from qtinter.bindings import QtCore

Signal = QtCore.pyqtSignal if hasattr(QtCore, "pyqtSignal") else QtCore.Signal


class Button(QtCore.QObject):
    clicked = Signal(int)
    released = Signal()


class Window(QtCore.QObject):
    async def on_clicked(self, number):
        await asyncio.sleep(3600)


async def sleeper():
    await asyncio.sleep(3600)


async def chained(task):
    await task


async def listener(button):
    await qtinter.asyncsignal(button.released)


async def quick():
    await asyncio.sleep(0)


class Program:
    def __init__(self, loop):
        self.loop = loop
        self.button = Button()
        self.button.setObjectName("save")
        self.window = Window()
        self.tasks = {}
        self.button.clicked.connect(qtinter.asyncslot(self.window.on_clicked))

    async def main(self):
        create = self.loop.create_task
        self.tasks["alpha"] = create(sleeper(), name="alpha")
        self.tasks["beta"] = create(chained(self.tasks["alpha"]), name="beta")
        self.tasks["gamma"] = create(listener(self.button), name="gamma")
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        self.button.clicked.emit(1)
        self.loop.add_reader(0, self.read)
        # Not here: who kills it then would find this task among the others.
        done = asyncio.current_task().add_done_callback
        done(lambda _: print("ready", flush=True))

    def read(self):
        for line in os.read(0, 4096).decode().splitlines():
            if not line:
                continue  # it came too late for somebody who hung
            verb, *words = line.split()
            answer = getattr(self, "do_" + verb)(*words)
            print(answer or "done", flush=True)

    def do_task(self, name):
        self.tasks[name] = self.loop.create_task(sleeper(), name=name)
        return str(time.monotonic_ns())

    def do_end(self, name):
        self.tasks[name].cancel()

    def do_release(self):
        self.button.released.emit()

    def do_click(self):
        self.button.clicked.emit(2)

    def do_tasks(self, count):
        for _ in range(int(count)):
            self.loop.create_task(quick())

    def do_busy(self, seconds):
        self.loop.call_soon(self.spin, float(seconds))

    def spin(self, seconds):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            pass

    def do_hang(self, kind):
        """Hangs in a way of hangs.py until there is an empty line to read."""
        self.loop.call_soon(self.hang, kind)

    def hang(self, kind):
        print(getattr(hangs, "hang_" + kind)() or "went on", flush=True)

    def do_marks(self, first, last):
        for number in range(int(first), int(last)):
            qtinter.inspect.mark(f"mark {number}")

    def do_fault(self, ident):
        """Does something wrong: see faults.py."""
        self.loop.call_soon(getattr(faults, "fault_" + ident), self.loop)

    def do_level(self):
        return str(_core.inspect_level())

    def do_state(self):
        return qtinter.inspect.statistics()["state"]

    def do_quit(self):
        for task in self.tasks.values():
            task.cancel()
        self.loop.call_later(0.05, QtCore.QCoreApplication.quit)


def main():
    app = QtCore.QCoreApplication(sys.argv)
    control = "--control" in sys.argv
    if "--project" in sys.argv:  # as if the program lay there
        folder = sys.argv[sys.argv.index("--project") + 1]
        sys.modules["__main__"].__file__ = os.path.join(folder, "main.py")
    with qtinter.using_asyncio_from_qt() as loop:
        qtinter.inspect.enable(level=3, name="victim", control=control)
        program = Program(loop)
        starting = loop.create_task(program.main(), name="starting")
        app.exec()
        del starting


if __name__ == "__main__":
    main()
