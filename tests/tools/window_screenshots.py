"""Takes the pictures of docs/window.md: the real window, a real program and daemon.

    QTINTERBINDING=PyQt6 python tests/tools/window_screenshots.py docs/images

makes ``window-light.png`` and ``window-dark.png`` there; needs a display, or
``QT_QPA_PLATFORM=offscreen``, where there are fonts.
"""

from __future__ import annotations

import asyncio
import collections
import os
import pathlib
import subprocess
import sys
import tempfile

import qtinter

SIZE = (1160, 700)
DEMO = pathlib.Path(__file__).with_name("window_demo.py")
PATIENCE = 60


def few_colours(image):
    """The image with the 256 colours that it has most of: half of the bytes."""
    from qtinter.inspect.gui.qt import Qt

    image = image.convertToFormat(image.Format.Format_RGB32)
    bits = image.constBits()
    if hasattr(bits, "setsize"):  # PyQt
        bits.setsize(image.sizeInBytes())
    pixels = memoryview(bytes(bits)).cast("I")
    colours = [colour for colour, _ in collections.Counter(pixels).most_common(256)]
    flags = Qt.ImageConversionFlag.ThresholdDither | Qt.ImageConversionFlag.AvoidDither
    return image.convertToFormat(image.Format.Format_Indexed8, colours, flags)


async def picture(folder: pathlib.Path, theme: str) -> None:
    from qtinter.inspect.gui.window import Window

    window = Window(theme)
    window.resize(*SIZE)
    window.show()
    window.start_live()
    process = None
    while process is None or len(window.application.lanes.emissions) < 9:
        await asyncio.sleep(0.05)
        if window.application is not None:
            process = window.application.process
    chosen = None
    while chosen is None:
        await asyncio.sleep(0.05)
        for task in process.tasks():
            if task["slot"] and task["state"] == "waiting":
                chosen = task["id"]
    window.select(1 << 56 | chosen)
    window.timeline.set_following(False)
    now = window.application.now()
    window.timeline._set_range(now - 5_000_000_000, now + 100_000_000)
    while window.details.histogram.data is None:
        await asyncio.sleep(0.05)
    window.frame()
    window.timeline.refresh()
    path = folder / f"window-{theme}.png"
    few_colours(window.grab().toImage()).save(str(path), "PNG", 0)
    print(path, path.stat().st_size)
    await window.live.stop()
    window.close()


def main() -> None:
    folder = pathlib.Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="qi") as runtime:
        os.environ["QTINTER_RUNTIME_DIR"] = runtime
        from qtinter.inspect.gui.qt import QtCore, QtWidgets

        application = QtWidgets.QApplication(sys.argv[:1])
        program = subprocess.Popen(
            [sys.executable, str(DEMO)], stdout=subprocess.PIPE, text=True
        )
        try:
            program.stdout.readline()
            QtCore.QTimer.singleShot(PATIENCE * 1000, application.quit)
            with qtinter.using_asyncio_from_qt() as loop:

                async def both() -> None:
                    for theme in ("light", "dark"):
                        await picture(folder, theme)

                task = loop.create_task(both())
                task.add_done_callback(lambda _: application.quit())
                application.exec()
            task.result()
        finally:
            program.kill()
            program.wait()


if __name__ == "__main__":
    main()
