"""Which kinds of workers there are, and what the workers of the GPU pool can do.

Every worker is a CPU worker unless it is known as another. The workers of the GPU pool, and the policy that starts
them, write a sign of life now and then; all others write nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from db.values.worker_kind import PATIENCE_SECONDS, SEEN_SECONDS, WorkerKind

SIGN_SECONDS = 15.0
"""How often a worker of the GPU pool gives a sign of life."""
_FORGOTTEN = "1 day"

_RECENTLY_SEEN = f"seen_at > clock_timestamp() - interval '{SEEN_SECONDS} s'"
# A pool whose workers all can't use their GPU is as good as none.
GPU_EXISTS = f"""(
    EXISTS (SELECT FROM worker_kinds WHERE kind = '{WorkerKind.GPU}' AND {_RECENTLY_SEEN})
    AND coalesce((SELECT bool_or(can_decode) FROM gpu_workers WHERE {_RECENTLY_SEEN}), true)
)"""
IS_LEFT_TO_GPU = f"""(
    prefers = '{WorkerKind.GPU}' AND ready_at > clock_timestamp() - interval '{PATIENCE_SECONDS} s' AND {GPU_EXISTS}
)"""
"""The opposite of `worker_kind.may_claim` for a CPU worker and a ready task."""

SIGN_OF_KIND = text("""
    INSERT INTO worker_kinds (kind, seen_at) VALUES (:kind, clock_timestamp())
    ON CONFLICT (kind) DO UPDATE SET seen_at = clock_timestamp()
    WHERE worker_kinds.seen_at < clock_timestamp() - make_interval(secs => :sign_seconds / 3)
""")
SIGN_OF_GPU_WORKER = text("""
    INSERT INTO gpu_workers (name, can_decode, about, seen_at) VALUES (:name, :can_decode, :about, clock_timestamp())
    ON CONFLICT (name) DO UPDATE SET can_decode = :can_decode, about = :about, seen_at = clock_timestamp()
""")
REMOVE_GPU_WORKER = text("DELETE FROM gpu_workers WHERE name = :name")
FORGET_GPU_WORKERS = text(f"DELETE FROM gpu_workers WHERE seen_at < clock_timestamp() - interval '{_FORGOTTEN}'")
LIVING_GPU_WORKERS = text(f"SELECT name, can_decode, about FROM gpu_workers WHERE {_RECENTLY_SEEN} ORDER BY name")


@dataclass(frozen=True, slots=True)
class GpuWorker:
    """A worker of the GPU pool. can_decode: otherwise it works as a CPU worker. about: its GPU, or what it lacks."""

    name: str
    can_decode: bool
    about: str


async def sign_of_kind(database: AsyncEngine, kind: WorkerKind) -> None:
    """Says that there are workers of this kind, or will be when there is work for them."""
    async with database.begin() as connection:
        await connection.execute(SIGN_OF_KIND, {"kind": kind.value, "sign_seconds": SIGN_SECONDS})


async def sign_of_gpu_worker(database: AsyncEngine, worker: GpuWorker) -> None:
    values = {"name": worker.name, "can_decode": worker.can_decode, "about": worker.about}
    async with database.begin() as connection:
        await connection.execute(SIGN_OF_GPU_WORKER, values)
        await connection.execute(FORGET_GPU_WORKERS)
    if worker.can_decode:
        await sign_of_kind(database, WorkerKind.GPU)


async def remove_gpu_worker(database: AsyncEngine, name: str) -> None:
    """Says that a worker has ended."""
    async with database.begin() as connection:
        await connection.execute(REMOVE_GPU_WORKER, {"name": name})


async def living_gpu_workers(database: AsyncEngine) -> Sequence[GpuWorker]:
    async with database.connect() as connection:
        rows = (await connection.execute(LIVING_GPU_WORKERS)).all()
    return [GpuWorker(row.name, row.can_decode, row.about) for row in rows]
