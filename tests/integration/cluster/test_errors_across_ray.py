"""An error that a Ray task raises reaches the caller with all its attributes."""

from __future__ import annotations

import pickle
from datetime import UTC, datetime
from typing import Any

from ray.exceptions import RayTaskError

from cluster.client.api_types import Extraction, Progress, Status, Video
from cluster.client.errors import ConnectionFailed
from db.values.error_catalogue import CatalogueError


def error_from_ray_task(error: Exception) -> Any:
    """The error as Ray raises it in the caller of a task."""
    wrapped = RayTaskError(  # type: ignore[no-untyped-call]  # Ray's constructor has no annotations
        "task", "Traceback: …", error, proctitle="task", pid=1, ip="127.0.0.1"
    )
    return pickle.loads(pickle.dumps(wrapped)).as_instanceof_cause()


def test_error_of_the_sdk_keeps_its_attributes() -> None:
    at = datetime(2026, 1, 2, tzinfo=UTC)
    submitted = Video("v-1", "a.mp4", 9, Status.QUEUED, at, Extraction("e-1", "v-1", {}, Status.QUEUED, Progress(), at))
    error = ConnectionFailed("http://127.0.0.1:1", "refused")
    error.submitted = (submitted,)
    received = error_from_ray_task(error)
    assert isinstance(received, ConnectionFailed)
    assert (received.base_url, received.reason, received.submitted) == ("http://127.0.0.1:1", "refused", (submitted,))


def test_error_of_the_service_keeps_its_attributes() -> None:
    received = error_from_ray_task(CatalogueError("queue_full", "Many wait.", retry_after=15))
    assert isinstance(received, CatalogueError)
    assert (received.code, received.detail, received.retry_after, received.fault) == (
        "queue_full",
        "Many wait.",
        15,
        "service",
    )
