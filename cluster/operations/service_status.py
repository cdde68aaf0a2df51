"""The state of the whole service at a moment, from its own records: what an operator looks at first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from cluster.operations.located_service import LocatedService
from cluster.operations.operation_errors import OperationError

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncEngine

    from cluster.operations.ray_nodes import RayNode
    from db.acceptance.acceptance_audit import LastAudit
    from db.notification.outbox import Backlog
    from db.object_store.total_stored_bytes import StoredBytes
    from db.operator_controls import Pauses, WorkerLimits
    from db.queue.queue_status import QueueStatus, SeenWorker, WaitingKind
    from db.values.worker_kind import WorkerKind


@dataclass(frozen=True, slots=True)
class ServiceStatus:
    """free_bytes: of the disk of a folder store; None for a bucket, or when it can't be told from here. nodes: None
    when Ray was not reached; `nodes_error` says why. versions: of this installation. schema, postgres: of the database.
    last_audit: None before the first one.
    """

    queue: QueueStatus
    kinds: Sequence[WaitingKind]
    workers: Sequence[SeenWorker]
    pauses: Pauses
    limits: Mapping[WorkerKind, WorkerLimits]
    stored: StoredBytes
    free_bytes: int | None
    last_audit: LastAudit | None
    outbox: Backlog
    nodes: Sequence[RayNode] | None
    nodes_error: str
    versions: Mapping[str, str | None]
    schema: str | None
    postgres: str


async def read_status(service: LocatedService) -> ServiceStatus:
    """Raises OperationError when the database can't be asked. What else is away is only missing in the status."""
    from cluster.operations.database_access import on_database  # noqa: PLC0415
    from cluster.operations.installed_versions import installed_versions  # noqa: PLC0415

    from_database = await on_database(service.database_url, _read_database)
    nodes, nodes_error = _read_nodes(service)
    return ServiceStatus(
        **from_database,
        free_bytes=await _free_bytes(service.objects_url),
        nodes=nodes,
        nodes_error=nodes_error,
        versions=installed_versions(),
    )


async def _read_database(database: AsyncEngine) -> dict[str, Any]:
    from db import operator_controls, schema_revision  # noqa: PLC0415
    from db.acceptance import acceptance_audit  # noqa: PLC0415
    from db.notification import outbox  # noqa: PLC0415
    from db.object_store import total_stored_bytes  # noqa: PLC0415
    from db.queue import queue_status  # noqa: PLC0415
    from db.values.worker_kind import WorkerKind  # noqa: PLC0415

    return {
        "schema": await schema_revision.revision_of(database),
        "postgres": await schema_revision.server_version(database),
        "queue": await queue_status.status(database),
        "kinds": await queue_status.waiting_by_kind(database),
        "workers": await queue_status.seen_workers(database),
        "pauses": await operator_controls.pauses(database),
        "limits": {kind: (await operator_controls.scaling_orders(database, kind)).limits for kind in WorkerKind},
        "stored": await total_stored_bytes.stored_bytes(database),
        "last_audit": await acceptance_audit.last_audit(database),
        "outbox": await outbox.backlog(database),
    }


async def _free_bytes(objects_url: str | None) -> int | None:
    if objects_url is None or not objects_url.startswith("file:"):
        return None
    from db.object_store.store_factory import open_store  # noqa: PLC0415
    from db.values.error_catalogue import CatalogueError  # noqa: PLC0415

    try:
        return await open_store(objects_url).free_bytes()
    except CatalogueError:
        return None


def _read_nodes(service: LocatedService) -> tuple[list[RayNode] | None, str]:
    """Returns the nodes, or why they can't be read."""
    if service.ray_address is None:
        return None, "RAY_ADDRESS is not set."
    from cluster.operations.ray_nodes import RayCluster  # noqa: PLC0415

    try:
        return RayCluster(service.ray_address, service.ray_token).nodes(), ""
    except (OperationError, ImportError) as error:
        return None, str(error)
