"""A started binding host, and its application object destroyed and made anew."""

import gc
import importlib
import os

from qtinter._hosts import BindingHost

binding = os.environ["QTINTERBINDING"]
QtCore = importlib.import_module(f"{binding}.QtCore")
read_fd, write_fd = os.pipe()
os.write(write_fd, b"x")
turns = []

host = BindingHost(QtCore)
try:
    host.start(read_fd, turns.append)
except RuntimeError as exc:
    print("no application:", exc)

for awake in (False, True):
    app = QtCore.QCoreApplication([])
    host.start(read_fd, turns.append)
    if awake:
        host.wake()
    if hasattr(app, "shutdown"):
        app.shutdown()  # PySide: deletes the objects of ours as well
    del app
    gc.collect()
    assert QtCore.QCoreApplication.instance() is None
    host.wake()
    host.watch(0)
    host.watch(1)
    assert host.enter() == -1
    host.leave()
    host.quit()
    host.stop()
print("stopped, turns:", turns)


def turn(reason):
    turns.append(reason)
    os.read(read_fd, 1)
    host.leave()


app = QtCore.QCoreApplication([])
host.start(read_fd, turn)
assert host.enter() == 0
del app
gc.collect()
host.stop()
print("second application, turns:", turns)
