"""Admission control: decides whether a request may be accepted. An upload is decided from its headers alone.

The checks are ordered by their cost: pause (cached for a second), rate (Redis), quota (Postgres), queue depth (cached
for a second), disk space. A repeated request whose response is stored passes no check. A request that an existing
result answers adds nothing that waits or is stored: only the pause and its rate are checked.
"""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractContextManager, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from db import operator_controls
from db.acceptance import quotas, resumable_uploads
from db.acceptance.quotas import Quotas
from db.acceptance.resumable_uploads import UploadState
from db.cache import Cache
from db.object_store.object_store import ObjectStore
from db.queue import queue_status
from db.values.error_catalogue import CatalogueError
from serve_app.security.rate_limit import RateLimit, RateLimiter

BUSY_RETRY_SECONDS = 1
QUEUE_RETRY_SECONDS = 15
STORAGE_RETRY_SECONDS = 60
PAUSED_RETRY_SECONDS = 30
PAUSE_CACHE_SECONDS = 1.0
DEPTH_CACHE_SECONDS = 1.0
ANNOUNCED_CACHE_SECONDS = 1.0
DEPTH_CACHE_RATIO = 20
"""A count of the queue is cached for at least this many times as long as counting took."""


@dataclass(frozen=True, slots=True)
class AdmissionLimits:
    """rate: of one user's requests that create something. max_queued_tasks: of all users together.

    max_concurrent_uploads: in one replica. min_free_bytes: space of the object store that stays free.
    """

    rate: RateLimit
    quotas: Quotas
    max_queued_tasks: int
    max_concurrent_uploads: int
    min_free_bytes: int


