"""The kinds of workers: which work each is for, and who may take it. Pure.

Big work is left to GPUs, but for a limited time only: nothing waits for ever for a worker that never comes. The claim
and the demand of the queue follow the same rules in SQL, and a test compares them.
"""

from __future__ import annotations

from enum import StrEnum

GPU_WORK_BYTES = 100 << 20
"""Work for a GPU costs at least so many bytes: one core usually needs more than a minute to decode such a video."""
PATIENCE_SECONDS = 60.0
"""For how long ready work is left to its own kind of workers."""
SEEN_SECONDS = 60.0
"""A kind exists for so long after its last sign of life: of one of its workers, or of the policy that starts them."""


class WorkerKind(StrEnum):
    CPU = "cpu"
    GPU = "gpu"


def preferred_kind(work_bytes: int, *, gpu_exists: bool) -> WorkerKind:
    """Returns the kind of workers that accepted work is left to. work_bytes: the size of the video, or what all its
    frames cost (`db.queue.fair_queueing`) when it was probed before.
    """
    return WorkerKind.GPU if gpu_exists and work_bytes >= GPU_WORK_BYTES else WorkerKind.CPU


def may_claim(worker: WorkerKind, prefers: WorkerKind, *, waited_seconds: float, gpu_exists: bool) -> bool:
    """Whether a worker may claim a ready task. A worker with a GPU may claim any, after those that prefer one."""
    if prefers is WorkerKind.CPU or worker is WorkerKind.GPU:
        return True
    return not gpu_exists or waited_seconds >= PATIENCE_SECONDS
