"""Whether a request may come in: an upload is decided about from its headers, before its body is read.

The order is from cheap to dear: rate (Redis), quota (Postgres), queue depth (kept for a second), disk. A request whose
Idempotency-Key has an answer already never gets here: it is answered again past any limit. One that a stored result
answers adds nothing that waits or is stored: only its rate is asked about.
"""

from __future__ import annotations

import math
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
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
DEPTH_KEPT_SECONDS = 1.0
DEPTH_SHARE = 20
"""A depth is kept for at least so many times as long as it took to count: counting has at most this part of a core."""


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


def check_depth(most: int, waiting: int) -> None:
    """Raises CatalogueError `queue_full`."""
    if waiting >= most:
        raise CatalogueError("queue_full", f"{most} tasks or more wait already.", retry_after=QUEUE_RETRY_SECONDS)


def check_storage(free: int | None, *, coming: int, size: int, reserve: int) -> None:
    """Whether `size` bytes fit beside those that are `coming` in. free: None when the store has no bound.

    Raises CatalogueError `storage_full`.
    """
    if free is not None and free - coming - size < reserve:
        raise CatalogueError("storage_full", retry_after=STORAGE_RETRY_SECONDS)


@dataclass(slots=True)
class AdmissionControl:
    """One replica's doorkeeper. Each of its refusals says after how many seconds to ask again.

    Exact: quotas, by the accepting transaction. Not exact: the rate, while Redis is away (each replica allows the whole
    pace), the queue's depth, which replicas may pass by what they accept while a count is kept, and the store's
    reserve, for which each replica counts what comes in by itself.
    """

    database: AsyncEngine
    cache: Cache
    objects: ObjectStore
    limits: AdmissionLimits
    clock: Callable[[], float] = time.monotonic
    _bodies: int = 0
    _coming: int = 0
    _depth: int = 0
    _depth_until: float = -math.inf
    _local: RateLimiter = field(init=False)

    def __post_init__(self) -> None:
        self._local = RateLimiter(self.limits.rate, clock=self.clock)

    async def take_turn(self, user_id: UUID) -> None:
        """Counts a request that makes something. Raises CatalogueError `too_many_requests`."""
        key = str(user_id)
        wait = await self.cache.take_turn(f"pace:{key}", self.limits.rate.burst, self.limits.rate.refill_seconds)
        if wait is None:
            self._local.take(key)
        elif wait > 0:
            raise CatalogueError("too_many_requests", retry_after=math.ceil(wait))
        else:
            # So that Redis's going away does not give everybody a second burst.
            self._local.count(key)

    async def check_room(self, user_id: UUID) -> None:
        """Whether one more extraction of a stored video may wait.

        Raises CatalogueError `too_many_waiting`, `quota_exceeded`, `queue_full` or `storage_full`.
        """
        await self._check_room(user_id, size=0, coming=self._coming)

    @asynccontextmanager
    async def upload(self, user_id: UUID, size: int) -> AsyncIterator[None]:
        """While a body of at most `size` bytes comes in, from the decision about it on.

        Raises CatalogueError as `take_turn` and `check_room`, and `busy` when this replica reads all the bodies it may.
        """
        if self._bodies >= self.limits.max_concurrent_uploads:
            raise CatalogueError("busy", retry_after=BUSY_RETRY_SECONDS)
        # Counted before the decision, which takes time: whoever comes meanwhile is checked against this one as well.
        ahead = self._coming
        with self._counted(size):
            await self.take_turn(user_id)
            await self._check_room(user_id, size=size, coming=ahead)
            yield

    def repeated(self) -> AbstractContextManager[None]:
        """While the body of a repeated call is read, which is always read and never stored."""
        return self._counted(0)

    @contextmanager
    def _counted(self, size: int) -> Iterator[None]:
        self._bodies += 1
        self._coming += size
        try:
            yield
        finally:
            self._bodies -= 1
            self._coming -= size

    async def _check_room(self, user_id: UUID, *, size: int, coming: int) -> None:
        await quotas.foresee(self.database, user_id, self.limits.quotas, files=1, size=size)
        check_depth(self.limits.max_queued_tasks, await self._queue_depth())
        free = await self.objects.free_bytes()
        check_storage(free, coming=coming, size=size, reserve=self.limits.min_free_bytes)

    async def _queue_depth(self) -> int:
        started = self.clock()
        if started >= self._depth_until:
            # Set first: requests at the same time use the old count and don't count again.
            self._depth_until = started + DEPTH_KEPT_SECONDS
            self._depth = await quotas.depth(self.database, self.limits.max_queued_tasks)
            took = self.clock() - started
            self._depth_until = started + max(DEPTH_KEPT_SECONDS, took * DEPTH_SHARE)
        return self._depth


Admit = Callable[[], Awaitable[object]]
