"""What works in a process where no Qt binding can be imported."""

import asyncio
import sys

for name in ("PyQt5", "PyQt6", "PySide2", "PySide6"):
    sys.modules[name] = None  # importing it raises ImportError

import qtinter  # noqa: E402


async def work(x):
    await asyncio.sleep(0)
    return x + 1


class Plain:
    async def method(self, x):
        return x + 2


async def main():
    assert await qtinter.run_task(work(1)) == 2
    assert await qtinter.asyncslot(work)(2) == 3
    plain = Plain()
    assert await qtinter.asyncslot(plain.method)(2) == 4
    assert callable(qtinter.modal(print))
    try:
        await qtinter.asyncsignal(object())
    except ImportError as exc:
        return str(exc)


loop = qtinter.new_event_loop()
loop.close()
print(asyncio.run(main()))
assert "qtinter.bindings" not in sys.modules
