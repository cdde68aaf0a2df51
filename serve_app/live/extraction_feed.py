"""The feed of changes in one replica. It looks for changes once for all streams, and gives each stream its account's.

It looks only while a stream is open. A change is found at the first look after its commit: POLL_SECONDS later at most,
without Redis and without NOTIFY, which would serialize the commits of the whole database.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator, Sequence
from uuid import UUID

import structlog
from sqlalchemy.ext.asyncio import AsyncEngine

from db import extraction_change_feed
from db.accounts import accounts
from db.accounts.accounts import Principal
from db.cache import Cache
from db.connection import is_outage
from db.extraction_change_feed import Change, Position
from db.values.error_catalogue import CatalogueError
from db.videos import RepresentationKey
from serve_app import cached_representations
from serve_app.http.json_response import encode_json
from serve_app.live import pending_events
from serve_app.live.pending_events import PendingEvents

POLL_SECONDS = 0.1
CHECK_SECONDS = 1.0
"""How often progress, sessions and API keys are looked at."""
OUTAGE_PAUSE_SECONDS = 1.0
CHUNK = 100
"""The most representations that are read at a time."""
MAX_STREAMS = 500
"""The most streams of one replica."""
MAX_ACCOUNT_STREAMS = 20
RETRY_SECONDS = 10
MAX_CONCURRENT_READS = 4
"""Streams that read what they have missed at a time. After the restart of a replica all of them come at once."""

log = structlog.get_logger(__name__)


class Subscription:
    """One stream's part of the feed. changed: set when there is something to send, or the subscription has ended."""

    def __init__(self, principal: Principal, start: int) -> None:
        self.user_id, self.credential_id = principal.user_id, principal.credential_id
        self.pending = PendingEvents(start, pending_events.MAX_PENDING_BYTES)
        self.changed = asyncio.Event()
        self.has_ended = False

    def end(self) -> None:
        self.has_ended = True
        self.changed.set()


