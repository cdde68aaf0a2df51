"""What a maintenance job is, and where its metrics go."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol

from db.acceptance.acceptance_audit import Balance


class MaintenanceMetrics(Protocol):
    """Receives the figures of maintenance."""

    def acted(self, action: str, count: int) -> None:
        """A job did something `count` times."""

    def balanced(self, balance: Balance) -> None:
        """The ledger was compared."""


class NoMetrics:
    """Discards the figures."""

    def acted(self, action: str, count: int) -> None: ...

    def balanced(self, balance: Balance) -> None: ...


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
