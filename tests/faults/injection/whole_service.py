"""The whole service, with the servers around it under the control of the test.

PostgreSQL, Valkey and the SMTP server are started here, and `fotograma up` gets their addresses from its environment.
So a test can stop each of them for as long as it needs. `fotograma up` itself starts Ray, the API, the workers and
maintenance. Each account of the tests has a webhook at the receiver that is started here.
"""

from __future__ import annotations

import functools
import os
import signal
import time
from collections.abc import Awaitable, Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import psutil
import psycopg

from cluster.local import ray_environment
from cluster.local.data_dir import SHARED_DIR, DataDir, ray_folder
from cluster.local.process_record import read_record
from cluster.local.secret_files import open_secrets
from cluster.local.servers.embedded_postgres import Postgres
from cluster.local.servers.embedded_valkey import Valkey
from cluster.local.servers.os_user import server_user
from cluster.local.servers.postgres_programs import programs_for
from tests.faults.injection.smtp_server import UnreliableInbox
from tests.faults.injection.webhook_receiver import UnreliableHook
from tests.faults.row_outcome import Outcome, Row
from tests.support.servers.running_service import Service

LEASE_SECONDS = 3.0
HEARTBEAT_SECONDS = 0.75
WAIT_SECONDS = 120.0
POLL_SECONDS = 0.05


class System:
    """folder: an empty one with a short path, which every OS user may enter. inbox: the mail server of the service.
    hook: the receiver of its webhooks. used_keys: idempotency keys that its clients have used.
    """

    def __init__(self, folder: Path) -> None:
        account = server_user()
        self.postgres = Postgres(
            folder / "pg",
            folder / "s",
            folder / "postgres.log",
            password="faults",
            os_user=account,
            programs=programs_for(account, SHARED_DIR),
        )
        self.valkey = Valkey(folder / "valkey", folder / "valkey.sock", folder / "valkey.log", password="faults")
        self.folder, self.inbox, self.hook = folder, UnreliableInbox(), UnreliableHook()
        self.used_keys: set[str] = set()
        settings = {
            "FOTOGRAMA_DATABASE_URL": self.postgres.url(),
            "FOTOGRAMA_REDIS_URL": self.valkey.url,
            "FOTOGRAMA_SMTP_URL": self.inbox.url,
            "FOTOGRAMA_MAIL_FROM": "Fotograma <fotograma@example.org>",
            "FOTOGRAMA_WEBHOOK_REACH": "loopback",
            "FOTOGRAMA_LEASE_SECONDS": str(LEASE_SECONDS),
            "FOTOGRAMA_HEARTBEAT_SECONDS": str(HEARTBEAT_SECONDS),
        }
        self.service = Service(folder / "data", arguments=["--no-dashboard"], environment=settings)

    def __enter__(self) -> System:
        with ExitStack() as stack:
            self.postgres.start()
            stack.callback(self.postgres.stop)
            self.valkey.start()
            stack.callback(self.valkey.stop)
            stack.enter_context(self.inbox)
            stack.enter_context(self.hook)
            stack.callback(self._end_service)
            self.service.start()
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *error: object) -> None:
        self._stack.close()

    def fetch_rows(self, statement: str, *values: object) -> list[tuple[Any, ...]]:
        """Runs a statement on a connection of its own. Raises psycopg.OperationalError while the database is away."""
        with psycopg.connect(self.postgres.url(), connect_timeout=2, autocommit=True) as connection:
            return connection.execute(statement.encode(), values).fetchall()

    def fetch_count(self, statement: str, *values: object) -> int:
        return int(self.fetch_rows(statement, *values)[0][0])

    def kill_postgres(self) -> None:
        """Sends SIGKILL to the server and its backends, so that no client is informed."""
        assert self.postgres.pid is not None
        postmaster = psutil.Process(self.postgres.pid)
        processes = [postmaster, *postmaster.children(recursive=True)]
        for process in processes:
            kill(process.pid)
        psutil.wait_procs(processes, 30)

    def kill_valkey(self) -> None:
        assert self.valkey.pid is not None
        kill(self.valkey.pid)
        wait_until(lambda: not self.valkey.is_running())

    def restart_stopped_servers(self) -> None:
        """Starts each server that a failed row has left stopped, so that the next row starts in a working system."""
        if not self.postgres.is_running():
            self.postgres.start()
        if not self.valkey.is_running():
            self.valkey.start()
        if self.service.process.poll() is not None:
            self.service.start()

    def wait_for_all_replicas(self) -> None:
        """Waits until every replica runs. Earlier rows may have killed some."""
        replica_counts = {"api": 1, "pool": self.service.workers, "maintenance": 1}
        wait_until(
            lambda: all(len(self.service.replica_pids(name)) >= count for name, count in replica_counts.items()),
            what="every replica",
        )

    def gcs_address(self) -> str:
        """The address of Ray's GCS, at which a driver connects to the cluster."""
        # A process that the raylet has just forked may have its name and its arguments.
        raylet = self.service.pids_named("raylet")[0]
        arguments: list[str] = psutil.Process(raylet).cmdline()
        return next(argument.partition("=")[2] for argument in arguments if argument.startswith("--gcs-address="))

    def deploying_environment(self) -> dict[str, str]:
        """The environment of a program that deploys to the cluster, as Ray's head has it.

        That of the head itself only root can read.
        """
        data_dir, given = DataDir(self.service.data_dir), {**os.environ, **self.service.environment}
        changes = ray_environment.changes(
            given,
            data_dir,
            open_secrets(data_dir.secrets, data_dir.ray_token),
            addresses={"FOTOGRAMA_OBJECTS_URL": data_dir.objects.as_uri()},
            url=self.service.url,
            workers=self.service.workers,
            run_folder=self._run_folder(),
        )
        return {name: value for name, value in {**given, **changes}.items() if value is not None}

    def worker_log(self, pid: int) -> str:
        """What a process of Ray has written to its standard output."""
        (log,) = ray_folder(self._run_folder()).glob(f"session_latest/logs/worker-*-{pid}.out")
        return log.read_text(errors="replace")

    def _run_folder(self) -> Path:
        folder = read_record(DataDir(self.service.data_dir).record).folder
        assert folder is not None, "no run is recorded"
        return folder

    def _end_service(self) -> None:
        if self.service.process.poll() is None:
            self.service.terminate()


SystemRow = Callable[[System, bool], Awaitable[Outcome]]
"""A row on a running system, which other rows use before and after it. Its second argument is `full`."""


def with_own_system(system_row: SystemRow) -> Row:
    """Returns the row that starts a system for itself."""

    @functools.wraps(system_row)
    async def row(full: bool, folder: Path) -> Outcome:
        with System(folder) as system:
            return await system_row(system, full)

    return row


def kill(pid: int) -> bool:
    """Sends SIGKILL; returns whether the process existed."""
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return False
    return True


def wait_until(condition: Callable[[], bool], seconds: float = WAIT_SECONDS, what: str = "it") -> None:
    """Polls a condition until it is true. Raises AssertionError when that takes too long."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"{what} did not happen in {seconds:.0f} s"
        time.sleep(POLL_SECONDS)
