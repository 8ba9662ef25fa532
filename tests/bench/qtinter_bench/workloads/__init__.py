"""The workloads. Importing this package puts them all on the list, in table order."""

from . import callbacks, tasks, timers, wakeups, tcp, signals, gui, cost  # noqa: F401, I001