class ExtractionFeed:
    """The feed of one replica. `open` a subscription, and `end` it."""

    def __init__(self, database: AsyncEngine, cache: Cache) -> None:
        self._database, self._cache = database, cache
        self._subscriptions: set[Subscription] = set()
        self._task: asyncio.Task[None] | None = None
        self._position = Position("", 0)
        self._versions: dict[UUID, int] = {}
        self._check_at = 0.0
        # A subscription begins at a position, so it can't begin while the feed is on its way to the next one.
        self._lock = asyncio.Lock()
        self._reads = asyncio.Semaphore(MAX_CONCURRENT_READS)
        self._is_closed = False

    @property
    def count(self) -> int:
        return len(self._subscriptions)

    async def open(self, principal: Principal) -> Subscription:
        """Begins a subscription of the account's changes.

        Raises CatalogueError `too_many_streams`, `streams_full`, or `unavailable` when the replica is ending.
        """
        async with self._lock:
            self._refuse_beyond_limits(principal.user_id)
            if self._task is None:
                self._position = await extraction_change_feed.read_position(self._database)
                self._task = asyncio.create_task(self._run())
            subscription = Subscription(principal, self._position.oldest)
            self._subscriptions.add(subscription)
            return subscription

    def end(self, subscription: Subscription) -> None:
        """Ends a subscription. After the last one the feed stops."""
        subscription.end()
        self._subscriptions.discard(subscription)

    async def close(self) -> None:
        """Ends all streams, and refuses new ones: this replica is ending."""
        self._is_closed = True
        self._end_all()
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def read_missed(self, user_id: UUID, start: int) -> Sequence[RepresentationKey] | None:
        """Returns what may have changed from the transaction `start` on; None when nobody can tell."""
        async with self._reads:
            return await extraction_change_feed.read_missed(self._database, user_id, start)

    async def read_unended(self, user_id: UUID) -> Sequence[RepresentationKey]:
        """Returns the account's extractions that wait or run."""
        async with self._reads:
            return await extraction_change_feed.read_unended(self._database, user_id)

    async def read_snapshots(self, keys: Sequence[RepresentationKey]) -> dict[UUID, bytes]:
        """Returns the JSON of the extractions, by id. One that was deleted meanwhile is left out."""
        found = await cached_representations.read_by_id(self._database, self._cache, keys)
        return {extraction_id: encode_json(each.extraction) for extraction_id, each in found.items()}

    def _refuse_beyond_limits(self, user_id: UUID) -> None:
        if self._is_closed:
            raise CatalogueError("unavailable", "This replica is ending.", retry_after=1)
        if Counter(each.user_id for each in self._subscriptions)[user_id] >= MAX_ACCOUNT_STREAMS:
            detail = f"{MAX_ACCOUNT_STREAMS} streams of this account are open."
            raise CatalogueError("too_many_streams", detail, retry_after=RETRY_SECONDS)
        if self.count >= MAX_STREAMS:
            raise CatalogueError("streams_full", f"{MAX_STREAMS} streams are open.", retry_after=RETRY_SECONDS)

    async def _run(self) -> None:
        try:
            while self._subscriptions:
                pause = await self._try_to_look()
                await asyncio.sleep(pause)
        except Exception:
            log.exception("The feed of changes failed; its clients connect again.", event_name="feed.failed")
            self._end_all()
        finally:
            self._task, self._versions, self._check_at = None, {}, 0.0

    async def _try_to_look(self) -> float:
        """Returns the seconds until the next look. During an outage the position stays, so nothing is missed."""
        try:
            await self._look()
        except Exception as error:
            if not is_outage(error):
                raise
            log.warning("The feed of changes waits for the database.", event_name="feed.paused", error=str(error))
            return OUTAGE_PAUSE_SECONDS
        return POLL_SECONDS

    async def _look(self) -> None:
        async with self._lock:
            user_ids = {each.user_id for each in self._subscriptions}
            position, changes = await extraction_change_feed.read_changes(self._database, self._position, user_ids)
            self._versions |= {change.key.extraction_id: change.key.version for change in changes}
            if asyncio.get_running_loop().time() >= self._check_at:
                changes = [*changes, *await self._check(user_ids)]
            await self._distribute(changes)
            self._position = position
            for subscription in self._subscriptions:
                subscription.pending.advance(position.oldest)
                if not subscription.pending.is_empty:
                    subscription.changed.set()

    async def _check(self, user_ids: set[UUID]) -> Sequence[Change]:
        """Ends the streams of ended sessions and deleted API keys.

        Returns the extractions that have progressed since the last check.
        """
        credentials = {each.credential_id for each in self._subscriptions}
        live = await accounts.live_credentials(self._database, credentials)
        for subscription in tuple(self._subscriptions):
            if subscription.credential_id not in live:
                subscription.end()
        running = await extraction_change_feed.read_running(self._database, user_ids)
        known, self._versions = self._versions, {each.key.extraction_id: each.key.version for each in running}
        self._check_at = asyncio.get_running_loop().time() + CHECK_SECONDS
        return [change for change in running if known.get(change.key.extraction_id, 0) < change.key.version]

    async def _distribute(self, changes: Sequence[Change]) -> None:
        owners = {change.key.extraction_id: change.user_id for change in changes}
        keys = {change.key.extraction_id: change.key for change in changes}
        by_user: dict[UUID, list[Subscription]] = {}
        for subscription in self._subscriptions:
            by_user.setdefault(subscription.user_id, []).append(subscription)
        for chunk in in_chunks(list(keys.values())):
            for extraction_id, snapshot in (await self.read_snapshots(chunk)).items():
                for subscription in by_user.get(owners[extraction_id], ()):
                    subscription.pending.add(extraction_id, snapshot)

    def _end_all(self) -> None:
        for subscription in self._subscriptions:
            subscription.end()


def in_chunks(keys: Sequence[RepresentationKey]) -> Iterator[Sequence[RepresentationKey]]:
    """Yields the keys, CHUNK at a time."""
    return (keys[start : start + CHUNK] for start in range(0, len(keys), CHUNK))
