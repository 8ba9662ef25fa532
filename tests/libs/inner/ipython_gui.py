"""IPython's own integration: %gui qt runs Qt while the prompt waits for input.

The prompt is played by a context object like prompt_toolkit's: IPython's input hook
runs a Qt event loop until a descriptor is readable.  asyncio is attached to Qt.
"""

import asyncio
import os
import sys
import threading

from IPython.terminal.interactiveshell import TerminalInteractiveShell

import qtinter
from qtinter.bindings import QtWidgets


class Prompt:
    """Waits for input on a pipe; a key is "typed" by write()."""

    def __init__(self):
        self._read, self._write = os.pipe()
        self._typed = False

    def fileno(self):
        return self._read

    def input_is_ready(self):
        return self._typed

    def type_key(self):
        self._typed = True
        os.write(self._write, b"x")

    def next(self):
        os.read(self._read, 1)
        self._typed = False

    def close(self):
        os.close(self._read)
        os.close(self._write)


app = QtWidgets.QApplication(sys.argv)
shell = TerminalInteractiveShell.instance(simple_prompt=False)
shell.enable_gui(sys.argv[1])
assert shell._inputhook is not None
prompt = Prompt()
done = []


async def work(number):
    await asyncio.sleep(0.001)
    answer = await asyncio.to_thread(threading.get_ident)
    done.append((number, answer != threading.get_ident()))
    prompt.type_key()


with qtinter.using_asyncio_from_qt() as loop:
    for number in range(3):
        # What a cell does: it starts a task and returns to the prompt.
        shell.user_ns.update(work=work, loop=loop, number=number)
        shell.run_cell("task = loop.create_task(work(number))").raise_error()
        assert not shell.user_ns["task"].done()
        shell._inputhook(prompt)
        assert shell.user_ns["task"].done()
        prompt.next()
prompt.close()
print("result:", done)
