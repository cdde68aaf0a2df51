"""What a worker counts. `actors.worker.worker_deployment` gives it to Ray."""

from __future__ import annotations

from typing import Protocol


class WorkerMetrics(Protocol):
    """Receives the figures of one worker. kind: of a task. No label names an account, a video or a task."""

    def claimed(self, waited_seconds: float) -> None:
        """A task was claimed. waited_seconds: since it could first be claimed."""

    def busy(self, is_busy: bool) -> None:
        """The worker has a task, or has none."""

    def ended(self, kind: str, outcome: str, seconds: float) -> None:
        """A claimed task ended. outcome: a TaskOutcome."""

    def decoded(self, kind: str, seconds: float, frames: int) -> None:
        """A child has ended its work. frames: images that it made."""

    def child_crashed(self) -> None:
        """A child died, hung or broke its limits."""


class NoWorkerMetrics:
    """Discards the figures."""

    def claimed(self, waited_seconds: float) -> None: ...

    def busy(self, is_busy: bool) -> None: ...

    def ended(self, kind: str, outcome: str, seconds: float) -> None: ...

    def decoded(self, kind: str, seconds: float, frames: int) -> None: ...

    def child_crashed(self) -> None: ...


NO_WORKER_METRICS = NoWorkerMetrics()
