"""A repeated batch continues the earlier run, and uploads again what was deleted meanwhile."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import text

from cluster.cli.batch.batch_client import BatchClient
from cluster.cli.batch.batch_types import BatchItem, Stage
from cluster.cli.batch.output_paths import OutputPath
from cluster.cli.batch.server_batch import ServerBatch
from cluster.cli.batch.video_outcome import VideoOutcome
from db.object_store import retention
from db.queue import task_queue
from db.values.lifecycle import Blame
from serve_app.app import create_app
from serve_app.deps import Deps
from tests.support.clients import api_client
from tests.support.state import database_rows


class SilentProgress:
    """Ignores all progress."""

    def stage(self, index: int, name: str, stage: Stage, done: int = 0, total: int | None = None) -> None: ...

    def end(self, index: int, outcome: VideoOutcome) -> None: ...


@pytest.fixture
async def client(deps: Deps) -> AsyncIterator[BatchClient]:
    async with api_client.listen(create_app(deps)) as port, BatchClient(f"http://127.0.0.1:{port}") as client:
        await client.register("ana@example.org", api_client.PASSWORD)
        await client.login("ana@example.org", api_client.PASSWORD)
        yield client


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    path = tmp_path / "clip.mp4"
    path.write_bytes(api_client.MP4)
    return path


async def publish_when_ready(deps: Deps) -> None:
    """Waits for the next ready task, and publishes a result for it as a worker would."""
    while True:
        async with deps.database.connect() as connection:
            if (await connection.execute(text("SELECT count(*) FROM tasks WHERE state = 'ready'"))).scalar_one():
                break
        await asyncio.sleep(0.01)
    result = api_client.make_result([b"image"])
    await api_client.publish_next_task(deps, replace(result, sha256=hashlib.sha256(result.archive).hexdigest()))


async def publish_all(deps: Deps) -> None:
    while True:
        await publish_when_ready(deps)


def batch_item(clip: Path) -> BatchItem:
    return BatchItem(clip.name, OutputPath(clip.with_suffix(".zip"), clip.with_suffix(""), renamed=False), source=clip)


async def run_batch(client: BatchClient, clip: Path) -> VideoOutcome:
    (outcome,) = await ServerBatch(client, SilentProgress()).run([batch_item(clip)])
    return outcome


async def count_videos_and_acceptances(deps: Deps) -> tuple[int, int]:
    statement = "SELECT (SELECT count(*) FROM videos), (SELECT count(*) FROM acceptances)"
    async with deps.database.connect() as connection:
        videos, acceptances = (await connection.execute(text(statement))).one()
    return videos, acceptances


async def test_video_that_was_accepted_before_is_not_uploaded_again(
    deps: Deps, client: BatchClient, clip: Path
) -> None:
    first, _ = await asyncio.gather(run_batch(client, clip), publish_when_ready(deps))
    again = await run_batch(client, clip)
    assert first.failure is None
    assert again.failure is None
    assert again.video is not None
    assert first.video is not None
    assert again.video.id == first.video.id
    assert await count_videos_and_acceptances(deps) == (1, 1)


@pytest.mark.parametrize("is_accepted", [True, False])
async def test_equal_files_of_one_batch_are_sent_once(deps: Deps, tmp_path: Path, is_accepted: bool) -> None:
    names = ["a.mp4", "copy/a.mp4", "b.mp4", "c.mp4", "d.mp4", "e.mp4"]
    content = api_client.MP4 if is_accepted else bytes(len(api_client.MP4))
    (tmp_path / "copy").mkdir()
    for name in names:
        (tmp_path / name).write_bytes(content)
    (tmp_path / "other.mp4").write_bytes(api_client.MP4[:-1] + b"x")
    async with (
        api_client.listen(create_app(deps)) as port,
        BatchClient(f"http://127.0.0.1:{port}", upload_state=tmp_path / "state") as client,
    ):
        await client.register("ana@example.org", api_client.PASSWORD)
        await client.login("ana@example.org", api_client.PASSWORD)
        items = [batch_item(tmp_path / name) for name in [*names, "other.mp4"]]
        publishing = asyncio.create_task(publish_all(deps))
        outcomes = await ServerBatch(client, SilentProgress()).run(items)
        publishing.cancel()
    assert [outcome.failure is None for outcome in outcomes] == [is_accepted] * len(names) + [True]
    if is_accepted:
        assert len({outcome.video.id for outcome in outcomes if outcome.video}) == 2
        assert sorted(outcome.sent_bytes for outcome in outcomes) == [0] * 5 + [len(api_client.MP4)] * 2
    assert await count_videos_and_acceptances(deps) == ((2, 2) if is_accepted else (1, 1))


async def test_cancelled_extraction_is_retried_once(deps: Deps, client: BatchClient, clip: Path) -> None:
    video = await client.upload(clip, by_content=True)
    await client.cancel(video.extraction)
    first, _ = await asyncio.gather(run_batch(client, clip), publish_when_ready(deps))
    again = await run_batch(client, clip)
    assert first.failure is None
    assert again.failure is None
    assert await count_videos_and_acceptances(deps) == (1, 2)


async def test_deleted_video_is_uploaded_again(deps: Deps, client: BatchClient, clip: Path) -> None:
    await client.delete(await client.upload(clip, by_content=True))
    outcome, _ = await asyncio.gather(run_batch(client, clip), publish_when_ready(deps))
    assert outcome.failure is None
    assert clip.with_suffix(".zip").is_file()
    assert await count_videos_and_acceptances(deps) == (1, 2)


async def test_file_with_a_checksum_mismatch_is_sent_again(deps: Deps, client: BatchClient, clip: Path) -> None:
    await client.upload(clip, by_content=True)
    (claim,) = await task_queue.claim(deps.database, worker="w")
    await task_queue.fail(
        deps.database, claim.lease, blame=Blame.FILE, code="checksum_mismatch", detail="Other bytes.", jitter=0.0
    )
    first, _ = await asyncio.gather(run_batch(client, clip), publish_when_ready(deps))
    again = await run_batch(client, clip)
    assert (first.failure, again.failure) == (None, None)
    assert await count_videos_and_acceptances(deps) == (2, 2)


async def expire_results(deps: Deps) -> None:
    past = "now() - interval '1 s'"
    for change in (
        "ALTER TABLE extractions DISABLE TRIGGER extractions_transition",
        f"UPDATE extractions SET result_expires_at = {past}",
        f"UPDATE results SET expires_at = {past}",
    ):
        await database_rows.execute(deps.database, change)
    assert await retention.remove_expired_results(deps.database) == 1


@pytest.mark.parametrize("is_video_kept", [True, False])
async def test_expired_result_is_extracted_again(
    deps: Deps, client: BatchClient, clip: Path, is_video_kept: bool
) -> None:
    await asyncio.gather(run_batch(client, clip), publish_when_ready(deps))
    clip.with_suffix(".zip").unlink()
    await expire_results(deps)
    if not is_video_kept:
        assert await retention.remove_old_videos(deps.database, seconds=0) == 1
    again, _ = await asyncio.gather(run_batch(client, clip), publish_when_ready(deps))
    assert again.failure is None
    assert clip.with_suffix(".zip").is_file()
    assert await count_videos_and_acceptances(deps) == ((1, 2) if is_video_kept else (2, 2))


async def test_archive_that_was_downloaded_before_its_result_expired_stays(
    deps: Deps, client: BatchClient, clip: Path
) -> None:
    await asyncio.gather(run_batch(client, clip), publish_when_ready(deps))
    await expire_results(deps)
    assert (await run_batch(client, clip)).is_unchanged
    assert await count_videos_and_acceptances(deps) == (1, 1)
