"""The named pipe of Windows, under Wine: see tests/c/test_transport_win.c."""

import pathlib
import shutil
import subprocess

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
COMPILER = "x86_64-w64-mingw32-gcc"


@pytest.mark.slow
def test_the_named_pipe(tmp_path, foreign_environment):
    for tool in (COMPILER, "wine"):
        if shutil.which(tool) is None:
            pytest.skip(f"needs {tool} (gcc-mingw-w64-x86-64 and wine of Debian)")
    program = tmp_path / "test_transport_win.exe"
    subprocess.run(
        [
            COMPILER, "-std=c11", "-Wall", "-Wextra", "-Werror", "-O2",
            f"-I{ROOT / 'client'}", f"-I{ROOT / 'tests' / 'c'}",
            str(ROOT / "tests" / "c" / "test_transport_win.c"),
            str(ROOT / "client" / "transport_win.c"),
            "-ladvapi32", "-o", str(program),
        ],
        check=True,
    )  # fmt: skip
    environment = dict(
        foreign_environment, WINEPREFIX=str(tmp_path / "wine"), WINEDEBUG="-all"
    )
    environment.pop("DISPLAY", None)
    try:
        result = subprocess.run(
            ["wine", str(program)],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=300,
        )
    finally:
        subprocess.run(["wineserver", "-k"], env=environment, check=False)
    assert result.returncode == 0, result.stdout
    assert "only_the_user_may_open_it" in result.stdout
