"""`fotograma ops requeue`: failed extractions are tried again, each once, and their history stays."""

from __future__ import annotations

import asyncio
import json
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine
from uuid_utils.compat import uuid7

from db.acceptance import requeue
from db.values.error_catalogue import CatalogueError
from db.values.lifecycle import Blame
from tests.integration.cluster.ops.conftest import RunOps
from tests.support.state import database_rows
from tests.support.state.queue_steps import claim_one, fail_task, publish_result


async def fail_video(database: AsyncEngine, code: str = "service_failed") -> UUID:
    """Accepts a video whose extraction fails; returns the id of the extraction."""
    accepted = await database_rows.accept_video(database)
    await fail_task(database, (await claim_one(database)).lease, Blame.FILE, code)
    return accepted.extraction_id


def items_of(out: str) -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = json.loads(out)["items"]
    return items


async def test_failed_extraction_is_queued_anew_and_keeps_its_history(ops: RunOps, database: AsyncEngine) -> None:
    failed = await fail_video(database)
    history = await database_rows.event_kinds(database, failed)
    done = await ops("requeue", str(failed), "--json")
    assert done.code == 0, done.err
    (item,) = items_of(done.out)
    new = await database_rows.fetch_extraction(database, UUID(item["new_extraction_id"]))
    old = await database_rows.fetch_extraction(database, failed)
    assert (new.status, new.spec, new.video_id, new.user_id) == ("queued", old.spec, old.video_id, old.user_id)
    assert (old.status, old.error_code) == ("failed", "service_failed")
    assert await database_rows.event_kinds(database, failed) == history
    assert (await claim_one(database)).extraction_id == new.id


async def test_all_failed_are_requeued_once_and_by_their_code(ops: RunOps, database: AsyncEngine) -> None:
    away, again, refused = [await fail_video(database, code) for code in ("service_failed", "gave_up", "undecodable")]
    listed = await ops("requeue", "--all-failed", "--dry-run")
    assert listed.code == 0
    assert all(str(extraction) in listed.out for extraction in (away, again, refused))
    assert listed.out.splitlines()[-1] == "3 would be queued anew, 0 refused."
    codes = ("--code", "service_failed", "--code", "gave_up")
    done = await ops("requeue", "--all-failed", *codes, "--json")
    assert {item["extraction_id"] for item in items_of(done.out)} == {str(away), str(again)}
    assert items_of((await ops("requeue", "--all-failed", *codes, "--json")).out) == []
    assert (await ops("requeue", "--all-failed", *codes)).out == "Nothing has failed.\n"
    (left,) = items_of((await ops("requeue", "--all-failed", "--dry-run", "--json")).out)
    assert left["extraction_id"] == str(refused)


async def test_second_failure_is_requeued_and_the_first_is_not(ops: RunOps, database: AsyncEngine) -> None:
    first = await fail_video(database)
    (item,) = items_of((await ops("requeue", str(first), "--json")).out)
    await fail_task(database, (await claim_one(database)).lease, Blame.FILE, "gave_up")
    (second,) = items_of((await ops("requeue", "--all-failed", "--json")).out)
    assert second["extraction_id"] == item["new_extraction_id"]


async def test_only_what_has_failed_since_the_time_is_requeued(ops: RunOps, database: AsyncEngine) -> None:
    old, new = await fail_video(database), await fail_video(database)
    await database_rows.execute(
        database,
        "ALTER TABLE extractions DISABLE TRIGGER USER",
    )
    await database_rows.execute(
        database, "UPDATE extractions SET finished_at = now() - interval '2 days' WHERE id = :id", id=old
    )
    (item,) = items_of((await ops("requeue", "--all-failed", "--since", "24h", "--dry-run", "--json")).out)
    assert item["extraction_id"] == str(new)
    both = await ops("requeue", "--all-failed", "--since", "2020-01-01", "--dry-run", "--json")
    assert len(items_of(both.out)) == 2


async def test_what_has_not_failed_is_refused_with_the_reason(ops: RunOps, database: AsyncEngine) -> None:
    failed = await fail_video(database)
    succeeded = (await database_rows.accept_video(database)).extraction_id
    await publish_result(database, (await claim_one(database)).lease)
    missing = uuid7()
    some = await ops("requeue", str(failed), str(succeeded), str(missing))
    assert some.code == 3
    assert "it is succeeded; only a failed one is queued anew" in some.out
    assert "there is no such extraction" in some.out
    again = await ops("requeue", str(failed))
    assert (again.code, "it was tried again: " in again.out) == (65, True)


async def test_video_whose_bytes_were_removed_is_refused(ops: RunOps, database: AsyncEngine) -> None:
    failed = await fail_video(database)
    await database_rows.execute(database, "UPDATE videos SET removed_at = now()")
    refused = await ops("requeue", str(failed))
    assert (refused.code, "bytes were removed after their time" in refused.out) == (65, True)


async def test_two_operators_queue_an_extraction_once(database: AsyncEngine) -> None:
    failed = await fail_video(database)
    outcomes = await asyncio.gather(*(requeue.requeue(database, failed) for _ in range(4)), return_exceptions=True)
    refused = [outcome for outcome in outcomes if isinstance(outcome, CatalogueError)]
    assert [error.code for error in refused] == ["wrong_state"] * 3


@pytest.mark.parametrize(
    "wrong",
    [
        ["not-an-id"],
        [],
        ["--all-failed", "--since", "yesterday"],
        ["--all-failed", "--code", "no_such_code"],
        ["--all-failed", "01890c5e-0000-7000-8000-000000000000"],
    ],
)
async def test_wrong_command_line_changes_nothing(ops: RunOps, database: AsyncEngine, wrong: list[str]) -> None:
    await fail_video(database)
    refused = await ops("requeue", *wrong)
    assert (refused.code, refused.out) == (2, "")
    row = await database_rows.fetch_one(database, "SELECT count(*) AS total FROM extractions")
    assert row.total == 1
