"""What the package tells the inspector, while one is on.

``active`` is None, or the observer that ``qtinter.inspect`` has put there.  The rest of
the package asks for it where something happens that only the package knows: asyncslots,
signal waits, jobs.  What happens with every handle is seen by the core.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .inspect._observer import Observer

active: Observer | None = None
