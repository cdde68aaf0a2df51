"""The Serve deployment of the pool: replicas without a route; each is one worker that claims tasks."""

from __future__ import annotations

import asyncio
import logging
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import ray
from ray import serve
from ray._raylet import GcsClient  # type: ignore[attr-defined]  # Ray has no type for it
from ray.serve.config import AutoscalingConfig, AutoscalingPolicy
from ray.util.metrics import Counter, Gauge, Histogram

if TYPE_CHECKING:
    from actors.worker.worker_loop import Worker
    from actors.worker.worker_metrics import WorkerMetrics

    OpenWorker = Callable[[WorkerMetrics], AbstractAsyncContextManager[Worker]]

RELEASE_SECONDS = 10.0
"""Before its node ends, a worker needs so long to release its task."""
DEADLINE_POLL_SECONDS = 1.0
GCS_SECONDS = 5.0
MAX_REPLICAS = 10_000
"""Serve's own bound. The policy keeps to the bounds of the deployment, unless an operator has ordered others."""

# Few bounds, and no label, keep the scrape short.
WAIT_SECONDS = [0.5, 2.0, 5.0, 15.0, 60.0, 300.0, 1800.0, 7200.0]
TASK_SECONDS = [1.0, 5.0, 15.0, 60.0, 300.0, 1200.0, 3600.0]

log = logging.getLogger("ray.serve")


@dataclass(frozen=True, slots=True)
class Autoscaling:
    """min_workers, max_workers: bounds. policy: "module:Class" of Serve's policy. policy_kwargs: its arguments."""

    min_workers: int
    max_workers: int
    policy: str
    policy_kwargs: Mapping[str, Any]


class RayWorkerMetrics:
    """The figures of a worker as Ray metrics, for Prometheus; one worker of a node gives those of all (`node_metrics`).
    Ray adds `_total` to the names of counters.
    """

    def __init__(self) -> None:
        self._waits = Histogram(
            "fotograma_claim_wait_seconds",
            "From the time when a task could be claimed until it was.",
            boundaries=WAIT_SECONDS,
        )
        self._tasks = Counter(
            "fotograma_tasks_ended", "Claimed tasks that ended, by outcome.", tag_keys=("kind", "outcome")
        )
        self._task_seconds = Histogram(
            "fotograma_task_seconds", "From claim to end of a task.", boundaries=TASK_SECONDS
        )
        self._decode_seconds = Counter(
            "fotograma_decode_seconds", "Time in which decoding children worked.", tag_keys=("kind",)
        )
        self._frames = Counter("fotograma_frames", "Images that were made.")
        self._crashes = Counter("fotograma_child_crashes", "Decoding children that died, hung or broke their limits.")
        self._busy = Gauge("fotograma_worker_busy", "1 while the worker has a task, 0 while it has none.")
        self._is_busy = False
        self.refresh()
        # Prometheus sees no increase in a series that begins with its first crash, and Ray refuses to add 0.
        self._crashes.inc(sys.float_info.min)

    def claimed(self, waited_seconds: float) -> None:
        self._waits.observe(waited_seconds)

    def busy(self, is_busy: bool) -> None:
        self._is_busy = is_busy
        self.refresh()

    def refresh(self) -> None:
        """Ray drops a gauge that is not set for two of its reports, 20 s."""
        self._busy.set(int(self._is_busy))

    def ended(self, kind: str, outcome: str, seconds: float) -> None:
        self._tasks.inc(tags={"kind": kind, "outcome": outcome})
        self._task_seconds.observe(seconds)

    def decoded(self, kind: str, seconds: float, frames: int) -> None:
        self._decode_seconds.inc(seconds, tags={"kind": kind})
        if frames:
            self._frames.inc(frames)

    def child_crashed(self) -> None:
        self._crashes.inc()


class WorkerReplica:
    """open_worker: importable, so that no setting or secret is stored in the cluster's state. drain_seconds: how long
    the task may go on after Serve has stopped the replica.
    """

    async def __init__(  # type: ignore[misc]  # Serve awaits it
        self, open_worker: OpenWorker, drain_seconds: float
    ) -> None:
        self._stack = AsyncExitStack()
        self._drain_seconds = drain_seconds
        self._metrics = RayWorkerMetrics()
        self._worker = await self._stack.enter_async_context(open_worker(self._metrics))
        self._work = asyncio.create_task(self._worker.run())

    def check_health(self) -> None:
        """Serve replaces a replica whose worker has ended or gives no sign of life. It asks every five seconds."""
        self._metrics.refresh()
        if self._work.done():
            self._work.result()
            raise RuntimeError("the worker has ended")
        self._worker.check()

    async def __del__(self) -> None:
        """Serve waits for this on scale-down and drain: the worker stops claiming and finishes or releases its task."""
        self._worker.stop(self._drain_seconds)
        while not self._work.done():
            await asyncio.wait({self._work}, timeout=DEADLINE_POLL_SECONDS)
            seconds = await asyncio.to_thread(seconds_until_node_ends)
            if seconds is not None:
                self._worker.stop(max(0.0, seconds - RELEASE_SECONDS))
        await self._stack.aclose()


def seconds_until_node_ends() -> float | None:
    """How long the node of this replica still runs; None when it is not drained, or drained without a deadline.

    Serve tells a replica that it should stop, but not why. A worker may finish its task when the pool gets smaller, but
    the node of a spot instance does not wait.
    """
    context = ray.get_runtime_context()
    try:
        nodes = GcsClient(address=context.gcs_address).get_draining_nodes(timeout=GCS_SECONDS)
    except Exception:
        # A GCS that is away says nothing about this node. If the node ends, the lease expires and the task is rescued.
        log.warning("The draining nodes can't be read.", exc_info=True)
        return None
    deadline = nodes.get(context.get_node_id(), 0)
    return deadline / 1000 - time.time() if deadline else None


def application(
    open_worker: OpenWorker,
    *,
    workers: int | Autoscaling,
    cpus: float,
    resources: dict[str, float],
    drain_seconds: float,
) -> serve.Application:
    """Returns the Serve application. cpus, resources: what one replica requests from its node."""
    scaling = {"num_replicas": workers} if isinstance(workers, int) else {"autoscaling_config": _config(workers)}
    deployment = serve.deployment(
        name="pool",
        ray_actor_options={"num_cpus": cpus, "resources": resources},
        health_check_period_s=5,
        health_check_timeout_s=15,
        graceful_shutdown_wait_loop_s=0.5,
        graceful_shutdown_timeout_s=drain_seconds + 15,
        **scaling,
    )(WorkerReplica)
    return deployment.bind(open_worker, drain_seconds)


def _config(scaling: Autoscaling) -> AutoscalingConfig:
    """The policy has its own cool-down: Serve's would be added to it."""
    return AutoscalingConfig(
        min_replicas=0,
        initial_replicas=scaling.min_workers,
        max_replicas=MAX_REPLICAS,
        upscale_delay_s=0,
        downscale_delay_s=0,
        policy=AutoscalingPolicy(  # type: ignore[no-untyped-call]  # Ray has no type for it
            policy_function=scaling.policy, policy_kwargs=dict(scaling.policy_kwargs)
        ),
    )
