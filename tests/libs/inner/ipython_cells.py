"""Cells of IPython's shell that await, run inside of a Qt application.

The application has a loop attached; the shell is embedded in it, as a console widget
would do: a cell is a coroutine of that loop.
"""

import sys

from IPython.core.interactiveshell import InteractiveShell

import qtinter
from qtinter.bindings import QtCore

CELLS = [
    "import asyncio, qtinter",
    "from qtinter.bindings import QtCore",
    "await asyncio.sleep(0.001); value = 1",
    "timer = QtCore.QTimer(); timer.start(1)",
    "await qtinter.asyncsignal(timer.timeout); timer.stop(); value += 1",
    "async def later(): await asyncio.sleep(0.001); return 40",
    "value += await asyncio.create_task(later())",
    "loop_name = type(asyncio.get_running_loop()).__name__",
    "value",
]


async def run(shell, cell):
    transformed = shell.transform_cell(cell)
    return await shell.run_cell_async(cell, transformed_cell=transformed)


async def main():
    shell = InteractiveShell.instance()
    for cell in CELLS:
        result = await run(shell, cell)
        result.raise_error()
    failed = await run(shell, "await asyncio.sleep(0); 1 / 0")
    assert type(failed.error_in_exec) is ZeroDivisionError
    return result.result, shell.user_ns["loop_name"]


app = QtCore.QCoreApplication(sys.argv)
with qtinter.using_asyncio_from_qt() as loop:
    task = loop.create_task(main())
    task.add_done_callback(lambda _: app.quit())
    (getattr(app, "exec", None) or app.exec_)()
print("result:", *task.result())
