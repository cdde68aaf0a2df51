"""A model of the queue in dictionaries, and the comparison of the tables with it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from db.queue.task_queue import Claim

ENDED = {"succeeded", "failed", "cancelled"}

TASKS = """
    SELECT id, extraction_id, user_id, kind, state::text, attempt, leased_by, segment_key, segment_number FROM tasks
"""
EXTRACTIONS = """
    SELECT extractions.id, status::text, reused, version, attempt, segments_left, frames_done, result_key, finished_at,
        error_code,
        (SELECT count(*) FROM events WHERE extraction_id = extractions.id
            AND kind IN ('published', 'reused', 'failed', 'cancelled')) AS ends,
        (SELECT count(*) FROM outbox WHERE extraction_id = extractions.id AND channel = 'email') AS emails
    FROM extractions
"""


@dataclass
class ExtractionModel:
    """The expected state of one accepted extraction. segments_left: None until it is split."""

    user_id: UUID
    video_id: UUID
    status: str = "queued"
    reused: bool = False
    deleted: bool = False
    segments_left: int | None = None
    result_key: str | None = None
    end: tuple[Any, ...] | None = None


@dataclass
class QueueModel:
    extractions: dict[UUID, ExtractionModel] = field(default_factory=dict)
    live_claims: dict[UUID, Claim] = field(default_factory=dict)  # by task
    done_claims: list[Claim] = field(default_factory=list)
    stale_claims: list[Claim] = field(default_factory=list)
    attempts: dict[UUID, int] = field(default_factory=dict)
    crashes: dict[UUID, int] = field(default_factory=dict)
    segment_keys: dict[UUID, str] = field(default_factory=dict)

    def lose(self, claim: Claim) -> None:
        self.stale_claims.append(self.live_claims.pop(claim.lease.task_id))
        if claim.kind == "extract" and self.extractions[claim.extraction_id].status == "running":
            self.extractions[claim.extraction_id].status = "queued"

    def replan(self, claim: Claim) -> None:
        """The claimed task becomes the planning task again; all other claims of the extraction become stale."""
        claims = [
            each
            for each in (*self.live_claims.values(), *self.done_claims, *self.stale_claims)
            if each.extraction_id == claim.extraction_id
        ]
        for each in claims:
            if each in self.done_claims:
                self.done_claims.remove(each)
                self.stale_claims.append(each)
            elif self.live_claims.get(each.lease.task_id) == each:
                self.lose(each)
        expected = self.extractions[claim.extraction_id]
        expected.status, expected.segments_left = "queued", None
        self.attempts[claim.lease.task_id] = max(each.lease.attempt for each in claims)
        self.crashes[claim.lease.task_id] = 0

    def finish(self, claim: Claim) -> None:
        self.done_claims.append(self.live_claims.pop(claim.lease.task_id))

    def end(self, extraction_id: UUID, status: str) -> None:
        self.extractions[extraction_id].status = status
        for claim in [each for each in self.live_claims.values() if each.extraction_id == extraction_id]:
            self.lose(claim)

    def unended(self) -> list[UUID]:
        return [id for id, each in self.extractions.items() if not each.deleted and each.status not in ENDED]

    async def compare(self, database: AsyncEngine, user_ids: list[UUID]) -> None:
        """Asserts that the tables equal the model and keep the queue's invariants."""
        async with database.connect() as connection:
            tasks = (await connection.execute(text(TASKS))).all()
            extractions = (await connection.execute(text(EXTRACTIONS))).all()
            shares = (await connection.execute(text("SELECT user_id, running_limit, open FROM shares"))).all()
            accepted, deleted = [
                set((await connection.execute(text(statement), {"ids": user_ids})).scalars())
                for statement in (
                    "SELECT extraction_id FROM acceptances WHERE user_id = ANY(:ids)",
                    "SELECT extraction_id FROM tombstones WHERE user_id = ANY(:ids)",
                )
            ]
        existing = {id for id, each in self.extractions.items() if not each.deleted}
        assert accepted == set(self.extractions)
        assert ({row.id for row in extractions}, deleted) == (existing, accepted - existing)
        self._check_leases(tasks)
        for row in extractions:
            self._check_extraction(row, [task for task in tasks if task.extraction_id == row.id])
        for share in shares:
            self._check_share(share, [task.state for task in tasks if task.user_id == share.user_id])

    def _check_leases(self, tasks: Any) -> None:
        leased = {(row.id, row.attempt, row.leased_by) for row in tasks if row.state == "leased"}
        assert leased == {
            (each.lease.task_id, each.lease.attempt, each.lease.worker) for each in self.live_claims.values()
        }
        assert all(row.attempt == self.attempts.get(row.id, 0) for row in tasks)
        assert all(row.segment_key == self.segment_keys.get(row.id) for row in tasks)

    def _check_extraction(self, row: Any, tasks: list[Any]) -> None:
        expected = self.extractions[row.id]
        live = [task for task in tasks if task.state in ("throttled", "ready", "leased")]
        unfinished = [task for task in tasks if task.kind == "segment" and task.state != "done"]
        is_ended = expected.status in ENDED
        assert (row.status, row.reused, row.segments_left) == (expected.status, expected.reused, expected.segments_left)
        assert row.result_key == expected.result_key
        assert row.attempt == max((task.attempt for task in tasks), default=0)
        assert bool(live) != is_ended
        if expected.segments_left is not None:
            assert len(unfinished) == expected.segments_left
        assert sum(task.kind == "assemble" for task in tasks) == (expected.segments_left == 0)
        assert (row.ends, row.emails) == (int(is_ended), int(is_ended and not expected.reused))
        if is_ended:
            expected.end = expected.end or tuple(row)
            assert tuple(row) == expected.end

    def _check_share(self, share: Any, states: list[str]) -> None:
        open_tasks = sum(state in ("ready", "leased") for state in states)
        assert share.open == open_tasks <= share.running_limit
        assert "throttled" not in states or open_tasks == share.running_limit
