"""Work is left to its kind of workers for a while, and no longer."""

from __future__ import annotations

import asyncio
import json
from itertools import product

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from db.queue import queue_demand, task_queue
from db.queue.fair_queueing import work_of
from db.queue.queue_demand import QueueDemand
from db.queue.task_queue import Claim
from db.queue.worker_kinds import (
    GpuWorker,
    living_gpu_workers,
    remove_gpu_worker,
    sign_of_gpu_worker,
    sign_of_kind,
)
from db.values.lifecycle import Blame
from db.values.worker_kind import GPU_WORK_BYTES, PATIENCE_SECONDS, WorkerKind, may_claim, preferred_kind
from tests.support.state import database_rows
from tests.support.state.database_rows import Accepted
from tests.support.state.queue_steps import cancel_extraction, claim_one, fail_task, publish_result

CPU, GPU = WorkerKind.CPU, WorkerKind.GPU


async def accept(database: AsyncEngine, size: int = 1000) -> Accepted:
    return await database_rows.accept_video(database, size=size)


async def accept_for_gpu(database: AsyncEngine) -> Accepted:
    await sign_of_kind(database, GPU)
    return await accept(database, GPU_WORK_BYTES)


async def claim(database: AsyncEngine, kind: WorkerKind, worker: str = "w") -> Claim | None:
    claims = await task_queue.claim(database, worker=worker, kind=kind)
    return claims[0] if claims else None


async def set_waited(database: AsyncEngine, seconds: float) -> None:
    await database_rows.execute(
        database,
        "UPDATE tasks SET ready_at = clock_timestamp() - make_interval(secs => :seconds) WHERE state = 'ready'",
        seconds=seconds,
    )


async def end_kind(database: AsyncEngine) -> None:
    """The GPU pool has given no sign of life for a long time."""
    await database_rows.execute(database, "UPDATE worker_kinds SET seen_at = seen_at - interval '1 h'")


async def demand(database: AsyncEngine) -> tuple[QueueDemand, QueueDemand]:
    by_kind = await queue_demand.demand(database, pixels_per_second=1000.0, segment_seconds=100.0)
    return by_kind[CPU], by_kind[GPU]


async def test_big_work_prefers_a_gpu_where_there_are_some(database: AsyncEngine) -> None:
    for exists, size in product([False, True], [GPU_WORK_BYTES - 1, GPU_WORK_BYTES]):
        if exists:
            await sign_of_kind(database, GPU)
        task = await database_rows.fetch_task(database, (await accept(database, size)).task_id)
        assert task.prefers == preferred_kind(size, gpu_exists=exists)


async def test_extracting_again_prefers_the_same_kind(database: AsyncEngine) -> None:
    accepted = await accept_for_gpu(database)
    await database_rows.accept_reextraction(database, accepted)
    rows = await database_rows.fetch_one(database, "SELECT array_agg(prefers) AS all FROM tasks")
    assert rows.all == ["gpu", "gpu"]


async def test_video_that_was_probed_prefers_by_its_frames_and_not_by_its_bytes(database: AsyncEngine) -> None:
    await sign_of_kind(database, GPU)
    accepted = await accept(database)
    for frames, side, kind in [(10, 1000, CPU), (10_000, 1000, GPU), (2**31 - 1, 2**31 - 1, GPU)]:
        media = {"width": side, "height": side, "frames": frames}
        assert preferred_kind(work_of(media, frames), gpu_exists=True) is kind
        await database_rows.execute(
            database, "UPDATE videos SET media = CAST(:media AS jsonb)", media=json.dumps(media)
        )
        extraction_id = await database_rows.accept_reextraction(database, accepted)
        row = await database_rows.fetch_one(
            database, "SELECT prefers FROM tasks WHERE extraction_id = :id", id=extraction_id
        )
        assert row.prefers == kind


