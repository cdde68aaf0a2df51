"""The whole service with everything around it that a fault can hit, each in the test's own hands.

PostgreSQL, Valkey and the SMTP server are started here and named to `fotograma up` by its environment, so that they can
be away for as long as a test likes; `fotograma up` itself starts Ray, the API, the workers and maintenance. Each
account of the tests has a webhook at the receiver here.
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

from cluster.local.data_dir import SHARED_DIR
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
LOOK_SECONDS = 0.05


class System:
    """folder: an empty one with a short path that every account may enter. inbox: the mail server of the service.
    hook: the receiver of its webhooks. known: keys that its clients have used.
    """

    def __init__(self, folder: Path) -> None:
        account = server_user()
        self.postgres = Postgres(
            folder / "pg",
            folder / "s",
            folder / "postgres.log",
            password="faults",
            account=account,
            programs=programs_for(account, SHARED_DIR),
        )
        self.valkey = Valkey(folder / "valkey", folder / "valkey.sock", folder / "valkey.log", password="faults")
        self.folder, self.inbox, self.hook = folder, UnreliableInbox(), UnreliableHook()
        self.known: set[str] = set()
        settings = {
            "FOTOGRAMA_DATABASE_URL": self.postgres.url(),
            "FOTOGRAMA_REDIS_URL": self.valkey.url,
            "FOTOGRAMA_SMTP_URL": self.inbox.url,
            "FOTOGRAMA_MAIL_FROM": "Fotograma <fotograma@example.org>",
            "FOTOGRAMA_WEBHOOK_REACH": "loopback",
            "FOTOGRAMA_LEASE_SECONDS": str(LEASE_SECONDS),
            "FOTOGRAMA_HEARTBEAT_SECONDS": str(HEARTBEAT_SECONDS),
        }
        self.service = Service(folder / "data", environment=settings)

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
        """What the database answers, on a connection of the test's own. Raises psycopg.OperationalError while away."""
        with psycopg.connect(self.postgres.url(), connect_timeout=2, autocommit=True) as connection:
            return connection.execute(statement.encode(), values).fetchall()

    def fetch_count(self, statement: str, *values: object) -> int:
        return int(self.fetch_rows(statement, *values)[0][0])

    def kill_postgres(self) -> None:
        """SIGKILL to the server and its backends, without a word of goodbye."""
        assert self.postgres.pid is not None
        postmaster = psutil.Process(self.postgres.pid)
        everyone = [postmaster, *postmaster.children(recursive=True)]
        for process in everyone:
            kill(process.pid)
        psutil.wait_procs(everyone, 30)

    def kill_valkey(self) -> None:
        assert self.valkey.pid is not None
        kill(self.valkey.pid)
        until(lambda: not self.valkey.is_running())

    def mend(self) -> None:
        """Starts what a row that failed has left broken, so that the next one can be judged by itself."""
        if not self.postgres.is_running():
            self.postgres.start()
        if not self.valkey.is_running():
            self.valkey.start()
        if self.service.process.poll() is not None:
            self.service.start()

    def wait_until_complete(self) -> None:
        """Waits until every replica runs, after rows that killed some."""
        wanted = {"api": 1, "pool": self.service.workers, "maintenance": 1}
        until(
            lambda: all(len(self.service.replica_pids(name)) >= count for name, count in wanted.items()),
            what="every replica",
        )

    def gcs_address(self) -> str:
        """Where a driver finds the cluster."""
        for process in psutil.Process(self.service.process.pid).children(recursive=True):
            if process.name() == "raylet":
                words: list[str] = process.cmdline()
                return next(word.partition("=")[2] for word in words if word.startswith("--gcs-address="))
        raise AssertionError("no raylet runs")

    def head_environment(self) -> dict[str, str]:
        """The environment that every replica inherits."""
        for process in psutil.Process(self.service.process.pid).children():
            if "cluster.local.ray_head" in process.cmdline():
                return dict(process.environ())
        raise AssertionError("no head runs")

    def _end_service(self) -> None:
        if self.service.process.poll() is None:
            self.service.terminate()


Act = Callable[[System, bool], Awaitable[Outcome]]
"""What a row does on a system that runs, and may be used by other rows before and after."""


def on_a_system(act: Act) -> Row:
    """The row, on a system of its own."""

    @functools.wraps(act)
    async def row(full: bool, folder: Path) -> Outcome:
        with System(folder) as system:
            return await act(system, full)

    return row


def kill(pid: int) -> bool:
    """SIGKILL; whether there was such a process."""
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return False
    return True


def until(condition: Callable[[], bool], seconds: float = WAIT_SECONDS, what: str = "it") -> None:
    """Waits for a condition. Raises AssertionError."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"{what} did not happen in {seconds:.0f} s"
        time.sleep(LOOK_SECONDS)
