"""The dependencies of a worker: database, object store, folder, limits."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy.ext.asyncio import AsyncEngine

from actors.extraction_types import PREVIEW_SECONDS, SEGMENT_SECONDS, GpuDecoder, Reader
from actors.worker.staging_cache import StagingCache
from actors.worker.worker_metrics import NO_WORKER_METRICS, WorkerMetrics
from db.object_store.object_store import ObjectStore
from db.tracing_api import NO_TRACER, Tracer
from db.values.worker_kind import WorkerKind


@dataclass(frozen=True, slots=True)
class WorkerDeps:
    """scratch: folder for temporary files. address_space_bytes, seconds_max: of one child.
    segment_seconds: work that usually takes longer is split. preview_seconds: the shortest time between two previews.
    result_retention_seconds: how long a result is kept; None for ever. gpu: what the worker can decode on; with it the
    worker claims as one of the kind `gpu`.
    """

    database: AsyncEngine
    objects: ObjectStore
    scratch: Path
    staging_cache: StagingCache
    reader: Reader
    threads: int
    lease_seconds: float
    heartbeat_seconds: float
    address_space_bytes: int
    seconds_max: float
    max_frames: int
    segment_seconds: float = SEGMENT_SECONDS
    preview_seconds: float = PREVIEW_SECONDS
    result_retention_seconds: float | None = None
    gpu: GpuDecoder | None = None
    jitter: Callable[[], float] = random.random
    metrics: WorkerMetrics = NO_WORKER_METRICS
    tracer: Tracer = NO_TRACER

    @property
    def kind(self) -> WorkerKind:
        return WorkerKind.CPU if self.gpu is None else WorkerKind.GPU
