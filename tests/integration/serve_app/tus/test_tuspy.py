"""tuspy, the Python client of the tus project, works unchanged: whole files, chunks, checksums, and resuming."""

from __future__ import annotations

import asyncio
import io

import httpx
import pytest
from tusclient.client import TusClient

from serve_app.app import create_app
from serve_app.deps import Deps
from tests.support.clients import api_client, tus_client

CONTENT = api_client.MP4 * 40


async def video_of(ana: httpx.AsyncClient) -> dict[str, object]:
    (video,) = (await ana.get("/v1/videos")).json()["items"]
    return dict(video)


@pytest.mark.parametrize(("chunk_size", "checksum"), [(1 << 30, False), (100_000, False), (100_000, True)])
async def test_tuspy_uploads_a_file(ana: httpx.AsyncClient, deps: Deps, chunk_size: int, checksum: bool) -> None:
    async with api_client.listen(create_app(deps)) as port:
        headers = {"Authorization": ana.headers["Authorization"]}
        client = TusClient(f"http://127.0.0.1:{port}/v1/uploads", headers)

        def upload() -> None:
            client.uploader(
                file_stream=io.BytesIO(CONTENT),
                chunk_size=chunk_size,
                metadata={"filename": "holiday.mp4"},
                upload_checksum=checksum,
            ).upload()

        await asyncio.to_thread(upload)
    video = await video_of(ana)
    assert (video["filename"], video["size"], video["status"]) == ("holiday.mp4", len(CONTENT), "queued")
    assert await tus_client.stored_bytes(deps.database, deps.objects, str(video["id"])) == CONTENT


async def test_tuspy_resumes_where_another_uploader_stopped(ana: httpx.AsyncClient, deps: Deps) -> None:
    async with api_client.listen(create_app(deps)) as port:
        headers = {"Authorization": ana.headers["Authorization"]}
        client = TusClient(f"http://127.0.0.1:{port}/v1/uploads", headers)

        def start() -> str:
            first = client.uploader(file_stream=io.BytesIO(CONTENT), chunk_size=100_000)
            first.upload(stop_at=200_000)
            return str(first.url)

        def resume(url: str) -> int:
            uploader = client.uploader(file_stream=io.BytesIO(CONTENT), chunk_size=70_000, url=url)
            offset = uploader.offset
            uploader.upload()
            return int(offset)

        assert await asyncio.to_thread(resume, await asyncio.to_thread(start)) == 200_000
    assert await tus_client.stored_bytes(deps.database, deps.objects, str((await video_of(ana))["id"])) == CONTENT
