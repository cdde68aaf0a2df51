"""The Serve deployment of the pool: replicas without a route; each is one worker that claims tasks."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from typing import TYPE_CHECKING

from ray import serve

if TYPE_CHECKING:
    from actors.worker.worker_loop import Worker

    OpenWorker = Callable[[], AbstractAsyncContextManager[Worker]]


class WorkerReplica:
    """open_worker: importable, so that no setting or secret is stored in the cluster's state."""

    async def __init__(self, open_worker: OpenWorker) -> None:  # type: ignore[misc]  # Serve awaits it
        self._stack = AsyncExitStack()
        self._worker = await self._stack.enter_async_context(open_worker())
        self._work = asyncio.create_task(self._worker.run())

    def check_health(self) -> None:
        """Serve replaces a replica whose worker has ended or gives no sign of life."""
        if self._work.done():
            self._work.result()
            raise RuntimeError("the worker has ended")
        self._worker.check()

    async def __del__(self) -> None:
        """Serve waits for this on scale-down and drain: the worker stops claiming and finishes or releases its task."""
        self._worker.stop()
        await asyncio.wait({self._work})
        await self._stack.aclose()


def application(
    open_worker: OpenWorker, *, replicas: int, cpus: float, resources: dict[str, float], drain_seconds: float
) -> serve.Application:
    """Returns the Serve application. cpus, resources: what one replica requests from its node."""
    deployment = serve.deployment(
        name="pool",
        num_replicas=replicas,
        ray_actor_options={"num_cpus": cpus, "resources": resources},
        health_check_period_s=5,
        health_check_timeout_s=15,
        graceful_shutdown_wait_loop_s=0.5,
        graceful_shutdown_timeout_s=drain_seconds + 15,
    )(WorkerReplica)
    return deployment.bind(open_worker)
