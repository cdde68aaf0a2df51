"""The export of an account: everything that is stored about it, and nothing of others."""

from __future__ import annotations

import asyncio
import json
import os
import tracemalloc
import zipfile
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from io import BytesIO
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import pytest

from db.accounts import account_export
from db.object_store import retention
from db.object_store.folder_store import FolderStore
from serve_app import concurrent_exports
from serve_app.app import create_app
from serve_app.deps import Deps
from tests.support.clients import tus_client
from tests.support.clients.api_client import (
    MP4,
    PASSWORD,
    listen,
    log_in,
    make_deps,
    make_result,
    open_client,
    publish_next_task,
    status_and_code,
    upload_video,
)
from tests.support.clients.limited_api import assert_refused
from tests.support.state import database_rows, whole_account

ROWS = ("sessions", "api_keys", "presets", "webhooks", "deliveries", "uploads", "videos", "extractions")


class Export:
    """A downloaded archive."""

    def __init__(self, content: bytes) -> None:
        self.content, self.archive = content, zipfile.ZipFile(BytesIO(content))

    @property
    def names(self) -> list[str]:
        return self.archive.namelist()

    def read(self, name: str) -> bytes:
        return self.archive.read(name)

    def rows(self, name: str) -> Any:
        return json.loads(self.read(f"{name}.json"))


async def export(client: httpx.AsyncClient) -> Export:
    answer = await client.get("/v1/me/export")
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "application/zip"
    assert answer.headers["cache-control"] == "no-store"
    assert "attachment" in answer.headers["content-disposition"]
    return Export(answer.content)


async def test_export_has_every_row_and_every_file_of_the_account_and_no_secret(
    ana: httpx.AsyncClient, bob: httpx.AsyncClient, deps: Deps
) -> None:
    account = await whole_account.add_ended_and_running(ana, deps, "ana")
    other = await whole_account.add_ended_and_running(bob, deps, "bob")
    await whole_account.add_waiting(ana, deps, account, "ana")
    await whole_account.add_waiting(bob, deps, other, "bob")
    exported = await export(ana)
    assert exported.archive.testzip() is None
    assert {info.compress_type for info in exported.archive.infolist()} == {zipfile.ZIP_STORED}

    shown = (await ana.get("/v1/me")).json()
    assert json.loads(exported.read("account.json")) == shown
    assert {name: len(exported.rows(name)) for name in ROWS} == {
        "sessions": 1, "api_keys": 1, "presets": 1, "webhooks": 1, "deliveries": 3, "uploads": 1, "videos": 5,
        "extractions": 6,
    }  # fmt: skip
    hashed = await database_rows.fetch_one(
        deps.database, "SELECT password_hash FROM users WHERE id = :id", id=shown["id"]
    )
    for secret in (hashed.password_hash, "whsec_", "fg_", "secret", "password", "bob"):
        assert secret.encode() not in exported.content, secret

    by_name = {video["filename"]: video for video in exported.rows("videos")}
    for name in ("ana-succeeded.mp4", "ana-failed.mp4", "ana-running.mp4", "ana-tus.mp4"):
        assert by_name[name]["file"] == f"videos/{by_name[name]['id']}.mp4"
        assert exported.read(by_name[name]["file"]) == MP4
    (upload,) = exported.rows("uploads")
    assert (upload["filename"], upload["received"], exported.read(upload["file"])) == ("ana-open.mp4", 5000, MP4[:5000])

    of_video = [row for row in exported.rows("extractions") if row["video_id"] == account.succeeded["id"]]
    assert [row["reused"] for row in of_video] == [False, True]
    assert [row["timeline"][0]["kind"] for row in of_video] == ["accepted", "reused"]
    assert of_video[0] == {
        **(await ana.get(f"/v1/extractions/{of_video[0]['id']}")).json(),
        "files": of_video[0]["files"],
        "timeline": (await ana.get(f"/v1/extractions/{of_video[0]['id']}/timeline")).json()["items"],
    }
    archive = (await ana.get(f"/v1/extractions/{of_video[0]['id']}/frames.zip")).content
    for row in of_video:
        assert exported.read(f"{row['files']}/frames.zip") == archive
    results = [name for name in exported.names if name.startswith("results/")]
    assert len(results) == 6
    assert "missing.txt" not in exported.names


