"""The dependencies of a worker: database, object store, folder, limits."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy.ext.asyncio import AsyncEngine

from actors.extraction_types import SEGMENT_SECONDS, Reader
from actors.worker.staging_cache import StagingCache
from db.object_store.object_store import ObjectStore


@dataclass(frozen=True, slots=True)
class WorkerDeps:
    """scratch: folder for temporary files. address_space_bytes, seconds_max: of one child. drain_seconds: how long a
    task may go on after the worker was asked to stop. segment_seconds: work that usually takes longer is split.
    result_retention_seconds: how long a result is kept; None for ever.
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
    drain_seconds: float
    segment_seconds: float = SEGMENT_SECONDS
    result_retention_seconds: float | None = None
    jitter: Callable[[], float] = random.random
