"""An error that a Ray task raises reaches the caller with its facts."""

from __future__ import annotations

import pickle
from datetime import UTC, datetime
from typing import Any

from ray.exceptions import RayTaskError

from cluster.client.api_types import Extraction, Progress, Status, Video
from cluster.client.errors import ConnectionFailed
from db.values.error_catalogue import CatalogueError


def raised_in_a_task(error: Exception) -> Any:
    """As Ray hands it to the caller."""
    wrapped = RayTaskError(  # type: ignore[no-untyped-call]  # Ray's own
        "task", "Traceback: …", error, proctitle="task", pid=1, ip="127.0.0.1"
    )
    return pickle.loads(pickle.dumps(wrapped)).as_instanceof_cause()


def test_an_error_of_the_sdk_keeps_its_facts() -> None:
    at = datetime(2026, 1, 2, tzinfo=UTC)
    placed = Video("v-1", "a.mp4", 9, Status.QUEUED, at, Extraction("e-1", "v-1", {}, Status.QUEUED, Progress(), at))
    error = ConnectionFailed("http://127.0.0.1:1", "refused")
    error.submitted = (placed,)
    met = raised_in_a_task(error)
    assert isinstance(met, ConnectionFailed)
    assert (met.base_url, met.reason, met.submitted) == ("http://127.0.0.1:1", "refused", (placed,))


def test_an_error_of_the_service_keeps_its_facts() -> None:
    met = raised_in_a_task(CatalogueError("queue_full", "Many wait.", retry_after=15))
    assert isinstance(met, CatalogueError)
    assert (met.code, met.detail, met.retry_after, met.fault) == ("queue_full", "Many wait.", 15, "service")
