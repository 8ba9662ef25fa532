"""Prints which binding qtinter finds, or why none.

Arguments: names of packages to import before.  A name with "fake:" in front stands for
an empty module of that name, one with "missing:" cannot be imported.
"""

import importlib
import sys
import types

import qtinter

assert not any(name in sys.modules for name in ("PyQt5", "PyQt6", "PySide2", "PySide6"))

for name in sys.argv[1:]:
    if name.startswith("fake:"):
        sys.modules[name[5:]] = types.ModuleType(name[5:])
    elif name.startswith("missing:"):
        sys.modules[name[8:]] = None
    else:
        importlib.import_module(name)
try:
    from qtinter.bindings import QtCore
except ImportError as exc:
    print("ImportError:", exc)
else:
    import qtinter.bindings

    assert QtCore.__name__ == qtinter.bindings.binding_name + ".QtCore"
    print(QtCore.__name__)
