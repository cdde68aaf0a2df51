"""The TCP sockets on which a process and its descendants listen."""

from __future__ import annotations

import ipaddress
from contextlib import suppress
from dataclasses import dataclass

import psutil


@dataclass(frozen=True, slots=True)
class ListeningSocket:
    """process: its name."""

    process: str
    host: str
    port: int

    @property
    def is_loopback(self) -> bool:
        address = ipaddress.ip_address(self.host)
        mapped = address.ipv4_mapped if address.version == 6 else None
        return (mapped or address).is_loopback


def listening_sockets(pid: int) -> set[ListeningSocket]:
    """The listening TCP sockets of this process and its descendants."""
    sockets = set()
    root = psutil.Process(pid)
    for process in (root, *root.children(recursive=True)):
        with suppress(psutil.NoSuchProcess):
            for connection in process.net_connections(kind="tcp"):
                if connection.status == psutil.CONN_LISTEN:
                    sockets.add(ListeningSocket(process.name(), connection.laddr.ip, connection.laddr.port))
    return sockets
