"""Importing qtinter says nothing; the rest runs with pytest's filterwarnings=error."""

import os
import pkgutil
import subprocess
import sys

import pytest

import qtinter

# One needs a binding's Qt, the other Windows.
LEFT_OUT = {"_qtglue"} if sys.platform == "win32" else {"_qtglue", "_windows"}
MODULES = [
    f"qtinter.{module.name}"
    for module in pkgutil.iter_modules(qtinter.__path__)
    if module.name not in LEFT_OUT
]


@pytest.mark.parametrize("modules", ["qtinter", ", ".join(MODULES)])
def test_import_is_silent(tmp_path, modules):
    result = subprocess.run(
        [sys.executable, "-W", "error", "-X", "dev", "-c", f"import {modules}"],
        cwd=str(tmp_path),
        env=dict(os.environ),
        capture_output=True,
        text=True,
    )
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")
