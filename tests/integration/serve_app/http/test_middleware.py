"""Headers of every response, readiness, and behaviour over a real connection."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from ray.serve._private.http_util import RequestIdMiddleware
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine
from uuid_utils.compat import uuid7

from db.connection import open_database
from db.object_store.folder_store import FolderStore
from serve_app.app import create_app
from serve_app.deps import Deps
from serve_app.http.middleware import SingleRequestId
from serve_app.openapi import response_schemas
from serve_app.openapi.openapi_document import OPERATIONS
from tests.support.clients.api_client import (
    MP4,
    listen,
    log_in,
    make_limits,
    make_result,
    open_client,
    publish_next_task,
    upload_video,
)

TIMEOUT_SECONDS = 60.0
"""Long enough for an answer of a busy machine."""


@asynccontextmanager
async def open_real_connections(deps: Deps, **more: Any) -> AsyncIterator[httpx.AsyncClient]:
    """A client with real connections to the application."""
    async with listen(create_app(deps)) as port:
        url = f"http://127.0.0.1:{port}"
        async with httpx.AsyncClient(base_url=url, timeout=TIMEOUT_SECONDS, **more) as client:
            yield client


async def test_every_response_has_request_id_and_security_headers(visitor: httpx.AsyncClient) -> None:
    for path in ("/", "/docs", "/static/page.js", "/healthz", "/v1/me", "/nothing", "/openapi.json"):
        answer = await visitor.get(path)
        assert answer.headers["x-request-id"]
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["x-frame-options"] == "DENY"
        assert "default-src 'none'" in answer.headers["content-security-policy"]
    given = await visitor.get("/v1/me", headers={"X-Request-Id": "from-the-proxy-1"})
    assert given.headers["x-request-id"] == given.json()["request_id"] == "from-the-proxy-1"
    hostile = await visitor.get("/v1/me", headers={"X-Request-Id": 'a"<b>'})
    assert hostile.headers["x-request-id"] != 'a"<b>'


async def test_unknown_paths_and_methods_are_problems(visitor: httpx.AsyncClient) -> None:
    missing = await visitor.get("/v2/videos")
    assert (missing.status_code, missing.json()["code"]) == (404, "not_found")
    wrong = await visitor.put("/v1/videos")
    assert (wrong.status_code, wrong.json()["code"]) == (405, "method_not_allowed")
    assert {"GET", "POST"} <= set(wrong.headers["allow"].split(", "))
    assert (await visitor.get("/static/nothing.js")).json()["code"] == "not_found"
    assert (await visitor.get("/static/../app.py")).status_code == 404


async def test_options_answers_with_the_methods_of_each_path_without_an_account(visitor: httpx.AsyncClient) -> None:
    methods: dict[str, set[str]] = {}
    for method, path in OPERATIONS:
        methods.setdefault(path, {"OPTIONS"}).update({method, "HEAD"} if method == "GET" else {method})
    for path, expected in methods.items():
        answer = await visitor.options(path.format(id=uuid7(), delivery_id=uuid7(), n=1, name="slides"))
        assert (answer.status_code, answer.content) == (204, b"")
        assert set(answer.headers["allow"].split(", ")) == expected, path
        assert "access-control-allow-origin" not in answer.headers


async def test_response_behind_serve_has_one_request_id(deps: Deps) -> None:
    app = RequestIdMiddleware(SingleRequestId(create_app(deps)))
    async with open_client(app) as client:
        for sent in ({}, {"X-Request-Id": "from-the-proxy-1"}):
            answer = await client.get("/v1/me", headers=sent)
            assert answer.headers.get_list("x-request-id") == [answer.json()["request_id"]]


async def test_page_loads_nothing_from_other_hosts(visitor: httpx.AsyncClient) -> None:
    page = await visitor.get("/")
    assert page.headers["content-type"].startswith("text/html")
    assert "script-src 'self'" in page.headers["content-security-policy"]
    assert "unsafe" not in page.headers["content-security-policy"]
    assert "://" not in page.text
    script = await visitor.get("/static/page.js")
    assert script.headers["content-type"].startswith("text/javascript")
    again = await visitor.get("/static/page.js", headers={"If-None-Match": script.headers["etag"]})
    assert again.status_code == 304


def parts_of_not_ready(answer: httpx.Response) -> Mapping[str, str]:
    """Checks the problem that /readyz answers; returns the states of the parts in it."""
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["retry-after"] == "2"
    problem = response_schemas.Problem.model_validate_json(answer.content)
    assert (answer.status_code, problem.status, problem.code, problem.fault) == (503, 503, "unavailable", "service")
    assert problem.parts is not None
    assert all(name in problem.detail for name, state in problem.parts.items() if state != "ok" and name != "cache")
    return problem.parts


class TestReadiness:
    """GET /readyz"""

    async def test_readiness_is_ok_when_every_part_is(self, visitor: httpx.AsyncClient) -> None:
        ready = await visitor.get("/readyz")
        parts = dict.fromkeys(("database", "migrations", "objects", "storage", "cache"), "ok")
        assert (ready.status_code, ready.json()) == (200, {"status": "ready", "parts": parts, "paused": []})

    async def test_database_outage_is_named_and_requests_get_retry_after(
        self, deps: Deps, ana: httpx.AsyncClient
    ) -> None:
        unreachable = open_database("postgresql://nobody@127.0.0.1:1/none", name="test")
        async with open_client(create_app(replace(deps, database=unreachable)), headers=ana.headers) as client:
            parts = parts_of_not_ready(await client.get("/readyz"))
            assert (parts["database"], parts["migrations"], parts["objects"]) == ("away", "away", "ok")
            assert (await client.get("/healthz")).status_code == 200
            refused = await client.get("/v1/videos")
            assert (refused.status_code, refused.json()["code"]) == (503, "unavailable")
            assert refused.json()["fault"] == "service"
            assert refused.headers["retry-after"]
        await unreachable.dispose()

    async def test_part_restarted_by_the_supervisor_is_restarting(self, deps: Deps, tmp_path: Path) -> None:
        unreachable = open_database("postgresql://nobody@127.0.0.1:1/none", name="test")
        state = tmp_path / "parts.json"
        supervised = replace(deps, database=unreachable, supervisor_state=state)
        async with open_client(create_app(supervised)) as client:
            assert parts_of_not_ready(await client.get("/readyz"))["database"] == "away"
            state.write_text('{"database": "restarting", "cache": "restarting", "migrations": "ok", "api": "ok"}')
            parts = parts_of_not_ready(await client.get("/readyz"))
            assert (parts["database"], parts["migrations"], parts["cache"]) == ("restarting", "away", "ok")
            state.write_text("half a")
            assert parts_of_not_ready(await client.get("/readyz"))["database"] == "away"
        await unreachable.dispose()

    async def test_outdated_schema_is_named(
        self, deps: Deps, visitor: httpx.AsyncClient, database: AsyncEngine
    ) -> None:
        async with database.begin() as connection:
            await connection.execute(text("UPDATE alembic_version SET version_num = 'older'"))
        assert parts_of_not_ready(await visitor.get("/readyz"))["migrations"] == "behind"

    async def test_unwritable_store_is_named(self, deps: Deps, tmp_path: Path) -> None:
        (tmp_path / "file").write_text("no folder")
        broken = replace(deps, objects=FolderStore(tmp_path / "file"))
        async with open_client(create_app(broken)) as client:
            assert parts_of_not_ready(await client.get("/readyz"))["objects"] == "away"

    async def test_store_below_its_disk_reserve_is_named(self, deps: Deps) -> None:
        free = await deps.objects.free_bytes()
        assert free is not None
        async with open_client(create_app(replace(deps, limits=make_limits(min_free_bytes=free * 2)))) as client:
            parts = parts_of_not_ready(await client.get("/readyz"))
            assert (parts["storage"], parts["objects"]) == ("full", "ok")

    async def test_store_without_a_size_limit_is_never_full(self, deps: Deps, monkeypatch: pytest.MonkeyPatch) -> None:
        async def unbounded(_store: FolderStore) -> None:
            return None

        monkeypatch.setattr(FolderStore, "free_bytes", unbounded)
        async with open_client(create_app(replace(deps, limits=make_limits(min_free_bytes=1 << 60)))) as client:
            assert (await client.get("/readyz")).json()["parts"]["storage"] == "ok"


class TestConnection:
    """With a real server and real sockets."""

    async def test_disconnect_during_upload_stores_nothing(
        self, deps: Deps, ana: httpx.AsyncClient, database: AsyncEngine, tmp_path: Path
    ) -> None:
        async with listen(create_app(deps)) as port:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
            head = (
                f"POST /v1/videos HTTP/1.1\r\nHost: x\r\nAuthorization: {ana.headers['Authorization']}\r\n"
                "Content-Type: multipart/form-data; boundary=b\r\nContent-Length: 5000000\r\n\r\n"
            )
            part = b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.mp4"\r\n\r\n' + MP4 * 20
            writer.write(head.encode() + part)
            await writer.drain()
            await _wait_until_true(database, "SELECT count(*) = 1 FROM reservations")
            writer.close()
            await writer.wait_closed()
            await _wait_until_true(database, "SELECT count(*) = 0 FROM reservations")
        assert await deps.objects.keys("videos") == []
        assert not list((tmp_path / "objects" / ".staging").iterdir())
        async with database.connect() as connection:
            assert (await connection.execute(text("SELECT count(*) FROM videos"))).scalar() == 0

    async def test_declared_length_above_the_limit_is_refused_without_the_body(
        self, deps: Deps, ana: httpx.AsyncClient
    ) -> None:
        async with listen(create_app(deps)) as port:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            head = (
                f"POST /v1/videos HTTP/1.1\r\nHost: x\r\nAuthorization: {ana.headers['Authorization']}\r\n"
                "Content-Type: multipart/form-data; boundary=b\r\nContent-Length: 99000000000\r\n\r\n"
            )
            writer.write(head.encode())
            status = await asyncio.wait_for(reader.readline(), TIMEOUT_SECONDS)
            assert b" 413 " in status
            writer.close()
            await writer.wait_closed()

    async def test_large_archive_streams_and_an_aborted_download_is_harmless(
        self, deps: Deps, ana: httpx.AsyncClient
    ) -> None:
        result = make_result([bytes(1 << 20)] * 8)
        path = f"/v1/extractions/{(await upload_video(ana))['extraction']['id']}/frames.zip"
        await publish_next_task(deps, result)
        async with open_real_connections(deps, headers=ana.headers) as client:
            async with client.stream("GET", path) as abandoned:
                await anext(abandoned.aiter_raw())
            whole = await client.get(path)
            assert whole.content == result.archive

    async def test_archive_lost_during_download_breaks_the_connection(
        self, deps: Deps, ana: httpx.AsyncClient, tmp_path: Path
    ) -> None:
        result = make_result([bytes(1 << 20)] * 4)
        path = f"/v1/extractions/{(await upload_video(ana))['extraction']['id']}/frames.zip"
        await publish_next_task(deps, result)
        (archive,) = (tmp_path / "objects" / "results").rglob("frames.zip")
        shutil.copy(archive, tmp_path / "kept")
        with archive.open("r+b") as file:
            file.truncate(1 << 20)
        async with open_real_connections(deps, headers=ana.headers) as client:
            with pytest.raises(httpx.RemoteProtocolError):
                await client.get(path)

    async def test_accounts_work_over_a_real_connection(self, deps: Deps) -> None:
        async with open_real_connections(deps) as client:
            await log_in(client, "bob@example.org")
            assert (await client.get("/v1/me")).json()["email"] == "bob@example.org"


async def _wait_until_true(database: AsyncEngine, statement: str) -> None:
    """Polls the database until the query returns true: the server reports nothing to the test."""
    async with asyncio.timeout(TIMEOUT_SECONDS):
        while True:
            async with database.connect() as connection:
                if (await connection.execute(text(statement))).scalar():
                    return
            await asyncio.sleep(0.02)
