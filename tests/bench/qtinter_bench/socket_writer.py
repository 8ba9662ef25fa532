"""The other process of the ``socket_wakeup`` workload.

Usage: socket_writer.py DESCRIPTOR COUNT SHORTEST_PAUSE LONGEST_PAUSE (seconds)

For each byte received it pauses and then sends the reading of its monotonic clock,
which all processes of one machine share.
"""

import random
import socket
import struct
import sys
import time


def main() -> None:
    descriptor, count = int(sys.argv[1]), int(sys.argv[2])
    shortest, longest = float(sys.argv[3]), float(sys.argv[4])
    uniform = random.Random(4).uniform
    pack = struct.Struct("=q").pack
    with socket.socket(fileno=descriptor) as connection:
        for _ in range(count):
            if not connection.recv(1):
                return  # the reader gave up
            time.sleep(uniform(shortest, longest))
            connection.send(pack(time.perf_counter_ns()))


if __name__ == "__main__":
    main()
