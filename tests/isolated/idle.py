"""Prints voluntary context switches and turns of 3 s of an idle attached loop."""

import asyncio
import importlib
import os
import re

import qtinter

QtCore = importlib.import_module(os.environ["QTINTERBINDING"] + ".QtCore")
app = QtCore.QCoreApplication([])
run_app = app.exec if hasattr(app, "exec") else app.exec_  # PySide2: exec_ only


def switches():
    with open("/proc/self/status") as status:
        found = re.search(r"^voluntary_ctxt_switches:\s+(\d+)", status.read(), re.M)
    return int(found[1])


def measure():
    begin = switches(), loop.statistics()["turns"]

    def end():
        print(switches() - begin[0], loop.statistics()["turns"] - begin[1])
        app.quit()

    QtCore.QTimer.singleShot(3000, end)


with qtinter.using_asyncio_from_qt() as loop:
    waiting = loop.create_task(asyncio.sleep(3600))
    QtCore.QTimer.singleShot(200, measure)
    run_app()
