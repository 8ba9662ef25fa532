"""Random programs observe the same on our loop, in each mode, as on asyncio's."""

import asyncio
import os

import pytest
from hypothesis import HealthCheck, given, settings

import qtinter

from .driving import MODES, drive
from .loop_programs import programs, trace


def _on_asyncio(program):
    return trace(asyncio.SelectorEventLoop(), lambda loop: loop.run_forever(), program)


# It asks the collector who refers to its generator of random numbers, and up to that
# for Python 3.8, Hypothesis does not see what the fixture no_leaks has frozen.
@pytest.mark.filterwarnings("ignore:It looks like `register_random`")
@pytest.mark.parametrize("mode", MODES)
@settings(
    max_examples=int(os.environ.get("QTINTER_TEST_EXAMPLES", "60")),
    deadline=None,  # the machine may be busy
    derandomize=True,
    suppress_health_check=list(HealthCheck),
)
@given(program=programs())
def test_random_programs(app, mode, program):
    ours = trace(qtinter.QiSelectorEventLoop(), lambda loop: drive(loop, mode), program)
    assert ours == _on_asyncio(program)
