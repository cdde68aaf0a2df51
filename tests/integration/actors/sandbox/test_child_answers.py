"""Messages of the child are checked against bounds. A message out of bounds counts as a crash of the child."""

import asyncio
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from actors.worker.task_runner import TaskOutcome, perform
from actors.worker.worker_deps import WorkerDeps
from db.object_store.object_store import ObjectStore
from db.queue import task_queue
from tests.support.compromised_child import child_that_sends
from tests.support.decoding_children import start_child
from tests.support.state import database_rows
from tests.support.state.worker_setup import ALL_FRAMES, RecordedWorkerMetrics, submit_video
from tests.support.videos.clips import ClipByName

MEDIA = {
    "container": "mp4",
    "codec": "h264",
    "width": 64,
    "height": 48,
    "rotation": 0,
    "duration": 2.0,
    "frames": 50,
    "fps_average": 25.0,
    "variable_frame_rate": False,
    "key_frames": 1,
}
HUGE = {"width": 2**53 - 1, "height": 2**53 - 1}
PLANNED = {"type": "Planned", "media": MEDIA, "frames_total": 2, "frames_to_decode": 50}
EXTRACTED = {"type": "Extracted", "media": MEDIA, "frames": 2, "bytes": 9, "sha256": "0" * 64, "warnings": []}
SPLIT = {"type": "Split", "media": MEDIA, "frames_total": 10, "segments": []}


def segments(*stops: int, cost: int = 5) -> list[dict[str, int]]:
    return [
        {"number": number, "first": first, "stop": stop, "cost": cost}
        for number, (first, stop) in enumerate(zip((0, *stops), stops, strict=False))
    ]


@pytest.mark.parametrize(
    "messages",
    [
        pytest.param([PLANNED | {"media": MEDIA | {"duration": float("nan")}}], id="duration not a number"),
        pytest.param([PLANNED | {"media": MEDIA | {"fps_average": float("inf")}}], id="infinite frame rate"),
        pytest.param([PLANNED | {"media": MEDIA | {"frames": 2**53 - 1}}], id="frame count above a column's maximum"),
        pytest.param([PLANNED | {"frames_total": 2**31}], id="image count above a column's maximum"),
        pytest.param([PLANNED | {"frames_total": 10_001}], id="more images than are allowed"),
        pytest.param([PLANNED | {"frames_total": -1}], id="negative image count"),
        pytest.param([PLANNED | {"frames_total": 2.0}], id="image count not an integer"),
        pytest.param([PLANNED, {"type": "Progress", "frames_done": 2**53 - 1}], id="progress above a column's maximum"),
        pytest.param([PLANNED, {"type": "Progress", "frames_done": 3}], id="more progress than was planned"),
        pytest.param([{"type": "Progress", "frames_done": 1}], id="progress without a plan"),
        pytest.param([PLANNED, {"type": "Progress", "frames_done": 2}, PLANNED | {"frames_total": 1}], id="two plans"),
        pytest.param([PLANNED, EXTRACTED | {"frames": 2**53 - 1}], id="a result of too many images"),
        pytest.param([PLANNED, EXTRACTED | {"sha256": "none"}], id="malformed digest"),
        pytest.param([SPLIT | {"segments": segments(5, 10, cost=2**53 - 1)}], id="segments of too much work"),
        pytest.param([SPLIT | {"segments": segments(5, 9)}], id="segments that omit an image"),
        pytest.param([SPLIT | {"segments": segments(10) * 2}], id="a segment twice"),
        pytest.param([SPLIT | {"segments": [{"number": 0, "first": 0, "stop": 10}]}], id="a segment without its cost"),
        pytest.param([{"type": "Refused", "code": "unavailable", "detail": ""}], id="error of the service"),
        pytest.param([{"type": "Told"}], id="an unknown kind"),
        pytest.param([PLANNED | {"media": MEDIA | HUGE}, {"type": "Told"}], id="more work than a number can hold"),
    ],
)
async def test_message_out_of_bounds_is_a_crash_of_the_child(
    database: AsyncEngine,
    store: ObjectStore,
    worker_deps: WorkerDeps,
    clips: ClipByName,
    messages: list[dict[str, Any]],
) -> None:
    metrics = RecordedWorkerMetrics()
    fast_deps = replace(worker_deps, heartbeat_seconds=0.05, seconds_max=90.0, metrics=metrics)
    accepted = await submit_video(database, store, clips("h264")[0])
    (claim,) = await task_queue.claim(database, worker="w1")
    child = await child_that_sends(*messages)
    async with asyncio.timeout(60):
        assert await perform(claim, child, fast_deps, asyncio.Event(), lambda: None) is TaskOutcome.RETRIED
    task = await database_rows.fetch_task(database, accepted.task_id)
    assert (task.crashes, task.losses, task.service_errors) == (1, 0, 0)
    assert metrics.crashes == 1


async def test_messages_within_bounds_are_accepted(
    database: AsyncEngine, store: ObjectStore, worker_deps: WorkerDeps, clips: ClipByName
) -> None:
    accepted = await submit_video(database, store, clips("h264")[0])
    (claim,) = await task_queue.claim(database, worker="w1")
    refused = {"type": "Refused", "code": "no_video_stream", "detail": "Only sound."}
    child = await child_that_sends(PLANNED, {"type": "Progress", "frames_done": 2}, refused)
    assert await perform(claim, child, worker_deps, asyncio.Event(), lambda: None) is TaskOutcome.FAILED
    extraction = await database_rows.fetch_extraction(database, accepted.extraction_id)
    assert (extraction.error_code, extraction.frames_total) == ("no_video_stream", 2)


async def test_more_images_than_targets_of_a_segment_is_a_crash_of_the_child(
    database: AsyncEngine, store: ObjectStore, worker_deps: WorkerDeps, clips: ClipByName
) -> None:
    fast_deps = replace(worker_deps, heartbeat_seconds=0.05, seconds_max=90.0, segment_seconds=1e-6)
    accepted = await submit_video(database, store, clips("h264")[0], ALL_FRAMES)
    (claim,) = await task_queue.claim(database, worker="w1")
    assert await perform(claim, await start_child(), fast_deps, asyncio.Event(), lambda: None) is TaskOutcome.SPLIT
    (claim,) = await task_queue.claim(database, worker="w1")
    assert claim.segment is not None
    too_many = claim.segment.stop - claim.segment.first + 1
    child = await child_that_sends(
        PLANNED | {"frames_total": too_many - 1}, {"type": "SegmentExtracted", "frames": too_many}
    )
    async with asyncio.timeout(60):
        assert await perform(claim, child, fast_deps, asyncio.Event(), lambda: None) is TaskOutcome.RETRIED
    task = await database_rows.fetch_task(database, claim.lease.task_id)
    assert (task.crashes, task.losses, task.service_errors) == (1, 0, 0)
    assert accepted.extraction_id == claim.extraction_id
