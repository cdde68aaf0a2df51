"""The cores of this machine, and which of its ports are free."""

from __future__ import annotations

import errno
import math
import os
import socket
from pathlib import Path

from cluster.local.startup_error import ExitCode, StartupError

LOCALHOST = "127.0.0.1"
CGROUP_CPU = Path("/sys/fs/cgroup/cpu.max")


def cores() -> int:
    """Processors that this process may use, within the limit of its container."""
    available = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        limit = cpu_limit(CGROUP_CPU.read_text())
    except OSError:
        limit = None
    return available if limit is None else max(1, min(available, limit))


def cpu_limit(cpu_max: str) -> int | None:
    """Whole processors of a cgroup's `cpu.max` ("QUOTA PERIOD" in microseconds); None for no limit."""
    quota, _, period = cpu_max.strip().partition(" ")
    if quota == "max" or not period:
        return None
    return max(1, math.ceil(int(quota) / int(period)))


def is_free(port: int) -> bool:
    """Whether this process could listen on the port of the loopback address now."""
    with socket.socket() as probe:
        # As servers do: a connection that was just closed does not make the port taken.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOCALHOST, port))
            probe.listen(1)
        except OSError as error:
            if error.errno in (errno.EADDRINUSE, errno.EACCES):
                return False
            raise
    return True


def check_port(port: int) -> None:
    """Raises StartupError when another program listens on the port."""
    if not is_free(port):
        raise StartupError(
            ExitCode.PORT_TAKEN,
            f"Port {port} of {LOCALHOST} is taken by another program, or not allowed to you. Choose another one with "
            f"--port, for example --port {port + 1 if port < 65535 else 8000}.",
        )


def first_free(port: int, *, but: int) -> int:
    """The first free port from `port` on, other than `but`."""
    for candidate in range(port, min(port + 200, 65536)):
        if candidate != but and is_free(candidate):
            return candidate
    with socket.socket() as probe:
        probe.bind((LOCALHOST, 0))
        number: int = probe.getsockname()[1]
        return number
