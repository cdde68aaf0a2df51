"""What a maintenance job is, and where its metrics go."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import Protocol

from actors.notify.delivery_outcome import DeliveryMetrics, NoDeliveryMetrics

PAUSE_FACTOR = 20
"""A job that reads large tables rests for at least this many times as long as it has taken."""


@dataclass(frozen=True, slots=True)
class Figure:
    """The present value of a gauge. state, kind: the values of its labels; None without the label."""

    name: str
    description: str
    value: float
    state: str | None = None
    kind: str | None = None

    @property
    def labels(self) -> dict[str, str]:
        """The labels that it has, by their names."""
        labels = {"state": self.state, "kind": self.kind}
        return {name: value for name, value in labels.items() if value is not None}


class MaintenanceMetrics(DeliveryMetrics, Protocol):
    """Receives the figures of maintenance."""

    def completed(self, job: str) -> None:
        """A job has run to its end."""

    def failed(self, job: str) -> None:
        """A job has raised an error."""

    def acted(self, action: str, count: int) -> None:
        """A job did something `count` times."""

    def measured(self, figures: Iterable[Figure]) -> None:
        """Gauges have these values now."""


class NoMetrics(NoDeliveryMetrics):
    """Discards the figures."""

    def completed(self, job: str) -> None: ...

    def failed(self, job: str) -> None: ...

    def acted(self, action: str, count: int) -> None: ...

    def measured(self, figures: Iterable[Figure]) -> None: ...


NO_METRICS = NoMetrics()


class MaintenanceJob(Protocol):
    """A periodic duty of maintenance, which runs about every `period_seconds`.

    Two maintenance processes may run the same job at the same time: each job is idempotent or takes locks.
    """

    @property
    def name(self) -> str: ...

    @property
    def period_seconds(self) -> float: ...

    async def run(self, metrics: MaintenanceMetrics = NO_METRICS) -> int:
        """Runs the job once; returns how many rows or objects it has changed."""


@dataclass(frozen=True, slots=True)
class FunctionJob:
    """A job that calls one function."""

    name: str
    period_seconds: float
    function: Callable[[], Awaitable[int]]

    async def run(self, metrics: MaintenanceMetrics = NO_METRICS) -> int:
        return await self.function()
