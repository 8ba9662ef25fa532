"""Event loop factories, and the policy classes for code that still needs them.

asyncio deprecates policies in 3.14 and removes them in 3.16, so the classes are made
when they are asked for and never at import.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
from asyncio import events
from typing import Any, Iterator

from ._loop import QiSelectorEventLoop

if sys.platform == "win32":
    from ._windows import QiProactorEventLoop as QiDefaultEventLoop
else:
    QiDefaultEventLoop = QiSelectorEventLoop

__all__ = ["QiDefaultEventLoop", "default_loop_factory", "new_event_loop"]


def new_event_loop() -> QiDefaultEventLoop:
    """Return a new event loop in mode OWNER, for example as a ``loop_factory``.

    Neither a Qt binding nor an application object is needed before it runs::

        with asyncio.Runner(loop_factory=qtinter.new_event_loop) as runner:
            runner.run(main())
    """
    return QiDefaultEventLoop()


default_loop_factory = new_event_loop


def _asyncio_default_policy() -> Any:
    """asyncio's default policy class; since 3.14 its public name warns."""
    if sys.platform == "win32":
        from asyncio import windows_events as platform_events
    else:
        from asyncio import unix_events as platform_events

    for name in ("_DefaultEventLoopPolicy", "DefaultEventLoopPolicy"):
        policy = getattr(platform_events, name, None)
        if policy is not None:
            return policy
    raise AttributeError(
        "asyncio has no event loop policies any more; use new_event_loop"
    )


def make_policy_class(name: str, loop_class: Any) -> Any:
    """Build a policy with loops of *loop_class*; ``qtinter.__getattr__`` keeps it."""
    return type(
        name,
        (_asyncio_default_policy(),),
        {
            "__module__": "qtinter",
            "__doc__": f"asyncio's default policy with loops of {loop_class.__name__}.",
            "_loop_factory": loop_class,
        },
    )


def _set_policy(policy: Any) -> None:
    # 3.14 keeps the working function under a private name and warns in the public one.
    setter = getattr(events, "_set_event_loop_policy", None)
    (setter or asyncio.set_event_loop_policy)(policy)


@contextlib.contextmanager
def default_policy(policy: Any) -> Iterator[None]:
    """Install a policy and put back exactly what was there, also "nothing yet"."""
    before = getattr(events, "_event_loop_policy", None)
    _set_policy(policy)
    try:
        yield
    finally:
        _set_policy(before)


def current_event_loop() -> asyncio.AbstractEventLoop | None:
    """The loop that ``asyncio.set_event_loop`` set on this thread, if any.

    ``asyncio.get_event_loop()`` would make one, or warn, or raise, by version.
    """
    policy = getattr(events, "_event_loop_policy", None)
    local = getattr(policy, "_local", None)
    return getattr(local, "_loop", None)
