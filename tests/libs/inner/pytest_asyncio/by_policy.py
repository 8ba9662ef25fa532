"""Our loop for pytest-asyncio, by its fixture (before 1.4)."""

import pytest

import qtinter


@pytest.fixture(scope="session")
def event_loop_policy():
    return qtinter.QiDefaultEventLoopPolicy()
