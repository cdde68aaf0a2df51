"""The Serve deployment of maintenance: one replica that runs the jobs."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Callable, Iterable
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from typing import TYPE_CHECKING

from ray import serve
from ray.util.metrics import Counter, Gauge

if TYPE_CHECKING:
    from actors.maintenance.maintenance_job import Figure
    from actors.maintenance.maintenance_loop import Maintenance

    OpenMaintenance = Callable[[], AbstractAsyncContextManager[Maintenance]]


FIGURE_SECONDS = 1800.0
"""Longer than a job that measures pauses in a large database."""


class RayMetrics:
    """The figures of maintenance as Ray metrics, for Prometheus. Ray adds `_total` to the names of counters."""

    def __init__(self) -> None:
        self._actions = Counter("fotograma_maintenance_actions", "What the maintenance jobs did.", tag_keys=("action",))
        self._completed = Gauge(
            "fotograma_maintenance_completed_timestamp_seconds",
            "When each job has last run to its end, since 1970.",
            tag_keys=("maintenance_job",),
        )
        self._failures = Counter(
            "fotograma_maintenance_failures", "Runs of maintenance jobs that failed.", tag_keys=("maintenance_job",)
        )
        self._deliveries = Counter(
            "fotograma_notification_tries",
            "Attempts to deliver a notification, by their outcome.",
            tag_keys=("channel", "outcome"),
        )
        self._completed_at: dict[str, float] = {}
        self._gauges: dict[str, Gauge] = {}
        self._figures: dict[tuple[str, str | None, str | None], tuple[float, Figure]] = {}

    def acted(self, action: str, count: int) -> None:
        self._actions.inc(count, tags={"action": action})

    def completed(self, job: str) -> None:
        if job not in self._completed_at:
            # Prometheus sees no increase in a series that begins with its first failure, and Ray refuses to add 0.
            self._failures.inc(sys.float_info.min, tags={"maintenance_job": job})
        self._completed_at[job] = time.time()
        self._completed.set(self._completed_at[job], tags={"maintenance_job": job})

    def failed(self, job: str) -> None:
        self._failures.inc(tags={"maintenance_job": job})

    def tried(self, channel: str, outcome: str) -> None:
        self._deliveries.inc(tags={"channel": channel, "outcome": outcome})

    def measured(self, figures: Iterable[Figure]) -> None:
        for figure in figures:
            tags = figure.labels
            if figure.name not in self._gauges:
                self._gauges[figure.name] = Gauge(figure.name, figure.description, tag_keys=tuple(tags))
            self._gauges[figure.name].set(figure.value, tags=tags)
            self._figures[figure.name, figure.state, figure.kind] = (time.monotonic(), figure)

    def refresh(self) -> None:
        """Ray drops a gauge that is not set for two of its reports, 20 s, and most jobs run less often. What was not
        measured for long is dropped.
        """
        for job, completed_at in list(self._completed_at.items()):
            self._completed.set(completed_at, tags={"maintenance_job": job})
        for measured_at, figure in list(self._figures.values()):
            if time.monotonic() - measured_at < FIGURE_SECONDS:
                self._gauges[figure.name].set(figure.value, tags=figure.labels)


class MaintenanceReplica:
    """open_maintenance: importable, so that no setting or secret is stored in the cluster's state."""

    async def __init__(self, open_maintenance: OpenMaintenance) -> None:  # type: ignore[misc]  # Serve awaits it
        self._stack = AsyncExitStack()
        self._maintenance = await self._stack.enter_async_context(open_maintenance())
        self._metrics = RayMetrics()
        self._work = asyncio.create_task(self._maintenance.run(self._metrics))

    def check_health(self) -> None:
        """Serve asks every five seconds."""
        self._metrics.refresh()
        if self._work.done():
            self._work.result()
            raise RuntimeError("maintenance has ended")
        self._maintenance.check()

    async def __del__(self) -> None:
        self._work.cancel()
        await asyncio.wait({self._work})
        await self._stack.aclose()


def application(open_maintenance: OpenMaintenance, *, cpus: float, resources: dict[str, float]) -> serve.Application:
    """Returns the Serve application. cpus, resources: what the replica requests from its node."""
    deployment = serve.deployment(
        name="maintenance",
        num_replicas=1,
        ray_actor_options={"num_cpus": cpus, "resources": resources},
        health_check_period_s=5,
    )(MaintenanceReplica)
    return deployment.bind(open_maintenance)
