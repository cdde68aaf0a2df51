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
        self._jobs: set[str] = set()
        self._gauges: dict[str, Gauge] = {}

    def acted(self, action: str, count: int) -> None:
        self._actions.inc(count, tags={"action": action})

    def completed(self, job: str) -> None:
        if job not in self._jobs:
            # Prometheus sees no increase in a series that begins with its first failure, and Ray refuses to add 0.
            self._jobs.add(job)
            self._failures.inc(sys.float_info.min, tags={"maintenance_job": job})
        self._completed.set(time.time(), tags={"maintenance_job": job})

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


class MaintenanceReplica:
    """open_maintenance: importable, so that no setting or secret is stored in the cluster's state."""

    async def __init__(self, open_maintenance: OpenMaintenance) -> None:  # type: ignore[misc]  # Serve awaits it
        self._stack = AsyncExitStack()
        self._maintenance = await self._stack.enter_async_context(open_maintenance())
        self._work = asyncio.create_task(self._maintenance.run(RayMetrics()))

    def check_health(self) -> None:
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
