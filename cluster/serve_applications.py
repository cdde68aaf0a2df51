"""The Serve applications: API, pool and maintenance, each for itself, so that one can be redeployed without the others.

`fotograma up` runs them; on Kubernetes the RayService names these functions as its import paths, and their arguments
say on which nodes they belong. What a replica works with is imported in that replica alone: each of them starts in
half the time.
"""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict

from actors.maintenance import maintenance_deployment
from actors.worker import worker_deployment
from cluster.settings import load
from serve_app import deployment

if TYPE_CHECKING:
    from ray.serve import Application

    from actors.maintenance.maintenance_loop import Maintenance
    from actors.worker.worker_loop import Worker
    from serve_app.deps import Deps


class Placement(BaseModel):
    """Where an application's replicas belong. cpus: logical CPUs of one. resources: custom ones of their nodes."""

    model_config = ConfigDict(extra="forbid")

    cpus: float = 0
    resources: dict[str, float] = {}


class WorkerPlacement(Placement):
    """On one machine a worker asks for one CPU, so that there are no more workers than cores by mistake."""

    cpus: float = 1


def api(args: Placement) -> Application:
    """The HTTP API and the page."""
    settings = load()
    return deployment.application(
        open_api,
        replicas=settings.api_replicas,
        num_cpus=args.cpus,
        resources=args.resources,
        sockets=settings.api_sockets,
    )


def pool(args: WorkerPlacement) -> Application:
    """The workers."""
    settings = load()
    return worker_deployment.application(
        open_worker,
        replicas=settings.workers,
        cpus=args.cpus,
        resources=args.resources,
        drain_seconds=settings.drain_seconds,
    )


def maintenance(args: Placement) -> Application:
    """The periodic jobs."""
    return maintenance_deployment.application(open_maintenance, cpus=args.cpus, resources=args.resources)


def open_api() -> AbstractAsyncContextManager[Deps]:
    """What an API replica works with."""
    from cluster.wiring import api  # noqa: PLC0415

    return api.open_api()


def open_worker() -> AbstractAsyncContextManager[Worker]:
    """A worker."""
    from cluster.wiring import worker  # noqa: PLC0415

    return worker.open_worker()


def open_maintenance() -> AbstractAsyncContextManager[Maintenance]:
    """Yields the maintenance jobs."""
    from cluster.wiring import maintenance  # noqa: PLC0415

    return maintenance.open_maintenance()
