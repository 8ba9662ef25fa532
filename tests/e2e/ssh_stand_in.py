"""In the place of ssh: FOLDER FAR HOST COMMAND.

Runs the command in a shell, with FAR as its runtime directory, and ends when it ends.
Keeps in FOLDER what went over the line, and which hosts were asked for.
"""

import os
import pathlib
import subprocess
import sys
import threading


def copy(source, target, log):
    with open(log, "ab", buffering=0) as kept:
        while True:
            data = os.read(source, 65536)
            if not data:
                break
            kept.write(data)
            try:
                os.write(target, data)
            except OSError:
                break  # the command has ended
    os.close(target)


def main():
    folder, far, host, command = sys.argv[1:]
    folder = pathlib.Path(folder)
    with open(folder / "hosts", "a") as hosts:
        print(host, file=hosts)
    process = subprocess.Popen(
        ["sh", "-c", command],
        cwd="/",
        env=dict(os.environ, QTINTER_RUNTIME_DIR=far),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    inputs = (0, os.dup(process.stdin.fileno()), folder / "sent")
    process.stdin.close()
    threading.Thread(target=copy, args=inputs, daemon=True).start()
    copy(process.stdout.fileno(), 1, folder / "received")
    os._exit(process.wait())  # not waiting for input that nobody takes


if __name__ == "__main__":
    main()
