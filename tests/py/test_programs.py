"""Programs of others that reach into the loop; see tests/isolated/programs.py.

They change asyncio for the whole process, so each runs in its own.
"""

import importlib.util

import pytest

PROGRAMS = [
    ("nest_asyncio", "nest_asyncio"),
    ("looptime", "looptime"),
    ("looptime_while_running", "looptime"),
    ("aiotools", "aiotools"),
    ("aiodebug", "aiodebug"),
]


def check(run_isolated, program, module, mode):
    if importlib.util.find_spec(module) is None:
        pytest.skip(f"{module} is not installed")
    result = run_isolated("programs.py", program, mode)
    assert result.returncode == 0, result.stderr
    assert result.stdout.endswith("done\n"), result.stdout
    assert result.stderr == ""


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["nested", "attached"])
@pytest.mark.parametrize(("program", "module"), PROGRAMS)
def test_program(run_isolated, program, module, mode):
    check(run_isolated, program, module, mode)


@pytest.mark.slow
def test_ipython_awaits_in_a_cell(run_isolated):
    check(run_isolated, "ipython", "IPython", "nested")
