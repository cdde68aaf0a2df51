"""Tells the state of queue, GPU workers and outbox as metrics. PostgreSQL knows it; no process has to remember it."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy.ext.asyncio import AsyncEngine

from actors.maintenance.maintenance_job import NO_METRICS, Figure, MaintenanceMetrics
from db.notification import outbox
from db.notification.outbox import Backlog
from db.queue import queue_status, worker_kinds
from db.queue.queue_status import QueueStatus
from db.queue.worker_kinds import GpuWorker


class QueueAndOutboxGauges:
    """Reads the state every few seconds."""

    name = "gauges"
    period_seconds = 5.0

    def __init__(self, database: AsyncEngine) -> None:
        self._database = database

    async def run(self, metrics: MaintenanceMetrics = NO_METRICS) -> int:
        """Returns 0: nothing is changed."""
        status = await queue_status.status(self._database)
        gpu_workers = await worker_kinds.living_gpu_workers(self._database)
        backlog = await outbox.backlog(self._database)
        metrics.measured([*queue_figures(status), *outbox_figures(backlog), *gpu_figures(gpu_workers)])
        return 0


def queue_figures(status: QueueStatus) -> Sequence[Figure]:
    """Tasks by their state, and what should not last."""
    by_state = {"throttled": status.throttled, "ready": status.ready, "leased": status.running + status.lost}
    oldest = status.oldest_seconds or 0.0
    return [
        *(Figure("fotograma_queue_tasks", "Tasks that have not ended.", n, state) for state, n in by_state.items()),
        Figure("fotograma_queue_delayed_tasks", "Ready tasks whose next try is in the future.", status.delayed),
        Figure("fotograma_queue_expired_leases", "Leases that have expired and are not rescued yet.", status.lost),
        Figure("fotograma_queue_oldest_task_seconds", "How long the oldest task has waited.", oldest),
        Figure(
            "fotograma_extractions_given_up",
            f"Extractions that were given up in the last {queue_status.GIVEN_UP_DAYS} days.",
            status.given_up_count,
        ),
    ]


def gpu_figures(workers: Sequence[GpuWorker]) -> Sequence[Figure]:
    """The workers of the GPU pool, by what they can do."""
    able = sum(worker.can_decode for worker in workers)
    by_state = {"decoding": able, "without_gpu": len(workers) - able}
    about = "Workers of the GPU pool that decode on their GPU, and that work as CPU workers."
    return [Figure("fotograma_gpu_workers", about, count, state) for state, count in by_state.items()]


def outbox_figures(backlog: Backlog) -> Sequence[Figure]:
    """Notifications on their way."""
    return [
        Figure("fotograma_outbox_pending", "Notifications that are not sent yet.", backlog.pending),
        Figure(
            "fotograma_outbox_late_seconds", "For how long the first notification has been due.", backlog.late_seconds
        ),
    ]
