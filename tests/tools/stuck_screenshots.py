"""Takes the pictures of docs/stuck.md: the real tools, daemon and stuck program.

    QTINTERBINDING=PyQt6 python tests/tools/stuck_screenshots.py docs/images

makes ``stuck-terminal.svg`` (the terminal view, in a terminal of its own) and
``stuck-window.png`` there; needs a display, or ``QT_QPA_PLATFORM=offscreen``, and
fonts.
"""

from __future__ import annotations

import asyncio
import io
import os
import pathlib
import subprocess
import sys
import tempfile

import qtinter

ROOT = pathlib.Path(__file__).resolve().parents[2]
PROGRAM = ROOT / "examples" / "stuck" / "cancelled_lock.py"
COLUMNS, LINES = 96, 24
SIZE = (1100, 560)
PATIENCE = 60
FINDING = "QI406"
sys.path[:0] = [str(ROOT / "tests" / "e2e"), str(ROOT / "tests" / "tools")]


def svg_of(screen) -> str:
    """What a pyte screen shows, as Rich draws terminals."""
    from rich.console import Console
    from rich.style import Style
    from rich.text import Text

    console = Console(
        record=True, width=COLUMNS, file=io.StringIO(), color_system="truecolor"
    )
    for y in range(screen.lines):
        line = Text()
        for x in range(screen.columns):
            char = screen.buffer[y][x]
            fg, bg = (
                f"#{colour}" if len(colour) == 6 else None
                for colour in (char.fg, char.bg)
            )
            if char.reverse:
                fg, bg = bg, fg
            line.append(char.data, Style(color=fg, bgcolor=bg, bold=char.bold))
        console.print(line, end="\n" if y < screen.lines - 1 else "", no_wrap=True)
    return console.export_svg(title="qtinter-inspect")


def terminal_picture(path: pathlib.Path) -> None:
    from terminal import Terminal

    command = [str(pathlib.Path(sys.executable).with_name("qtinter-inspect"))]
    terminal = Terminal(command, COLUMNS, LINES)
    try:
        terminal.press("8")
        terminal.wait_for(FINDING)
        terminal.press("2")
        terminal.wait_for("on_save", "cancelling")
        terminal.press("end")
        terminal.press("enter")
        terminal.wait_for("asyncio.Lock,")
        path.write_text(svg_of(terminal._screen), encoding="utf-8")
    finally:
        terminal.close()


async def window_picture(path: pathlib.Path) -> None:
    from window_screenshots import few_colours

    from qtinter.inspect.gui.window import Window

    window = Window("light")
    window.resize(*SIZE)
    window.show()
    window.start_live()
    chosen = None
    while chosen is None:
        await asyncio.sleep(0.05)
        application = window.application
        if application is not None and application.process.lints:
            slots = [t for t in application.process.tasks() if t["slot"]]
            chosen = slots[0]["id"] if slots else None
    window.select(1 << 56 | chosen)
    while window.details.histogram.data is None:
        await asyncio.sleep(0.05)
    window.frame()
    window.timeline.refresh()
    few_colours(window.grab().toImage()).save(str(path), "PNG", 0)
    await window.live.stop()
    window.close()


def main() -> None:
    folder = pathlib.Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="qi") as runtime:
        os.environ["QTINTER_RUNTIME_DIR"] = runtime
        from qtinter.inspect.gui.qt import QtCore, QtWidgets

        environment = dict(os.environ, QTINTER_INSPECT="3")
        program = subprocess.Popen([sys.executable, str(PROGRAM)], env=environment)
        try:
            terminal_picture(folder / "stuck-terminal.svg")
            application = QtWidgets.QApplication(sys.argv[:1])
            QtCore.QTimer.singleShot(PATIENCE * 1000, application.quit)
            with qtinter.using_asyncio_from_qt() as loop:
                task = loop.create_task(window_picture(folder / "stuck-window.png"))
                task.add_done_callback(lambda _: application.quit())
                application.exec()
            task.result()
        finally:
            program.kill()
            program.wait()


if __name__ == "__main__":
    main()
