"""A subprocess viewer: run a command, watch its output as it comes, kill it.

Run it with ``QTINTERBINDING=PyQt6 python examples/subprocess_viewer.py`` (or another
binding); a command may be given as arguments.
"""

import asyncio
import codecs
import contextlib
import shlex
import sys

import qtinter
from qtinter.bindings import QtWidgets

COUNTDOWN = "import time; [print(n) or time.sleep(0.3) for n in range(10, 0, -1)]"


class SubprocessViewer(QtWidgets.QWidget):
    """A command line, the output of the command, and how it ended."""

    def __init__(self, command):
        super().__init__()
        self.setWindowTitle("Subprocess viewer")
        self.resize(640, 420)
        self.process = None

        self.command = QtWidgets.QLineEdit(shlex.join(command))
        self.command.setCursorPosition(0)
        self.run_button = QtWidgets.QPushButton("Run")
        self.kill_button = QtWidgets.QPushButton("Kill")
        self.kill_button.setEnabled(False)
        self.output = QtWidgets.QPlainTextEdit()
        self.output.setReadOnly(True)
        self.output.setMaximumBlockCount(10_000)
        self.output.setStyleSheet("font-family: monospace")
        self.status = QtWidgets.QLabel("Ready.")

        layout = QtWidgets.QGridLayout(self)
        layout.addWidget(self.command, 0, 0)
        layout.addWidget(self.run_button, 0, 1)
        layout.addWidget(self.kill_button, 0, 2)
        layout.addWidget(self.output, 1, 0, 1, 3)
        layout.addWidget(self.status, 2, 0, 1, 3)

        self.run_button.clicked.connect(qtinter.asyncslot(self.run))
        self.kill_button.clicked.connect(self.kill)

    async def run(self):
        """Run the command; end when it has ended, or when cancelled."""
        self.run_button.setEnabled(False)
        self.output.clear()
        try:
            self.process = await asyncio.create_subprocess_exec(
                *shlex.split(self.command.text()),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.STDOUT,
            )
        except (OSError, TypeError, ValueError) as error:
            self.status.setText(f"Cannot run this command: {error}")
        else:
            await self.watch(self.process)
        finally:
            self.run_button.setEnabled(True)

    async def watch(self, process):
        """Show the output of *process* and its exit status."""
        self.kill_button.setEnabled(True)
        self.status.setText(f"Process {process.pid} is running.")
        decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
        try:
            data = await process.stdout.read(4096)
            while data:
                self.append(decoder.decode(data))
                data = await process.stdout.read(4096)
            returncode = await process.wait()
            self.status.setText(f"Process {process.pid} ended with {returncode}.")
        finally:
            self.kill_button.setEnabled(False)
            # Closing the window cancels this coroutine: leave no process behind.
            if process.returncode is None:
                process.kill()
                await process.wait()

    def append(self, text):
        self.output.moveCursor(self.output.textCursor().MoveOperation.End)
        self.output.insertPlainText(text)

    def kill(self):
        with contextlib.suppress(ProcessLookupError):  # it may have ended by itself
            self.process.kill()


def main():
    app = QtWidgets.QApplication([])
    with qtinter.using_asyncio_from_qt():
        window = SubprocessViewer(sys.argv[1:] or [sys.executable, "-uc", COUNTDOWN])
        window.show()
        app.exec()


if __name__ == "__main__":
    main()
