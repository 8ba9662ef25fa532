"""IPython and Jupyter: interactive use, and loops inside of loops."""

import asyncio
import json
import sys

import pytest

import qtinter


def test_cells_of_a_shell_await_inside_of_qt(run_program):
    assert run_program("ipython_cells.py").splitlines()[-1] == (
        "result: 42 QiSelectorEventLoop"
    )


def test_gui_qt_runs_asyncio_while_the_prompt_waits(run_program, binding):
    gui = {"5": "qt5", "6": "qt6"}[binding[-1]] if binding[-1] in "56" else "qt5"
    output = run_program("ipython_gui.py", gui, env={"QT_API": binding.lower()})
    assert output.splitlines()[-1] == "result: [(0, True), (1, True), (2, True)]"


# --- a front end on our loop, a kernel on our loop -----------------------------------


@pytest.fixture
def start_kernel(tmp_path, monkeypatch, inner):
    """start_kernel(): (manager, client) of a kernel that runs on our loop."""
    from jupyter_client.manager import AsyncKernelManager

    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("JUPYTER_PLATFORM_DIRS", "1")
    monkeypatch.setenv("JUPYTER_RUNTIME_DIR", str(tmp_path))
    folder = tmp_path / "kernels" / "qtinter"
    folder.mkdir(parents=True)
    command = [sys.executable, str(inner / "jupyter_kernel.py")]
    (folder / "kernel.json").write_text(
        json.dumps(
            {
                "argv": [*command, "-f", "{connection_file}"],
                "display_name": "qtinter",
                "language": "python",
            }
        )
    )

    async def start():
        manager = AsyncKernelManager(kernel_name="qtinter")
        manager.kernel_spec_manager.kernel_dirs = [str(tmp_path / "kernels")]
        await manager.start_kernel()
        client = manager.client()
        client.start_channels()
        await client.wait_for_ready(timeout=60)
        return manager, client

    return start


async def value_of(client, code):
    """What the kernel gives as the result of a cell."""
    results = []

    def output(message):
        if message["msg_type"] == "error":
            raise AssertionError("\n".join(message["content"]["traceback"]))
        if message["msg_type"] == "execute_result":
            results.append(message["content"]["data"]["text/plain"])

    reply = await client.execute_interactive(code, output_hook=output, timeout=60)
    assert reply["content"]["status"] == "ok"
    return results[0] if results else None


def test_a_kernel_and_its_front_end(run, start_kernel):
    async def main():
        manager, client = await start_kernel()
        try:
            await value_of(client, "import asyncio, qtinter")
            await value_of(client, "from qtinter.bindings import QtCore")
            loop = await value_of(client, "type(asyncio.get_running_loop()).__name__")
            await value_of(client, "timer = QtCore.QTimer(); timer.start(1)")
            wait = "await qtinter.asyncsignal(timer.timeout); timer.stop(); 'fired'"
            fired = await value_of(client, wait)
            background = "task = asyncio.create_task(asyncio.sleep(0.001, 'slept'))"
            await value_of(client, background)
            slept = await value_of(client, "await task")
            return loop, fired, slept
        finally:
            client.stop_channels()
            await manager.shutdown_kernel(now=True)
            manager.context.destroy()

    loop, fired, slept = run(main())
    assert (loop, fired, slept) == ("'QiSelectorEventLoop'", "'fired'", "'slept'")


# --- nesting -------------------------------------------------------------------------


def test_nest_asyncio_runs_a_loop_inside_of_itself(run_program):
    output = run_program("nest_asyncio_program.py")
    assert output.splitlines()[-1] == "result: 3 levels"


def test_a_second_loop_inside_of_a_running_one_is_refused(run):
    """What code made for scripts does when it is pasted into a cell."""

    async def main():
        coro = asyncio.sleep(0)
        with pytest.raises(RuntimeError, match="running event loop"):
            qtinter.run(coro)
        coro.close()

    run(main())
