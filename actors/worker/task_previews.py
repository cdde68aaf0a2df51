"""The previews of a task's attempt: from the child's folder into the object store.

A preview is only for those who wait: what goes wrong with it never ends a task, and a heartbeat never waits for it.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import structlog

from actors.worker.verify_child_files import BadOutputError, read_preview
from db.object_store.object_keys import preview_key
from db.object_store.object_store import ObjectStore
from db.queue.task_queue import Claim, Preview
from db.values.error_catalogue import CatalogueError

SUFFIXES = (".jpg", ".vtt")
log = structlog.get_logger()


class TaskPreviews:
    """The previews of one attempt, each in the place of the one before."""

    def __init__(self, claim: Claim, objects: ObjectStore) -> None:
        self._claim, self._objects = claim, objects
        self._announced, self._is_announced = 0, asyncio.Event()
        self._told: Preview | None = None
        self._written: list[Preview] = []
        self.stored: Preview | None = None
        """The newest one whose objects are in the store, for the next heartbeat to tell."""

    def announce(self, frames: int) -> None:
        """The child has written the preview of so many images."""
        # Another reader may start over: a preview of fewer images is not shown after one of more.
        if frames > self._announced:
            self._announced = frames
            self._is_announced.set()

    def tell(self, preview: Preview | None) -> None:
        """A heartbeat has told the database of this preview."""
        self._told = preview

    @asynccontextmanager
    async def taken_from(self, folder: Path) -> AsyncIterator[None]:
        """Stores the previews that the child announces and writes into this folder while the block runs."""
        # The folder itself, whatever the child puts in its place.
        opened = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        storing = asyncio.create_task(self._store_all(opened))
        try:
            yield
        finally:
            storing.cancel()
            try:
                await asyncio.wait({storing})
            finally:
                os.close(opened)
            if not storing.cancelled() and (error := storing.exception()) is not None:
                log.error("The previews of a task failed.", event_name="preview.failed", exc_info=error)

    async def delete(self) -> None:
        """Deletes the previews of this attempt. Maintenance deletes what is left."""
        await self._delete([*self._written])

    async def _store_all(self, folder: int) -> None:
        """Returns when a preview is not what it has to be: then none of this attempt is looked at any more."""
        while True:
            await self._is_announced.wait()
            self._is_announced.clear()
            try:
                await self._store(folder, self._announced)
            except FileNotFoundError:
                # A newer one has replaced it and is announced next.
                continue
            except (CatalogueError, OSError) as error:
                log.warning("A preview could not be stored.", event_name="preview.missed", error=str(error))
            except BadOutputError as error:
                task_id = str(self._claim.lease.task_id)
                log.warning(
                    "The child's preview is refused.", event_name="preview.refused", task_id=task_id, error=str(error)
                )
                return

    async def _store(self, folder: int, frames: int) -> None:
        # Few bytes, just written: in a thread the reading could outlast this task, whose end closes the folder.
        contents = read_preview(folder, frames)
        lease = self._claim.lease
        key = preview_key(self._claim.extraction_id, lease.task_id, lease.attempt, frames)
        preview = Preview(key, frames)
        # Who asks for the preview that the database knows must still find it.
        outdated = [other for other in self._written if other != self._told]
        self._written.append(preview)
        for suffix, content in zip(SUFFIXES, contents, strict=True):
            await self._objects.put(f"{key}{suffix}", _one_chunk(content))
        self.stored = preview
        await self._delete(outdated)

    async def _delete(self, previews: list[Preview]) -> None:
        for preview in previews:
            for suffix in SUFFIXES:
                with suppress(CatalogueError):
                    await self._objects.delete(f"{preview.key}{suffix}")
            self._written.remove(preview)


async def _one_chunk(content: bytes) -> AsyncIterator[bytes]:
    yield content
