"""An embedded PostgreSQL server from its wheel, reached by a unix socket and a password only."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from urllib.parse import quote

from cluster.local import process_record
from cluster.local.servers.os_user import OsUser
from cluster.local.servers.postgres_programs import MAJOR_VERSION, wheel_programs
from cluster.local.servers.server_process import ServerDidNotStart, ServerProcess, StillStarting, did_not_start, size_of
from cluster.local.startup_error import ExitCode, StartupError, first_line

USER = "postgres"
DATABASE = "fotograma"
START_SECONDS = 120.0
# After a crash the server replays its log, for any length of time, before it accepts connections.
RECOVERING = ("the database system is starting up", "the database system is not yet accepting connections")
# The processes of a killed server need a moment to end.
MAX_LAUNCHES, PAUSE_SECONDS = 10, 0.5
STOP = [(signal.SIGINT, 30.0), (signal.SIGQUIT, 10.0), (signal.SIGKILL, 5.0)]
SETTINGS: Mapping[str, str] = {
    "listen_addresses": "",
    "max_connections": "200",
    "unix_socket_permissions": "0700",
    "log_min_messages": "warning",
}


class Postgres:
    """One server.

    folder: `os_user` may enter it; the data are in `folder/data`. sockets: a folder with a short path (the path of a
    socket has at most 107 bytes). password: of the user `postgres`. settings: of postgresql.conf; they override
    SETTINGS.
    """

    name = "PostgreSQL"
    after: Sequence[str] = ()

    def __init__(
        self,
        folder: Path,
        sockets: Path,
        log: Path,
        *,
        password: str,
        os_user: OsUser,
        programs: Path | None = None,
        settings: Mapping[str, str] | None = None,
    ) -> None:
        self.data = folder / "data"
        self._folder, self._sockets, self._password, self._os_user = folder, sockets, password, os_user
        self._settings = {**SETTINGS, **(settings or {}), "unix_socket_directories": _quoted(sockets)}
        self._programs = programs or wheel_programs()
        self._environment = {"PATH": os.defpath, "LC_ALL": "C", "TZ": "UTC"}
        self._process = ServerProcess(self.name, log, environment=self._environment, os_user=os_user)

    @property
    def pid(self) -> int | None:
        return self._process.pid

    @property
    def ending(self) -> str:
        return self._process.ending

    def is_running(self) -> bool:
        return self._process.is_running()

    def url(self, database: str = DATABASE) -> str:
        """The address for clients, with the password."""
        return url_of(self._sockets, self._password, database)

    def start(self) -> None:
        """Returns when the database can be used. Initializes the data at the first start.

        The caller holds the lock of the data directory, so no other server works on these data. After an error it may
        be called again. Raises ServerDidNotStart; StartupError when it can't be run.
        """
        for folder in (self._folder, self._sockets):
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._os_user.own(folder)
        if self.data.exists():
            self._check_version()
        else:
            self._initialize_data()
        if not self.is_running():
            self._launch_after_killed_server()
        self._create_database()

    def stop(self) -> None:
        """Ends the server after its running commits."""
        self._process.stop(STOP)

    def _check_version(self) -> None:
        try:
            version = (self.data / "PG_VERSION").read_text().strip()
        except OSError:
            return
        if version != MAJOR_VERSION:
            raise StartupError(
                ExitCode.FAILED,
                f"The database in {self.data} was made by PostgreSQL {version}; this Fotograma brings {MAJOR_VERSION}. "
                "Use the Fotograma that made it, or choose another folder with --home DIR.",
            )

    def _launch_after_killed_server(self) -> None:
        """Launches the server, again while processes of a killed server are about to end."""
        for _ in range(MAX_LAUNCHES - 1):
            try:
                return self._launch()
            except ServerDidNotStart as error:
                if "shared memory block" not in str(error):
                    raise
                time.sleep(PAUSE_SECONDS)
        return self._launch()

    def _launch(self) -> None:
        replace_stale_pid(self.data / "postmaster.pid", os.getpid())
        options = [f"--{name}={value}" for name, value in self._settings.items()]
        self._process.start([str(self._programs / "postgres"), "-D", str(self.data), *options], folder=self._folder)
        self._process.wait_until(self._is_answering, START_SECONDS)

    def _initialize_data(self) -> None:
        self._os_user.check_name()
        # In another folder, renamed at the end: after a kill no incomplete data are left in place.
        new_data, password_file = self._folder / "new", self._folder / "password"
        shutil.rmtree(new_data, ignore_errors=True)
        password_file.unlink(missing_ok=True)
        password_file.touch(mode=0o600)
        password_file.write_text(self._password)
        self._os_user.own(password_file)
        command = [
            str(self._programs / "initdb"),
            *("-D", str(new_data), "-U", USER, f"--pwfile={password_file}", "--auth=scram-sha-256", "--encoding=UTF8"),
            *("--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--no-instructions"),
        ]
        if self._settings.get("fsync") == "off":
            command.append("--no-sync")
        log = self._process.log
        since = size_of(log)
        try:
            with log.open("ab") as output:
                subprocess.run(  # noqa: S603
                    command,
                    check=True,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    cwd=self._folder,
                    env=self._environment,
                    **self._os_user.popen_options(),
                )
        except subprocess.CalledProcessError as error:
            raise did_not_start(self.name, "initdb failed", log, since=since, exit_code=error.returncode) from error
        finally:
            password_file.unlink()
        new_data.rename(self.data)

    def _is_answering(self) -> bool:
        import psycopg  # noqa: PLC0415 - once the server starts: Ray's process is not held up

        try:
            psycopg.connect(self.url("postgres"), connect_timeout=2).close()
        except psycopg.OperationalError as error:
            if any(words in str(error) for words in RECOVERING):
                raise StillStarting from error
            return False
        return True

    def _create_database(self) -> None:
        import psycopg  # noqa: PLC0415
        from psycopg import sql  # noqa: PLC0415

        try:
            with psycopg.connect(self.url("postgres"), autocommit=True) as connection:
                row = connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [DATABASE]).fetchone()
                if row is None:
                    connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(DATABASE)))
        except psycopg.OperationalError as error:
            raise ServerDidNotStart(self.name, first_line(error), self._process.log) from error


def url_of(sockets: Path, password: str, database: str = DATABASE) -> str:
    """The address of a server that listens in `sockets`, with the password."""
    return f"postgresql://{USER}:{quote(password)}@/{database}?host={quote(str(sockets), safe='')}"


def replace_stale_pid(file: Path, parent: int) -> None:
    """Writes the pid `parent` into a killed server's `postmaster.pid` when another process has the old pid.

    Otherwise PostgreSQL would mistake that process for a running server, and refuse to start. PostgreSQL treats the pid
    of its own parent as stale, and still checks that no process of the old server is left. The file of a running server
    stays as it is.
    """
    try:
        pid, data, start_time, *rest = file.read_text().split("\n")
        running = process_record.start_time_of(int(pid))
    except (FileNotFoundError, ValueError):
        return
    if running is None or abs(running - int(start_time)) > process_record.SAME_START_SECONDS:
        file.write_text("\n".join([str(parent), data, start_time, *rest]))


def _quoted(sockets: Path) -> str:
    """Quotes the path as an entry of a list in postgresql.conf."""
    return '"' + str(sockets).replace('"', '""') + '"'
