"""Functions that run in anyio's worker processes, called from a Qt application."""

import os
import sys

import anyio
import anyio.to_process

import qtinter
from qtinter.bindings import QtCore


async def main():
    limiter = anyio.CapacityLimiter(2)
    workers = []

    async def ask():
        workers.append(await anyio.to_process.run_sync(os.getpid, limiter=limiter))

    async with anyio.create_task_group() as group:
        for _ in range(8):
            group.start_soon(ask)
    assert os.getpid() not in workers
    return f"{len(set(workers))} workers, {len(workers)} answers"


# anyio's workers import this file.
if __name__ == "__main__":
    app = QtCore.QCoreApplication(sys.argv)
    with qtinter.using_asyncio_from_qt() as loop:
        task = loop.create_task(main())
        task.add_done_callback(lambda _: app.quit())
        (getattr(app, "exec", None) or app.exec_)()
    print("attached:", task.result())
