"""Ports for servers that tests start."""

from __future__ import annotations

import socket


def reserved_port() -> int:
    """A port for a server that starts later, and maybe again: no other program gets it by chance, because this process
    keeps a socket on it until it ends. The server must set SO_REUSEADDR, as servers do. Without one, connections are
    refused.
    """
    reserved = socket.socket()
    reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    reserved.bind(("127.0.0.1", 0))
    port: int = reserved.getsockname()[1]
    reserved.detach()
    return port
