"""The window on a display: a process of its own, driven by the keys and the mouse of X.

In all other tests it has none (``QT_QPA_PLATFORM=offscreen``).
"""

import os
import shutil
import struct
import subprocess
import sys
import time

import pytest

if os.environ.get("QTINTERBINDING", "PyQt6") not in ("PyQt6", "PySide6"):
    pytest.skip("the window needs Qt 6", allow_module_level=True)
if shutil.which("Xvfb") is None or shutil.which("xdotool") is None:
    pytest.skip("Xvfb or xdotool is not installed", allow_module_level=True)

from qtinter.inspect.gui import theme

PATIENCE = 60  # seconds; only a safety net
TITLE = "victim - qtinter-inspect"
FOR_SIGNAL, FOR_TIMER = 4, 5  # kinds of waits


class Display:
    """An X server without a screen: what would be on it is in a file."""

    def __init__(self, folder):
        read, write = os.pipe()
        words = ["-displayfd", str(write), "-fbdir", str(folder), "-noreset"]
        self.server = subprocess.Popen(
            ["Xvfb", *words, "-screen", "0", "1000x700x24"],
            pass_fds=[write],
            stderr=subprocess.DEVNULL,
        )
        os.close(write)
        with open(read) as numbers:
            number = numbers.readline().strip()
        if not number:
            pytest.fail(f"Xvfb has ended with {self.server.wait(PATIENCE)}")
        self.name = f":{number}"
        self.file = folder / "Xvfb_screen0"

    def colours(self):
        """Those that are seen, as 0xRRGGBB."""
        data = self.file.read_bytes()  # as of xwd: numbers, colours, pixels
        size, *_, bits, line = struct.unpack(">13I", data[:52])
        assert bits == 32
        (height,), (entries,) = (struct.unpack_from(">I", data, at) for at in (20, 76))
        pixels = memoryview(data)[size + 12 * entries :][: line * height]
        return {pixel & 0xFFFFFF for pixel in set(pixels.cast("I"))}


@pytest.fixture
def display(tmp_path):
    display = Display(tmp_path)
    yield display
    display.server.terminate()
    display.server.wait(PATIENCE)


class Window:
    """``qtinter-inspect gui`` on a display."""

    def __init__(self, display):
        self.display = display
        self.environment = dict(os.environ, DISPLAY=display.name, QT_QPA_PLATFORM="xcb")
        self.process = subprocess.Popen(
            [sys.executable, "-m", "qtinter.inspect", "gui"],
            cwd="/",
            env=self.environment,
            stderr=subprocess.PIPE,
            text=True,
        )

    def until(self, found, what=""):
        """What a function finds, once it finds something."""
        end = time.monotonic() + PATIENCE
        while True:
            result = found()
            if result:
                return result
            if self.process.poll() is not None:
                error = self.process.stderr.read()
                if "xcb" in error and "could not connect" not in error:
                    pytest.skip(f"Qt lacks what it needs for X: {error.strip()[:200]}")
                pytest.fail(f"the window has ended: {error}")
            assert time.monotonic() < end, what
            time.sleep(0.02)  # the X server is only asked, it tells nothing

    def x(self, *words):
        """What xdotool prints."""
        run = subprocess.run(
            ["xdotool", *map(str, words)],
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            timeout=PATIENCE,
        )
        return run.stdout.split()

    def wait_for(self, title):
        """Until there is a window with such a title, which then gets the keys."""
        words = ("search", "--onlyvisible", "--name", title)
        found = self.until(lambda: self.x(*words), title)
        self.x("windowfocus", "--sync", found[-1])

    def waits(self):
        """The kinds of waits whose colours are seen: the lines below segments."""
        seen = self.display.colours()
        known = theme.make(False).waits
        return {kind for kind, c in known.items() if c.rgb() & 0xFFFFFF in seen}


@pytest.fixture
def window(daemon, application, display):
    window = Window(display)
    yield window
    window.process.kill()
    window.process.wait(PATIENCE)
    window.process.stderr.close()


def test_keys_and_the_mouse_of_a_display(window, application):
    window.wait_for(TITLE)
    every = {FOR_SIGNAL, FOR_TIMER}
    window.until(lambda: every <= window.waits())
    # The letters go to the line, although some of them are keys of the window.
    window.x("key", "slash")
    window.x("type", "gamma")
    window.until(lambda: window.waits() & every == {FOR_SIGNAL})
    window.x("key", "ctrl+a", "BackSpace", "Return")
    window.until(lambda: every <= window.waits())
    application.ask("release")  # gamma ends, and with it the wait for a signal
    window.x("mousemove", 500, 600, "click", "--repeat", 12, 4)  # zooms: it is past
    window.until(lambda: window.waits() & every == {FOR_TIMER})
    window.x("key", "ctrl+q")
    _, errors = window.process.communicate(timeout=PATIENCE)
    assert window.process.returncode == 0
    assert "Traceback" not in errors
