"""Our loop for pytest-asyncio, by its hook (pytest-asyncio 1.4)."""

import qtinter


def pytest_asyncio_loop_factories(config, item):
    return {"qtinter": qtinter.new_event_loop}
