"""Files of the child are checked. A missing or wrong file counts as a crash of the child."""

import asyncio
import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncEngine

from actors.extraction_types import ARCHIVE_FILE, PLAN_FILE, SEGMENT_INDEX, SEGMENT_REPORT, preview_files
from actors.sandbox.child_process import DecodingChild
from actors.sandbox.child_protocol import CHECKSUM_MISMATCH_EXIT, STORAGE_EXIT
from actors.worker.task_runner import TaskOutcome, perform
from actors.worker.verify_child_files import MAX_PREVIEW_BYTES, BadOutputError, read_preview
from actors.worker.worker_deps import WorkerDeps
from db.object_store.object_store import ObjectStore
from db.queue import task_queue
from db.values.lifecycle import MAX_CHILD_REPORTS, MAX_CRASHES
from tests.support.compromised_child import child_that_runs
from tests.support.decoding_children import start_child
from tests.support.state import database_rows
from tests.support.state.worker_setup import ALL_FRAMES, submit_video
from tests.support.videos.clips import ClipByName

SECRET = "readable by the worker only"
REPORT = "(out / 'report.json')"


async def run_task(worker_deps: WorkerDeps, child: DecodingChild) -> tuple[TaskOutcome, Row[Any]]:
    """Claims a task and performs it; returns the outcome and the task's row afterwards."""
    (claim,) = await task_queue.claim(worker_deps.database, worker="w1")
    async with asyncio.timeout(60):
        outcome = await perform(claim, child, worker_deps, asyncio.Event(), lambda: None)
    return outcome, await database_rows.fetch_task(worker_deps.database, claim.lease.task_id)


async def set_service_errors(database: AsyncEngine, count: int) -> None:
    """Gives the task a number of service errors, and makes it ready at once."""
    async with database.begin() as connection:
        await connection.execute(text("UPDATE tasks SET service_errors = :count, ready_at = now()"), {"count": count})


def is_crash(outcome: TaskOutcome, task: Row[Any]) -> bool:
    return (outcome, task.crashes, task.losses, task.service_errors) == (TaskOutcome.RETRIED, 1, 0, 0)


@pytest.mark.parametrize(
    "code",
    [
        pytest.param(f"{REPORT}.unlink()", id="no report"),
        pytest.param(f"{REPORT}.write_text('{{')", id="half a report"),
        pytest.param(f"{REPORT}.write_text('[]')", id="a report that is not an object"),
        pytest.param(f"{REPORT}.write_bytes(bytes([255]))", id="a report that is not UTF-8"),
        pytest.param(f"{REPORT}.write_text('[' * 100_000)", id="a report nested too deeply"),
        pytest.param(f"""{REPORT}.write_text('{{"seconds": NaN}}')""", id="a report with NaN"),
        pytest.param(f"{REPORT}.open('ab').truncate(1 << 24)", id="a report that is too long"),
        pytest.param(f"(out / '{ARCHIVE_FILE}').unlink()", id="no archive"),
        pytest.param(f"(out / '{ARCHIVE_FILE}').open('ab').write(b'more')", id="an archive unlike its report"),
        pytest.param("(out / 'sheet.jpg').unlink(); (out / 'sheet.jpg').mkdir()", id="a folder instead of a file"),
        pytest.param("(out / 'sheet.jpg').unlink(); os.mkfifo(out / 'sheet.jpg')", id="a pipe instead of a file"),
        pytest.param("os.rename(out, str(out) + '2'); os.symlink(str(out) + '2', out)", id="a link to the folder"),
    ],
)
async def test_result_that_differs_from_its_report_is_a_crash_of_the_child(
    database: AsyncEngine, store: ObjectStore, worker_deps: WorkerDeps, clips: ClipByName, code: str
) -> None:
    await submit_video(database, store, clips("h264")[0])
    assert is_crash(*await run_task(worker_deps, await child_that_runs(code)))
    outcome, _ = await run_task(worker_deps, await start_child())
    assert outcome is TaskOutcome.PUBLISHED


@pytest.mark.parametrize("code", [STORAGE_EXIT, CHECKSUM_MISMATCH_EXIT])
async def test_child_that_keeps_blaming_the_service_counts_as_crashed(
    database: AsyncEngine, store: ObjectStore, worker_deps: WorkerDeps, clips: ClipByName, code: int
) -> None:
    accepted = await submit_video(database, store, clips("h264")[0])
    outcome, task = await run_task(worker_deps, await child_that_runs(f"os._exit({code})"))
    assert (outcome, task.crashes, task.service_errors) == (TaskOutcome.RETRIED, 0, 1)
    for crashes in range(1, MAX_CRASHES + 1):
        await set_service_errors(database, MAX_CHILD_REPORTS)
        outcome, task = await run_task(worker_deps, await child_that_runs(f"os._exit({code})"))
        assert (task.crashes, task.service_errors) == (crashes, MAX_CHILD_REPORTS)
    extraction = await database_rows.fetch_extraction(database, accepted.extraction_id)
    assert (outcome, extraction.error_code) == (TaskOutcome.FAILED, "gave_up")


@pytest.mark.parametrize("name", ["report.json", "manifest.json"])
async def test_symbolic_link_of_the_child_is_not_stored(
    database: AsyncEngine, store: ObjectStore, worker_deps: WorkerDeps, clips: ClipByName, tmp_path: Path, name: str
) -> None:
    secret = tmp_path / "secret"
    secret.write_text(f'{{"secret": "{SECRET}"}}')
    await submit_video(database, store, clips("h264")[0])
    link_code = f"(out / '{name}').unlink(); (out / '{name}').symlink_to({str(secret)!r})"
    assert is_crash(*await run_task(worker_deps, await child_that_runs(link_code)))
    for key in await store.keys("results"):
        assert SECRET.encode() not in b"".join([chunk async for chunk in store.read(key)])
    assert secret.read_text() == f'{{"secret": "{SECRET}"}}'


