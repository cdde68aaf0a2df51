"""The TCP sockets on which a process and its descendants listen."""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

UNKNOWN = "unknown"
TCP_LISTEN = "0A"


@dataclass(frozen=True, slots=True)
class ListeningSocket:
    """process: its name, or UNKNOWN."""

    process: str
    host: str
    port: int

    @property
    def is_loopback(self) -> bool:
        address = ipaddress.ip_address(self.host)
        mapped = address.ipv4_mapped if address.version == 6 else None
        return (mapped or address).is_loopback


def listening_sockets(pid: int) -> set[ListeningSocket]:
    """The listening TCP sockets of this process and its descendants.

    An ordinary user can't learn which sockets a process has that hides its memory. When there is such a process, all
    sockets of the user that belong to no readable process are among the result, with UNKNOWN as their process.
    """
    sockets, are_all_readable = set(), True
    root = psutil.Process(pid)
    for process in (root, *root.children(recursive=True)):
        try:
            connections, name = process.net_connections(kind="tcp"), process.name()
        except psutil.NoSuchProcess:
            continue
        except psutil.AccessDenied:
            are_all_readable = False
            continue
        sockets |= {_socket(name, connection) for connection in connections if _listens(connection)}
    return sockets if are_all_readable else sockets | sockets_of_hidden_processes()


def sockets_of_hidden_processes() -> set[ListeningSocket]:
    """The user's listening TCP sockets that belong to no process that the user can read."""
    own_ports = set(_listening_ports_of(os.geteuid()))
    return {
        _socket(UNKNOWN, connection)
        for connection in psutil.net_connections(kind="tcp")
        if _listens(connection) and connection.pid is None and connection.laddr.port in own_ports
    }


def _listening_ports_of(uid: int) -> Iterator[int]:
    """The ports on which processes of a user listen. Source: proc_pid_net(5)."""
    for table in (Path("/proc/net/tcp"), Path("/proc/net/tcp6")):
        for line in table.read_text().splitlines()[1:]:
            _, address, _, state, _, _, _, owner, *_ = line.split()
            if state == TCP_LISTEN and int(owner) == uid:
                yield int(address.rpartition(":")[2], 16)


def _listens(connection: Any) -> bool:
    return bool(connection.status == psutil.CONN_LISTEN)


def _socket(process: str, connection: Any) -> ListeningSocket:
    return ListeningSocket(process, connection.laddr.ip, connection.laddr.port)
