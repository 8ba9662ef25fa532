"""Prints, as JSON, what the Python that runs this has of a binding and of qtinter.

describe_cell.py BINDING
"""

import importlib
import json
import platform
import sys


def system():
    try:
        with open("/etc/os-release") as lines:
            names = dict(line.strip().split("=", 1) for line in lines if "=" in line)
        name = names.get("PRETTY_NAME", "Linux").strip('"')
    except FileNotFoundError:
        name = platform.system()
    return f"{name}, {platform.machine()}"


def main(binding):
    qt_core = importlib.import_module(binding + ".QtCore")
    if binding.startswith("PyQt"):
        binding_version = qt_core.PYQT_VERSION_STR
    else:
        binding_version = importlib.import_module(binding).__version__
    found = {
        "python": platform.python_version(),
        "system": system(),
        "binding_version": binding_version,
        "qt_version": qt_core.qVersion(),
        "qt_headers": "",
    }
    glue = "_qtglue" if binding.endswith("6") else "_qtglue5"
    try:
        # After the binding: _qtglue must find its Qt loaded.
        module = importlib.import_module("qtinter." + glue)
        found["qt_headers"] = module.qt_version()[0]
    except ImportError:
        pass  # a cell of the native host will tell why
    print(json.dumps(found))


if __name__ == "__main__":
    main(*sys.argv[1:])
