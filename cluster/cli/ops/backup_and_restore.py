"""`fotograma ops backup` and `restore`: the database with a manifest of the objects that it needs, and the way back."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from cluster.cli.ops.service_options import DEFAULT_DATA_DIR, DataDirOption, service_of, show
from cluster.cli.output.exit_codes import CommandExitCode
from cluster.cli.shared_options import Json, example

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncEngine

    from cluster.operations.backup import BackupSource
    from cluster.operations.backup_folder import BackupFacts
    from cluster.operations.located_service import LocatedService
    from cluster.operations.restore import RestoreOutcome

commands = typer.Typer()

MAX_LISTED = 20
EXIT_CODES = """

\b
Exit codes:
  0   all is there
  1   objects are missing or damaged, or the ledger differs; or it was refused
  2   the command line is wrong
  69  the database or the object store can't be reached"""

Folder = Annotated[Path, typer.Argument(metavar="DIR", help="Folder of the backup.", show_default=False)]
T = TypeVar("T")


@commands.command(epilog=example("fotograma ops backup /backups/2026-01-31 --objects") + EXIT_CODES)
def backup(
    folder: Folder,
    *,
    objects: Annotated[bool, typer.Option("--objects", help="Copy the objects too, not only their list.")] = False,
    data_dir: DataDirOption = DEFAULT_DATA_DIR,
    as_json: Json = False,
) -> None:
    """Back the running service up: a dump of its database, and the list of the objects that the dump needs."""
    from cluster.operations.backup import back_up  # noqa: PLC0415
    from cluster.operations.backup_folder import BackupFolder  # noqa: PLC0415

    async def work(source: BackupSource) -> BackupFacts:
        return await back_up(source, BackupFolder(folder), with_objects=objects, tell=_tell)

    facts = _run(service_of(data_dir), work)
    show(asdict(facts), list(_backup_lines(folder, facts)), as_json=as_json)
    if facts.missing:
        raise typer.Exit(CommandExitCode.FAILED)


@commands.command(epilog=example("fotograma ops restore /backups/2026-01-31 --replace") + EXIT_CODES)
def restore(
    folder: Folder,
    *,
    replace: Annotated[
        bool, typer.Option("--replace", help="Replace a database that is not empty; what is in it is lost.")
    ] = False,
    checksums: Annotated[
        bool, typer.Option("--checksums", help="Read all objects, and compare their SHA-256 where it is known.")
    ] = False,
    data_dir: DataDirOption = DEFAULT_DATA_DIR,
    as_json: Json = False,
) -> None:
    """Restore a backup while the service is ended, verify every object, and audit the ledger.

    Without FOTOGRAMA_DATABASE_URL it goes into the data folder of a `fotograma up` that does not run.
    """
    from cluster.operations.backup_folder import BackupFolder  # noqa: PLC0415
    from cluster.operations.restore import restore as restore_backup  # noqa: PLC0415

    async def work(target: BackupSource) -> RestoreOutcome:
        return await restore_backup(target, BackupFolder(folder), replace=replace, checksums=checksums, tell=_tell)

    with _ended_service(data_dir) as service:
        outcome = _run(service, work)
    document = asdict(outcome) | {"is_whole": outcome.is_whole, "balance": _balance(outcome)}
    show(document, list(_restore_lines(outcome)), as_json=as_json)
    if not outcome.is_whole:
        raise typer.Exit(CommandExitCode.FAILED)


@contextmanager
def _ended_service(data_dir: Path) -> Iterator[LocatedService]:
    if os.environ.get("FOTOGRAMA_DATABASE_URL"):
        yield service_of(data_dir)
        return
    from cluster.operations.offline_postgres import database_of_stopped_service  # noqa: PLC0415

    with database_of_stopped_service(data_dir) as service:
        yield service


def _run(service: LocatedService, work: Callable[[BackupSource], Awaitable[T]]) -> T:
    """Runs the work on the database and the objects of the service. Raises OperationError."""
    import asyncio  # noqa: PLC0415

    from cluster.checks.object_rights import refusal_code  # noqa: PLC0415
    from cluster.operations.backup import BackupSource  # noqa: PLC0415
    from cluster.operations.database_access import on_database  # noqa: PLC0415
    from cluster.operations.operation_errors import ServerAway, StoreRefused  # noqa: PLC0415
    from db.object_store.store_factory import open_store  # noqa: PLC0415
    from db.values.error_catalogue import CatalogueError  # noqa: PLC0415

    store = open_store(service.required_objects_url())

    async def on_source(database: AsyncEngine) -> T:
        return await work(BackupSource(database, service.database_url, store, service.secret_key))

    try:
        return asyncio.run(on_database(service.database_url, on_source))
    except CatalogueError as error:
        if (code := refusal_code(error)) is not None:
            raise StoreRefused(code) from error
        raise ServerAway("The object store", error.detail.rstrip(".")) from error


def _tell(line: str) -> None:
    typer.echo(line, err=True)


def _balance(outcome: RestoreOutcome) -> dict[str, object]:
    balance = asdict(outcome.balance)
    return balance | {"differences": [str(each.extraction_id) for each in outcome.balance.differences]}


def _backup_lines(folder: Path, facts: BackupFacts) -> Iterator[str]:
    what = "copied" if facts.has_objects else "listed; they are not copied"
    yield f"Backed up into {folder}: PostgreSQL {facts.postgres}, schema {facts.schema}, of {facts.created_at}."
    yield f"{facts.objects} objects with {facts.bytes:,} bytes are {what}."
    yield "Keep FOTOGRAMA_SECRET_KEY with it, in another place: without it nobody can log in."
    yield from _key_lines("The store misses, or has damaged", facts.missing)


def _restore_lines(outcome: RestoreOutcome) -> Iterator[str]:
    facts, balance = outcome.facts, outcome.balance
    yield f"Restored the backup of {facts.created_at}, made by fotograma {facts.fotograma}."
    yield f"{outcome.verified} of {facts.objects} objects are in the store; the backup gave {outcome.copied} of them."
    yield from _key_lines("Missing", outcome.missing)
    yield from _key_lines("Damaged", outcome.damaged)
    if balance.balanced:
        yield f"The ledger is balanced: {balance.accepted} accepted extractions."
    else:
        yield f"The ledger is not balanced: {balance.difference_count} of {balance.accepted} extractions differ."
    if outcome.other_key:
        yield "FOTOGRAMA_SECRET_KEY is another one than that of the backup: nobody can log in with the old password."


def _key_lines(title: str, keys: object) -> Iterator[str]:
    assert isinstance(keys, list | tuple)
    if not keys:
        return
    yield f"{title} {len(keys)}:"
    yield from (f"  {key}" for key in keys[:MAX_LISTED])
    if len(keys) > MAX_LISTED:
        yield f"  and {len(keys) - MAX_LISTED} more; --json has all"