async def test_export_of_an_account_with_more_rows_than_a_page_has_all_of_them_once(
    ana: httpx.AsyncClient, deps: Deps, monkeypatch: pytest.MonkeyPatch
) -> None:
    account = await whole_account.add_ended_and_running(ana, deps, "ana")
    await whole_account.add_waiting(ana, deps, account, "ana")
    complete = await export(ana)
    monkeypatch.setattr(account_export, "PAGE_ROWS", 1)
    monkeypatch.setattr("serve_app.routes.account_export.PAGE_ROWS", 1)
    paged = await export(ana)
    assert paged.names == complete.names
    # Whole rows are not compared: the queue position of an extraction may change between two exports.
    for name in ROWS:
        key = "name" if name == "presets" else "id"
        assert [row[key] for row in paged.rows(name)] == [row[key] for row in complete.rows(name)]
    assert [row["timeline"] for row in paged.rows("extractions")] == [
        row["timeline"] for row in complete.rows("extractions")
    ]


async def test_missing_objects_are_listed_and_the_export_is_complete_otherwise(
    ana: httpx.AsyncClient, deps: Deps
) -> None:
    videos = [await upload_video(ana, f"{name}.mp4") for name in "ab"]
    await publish_next_task(deps, make_result([b"one"]))
    await publish_next_task(deps, make_result([b"two"]))
    path = await tus_client.open_upload(ana, len(MP4))
    for start in range(0, len(MP4), 4000):
        await tus_client.patch(ana, path, start, MP4[start : start + 4000])
    chunks = await deps.objects.keys(f"videos/{tus_client.id_of(path)}")
    results = {row["video_id"]: row["files"] for row in (await export(ana)).rows("extractions")}
    lost_result = results[videos[1]["id"]]
    for key in (f"videos/{videos[0]['id']}", chunks[1], f"{lost_result}/frames.zip"):
        await deps.objects.delete(key)

    exported = await export(ana)
    assert exported.archive.testzip() is None
    assert sorted(exported.read("missing.txt").decode().splitlines()) == sorted(
        [
            f"{lost_result}/frames.zip",
            f"videos/{tus_client.id_of(path)}.mp4 (from byte 4000 on)",
            f"videos/{videos[0]['id']}.mp4",
        ]
    )
    assert exported.read(f"videos/{tus_client.id_of(path)}.mp4") == MP4[:4000]
    assert exported.read(f"videos/{videos[1]['id']}.mp4") == MP4
    assert f"{lost_result}/manifest.csv" in exported.names


async def test_expired_files_are_not_listed_as_missing(ana: httpx.AsyncClient, deps: Deps) -> None:
    await upload_video(ana)
    await publish_next_task(deps, make_result([b"one"]))
    await database_rows.execute(deps.database, "UPDATE results SET expires_at = now()")
    await database_rows.execute(deps.database, "ALTER TABLE extractions DISABLE TRIGGER extractions_transition")
    await database_rows.execute(deps.database, "UPDATE extractions SET result_expires_at = now()")
    assert await retention.remove_expired_results(deps.database) == 1
    assert await retention.remove_old_videos(deps.database, seconds=0) == 1
    exported = await export(ana)
    assert exported.names == ["account.json", *(f"{name}.json" for name in ROWS)]
    assert [video["file"] for video in exported.rows("videos")] == [None]
    assert [extraction["files"] for extraction in exported.rows("extractions")] == [None]


async def test_memory_does_not_grow_with_the_files(ana: httpx.AsyncClient, deps: Deps, tmp_path: Path) -> None:
    video, size = await upload_video(ana), 300 << 20
    os.truncate(tmp_path / "objects" / "videos" / video["id"], size)
    received = 0
    async with listen(create_app(deps)) as port, httpx.AsyncClient(headers=ana.headers, timeout=60) as client:
        tracemalloc.start()
        try:
            async with client.stream("GET", f"http://127.0.0.1:{port}/v1/me/export") as answer:
                async for block in answer.aiter_raw():
                    received += len(block)
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert received > size
    assert peak < 20 << 20


async def test_file_names_of_users_do_not_change_the_paths_in_the_export(ana: httpx.AsyncClient) -> None:
    ids = [
        (await upload_video(ana, name))["id"] for name in ("x.m/../../p", "x.\u202e4pm", "noname", "x.MOV", "x. mp4")
    ]
    assert sorted(name for name in (await export(ana)).names if name.startswith("videos/")) == sorted(
        [f"videos/{ids[0]}", f"videos/{ids[1]}.4pm", f"videos/{ids[2]}", f"videos/{ids[3]}.MOV", f"videos/{ids[4]}"]
    )


async def test_empty_account_has_an_export(ana: httpx.AsyncClient) -> None:
    exported = await export(ana)
    assert json.loads(exported.read("account.json"))["email"] == "ana@example.org"
    assert exported.rows("videos") == []


