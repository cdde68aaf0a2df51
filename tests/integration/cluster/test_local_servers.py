"""The real servers of `fotograma up`: their data survives stops and kills."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil
import psycopg
import pytest
from redis import Redis
from redis.exceptions import AuthenticationError

from cluster.local import cores_and_ports
from cluster.local.data_dir import open_data_dir
from cluster.local.secret_files import Secrets
from cluster.local.servers import server_process
from cluster.local.servers.backing_service_plan import (
    DATABASE,
    OBJECTS,
    REDIS,
    BackingServices,
    check_database,
    check_objects,
    plan_backing_services,
)
from cluster.local.servers.database_schema import DatabaseSchema
from cluster.local.servers.embedded_postgres import Postgres, replace_stale_pid
from cluster.local.servers.embedded_valkey import Valkey
from cluster.local.servers.os_user import OsUser, server_user
from cluster.local.servers.postgres_programs import programs_for
from cluster.local.servers.server_process import ServerDidNotStart, ServerProcess
from cluster.local.startup_error import ExitCode, StartupError
from cluster.local.supervision.event_messages import event_line
from cluster.local.supervision.restart_policy import RestartPolicy
from cluster.local.supervision.supervisor import Event, Supervisor
from db import schema_revision
from tests.support.servers.s3_server import ACCESS_KEY, S3Server
from tests.support.state.database_roles import database_role, grant_service_rights

LISTENER = """
import socket, sys
with socket.create_server(("127.0.0.1", int(sys.argv[1]))) as listener:
    print(1, flush=True)
    listener.accept()
"""
QUICK = RestartPolicy(first_pause=0.1, longest_pause=0.2)
SECRETS = Secrets(secret_key="s" * 64, postgres_password="p", valkey_password="v", ray_token="r", demo_password="d")


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder with a blank in its path, which PostgreSQL's user may enter."""
    with tempfile.TemporaryDirectory(prefix="fotograma test ", dir="/tmp") as name:
        Path(name).chmod(0o755)
        yield Path(name)


@pytest.fixture
def account() -> OsUser:
    return server_user()


@pytest.fixture
def own_postgres(folder: Path, account: OsUser) -> Iterator[Postgres]:
    server = Postgres(
        folder / "place",
        folder / "sockets",
        folder / "postgres.log",
        password="a secret",
        os_user=account,
        programs=programs_for(account, folder),
        settings={"fsync": "off"},
    )
    yield server
    server.stop()


@pytest.fixture
def own_valkey(folder: Path) -> Iterator[Valkey]:
    server = Valkey(folder / "valkey", folder / "valkey.sock", folder / "valkey.log", password="a secret")
    yield server
    server.stop()


@contextmanager
def running(command: Sequence[str], **options: Any) -> Iterator[subprocess.Popen[bytes]]:
    """Starts a process, and kills it at the end of the block."""
    with subprocess.Popen(command, **options) as process:
        try:
            yield process
        finally:
            process.kill()


def store_number(server: Postgres) -> None:
    with psycopg.connect(server.url()) as connection:
        connection.execute("CREATE TABLE remembered AS SELECT 7 AS number")


def read_number(server: Postgres) -> int:
    with psycopg.connect(server.url()) as connection:
        row = connection.execute("SELECT number FROM remembered").fetchone()
    assert row is not None
    return int(row[0])


