"""Mode NATIVE runs, and everything is imported, without any Qt binding."""

import asyncio
import sys

for name in ("PyQt5", "PyQt6", "PySide2", "PySide6"):
    sys.modules[name] = None  # importing it raises ImportError

import qtinter  # noqa: E402 - after the bindings were taken away

loop = qtinter.new_event_loop()
loop.set_mode(qtinter.QiLoopMode.NATIVE)
assert loop.run_until_complete(asyncio.sleep(0.001, "slept")) == "slept"
loop.close()
print("ok")
