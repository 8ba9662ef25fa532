"""A server that has run out of descriptors before its loop had any timer.

usage: no_descriptors_left.py attached|nested

asyncio reports that it cannot accept, and tries again later, by a timer.
"""

import asyncio
import importlib
import os
import resource
import socket
import sys

import qtinter

SAFETY_NET = 30
limits = resource.getrlimit(resource.RLIMIT_NOFILE)


async def main(listening):
    # No time-out here: it would be a timer.
    loop = asyncio.get_running_loop()
    reports = asyncio.Queue()
    loop.set_exception_handler(lambda loop, context: reports.put_nowait(context))
    server = await asyncio.start_server(
        lambda reader, writer: writer.close(), sock=listening, backlog=1
    )
    client = socket.create_connection(listening.getsockname())
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, limits[1]))
    for _ in range(2):  # the second comes by the timer
        print((await reports.get())["message"])
    resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    client.setblocking(False)
    data = await asyncio.wait_for(loop.sock_recv(client, 1), SAFETY_NET)
    client.close()
    server.close()
    print("served", data)


listening = socket.socket()
listening.bind(("127.0.0.1", 0))
listening.listen()
QtCore = importlib.import_module(os.environ["QTINTERBINDING"] + ".QtCore")
app = QtCore.QCoreApplication([])
if sys.argv[1] == "nested":
    qtinter.run(main(listening))
else:
    with qtinter.using_asyncio_from_qt() as loop:
        task = loop.create_task(main(listening))
        task.add_done_callback(lambda _: app.quit())
        getattr(app, "exec", getattr(app, "exec_", None))()
    task.result()
