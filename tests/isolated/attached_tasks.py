"""An attached application with tasks that wait; prints "ready", ends with its input.

Another process looks at its tasks (python -m asyncio ps and pstree).
"""

import asyncio
import ctypes
import importlib
import os
import sys

import qtinter

PR_SET_PTRACER, PR_SET_PTRACER_ANY = 0x59616D61, ctypes.c_ulong(-1)

QtCore = importlib.import_module(os.environ["QTINTERBINDING"] + ".QtCore")
app = QtCore.QCoreApplication([])


def let_us_be_inspected():
    """Where Yama forbids to look at processes that are not one's own children.

    Fails on a kernel without Yama, which forbids nothing.
    """
    ctypes.CDLL(None).prctl(PR_SET_PTRACER, PR_SET_PTRACER_ANY, 0, 0, 0)


async def wait_for_ever():
    await loop.create_future()


async def wait_for_child(child):
    await child


async def in_slot():
    await asyncio.sleep(3600)


def input_ended():
    if not os.read(sys.stdin.fileno(), 1):
        app.quit()


def all_wait():
    print("ready", flush=True)


let_us_be_inspected()
timer = QtCore.QTimer()
timer.setSingleShot(True)
with qtinter.using_asyncio_from_qt() as loop:
    loop.add_reader(sys.stdin.fileno(), input_ended)
    child = loop.create_task(wait_for_ever(), name="the-child")
    parent = loop.create_task(wait_for_child(child), name="the-parent")
    timer.timeout.connect(qtinter.asyncslot(in_slot, name="the-slot"))
    timer.timeout.connect(lambda: loop.call_soon(all_wait))
    timer.start(0)
    app.exec()
