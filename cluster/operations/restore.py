"""Restores a backup into an empty database, or in place of what is there, and proves that it is whole."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING

from cluster.operations.backup_folder import BackupFacts, BackupFolder, ManifestEntry, key_fingerprint
from cluster.operations.database_access import CONNECTION_NAME
from cluster.operations.operation_errors import OperationError
from cluster.operations.postgres_clients import connection_variables, major_of, run_client

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncEngine

    from cluster.operations.backup import BackupSource
    from db.acceptance.acceptance_audit import Balance
    from db.object_store.folder_store import FolderStore
    from db.object_store.object_store import ObjectStore

CONCURRENT_OBJECTS = 16


@dataclass(frozen=True, slots=True)
class RestoreOutcome:
    """copied: objects that the store did not have and the backup did. missing: keys of objects that are not in the
    store. damaged: of those whose size or SHA-256 differs. other_key: whether the secret key is another one than that
    of the backup; None when one of them is not known.
    """

    facts: BackupFacts
    copied: int
    verified: int
    missing: Sequence[str]
    damaged: Sequence[str]
    balance: Balance
    other_key: bool | None

    @property
    def is_whole(self) -> bool:
        return not (self.missing or self.damaged) and self.balance.balanced


async def restore(
    target: BackupSource,
    folder: BackupFolder,
    *,
    replace: bool,
    checksums: bool,
    tell: Callable[[str], None],
) -> RestoreOutcome:
    """Raises OperationError; unless the tables are restored by then, the database is as it was.

    replace: whether a database that is not empty is replaced. checksums: whether all bytes of all objects are read.
    """
    from db import restored_database  # noqa: PLC0415
    from db.acceptance import acceptance_audit  # noqa: PLC0415

    facts = await asyncio.to_thread(folder.read_facts)
    _check_schema(facts)
    await _check_target(target.database, replace=replace)
    if facts.has_objects:
        # A bucket that takes none must be known before the tables are replaced.
        await target.objects.check()
    async with _former_tables_kept(target.database):
        tell("Restoring the database ...")
        await _load_dump(target, folder)
        await restored_database.finish_restore(target.database)
    tell("Verifying the objects ...")
    objects = await _restore_objects(target.objects, folder, facts, checksums=checksums, tell=tell)
    tell("Comparing the ledger ...")
    balance = (await acceptance_audit.compare(target.database)).total
    await acceptance_audit.record(target.database, balance)
    fingerprint = key_fingerprint(target.secret_key)
    known = facts.key_fingerprint is not None and fingerprint is not None
    return RestoreOutcome(
        facts,
        objects.copied,
        objects.verified,
        objects.missing,
        objects.damaged,
        balance,
        fingerprint != facts.key_fingerprint if known else None,
    )


def _check_schema(facts: BackupFacts) -> None:
    from db.schema_revision import HEAD  # noqa: PLC0415

    if facts.schema != HEAD:
        raise OperationError(
            f"The backup has the schema {facts.schema}, and this version of fotograma needs {HEAD}. Restore it with "
            f"fotograma {facts.fotograma}, which made it, and migrate then."
        )


async def _check_target(database: AsyncEngine, *, replace: bool) -> None:
    from db import restored_database  # noqa: PLC0415

    if parts := await restored_database.connected_parts(database, CONNECTION_NAME):
        raise OperationError(f"The service is connected to the database ({', '.join(parts)}). End it first.")
    tables = await restored_database.table_count(database)
    if tables and not replace:
        raise OperationError(
            f"The database is not empty: it has {tables} tables. Restore into a new database, or replace everything in "
            "this one with --replace."
        )


@asynccontextmanager
async def _former_tables_kept(database: AsyncEngine) -> AsyncIterator[None]:
    """Brings the former tables back when the block fails, and drops them when it succeeds."""
    from db import restored_database  # noqa: PLC0415

    await restored_database.set_aside(database)
    try:
        yield
    except BaseException:
        await restored_database.bring_back(database)
        raise
    await restored_database.drop_former(database)


async def _load_dump(target: BackupSource, folder: BackupFolder) -> None:
    from db import schema_revision  # noqa: PLC0415

    server = await schema_revision.server_version(target.database)
    options = ["--no-owner", "--no-privileges", "--exit-on-error", "--single-transaction"]
    name = f"--dbname={connection_variables(target.database_url).get('PGDATABASE', '')}"
    await run_client("pg_restore", target.database_url, *options, name, str(folder.dump), server_major=major_of(server))


@dataclass(slots=True)
class _Objects:
    copied: int
    verified: int
    missing: list[str]
    damaged: list[str]


async def _restore_objects(
    store: ObjectStore, folder: BackupFolder, facts: BackupFacts, *, checksums: bool, tell: Callable[[str], None]
) -> _Objects:
    """Copies what the store does not have and the backup has; then verifies each object."""
    from db.object_store.folder_store import FolderStore  # noqa: PLC0415

    copies = FolderStore(folder.objects) if facts.has_objects else None
    done = _Objects(0, 0, list(facts.missing), [])
    entries = folder.entries()
    while batch := list(islice(entries, CONCURRENT_OBJECTS)):
        await asyncio.gather(*(_restore_object(store, copies, entry, done, checksums=checksums) for entry in batch))
        if (done.verified + len(done.missing)) % (CONCURRENT_OBJECTS * 64) == 0:
            tell(f"{done.verified} of {facts.objects} objects ...")
    return done


async def _restore_object(
    store: ObjectStore, copies: FolderStore | None, entry: ManifestEntry, done: _Objects, *, checksums: bool
) -> None:
    from db.object_store.object_store import ObjectNotFound  # noqa: PLC0415

    try:
        if copies is not None and not await _is_same(store, entry, checksums=checksums):
            await copies.size(entry.key)
            # No key is written twice, so what is there under it is damaged.
            await store.delete(entry.key)
            # As a file, so that a bucket's store makes no copy of it first.
            await store.put_file(entry.key, copies.local_path(entry.key))
            done.copied += 1
        if await _is_same(store, entry, checksums=checksums, absent_is_error=True):
            done.verified += 1
        else:
            done.damaged.append(entry.key)
    except ObjectNotFound:
        done.missing.append(entry.key)


async def _is_same(store: ObjectStore, entry: ManifestEntry, *, checksums: bool, absent_is_error: bool = False) -> bool:
    """Whether the store has the object as the manifest says. Raises ObjectNotFound if absent_is_error."""
    import hashlib  # noqa: PLC0415

    from db.object_store.object_store import ObjectNotFound  # noqa: PLC0415

    try:
        if await store.size(entry.key) != entry.size:
            return False
        if not checksums or entry.sha256 is None:
            return True
        digest = hashlib.sha256()
        async for block in store.read(entry.key):
            digest.update(block)
    except ObjectNotFound:
        if absent_is_error:
            raise
        return False
    return digest.hexdigest() == entry.sha256
