"""Any order of the queue's verbs, by workers alive and stale: one winner, one end, nothing lost, nothing left waiting.

Hypothesis chooses the verbs; a model of a few dictionaries says what each must answer, and after every step the tables
are compared with it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, ClassVar, TypeVar
from uuid import UUID

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)
from sqlalchemy.ext.asyncio import AsyncEngine
from uuid_utils.compat import uuid7

from db import videos
from db.connection import open_database
from db.object_store import object_keys
from db.queue import fair_queueing, task_queue
from db.queue.replan import replan
from db.queue.task_queue import Claim, LeaseLost, Publication
from db.values.lifecycle import MAX_CRASHES, Blame, GiveUp, Retry
from db.values.segment import Segment
from tests.support.state import database_rows
from tests.support.state.queue_model import ENDED, ExtractionModel, QueueModel

T = TypeVar("T")

FRAMES = 4
"""Of each segment, and of a video that is made whole."""
MAKER = "auto/1"
LIMITS = (2, 3)
"""Open tasks that each of the accounts may have."""


AT = st.integers(0, 999)
"""Which of what there is: no choice of Hypothesis may hang on what concurrent workers happened to get."""


def chosen(among: Sequence[T], at: int) -> T | None:
    return among[at % len(among)] if among else None


def key_of(claim: Claim) -> str:
    return object_keys.result_prefix(claim.extraction_id, claim.lease.task_id, claim.lease.attempt)


class QueueMachine(RuleBasedStateMachine):
    runner: ClassVar[asyncio.Runner]
    database: ClassVar[AsyncEngine]

    def __init__(self) -> None:
        super().__init__()
        self.model = QueueModel()
        self.users: list[UUID] = []

    def run(self, work: Any) -> Any:
        return self.runner.run(work)

    @initialize()
    def accounts(self) -> None:
        for limit in LIMITS:
            self.users.append(self.run(database_rows.create_user(self.database, f"{uuid7()}@example.com")))
            self.run(fair_queueing.set_share(self.database, self.users[-1], weight=1.0, running_limit=limit))

    @rule(who=st.integers(0, 1))
    def accept(self, who: int) -> None:
        made = self.run(database_rows.accept_video(self.database, self.users[who]))
        self.model.extractions[made.extraction_id] = ExtractionModel(made.user_id, made.video_id)

    @rule(at=AT, maker=st.sampled_from([MAKER, "auto/2"]))
    def extract_again(self, at: int, maker: str) -> None:
        there = [each for each in self.model.extractions.values() if not each.deleted]
        if (of := chosen(there, at)) is None:
            return
        video = database_rows.Accepted(of.user_id, of.video_id, uuid7(), uuid7())
        # All videos of an account have the same bytes here.
        results = [each for each in there if each.user_id == of.user_id and each.status == "succeeded"]
        extraction_id = self.run(database_rows.accept_reextraction(self.database, video, engine_name=maker))
        row = self.run(database_rows.fetch_extraction(self.database, extraction_id))
        assert row.reused == (maker == MAKER and bool(results))
        made = ExtractionModel(of.user_id, of.video_id)
        if row.reused:
            made.status, made.reused, made.result_key = "succeeded", True, row.result_key
            assert made.result_key in {each.result_key for each in results}
        self.model.extractions[extraction_id] = made

    @rule(limits=st.lists(st.integers(1, 2), min_size=1, max_size=3))
    def claim(self, limits: list[int]) -> None:
        """Several workers at the same moment."""
        self.run(self._claim(limits))

    async def _claim(self, limits: list[int]) -> int:
        asked = (task_queue.claim(self.database, worker=f"w{n}", limit=limit) for n, limit in enumerate(limits))
        claims = [claim for batch in await asyncio.gather(*asked) for claim in batch]
        for claim in claims:
            of = self.model.extractions[claim.extraction_id]
            assert claim.lease.task_id not in self.model.live_claims
            assert claim.lease.attempt == self.model.attempts.get(claim.lease.task_id, 0) + 1
            assert not of.deleted
            assert of.status not in ENDED
            assert claim.sequential == (self.model.crashes.get(claim.lease.task_id, 0) == MAX_CRASHES - 1)
            of.status = "running"
            self.model.attempts[claim.lease.task_id] = claim.lease.attempt
            self.model.live_claims[claim.lease.task_id] = claim
        return len(claims)

    def drawn(self, at: int, kind: str | None = None) -> Claim | None:
        """One of the live claims."""
        return chosen([each for each in self.model.live_claims.values() if kind in (None, each.kind)], at)

    @rule(at=AT, frames=st.integers(0, FRAMES))
    def heartbeat(self, at: int, frames: int) -> None:
        if (claim := self.drawn(at)) is None:
            return
        if claim.kind == "extract":
            self.run(task_queue.plan(self.database, claim.lease, media={}, frames_total=FRAMES))
        if claim.kind != "assemble":
            self.run(task_queue.heartbeat(self.database, claim.lease, frames_done=frames))

    @rule(at=AT, count=st.integers(1, 3))
    def split(self, at: int, count: int) -> None:
        if (claim := self.drawn(at, "extract")) is None:
            return
        self.run(self._split(claim, count))
        self.model.extractions[claim.extraction_id].segments_left = count
        self.model.finish(claim)

    async def _split(self, claim: Claim, count: int) -> None:
        segments = [Segment(n, n * FRAMES, (n + 1) * FRAMES, 10) for n in range(count)]
        total = count * FRAMES
        await task_queue.split(
            self.database, claim.lease, media={}, frames_total=total, plan_key=key_of(claim), segments=segments
        )

    @rule(at=AT)
    def finish(self, at: int) -> None:
        if (claim := self.drawn(at)) is None:
            return
        self.run(self._finish(claim))
        self._finished(claim)

    async def _finish(self, claim: Claim) -> None:
        if claim.kind == "segment":
            await task_queue.publish_segment(self.database, claim.lease, key=key_of(claim), frames=FRAMES)
        else:
            publication = Publication(key_of(claim), MAKER, FRAMES, 99, "f" * 64, [])
            await task_queue.publish(self.database, claim.lease, publication)

    def _finished(self, claim: Claim) -> None:
        of = self.model.extractions[claim.extraction_id]
        self.model.finish(claim)
        if claim.kind == "segment":
            assert of.segments_left is not None
            of.segments_left -= 1
            self.model.segment_keys[claim.lease.task_id] = key_of(claim)
        else:
            of.result_key = key_of(claim)
            self.model.end(claim.extraction_id, "succeeded")

    @rule(at=AT, blame=st.sampled_from(Blame))
    def fail(self, at: int, blame: Blame) -> None:
        if (claim := self.drawn(at)) is None:
            return
        outcome = self.run(self._fail(claim, blame))
        crashes = self.model.crashes.get(claim.lease.task_id, 0) + (blame is Blame.CRASH)
        self.model.crashes[claim.lease.task_id] = crashes
        assert isinstance(outcome, GiveUp) == (blame is Blame.FILE or crashes >= MAX_CRASHES)
        if isinstance(outcome, GiveUp):
            self.model.end(claim.extraction_id, "failed")
        else:
            self.model.lose(claim)

    async def _fail(self, claim: Claim, blame: Blame) -> Retry | GiveUp:
        return await task_queue.fail(
            self.database, claim.lease, blame=blame, code="undecodable", detail="It broke.", jitter=0.0
        )

    @rule(at=AT)
    def replan(self, at: int) -> None:
        """Its worker has another engine than the plan."""
        split = [each for each in self.model.live_claims.values() if each.kind != "extract"]
        if (claim := chosen(split, at)) is not None:
            assert isinstance(self.run(self._replan(claim)), Retry)
            self.model.replan(claim)

    async def _replan(self, claim: Claim) -> Retry | GiveUp:
        return await replan(self.database, claim.lease, plan_engine="auto/2", jitter=0.0)

    @rule(at=AT)
    def release(self, at: int) -> None:
        if (claim := self.drawn(at)) is None:
            return
        self.run(task_queue.release(self.database, claim.lease))
        self.model.lose(claim)

    @rule(at=AT)
    def rescue(self, at: int) -> None:
        """Their leases run out, and two rescues run at once."""
        late = [claim for n, claim in enumerate(self.model.live_claims.values()) if at >> n & 1]
        self.run(self._rescue(late))

    async def _rescue(self, late: list[Claim]) -> None:
        past = "UPDATE tasks SET lease_expires_at = clock_timestamp() - interval '1 second' WHERE id = ANY(:ids)"
        await database_rows.execute(self.database, past, ids=[claim.lease.task_id for claim in late])
        rescues = [task_queue.rescue(self.database, jitter=0.0, lease_seconds=0) for _ in range(2)]
        assert sum(each.again for each in await asyncio.gather(*rescues)) == len(late)
        for claim in late:
            self.model.lose(claim)

    @rule()
    def pauses_pass(self) -> None:
        """The waits between the tries after an outage are over."""
        self.run(self._pauses_pass())

    async def _pauses_pass(self) -> None:
        await database_rows.execute(
            self.database, "UPDATE tasks SET ready_at = clock_timestamp() WHERE state = 'ready'"
        )

    @rule(at=AT)
    def cancel(self, at: int) -> None:
        there = [id for id, each in self.model.extractions.items() if not each.deleted]
        if (extraction_id := chosen(there, at)) is None:
            return
        was_live = self.model.extractions[extraction_id].status not in ENDED
        assert self.run(self._cancel(extraction_id)) == was_live
        if was_live:
            self.model.end(extraction_id, "cancelled")

    async def _cancel(self, extraction_id: UUID) -> bool:
        async with self.database.begin() as connection:
            return await task_queue.cancel(connection, extraction_id)

    @rule(at=AT)
    def delete(self, at: int) -> None:
        if (of := chosen(list(self.model.extractions.values()), at)) is None:
            return
        assert self.run(videos.delete(self.database, of.user_id, of.video_id)) == (not of.deleted)
        for extraction_id, each in self.model.extractions.items():
            if each.video_id == of.video_id and not each.deleted:
                self.model.end(extraction_id, each.status if each.status in ENDED else "cancelled")
                each.deleted = True

    @rule(at=AT)
    def finish_against_cancel(self, at: int) -> None:
        if (claim := self.drawn(at)) is None:
            return
        finished, cancelled = self.run(self._race(claim))
        assert finished is None or isinstance(finished, LeaseLost)
        if finished is None:
            self._finished(claim)
        assert cancelled == (self.model.extractions[claim.extraction_id].status not in ENDED)
        if cancelled:
            self.model.end(claim.extraction_id, "cancelled")

    async def _race(self, claim: Claim) -> tuple[BaseException | None, bool | BaseException]:
        both = (self._finish(claim), self._cancel(claim.extraction_id))
        return await asyncio.gather(*both, return_exceptions=True)

    @rule(at=AT)
    def a_stale_worker_writes(self, at: int) -> None:
        if (claim := chosen(self.model.stale_claims, at)) is not None:
            self.run(self._refused(claim))

    async def _refused(self, claim: Claim) -> None:
        writes = (
            task_queue.heartbeat(self.database, claim.lease, frames_done=1),
            task_queue.plan(self.database, claim.lease, media={}, frames_total=1),
            self._split(claim, 2),
            self._finish(claim),
            self._fail(claim, Blame.FILE),
            task_queue.release(self.database, claim.lease),
            self._replan(claim),
        )
        answers = await asyncio.gather(*writes, return_exceptions=True)
        assert [type(answer) for answer in answers] == [LeaseLost] * len(writes)

    @rule(at=AT)
    def an_end_is_written_again(self, at: int) -> None:
        """The answer to the COMMIT was lost."""
        there = [each for each in self.model.done_claims if not self.model.extractions[each.extraction_id].deleted]
        if (claim := chosen(there, at)) is not None:
            self.run(self._finish(claim))

    @invariant()
    def tables_are_as_the_model_says(self) -> None:
        if self.users:
            self.run(self.model.compare(self.database, self.users))

    def teardown(self) -> None:
        """Everything that was accepted comes to an end; then the tables are emptied for the next run."""
        if self.users:
            self.run(self._drain())
        self.run(database_rows.execute(self.database, "TRUNCATE users, tombstones CASCADE"))

    async def _drain(self) -> None:
        if self.model.live_claims:
            await self._rescue(list(self.model.live_claims.values()))
        while self.model.unended():
            await self._pauses_pass()
            assert await self._claim([2])
            for claim in list(self.model.live_claims.values()):
                await self._finish(claim)
                self._finished(claim)
        await self.model.compare(self.database, self.users)
        assert await fair_queueing.admit_throttled(self.database) == 0


def test_any_order_of_queue_operations_keeps_the_invariants(database_url: str) -> None:
    with asyncio.Runner() as runner:
        database = open_database(database_url, name="test", connections=8)
        bound = type("Bound", (QueueMachine,), {"runner": runner, "database": database})
        chosen = settings(
            max_examples=20,
            stateful_step_count=40,
            deadline=None,
            database=None,
            suppress_health_check=list(HealthCheck),
        )
        run_state_machine_as_test(bound, settings=chosen)
        runner.run(database.dispose())
