"""Any order of queue operations, by live and stale workers, loses no task, ends each once, and leaves none waiting.

Hypothesis chooses the operations. A model made of a few dictionaries says what each operation must return. After every
step the tables are compared with the model.
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
"""Frames of each segment, and of a video that is not split."""
ENGINE = "auto/1"
LIMITS = (2, 3)
"""The running limits of the two accounts."""


INDEX = st.integers(0, 999)
"""Chooses one of the existing items, modulo their number. A strategy over the items themselves could not be repeated:
which claims exist depends on the timing of concurrent workers."""


def choose(items: Sequence[T], index: int) -> T | None:
    return items[index % len(items)] if items else None


def key_of(claim: Claim) -> str:
    return object_keys.result_prefix(claim.extraction_id, claim.lease.task_id, claim.lease.attempt)


class QueueMachine(RuleBasedStateMachine):
    runner: ClassVar[asyncio.Runner]
    database: ClassVar[AsyncEngine]

    def __init__(self) -> None:
        super().__init__()
        self.model = QueueModel()
        self.users: list[UUID] = []

    def run(self, coroutine: Any) -> Any:
        return self.runner.run(coroutine)

    @initialize()
    def accounts(self) -> None:
        for limit in LIMITS:
            self.users.append(self.run(database_rows.create_user(self.database, f"{uuid7()}@example.com")))
            self.run(fair_queueing.set_share(self.database, self.users[-1], weight=1.0, running_limit=limit))

    @rule(user_index=st.integers(0, 1))
    def accept(self, user_index: int) -> None:
        accepted = self.run(database_rows.accept_video(self.database, self.users[user_index]))
        self.model.extractions[accepted.extraction_id] = ExtractionModel(accepted.user_id, accepted.video_id)

    @rule(index=INDEX, engine=st.sampled_from([ENGINE, "auto/2"]))
    def extract_again(self, index: int, engine: str) -> None:
        existing = [each for each in self.model.extractions.values() if not each.deleted]
        if (original := choose(existing, index)) is None:
            return
        video = database_rows.Accepted(original.user_id, original.video_id, uuid7(), uuid7())
        # All videos of an account have the same bytes here.
        results = [each for each in existing if each.user_id == original.user_id and each.status == "succeeded"]
        extraction_id = self.run(database_rows.accept_reextraction(self.database, video, engine_name=engine))
        row = self.run(database_rows.fetch_extraction(self.database, extraction_id))
        assert row.reused == (engine == ENGINE and bool(results))
        expected = ExtractionModel(original.user_id, original.video_id)
        if row.reused:
            expected.status, expected.reused, expected.result_key = "succeeded", True, row.result_key
            assert expected.result_key in {each.result_key for each in results}
        self.model.extractions[extraction_id] = expected

    @rule(limits=st.lists(st.integers(1, 2), min_size=1, max_size=3))
    def claim(self, limits: list[int]) -> None:
        """Several workers claim at the same moment."""
        self.run(self._claim(limits))

    async def _claim(self, limits: list[int]) -> int:
        calls = (task_queue.claim(self.database, worker=f"w{n}", limit=limit) for n, limit in enumerate(limits))
        claims = [claim for batch in await asyncio.gather(*calls) for claim in batch]
        for claim in claims:
            expected = self.model.extractions[claim.extraction_id]
            assert claim.lease.task_id not in self.model.live_claims
            assert claim.lease.attempt == self.model.attempts.get(claim.lease.task_id, 0) + 1
            assert not expected.deleted
            assert expected.status not in ENDED
            assert claim.sequential == (self.model.crashes.get(claim.lease.task_id, 0) == MAX_CRASHES - 1)
            expected.status = "running"
            self.model.attempts[claim.lease.task_id] = claim.lease.attempt
            self.model.live_claims[claim.lease.task_id] = claim
        return len(claims)

    def choose_live_claim(self, index: int, kind: str | None = None) -> Claim | None:
        """Chooses one of the live claims, of this kind if given."""
        return choose([each for each in self.model.live_claims.values() if kind in (None, each.kind)], index)

    @rule(index=INDEX, frames=st.integers(0, FRAMES))
    def heartbeat(self, index: int, frames: int) -> None:
        if (claim := self.choose_live_claim(index)) is None:
            return
        if claim.kind == "extract":
            self.run(task_queue.plan(self.database, claim.lease, media={}, frames_total=FRAMES))
        if claim.kind != "assemble":
            self.run(task_queue.heartbeat(self.database, claim.lease, frames_done=frames))

    @rule(index=INDEX, count=st.integers(1, 3))
    def split(self, index: int, count: int) -> None:
        if (claim := self.choose_live_claim(index, "extract")) is None:
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

    @rule(index=INDEX)
    def finish(self, index: int) -> None:
        if (claim := self.choose_live_claim(index)) is None:
            return
        self.run(self._finish(claim))
        self._record_finish(claim)

    async def _finish(self, claim: Claim) -> None:
        if claim.kind == "segment":
            await task_queue.publish_segment(self.database, claim.lease, key=key_of(claim), frames=FRAMES)
        else:
            publication = Publication(key_of(claim), ENGINE, FRAMES, 99, "f" * 64, [])
            await task_queue.publish(self.database, claim.lease, publication)

    def _record_finish(self, claim: Claim) -> None:
        expected = self.model.extractions[claim.extraction_id]
        self.model.finish(claim)
        if claim.kind == "segment":
            assert expected.segments_left is not None
            expected.segments_left -= 1
            self.model.segment_keys[claim.lease.task_id] = key_of(claim)
        else:
            expected.result_key = key_of(claim)
            self.model.end(claim.extraction_id, "succeeded")

    @rule(index=INDEX, blame=st.sampled_from(Blame))
    def fail(self, index: int, blame: Blame) -> None:
        if (claim := self.choose_live_claim(index)) is None:
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

    @rule(index=INDEX)
    def replan(self, index: int) -> None:
        """The engine of the claim's worker is not the engine of the plan."""
        split_claims = [each for each in self.model.live_claims.values() if each.kind != "extract"]
        if (claim := choose(split_claims, index)) is not None:
            assert isinstance(self.run(self._replan(claim)), Retry)
            self.model.replan(claim)

    async def _replan(self, claim: Claim) -> Retry | GiveUp:
        return await replan(self.database, claim.lease, plan_engine="auto/2", jitter=0.0)

    @rule(index=INDEX)
    def release(self, index: int) -> None:
        if (claim := self.choose_live_claim(index)) is None:
            return
        self.run(task_queue.release(self.database, claim.lease))
        self.model.lose(claim)

    @rule(index=INDEX)
    def rescue(self, index: int) -> None:
        """Some leases expire, and two maintenance processes rescue at once."""
        expired = [claim for n, claim in enumerate(self.model.live_claims.values()) if index >> n & 1]
        self.run(self._rescue(expired))

    async def _rescue(self, expired: list[Claim]) -> None:
        expire = "UPDATE tasks SET lease_expires_at = clock_timestamp() - interval '1 second' WHERE id = ANY(:ids)"
        await database_rows.execute(self.database, expire, ids=[claim.lease.task_id for claim in expired])
        rescues = [task_queue.rescue(self.database, jitter=0.0, lease_seconds=0) for _ in range(2)]
        assert sum(each.again for each in await asyncio.gather(*rescues)) == len(expired)
        for claim in expired:
            self.model.lose(claim)

    @rule()
    def skip_pauses(self) -> None:
        """The pauses before retries are over."""
        self.run(self._skip_pauses())

    async def _skip_pauses(self) -> None:
        await database_rows.execute(
            self.database, "UPDATE tasks SET ready_at = clock_timestamp() WHERE state = 'ready'"
        )

    @rule(index=INDEX)
    def cancel(self, index: int) -> None:
        existing = [id for id, each in self.model.extractions.items() if not each.deleted]
        if (extraction_id := choose(existing, index)) is None:
            return
        was_live = self.model.extractions[extraction_id].status not in ENDED
        assert self.run(self._cancel(extraction_id)) == was_live
        if was_live:
            self.model.end(extraction_id, "cancelled")

    async def _cancel(self, extraction_id: UUID) -> bool:
        async with self.database.begin() as connection:
            return await task_queue.cancel(connection, extraction_id)

    @rule(index=INDEX)
    def delete(self, index: int) -> None:
        if (chosen := choose(list(self.model.extractions.values()), index)) is None:
            return
        assert self.run(videos.delete(self.database, chosen.user_id, chosen.video_id)) == (not chosen.deleted)
        for extraction_id, each in self.model.extractions.items():
            if each.video_id == chosen.video_id and not each.deleted:
                self.model.end(extraction_id, each.status if each.status in ENDED else "cancelled")
                each.deleted = True

    @rule(index=INDEX)
    def finish_against_cancel(self, index: int) -> None:
        if (claim := self.choose_live_claim(index)) is None:
            return
        finished, cancelled = self.run(self._race(claim))
        assert finished is None or isinstance(finished, LeaseLost)
        if finished is None:
            self._record_finish(claim)
        assert cancelled == (self.model.extractions[claim.extraction_id].status not in ENDED)
        if cancelled:
            self.model.end(claim.extraction_id, "cancelled")

    async def _race(self, claim: Claim) -> tuple[BaseException | None, bool | BaseException]:
        calls = (self._finish(claim), self._cancel(claim.extraction_id))
        return await asyncio.gather(*calls, return_exceptions=True)

    @rule(index=INDEX)
    def write_with_a_stale_lease(self, index: int) -> None:
        if (claim := choose(self.model.stale_claims, index)) is not None:
            self.run(self._assert_lease_lost(claim))

    async def _assert_lease_lost(self, claim: Claim) -> None:
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

    @rule(index=INDEX)
    def repeat_an_end(self, index: int) -> None:
        """The answer to the COMMIT was lost, so that the worker repeats it."""
        existing = [each for each in self.model.done_claims if not self.model.extractions[each.extraction_id].deleted]
        if (claim := choose(existing, index)) is not None:
            self.run(self._finish(claim))

    @invariant()
    def tables_equal_the_model(self) -> None:
        if self.users:
            self.run(self.model.compare(self.database, self.users))

    def teardown(self) -> None:
        """Ends everything that was accepted, then empties the tables for the next run."""
        if self.users:
            self.run(self._drain())
        self.run(database_rows.execute(self.database, "TRUNCATE users, tombstones CASCADE"))

    async def _drain(self) -> None:
        if self.model.live_claims:
            await self._rescue(list(self.model.live_claims.values()))
        while self.model.unended():
            await self._skip_pauses()
            assert await self._claim([2])
            for claim in list(self.model.live_claims.values()):
                await self._finish(claim)
                self._record_finish(claim)
        await self.model.compare(self.database, self.users)
        assert await fair_queueing.admit_throttled(self.database) == 0


def test_any_order_of_queue_operations_keeps_the_invariants(database_url: str) -> None:
    with asyncio.Runner() as runner:
        database = open_database(database_url, name="test", connections=8)
        machine = type("Bound", (QueueMachine,), {"runner": runner, "database": database})
        chosen_settings = settings(
            max_examples=20,
            stateful_step_count=40,
            deadline=None,
            database=None,
            suppress_health_check=list(HealthCheck),
        )
        run_state_machine_as_test(machine, settings=chosen_settings)
        runner.run(database.dispose())
