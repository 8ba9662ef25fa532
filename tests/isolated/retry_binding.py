"""A resolution that failed is tried again; one that succeeded stays."""

import os
import sys
import types

import qtinter

binding = os.environ.pop("QTINTERBINDING")
os.environ.pop("QT_API", None)
message = ""
try:
    import qtinter.bindings
except ImportError as exc:
    message = str(exc)
assert "QTINTERBINDING is not set" in message, message

os.environ["QTINTERBINDING"] = binding
import qtinter.bindings  # noqa: E402

assert qtinter.bindings.binding_name == binding

other = "PyQt5" if binding != "PyQt5" else "PyQt6"
os.environ["QTINTERBINDING"] = other
sys.modules[other] = types.ModuleType(other)
from qtinter.bindings import QtCore  # noqa: E402

assert QtCore.__name__ == binding + ".QtCore"
print("ok")