async def test_export_needs_a_session_and_sends_no_body_to_head(visitor: httpx.AsyncClient) -> None:
    assert status_and_code(await visitor.get("/v1/me/export")) == (401, "unauthenticated")
    await log_in(visitor)
    head = await visitor.head("/v1/me/export")
    assert (head.status_code, head.content, head.headers["content-type"]) == (200, b"", "application/zip")
    assert UUID((await visitor.get("/v1/me")).json()["id"])
    assert PASSWORD.encode() not in (await export(visitor)).content


class CallbackStore(FolderStore):
    """Calls `before_first_read` once, before it returns the first bytes of an object."""

    before_first_read: Callable[[], Awaitable[object]] | None = None

    async def read(self, key: str, start: int = 0, length: int | None = None) -> AsyncIterator[bytes]:
        call, self.before_first_read = self.before_first_read, None
        if call is not None:
            await call()
        async for block in super().read(key, start, length):
            yield block


@pytest.mark.parametrize("deleted_by", ["video", "account"])
async def test_file_whose_row_is_deleted_during_the_export_is_listed_as_missing(
    deps: Deps, tmp_path: Path, deleted_by: str
) -> None:
    store = CallbackStore(tmp_path / "objects")
    app_deps = make_deps(deps.database, tmp_path, deps.cache, objects=store)
    async with open_client(create_app(app_deps)) as client:
        await log_in(client)
        await upload_video(client, "first.mp4")
        (await tus_client.create(client, len(MP4), MP4)).raise_for_status()
        open_upload = await tus_client.open_upload(client, len(MP4))
        await tus_client.patch(client, open_upload, 0, MP4[:4000])
        last = await upload_video(client, "last.mp4")
        for _ in range(3):
            await publish_next_task(app_deps, make_result([b"one"]))
        complete = await export(client)

        async def delete() -> None:
            if deleted_by == "account":
                await client.request("DELETE", "/v1/me", json={"password": PASSWORD})
            else:
                for video in (await client.get("/v1/videos")).json()["items"][:2]:
                    await client.delete(f"/v1/videos/{video['id']}")
                await client.delete(open_upload, headers=tus_client.TUS)
            # Maintenance deletes these objects some minutes later. The first video is not deleted: it is being read.
            for key in [*await store.keys("videos"), *await store.keys("results")]:
                if not key.endswith(complete.rows("videos")[0]["id"]):
                    await store.delete(key)

        store.before_first_read = delete
        exported = await export(client)
    assert exported.archive.testzip() is None
    missing = exported.read("missing.txt").decode().splitlines()
    listed_files = [video["file"] for video in exported.rows("videos")] + [exported.rows("uploads")[0]["file"]]
    listed_files += [f"{extraction['files']}/frames.zip" for extraction in exported.rows("extractions")]
    assert len(listed_files) == 7
    assert sorted(missing) == sorted(listed_files[1:])
    assert listed_files[0] in exported.names
    assert last["id"] in listed_files[2]
    app_deps.password_hasher.close()


@asynccontextmanager
async def start_export(port: int, client: httpx.AsyncClient) -> AsyncIterator[httpx.Response]:
    """Starts an export and reads only its first bytes."""
    url = f"http://127.0.0.1:{port}/v1/me/export"
    async with httpx.AsyncClient(headers=client.headers, timeout=60) as http, http.stream("GET", url) as answer:
        assert answer.status_code == 200
        blocks = answer.aiter_raw(1000)
        await anext(blocks)
        yield answer
        await blocks.aclose()  # type: ignore[attr-defined]  # httpx annotates its generator as an iterator


async def test_concurrent_exports_are_limited_per_account_and_per_replica(
    ana: httpx.AsyncClient, bob: httpx.AsyncClient, deps: Deps, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(concurrent_exports, "MAX_EXPORTS", 1)
    video = await upload_video(ana)
    os.truncate(tmp_path / "objects" / "videos" / video["id"], 100 << 20)
    async with listen(create_app(deps)) as port:
        async with start_export(port, ana):
            assert_refused(await ana.get("/v1/me/export"), 429, "too_many_requests", "request")
            assert_refused(await bob.get("/v1/me/export"), 429, "too_many_requests", "request")
            assert (await ana.head("/v1/me/export")).status_code == 200
            monkeypatch.setattr(concurrent_exports, "MAX_EXPORTS", 2)
            await export(bob)
            assert_refused(await ana.get("/v1/me/export"), 429, "too_many_requests", "request")
        # The client has disconnected during its export.
        async with asyncio.timeout(20):
            while (await bob.get("/v1/me/export")).status_code == 429 or deps.exports.count:
                await asyncio.sleep(0.01)
        assert (await export(ana)).archive.testzip() is None
