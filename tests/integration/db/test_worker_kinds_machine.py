"""Any order of arrivals, claims by both kinds, waits and outages of the GPU pool: the rule holds, and all work ends.

Hypothesis chooses the steps. Time passes in steps of WAIT_SECONDS, so that the time of the test itself decides nothing.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Any, ClassVar
from uuid import UUID

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine
from uuid_utils.compat import uuid7

from db.connection import open_database
from db.queue import queue_demand, task_queue
from db.queue.task_queue import Claim
from db.queue.worker_kinds import GpuWorker, sign_of_gpu_worker, sign_of_kind
from db.values.worker_kind import GPU_WORK_BYTES, PATIENCE_SECONDS, SEEN_SECONDS, WorkerKind, may_claim, preferred_kind
from tests.support.state import database_rows
from tests.support.state.queue_steps import publish_result

CPU, GPU = WorkerKind.CPU, WorkerKind.GPU
WAIT_SECONDS = 40.0
assert WAIT_SECONDS < PATIENCE_SECONDS < 2 * WAIT_SECONDS
assert WAIT_SECONDS < SEEN_SECONDS < 2 * WAIT_SECONDS

AGE = """
    UPDATE tasks SET ready_at = ready_at - make_interval(secs => :seconds) WHERE state = 'ready';
    UPDATE worker_kinds SET seen_at = seen_at - make_interval(secs => :seconds);
    UPDATE gpu_workers SET seen_at = seen_at - make_interval(secs => :seconds)
"""


@dataclass
class KindsModel:
    """waited: of each ready task. pool_age: since the last sign of the pool. workers: whether each GPU worker can
    decode, and for how long it has been silent.
    """

    prefers: dict[UUID, WorkerKind] = field(default_factory=dict)
    waited: dict[UUID, float] = field(default_factory=dict)
    pool_age: float = float("inf")
    workers: dict[str, tuple[bool, float]] = field(default_factory=dict)

    @property
    def gpu_exists(self) -> bool:
        living = [can_decode for can_decode, age in self.workers.values() if age < SEEN_SECONDS]
        return self.pool_age < SEEN_SECONDS and (not living or any(living))

    def may_claim(self, worker: WorkerKind, task: UUID) -> bool:
        return may_claim(worker, self.prefers[task], waited_seconds=self.waited[task], gpu_exists=self.gpu_exists)

    def age(self) -> None:
        self.pool_age += WAIT_SECONDS
        self.waited = {task: waited + WAIT_SECONDS for task, waited in self.waited.items()}
        self.workers = {name: (can, age + WAIT_SECONDS) for name, (can, age) in self.workers.items()}


class KindsMachine(RuleBasedStateMachine):
    runner: ClassVar[asyncio.Runner]
    database: ClassVar[AsyncEngine]

    def __init__(self) -> None:
        super().__init__()
        self.model = KindsModel()
        self.held: list[Claim] = []
        self.user = UUID(int=0)

    def run(self, coroutine: Any) -> Any:
        return self.runner.run(coroutine)

    @initialize()
    def account(self) -> None:
        self.user = self.run(database_rows.create_user(self.database, f"{uuid7()}@example.com"))

    @rule(is_big=st.booleans())
    def accept(self, is_big: bool) -> None:
        size = GPU_WORK_BYTES if is_big else 1000
        task = self.run(database_rows.accept_video(self.database, self.user, size=size)).task_id
        self.model.prefers[task] = preferred_kind(size, gpu_exists=self.model.gpu_exists)
        self.model.waited[task] = 0.0

    @rule(kind=st.sampled_from(WorkerKind))
    def claim(self, kind: WorkerKind) -> None:
        expected = self._first(kind)
        claims = self.run(task_queue.claim(self.database, worker="w", kind=kind))
        assert [claim.lease.task_id for claim in claims] == expected
        self.held += claims
        for claim in claims:
            assert claim.prefers is self.model.prefers[claim.lease.task_id]
            del self.model.waited[claim.lease.task_id]

    @rule(is_released=st.booleans())
    def end_oldest_claim(self, is_released: bool) -> None:
        if not self.held:
            return
        claim = self.held.pop(0)
        if is_released:
            self.run(task_queue.release(self.database, claim.lease))
            self.model.waited[claim.lease.task_id] = 0.0
        else:
            self.run(publish_result(self.database, claim.lease))
            del self.model.prefers[claim.lease.task_id]

    @rule()
    def time_passes(self) -> None:
        self.run(self._age())

    @rule()
    def pool_gives_a_sign(self) -> None:
        self.run(sign_of_kind(self.database, GPU))
        self.model.pool_age = 0.0

    @rule(name=st.sampled_from(["g1", "g2"]), can_decode=st.booleans())
    def gpu_worker_gives_a_sign(self, name: str, can_decode: bool) -> None:
        self.run(sign_of_gpu_worker(self.database, GpuWorker(name, can_decode, "")))
        self.model.workers[name] = (can_decode, 0.0)
        if can_decode:
            self.model.pool_age = 0.0

    @invariant()
    def each_ready_task_counts_for_one_kind(self) -> None:
        by_kind = self.run(queue_demand.demand(self.database, pixels_per_second=1.0, segment_seconds=1.0))
        left = [task for task in self.model.waited if not self.model.may_claim(CPU, task)]
        for_gpus = [task for task in self.model.waited if self.model.prefers[task] is GPU]
        assert by_kind[GPU].ready == len(left)
        assert by_kind[GPU].passed_on == len(for_gpus) - len(left)
        assert by_kind[CPU].ready == len(self.model.waited) - len(left)

    def teardown(self) -> None:
        """CPU workers alone end everything that was accepted, although the GPU pool gives signs of life."""
        for _ in range(2):
            self.run(self._age())
        while self.held:
            self.end_oldest_claim(is_released=False)
        self.pool_gives_a_sign()
        for _ in range(len(self.model.waited)):
            self.claim(CPU)
        assert self.model.waited == {}
        self.run(database_rows.execute(self.database, "TRUNCATE users, tombstones, worker_kinds, gpu_workers CASCADE"))

    def _first(self, kind: WorkerKind) -> list[UUID]:
        """What a worker should claim: at most one task."""
        ready = [task for task in self.run(self._in_order()) if self.model.may_claim(kind, task)]
        own = [task for task in ready if self.model.prefers[task] is GPU]
        return (own if kind is GPU and own else ready)[:1]

    async def _in_order(self) -> list[UUID]:
        statement = text("SELECT id FROM tasks WHERE state = 'ready' ORDER BY priority DESC, virtual_finish, id")
        async with self.database.connect() as connection:
            return list((await connection.execute(statement)).scalars())

    async def _age(self) -> None:
        for statement in AGE.split(";"):
            await database_rows.execute(self.database, statement, seconds=WAIT_SECONDS)
        self.model.age()


def test_any_order_of_steps_keeps_the_rule_and_ends_all_work(database_url: str) -> None:
    with asyncio.Runner() as runner:
        database = open_database(database_url, name="test", connections=2)
        machine = type("Bound", (KindsMachine,), {"runner": runner, "database": database})
        chosen_settings = settings(
            max_examples=15,
            stateful_step_count=25,
            deadline=None,
            database=None,
            suppress_health_check=list(HealthCheck),
        )
        run_state_machine_as_test(machine, settings=chosen_settings)
        runner.run(database.dispose())