def check_concurrency(max_uploads: int, uploads: int, of_account: int) -> None:
    """Checks that one more upload may be read beside so many, of which the account has `of_account`.

    An account that has half of the places gets none of the last eighth, so that one account does not keep out all
    others. Raises CatalogueError `busy` or `too_many_requests`.
    """
    free = max_uploads - uploads
    if free <= 0:
        raise CatalogueError("busy", retry_after=BUSY_RETRY_SECONDS)
    kept_for_others = min(max_uploads - 1, max(1, max_uploads // 8))
    if free <= kept_for_others and 2 * of_account >= max_uploads:
        detail = f"{of_account} of your uploads are being read; the last places are for other accounts."
        raise CatalogueError("too_many_requests", detail, retry_after=BUSY_RETRY_SECONDS)


def check_depth(max_tasks: int, waiting: int) -> None:
    """Raises CatalogueError `queue_full`."""
    if waiting >= max_tasks:
        raise CatalogueError("queue_full", f"{max_tasks} tasks or more wait already.", retry_after=QUEUE_RETRY_SECONDS)


def check_storage(free_bytes: int | None, *, incoming_bytes: int, size: int, min_free_bytes: int) -> None:
    """Checks that `size` more bytes fit beside the uploads that are still incoming.

    free_bytes: None when the store has no bound. Raises CatalogueError `storage_full`.
    """
    room = None if free_bytes is None else free_bytes - incoming_bytes - min_free_bytes
    if room is not None and size > room:
        detail = f"There is room for {max(0, room):,} bytes beside what is on its way; this needs {size:,}."
        raise CatalogueError("storage_full", detail, retry_after=STORAGE_RETRY_SECONDS)


@dataclass(slots=True)
class AdmissionControl:
    """Decides for one replica. Each refusal says after how many seconds to try again.

    Quotas are exact, because the accepting transaction checks them again. So is the room that uploads by tus announce.
    The others are not: the rate during an outage of Redis (each replica then allows the whole rate), the queue's depth
    (replicas may exceed it while a count is cached), and the disk space of what is not announced (each replica counts
    only its own requests).

    upload_expiry_seconds: an upload by tus that gets no byte for so long is discarded.
    """

    database: AsyncEngine
    cache: Cache
    objects: ObjectStore
    limits: AdmissionLimits
    upload_expiry_seconds: float
    clock: Callable[[], float] = time.monotonic
    _uploads: Counter[UUID] = field(default_factory=Counter)
    _incoming_bytes: int = 0
    _announced_chunk_bytes: int = 0
    _depth: int = 0
    _depth_expires_at: float = -math.inf
    _announced: int = 0
    _announced_expires_at: float = -math.inf
    _is_paused: bool | None = None
    _pause_expires_at: float = -math.inf
    _local_rate: RateLimiter = field(init=False)

    def __post_init__(self) -> None:
        self._local_rate = RateLimiter(self.limits.rate, clock=self.clock)

    async def check_accepting(self) -> None:
        """Raises CatalogueError `paused` while an operator has paused accepting."""
        now = self.clock()
        if self._is_paused is None or now >= self._pause_expires_at:
            # Set first: concurrent requests use the old answer instead of asking too.
            self._pause_expires_at = now + PAUSE_CACHE_SECONDS
            pauses = await operator_controls.pauses(self.database)
            self._is_paused = pauses.accepting_paused_at is not None
        if self._is_paused:
            raise CatalogueError("paused", retry_after=PAUSED_RETRY_SECONDS)

    async def check_rate(self, user_id: UUID) -> None:
        """Counts a request that creates something. Raises CatalogueError `too_many_requests`."""
        key = str(user_id)
        wait = await self.cache.take_turn(f"pace:{key}", self.limits.rate.burst, self.limits.rate.refill_seconds)
        if wait is None:
            self._local_rate.take(key)
        elif wait > 0:
            raise CatalogueError("too_many_requests", retry_after=math.ceil(wait))
        else:
            # Counted here as well: an outage of Redis gives no account a second burst.
            self._local_rate.count(key)

    async def check_capacity(self, user_id: UUID) -> None:
        """Checks that one more extraction of a stored video may wait.

        Raises CatalogueError `too_many_waiting`, `quota_exceeded`, `minutes_exceeded`, `queue_full` or `storage_full`.
        """
        await self._check_capacity(user_id, size=0, incoming_bytes=self._incoming_bytes)

    @asynccontextmanager
    async def admit_upload(self, user_id: UUID, size: int) -> AsyncIterator[None]:
        """Decides about an upload of `size` bytes, and counts it while the block runs.

        Raises CatalogueError as `check_accepting`, `check_concurrency`, `check_rate` and `check_capacity`.
        """
        await self.check_accepting()
        self._check_concurrency(user_id)
        # Counted before the checks, which await: uploads that arrive meanwhile are checked against this one too.
        earlier_bytes = self._incoming_bytes
        with self._counted(user_id, size):
            await self.check_rate(user_id)
            await self._check_capacity(user_id, size=size, incoming_bytes=earlier_bytes)
            yield

    async def admit_new_upload(self, user_id: UUID, size: int) -> None:
        """Decides about an upload by tus of `size` bytes, 0 when its size is deferred. Its bytes come later.

        Raises CatalogueError as `check_accepting`, `check_rate` and `check_capacity`.
        """
        await self.check_accepting()
        await self.check_rate(user_id)
        await self._check_capacity(user_id, size=size, incoming_bytes=self._incoming_bytes)

    async def admit_announced(self, connection: AsyncConnection, size: int) -> None:
        """Checks, in the transaction that announces `size` bytes, that they fit beside all that is announced.

        Raises CatalogueError `storage_full`.
        """
        if await self.objects.free_bytes() is None:
            return
        await resumable_uploads.lock_announcements(connection)
        announced = await resumable_uploads.announced_bytes(connection, expiry_seconds=self.upload_expiry_seconds)
        await self._check_storage(size, self._incoming_bytes + announced)
        self._announced_expires_at = -math.inf

    @asynccontextmanager
    async def admit_chunks(self, upload: UploadState) -> AsyncIterator[None]:
        """Decides about a request that brings bytes of an upload by tus, and counts it while the block runs.

        Raises CatalogueError as `check_accepting` and `check_concurrency`; `storage_full` when the upload was idle and
        its room has been given to others.
        """
        await self.check_accepting()
        self._check_concurrency(upload.user_id)
        with self._counted(upload.user_id, 0):
            now = datetime.now(UTC)
            if not resumable_uploads.is_active(upload, now, expiry_seconds=self.upload_expiry_seconds):
                rest = 0 if upload.size is None else upload.size - upload.received
                await self._check_storage(rest, self._incoming_bytes + await self._announced_bytes())
            yield

    @asynccontextmanager
    async def admit_chunk(self, size: int, *, announced: bool) -> AsyncIterator[None]:
        """Decides about one chunk object of at most `size` bytes, and counts them while the block writes it.

        announced: whether the upload has announced its bytes, so that there is room for them already; the disk is
        looked at all the same, because others write to it too. Raises CatalogueError `storage_full`.
        """
        earlier_bytes = self._announced_chunk_bytes + self._incoming_bytes
        with self._chunk_counted(size, announced=announced):
            await self._check_storage(size, earlier_bytes + (0 if announced else await self._announced_bytes()))
            yield

    async def max_video_bytes(self, most: int) -> int:
        """Returns the size of the largest video that fits: `most`, or less when the disk has no room for it."""
        free_bytes = await self.objects.free_bytes()
        return most if free_bytes is None else max(0, min(most, free_bytes - self.limits.min_free_bytes))

    def admit_replay(self, user_id: UUID) -> AbstractContextManager[None]:
        """Counts a repeated upload while the block runs. It is always admitted, and its body is never stored."""
        return self._counted(user_id, 0)

    def _check_concurrency(self, user_id: UUID) -> None:
        check_concurrency(self.limits.max_concurrent_uploads, self._uploads.total(), self._uploads[user_id])

    @contextmanager
    def _counted(self, user_id: UUID, size: int) -> Iterator[None]:
        self._uploads[user_id] += 1
        self._incoming_bytes += size
        try:
            yield
        finally:
            self._uploads[user_id] -= 1
            if not self._uploads[user_id]:
                del self._uploads[user_id]
            self._incoming_bytes -= size

    @contextmanager
    def _chunk_counted(self, size: int, *, announced: bool) -> Iterator[None]:
        """Announced bytes are counted in the database already, for all checks but those of other chunks."""
        self._announced_chunk_bytes += size if announced else 0
        self._incoming_bytes += 0 if announced else size
        try:
            yield
        finally:
            self._announced_chunk_bytes -= size if announced else 0
            self._incoming_bytes -= 0 if announced else size

    async def _check_capacity(self, user_id: UUID, *, size: int, incoming_bytes: int) -> None:
        await quotas.precheck(self.database, user_id, self.limits.quotas, files=1, size=size)
        check_depth(self.limits.max_queued_tasks, await self._queue_depth())
        # What stores nothing itself is refused when the disk is full, not when it will be.
        await self._check_storage(size, incoming_bytes + (await self._announced_bytes() if size else 0))

    async def _check_storage(self, size: int, incoming_bytes: int) -> None:
        free_bytes, min_free_bytes = await self.objects.free_bytes(), self.limits.min_free_bytes
        check_storage(free_bytes, incoming_bytes=incoming_bytes, size=size, min_free_bytes=min_free_bytes)

    async def _announced_bytes(self) -> int:
        """As they were a second ago at most."""
        if self.clock() >= self._announced_expires_at:
            self._announced_expires_at = self.clock() + ANNOUNCED_CACHE_SECONDS
            async with self.database.connect() as connection:
                self._announced = await resumable_uploads.announced_bytes(
                    connection, expiry_seconds=self.upload_expiry_seconds
                )
        return self._announced

    async def _queue_depth(self) -> int:
        started = self.clock()
        if started >= self._depth_expires_at:
            # Set first: concurrent requests use the old count instead of counting too.
            self._depth_expires_at = started + DEPTH_CACHE_SECONDS
            self._depth = await queue_status.queue_depth(self.database, self.limits.max_queued_tasks)
            elapsed = self.clock() - started
            self._depth_expires_at = started + max(DEPTH_CACHE_SECONDS, elapsed * DEPTH_CACHE_RATIO)
        return self._depth
