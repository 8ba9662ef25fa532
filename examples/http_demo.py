"""The demo of the HTTP client window: ``python examples/http_window.py --demo``.

Starts ``http_server.py`` as a process, downloads from it over HTTP and HTTPS in the
window, checks every body against the digest that the server announced, and prints
what happened and how long the GUI thread was ever busy.
"""

import asyncio
import base64
import contextlib
import json
import os
import platform
import ssl
import sys
import time
from pathlib import Path

import aiohttp

import qtinter
from qtinter.bindings import QtCore, QtWidgets

SERVER = Path(__file__).with_name("http_server.py")
KIB = 1 << 10
MIB = 1 << 20
PATHS = [
    f"/bytes/{KIB}",
    f"/bytes/{64 * KIB}?chunked=1",
    f"/bytes/{MIB}",
    f"/bytes/{MIB}?seconds=3&chunked=1",
    f"/bytes/{2 * MIB}?seconds=2",
    f"/bytes/{4 * MIB}?seconds=3",
    f"/bytes/{12 * MIB}",
]
TIMEOUT = 60  # seconds for everything


class PauseMeter(QtCore.QTimer):
    """A 5 ms timer that keeps the longest time between two of its ticks."""

    def __init__(self):
        super().__init__()
        self.setTimerType(QtCore.Qt.TimerType.PreciseTimer)
        self.setInterval(5)
        self.timeout.connect(self.tick)
        self.ticks = 0
        self.longest = 0.0  # seconds
        self.last = None

    def tick(self):
        now = time.perf_counter()
        if self.last is not None:
            self.longest = max(self.longest, now - self.last)
        self.last = now
        self.ticks += 1


class Report:
    """Everything counted while the downloads run."""

    def __init__(self, window):
        self.window = window
        self.meter = PauseMeter()
        self.bar_steps = 0
        window.bar.valueChanged.connect(self.count_bar_step)

    def count_bar_step(self):
        self.bar_steps += 1

    def start(self, loop):
        self.loop = loop
        self.before = loop.statistics()
        self.started = time.perf_counter()
        self.meter.start()

    def stop(self):
        self.meter.tick()  # a pause may have begun after the last tick
        self.meter.stop()
        self.duration = time.perf_counter() - self.started
        after = self.loop.statistics()
        self.counts = {name: after[name] - self.before[name] for name in after}

    def succeeded(self):
        """Return whether every body is the announced one and the GUI kept moving."""
        return (
            all(map(is_verified, self.window.downloads))
            and self.bar_steps > 1
            and self.window.spinner.frames > 1
        )

    def lines(self):
        downloads = self.window.downloads
        verified = sum(map(is_verified, downloads))
        size = sum(download.size for download in downloads)
        tls = sum(download.url.startswith("https:") for download in downloads)
        binding = QtCore.__name__.partition(".")[0]
        yield "requests", f"{len(downloads) - tls} HTTP, {tls} HTTPS, all at once"
        yield "verified", f"{verified} of {len(downloads)} bodies, by SHA-256"
        yield "bytes", f"{size:,}"
        yield "duration", f"{self.duration:.2f} s"
        yield (
            "longest GUI pause",
            f"{self.meter.longest * 1e3:.1f} ms between two ticks of a 5 ms timer"
            f" ({self.meter.ticks:,} ticks)",
        )
        yield (
            "moved meanwhile",
            f"{self.window.spinner.frames} animation frames,"
            f" {self.bar_steps} steps of the progress bar",
        )
        yield "loop", ", ".join(f"{n:,} {name}" for name, n in self.counts.items())
        yield "host", f"{self.loop.host_name}, {self.loop.mode.name.lower()} mode"
        yield (
            "versions",
            f"qtinter {qtinter.__version__}, {binding}, Qt {QtCore.qVersion()},"
            f" Python {platform.python_version()}, aiohttp {aiohttp.__version__}",
        )
        yield "display", QtWidgets.QApplication.platformName()


def is_verified(download):
    """Return whether the body of *download* has the digest its server announced."""
    if not download.done:
        return False
    digest = base64.b64encode(download.sha256.digest()).decode()
    return download.headers["Repr-Digest"] == f"sha-256=:{digest}:"


@contextlib.asynccontextmanager
async def running_server():
    """Run ``http_server.py``; give its addresses and an SSL context that trusts it."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        SERVER,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        server = json.loads(await process.stdout.readline())
        yield server, ssl.create_default_context(cadata=server["ca"])
    finally:
        process.stdin.close()  # tells the server to end
        await process.wait()


async def run_demo(make_window):
    """Download everything in a window; return the exit status of the program."""
    async with running_server() as (server, ssl_context):
        urls = [server[scheme] + path for path in PATHS for scheme in ("http", "https")]
        window = make_window(urls, ssl_context)
        window.show()
        report = Report(window)
        report.start(asyncio.get_running_loop())
        await window.download_all()
        report.stop()
    print("qtinter demo: concurrent downloads in a Qt window")
    for name, value in report.lines():
        print(f"  {name:<18} {value}")
    return 0 if report.succeeded() else 1


def choose_platform():
    """Let Qt fall back to no display at all where there is none."""
    if sys.platform != "linux":
        return
    candidates = [
        plugin
        for plugin, variable in (("wayland", "WAYLAND_DISPLAY"), ("xcb", "DISPLAY"))
        if os.environ.get(variable)
    ]
    os.environ.setdefault("QT_QPA_PLATFORM", ";".join([*candidates, "offscreen"]))


def main(make_window):
    """Run the demo with the window that *make_window(urls, ssl_context)* returns."""
    choose_platform()
    app = QtWidgets.QApplication([])
    app.setQuitOnLastWindowClosed(False)
    with qtinter.using_asyncio_from_qt():
        demo = asyncio.create_task(asyncio.wait_for(run_demo(make_window), TIMEOUT))
        demo.add_done_callback(lambda _: app.quit())
        app.exec()
    return demo.result()