async def test_claim_follows_the_rule(database: AsyncEngine) -> None:
    seconds = [0, PATIENCE_SECONDS - 5, PATIENCE_SECONDS + 1]
    for worker, prefers, waited, exists in product(WorkerKind, WorkerKind, seconds, [True, False]):
        accepted = await (accept_for_gpu if prefers is GPU else accept)(database)
        await (sign_of_kind(database, GPU) if exists else end_kind(database))
        await set_waited(database, waited)
        found = await claim(database, worker)
        assert (found is not None) == may_claim(worker, prefers, waited_seconds=waited, gpu_exists=exists)
        assert found is None or found.prefers is prefers
        await cancel_extraction(database, accepted.extraction_id)


async def test_gpu_worker_takes_its_own_work_first_and_then_other_work(database: AsyncEngine) -> None:
    small, big = await accept(database), await accept_for_gpu(database)
    claims = [await claim(database, GPU, f"w{n}") for n in range(3)]
    assert [found and found.lease.task_id for found in claims] == [big.task_id, small.task_id, None]


async def test_pool_whose_workers_all_lack_a_gpu_is_left_nothing(database: AsyncEngine) -> None:
    await accept_for_gpu(database)
    await sign_of_gpu_worker(database, GpuWorker("w1", can_decode=False, about="no driver"))
    assert await claim(database, CPU) is not None
    accepted = await accept_for_gpu(database)
    assert (await database_rows.fetch_task(database, accepted.task_id)).prefers == "cpu"


async def test_gpu_workers_are_known_while_they_live(database: AsyncEngine) -> None:
    workers = [GpuWorker("w1", can_decode=True, about="Tesla T4"), GpuWorker("w2", can_decode=False, about="no driver")]
    for worker in workers:
        await sign_of_gpu_worker(database, worker)
        await sign_of_gpu_worker(database, worker)
    assert await living_gpu_workers(database) == workers
    await remove_gpu_worker(database, "w2")
    await database_rows.execute(database, "UPDATE gpu_workers SET seen_at = seen_at - interval '1 h'")
    assert await living_gpu_workers(database) == []


async def test_crash_and_release_leave_the_preference(database: AsyncEngine) -> None:
    await accept_for_gpu(database)
    for _ in range(2):
        found = await claim(database, GPU)
        assert found is not None
        assert found.prefers is GPU
        await task_queue.release(database, found.lease)
    found = await claim(database, GPU)
    assert found is not None
    await fail_task(database, found.lease, Blame.CRASH)
    await set_waited(database, 0)
    again = await claim(database, GPU)
    assert again is not None
    assert (again.prefers, again.crashes) == (GPU, 1)


async def test_concurrent_workers_of_both_kinds_lose_nothing_and_do_nothing_twice(database: AsyncEngine) -> None:
    await sign_of_kind(database, GPU)
    users = [await database_rows.create_user(database, f"u{n}@example.com") for n in range(3)]
    sizes = [1000, GPU_WORK_BYTES, 1000, GPU_WORK_BYTES]
    accepted = {
        (await database_rows.accept_video(database, user, size=size)).task_id for user in users for size in sizes
    }
    done: list[tuple[WorkerKind, Claim]] = []

    async def work(kind: WorkerKind, name: str) -> None:
        while found := await claim(database, kind, name):
            done.append((kind, found))
            await publish_result(database, found.lease)

    kinds = [CPU, CPU, CPU, GPU, GPU]
    await asyncio.gather(*(work(kind, f"{kind}{n}") for n, kind in enumerate(kinds)))
    assert {found.lease.task_id for _, found in done} == accepted
    assert len(done) == len(accepted)
    assert all(found.prefers is CPU for kind, found in done if kind is CPU)


async def test_cpu_workers_end_all_work_when_no_gpu_worker_ever_comes(database: AsyncEngine) -> None:
    """The policy of the GPU pool lives and asks for workers, but none comes."""
    small, big = await accept(database), await accept_for_gpu(database)
    assert (await claim_one(database)).lease.task_id == small.task_id
    assert await claim(database, CPU) is None
    await set_waited(database, PATIENCE_SECONDS + 1)
    await sign_of_kind(database, GPU)
    assert (await claim_one(database)).lease.task_id == big.task_id


