"""pytest-qt and pytest-asyncio: projects that use them together with qtinter."""

import importlib.metadata
import sys

import pytest


def test_pytest_qt(run_pytest, binding):
    outcomes = run_pytest("pytest_qt", "-o", f"qt_api={binding.lower()}")
    assert len(outcomes) == 8


def test_pytest_asyncio_by_loop_factories(run_pytest):
    version = importlib.metadata.version("pytest-asyncio")
    if tuple(map(int, version.split(".")[:2])) < (1, 4):
        pytest.skip(f"pytest-asyncio {version} has no hook for loop factories")
    assert len(run_pytest("pytest_asyncio", "-p", "by_factory")) == 9


@pytest.mark.skipif(
    sys.version_info >= (3, 14), reason="asyncio deprecates policies in 3.14"
)
def test_pytest_asyncio_by_policy(run_pytest):
    assert len(run_pytest("pytest_asyncio", "-p", "by_policy")) == 9
