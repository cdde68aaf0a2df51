"""The Serve deployment of maintenance: one replica that runs the jobs."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from typing import TYPE_CHECKING

from ray import serve
from ray.util.metrics import Counter, Gauge

if TYPE_CHECKING:
    from actors.maintenance.maintenance_loop import Maintenance
    from db.acceptance.acceptance_audit import Balance

    OpenMaintenance = Callable[[], AbstractAsyncContextManager[Maintenance]]


class RayMetrics:
    """The figures of maintenance as Ray metrics, for Prometheus."""

    def __init__(self) -> None:
        self._actions = Counter("fotograma_maintenance_actions", "What the maintenance jobs did.", tag_keys=("action",))
        self._gauges: dict[str, Gauge] = {}

    def acted(self, action: str, count: int) -> None:
        self._actions.inc(count, tags={"action": action})

    def balanced(self, balance: Balance) -> None:
        from db.acceptance.acceptance_audit import gauges  # noqa: PLC0415 - in the replica alone

        for (name, state), value in gauges(balance).items():
            keys = () if state is None else ("state",)
            if name not in self._gauges:
                self._gauges[name] = Gauge(name, "The ledger of accepted extractions.", tag_keys=keys)
            gauge = self._gauges[name]
            gauge.set(value, tags={} if state is None else {"state": state})


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