async def test_late_work_for_gpus_keeps_its_place_among_the_work_of_cpu_workers(database: AsyncEngine) -> None:
    """So it is not passed over for ever while other work comes in."""
    user = await database_rows.create_user(database)
    await sign_of_kind(database, GPU)
    big = await database_rows.accept_video(database, user, size=GPU_WORK_BYTES)
    later = await database_rows.accept_video(database, user, size=GPU_WORK_BYTES // 2)
    await set_waited(database, PATIENCE_SECONDS + 1)
    await sign_of_kind(database, GPU)
    assert [(await claim_one(database)).lease.task_id for _ in range(2)] == [big.task_id, later.task_id]


async def test_work_that_gpus_take_out_of_turn_does_not_put_newcomers_behind(database: AsyncEngine) -> None:
    """Else a new account's first video would wait behind everything up to the tag of the big one."""
    heavy = await database_rows.create_user(database, "heavy@example.com")
    waiting = [await database_rows.accept_video(database, heavy, size=GPU_WORK_BYTES // 10) for _ in range(8)]
    await accept_for_gpu(database)
    assert (await claim_one(database)).lease.task_id == waiting[0].task_id
    assert await claim(database, GPU) is not None
    newcomer = await accept(database)
    assert (await claim_one(database)).lease.task_id == newcomer.task_id


async def test_virtual_time_of_gpus_does_not_fall_when_claimed_work_is_deleted(database: AsyncEngine) -> None:
    first = await accept_for_gpu(database)
    assert await claim(database, GPU) is not None
    await database_rows.execute(database, "DELETE FROM tasks WHERE id = :id", id=first.task_id)
    row = await database_rows.fetch_one(database, "SELECT virtual_time, gpu_virtual_time FROM queue_state")
    assert (row.virtual_time, row.gpu_virtual_time) == (0, GPU_WORK_BYTES)


async def test_each_ready_task_counts_for_one_kind(database: AsyncEngine) -> None:
    await accept(database)
    for _ in range(2):
        await accept_for_gpu(database)
    cpu, gpu = await demand(database)
    assert (cpu.ready, gpu.ready, gpu.passed_on) == (1, 2, 0)
    assert gpu.ready_seconds == pytest.approx(2 * GPU_WORK_BYTES / 1000 * cpu.ready_seconds)


async def test_work_that_has_waited_for_a_gpu_long_enough_is_asked_of_cpu_workers(database: AsyncEngine) -> None:
    await accept_for_gpu(database)
    _, before = await demand(database)
    await set_waited(database, PATIENCE_SECONDS + 1)
    cpu, gpu = await demand(database)
    assert (cpu.ready, cpu.ready_seconds) == (1, before.ready_seconds)
    assert (gpu.ready, gpu.ready_seconds, gpu.passed_on) == (0, 0, 1)


async def test_work_for_a_gpu_is_asked_of_cpu_workers_at_once_when_the_pool_is_gone(database: AsyncEngine) -> None:
    await accept_for_gpu(database)
    await end_kind(database)
    cpu, gpu = await demand(database)
    assert (cpu.ready, gpu.ready) == (1, 0)


async def test_running_tasks_count_for_the_kind_that_has_them(database: AsyncEngine) -> None:
    """A GPU worker may run other work; it is busy all the same."""
    await sign_of_gpu_worker(database, GpuWorker("g1", can_decode=True, about="Tesla T4"))
    for _ in range(2):
        await accept(database)
    assert await claim(database, GPU, "g1") is not None
    assert await claim(database, CPU, "c1") is not None
    cpu, gpu = await demand(database)
    assert (cpu.running, gpu.running) == (1, 1)
