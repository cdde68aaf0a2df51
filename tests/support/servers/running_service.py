"""The running service as users see it: `fotograma up` on a data directory of its own, with actions on it."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from email import message_from_bytes, policy
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import psutil
import psycopg

from actors.sandbox.run_child_job import PROCESS_NAME
from cluster.local.servers.embedded_postgres import url_of
from fotograma import Client
from tests.support.servers.reserved_ports import reserved_port
from tests.support.servers.smtp_server import SmtpServer

FOTOGRAMA = str(Path(sys.executable).with_name("fotograma"))
PASSWORD = "correct horse battery"
READY = "Ctrl-C ends it"
START_SECONDS = 180.0
STOP_SECONDS = 90.0


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return int(free.getsockname()[1])


@dataclass
class Service:
    """data_dir: an empty folder at first. arguments: further ones of `fotograma up`.

    environment: added to that of this process. program: the start of a command line of `fotograma`. popen_options: for
    its process. lines: its output since its last start.
    """

    data_dir: Path
    workers: int = 2
    arguments: Sequence[str] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    program: Sequence[str] = (FOTOGRAMA,)
    popen_options: Mapping[str, Any] = field(default_factory=dict)
    port: int = field(default_factory=reserved_port)
    lines: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.process: subprocess.Popen[str]
        self._changed = threading.Condition()
        self._output_ended = threading.Event()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def output(self) -> str:
        return "\n".join(self.lines)

    def start(self, workers: int | None = None) -> None:
        """Starts it, and returns when it reports that it is ready."""
        self.launch(workers)
        self.wait_for(READY, START_SECONDS)

    @contextmanager
    def running(self) -> Iterator[None]:
        """Starts it, ends it as an operator does, and removes its database.

        As root, the database lies outside of the data directory, where PostgreSQL's user can reach it.
        """
        try:
            self.start()
            yield
            assert self.terminate() == 0, self.output
        finally:
            if self.process.poll() is None:
                self.kill_everything()
            shutil.rmtree((self.data_dir / "postgres").resolve(), ignore_errors=True)

    def launch(self, workers: int | None = None) -> None:
        """Starts it, and returns at once."""
        self.workers = workers or self.workers
        # The output of an earlier start may end after this one: each start has an event of its own.
        self.lines, self._output_ended = [], threading.Event()
        options = ["--port", str(self.port), "--home", str(self.data_dir), "--workers", str(self.workers)]
        self.process = subprocess.Popen(
            [*self.program, "up", *options, *self.arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env={**os.environ, **self.environment},
            # A process group of its own, so that a test can do what Ctrl-C does: send a signal to the whole group.
            process_group=0,
            **self.popen_options,
        )
        reader = threading.Thread(
            target=self._read_output, args=[self.process, self.lines, self._output_ended], daemon=True
        )
        reader.start()

    def wait_for(self, text: str, seconds: float, *, times: int = 1) -> None:
        """Waits until `times` lines contain `text`."""

        def has_enough_lines() -> bool:
            return sum(text in line for line in self.lines) >= times

        with self._changed:
            self._changed.wait_for(lambda: self._output_ended.is_set() or has_enough_lines(), timeout=seconds)
        waited = "before it ended" if self._output_ended.is_set() else f"in {seconds} s"
        assert has_enough_lines(), f"no {text!r} {waited}:\n{self.output}"

    def interrupt(self) -> int:
        """Sends SIGINT to the process group, as Ctrl-C does. Returns the exit code."""
        os.killpg(self.process.pid, signal.SIGINT)
        return self.process.wait(STOP_SECONDS)

    def terminate(self) -> int:
        """Sends SIGTERM. Returns the exit code."""
        self.process.terminate()
        return self.process.wait(STOP_SECONDS)

    def kill(self) -> None:
        """Sends SIGKILL to the supervisor alone."""
        self.process.kill()
        self.process.wait(STOP_SECONDS)

    def kill_everything(self) -> None:
        """Sends SIGKILL to `fotograma up` and all its descendants: servers, Ray, workers, decoding children."""
        processes = [psutil.Process(self.process.pid), *self._descendants()]
        for process in processes:
            with suppress(psutil.NoSuchProcess):  # some end because others do
                process.kill()
        psutil.wait_procs(processes, 30)
        self.process.wait()

    def client(self) -> Client:
        """A client that is logged in with a new account."""
        client = Client(self.url)
        _log_in_new_account(client)
        return client

    def authorization(self) -> dict[str, str]:
        """The header with which a new account sends its requests."""
        with Client(self.url) as client:
            return {"Authorization": f"Bearer {_log_in_new_account(client)}"}

    def run_command(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Runs `fotograma` as a user does."""
        command = [FOTOGRAMA, *arguments]
        return subprocess.run(
            command, check=False, env=self.cli_environment(), capture_output=True, text=True, timeout=300
        )

    def cli_environment(self) -> dict[str, str]:
        """The environment of a user of this service, whose log-in is stored beside its data."""
        return {
            **os.environ,
            "FOTOGRAMA_URL": self.url,
            "FOTOGRAMA_PASSWORD": PASSWORD,
            "XDG_CONFIG_HOME": str(self.data_dir.parent / "config"),
        }

    def log_in_cli(self) -> None:
        done = self.run_command("login", "--register", "--url", self.url, "--email", f"{time.time_ns()}@example.org")
        assert done.returncode == 0, done.stderr

    def replica_pids(self, deployment: str) -> list[int]:
        """The process ids of a deployment's replicas, found by the titles that Ray gives its workers."""
        return [process.pid for process in self._descendants() if f"ServeReplica:{deployment}:" in _title(process)]

    def decoding_child(self, worker: int) -> int | None:
        """The process id of the worker's child that runs a job; None when there is none."""
        return next(
            (child.pid for child in psutil.Process(worker).children(recursive=True) if _name(child) == PROCESS_NAME),
            None,
        )

    def send_signal(self, name: str, number: signal.Signals) -> None:
        """Sends a signal to each descendant of `fotograma up` with this name."""
        pids = self.pids_named(name)
        assert pids, f"no {name} runs"
        for pid in pids:
            os.kill(pid, number)

    def pids_named(self, name: str) -> list[int]:
        """The process ids of the descendants of `fotograma up` with this name."""
        return [process.pid for process in self._descendants() if _name(process) == name]

    def object_files(self) -> set[str]:
        """The paths of all files in the object store."""
        return {str(path) for path in (self.data_dir / "objects").rglob("*") if path.is_file()}

    def fetch_rows(self, statement: str, *values: object) -> list[tuple[Any, ...]]:
        """The rows that a statement returns."""
        with psycopg.connect(self.database_url()) as connection:
            return connection.execute(statement.encode(), values).fetchall()

    def execute(self, statement: str) -> None:
        """Runs a statement that returns no rows."""
        with psycopg.connect(self.database_url()) as connection:
            connection.execute(statement.encode())

    def fetch_count(self, statement: str) -> int:
        return int(self.fetch_rows(statement)[0][0])

    def event_kinds(self, extraction_id: str) -> list[str]:
        rows = self.fetch_rows("SELECT kind FROM events WHERE extraction_id = %s ORDER BY id", extraction_id)
        return [kind for (kind,) in rows]

    def database_url(self) -> str:
        """The database's URL, which is in the environment of the API replica."""
        (replica, *_) = self.replica_pids("api")
        try:
            return str(psutil.Process(replica).environ()["FOTOGRAMA_DATABASE_URL"])
        except psutil.AccessDenied:
            # Only root can read the environment of a process that has secrets.
            sockets = (self.data_dir / "postgres" / "data" / "postmaster.pid").read_text().splitlines()[4]
            secrets = json.loads((self.data_dir / "secrets.json").read_text())
            return url_of(Path(sockets), secrets["postgres_password"])

    def _descendants(self) -> list[psutil.Process]:
        return list(psutil.Process(self.process.pid).children(recursive=True))

    def _read_output(self, process: subprocess.Popen[str], lines: list[str], ended: threading.Event) -> None:
        assert process.stdout is not None
        with process.stdout:
            for line in process.stdout:
                with self._changed:
                    lines.append(line.rstrip("\n"))
                    self._changed.notify_all()
        with self._changed:
            ended.set()
            self._changed.notify_all()


class Inbox:
    """A real SMTP server that keeps the messages it receives."""

    def __init__(self) -> None:
        self._messages: list[tuple[Sequence[str], EmailMessage]] = []
        self._server = SmtpServer(self)

    @property
    def url(self) -> str:
        return f"smtp://127.0.0.1:{self._server.port}"

    def messages(self) -> list[EmailMessage]:
        return [message for _, message in self._messages]

    def messages_to(self, address: str) -> list[EmailMessage]:
        return [message for recipients, message in self._messages if address in recipients]

    def __enter__(self) -> Inbox:
        self._server.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._server.stop()

    async def handle_DATA(self, _server: object, _session: object, envelope: Any) -> str:
        self._messages.append((envelope.rcpt_tos, message_from_bytes(envelope.content, policy=policy.default)))
        return "250 OK"


def _log_in_new_account(client: Client) -> str:
    """Returns the access token."""
    email = f"{time.time_ns()}@example.org"
    client.register(email, PASSWORD)
    return client.login(email, PASSWORD).access_token


def _name(process: psutil.Process) -> str:
    try:
        return "" if process.status() == psutil.STATUS_ZOMBIE else process.name()
    except psutil.Error:
        return ""


def _title(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except psutil.Error:
        return ""
