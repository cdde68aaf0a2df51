"""Admission control: decides whether a request may be accepted. An upload is decided from its headers alone.

The checks are ordered by their cost: rate (Redis), quota (Postgres), queue depth (cached for a second), disk space. A
repeated request whose response is stored passes no check. A request that an existing result answers adds nothing that
waits or is stored: only its rate is checked.
"""

from __future__ import annotations

import math
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractContextManager, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncEngine

from db.acceptance import quotas
from db.acceptance.quotas import Quotas
from db.cache import Cache
from db.object_store.object_store import ObjectStore
from db.values.error_catalogue import CatalogueError
from serve_app.security.rate_limit import RateLimit, RateLimiter

BUSY_RETRY_SECONDS = 1
QUEUE_RETRY_SECONDS = 15
STORAGE_RETRY_SECONDS = 60
DEPTH_CACHE_SECONDS = 1.0
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


def check_depth(max_tasks: int, waiting: int) -> None:
    """Raises CatalogueError `queue_full`."""
    if waiting >= max_tasks:
        raise CatalogueError("queue_full", f"{max_tasks} tasks or more wait already.", retry_after=QUEUE_RETRY_SECONDS)


def check_storage(free_bytes: int | None, *, incoming_bytes: int, size: int, min_free_bytes: int) -> None:
    """Checks that `size` more bytes fit beside the uploads that are still incoming.

    free_bytes: None when the store has no bound. Raises CatalogueError `storage_full`.
    """
    if free_bytes is not None and free_bytes - incoming_bytes - size < min_free_bytes:
        raise CatalogueError("storage_full", retry_after=STORAGE_RETRY_SECONDS)


@dataclass(slots=True)
class AdmissionControl:
    """Decides for one replica. Each refusal says after how many seconds to try again.

    Quotas are exact, because the accepting transaction checks them again. The others are not: the rate during an outage
    of Redis (each replica then allows the whole rate), the queue's depth (replicas may exceed it while a count is
    cached), and the disk space (each replica counts only its own uploads).
    """

    database: AsyncEngine
    cache: Cache
    objects: ObjectStore
    limits: AdmissionLimits
    clock: Callable[[], float] = time.monotonic
    _uploads: int = 0
    _incoming_bytes: int = 0
    _depth: int = 0
    _depth_expires_at: float = -math.inf
    _local_rate: RateLimiter = field(init=False)

    def __post_init__(self) -> None:
        self._local_rate = RateLimiter(self.limits.rate, clock=self.clock)

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

        Raises CatalogueError as `check_rate` and `check_capacity`, and `busy` when this replica has too many uploads.
        """
        if self._uploads >= self.limits.max_concurrent_uploads:
            raise CatalogueError("busy", retry_after=BUSY_RETRY_SECONDS)
        # Counted before the checks, which await: uploads that arrive meanwhile are checked against this one too.
        earlier_bytes = self._incoming_bytes
        with self._counted(size):
            await self.check_rate(user_id)
            await self._check_capacity(user_id, size=size, incoming_bytes=earlier_bytes)
            yield

    async def admit_new_upload(self, user_id: UUID, size: int) -> None:
        """Decides about an upload by tus of `size` bytes, 0 when its size is deferred. Its bytes come later.

        Raises CatalogueError as `check_rate` and `check_capacity`.
        """
        await self.check_rate(user_id)
        announced_bytes = await quotas.announced_bytes(self.database)
        await self._check_capacity(user_id, size=size, incoming_bytes=self._incoming_bytes + announced_bytes)

    @asynccontextmanager
    async def admit_chunks(self, size: int) -> AsyncIterator[None]:
        """Decides about `size` bytes of an upload by tus, and counts them while the block runs.

        Raises CatalogueError `busy` or `storage_full`.
        """
        if self._uploads >= self.limits.max_concurrent_uploads:
            raise CatalogueError("busy", retry_after=BUSY_RETRY_SECONDS)
        earlier_bytes = self._incoming_bytes
        with self._counted(size):
            free_bytes, min_free_bytes = await self.objects.free_bytes(), self.limits.min_free_bytes
            check_storage(free_bytes, incoming_bytes=earlier_bytes, size=size, min_free_bytes=min_free_bytes)
            yield

    def admit_replay(self) -> AbstractContextManager[None]:
        """Counts a repeated upload while the block runs. It is always admitted, and its body is never stored."""
        return self._counted(0)

    @contextmanager
    def _counted(self, size: int) -> Iterator[None]:
        self._uploads += 1
        self._incoming_bytes += size
        try:
            yield
        finally:
            self._uploads -= 1
            self._incoming_bytes -= size

    async def _check_capacity(self, user_id: UUID, *, size: int, incoming_bytes: int) -> None:
        await quotas.precheck(self.database, user_id, self.limits.quotas, files=1, size=size)
        check_depth(self.limits.max_queued_tasks, await self._queue_depth())
        free_bytes, min_free_bytes = await self.objects.free_bytes(), self.limits.min_free_bytes
        check_storage(free_bytes, incoming_bytes=incoming_bytes, size=size, min_free_bytes=min_free_bytes)

    async def _queue_depth(self) -> int:
        started = self.clock()
        if started >= self._depth_expires_at:
            # Set first: concurrent requests use the old count instead of counting too.
            self._depth_expires_at = started + DEPTH_CACHE_SECONDS
            self._depth = await quotas.queue_depth(self.database, self.limits.max_queued_tasks)
            elapsed = self.clock() - started
            self._depth_expires_at = started + max(DEPTH_CACHE_SECONDS, elapsed * DEPTH_CACHE_RATIO)
        return self._depth
