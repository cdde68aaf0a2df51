"""A restore drill, and what can be wrong with a backup: real PostgreSQL, its own programs, and a folder of objects."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from actors.maintenance.garbage_cleaners import GarbageCleaner, LostAttemptCleaner
from actors.worker.worker_deps import WorkerDeps
from cluster.local.servers.embedded_postgres import Postgres
from cluster.operations import postgres_clients
from cluster.operations.backup_folder import BackupFolder
from db import videos
from db.connection import open_database
from db.notification import event_log
from db.object_store.folder_store import FolderStore
from serve_app.app import create_app
from serve_app.deps import Deps
from tests.integration.cluster.ops.conftest import RunOps
from tests.support.clients import api_client, tus_client
from tests.support.clients.api_client import MP4, make_result, publish_next_task, upload_video
from tests.support.servers.real_servers import fresh_database
from tests.support.state import database_rows
from tests.support.state.worker_setup import run_next_task
from tests.support.videos.clips import ClipByName


def document_of(out: str) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(out)
    return document


@asynccontextmanager
async def service_on(url: str, objects: Path, deps: Deps) -> AsyncIterator[tuple[Deps, httpx.AsyncClient]]:
    """The application on a restored database and its objects, and a client that logs in with the old password."""
    database = open_database(url, name="api", connections=5)
    restored = api_client.make_deps(database, objects, deps.cache)
    try:
        async with api_client.open_client(create_app(restored)) as client:
            yield restored, client
    finally:
        await restored.extraction_feed.close()
        restored.password_hasher.close()
        await database.dispose()


async def test_restored_service_gives_the_same_downloads_after_everything_was_destroyed(
    ops: RunOps,
    settings: pytest.MonkeyPatch,
    deps: Deps,
    ana: httpx.AsyncClient,
    worker_deps: WorkerDeps,
    postgres: Postgres,
    clips: ClipByName,
    tmp_path: Path,
) -> None:
    """The drill: submit, extract, back up, destroy, restore, and download the same bytes."""
    clip = clips("h264")[0].read_bytes()
    done = await upload_video(ana, "done.mp4", clip)
    await run_next_task(worker_deps)
    waiting = await upload_video(ana, "waiting.mp4", clip + b"\0")
    chunked = await tus_client.open_upload(ana, len(clip))
    await tus_client.patch(ana, chunked, 0, clip[:10_000])
    archive = (await ana.get(f"/v1/extractions/{done['extraction']['id']}/frames.zip")).content
    backup = tmp_path / "backup"
    made = await ops("backup", str(backup), "--objects")
    assert made.code == 0, made.err
    # Everything is lost: another server, another folder.
    shutil.rmtree(tmp_path / "objects")
    new_objects = tmp_path / "new"
    with fresh_database(postgres) as url:
        settings.setenv("FOTOGRAMA_DATABASE_URL", url)
        settings.setenv("FOTOGRAMA_OBJECTS_URL", new_objects.as_uri())
        restored = await ops("restore", str(backup), "--checksums")
        print(made.out, restored.out, sep="\n")
        assert restored.code == 0, restored.err + restored.out
        assert "The ledger is balanced: 2 accepted extractions." in restored.out
        async with service_on(url, new_objects, deps) as (new_deps, client):
            await api_client.log_in(client)
            listed = {video["id"] for video in (await client.get("/v1/videos")).json()["items"]}
            assert listed == {done["id"], waiting["id"]}
            again = await client.get(f"/v1/extractions/{done['extraction']['id']}/frames.zip")
            assert (again.status_code, again.content) == (200, archive)
            # What waited goes on, and so does the upload.
            assert (await tus_client.patch(client, chunked, 10_000, clip[10_000:])).status_code == 204
            new_worker = replace(worker_deps, database=new_deps.database, objects=FolderStore(new_objects))
            for _ in range(2):
                await run_next_task(new_worker)
            items = (await client.get("/v1/videos?status=succeeded")).json()["items"]
            assert len(items) == 3


async def test_restore_into_a_database_in_use_or_not_empty_is_refused(
    ops: RunOps, database: AsyncEngine, database_url: str, tmp_path: Path
) -> None:
    await database_rows.accept_video(database)
    await FolderStore(tmp_path / "objects").put("videos/x", api_client.one_chunk(b"x"))
    backup = tmp_path / "backup"
    await ops("backup", str(backup))
    refused = await ops("restore", str(backup))
    assert (refused.code, "The service is connected to the database (test)" in refused.err) == (1, True)
    await database.dispose()
    refused = await ops("restore", str(backup))
    assert refused.code == 1
    assert "The database is not empty" in refused.err
    assert "--replace" in refused.err
    row = await database_rows.fetch_one(database, "SELECT count(*) AS total FROM videos")
    assert row.total == 1


async def test_replaced_database_has_what_the_backup_had_and_nothing_newer(
    ops: RunOps, deps: Deps, ana: httpx.AsyncClient, tmp_path: Path
) -> None:
    kept = await upload_video(ana, "kept.mp4")
    await publish_next_task(deps, make_result([b"image"]))
    backup = tmp_path / "backup"
    assert (await ops("backup", str(backup))).code == 0
    await upload_video(ana, "newer.mp4")
    await deps.database.dispose()
    restored = await ops("restore", str(backup), "--replace", "--json")
    document = document_of(restored.out)
    assert (restored.code, document["is_whole"], document["missing"]) == (0, True, [])
    assert document["other_key"] is False
    assert [video["id"] for video in (await ana.get("/v1/videos")).json()["items"]] == [kept["id"]]
    # A second time: no table is left over that would be in the way.
    await deps.database.dispose()
    assert (await ops("restore", str(backup), "--replace")).code == 0


async def test_missing_and_damaged_objects_are_reported(
    ops: RunOps, deps: Deps, ana: httpx.AsyncClient, tmp_path: Path
) -> None:
    first, second = [await upload_video(ana, f"{n}.mp4", MP4 + bytes([n])) for n in range(2)]
    backup = tmp_path / "backup"
    await ops("backup", str(backup))
    folder = tmp_path / "objects" / "videos"
    (folder / first["id"]).unlink()
    same_size = bytearray((folder / second["id"]).read_bytes())
    same_size[100] ^= 1
    (folder / second["id"]).write_bytes(same_size)
    await deps.database.dispose()
    restored = await ops("restore", str(backup), "--replace", "--checksums", "--json")
    document = document_of(restored.out)
    assert restored.code == 1
    assert document["missing"] == [f"videos/{first['id']}"]
    assert document["damaged"] == [f"videos/{second['id']}"]
    assert not document["is_whole"]


async def test_object_that_the_store_has_lost_already_is_said_by_the_backup(
    ops: RunOps, ana: httpx.AsyncClient, tmp_path: Path
) -> None:
    lost, kept = [await upload_video(ana, f"{n}.mp4") for n in range(2)]
    (tmp_path / "objects" / "videos" / lost["id"]).unlink()
    made = await ops("backup", str(tmp_path / "backup"), "--objects", "--json")
    assert made.code == 1
    document = document_of(made.out)
    assert (document["missing"], document["objects"]) == ([f"videos/{lost['id']}"], 1)
    assert (tmp_path / "backup" / "objects" / "videos" / kept["id"]).exists()


async def test_what_is_deleted_during_the_backup_is_still_in_it(
    ops: RunOps, deps: Deps, ana: httpx.AsyncClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Maintenance runs between the dump and the list of objects, and a user deletes a video then."""
    video = await upload_video(ana)
    await publish_next_task(deps, make_result([b"image"]))
    run_client, deleted = postgres_clients.run_client, list[int]()
    video_id = UUID(video["id"])

    async def dump_and_delete(*arguments: str, server_major: int) -> None:
        await run_client(*arguments, server_major=server_major)
        database = open_database(deps.database.url.render_as_string(hide_password=False), name="maintenance")
        row = await database_rows.fetch_one(database, "SELECT id AS user_id FROM users")
        assert await videos.delete(database, row.user_id, video_id, lambda _: True)
        jobs = [job(database, deps.objects, lease_seconds=0.0) for job in (GarbageCleaner, LostAttemptCleaner)]
        deleted.extend([await job.run() for job in jobs])
        await database.dispose()

    monkeypatch.setattr("cluster.operations.backup.run_client", dump_and_delete)
    made = await ops("backup", str(tmp_path / "backup"), "--json")
    assert made.code == 0, made.err
    assert deleted == [0, 0]
    assert document_of(made.out)["missing"] == []
    keys = {entry.key for entry in BackupFolder(tmp_path / "backup").entries()}
    assert f"videos/{video_id}" in keys
    assert any(key.endswith("/frames.zip") for key in keys)
    # The hold passes by itself.
    await database_rows.execute(deps.database, "UPDATE operator_controls SET deletion_held_until = now()")
    assert await GarbageCleaner(deps.database, deps.objects, lease_seconds=0.0).run() > 0


