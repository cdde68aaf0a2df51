"""Checks the object store with probe objects: each right is tried by itself. And the free space of a folder."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from urllib.parse import unquote, urlsplit

from cluster.checks.finding import Finding, fail, ok, reason_of, warn
from cluster.checks.object_rights import (
    SUBJECT,
    WHERE,
    Right,
    bucket_finding,
    closed_folder,
    folder_finding,
    refusal_code,
)
from cluster.settings import Settings
from db.object_store.object_store import ObjectNotFound, ObjectStore
from db.values.error_catalogue import CatalogueError

STEP_SECONDS = 15.0
PROBE_PREFIX = "probe"
"""No key of the service begins so: a probe that stays is never taken for a video."""
PROBE = b"fotograma ops doctor"


async def objects_findings(settings: Settings) -> list[Finding]:
    """Whether objects can be written, listed, read and deleted, and whether there is room for them."""
    from db.object_store.store_factory import open_store  # noqa: PLC0415

    refused = await access_findings(settings.objects_url, settings.scratch)
    return refused or await _space_findings(settings, open_store(settings.objects_url))


async def access_findings(url: str, spool_folder: Path | None = None) -> list[Finding]:
    """Writes probes, lists, reads and deletes them. After a right that is refused the others are tried all the same."""
    from db.object_store.store_factory import open_store  # noqa: PLC0415

    try:
        store = open_store(url, spool_folder)
    except Exception as error:  # noqa: BLE001 - obstore raises several kinds for an address that it can't read
        text = f"The address of the object store can't be used: {reason_of(error)}."
        return [fail(SUBJECT, text, "Give file:///folder, s3://bucket/prefix, gs://… or az://….", WHERE)]
    is_folder = urlsplit(url).scheme == "file"
    if is_folder and (closed := closed_folder(Path(unquote(urlsplit(url).path)))) is not None:
        return [closed]
    refused: dict[Right, BaseException] = {}
    for right, step in _steps(store, f"{PROBE_PREFIX}/{secrets.token_hex(8)}", refused).items():
        try:
            # A bucket that is away is tried again for minutes otherwise.
            async with asyncio.timeout(STEP_SECONDS):
                await step()
        except (CatalogueError, KeyError, OSError, TimeoutError) as error:
            if refusal_code(error) is None:
                return [_failed(right, error)]
            refused[right] = error
    if is_folder or not refused:
        return [_folder_refused(right, error) for right, error in refused.items()]
    return [bucket_finding(url, {right: refusal_code(error) or "" for right, error in refused.items()})]


def _steps(
    store: ObjectStore, key: str, refused: dict[Right, BaseException]
) -> dict[Right, Callable[[], Awaitable[object]]]:
    """refused: by the steps before."""
    from db.object_store.cloud_store import CloudStore  # noqa: PLC0415

    async def list_keys() -> None:
        if key not in await store.keys(PROBE_PREFIX) and Right.WRITE not in refused:
            raise OSError("it does not list what was written")

    async def read() -> None:
        if Right.WRITE not in refused:
            await _read(store, key)
        elif Right.LIST not in refused:
            # Who may list is told that an object is absent; S3 refuses to tell it to others.
            await _find_absent(store, key)

    async def delete() -> None:
        for each in (key, f"{key}-parts"):
            await store.delete(each)

    steps: dict[Right, Callable[[], Awaitable[object]]] = {Right.WRITE: lambda: store.put(key, _probe())}
    if isinstance(store, CloudStore):
        steps[Right.WRITE_IN_PARTS] = lambda: store.put_in_parts(f"{key}-parts", PROBE)
    return {**steps, Right.LIST: list_keys, Right.READ: read, Right.DELETE: delete}


def _folder_refused(right: Right, error: BaseException) -> Finding:
    cause = error.__cause__ or error
    return folder_finding(getattr(cause, "filename", None) or "the folder of the objects", f"{right} in")


def _failed(right: Right, error: BaseException) -> Finding:
    text = f"The object store can't {right}: {reason_of(error.__cause__ or error)}."
    return fail(
        SUBJECT, text, "Check the address, the network, the disk, and that the store runs.", WHERE, is_lasting=False
    )


async def _space_findings(settings: Settings, store: ObjectStore) -> list[Finding]:
    free = await store.free_bytes()
    if free is None:
        return [ok(SUBJECT, "Objects can be written, also in parts, listed, read and deleted.", WHERE)]
    gibibytes = f"{free / 2**30:.1f} GiB free"
    if free < settings.storage_reserve_bytes:
        text = f"The disk of the objects has {gibibytes}, less than the reserve: nothing is accepted."
        return [fail(SUBJECT, text, "Make room, or lower FOTOGRAMA_STORAGE_RESERVE_BYTES.", WHERE, is_lasting=False)]
    if free < 4 * settings.storage_reserve_bytes:
        return [warn(SUBJECT, f"The disk of the objects has {gibibytes}.", "Make room soon.", WHERE)]
    return [ok(SUBJECT, f"Objects can be written, listed, read and deleted; {gibibytes}.", WHERE)]


async def _probe() -> AsyncIterator[bytes]:
    yield PROBE


async def _read(store: ObjectStore, key: str) -> None:
    for start, length in ((0, None), (3, 5)):
        content = b"".join([block async for block in store.read(key, start, length)])
        if content != PROBE[start : None if length is None else start + length]:
            raise OSError("it gives other bytes than were written")


async def _find_absent(store: ObjectStore, key: str) -> None:
    with suppress(ObjectNotFound):
        await store.size(key)
