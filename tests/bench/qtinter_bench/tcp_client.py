"""The other process of the TCP workloads.

Usage: tcp_client.py PORT CONNECTIONS BYTES

Opens the connections and then, for each line read from standard input, a number of
requests, sends as many, one at a time on each connection: BYTES bytes, of which the
same number comes back. It answers each line with one of its own, and closes the
connections when its input ends.
"""

import select
import socket
import sys


class Connection:
    """A request on its way: what is still to be received."""

    def __init__(self, port: int, payload: bytes) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.payload = payload
        self.buffer = bytearray(1 << 18)
        self.missing = 0

    def begin(self) -> None:
        self.missing = len(self.payload)
        self.socket.sendall(self.payload)  # the server reads, whatever it has to send

    def receive(self) -> bool:
        """Whether the answer is complete; to be called when there is some of it."""
        received = self.socket.recv_into(self.buffer)
        if not received:
            raise ConnectionError("the server went away")
        self.missing -= received
        return self.missing == 0


def exchange(connections: "list[Connection]", requests: int) -> None:
    poller = select.epoll()
    by_descriptor = {}
    for connection in connections:
        by_descriptor[connection.socket.fileno()] = connection
        poller.register(connection.socket, select.EPOLLIN)
    begun = finished = 0
    for connection in connections[:requests]:
        connection.begin()
        begun += 1
    while finished < requests:
        for descriptor, _ in poller.poll():
            connection = by_descriptor[descriptor]
            if connection.receive():
                finished += 1
                if begun < requests:
                    connection.begin()
                    begun += 1
    poller.close()


def main() -> None:
    port, count, size = map(int, sys.argv[1:])
    connections = [Connection(port, bytes(size)) for _ in range(count)]
    for line in sys.stdin:
        exchange(connections, int(line))
        print("done", flush=True)


if __name__ == "__main__":
    main()
