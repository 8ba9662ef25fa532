"""Runs an example as its user does, and plays the user.

    python driver.py EXAMPLE SCENARIO [ARGUMENT ...]

EXAMPLE is run as ``__main__``, unchanged and with ARGUMENTs as its command line.
SCENARIO names a generator function of ``scenarios.py``.  It runs inside the Qt event
loop that the example itself starts, and yields conditions (functions without
parameters); it is resumed each time its condition has become true.  It may end with
``yield EXITED`` to go on after the example has ended.

How it gets into that event loop without touching the example or the binding: an event
is posted before there is an application object.  Qt keeps it and delivers it from the
first event loop that runs.

The process ends with the example's own exit status if the scenario has been played to
its end, otherwise with a traceback.
"""

import faulthandler
import importlib
import os
import runpy
import sys

BINDING = os.environ["QTINTERBINDING"]
QtCore = importlib.import_module(f"{BINDING}.QtCore")
QtWidgets = importlib.import_module(f"{BINDING}.QtWidgets")

POLL_INTERVAL = 2  # milliseconds
DEADLINE = 45_000  # milliseconds; only a safety net

EXITED = object()


class Player(QtCore.QObject):
    """Plays a scenario from within the event loop of the example."""

    def __init__(self, scenario):
        super().__init__()
        self.scenario = scenario
        self.condition = None
        self.error = None
        self.finished = False
        self.timer = QtCore.QTimer(self)
        self.timer.setInterval(POLL_INTERVAL)
        self.timer.timeout.connect(self.poll)
        self.deadline = QtCore.QTimer(self)
        self.deadline.setSingleShot(True)
        self.deadline.setInterval(DEADLINE)
        self.deadline.timeout.connect(self.give_up)
        QtCore.QCoreApplication.postEvent(self, QtCore.QEvent(QtCore.QEvent.Type.User))

    def event(self, event):
        if event.type() == QtCore.QEvent.Type.User:
            self.timer.start()
            self.deadline.start()
            self.resume(lambda: next(self.scenario))
            return True
        return super().event(event)

    def poll(self):
        if not self.scenario.gi_running and self.condition():
            self.resume(lambda: next(self.scenario))

    def give_up(self):
        if self.scenario.gi_running:
            print("the scenario itself is stuck", file=sys.stderr, flush=True)
            faulthandler.dump_traceback()
            os._exit(3)
        error = TimeoutError("the condition of this yield has not become true")
        self.resume(lambda: self.scenario.throw(error))

    def resume(self, step):
        try:
            self.condition = step()
        except StopIteration:
            self.finished = True
        except BaseException as error:
            self.error = error
            QtWidgets.QApplication.exit(1)
        if self.finished or self.error or self.condition is EXITED:
            self.timer.stop()
            self.deadline.stop()

    def check_end(self):
        """Play what comes after the exit; raise what went wrong."""
        if self.error is not None:
            raise self.error
        if self.condition is EXITED:
            self.finished = next(self.scenario, None) is None
        assert self.finished, "the example ended before the scenario did"


def main():
    import scenarios

    path, name, *arguments = sys.argv[1:]
    sys.argv = [path, *arguments]
    player = Player(getattr(scenarios, name)())
    try:
        runpy.run_path(path, run_name="__main__")
    finally:
        # The application object is gone, and with it, in PyQt, the player's timers.
        player.check_end()


if __name__ == "__main__":
    # Scenarios import this module by its name; there must not be two of it.
    sys.modules["driver"] = sys.modules["__main__"]
    main()
