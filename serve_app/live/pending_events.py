"""What one stream has still to send. Pure.

A slow client does not make a queue: of each extraction only the newest snapshot waits, and at most MAX_PENDING_BYTES
wait in all. When there are more, they are dropped, and the stream reads from the database what it has not sent.
"""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

MAX_PENDING_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True)
class Batch:
    """snapshots: to be sent now. start: all before this transaction was sent earlier. end: the same after this batch.

    is_incomplete: the snapshots were dropped. What changed from `start` on must be read from the database.
    """

    snapshots: tuple[bytes, ...]
    start: int
    end: int
    is_incomplete: bool


class PendingEvents:
    """start: the oldest transaction whose changes are added from now on. max_bytes: of the snapshots that wait."""

    def __init__(self, start: int, max_bytes: int) -> None:
        self._start = self._end = start
        self._max_bytes = max_bytes
        self._snapshots: dict[UUID, bytes] = {}
        self._bytes = 0
        self._is_incomplete = False

    @property
    def is_empty(self) -> bool:
        return not self._snapshots and not self._is_incomplete

    @property
    def end(self) -> int:
        """All changes before this transaction were added."""
        return self._end

    def add(self, extraction_id: UUID, snapshot: bytes) -> None:
        """Replaces an older snapshot of the same extraction."""
        if self._is_incomplete:
            return
        self._bytes += len(snapshot) - len(self._snapshots.get(extraction_id, b""))
        self._snapshots[extraction_id] = snapshot
        # A single snapshot is always kept: the database would give the same one.
        if self._bytes > self._max_bytes and len(self._snapshots) > 1:
            self._snapshots, self._bytes, self._is_incomplete = {}, 0, True

    def advance(self, end: int) -> None:
        """All changes before the transaction `end` were added."""
        self._end = end

    def take(self) -> Batch:
        """Returns all that waits, and removes it."""
        batch = Batch(tuple(self._snapshots.values()), self._start, self._end, self._is_incomplete)
        self._snapshots, self._bytes, self._is_incomplete, self._start = {}, 0, False, self._end
        return batch