def kill_process_tree(pid: int | None) -> None:
    """Kills the process and all its descendants, as a machine that runs out of memory may."""
    assert pid is not None
    with suppress(psutil.NoSuchProcess):
        family = [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
        for process in family:
            # Some end because others do.
            with suppress(psutil.NoSuchProcess):
                process.kill()
        psutil.wait_procs(family, 30)


def wait_for_next_pid(server: Postgres, before: int | None) -> int | None:
    """Waits until the server has been launched again, and returns its pid."""
    deadline = time.monotonic() + 60
    while server.pid == before:
        assert time.monotonic() < deadline
        time.sleep(0.001)
    return server.pid


class Clock:
    """Stands for the module `time`: its time passes only while somebody sleeps."""

    def __init__(self) -> None:
        self._now = 0.0

    def monotonic(self) -> float:
        return self._now

    def sleep(self, seconds: float) -> None:
        self._now += seconds


def test_start_timeout_doubles_after_each_timeout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock, server = Clock(), ServerProcess("Sleeper", tmp_path / "log", environment={})
    monkeypatch.setattr(server_process, "time", clock)

    def start(seconds_needed: float) -> None:
        server.start(["/bin/sleep", "60"], folder=tmp_path)
        started = clock.monotonic()
        server.wait_until(lambda: clock.monotonic() - started >= seconds_needed, 0.1)

    for timeout in ("0.1", "0.2", "0.4"):
        with pytest.raises(ServerDidNotStart, match=rf"no answer in {timeout} s"):
            start(seconds_needed=60)
        assert not server.is_running()
    start(seconds_needed=0.5)
    server.stop([(signal.SIGKILL, 5.0)])
    with pytest.raises(ServerDidNotStart, match=r"no answer in 0\.1 s"):
        start(seconds_needed=60)


@pytest.mark.parametrize("program", ["/no/such/program", "/etc/passwd", "/tmp"])
def test_program_that_cannot_be_run_is_a_broken_installation(tmp_path: Path, program: str) -> None:
    with pytest.raises(StartupError, match="can't be run") as refused:
        ServerProcess("Server", tmp_path / "log", environment={}).start([program], folder=tmp_path)
    assert refused.value.code is ExitCode.NOT_INSTALLED


def test_program_without_its_libraries_is_a_broken_installation(tmp_path: Path) -> None:
    server = ServerProcess("Server", tmp_path / "log", environment={})
    server.start(["/bin/sh", "-c", "echo libpq.so: cannot open shared object file; exit 127"], folder=tmp_path)
    with pytest.raises(StartupError, match=r"libpq\.so: cannot open") as refused:
        server.wait_until(lambda: False)
    assert refused.value.code is ExitCode.NOT_INSTALLED


def test_error_quotes_the_log_of_this_start_only(tmp_path: Path) -> None:
    server = ServerProcess("Server", tmp_path / "log", environment={})
    for words in ("first", "second"):
        server.start(["/bin/sh", "-c", f"echo {words}; exit 3"], folder=tmp_path)
        with pytest.raises(ServerDidNotStart, match=rf"\(exit code 3\)\. .* ends with: {words}$"):
            server.wait_until(lambda: False)


def test_database_of_another_major_version_is_refused(own_postgres: Postgres) -> None:
    own_postgres.start()
    own_postgres.stop()
    (own_postgres.data / "PG_VERSION").write_text("17\n")

    with pytest.raises(StartupError, match="made by PostgreSQL 17"):
        own_postgres.start()


def test_postgres_data_survive_a_stop_and_a_kill(own_postgres: Postgres) -> None:
    own_postgres.start()
    store_number(own_postgres)
    own_postgres.stop()
    own_postgres.start()
    assert read_number(own_postgres) == 7

    kill_process_tree(own_postgres.pid)
    own_postgres.start()

    assert read_number(own_postgres) == 7


def test_postgres_starts_although_another_process_has_its_old_pid(own_postgres: Postgres, account: OsUser) -> None:
    own_postgres.start()
    store_number(own_postgres)
    kill_process_tree(own_postgres.pid)
    with running(["sleep", "600"], **account.popen_options()) as other_process:
        file = own_postgres.data / "postmaster.pid"
        lines = file.read_text().splitlines()
        file.write_text("\n".join([str(other_process.pid), lines[1], "1000000000", *lines[3:], ""]))

        own_postgres.start()

        assert read_number(own_postgres) == 7
        assert other_process.poll() is None


def test_running_server_keeps_its_pid_file(own_postgres: Postgres) -> None:
    own_postgres.start()
    file = own_postgres.data / "postmaster.pid"
    before = file.read_text()

    replace_stale_pid(file, parent=1)

    assert file.read_text() == before


def test_postgres_asks_for_the_password(own_postgres: Postgres) -> None:
    own_postgres.start()

    with pytest.raises(psycopg.OperationalError, match="password"):
        psycopg.connect(own_postgres.url().replace("a%20secret", "guessed"))


def test_valkey_keeps_its_data_after_a_kill_and_evicts_only_expiring_keys(own_valkey: Valkey) -> None:
    own_valkey.start()
    with Redis.from_url(own_valkey.url) as redis:
        redis.set("kept", "7")
        redis.waitaof(1, 0, 5000)
        assert redis.config_get("maxmemory-policy") == {"maxmemory-policy": "volatile-lru"}
    kill_process_tree(own_valkey.pid)

    own_valkey.start()

    with Redis.from_url(own_valkey.url) as redis:
        assert redis.get("kept") == b"7"


def test_valkey_asks_for_the_password(own_valkey: Valkey) -> None:
    own_valkey.start()

    with pytest.raises(AuthenticationError), Redis.from_url(own_valkey.url.replace("a%20secret", "guessed")) as redis:
        redis.ping()


def test_unreadable_cache_is_moved_aside(own_valkey: Valkey, folder: Path) -> None:
    own_valkey.start()
    own_valkey.stop()
    (manifest,) = (folder / "valkey" / "appendonlydir").glob("*.manifest")
    manifest.write_text("nonsense\n")

    own_valkey.start()

    assert (folder / "valkey.unreadable").is_dir()


def test_servers_of_the_environment_are_used_and_none_is_started(
    postgres: Postgres, valkey: Valkey, tmp_path: Path
) -> None:
    data_dir = open_data_dir(tmp_path / "data")
    environment = {DATABASE: postgres.url("postgres"), REDIS: valkey.url, OBJECTS: (tmp_path / "objects").as_uri()}

    servers = plan_backing_services(data_dir, tmp_path, SECRETS, environment)

    servers.check_external()
    assert servers.embedded == []
    assert servers.database_url == environment[DATABASE]


@pytest.mark.parametrize(
    ("variable", "url"),
    [
        (DATABASE, "postgresql://me:secret@127.0.0.1:1/frames"),
        (REDIS, "redis://:secret@127.0.0.1:1/0"),
        (REDIS, "nonsense"),
        (OBJECTS, "file:///proc/nowhere"),
        (OBJECTS, "nonsense://secret@bucket"),
    ],
)
def test_server_of_the_environment_that_does_not_answer_is_named(
    postgres: Postgres, valkey: Valkey, tmp_path: Path, variable: str, url: str
) -> None:
    data_dir = open_data_dir(tmp_path / "data")
    environment = {DATABASE: postgres.url("postgres"), REDIS: valkey.url, OBJECTS: tmp_path.as_uri(), variable: url}
    servers = plan_backing_services(data_dir, tmp_path, SECRETS, environment)

    with pytest.raises(StartupError, match=variable) as refused:
        servers.check_external()

    assert refused.value.code is ExitCode.UNREACHABLE
    assert "secret" not in str(refused.value)


def test_database_of_the_environment_without_a_right_is_refused_with_the_grant(database_url: str) -> None:
    check_database(database_url)
    with database_role(database_url) as role:
        grant_service_rights(role)
        check_database(role.url)
        role.run("REVOKE DELETE ON tasks FROM guest")
        with pytest.raises(StartupError, match=r"^FOTOGRAMA_DATABASE_URL: .* GRANT DELETE ON tasks TO guest;$"):
            check_database(role.url)


def test_bucket_of_the_environment_without_a_right_is_refused_with_the_action(
    s3_server: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = s3_server.new_bucket()
    for user, action in (("reader", "s3:PutObject"), ("without-list", "s3:ListBucket")):
        for name, value in s3_server.environment_of(user).items():
            monkeypatch.setenv(name, value)
        with pytest.raises(StartupError, match=f"^FOTOGRAMA_OBJECTS_URL: .* Allow {action}"):
            check_objects(url)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", ACCESS_KEY)
    check_objects(url)


@pytest.fixture
def supervised(folder: Path) -> Iterator[tuple[BackingServices, Callable[[str, int], None]]]:
    """The supervised servers of a data directory, and a function that waits until a text was printed some times."""
    data_dir = open_data_dir(folder / "data")
    data_dir.path.chmod(0o755)
    servers = plan_backing_services(data_dir, folder, SECRETS, {})
    assert servers.postgres is not None
    schema = DatabaseSchema(servers.database_url, after=[servers.postgres.name])
    lines, changed = list[str](), threading.Condition()

    def record_line(event: Event) -> None:
        with changed:
            lines.append(event_line(event))
            changed.notify_all()

    def wait_for(text: str, times: int = 1) -> None:
        with changed:
            assert changed.wait_for(lambda: sum(text in line for line in lines) >= times, 60), lines

    supervisor = Supervisor(
        [*servers.embedded, schema], on_event=record_line, policy=RestartPolicy(first_pause=0.1, longest_pause=0.2)
    )
    supervisor.start()
    try:
        yield servers, wait_for
    finally:
        supervisor.stop()
        assert not any(server.is_running() for server in servers.embedded)


def _connected(url: str, seconds: float = 60.0) -> psycopg.Connection[Any]:
    """A connection to the server, as soon as it accepts one."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            return psycopg.connect(url)
        except psycopg.OperationalError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)


def test_server_is_restarted_after_every_kill(
    supervised: tuple[BackingServices, Callable[[str, int], None]],
) -> None:
    servers, wait_for = supervised
    for part in ("Database schema", *(server.name for server in servers.embedded)):
        wait_for(part, 1)
    for server in servers.embedded:
        for times in range(1, 6):
            kill_process_tree(server.pid)
            wait_for(f"{server.name} runs again", times)
    with psycopg.connect(servers.database_url) as connection:
        assert connection.execute("SELECT version_num FROM alembic_version").fetchone() == (schema_revision.HEAD,)


def test_postgres_killed_during_its_start_is_started_again(
    supervised: tuple[BackingServices, Callable[[str, int], None]],
) -> None:
    servers, wait_for = supervised
    postgres = servers.postgres
    assert postgres is not None
    wait_for("Database schema", 1)
    pid = postgres.pid
    for _ in range(5):
        for _ in range(2):
            kill_process_tree(pid)
            pid = wait_for_next_pid(postgres, pid)
        # On a slow machine the second one may have been ready, and been reported, before it was killed.
        _connected(servers.database_url).close()


def test_port_is_refused_while_a_process_listens_on_it() -> None:
    with socket.socket() as reserved:
        # No other process gets the port, but with SO_REUSEADDR a second socket may have it, and listen.
        reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        reserved.bind((cores_and_ports.LOCALHOST, 0))
        port = reserved.getsockname()[1]
        cores_and_ports.check_port(port)
        with running([sys.executable, "-c", LISTENER, str(port)], stdout=subprocess.PIPE) as listener:
            assert listener.stdout is not None
            assert listener.stdout.readline()
            with pytest.raises(StartupError, match=f"Port {port}") as refused:
                cores_and_ports.check_port(port)
            assert refused.value.code is ExitCode.PORT_TAKEN
            assert cores_and_ports.first_free(port, but=0) > port