async def test_stream_goes_on_after_a_restore_where_it_was(
    ops: RunOps, database: AsyncEngine, postgres: Postgres, settings: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """What consumers had is not sent again; what they had not is sent, although transactions count anew."""
    await database_rows.accept_video(database)
    async with event_log.next_page(database, 10) as sent:
        assert [event.kind for event in sent] == ["accepted"]
    unsent = await database_rows.accept_video(database)
    await ops("backup", str(tmp_path / "backup"))
    with fresh_database(postgres) as url:
        settings.setenv("FOTOGRAMA_DATABASE_URL", url)
        await ops("restore", str(tmp_path / "backup"))
        restored = open_database(url, name="test")
        newer = await database_rows.accept_video(restored)
        found = []
        for _ in range(3):
            async with event_log.next_page(restored, 10) as events:
                found += [event.extraction_id for event in events]
        await restored.dispose()
    assert found == [unsent.extraction_id, newer.extraction_id]


async def test_damaged_or_foreign_backups_are_refused_and_change_nothing(
    ops: RunOps, database: AsyncEngine, tmp_path: Path
) -> None:
    await database_rows.accept_video(database)
    await ops("backup", str(tmp_path / "backup"))
    await database.dispose()

    async def refusal(change: str) -> str:
        copy = tmp_path / change
        shutil.copytree(tmp_path / "backup", copy)
        folder = BackupFolder(copy)
        facts = json.loads(folder.facts.read_text())
        match change:
            case "cut dump":
                folder.dump.write_bytes(folder.dump.read_bytes()[:-10])
            case "other schema":
                folder.facts.write_text(json.dumps(facts | {"schema": "0000"}))
            case "not finished":
                folder.facts.unlink()
            case "other format":
                folder.facts.write_text(json.dumps(facts | {"format": 99}))
        done = await ops("restore", str(copy), "--replace")
        assert (done.code, done.out) == (1, "")
        return done.err

    assert "database.dump is damaged" in await refusal("cut dump")
    assert "has the schema 0000, and this version of fotograma needs" in await refusal("other schema")
    assert "backup.json is missing" in await refusal("not finished")
    assert "has the format 99" in await refusal("other format")
    row = await database_rows.fetch_one(database, "SELECT count(*) AS total FROM videos")
    assert row.total == 1


async def test_restore_that_fails_brings_the_former_tables_back(
    ops: RunOps, database: AsyncEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await database_rows.accept_video(database)
    await ops("backup", str(tmp_path / "backup"))
    await database_rows.accept_video(database)
    await database.dispose()
    monkeypatch.setattr("db.restored_database.RENUMBER_EVENTS", ("SELECT no_such_function()",))
    with pytest.raises(Exception, match="no_such_function"):
        await ops("restore", str(tmp_path / "backup"), "--replace")
    row = await database_rows.fetch_one(database, "SELECT count(*) AS total FROM videos")
    assert row.total == 2


async def test_backup_into_a_used_folder_is_refused(ops: RunOps, tmp_path: Path) -> None:
    (tmp_path / "used").mkdir()
    (tmp_path / "used" / "file").touch()
    refused = await ops("backup", str(tmp_path / "used"))
    assert (refused.code, "is not empty" in refused.err) == (1, True)


async def test_backup_is_closed_to_other_users(ops: RunOps, tmp_path: Path) -> None:
    await ops("backup", str(tmp_path / "backup"))
    folder = BackupFolder(tmp_path / "backup")
    modes = [path.stat().st_mode & 0o777 for path in (folder.path, folder.dump, folder.manifest)]
    assert modes == [0o700, 0o600, 0o600]


async def test_client_programs_that_are_too_old_are_said_with_what_to_install(
    ops: RunOps, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = tmp_path / "bin" / "pg_dump"
    old.parent.mkdir()
    old.write_text("#!/bin/sh\necho 'pg_dump (PostgreSQL) 13.4'\n")
    old.chmod(0o755)
    monkeypatch.setenv("PATH", str(old.parent))
    monkeypatch.setattr("cluster.operations.postgres_clients.find_spec", lambda _: None)
    assert "No backup can be made from here." in (await ops("doctor")).out
    refused = await ops("backup", str(tmp_path / "backup"))
    assert refused.code == 1
    assert f"The server is PostgreSQL 18, and {old} is of version 13." in refused.err


@pytest.mark.skipif(os.environ.get("FOTOGRAMA_SUITE") != "full", reason="it starts another PostgreSQL: ten seconds")
async def test_backup_goes_into_the_data_folder_of_a_service_that_does_not_run(
    ops: RunOps, settings: pytest.MonkeyPatch, ana: httpx.AsyncClient, tmp_path: Path
) -> None:
    await upload_video(ana)
    await ops("backup", str(tmp_path / "backup"), "--objects")
    for name in ("DATABASE_URL", "OBJECTS_URL", "REDIS_URL"):
        settings.delenv(f"FOTOGRAMA_{name}")
    home = tmp_path / "home"
    restored = await ops("restore", str(tmp_path / "backup"), "--home", str(home), "--json")
    assert restored.code == 0, restored.err
    document = document_of(restored.out)
    assert (document["verified"], document["copied"], document["balance"]["accepted"]) == (1, 1, 1)
    assert len(list((home / "objects" / "videos").iterdir())) == 1
    assert (await ops("status", "--home", str(home))).code == 1
