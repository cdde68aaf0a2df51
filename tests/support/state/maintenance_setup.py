"""Maintenance as tests run it, and rows that its jobs repair."""

import asyncio
from collections.abc import Callable, Iterable
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from actors.maintenance.maintenance_job import Figure
from actors.maintenance.maintenance_loop import Maintenance
from db.object_store.object_store import ObjectStore
from tests.support.state.notification_setup import make_outbox_sender


def make_maintenance(
    database: AsyncEngine, store: ObjectStore, clock: Callable[[], float] = lambda: 0.0, lease_seconds: float = 0.0
) -> Maintenance:
    return Maintenance(
        database, store, make_outbox_sender(database), lease_seconds=lease_seconds, clock=clock, jitter=lambda: 0.0
    )


async def execute_past_triggers(database: AsyncEngine, statement: str, extraction_id: UUID) -> None:
    """Changes rows without firing triggers, as a manual repair in the database may."""
    async with database.begin() as connection:
        await connection.execute(text("SET LOCAL session_replication_role = replica"))
        await connection.execute(text(statement), {"id": extraction_id})


async def recount_and_repair(maintenance: Maintenance) -> int:
    """Runs both jobs in their usual order: shares are recounted more often than stuck work is searched for."""
    await maintenance.share_reconciler.run()
    return await maintenance.stuck_work_repairer.run()


class RecordedMetrics:
    def __init__(self) -> None:
        self.actions: list[tuple[str, int]] = []
        self.completions: list[str] = []
        self.failures: list[str] = []
        self.tries: list[tuple[str, str]] = []
        self.values: dict[tuple[str, str | None], float] = {}
        self.compared = asyncio.Event()

    def acted(self, action: str, count: int) -> None:
        self.actions.append((action, count))

    def completed(self, job: str) -> None:
        self.completions.append(job)

    def failed(self, job: str) -> None:
        self.failures.append(job)

    def tried(self, channel: str, outcome: str) -> None:
        self.tries.append((channel, outcome))

    def measured(self, figures: Iterable[Figure]) -> None:
        self.values |= {(figure.name, "/".join(figure.labels.values()) or None): figure.value for figure in figures}
        if ("fotograma_ledger_differences", None) in self.values:
            self.compared.set()
