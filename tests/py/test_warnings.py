"""Importing qtinter says nothing; the rest runs with pytest's filterwarnings=error."""

import os
import pkgutil
import subprocess
import sys

import pytest

import qtinter

MODULES = [
    f"qtinter.{module.name}"
    for module in pkgutil.iter_modules(qtinter.__path__)
    if module.name != "_qtglue"  # needs a binding's Qt
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