@pytest.mark.parametrize("plan", ["", "{}", '{"sha256":"' + "0" * 64 + '","document":{}}\n'])
async def test_incomplete_plan_is_a_crash_of_the_child(
    database: AsyncEngine, store: ObjectStore, worker_deps: WorkerDeps, clips: ClipByName, plan: str
) -> None:
    splitting_deps = replace(worker_deps, segment_seconds=1e-6)
    await submit_video(database, store, clips("h264")[0], ALL_FRAMES)
    assert is_crash(
        *await run_task(splitting_deps, await child_that_runs(f"(out / '{PLAN_FILE}').write_text({plan!r})"))
    )
    outcome, _ = await run_task(splitting_deps, await start_child())
    assert outcome is TaskOutcome.SPLIT


@pytest.mark.parametrize(
    "code",
    [
        pytest.param(f"(out / '{SEGMENT_REPORT}').unlink()", id="no segment report"),
        pytest.param(f"(out / '{SEGMENT_REPORT}').write_text('{{}}')", id="a segment report without its digest"),
        pytest.param(f"(out / '{SEGMENT_INDEX}').open('ab').write(b'more')", id="an index unlike its report"),
    ],
)
async def test_incomplete_segment_is_a_crash_of_the_child(
    database: AsyncEngine, store: ObjectStore, worker_deps: WorkerDeps, clips: ClipByName, code: str
) -> None:
    splitting_deps = replace(worker_deps, segment_seconds=1e-6)
    await submit_video(database, store, clips("h264")[0], ALL_FRAMES)
    await run_task(splitting_deps, await start_child())
    assert is_crash(*await run_task(splitting_deps, await child_that_runs(code)))
    outcome, _ = await run_task(splitting_deps, await start_child())
    assert outcome is TaskOutcome.PUBLISHED


JPEG, INDEX = b"\xff\xd8\xffpicture\xff\xd9", b"WEBVTT\n"


@pytest.fixture
def preview_folder(tmp_path: Path) -> Iterator[tuple[Path, int]]:
    """The child's folder with a preview of 3 images, and its file descriptor."""
    out = tmp_path / "out"
    out.mkdir()
    for name, content in zip(preview_files(3), (JPEG, INDEX), strict=True):
        (out / name).write_bytes(content)
    descriptor = os.open(out, os.O_RDONLY | os.O_DIRECTORY)
    yield out, descriptor
    os.close(descriptor)


def link_to(target: str) -> Callable[[Path], None]:
    def link(path: Path) -> None:
        (path.parent.parent / "secret").write_bytes(JPEG)
        path.unlink()
        path.symlink_to(target)

    return link


def link_hard(path: Path) -> None:
    (path.parent.parent / "secret").write_bytes(JPEG)
    path.unlink()
    path.hardlink_to(path.parent.parent / "secret")


def replace_by(make: Callable[[Path], object]) -> Callable[[Path], None]:
    def replace(path: Path) -> None:
        path.unlink()
        make(path)

    return replace


@pytest.mark.parametrize(
    ("position", "tamper"),
    [
        pytest.param(0, lambda path: path.write_bytes(JPEG[:3] + bytes(MAX_PREVIEW_BYTES) + JPEG[-2:]), id="huge"),
        pytest.param(0, lambda path: path.write_bytes(b"<svg>"), id="no JPEG"),
        pytest.param(0, lambda path: path.write_bytes(b""), id="empty"),
        pytest.param(0, lambda path: path.write_bytes(JPEG[:-2]), id="half a JPEG"),
        pytest.param(0, link_to("../secret"), id="a symbolic link"),
        pytest.param(0, link_hard, id="a hard link"),
        pytest.param(0, link_to("/dev/zero"), id="an endless device"),
        pytest.param(0, replace_by(os.mkfifo), id="a pipe"),
        pytest.param(0, replace_by(Path.mkdir), id="a folder"),
        pytest.param(1, lambda path: path.write_bytes(b"<script>"), id="no index"),
        pytest.param(1, lambda path: path.write_bytes(INDEX + bytes([255])), id="an index that is not ASCII"),
        pytest.param(1, lambda path: path.write_bytes(INDEX + bytes(1 << 20)), id="a huge index"),
    ],
)
def test_hostile_preview_is_refused(
    preview_folder: tuple[Path, int], position: int, tamper: Callable[[Path], object]
) -> None:
    out, descriptor = preview_folder
    assert read_preview(descriptor, 3) == (JPEG, INDEX)
    tamper(out / preview_files(3)[position])
    with pytest.raises(BadOutputError):
        read_preview(descriptor, 3)


def test_preview_is_read_from_the_folder_that_the_child_was_given(preview_folder: tuple[Path, int]) -> None:
    out, descriptor = preview_folder
    out.rename(out.parent / "moved")
    (out.parent / "other").mkdir()
    out.symlink_to(out.parent / "other")
    for name in preview_files(3):
        (out / name).write_bytes(b"of another folder")
    assert read_preview(descriptor, 3) == (JPEG, INDEX)
    with pytest.raises(FileNotFoundError):
        read_preview(descriptor, 4)
