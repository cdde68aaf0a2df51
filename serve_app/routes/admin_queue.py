"""The queue and the workers, for admins."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from db import operator_controls
from db.accounts.accounts import Principal
from db.queue import queue_status
from db.queue.queue_status import SeenWorker
from serve_app.deps import deps_of
from serve_app.http.json_response import JsonResponse


async def show(request: Request, _admin: Principal) -> Response:
    """GET /v1/admin/queue"""
    database = deps_of(request).database
    status, pauses = await queue_status.status(database), await operator_controls.pauses(database)
    oldest = status.oldest_seconds
    return JsonResponse(
        asdict(status)
        | asdict(pauses)
        | {
            "waiting": status.throttled + status.ready,
            "oldest_seconds": None if oldest is None else round(oldest, 1),
        }
    )


async def list_workers(request: Request, _admin: Principal) -> Response:
    """GET /v1/admin/workers"""
    workers = await queue_status.seen_workers(deps_of(request).database)
    return JsonResponse({"items": [_worker_json(worker) for worker in workers]})


def _worker_json(worker: SeenWorker) -> dict[str, Any]:
    state = "lost" if worker.is_lost else "running" if worker.tasks else "idle"
    return {
        "name": worker.name,
        "state": state,
        "kind": worker.kind,
        "gpu": worker.gpu,
        "last_claimed_at": worker.last_claimed_at,
        "tasks": [asdict(task) for task in worker.tasks],
    }
