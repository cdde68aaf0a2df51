"""Runs the maintenance jobs, each in its own period; a job that fails stops no other."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable
from dataclasses import dataclass

import structlog
from sqlalchemy.ext.asyncio import AsyncEngine

from actors.maintenance.acceptance_auditor import AcceptanceAuditor
from actors.maintenance.account_eraser import AccountEraser
from actors.maintenance.expiry_cleaner import ExpiryCleaner
from actors.maintenance.garbage_cleaners import AbandonedUploadCleaner, GarbageCleaner, LostAttemptCleaner
from actors.maintenance.lease_rescuer import LeaseRescuer
from actors.maintenance.maintenance_job import NO_METRICS, FunctionJob, MaintenanceJob, MaintenanceMetrics
from actors.maintenance.orphan_collector import OrphanCollector
from actors.maintenance.queue_and_outbox_gauges import QueueAndOutboxGauges
from actors.maintenance.retention_cleaner import RetentionCleaner
from actors.maintenance.service_totals_gauges import ServiceTotalsGauges
from actors.maintenance.share_reconciler import ShareReconciler
from actors.maintenance.stuck_work_repairer import StuckWorkRepairer
from actors.notify.outbox_sender import OutboxSender
from actors.notify.redis_stream_relay import StreamRelay
from db.connection import is_contention, is_outage
from db.object_store.object_store import ObjectStore

NOTIFY_SECONDS = 1.0
STREAM_SECONDS = 0.5
PROMPT = ("rescue", "notify")
"""Jobs that are short and that no other process does: when one of them hangs, the replica must be replaced."""
STALLED_SECONDS = 300.0
"""Far longer than a hundred rescues take when each waits for a lock."""

log = structlog.get_logger()


class MaintenanceStalledError(Exception):
    """A job has not run for too long."""


@dataclass(frozen=True, slots=True)
class NotifyJob:
    """Sends what is due in the outbox."""

    sender: OutboxSender
    name: str = "notify"
    period_seconds: float = NOTIFY_SECONDS

    async def run(self, metrics: MaintenanceMetrics = NO_METRICS) -> int:
        return await self.sender.turn(metrics)


class Maintenance:
    """The jobs of one maintenance process.

    running_limit: open tasks of an account; None leaves the stored limit. video_retention_seconds: how long the bytes
    of a video are kept; None for ever. relay: None when no stream is fed. clock: monotonic seconds. wall_clock: seconds
    since the epoch. jitter: random in [0, 1).
    """

    def __init__(
        self,
        database: AsyncEngine,
        objects: ObjectStore,
        sender: OutboxSender,
        *,
        lease_seconds: float,
        running_limit: int | None = None,
        video_retention_seconds: float | None = None,
        relay: StreamRelay | None = None,
        clock: Callable[[], float] = time.monotonic,
        wall_clock: Callable[[], float] = time.time,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._sender, self._clock, self._jitter = sender, clock, jitter
        self._started_at: dict[str, float] = {}
        self.lease_rescuer = LeaseRescuer(database, lease_seconds, clock, jitter)
        self.abandoned_upload_cleaner = AbandonedUploadCleaner(database, objects)
        self.lost_attempt_cleaner = LostAttemptCleaner(database, objects, lease_seconds)
        self.garbage_cleaner = GarbageCleaner(database, objects, lease_seconds)
        self.account_eraser = AccountEraser(database)
        self.expiry_cleaner = ExpiryCleaner(database, objects)
        self.retention_cleaner = RetentionCleaner(database, video_retention_seconds)
        self.orphan_collector = OrphanCollector(database, objects, wall_clock)
        self.share_reconciler = ShareReconciler(database, running_limit)
        self.stuck_work_repairer = StuckWorkRepairer(database)
        self.acceptance_auditor = AcceptanceAuditor(database, clock)
        self.queue_and_outbox_gauges = QueueAndOutboxGauges(database)
        self.service_totals_gauges = ServiceTotalsGauges(database, objects, clock)
        stream = () if relay is None else (FunctionJob("stream", STREAM_SECONDS, relay.run_once),)
        self.jobs: tuple[MaintenanceJob, ...] = (
            self.lease_rescuer,
            NotifyJob(sender),
            self.abandoned_upload_cleaner,
            self.lost_attempt_cleaner,
            self.garbage_cleaner,
            self.account_eraser,
            self.expiry_cleaner,
            self.retention_cleaner,
            self.orphan_collector,
            self.share_reconciler,
            self.stuck_work_repairer,
            self.acceptance_auditor,
            self.queue_and_outbox_gauges,
            self.service_totals_gauges,
            *stream,
        )

    async def run(self, metrics: MaintenanceMetrics = NO_METRICS) -> None:
        """Runs all jobs until cancelled."""
        try:
            async with asyncio.TaskGroup() as group:
                for job in self.jobs:
                    group.create_task(self._repeat(job, metrics))
        finally:
            await self._sender.close()

    def check(self) -> None:
        """Raises MaintenanceStalledError when one of the PROMPT jobs has not started for too long."""
        for name in PROMPT:
            silent = self._clock() - self._started_at.get(name, self._clock())
            if silent > STALLED_SECONDS:
                raise MaintenanceStalledError(f"the job {name} has not run for {silent:.0f} s")

    async def run_job(self, job: MaintenanceJob, metrics: MaintenanceMetrics = NO_METRICS) -> None:
        """Runs a job once. A failure is logged: it ends neither the job nor the others."""
        self._started_at[job.name] = self._clock()
        try:
            done = await job.run(metrics)
            metrics.completed(job.name)
            if done:
                metrics.acted(job.name, done)
                log.info("A maintenance job has done work.", event_name="job.done", job=job.name, count=done)
        except Exception as error:
            metrics.failed(job.name)
            if is_outage(error) and not is_contention(error):
                self.lease_rescuer.note_outage()
            log.exception("A maintenance job failed.", event_name="job.failed", job=job.name)

    async def _repeat(self, job: MaintenanceJob, metrics: MaintenanceMetrics) -> None:
        while True:
            await self.run_job(job, metrics)
            await asyncio.sleep(job.period_seconds * (0.75 + self._jitter() / 2))
