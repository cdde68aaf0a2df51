"""What a worker works with, made from the settings."""

from __future__ import annotations

import socket
import uuid
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from pathlib import Path

from sqlalchemy.ext.asyncio import AsyncEngine

from actors.extraction_types import Reader
from actors.sandbox.process_hardening import hide_memory
from actors.worker.gpu_worker_registration import open_gpu
from actors.worker.node_metrics import node_metrics_or_own
from actors.worker.scratch_folder import own_folder
from actors.worker.staging_cache import StagingCache
from actors.worker.worker_deps import WorkerDeps
from actors.worker.worker_loop import Worker
from actors.worker.worker_metrics import NO_WORKER_METRICS, WorkerMetrics
from cluster.settings import Settings, load
from cluster.wiring.json_log import log_as_json
from cluster.wiring.span_export import open_tracer
from db.cache import open_cache
from db.connection import open_database
from db.object_store.store_factory import open_store
from db.queue.queue_status import connection_name_of
from db.tracing_api import Tracer
from db.values.worker_kind import WorkerKind

WORKER_CONNECTIONS = 3


@asynccontextmanager
async def open_worker(
    metrics: WorkerMetrics = NO_WORKER_METRICS, kind: WorkerKind = WorkerKind.CPU
) -> AsyncIterator[Worker]:
    """A worker with a name of its own; its temporary files go with it. kind: of its pool."""
    # The secrets stand in this process's environment.
    hide_memory()
    settings = load()
    log_as_json()
    own = uuid.uuid4().hex[:12]
    name = f"{socket.gethostname()}:{own}"
    async with AsyncExitStack() as stack:
        database = open_database(settings.database_url, name=connection_name_of(name), connections=WORKER_CONNECTIONS)
        stack.push_async_callback(database.dispose)
        cache = open_cache(settings.redis_url)
        stack.push_async_callback(cache.close)
        scratch = stack.enter_context(own_folder(settings.scratch, own))
        shared = stack.enter_context(node_metrics_or_own(metrics, settings.scratch / "metrics"))
        tracer = await stack.enter_async_context(open_tracer("worker"))
        deps = _deps(settings, database, scratch, shared, tracer)
        if kind is WorkerKind.GPU:
            is_disabled = deps.reader is Reader.PYAV
            gpu = await stack.enter_async_context(open_gpu(database, name, is_disabled=is_disabled))
            deps = replace(deps, gpu=gpu)
        yield Worker(deps, cache, name=name)


def _deps(
    settings: Settings, database: AsyncEngine, scratch: Path, metrics: WorkerMetrics, tracer: Tracer
) -> WorkerDeps:
    return WorkerDeps(
        database=database,
        objects=open_store(settings.objects_url),
        scratch=scratch,
        staging_cache=StagingCache(settings.scratch / "videos", settings.staging_max_bytes),
        reader=Reader(settings.reader),
        threads=settings.worker_threads,
        lease_seconds=settings.lease_seconds,
        heartbeat_seconds=settings.heartbeat_seconds,
        address_space_bytes=settings.decode_memory_bytes,
        seconds_max=settings.decode_seconds_max,
        max_frames=settings.max_frames,
        result_retention_seconds=settings.result_retention_seconds,
        segment_seconds=settings.segment_seconds,
        metrics=metrics,
        tracer=tracer,
    )
