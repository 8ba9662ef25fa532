"""Looking at the window of ``qtinter-inspect gui`` in tests."""

import asyncio

from qtinter.inspect.model import TASK

NAMES = {"alpha", "beta", "gamma"}


async def until(condition):
    """Waits for the frame in which a condition holds."""
    while not condition():
        await asyncio.sleep(0.01)


def cells(page, column):
    titles = [c.title for c in page.table.columns]
    i = titles.index(column)
    return [page.model.index(r, i).data() for r in range(page.model.rowCount())]


async def ready(window):
    """Until the application of the tests is there, with its tasks and its events."""
    page = window.pages["tasks"]
    await until(lambda: len(cells(page, "Name")) == 4 and all(cells(page, "Name")))
    lanes = window.application.lanes.tasks
    await until(lambda: sum(len(lane) > 0 for lane in lanes.values()) >= 4)
    return page


def id_of(window, name):
    process = window.application.process
    return next(
        row.id for row in process.of_kind(TASK) if process.task_name(row) == name
    )
