"""Finishes work that the disconnection of a client must not interrupt."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import TypeVar

import structlog

T = TypeVar("T")

log = structlog.get_logger(__name__)


async def run_to_completion(work: Awaitable[T]) -> T:
    """Waits until `work` ends, even when the caller is cancelled; then the cancellation is raised."""
    task = asyncio.ensure_future(work)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        while not task.done():
            try:
                await asyncio.wait({task})
            except asyncio.CancelledError:
                continue
        if not task.cancelled() and (error := task.exception()) is not None:
            log.warning("A cancelled request failed.", event_name="request.failed", exc_info=error)
        raise
