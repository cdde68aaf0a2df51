"""The audit of fault rows detects stale results and missing, duplicated or repeated notifications."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from tests.faults.audit import STALE, NotificationCounts, count_notifications
from tests.faults.injection.failing_receiver import FAILED_REACTIONS, Failures, Reaction
from tests.faults.injection.submission_load import Submission
from tests.faults.rows.queue_harness import fetch_number
from tests.integration.conftest import database
from tests.support.state import database_rows

__all__ = ["database"]

Event = tuple[str, dict[str, Any]]


def claimed(attempt: int, segment: int | None = None) -> Event:
    return "claimed", {"attempt": attempt} | ({} if segment is None else {"segment": segment})


@pytest.mark.parametrize(
    ("events", "stale"),
    [
        ([claimed(1), ("published", {"attempt": 1})], 0),
        ([claimed(1), claimed(2), ("published", {"attempt": 2})], 0),
        ([claimed(1), claimed(2), ("published", {"attempt": 1})], 1),
        ([claimed(1), claimed(2), ("split", {"attempt": 1, "segments": 2})], 1),
        # The planning task took two attempts, the assembling one took one.
        ([claimed(1), claimed(2), ("split", {"attempt": 2}), claimed(1), ("published", {"attempt": 1})], 0),
        ([claimed(1, 0), claimed(2, 0), ("segment_published", {"attempt": 1, "segment": 0})], 1),
        ([claimed(1, 0), claimed(1, 1), claimed(2, 1), ("segment_published", {"attempt": 1, "segment": 0})], 0),
        # A segment may take more attempts than the assembling task.
        ([claimed(1, 0), claimed(2, 0), claimed(1), ("published", {"attempt": 1})], 0),
    ],
)
async def test_result_of_a_superseded_attempt_is_stale(
    database: AsyncEngine, events: Sequence[Event], stale: int
) -> None:
    extraction_id = (await database_rows.accept_video(database)).extraction_id
    statement = "INSERT INTO events (extraction_id, kind, data) VALUES (:id, :kind, CAST(:data AS jsonb))"
    for kind, data in events:
        await database_rows.execute(database, statement, id=extraction_id, kind=kind, data=json.dumps(data))
    assert await fetch_number(database, STALE) == stale


class FixedReceiver:
    def __init__(self, received_ids: dict[str, list[str]]) -> None:
        self.failures, self._received_ids = Failures(), received_ids

    def received_ids(self) -> dict[str, list[str]]:
        return self._received_ids


def test_missing_duplicated_and_repeated_notifications_are_counted() -> None:
    sent = [Submission(key, b"", [("video", "extraction")]) for key in ("once", "again", "twice", "never")]
    refused = Submission("refused", b"")
    channel = FixedReceiver({"once": ["1"], "again": ["2", "2"], "twice": ["3", "4"]})
    assert count_notifications(channel, [*sent, refused]) == NotificationCounts(
        frozenset({"never"}), duplicated=1, repeated=1
    )


def test_failing_receiver_fails_in_every_way_as_often_as_configured() -> None:
    failures = Failures()
    failures.failing_tries = 2
    tries = [[failures.react(message) for _ in range(4)] for message in "abc"]
    assert all(reactions[2:] == [Reaction.RECEIVED, Reaction.RECEIVED] for reactions in tries)
    assert {reaction for reactions in tries for reaction in reactions[:2]} == set(FAILED_REACTIONS)
    assert failures.failed_tries == 6
