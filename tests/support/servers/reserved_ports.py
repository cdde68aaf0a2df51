"""Ports for servers that are started with a number."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager


@contextmanager
def reserved_ports(count: int) -> Iterator[list[int]]:
    """Free ports of the loopback address, which nobody gets by chance as long as the block runs.

    A socket has each port and does not listen. The kernel lets a server beside it, when both have SO_REUSEADDR as most
    servers do, but gives the port to nobody who asks for any. Without a server, connections are refused.
    """
    with ExitStack() as stack:
        ports = []
        for _ in range(count):
            reserving = stack.enter_context(socket.socket())
            reserving.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            reserving.bind(("127.0.0.1", 0))
            ports.append(int(reserving.getsockname()[1]))
        yield ports
