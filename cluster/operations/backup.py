"""Backs a service up while it runs: the database as it is at one moment, and the objects that it needs then.

What the dump refers to is in the store, because nothing is deleted from before the snapshot until the end: maintenance
asks `deletion_held_until`. Dump and manifest are of the same snapshot.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from typing import TYPE_CHECKING, TextIO

from cluster.operations.backup_folder import (
    FORMAT,
    BackupFacts,
    BackupFolder,
    ManifestEntry,
    file_sha256,
    key_fingerprint,
)
from cluster.operations.operation_errors import OperationError, WrongSchema
from cluster.operations.postgres_clients import major_of, run_client

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncEngine

    from db.object_store.object_store import ObjectStore
    from db.object_store.referenced_objects import Reference

HOLD_SECONDS = 600.0
"""How long nothing is deleted after a backup that died."""
RENEW_SECONDS = 60.0
CONCURRENT_LOOKUPS = 16
PROGRESS_OBJECTS = 1000
ARCHIVE = "frames.zip"


@dataclass(frozen=True, slots=True)
class BackupSource:
    """What is backed up. secret_key: of the service, None when it is not known."""

    database: AsyncEngine
    database_url: str
    objects: ObjectStore
    secret_key: str | None


async def back_up(
    source: BackupSource, folder: BackupFolder, *, with_objects: bool, tell: Callable[[str], None]
) -> BackupFacts:
    """Writes the backup into an empty folder. Returns its facts. Raises OperationError."""
    from db import schema_revision  # noqa: PLC0415
    from db.object_store.referenced_objects import export_snapshot, references  # noqa: PLC0415

    schema = await schema_revision.revision_of(source.database)
    if schema is None:
        raise WrongSchema
    postgres = await schema_revision.server_version(source.database)
    folder.create()
    created_at = datetime.now(UTC)
    async with _no_deletion(source.database), source.database.connect() as plain:
        connection = await plain.execution_options(isolation_level="REPEATABLE READ")
        async with connection.begin():
            snapshot = await export_snapshot(connection)
            tell("Dumping the database ...")
            options = ["--format=custom", "--no-owner", "--no-privileges", f"--file={folder.dump}"]
            await run_client(
                "pg_dump", source.database_url, *options, f"--snapshot={snapshot}", server_major=major_of(postgres)
            )
            folder.dump.chmod(0o600)
            tell("Copying the objects ..." if with_objects else "Listing the objects ...")
            found = references(connection)
            written = await _write_manifest(found, source.objects, folder, tell, copy=with_objects)
    facts = BackupFacts(
        FORMAT,
        created_at.isoformat(),
        version("fotograma"),
        schema,
        postgres,
        await asyncio.to_thread(file_sha256, folder.dump),
        await asyncio.to_thread(file_sha256, folder.manifest),
        written.objects,
        written.bytes,
        with_objects,
        key_fingerprint(source.secret_key),
        tuple(written.missing),
    )
    await asyncio.to_thread(folder.write_facts, facts)
    return facts


@asynccontextmanager
async def _no_deletion(database: AsyncEngine) -> AsyncIterator[None]:
    """Keeps maintenance from deleting objects while the block runs, and for HOLD_SECONDS at most after it."""
    from db.operator_controls import hold_deletion  # noqa: PLC0415

    await hold_deletion(database, HOLD_SECONDS)

    async def renew() -> None:
        while True:
            await asyncio.sleep(RENEW_SECONDS)
            await hold_deletion(database, HOLD_SECONDS)

    renewing = asyncio.create_task(renew())
    try:
        yield
        if renewing.done():
            raise OperationError("The database was away for a moment; the backup may miss objects. Make it again.")
    finally:
        renewing.cancel()
        await asyncio.gather(renewing, return_exceptions=True)


@dataclass(slots=True)
class _ManifestWriter:
    """Writes a line for each object. copies: where the objects are copied to; None when they are only listed."""

    store: ObjectStore
    copies: ObjectStore | None
    file: TextIO
    tell: Callable[[str], None]
    objects: int = 0
    bytes: int = 0
    missing: list[str] = field(default_factory=list)

    async def write(self, references: Sequence[Reference]) -> None:
        found = await asyncio.gather(*(_entries_of(each, self.store, self.copies) for each in references))
        for reference, entries in zip(references, found, strict=True):
            if not entries:
                self.missing.append(reference.key)
            for entry in entries:
                self.file.write(json.dumps(asdict(entry)) + "\n")
                self.objects += 1
                self.bytes += entry.size
                if self.objects % PROGRESS_OBJECTS == 0:
                    self.tell(f"{self.objects} objects, {self.bytes / 2**20:.0f} MiB ...")


async def _write_manifest(
    found: AsyncIterator[Reference],
    store: ObjectStore,
    folder: BackupFolder,
    tell: Callable[[str], None],
    *,
    copy: bool,
) -> _ManifestWriter:
    """Returns the writer, which has counted the objects."""
    from db.object_store.folder_store import FolderStore  # noqa: PLC0415

    with folder.manifest.open("x") as file:
        folder.manifest.chmod(0o600)
        writer = _ManifestWriter(store, FolderStore(folder.objects) if copy else None, file, tell)
        batch: list[Reference] = []
        async for reference in found:
            batch.append(reference)
            if len(batch) == CONCURRENT_LOOKUPS:
                await writer.write(batch)
                batch.clear()
        await writer.write(batch)
    return writer


async def _entries_of(reference: Reference, objects: ObjectStore, copies: ObjectStore | None) -> list[ManifestEntry]:
    """The objects of a reference. Empty when one is missing or damaged: such a reference must not stop every backup."""
    from db.object_store.object_store import ObjectNotFound  # noqa: PLC0415

    keys = await objects.keys(reference.key) if reference.is_prefix else [reference.key]
    if reference.archive_sha256 is not None and f"{reference.key}{ARCHIVE}" not in keys:
        return []
    try:
        entries = [await _entry_of(key, _known_sha256(reference, key), objects, copies) for key in keys]
    except ObjectNotFound:
        return []
    return [] if None in entries else [entry for entry in entries if entry is not None]


def _known_sha256(reference: Reference, key: str) -> str | None:
    if not reference.is_prefix:
        return reference.sha256
    return reference.archive_sha256 if key == f"{reference.key}{ARCHIVE}" else None


async def _entry_of(
    key: str, sha256: str | None, objects: ObjectStore, copies: ObjectStore | None
) -> ManifestEntry | None:
    """None when the copied bytes are not those that the database knows. Raises ObjectNotFound."""
    if copies is None:
        return ManifestEntry(key, await objects.size(key), sha256)
    copied = await copies.put(key, objects.read(key))
    if sha256 is not None and copied.sha256 != sha256:
        await copies.delete(key)
        return None
    return ManifestEntry(key, copied.size, copied.sha256)
