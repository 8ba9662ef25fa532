"""A program in a terminal of its own, and what a person would see there."""

import codecs
import fcntl
import os
import pty
import signal
import struct
import subprocess
import termios
import threading
import time

import pyte

PATIENCE = 60  # seconds; only a safety net
KEYS = {
    "enter": b"\r",
    "escape": b"\x1b",
    "down": b"\x1b[B",
    "up": b"\x1b[A",
    "right": b"\x1b[C",
    "left": b"\x1b[D",
    "end": b"\x1b[F",
    "home": b"\x1b[H",
    "f1": b"\x1bOP",
    "tab": b"\t",
    "space": b" ",
    "backspace": b"\x7f",
}


class Terminal:
    """Runs a command; :attr:`rows` are the lines on its screen."""

    def __init__(self, command, columns=80, lines=24, environment=None):
        self._screen = pyte.Screen(columns, lines)
        self._stream = pyte.Stream(self._screen)
        # A character may be cut in two by the end of what was read.
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._changed = threading.Condition()
        self._ended = False
        self.raw = b""
        self._fd, slave = pty.openpty()
        self._size = columns, lines
        self.resize(columns, lines, tell=False)
        self.process = subprocess.Popen(
            command,
            stdin=slave,
            stdout=slave,
            stderr=slave,
            cwd="/",
            env=dict(
                environment or os.environ, TERM="xterm-256color", COLORTERM="truecolor"
            ),
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
        )
        os.close(slave)
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self):
        while True:
            try:
                data = os.read(self._fd, 65536)
            except OSError:
                data = b""
            with self._changed:
                if data:
                    self.raw += data
                    self._stream.feed(self._decoder.decode(data))
                else:
                    self._ended = True
                self._changed.notify_all()
            if not data:
                return

    def resize(self, columns, lines, tell=True):
        size = struct.pack("HHHH", lines, columns, 0, 0)
        fcntl.ioctl(self._fd, termios.TIOCSWINSZ, size)
        if tell:
            with self._changed:
                self._screen.resize(lines, columns)
            self.process.send_signal(signal.SIGWINCH)

    def attributes(self):
        """How the terminal treats what is typed, as of termios."""
        return termios.tcgetattr(self._fd)

    def replay(self, step=64):
        """What was on the screen after each few bytes; to be called in the end."""
        screen = pyte.Screen(*self._size)
        stream = pyte.Stream(screen)
        decoder = codecs.getincrementaldecoder("utf-8")("replace")
        for start in range(0, len(self.raw), step):
            stream.feed(decoder.decode(self.raw[start : start + step]))
            yield "\n".join(screen.display)

    def press(self, *keys):
        """Presses keys, by name or as they are."""
        for key in keys:
            os.write(self._fd, KEYS.get(key, key.encode()))

    @property
    def rows(self):
        with self._changed:
            return list(self._screen.display)

    @property
    def text(self):
        return "\n".join(self.rows)

    def until(self, condition):
        """Waits until ``condition(text of the screen)`` holds; returns the text."""
        end = time.monotonic() + PATIENCE
        with self._changed:
            while True:
                text = "\n".join(self._screen.display)
                if condition(text):
                    return text
                left = end - time.monotonic()
                assert left > 0, f"this did not come; there is:\n{text}"
                assert not self._ended, f"the program ended; it showed:\n{text}"
                self._changed.wait(left)

    def wait_for(self, *words):
        """Waits until all the words are on the screen."""
        return self.until(lambda text: all(word in text for word in words))

    def wait_without(self, *words):
        """Waits until none of the words is on the screen any more."""
        return self.until(lambda text: not any(word in text for word in words))

    def row_of(self, word):
        """The line that a word is in."""
        (row,) = [row for row in self.rows if word in row]
        return row

    def style_of(self, word):
        """The foreground and background colour of a word on the screen."""
        with self._changed:
            for y, row in enumerate(self._screen.display):
                x = row.find(word)
                if x >= 0:
                    char = self._screen.buffer[y][x]
                    return char.fg, char.bg
        raise AssertionError(f"{word} is not on the screen")

    def close(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(PATIENCE)
        self._reader.join(PATIENCE)
        os.close(self._fd)
