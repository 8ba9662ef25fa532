"""The terminal view of qtinter-inspect: live, or of a file.

Needs the package ``textual`` (``pip install qtinter[inspect]``), and with it
CPython 3.9.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .app import InspectApp
    from .scene import Scene
    from .source import Source


CANCEL_SECONDS = 0.5


def run(options: Any) -> int:
    """Show what runs, until the user leaves; returns the exit code.

    :param options: ``socket``: path of the daemon's socket or None; ``pid``: the
        application to begin with or None; ``filter``: of the tasks, or None.
    :raises ImportError: a package is missing; says which.
    :raises ValueError: the filter is none.
    :raises UsageError: there is no terminal.
    """
    from ..remote import address_of
    from .source import LiveSource

    source = LiveSource(address_of(options), pid=getattr(options, "pid", None))
    return _show(source, getattr(options, "filter", None) or "")


def run_file(path: str, at: float | None = None) -> int:
    """Show a recording, or the segment of a program, until the user leaves.

    :param path: of the file.
    :param at: seconds since its begin; by default its end.
    :raises OSError: it cannot be opened.
    :raises ValueError: it is neither.
    """
    from .files import open_file

    return _show(open_file(path, at), "")


def _show(source: Source, filter_text: str) -> int:
    from . import first
    from .scene import Scene
    from .viewer import Viewer

    viewer = Viewer(source)
    viewer.condition(filter_text)  # what is wrong with it is said before
    first.need_terminal()
    return asyncio.run(_run(Scene(viewer, filter_text)))


async def _run(scene: Scene) -> int:
    """Shows what there is, has Textual imported, and leaves the rest to it."""
    from . import first

    source = scene.viewer.source
    taking = asyncio.ensure_future(source.run())
    try:
        await source.settle()
        with contextlib.ExitStack() as ending:
            taken = None
            if source.is_connected and first.can_draw():
                taken = ending.enter_context(first.Taken())
                first.draw(scene)
            loop = asyncio.get_running_loop()
            app_class = await loop.run_in_executor(None, _import_app)
            result = await app_class(scene, taken).run_async()
            return int(result or 0)
    finally:
        # More than once: who closes a connection just then takes a cancellation for
        # that of its own tasks, and would connect again.
        while not taking.done():
            taking.cancel()
            await asyncio.wait([taking], timeout=CANCEL_SECONDS)


def _import_app() -> type[InspectApp]:
    gc.disable()  # nothing that importing makes is garbage
    try:
        from .app import InspectApp
    except ImportError as exc:
        raise ImportError(
            "the terminal view needs the package textual: pip install "
            f"'qtinter[inspect]' ({exc})"
        ) from exc
    finally:
        gc.enable()
    # Neither is it looked through again and again, nor what the daemon shows: with ten
    # thousand tasks each full collection is a frame that is missed.
    gc.freeze()
    gc.set_threshold(5_000, 10, 100)
    return InspectApp
