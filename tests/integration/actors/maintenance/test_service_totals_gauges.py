"""The metrics of accounts, storage and connections tell what is in the database, and name no account."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine
from uuid_utils.compat import uuid7

from actors.maintenance.service_totals_gauges import ServiceTotalsGauges
from db.object_store.folder_store import FolderStore
from db.service_totals import CONNECTION_KINDS, first_id_at
from tests.support.state import database_rows
from tests.support.state.maintenance_setup import RecordedMetrics
from tests.support.state.queue_steps import accept_many, claim_one, publish_result


class FolderOfKnownRoom(FolderStore):
    async def free_bytes(self) -> int | None:
        return 7_000


async def measure(database: AsyncEngine, folder: Path) -> dict[tuple[str, str | None], float]:
    metrics = RecordedMetrics()
    overview = ServiceTotalsGauges(database, FolderOfKnownRoom(folder), lambda: 0.0)
    assert await overview.run(metrics) == 0
    return {(name.removeprefix("fotograma_"), label): value for (name, label), value in metrics.values.items()}


async def test_empty_service_has_no_accounts_no_bytes_and_room(database: AsyncEngine, tmp_path: Path) -> None:
    values = await measure(database, tmp_path)
    assert values["storage_free_bytes", None] == 7_000
    assert values["database_connections_limit", None] > 0
    rest = {key for key, value in values.items() if value != 0}
    assert {name for name, _ in rest} <= {"storage_free_bytes", "database_connections_limit", "database_connections"}


async def test_accounts_are_counted_by_state_and_by_use(database: AsyncEngine, tmp_path: Path) -> None:
    busy, quiet, idle, disabled = [
        await database_rows.create_user(database, f"{name}@example.org") for name in ("busy", "quiet", "idle", "off")
    ]
    await accept_many(database, busy, 3)
    await accept_many(database, quiet, 1)
    await database_rows.execute(database, "UPDATE users SET disabled_at = now() WHERE id = :id", id=disabled)
    assert idle
    values = await measure(database, tmp_path)
    assert (values["accounts", "enabled"], values["accounts", "disabled"]) == (3, 1)
    assert (values["accounts_active_day", None], values["accounts_active_week", None]) == (2, 2)
    assert values["accounts_with_open_tasks", None] == 2
    assert values["open_tasks_largest_share_ratio", None] == pytest.approx(0.75)


async def test_account_of_three_days_ago_is_active_in_the_week_alone(database: AsyncEngine, tmp_path: Path) -> None:
    user = await database_rows.create_user(database)
    for days in (3, 9):
        then = datetime.now(UTC) - timedelta(days=days)
        await database_rows.execute(
            database,
            "INSERT INTO acceptances (extraction_id, video_id, user_id, accepted_at)"
            " VALUES (:id, :video_id, :user_id, :then)",
            id=first_id_at(then),
            video_id=uuid7(),
            user_id=user if days == 3 else uuid7(),
            then=then,
        )
    values = await measure(database, tmp_path)
    assert (values["accounts_active_day", None], values["accounts_active_week", None]) == (0, 1)


async def test_stored_bytes_are_those_that_are_still_there(database: AsyncEngine, tmp_path: Path) -> None:
    first = await database_rows.accept_video(database)
    lease = (await claim_one(database)).lease
    await publish_result(database, lease)
    other = await database_rows.accept_video(database, await database_rows.create_user(database, "bob@example.org"))
    await database_rows.execute(database, "UPDATE videos SET size = 301 WHERE id = :id", id=first.video_id)
    await database_rows.execute(database, "UPDATE videos SET size = 600 WHERE id = :id", id=other.video_id)
    values = await measure(database, tmp_path)
    # A result of 99 bytes stands in `queue_steps`.
    assert [values["storage_bytes", kind] for kind in ("videos", "results", "uploads")] == [901, 99, 0]
    assert values["storage_largest_share_ratio", None] == pytest.approx(0.6)
    await database_rows.execute(database, "UPDATE videos SET removed_at = now() WHERE id = :id", id=other.video_id)
    assert (await measure(database, tmp_path))["storage_bytes", "videos"] == 301


async def test_connections_of_every_part_are_counted(database: AsyncEngine, tmp_path: Path) -> None:
    values = await measure(database, tmp_path)
    expected = {f"{state}/{kind}" for state in ("in_use", "idle") for kind in (*CONNECTION_KINDS, "other")}
    assert {label for name, label in values if name == "database_connections"} == expected
    # The connections of this test are named `test`, which is no part of the service.
    assert values["database_connections", "in_use/other"] >= 1


async def test_large_tables_are_read_at_most_a_twentieth_of_the_time(database: AsyncEngine, tmp_path: Path) -> None:
    times = iter([0.0, 10.0, 209.0, 211.0, 212.0])
    overview, runs = ServiceTotalsGauges(database, FolderStore(tmp_path), lambda: next(times)), []
    for _ in range(3):
        metrics = RecordedMetrics()
        await overview.run(metrics)
        runs.append(("fotograma_accounts", "enabled") in metrics.values)
        assert ("fotograma_database_connections_limit", None) in metrics.values
    assert runs == [True, False, True]
