"""The longest frames of the views, with many tasks.

    python tests/bench/view_frames.py [--tasks N ...] [--rounds N]

A window (offscreen) and the rows of the terminal view show an application that is made
up: tasks that wait, of which some change in each frame.  Each row is something that a
user does, with the longest time for which it kept the window from its events: the work
of one frame, or painting and everything else that Qt had to do after it.  Times are CPU
time of the thread, the best of the rounds, because other work on the machine only makes
it longer.  The second figure is the sum of all, until the view is up to date.
"""

import argparse
import gc
import os
import random
import time

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
os.environ.setdefault("QTINTERBINDING", "PyQt6")

import qtinter
from qtinter.inspect import _tables
from qtinter.inspect.gui.application import Application
from qtinter.inspect.gui.qt import Qt, QtWidgets
from qtinter.inspect.gui.window import Window
from qtinter.inspect.model import TASK, Process
from qtinter.inspect.tui.rows import RowModel

COLUMNS = [name for name, _ in _tables.ENTITIES[TASK][1]]
BUSY = COLUMNS.index("busy")
CHANGED = COLUMNS.index("changed")
WAITING = 3
CHANGES = 500  # rows that change in a frame
TUI_BUDGET = 0.012


def add_task(process, ident):
    values = {
        "name": 1 + ident % 2,
        "created": ident,
        "changed": ident,
        "busy": random.randrange(10**9),
        "creator": TASK << 56 | max(1, ident // 10),
    }
    process.put([TASK, ident, WAITING, 1, *(values.get(name, 0) for name in COLUMNS)])


def made_up(tasks):
    process = Process({"pid": 1, "name": "app", "mono0": 0})
    process.entries.update({1: "alpha", 2: "beta"})
    for ident in range(1, tasks + 1):
        add_task(process, ident)
    return process


def change(application, idents):
    upsert = []
    now = application.now()
    for ident in idents:
        columns = {BUSY: random.randrange(10**9), CHANGED: now}
        application.source.change(TASK, ident, {-1: WAITING, **columns})
        upsert.append([TASK, ident, columns])
    application.take("rows", {"upsert": upsert, "gone": []})


def remove(application, idents):
    for ident in idents:
        application.source.remove(TASK, ident)
    application.take("rows", {"upsert": [], "gone": [[TASK, i] for i in idents]})


def add(application, idents):
    for ident in idents:
        add_task(application.source, ident)
    application.take("rows", {"upsert": [[TASK, i, {}] for i in idents], "gone": []})


class Run:
    """Drives a window through what a user does."""

    def __init__(self, qt, tasks):
        self.qt = qt
        self.tasks = tasks
        self.window = Window("light")
        self.window.show()
        self.longest = {}
        self.total = {}

    def timed(self, text, function):
        begin = time.thread_time()
        function()
        spent = time.thread_time() - begin
        self.longest[text] = max(self.longest.get(text, 0.0), spent)
        self.total[text] = self.total.get(text, 0.0) + spent

    def frame(self, text):
        self.timed(text, self.window.frame)
        self.timed(text, self.qt.processEvents)

    def settle(self, text):
        self.frame(text)
        while self.window.page.model.busy:
            self.frame(text)
        for _ in range(11):  # with one that looks at what is not looked at each time
            self.frame(text)

    def do(self, text, function):
        self.timed(text, function)
        self.settle(text)

    def everything(self):
        window = self.window
        application = Application(made_up(self.tasks))
        self.do("open", lambda: window.add_application(application, show=True))
        model, view = window.page.model, window.page.view
        assert model.rowCount() == self.tasks
        for column, word in ((6, "descending"), (1, "by state"), (0, "by id")):
            order = Qt.SortOrder.DescendingOrder
            self.do(f"sort {word}", lambda c=column, o=order: view.sortByColumn(c, o))
        titles = [column.title for column in model.table.columns]
        busy = titles.index("Busy")
        self.do("sort by busy", lambda: view.sortByColumn(busy, order))
        for _ in range(30):
            idents = random.sample(range(1, self.tasks), CHANGES)
            self.timed(
                f"{CHANGES} rows change", lambda i=idents: change(application, i)
            )
            self.frame(f"{CHANGES} rows change")
        model._sorted_at = 0.0
        self.settle("sort again what changed")
        bar = view.verticalScrollBar()
        for share in range(0, 101, 5):
            value = bar.maximum() * share // 100
            self.timed("scroll", lambda v=value: bar.setValue(v))
            self.frame("scroll")
        for text in ("a", "al", "alpha", "busy>500ms", ""):
            self.do("type a filter", lambda t=text: window.line.setText(t))
        some = random.sample(range(1, self.tasks), self.tasks // 20)
        self.do("5 % of the tasks end", lambda: remove(application, some))
        self.do("and come again", lambda: add(application, some))
        self.do("filter on ages", lambda: window.line.setText("age>1s"))
        self.do("", lambda: window.line.setText(""))
        window.tabs.setCurrentWidget(window.pages["tree"])
        self.settle("show the tree")
        tree = window.pages["tree"]
        self.do("tree by creator", lambda: tree.set_mode("creator"))
        self.do("5 % end in the tree", lambda: remove(application, some))
        self.do("filter the tree", lambda: window.line.setText("alpha"))
        self.timed("close", window.close)
        self.longest.pop("")


def window_frames(qt, tasks, rounds):
    runs = []
    for _ in range(rounds):
        runs.append(Run(qt, tasks))
        runs[-1].everything()
    print(f"\nwindow, {tasks:,} tasks: ms{'longest':>29}{'all':>10}")
    show(runs)


def show(runs):
    for text in runs[0].longest:
        longest = min(run.longest[text] for run in runs) * 1e3
        total = min(run.total[text] for run in runs) * 1e3
        print(f"{text:32}{longest:20.1f}{total:10.0f}", flush=True)


class TerminalRun:
    """The rows of the terminal view, without what paints two dozen of them."""

    def __init__(self, tasks):
        self.longest = {}
        self.total = {}
        process = made_up(tasks)
        rows = {ident: row for (_, ident), row in process.rows.items()}
        self.model = RowModel(rows.get, lambda: rows)
        self.settle("open")
        self.model.sort_by(lambda row: row["busy"], True)
        self.settle("sort by busy")
        for _ in range(30):
            for ident in random.sample(range(1, tasks), CHANGES):
                process.change(
                    TASK, ident, {-1: WAITING, BUSY: random.randrange(10**9)}
                )
                self.model.touch([ident])
            self.work(f"{CHANGES} rows change")
        self.settle("sort again what changed")
        self.model.filter_by(lambda row: row["name"] == 1)
        self.settle("filter")

    def work(self, text):
        begin = time.thread_time()
        self.model.work(TUI_BUDGET)
        spent = time.thread_time() - begin
        self.longest[text] = max(self.longest.get(text, 0.0), spent)
        self.total[text] = self.total.get(text, 0.0) + spent

    def settle(self, text):
        self.model._not_before = 0.0
        self.work(text)
        while not self.model.is_settled:
            self.work(text)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tasks", type=int, nargs="*", default=[10_000, 100_000])
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    gc.set_threshold(5_000, 10, 100)  # as the window does
    qt = QtWidgets.QApplication([])
    with qtinter.using_asyncio_from_qt():
        for tasks in options.tasks:
            window_frames(qt, tasks, options.rounds)
            runs = [TerminalRun(tasks) for _ in range(options.rounds)]
            print(f"\nterminal view, {tasks:,} tasks: ms{'longest':>20}{'all':>10}")
            show(runs)


if __name__ == "__main__":
    main()
