"""A repeated batch continues the earlier run, and uploads what was deleted meanwhile."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import text

from cluster.cli.output_paths import OutputPath
from cluster.cli.server_batch import BatchItem, ServerBatch, Stage, VideoOutcome
from db.object_store import retention
from db.queue import task_queue
from db.values.lifecycle import Blame
from fotograma import AsyncClient
from serve_app.app import create_app
from serve_app.deps import Deps
from tests.support.clients import api_client
from tests.support.state import database_rows


class Silent:
    """Watches nothing."""

    def stage(self, index: int, name: str, stage: Stage, done: int = 0, total: int | None = None) -> None: ...

    def end(self, index: int, outcome: VideoOutcome) -> None: ...


@pytest.fixture
async def client(deps: Deps) -> AsyncIterator[AsyncClient]:
    async with api_client.listen(create_app(deps)) as port, AsyncClient(f"http://127.0.0.1:{port}") as client:
        await client.register("ana@example.org", api_client.PASSWORD)
        await client.login("ana@example.org", api_client.PASSWORD)
        yield client


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    path = tmp_path / "clip.mp4"
    path.write_bytes(api_client.MP4)
    return path


async def work(deps: Deps) -> None:
    """A worker that gives one result as soon as there is a task."""
    while True:
        async with deps.database.connect() as connection:
            if (await connection.execute(text("SELECT count(*) FROM tasks WHERE state = 'ready'"))).scalar_one():
                break
        await asyncio.sleep(0.01)
    result = api_client.make_result([b"image"])
    await api_client.publish_next_task(deps, replace(result, sha256=hashlib.sha256(result.archive).hexdigest()))


async def run(client: AsyncClient, clip: Path) -> VideoOutcome:
    wanted = BatchItem(
        clip.name, OutputPath(clip.with_suffix(".zip"), clip.with_suffix(""), renamed=False), source=clip
    )
    (outcome,) = await ServerBatch(client, Silent()).run([wanted])
    return outcome


async def counted(deps: Deps) -> tuple[int, int]:
    statement = "SELECT (SELECT count(*) FROM videos), (SELECT count(*) FROM acceptances)"
    async with deps.database.connect() as connection:
        videos, acceptances = (await connection.execute(text(statement))).one()
    return videos, acceptances


async def test_video_that_was_accepted_before_is_not_uploaded_again(
    deps: Deps, client: AsyncClient, clip: Path
) -> None:
    first, _ = await asyncio.gather(run(client, clip), work(deps))
    again = await run(client, clip)
    assert first.failure is None
    assert again.failure is None
    assert again.video is not None
    assert first.video is not None
    assert again.video.id == first.video.id
    assert await counted(deps) == (1, 1)


async def test_cancelled_extraction_is_retried_once(deps: Deps, client: AsyncClient, clip: Path) -> None:
    video = await client.upload(clip, by_content=True)
    await client.cancel(video.extraction)
    first, _ = await asyncio.gather(run(client, clip), work(deps))
    again = await run(client, clip)
    assert first.failure is None
    assert again.failure is None
    assert await counted(deps) == (1, 2)


async def test_deleted_video_is_uploaded_again(deps: Deps, client: AsyncClient, clip: Path) -> None:
    await client.delete(await client.upload(clip, by_content=True))
    outcome, _ = await asyncio.gather(run(client, clip), work(deps))
    assert outcome.failure is None
    assert clip.with_suffix(".zip").is_file()
    assert await counted(deps) == (1, 2)


async def test_file_whose_bytes_arrived_damaged_is_sent_again(deps: Deps, client: AsyncClient, clip: Path) -> None:
    await client.upload(clip, by_content=True)
    (claim,) = await task_queue.claim(deps.database, worker="w")
    await task_queue.fail(
        deps.database, claim.lease, blame=Blame.FILE, code="checksum_mismatch", detail="Other bytes.", jitter=0.0
    )
    first, _ = await asyncio.gather(run(client, clip), work(deps))
    again = await run(client, clip)
    assert (first.failure, again.failure) == (None, None)
    assert await counted(deps) == (2, 2)


async def expire_results(deps: Deps) -> None:
    past = "now() - interval '1 s'"
    for change in (
        "ALTER TABLE extractions DISABLE TRIGGER extractions_transition",
        f"UPDATE extractions SET result_expires_at = {past}",
        f"UPDATE results SET expires_at = {past}",
    ):
        await database_rows.execute(deps.database, change)
    assert await retention.remove_expired_results(deps.database) == 1


@pytest.mark.parametrize("bytes_are_there", [True, False])
async def test_result_that_has_expired_is_made_again(
    deps: Deps, client: AsyncClient, clip: Path, bytes_are_there: bool
) -> None:
    await asyncio.gather(run(client, clip), work(deps))
    clip.with_suffix(".zip").unlink()
    await expire_results(deps)
    if not bytes_are_there:
        assert await retention.remove_old_videos(deps.database, seconds=0) == 1
    again, _ = await asyncio.gather(run(client, clip), work(deps))
    assert again.failure is None
    assert clip.with_suffix(".zip").is_file()
    assert await counted(deps) == ((1, 2) if bytes_are_there else (2, 2))


async def test_archive_that_was_downloaded_before_its_result_expired_stays(
    deps: Deps, client: AsyncClient, clip: Path
) -> None:
    await asyncio.gather(run(client, clip), work(deps))
    await expire_results(deps)
    assert (await run(client, clip)).is_unchanged
    assert await counted(deps) == (1, 1)
