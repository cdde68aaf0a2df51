"""The audit of fault rows detects stale results and missing or repeated notifications."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from tests.faults.audit import STALE, Tellings, tellings
from tests.faults.injection.failing_receiver import FAILING, Failures, Way
from tests.faults.injection.submission_load import Sent
from tests.faults.rows.queue_harness import number
from tests.integration.conftest import database
from tests.support.state import database_rows

__all__ = ["database"]

Event = tuple[str, dict[str, Any]]


def claimed(attempt: int, segment: int | None = None) -> Event:
    return "claimed", {"attempt": attempt} | ({} if segment is None else {"segment": segment})


@pytest.mark.parametrize(
    ("happened", "stale"),
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
    database: AsyncEngine, happened: Sequence[Event], stale: int
) -> None:
    extraction_id = (await database_rows.accept_video(database)).extraction_id
    statement = "INSERT INTO events (extraction_id, kind, data) VALUES (:id, :kind, CAST(:data AS jsonb))"
    for kind, data in happened:
        await database_rows.execute(database, statement, id=extraction_id, kind=kind, data=json.dumps(data))
    assert await number(database, STALE) == stale


class Channel:
    def __init__(self, told: dict[str, list[str]]) -> None:
        self.fails, self._told = Failures(), told

    def told(self) -> dict[str, list[str]]:
        return self._told


def test_missing_doubled_and_repeated_notifications_are_counted() -> None:
    sent = [Sent(key, b"", [("video", "extraction")]) for key in ("once", "again", "twice", "never")]
    refused = Sent("refused", b"")
    channel = Channel({"once": ["1"], "again": ["2", "2"], "twice": ["3", "4"]})
    assert tellings(channel, [*sent, refused]) == Tellings(frozenset({"never"}), doubled=1, repeated=1)


def test_failing_receiver_fails_in_every_way_as_often_as_configured() -> None:
    fails = Failures()
    fails.first = 2
    tries = [[fails.meet(message) for _ in range(4)] for message in "abc"]
    assert all(ways[2:] == [Way.TAKEN, Way.TAKEN] for ways in tries)
    assert {way for ways in tries for way in ways[:2]} == set(FAILING)
    assert fails.made == 6
