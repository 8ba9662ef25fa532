"""Both modes refuse to run without an application object, before and after one."""

import asyncio
import importlib
import os

import qtinter

QtCore = importlib.import_module(os.environ["QTINTERBINDING"] + ".QtCore")
KEY = (
    "An instance of QCoreApplication or its derived class must be created in order "
    "to run QiBaseEventLoop"
)


def refused():
    try:
        with qtinter.using_asyncio_from_qt():
            raise AssertionError("entered")
    except RuntimeError as exc:
        assert str(exc).startswith(KEY), exc
        print("attached refused")
    loop = qtinter.new_event_loop()
    try:
        loop.run_forever()
    except RuntimeError as exc:
        assert str(exc).startswith(KEY), exc
        print("nested refused")
    assert not loop.is_running()
    assert asyncio._get_running_loop() is None
    loop.close()


refused()
app = QtCore.QCoreApplication([])
with qtinter.using_asyncio_from_qt():
    pass
if hasattr(app, "shutdown"):
    app.shutdown()
del app
refused()
