"""Checks the object store with a probe object: write, list, read, delete; and the free space of a folder."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable

from cluster.checks.finding import Finding, fail, ok, reason_of, warn
from cluster.settings import Settings
from db.object_store.object_store import ObjectStore
from db.values.error_catalogue import CatalogueError

SUBJECT, WHERE = "objects", "FOTOGRAMA_OBJECTS_URL"
STEP_SECONDS = 15.0
PROBE_PREFIX = "probe"
"""No key of the service begins so: a probe that stays is never taken for a video."""
PROBE = b"fotograma ops doctor"
REFUSALS = ("PermissionDeniedError", "UnauthenticatedError", "PermissionError")
"""Types of errors that another try gives again."""


async def objects_findings(settings: Settings) -> list[Finding]:
    """Writes a probe, reads it and deletes it."""
    from db.object_store.store_factory import open_store  # noqa: PLC0415

    try:
        store = open_store(settings.objects_url, settings.scratch)
    except Exception as error:  # noqa: BLE001 - obstore raises several kinds for an address that it can't read
        text = f"The address of the object store can't be used: {reason_of(error)}."
        return [fail(SUBJECT, text, "Give file:///folder, s3://bucket/prefix, gs://… or az://….", WHERE)]
    key = f"{PROBE_PREFIX}/{secrets.token_hex(8)}"
    steps: dict[str, Callable[[], Awaitable[object]]] = {
        "write": lambda: store.put(key, _probe()),
        "list": lambda: store.keys(PROBE_PREFIX),
        "read": lambda: _read(store, key),
        "delete": lambda: store.delete(key),
    }
    for right, step in steps.items():
        try:
            # A bucket that is away is tried again for minutes otherwise.
            async with asyncio.timeout(STEP_SECONDS):
                await step()
        except (CatalogueError, KeyError, OSError, TimeoutError) as error:
            return [_refused(right, error)]
    return await _space_findings(settings, store)


def is_refusal(error: BaseException | None) -> bool:
    """Whether the store has refused the access, so that another try is refused too. Looks at the causes."""
    while error is not None:
        if type(error).__name__ in REFUSALS:
            return True
        error = error.__cause__ or error.__context__
    return False


def _refused(right: str, error: BaseException) -> Finding:
    cause = error.__cause__ or error
    if is_refusal(error):
        text = f"The object store does not let the service {right} objects ({type(cause).__name__})."
        remedy = "Give its user the rights to write, read, list and delete below this address; check the credentials."
        return fail(SUBJECT, text, remedy, WHERE)
    text = f"The object store can't {right} an object: {reason_of(cause)}."
    return fail(
        SUBJECT, text, "Check the address, the network, the disk, and that the store runs.", WHERE, is_lasting=False
    )


async def _space_findings(settings: Settings, store: ObjectStore) -> list[Finding]:
    free = await store.free_bytes()
    if free is None:
        return [ok(SUBJECT, "Objects can be written, listed, read and deleted.", WHERE)]
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
    content = b"".join([block async for block in store.read(key)])
    if content != PROBE:
        raise OSError("it gives other bytes than were written")
