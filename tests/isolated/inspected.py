"""A process that QTINTER_INSPECT may show: does what its argument says."""

import asyncio
import multiprocessing
import os
import signal
import subprocess
import sys
import threading

import qtinter
from qtinter import inspect


def run(coro):
    loop = qtinter.new_event_loop()
    loop.set_mode(qtinter.QiLoopMode.NATIVE)
    try:
        return loop.run_until_complete(coro)
    finally:
        loop.close()


async def work():
    task = asyncio.get_running_loop().create_task(asyncio.sleep(99))
    await asyncio.sleep(0)
    await asyncio.sleep(0.001)
    if sys.argv[1] == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    task.cancel()


def level():
    print(inspect.snapshot().info["level"] if inspect.is_enabled() else "off")


def fork():
    assert inspect.is_enabled()
    run(work())
    before = inspect.snapshot().info["records"]
    pid = os.fork()
    if pid == 0:
        # The parent's segment is not the child's; it may have its own.
        assert not inspect.is_enabled()
        run(work())
        inspect.enable(connect=False)
        run(work())
        assert inspect.snapshot().info["pid"] == os.getpid()
        assert inspect.snapshot().info["records"] > 0
        inspect.disable()
        os._exit(0)
    _, status = os.waitpid(pid, 0)
    assert status == 0, status
    assert inspect.snapshot().info["records"] == before
    run(work())
    assert inspect.snapshot().info["records"] > before
    print("done")


def child():
    command = [sys.executable, __file__, "level"]
    output = subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout
    assert output.split() == [b"2"], output
    assert os.path.exists(inspect.segment_path())
    print("done")


def in_a_child():
    assert inspect.is_enabled()
    run(work())


def multi():
    """Children of multiprocessing, however they are made, end in good order."""
    for method in ("fork", "forkserver", "spawn"):
        context = multiprocessing.get_context(method)
        target = run_work if method == "fork" else in_a_child
        child = context.Process(target=target)
        child.start()
        child.join()
        assert child.exitcode == 0, method
    print("done")


def preloaded():
    """The server of multiprocessing has imported all of it before it forks a child."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["qtinter.inspect", "__main__"])
    child = context.Process(target=in_a_child_of_a_server)
    child.start()
    child.join()
    assert child.exitcode == 0
    print("done")


def in_a_child_of_a_server():
    server = os.getppid()
    assert os.path.basename(inspect.segment_path()).startswith(f"{os.getpid()}-")
    folder = os.path.dirname(inspect.segment_path())
    assert not [name for name in os.listdir(folder) if name.startswith(f"{server}-")]
    in_a_child()


def run_work():
    assert not inspect.is_enabled()
    inspect.enable()
    run(work())


def leave():
    run(work())
    print("done")


def disabled():
    run(work())
    inspect.disable()
    run(work())
    print("done")


def thread():
    """Ends while another thread's loop runs."""
    started = threading.Event()

    async def forever():
        started.set()
        while True:
            await asyncio.sleep(0)

    threading.Thread(target=run, args=(forever(),), daemon=True).start()
    started.wait()
    print("done", flush=True)


def fail():
    run(work())
    print("done", flush=True)
    raise SystemExit(1)


actions = {
    "level": level, "fork": fork, "child": child, "exit": leave, "disabled": disabled,
    "thread": thread, "kill": leave, "raise": fail,
    "multiprocessing": multi, "preloaded": preloaded,
}  # fmt: skip
if __name__ == "__main__":  # and not in a child that imports this
    actions[sys.argv[1]]()
