"""Programs that reach into the loop, from the package index, over a qtinter loop.

    programs.py PROGRAM nested|attached

Each function drives one; what it prints at the end is what the test expects.
"""

import asyncio
import sys
import threading

import qtinter
from qtinter.bindings import QtCore

HOUR = 3600.0


def run(mode, main, loop_factory=qtinter.new_event_loop):
    """Result of main(loop) on a loop of that mode."""
    if mode == "nested":
        loop = loop_factory()
        try:
            return loop.run_until_complete(main(loop))
        finally:
            loop.close()
    with qtinter.using_asyncio_from_qt(loop_factory=loop_factory) as loop:
        task = loop.create_task(main(loop))
        task.add_done_callback(lambda task: QtCore.QCoreApplication.quit())
        app = QtCore.QCoreApplication
        (app.exec if hasattr(app, "exec") else app.exec_)()
        return task.result()


def nest_asyncio(mode):
    """run_until_complete() inside of a callback of the same loop."""
    import nest_asyncio

    async def inner():
        loop = asyncio.get_running_loop()
        await asyncio.sleep(0.001)
        return await loop.run_in_executor(None, threading.get_ident)

    async def main(loop):
        nest_asyncio.apply(loop)
        assert loop.run_until_complete(inner()) != threading.get_ident()
        await asyncio.sleep(0.001)
        assert loop.run_until_complete(inner()) != threading.get_ident()
        # Back in the outer run, with Qt.
        served = loop.create_future()
        QtCore.QTimer.singleShot(0, lambda: served.set_result(True))
        assert await served

    run(mode, main)


def looptime(mode):
    """A loop whose time is compacted: hours pass at once, and in order."""
    import looptime

    def loop_factory():
        return looptime.patch_event_loop(qtinter.new_event_loop(), start=0)

    async def main(loop):
        order = []
        loop.call_later(HOUR, order.append, "an hour")
        await asyncio.sleep(2 * HOUR)
        assert loop.time() == 2 * HOUR
        await loop.run_in_executor(None, order.append, "executor")
        assert order == ["an hour", "executor"]

    run(mode, main, loop_factory)


def looptime_while_running(mode):
    """The class of a loop is exchanged in a callback."""
    import looptime

    async def main(loop):
        looptime.patch_event_loop(loop, start=0)
        await asyncio.sleep(HOUR)
        assert loop.time() == HOUR

    run(mode, main)


def aiotools(mode):
    """A virtual clock, put in place and taken away while the loop runs."""
    import aiotools

    async def main(loop):
        real_before = loop.time()
        clock = aiotools.VirtualClock()
        with clock.patch_loop():
            await asyncio.sleep(HOUR)
            assert clock.virtual_time() >= HOUR
        assert loop.time() - real_before < HOUR
        await asyncio.sleep(0.001)

    run(mode, main)


def aiodebug(mode):
    """Handle._run of asyncio is replaced while the loop runs."""
    import aiodebug.log_slow_callbacks

    reports = []

    async def main(loop):
        aiodebug.log_slow_callbacks.enable(0.0, lambda name, _: reports.append(name))
        done = loop.create_future()
        loop.call_soon(done.set_result, None)
        await done

    run(mode, main)
    assert any("set_result" in name for name in reports), reports


def ipython(mode):
    """Top-level await in a cell; the loop runs only while a cell does."""
    from IPython.core.interactiveshell import InteractiveShell

    # The shell asks the policy for a loop of its own: there is no attached form.
    assert mode == "nested"
    shell = InteractiveShell.instance()
    shell.push({"QtCore": QtCore})
    with qtinter.using_qt_from_asyncio():
        result = shell.run_cell(
            "import asyncio\n"
            "served = asyncio.get_running_loop().create_future()\n"
            "QtCore.QTimer.singleShot(0, lambda: served.set_result('by Qt'))\n"
            "await served"
        )
    assert result.result == "by Qt", result


if __name__ == "__main__":
    application = QtCore.QCoreApplication([])
    globals()[sys.argv[1]](sys.argv[2])
    print("done")
