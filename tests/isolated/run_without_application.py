"""qtinter.run() makes an application object if there is none, and lets it go."""

import asyncio
import importlib
import os

import qtinter

QtCore = importlib.import_module(os.environ["QTINTERBINDING"] + ".QtCore")


async def main():
    await asyncio.sleep(0.001)
    assert QtCore.QCoreApplication.instance() is not None
    return "done"


for _ in range(2):
    assert QtCore.QCoreApplication.instance() is None
    assert qtinter.run(main()) == "done"
print("ok")
