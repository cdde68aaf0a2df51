"""The Serve applications: API, pool and maintenance, each for itself, so that one can be redeployed without the others.

`fotograma up` runs them; on Kubernetes the RayService names these functions as its import paths, and their arguments
say on which nodes they belong. Before anything is deployed, they refuse settings and servers with which it could never
run: what was deployed before goes on. What a replica works with is imported in that replica alone: each of them starts
in half the time.
"""

# Without `from __future__ import annotations`: Serve looks at the type of `args`, and would see a string.

from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from actors.maintenance import maintenance_deployment
from actors.worker import worker_deployment
from cluster.settings import Settings
from db.values.worker_kind import WorkerKind
from serve_app import deployment

FALL_BACK_SECONDS = 45.0
"""With the periods of the watch and of Ray's autoscaler, the other nodes are asked for within a minute."""

if TYPE_CHECKING:
    from ray.serve import Application

    from actors.maintenance.maintenance_loop import Maintenance
    from actors.worker.worker_loop import Worker
    from actors.worker.worker_metrics import WorkerMetrics
    from cluster.pool_scaling_policy import FallBackValues
    from serve_app.deps import Deps
    from serve_app.http.request_metrics import ApiMetrics


class Placement(BaseModel):
    """Where an application's replicas belong. cpus: logical CPUs of one. resources: custom ones of their nodes."""

    model_config = ConfigDict(extra="forbid")

    cpus: float = 0
    resources: dict[str, float] = {}


class NodeFallBack(BaseModel):
    """Nodes that are asked for beside those of the workers when these do not come, as on-demand beside spot machines.

    labels: of their group in Ray. after_seconds: how long a worker waits for a node before.
    """

    model_config = ConfigDict(extra="forbid")

    labels: dict[str, str] = Field(min_length=1)
    after_seconds: float = Field(default=FALL_BACK_SECONDS, gt=0)


class WorkerPlacement(Placement):
    """On one machine a worker asks for one CPU, so that there are no more workers than cores by mistake.

    kind: of the workers; one of the kind `gpu` decodes big videos on a GPU, and works as one of `cpu` where it can't.
    max_workers: the queue decides how many workers there are, between min_workers and so many. Without it there are as
    many as the setting says. fall_back: of one pool at most, as Ray keeps one request for nodes.
    """

    kind: WorkerKind = WorkerKind.CPU
    cpus: float = 1
    min_workers: int = Field(default=0, ge=0)
    max_workers: int | None = Field(default=None, ge=1)
    fall_back: NodeFallBack | None = None

    @model_validator(mode="after")
    def _bounds_in_order(self) -> Self:
        if self.max_workers is not None and self.min_workers > self.max_workers:
            raise ValueError(f"min_workers {self.min_workers} is greater than max_workers {self.max_workers}")
        return self


def api(args: Placement) -> "Application":
    """The HTTP API and the page."""
    settings = _checked_settings()
    return deployment.application(
        open_api,
        replicas=settings.api_replicas,
        num_cpus=args.cpus,
        resources=args.resources,
        sockets=settings.api_sockets,
    )


def pool(args: WorkerPlacement) -> "Application":
    """The workers."""
    settings = _checked_settings()
    return worker_deployment.application(
        open_worker if args.kind is WorkerKind.CPU else open_gpu_worker,
        workers=scaling_of(args, settings) or settings.workers,
        cpus=args.cpus,
        resources=args.resources,
        drain_seconds=settings.drain_seconds,
    )


def scaling_of(args: WorkerPlacement, settings: Settings) -> worker_deployment.Autoscaling | None:
    """How the pool scales; None for a fixed number of workers."""
    if args.max_workers is None:
        return None
    return worker_deployment.Autoscaling(
        args.min_workers,
        args.max_workers,
        policy="cluster.pool_scaling_policy:PoolScalingPolicy",
        policy_kwargs={
            "kind": args.kind.value,
            "min_workers": args.min_workers,
            "max_workers": args.max_workers,
            "segment_seconds": settings.segment_seconds,
            "wait_seconds": settings.scaling_wait_seconds,
            "idle_seconds": settings.scaling_idle_seconds,
            "fall_back": _fall_back_values(args, args.max_workers),
        },
    )


def _fall_back_values(args: WorkerPlacement, max_workers: int) -> "FallBackValues | None":
    if args.fall_back is None:
        return None
    return {
        "resources": {"CPU": args.cpus, **args.resources},
        "labels": args.fall_back.labels,
        "after_seconds": args.fall_back.after_seconds,
        "max_workers": max_workers,
    }


def _checked_settings() -> Settings:
    """Raises StartRefused."""
    # Replicas import this module too, and check nothing.
    from cluster.checks.start_check import checked_settings  # noqa: PLC0415

    return checked_settings()


def maintenance(args: Placement) -> "Application":
    """The periodic jobs."""
    _checked_settings()
    return maintenance_deployment.application(open_maintenance, cpus=args.cpus, resources=args.resources)


def open_api(metrics: "ApiMetrics") -> "AbstractAsyncContextManager[Deps]":
    """What an API replica works with."""
    from cluster.wiring import api  # noqa: PLC0415

    return api.open_api(metrics)


def open_worker(metrics: "WorkerMetrics") -> "AbstractAsyncContextManager[Worker]":
    """A worker."""
    from cluster.wiring import worker  # noqa: PLC0415

    return worker.open_worker(metrics)


def open_gpu_worker(metrics: "WorkerMetrics") -> "AbstractAsyncContextManager[Worker]":
    """A worker of the GPU pool."""
    from cluster.wiring import worker  # noqa: PLC0415

    return worker.open_worker(metrics, WorkerKind.GPU)


def open_maintenance() -> "AbstractAsyncContextManager[Maintenance]":
    """Yields the maintenance jobs."""
    from cluster.wiring import maintenance  # noqa: PLC0415

    return maintenance.open_maintenance()
