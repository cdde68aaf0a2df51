"""`fotograma logs` for the owner of an extraction, and `fotograma ops logs` for the operator of the service."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import pytest
from sqlalchemy.ext.asyncio import AsyncEngine
from structlog.testing import capture_logs
from uuid_utils.compat import uuid7

from db.queue import task_queue
from db.values.lifecycle import Blame
from tests.integration.cluster.ops.conftest import RunOps
from tests.support.clients.api_client import upload_video
from tests.support.clients.cli_run import command_runner
from tests.support.state import database_rows
from tests.support.state.queue_steps import claim_one, fail_task


def objects_of(out: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in out.splitlines()]


def write_line(folder: Path, extraction_id: UUID, event: str, **fields: Any) -> None:
    """Adds a line as a replica writes it."""
    folder.mkdir(exist_ok=True)
    at = (datetime.now(UTC) + timedelta(seconds=1)).isoformat()
    values = {"timestamp": at, "event": event, "level": "info", "message": "A\x1b[31m line."}
    with (folder / "worker-1.out").open("a") as file:
        file.write(json.dumps({**values, "extraction_id": str(extraction_id), **fields}) + "\n")


async def test_operator_sees_the_events_and_the_lines_of_the_replicas_in_order(
    ops: RunOps, database: AsyncEngine, tmp_path: Path
) -> None:
    accepted = await database_rows.accept_video(database)
    await fail_task(database, (await claim_one(database)).lease, Blame.SERVICE, "unavailable")
    write_line(tmp_path / "logs", accepted.extraction_id, "task.retried", worker="w1", attempt=1)
    write_line(tmp_path / "logs", uuid7(), "task.claimed")
    command = ("logs", str(accepted.extraction_id), "--logs", str(tmp_path / "logs"))
    done = await ops(*command, "--json")
    assert done.code == 0, done.err
    entries = objects_of(done.out)
    assert [entry.get("kind") or entry["event"] for entry in entries] == [
        "accepted",
        "claimed",
        "retried",
        "task.retried",
    ]
    assert [entry["source"] for entry in entries] == ["timeline"] * 3 + ["worker-1.out"]
    assert entries[1]["worker"]
    lines = (await ops(*command, "--lines", "2")).out.splitlines()
    assert [line.split("  ")[1:3] for line in lines] == [["timeline", "retried"], ["info", "task.retried"]]
    assert lines[1].endswith("A\\x1b[31m line.  worker=w1  attempt=1")


async def test_operator_follows_an_extraction_to_its_end(ops: RunOps, database: AsyncEngine, tmp_path: Path) -> None:
    accepted = await database_rows.accept_video(database)
    logs = tmp_path / "logs"
    write_line(logs, accepted.extraction_id, "video.accepted")
    following = asyncio.ensure_future(ops("logs", str(accepted.extraction_id), "--logs", str(logs), "-f", "--json"))
    claim = await claim_one(database)
    write_line(logs, accepted.extraction_id, "task.claimed")
    async with database.begin() as connection:
        assert await task_queue.cancel(connection, claim.extraction_id)
    done = await asyncio.wait_for(following, 30)
    kinds = {entry.get("kind") or entry["event"] for entry in objects_of(done.out)}
    assert kinds == {"accepted", "video.accepted", "claimed", "task.claimed", "cancelled"}
    assert len(objects_of(done.out)) == 5


async def test_machine_without_logs_shows_the_events(
    ops: RunOps, settings: pytest.MonkeyPatch, database: AsyncEngine, tmp_path: Path
) -> None:
    settings.setenv("RAY_TMPDIR", str(tmp_path))
    accepted = await database_rows.accept_video(database)
    done = await ops("logs", str(accepted.extraction_id))
    assert (done.code, len(done.out.splitlines())) == (0, 1)
    assert "--logs DIR" in done.err
    session = tmp_path / "ray" / "session_latest"
    session.mkdir(parents=True)
    write_line(session / "logs", accepted.extraction_id, "video.accepted")
    assert len((await ops("logs", str(accepted.extraction_id))).out.splitlines()) == 2


async def test_unknown_extraction_is_refused(ops: RunOps) -> None:
    unknown = uuid7()
    done = await ops("logs", str(unknown))
    assert (done.code, done.out) == (65, "")
    assert f"There is no extraction {unknown}." in done.err
    assert (await ops("logs", "nonsense")).code == 2


async def test_owner_sees_events_with_reasons_and_follows_to_the_end(
    port: int,
    ana: httpx.AsyncClient,
    database: AsyncEngine,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    secret = (await ana.post("/v1/api-keys", json={"name": "x"})).json()["secret"]
    for name, value in {"URL": f"http://127.0.0.1:{port}", "API_KEY": secret}.items():
        monkeypatch.setenv(f"FOTOGRAMA_{name}", value)
    for name in ("CONFIG", "STATE"):
        monkeypatch.setenv(f"XDG_{name}_HOME", str(tmp_path / name))
    monkeypatch.setattr("cluster.cli.commands.logs.POLL_SECONDS", 0.05)
    extraction_id = (await upload_video(ana))["extraction"]["id"]
    run = command_runner(capsys)
    capsys.readouterr()
    # The application in this process would log to the same output.
    with capture_logs():
        first = await asyncio.to_thread(run, "logs", extraction_id)
        assert (first.code, [line.split()[2:] for line in first.out.splitlines()]) == (0, [["accepted"]])
        following = asyncio.create_task(asyncio.to_thread(run, "logs", extraction_id, "--follow", "--json"))
        claim = await claim_one(database)
        await fail_task(database, claim.lease, Blame.FILE, "no_video_stream")
        events = objects_of((await asyncio.wait_for(following, 30)).out)
    assert [event["kind"] for event in events][:3] == ["accepted", "claimed", "failed"]
    assert events[2]["code"] == "no_video_stream"
    # The worker's name is for operators.
    assert "worker" not in events[1]
