"""The workloads. Importing this package puts them all on the list, in table order."""

from . import callbacks, tasks, timers, wakeups, signals, gui, cost  # noqa: F401, I001
