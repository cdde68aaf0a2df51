"""Submits every object below a prefix of a bucket. Needs no Ray: the service is a parameter."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from fnmatch import fnmatchcase
from typing import Protocol

from cluster.client.api_types import Failure, Video
from cluster.client.errors import ApiError, FotogramaError
from cluster.client.retry_policy import IN_PROGRESS, RetryPolicy, is_transient

PATIENCE_SECONDS = 3600.0
PATIENT = RetryPolicy(attempts=None, patience_seconds=PATIENCE_SECONDS, in_progress_seconds=PATIENCE_SECONDS)
"""Of one object: until a place in the queue is free, or until the API is there again."""


@dataclass(frozen=True, slots=True)
class Submission:
    """reused: the same object was submitted before; `video` is then as it was accepted, once."""

    video: Video
    reused: bool


class SubmittingService(Protocol):
    """What `ServiceHandle` does."""

    async def list_sources(self, url: str, after: str | None = None) -> list[str]: ...

    async def submit(self, url: str, spec: str | None = None) -> Submission: ...


class OutcomeKind(StrEnum):
    ACCEPTED = "accepted"
    """A new video."""
    REUSED = "reused"
    """Submitted before: nothing was added."""
    REFUSED = "refused"
    """The object, or the account's quota, does not allow it. The same run again changes nothing."""
    FAILED = "failed"
    """The service did not take it in time. The same run again does it."""


@dataclass(frozen=True, slots=True)
class ObjectOutcome:
    """What became of one object. failure: of one that was not submitted."""

    url: str
    kind: OutcomeKind
    video: Video | None = None
    failure: Failure | None = None


@dataclass(slots=True)
class IngestSummary:
    """objects: how many were listed; the counts add up to it. listing_failure: why the list is not whole."""

    objects: int = 0
    counts: Counter[OutcomeKind] = field(default_factory=Counter)
    listing_failure: Failure | None = None


def failed_outcome(url: str, error: FotogramaError) -> ObjectOutcome:
    """Whether the same run again can help decides between failed and refused."""
    may_pass = isinstance(error, ApiError) and (is_transient(error.status, error.code) or error.code == IN_PROGRESS)
    kind = OutcomeKind.FAILED if error.fault == "service" or may_pass else OutcomeKind.REFUSED
    return ObjectOutcome(url, kind, failure=_failure(error))


def is_included(url: str, prefix: str, patterns: Sequence[str]) -> bool:
    """Whether an object's path below the prefix, or its name, matches one of the patterns; without patterns all do."""
    path = url.removeprefix(prefix.rstrip("/")).lstrip("/")
    name = path.rpartition("/")[2]
    return not patterns or any(fnmatchcase(path, pattern) or fnmatchcase(name, pattern) for pattern in patterns)


async def ingest_prefix(
    service: SubmittingService,
    prefix: str,
    spec: str | None = None,
    *,
    patterns: Sequence[str] = (),
    concurrency: int = 16,
    on_outcome: Callable[[ObjectOutcome, IngestSummary], None] = lambda outcome, summary: None,
) -> IngestSummary:
    """Submits `concurrency` objects at a time. One that is not taken does not stop the others.

    At most one page of the list and `2 * concurrency` objects are in memory. on_outcome: called after each object.
    """
    summary = IngestSummary()
    waiting: asyncio.Queue[str | None] = asyncio.Queue(concurrency)

    async def list_objects() -> None:
        try:
            async for url in _listed(service, prefix):
                if is_included(url, prefix, patterns):
                    summary.objects += 1
                    await waiting.put(url)
        except FotogramaError as error:
            # What has been listed is submitted all the same.
            summary.listing_failure = _failure(error)
        for _ in range(concurrency):
            await waiting.put(None)

    async def submit_objects() -> None:
        while (url := await waiting.get()) is not None:
            outcome = await _submit(service, url, spec)
            summary.counts[outcome.kind] += 1
            on_outcome(outcome, summary)

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(list_objects())
        for _ in range(concurrency):
            tasks.create_task(submit_objects())
    return summary


async def _listed(service: SubmittingService, prefix: str) -> AsyncIterator[str]:
    after: str | None = None
    while page := await service.list_sources(prefix, after):
        for url in page:
            yield url
        after = page[-1]


async def _submit(service: SubmittingService, url: str, spec: str | None) -> ObjectOutcome:
    try:
        submission = await service.submit(url, spec)
    except FotogramaError as error:
        return failed_outcome(url, error)
    return ObjectOutcome(url, OutcomeKind.REUSED if submission.reused else OutcomeKind.ACCEPTED, submission.video)


def _failure(error: FotogramaError) -> Failure:
    return Failure(error.code, error.detail, error.fault, error.remedy)
