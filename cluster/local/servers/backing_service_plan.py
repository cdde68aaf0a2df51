"""The servers that store Fotograma's data: embedded ones, or those that the environment names."""

from __future__ import annotations

import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from cluster.checks.finding import Finding
from cluster.local.data_dir import SHARED_DIR, DataDir, check_space, postgres_folder
from cluster.local.secret_files import Secrets
from cluster.local.servers.embedded_postgres import Postgres
from cluster.local.servers.embedded_valkey import Valkey
from cluster.local.servers.os_user import server_user
from cluster.local.servers.postgres_programs import programs_for
from cluster.local.startup_error import ExitCode, StartupError, first_line
from db.values.error_catalogue import CatalogueError

DATABASE, REDIS, OBJECTS = "FOTOGRAMA_DATABASE_URL", "FOTOGRAMA_REDIS_URL", "FOTOGRAMA_OBJECTS_URL"
CONNECT_SECONDS = 5


@dataclass(frozen=True, slots=True)
class BackingServices:
    """Where the data are. postgres, valkey: embedded servers; None where the environment names a server.

    has_embedded_objects: whether the objects are in a folder of the data directory.
    """

    database_url: str
    redis_url: str
    objects_url: str
    postgres: Postgres | None = None
    valkey: Valkey | None = None
    has_embedded_objects: bool = False

    @property
    def embedded(self) -> list[Postgres | Valkey]:
        """The embedded servers."""
        return [server for server in (self.postgres, self.valkey) if server is not None]

    def check_external(self) -> None:
        """Raises StartupError when a server that the environment names does not answer, or refuses a right."""
        if self.postgres is None:
            check_database(self.database_url)
        if self.valkey is None:
            check_redis(self.redis_url)
        if not self.has_embedded_objects:
            check_objects(self.objects_url)


def plan_backing_services(
    data_dir: DataDir, run_folder: Path, secrets: Secrets, environment: Mapping[str, str]
) -> BackingServices:
    """Decides which servers are embedded, and their addresses. Starts nothing. Raises StartupError."""
    postgres = None if environment.get(DATABASE) else _embedded_postgres(data_dir, run_folder, secrets)
    valkey = None
    if not environment.get(REDIS):
        valkey = Valkey(
            data_dir.valkey, run_folder / "valkey.sock", data_dir.logs / "valkey.log", password=secrets.valkey_password
        )
    return BackingServices(
        database_url=postgres.url() if postgres else environment[DATABASE],
        redis_url=valkey.url if valkey else environment[REDIS],
        objects_url=environment.get(OBJECTS) or data_dir.objects.as_uri(),
        postgres=postgres,
        valkey=valkey,
        has_embedded_objects=not environment.get(OBJECTS),
    )


def _embedded_postgres(data_dir: DataDir, run_folder: Path, secrets: Secrets) -> Postgres:
    os_user = server_user()
    folder = postgres_folder(data_dir, os_user)
    check_space(folder, shutil.disk_usage(folder).free)
    return Postgres(
        folder,
        run_folder / "postgres",
        data_dir.logs / "postgres.log",
        password=secrets.postgres_password,
        os_user=os_user,
        programs=programs_for(os_user, SHARED_DIR, data_dir.programs),
    )


def check_database(url: str) -> None:
    """Raises StartupError when no PostgreSQL server answers at the address, or a right is missing in its tables."""
    import psycopg  # noqa: PLC0415 - only needed for an external server

    from cluster.checks.database_check import right_findings  # noqa: PLC0415

    try:
        plain = re.sub(r"^postgres(ql)?(\+\w+)?://", "postgresql://", url)
        with psycopg.connect(plain, connect_timeout=CONNECT_SECONDS) as connection:
            found = right_findings(connection)
    except psycopg.Error as error:
        raise unreachable(DATABASE, url, error) from error
    _refuse(found)


def check_redis(url: str) -> None:
    """Raises StartupError when no Redis server answers at the address."""
    from redis import Redis  # noqa: PLC0415
    from redis.exceptions import RedisError  # noqa: PLC0415

    try:
        with Redis.from_url(url, socket_connect_timeout=CONNECT_SECONDS, socket_timeout=CONNECT_SECONDS) as redis:
            redis.ping()
    except (RedisError, OSError, ValueError) as error:
        raise unreachable(REDIS, url, error) from error


def check_objects(url: str) -> None:
    """Raises StartupError when the store does not answer, or refuses to write, list, read or delete objects."""
    import asyncio  # noqa: PLC0415

    from obstore.exceptions import BaseError as ObstoreError  # noqa: PLC0415

    from cluster.checks.object_rights import refusal_code  # noqa: PLC0415
    from cluster.checks.objects_check import access_findings  # noqa: PLC0415
    from db.object_store.store_factory import open_store  # noqa: PLC0415

    try:
        asyncio.run(open_store(url).check())
    except (CatalogueError, ObstoreError, LookupError, OSError, ValueError) as error:
        if refusal_code(error) is None:
            raise unreachable(OBJECTS, url, error) from error
    _refuse(asyncio.run(access_findings(url)))


def _refuse(found: Sequence[Finding]) -> None:
    """Raises StartupError for the first fault that waiting does not change."""
    for finding in found:
        if finding.is_lasting:
            raise StartupError(ExitCode.UNREACHABLE, finding.sentence)


def unreachable(variable: str, url: str, error: Exception) -> StartupError:
    """Returns the error for a server. It names the variable and the address without a password."""
    reason = first_line(error)
    if any(part in reason for part in _secrets_of(url)):
        reason = type(error).__name__
    return StartupError(
        ExitCode.UNREACHABLE, f"{variable}: nothing usable at {address_without_secrets(url)} ({reason})."
    )


def address_without_secrets(url: str) -> str:
    """Returns the address without user, password and options, because each can be secret."""
    try:
        parts = urlsplit(url)
        port = f":{parts.port}" if parts.port else ""
    except ValueError:
        return "an address that can't be read"
    return f"{parts.scheme}://{parts.hostname or ''}{port}{parts.path}"


def _secrets_of(url: str) -> list[str]:
    """Returns the parts of an address that may be secret. A message that contains one is not shown."""
    try:
        parts = urlsplit(url)
        return [part for part in (parts.username, parts.password, parts.query) if part]
    except ValueError:
        return [url]
