"""Limits how many exports of accounts a replica sends at a time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from uuid import UUID

from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from db.values.error_catalogue import CatalogueError

MAX_EXPORTS = 4
"""The most exports of one replica at a time. An export reads all that an account has."""
RETRY_SECONDS = 60


@dataclass(slots=True)
class ConcurrentExports:
    """The exports that one replica sends: one of each account, and MAX_EXPORTS in all."""

    _user_ids: set[UUID] = field(default_factory=set)

    @property
    def count(self) -> int:
        return len(self._user_ids)

    def begin(self, user_id: UUID) -> Callable[[], None]:
        """Counts an export. Returns a function that ends it. Raises CatalogueError `too_many_requests`."""
        if user_id in self._user_ids:
            raise CatalogueError(
                "too_many_requests", "An export of this account is being sent.", retry_after=RETRY_SECONDS
            )
        if self.count >= MAX_EXPORTS:
            raise CatalogueError(
                "too_many_requests", f"{MAX_EXPORTS} exports are being sent.", retry_after=RETRY_SECONDS
            )
        self._user_ids.add(user_id)
        return lambda: self._user_ids.discard(user_id)


class EndingResponse(StreamingResponse):
    """A streaming response that calls `on_end` when it has been sent or aborted."""

    on_end: Callable[[], None]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            self.on_end()
