"""Supervises Ray's head processes in the process that started them."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

import psutil

from cluster.local import process_record

CHECK_SECONDS = 1.0
GCS, RAYLET = "gcs_server", "raylet"

log = logging.getLogger(__name__)


def supervise_ray(restart_gcs: Callable[[], None]) -> None:
    """Restarts the GCS when it has ended. Returns when the raylet has ended, and the workers with it.

    If the restart does not help, Ray's client ends this process after a minute.
    """
    raylet, gcs = _children(RAYLET), _children(GCS)
    while process_record.still_running(raylet, process_record.start_time_of):
        if not process_record.still_running(gcs, process_record.start_time_of):
            log.warning("Ray's GCS ended unexpectedly; it is restarted.")
            restart_gcs()
            gcs = _children(GCS)
        time.sleep(CHECK_SECONDS)


def _children(name: str) -> list[process_record.RecordedProcess]:
    children = psutil.Process().children()
    return [
        process_record.RecordedProcess(child.pid, child.create_time()) for child in children if child.name() == name
    ]
