"""One claimed task with a real child, a real database and a real store: every way that it can end."""

import asyncio
import json
import os
import signal
import subprocess
import time
import zipfile
from collections.abc import Awaitable, Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, event, text
from sqlalchemy.exc import OperationalError
from sqlalchemy.ext.asyncio import AsyncEngine
from structlog.testing import capture_logs
from uuid_utils.compat import uuid7

from actors.extraction_types import EngineOptions, Extracted
from actors.sandbox.child_process import ChildCrashed, DecodingChild
from actors.sandbox.child_protocol import Job, Limits
from actors.worker.task_runner import TaskOutcome, perform
from actors.worker.worker_deps import WorkerDeps
from actors.worker.worker_loop import Worker
from db.cache import Cache
from db.connection import open_database
from db.object_store.folder_store import FolderStore
from db.object_store.object_keys import video_key
from db.object_store.object_store import ObjectStore
from db.queue import task_queue
from db.queue.task_queue import Claim
from db.values.error_catalogue import CatalogueError
from tests.faults.injection.commit_proxy import AnswerProxy
from tests.support import database_rows
from tests.support.clips import ClipByName, read_image, truncated_copy, write_audio_only, write_text_file
from tests.support.compromised_child import child_that_runs
from tests.support.database_rows import Accepted
from tests.support.own_process import command_of
from tests.support.programs import start_decoding_child
from tests.support.worker_setup import ALL_FRAMES, submit_video

GIB = 1 << 30


async def claim(worker_deps: WorkerDeps) -> Claim:
    (claimed,) = await task_queue.claim(worker_deps.database, worker="w1")
    return claimed


async def run(worker_deps: WorkerDeps, stop: asyncio.Event | None = None) -> TaskOutcome:
    child = await DecodingChild.start()
    return await perform(await claim(worker_deps), child, worker_deps, stop or asyncio.Event(), lambda: None)


async def error_of(database: AsyncEngine, accepted: Accepted) -> tuple[str, str | None]:
    extraction = await database_rows.fetch_extraction(database, accepted.extraction_id)
    return extraction.status, extraction.error_code


def gone(pid: int, seconds: float = 10.0) -> bool:
    """Whether a process has ended within the time (a zombie has)."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
                return True
        except OSError:
            return True
        time.sleep(0.02)
    return False


async def until(condition: Callable[[], Awaitable[bool]], seconds: float = 20.0) -> None:
    async with asyncio.timeout(seconds):
        while not await condition():
            await asyncio.sleep(0.02)


async def test_video_gives_an_archive_with_the_frames_of_its_manifest(
    database: AsyncEngine, store: ObjectStore, worker_deps: WorkerDeps, clips: ClipByName, tmp_path: Path
) -> None:
    path, truth = clips("h264_b_frames")
    accepted = await submit_video(database, store, path, ALL_FRAMES)
    assert await run(worker_deps) is TaskOutcome.PUBLISHED
    extraction = await database_rows.fetch_extraction(database, accepted.extraction_id)
    assert (extraction.status, extraction.result_frames) == ("succeeded", len(truth.shown))
    archive = await store.fetch(f"{extraction.result_key}/frames.zip", tmp_path / "copy")
    manifest = json.loads(b"".join([c async for c in store.read(f"{extraction.result_key}/manifest.json")]))
    with zipfile.ZipFile(archive) as opened:
        opened.extractall(tmp_path / "images")
    report = json.loads(b"".join([c async for c in store.read(f"{extraction.result_key}/report.json")]))
    assert (report["attempts"], report["sequential"]) == (1, False)
    for name in ("sheet.jpg", "sheet.vtt", "manifest.csv"):
        assert await store.size(f"{extraction.result_key}/{name}") > 0
    numbers = [read_image(tmp_path / "images" / frame["name"]) for frame in manifest["frames"]]
    assert len(numbers) == len(truth.shown)
    assert list((worker_deps.scratch).iterdir()) == []


async def test_plan_writes_the_media_facts(
    database: AsyncEngine, store: ObjectStore, worker_deps: WorkerDeps, clips: ClipByName
) -> None:
    path, truth = clips("h264")
    accepted = await submit_video(database, store, path)
    await run(worker_deps)
    video = await database_rows.fetch_one(database, "SELECT media FROM videos WHERE id = :id", id=accepted.video_id)
    assert video.media["codec"] == "h264"
    assert video.media["frames"] == len(truth.shown)


def only_sound(path: Path) -> Path:
    write_audio_only(path)
    return path


@pytest.mark.parametrize(
    ("make", "code"),
    [
        (lambda folder, clip: only_sound(folder / "sound.mp4"), "no_video_stream"),
        (lambda folder, clip: truncated_copy(clip), "unreadable_container"),
    ],
    ids=["audio only", "truncated"],
)
async def test_undecodable_file_fails_at_once_with_its_code(
    database: AsyncEngine,
    store: ObjectStore,
    worker_deps: WorkerDeps,
    clips: ClipByName,
    tmp_path: Path,
    make: Callable[[Path, Path], Path],
    code: str,
) -> None:
    path = make(tmp_path, clips("h264")[0])
    accepted = await submit_video(database, store, path)
    assert await run(worker_deps) is TaskOutcome.FAILED
    assert await error_of(database, accepted) == ("failed", code)
    assert (await database_rows.fetch_task(database, accepted.task_id)).crashes == 0


async def test_empty_selection_fails_with_fault_request(
    database: AsyncEngine, store: ObjectStore, worker_deps: WorkerDeps, clips: ClipByName
) -> None:
    accepted = await submit_video(database, store, clips("h264")[0], '{"range": {"start": 1000}}')
    assert await run(worker_deps) is TaskOutcome.FAILED
    assert await error_of(database, accepted) == ("failed", "empty_selection")


async def test_child_crash_is_counted_and_the_task_retried(
    database: AsyncEngine, store: ObjectStore, worker_deps: WorkerDeps, clips: ClipByName
) -> None:
    accepted = await submit_video(database, store, clips("h264")[0])
    child = await DecodingChild.start()
    claimed = await claim(worker_deps)
    os.kill(child.pid, signal.SIGSEGV)
    assert await perform(claimed, child, worker_deps, asyncio.Event(), lambda: None) is TaskOutcome.RETRIED
    assert (await database_rows.fetch_task(database, accepted.task_id)).crashes == 1
    assert await run(worker_deps) is TaskOutcome.PUBLISHED


async def test_hanging_child_is_killed_at_its_deadline(clips: ClipByName, tmp_path: Path) -> None:
    child = await DecodingChild.start()
    os.kill(child.pid, signal.SIGSTOP)
    job = Job(clips("h264")[0], "{}", tmp_path, EngineOptions(), Limits(4 * GIB, 60, GIB, 0.3, 60))

    async def tell(_news: object) -> None:
        raise AssertionError("a stopped child says nothing")

    outcome = await child.run(job, tell)
    assert isinstance(outcome, ChildCrashed)
    assert "deadline" in outcome.detail
    assert gone(child.pid)


async def test_time_to_report_the_plan_does_not_count_for_the_deadline(
    clips: ClipByName, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("actors.sandbox.child_process.max_work_seconds", lambda _work: 2.0)
    child = await DecodingChild.start()
    job = Job(clips("h264")[0], "{}", tmp_path, EngineOptions(), Limits(4 * GIB, 60, GIB, 20, 25))

    async def tell(_news: object) -> None:
        await asyncio.sleep(3)

    assert isinstance(await child.run(job, tell), Extracted)


async def test_child_above_its_memory_limit_counts_as_crashed(clips: ClipByName, tmp_path: Path) -> None:
    child = await DecodingChild.start()
    in_use = int(Path(f"/proc/{child.pid}/statm").read_text().split()[0]) * 4096
    job = Job(clips("h264")[0], ALL_FRAMES, tmp_path, EngineOptions(), Limits(in_use // 2, 60, GIB, 60, 60))

    async def tell(_news: object) -> None:
        pass

    assert isinstance(await child.run(job, tell), ChildCrashed)


async def test_child_without_disk_space_is_a_service_error(clips: ClipByName, tmp_path: Path) -> None:
    child = await DecodingChild.start()
    job = Job(clips("h264")[0], ALL_FRAMES, tmp_path, EngineOptions(), Limits(4 * GIB, 60, 1000, 60, 60))

    async def tell(_news: object) -> None:
        pass

    with pytest.raises(CatalogueError, match="storage_full"):
        await child.run(job, tell)


async def test_child_environment_has_no_secrets(
    monkeypatch: pytest.MonkeyPatch, clips: ClipByName, tmp_path: Path
) -> None:
    monkeypatch.setenv("FOTOGRAMA_SECRET_KEY", "do not tell")
    child = await child_that_runs("(out / 'environ').write_bytes(b' '.join([*os.environb, *os.environb.values()]))")
    job = Job(clips("h264")[0], "{}", tmp_path, EngineOptions(), Limits(4 * GIB, 60, GIB, 60, 60))

    async def tell(_news: object) -> None:
        pass

    assert isinstance(await child.run(job, tell), Extracted)
    environment = (tmp_path / "environ").read_bytes()
    assert b"LANG" in environment
    assert b"FOTOGRAMA" not in environment
    assert b"do not tell" not in environment


async def test_non_video_never_reaches_a_demuxer(
    database: AsyncEngine, store: ObjectStore, worker_deps: WorkerDeps, tmp_path: Path
) -> None:
    write_text_file(tmp_path / "text.mp4")
    accepted = await submit_video(database, store, tmp_path / "text.mp4")
    assert await run(worker_deps) is TaskOutcome.FAILED
    assert await error_of(database, accepted) == ("failed", "not_a_video")


def test_child_of_a_killed_worker_dies() -> None:
    with subprocess.Popen(command_of(start_decoding_child), stdout=subprocess.PIPE) as worker:
        assert worker.stdout is not None
        try:
            pid = int(worker.stdout.readline())
        finally:
            worker.kill()
    assert gone(pid)


async def test_lost_lease_kills_the_child_and_leaves_no_objects(
    database: AsyncEngine, store: ObjectStore, worker_deps: WorkerDeps, clips: ClipByName
) -> None:
    quick = replace(worker_deps, heartbeat_seconds=0.1)
    accepted = await submit_video(database, store, clips("h264")[0], ALL_FRAMES)
    child = await DecodingChild.start()
    claimed = await claim(quick)
    os.kill(child.pid, signal.SIGSTOP)
    work = asyncio.create_task(perform(claimed, child, quick, asyncio.Event(), lambda: None))
    async with database.begin() as connection:
        assert await task_queue.cancel(connection, accepted.extraction_id)
    assert await asyncio.wait_for(work, 10) is TaskOutcome.LOST
    assert gone(child.pid)
    assert await store.keys("results") == []
    assert list(worker_deps.scratch.iterdir()) == []


async def test_draining_worker_releases_its_task_and_counts_nothing(
    database: AsyncEngine, store: ObjectStore, worker_deps: WorkerDeps, clips: ClipByName
) -> None:
    accepted = await submit_video(database, store, clips("h264")[0])
    child = await DecodingChild.start()
    claimed = await claim(worker_deps)
    os.kill(child.pid, signal.SIGSTOP)
    stop = asyncio.Event()
    stop.set()
    assert await perform(claimed, child, worker_deps, stop, lambda: None) is TaskOutcome.RELEASED
    task = await database_rows.fetch_task(database, accepted.task_id)
    assert (task.state, task.crashes, task.losses, task.service_errors) == ("ready", 0, 0, 0)
    assert gone(child.pid)


async def test_missing_video_object_is_a_service_error_and_no_crash(
    database: AsyncEngine, store: ObjectStore, worker_deps: WorkerDeps, clips: ClipByName
) -> None:
    accepted = await submit_video(database, store, clips("h264")[0])
    await store.delete(video_key(accepted.video_id))
    assert await run(worker_deps) is TaskOutcome.RETRIED
    task = await database_rows.fetch_task(database, accepted.task_id)
    assert (task.state, task.crashes, task.service_errors) == ("ready", 0, 1)


async def test_publish_with_a_lost_commit_response_counts_as_published(
    database: AsyncEngine,
    store: ObjectStore,
    worker_deps: WorkerDeps,
    clips: ClipByName,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    accepted = await submit_video(database, store, clips("h264")[0])
    publish, calls = task_queue.publish, []

    async def answer_lost(*arguments: Any) -> None:
        await publish(*arguments)
        calls.append(1)
        if len(calls) == 1:
            raise text_outage()

    monkeypatch.setattr(task_queue, "publish", answer_lost)
    monkeypatch.setattr("db.connection.REPEAT_FIRST_SECONDS", 0.01)
    assert await run(worker_deps) is TaskOutcome.PUBLISHED
    assert len(calls) == 2
    extraction = await database_rows.fetch_extraction(database, accepted.extraction_id)
    assert await store.size(f"{extraction.result_key}/frames.zip") == extraction.result_bytes


async def test_worker_reports_liveness_while_publish_waits_for_the_database(
    database: AsyncEngine,
    store: ObjectStore,
    worker_deps: WorkerDeps,
    clips: ClipByName,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    await submit_video(database, store, clips("h264")[0])
    publish = task_queue.publish
    calls: list[int] = []
    beats: list[int] = []

    async def away(*arguments: Any) -> None:
        calls.append(len(beats))
        if len(calls) < 5:
            raise text_outage()
        await publish(*arguments)

    monkeypatch.setattr(task_queue, "publish", away)
    monkeypatch.setattr("db.connection.REPEAT_FIRST_SECONDS", 0.01)
    child = await DecodingChild.start()
    assert (
        await perform(await claim(worker_deps), child, worker_deps, asyncio.Event(), lambda: beats.append(1))
        is TaskOutcome.PUBLISHED
    )
    assert all(later > earlier for earlier, later in pairwise(calls))


async def test_read_only_database_is_an_outage(
    database: AsyncEngine,
    store: ObjectStore,
    worker_deps: WorkerDeps,
    clips: ClipByName,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    accepted = await submit_video(database, store, clips("h264")[0])
    monkeypatch.setattr("db.connection.REPEAT_FIRST_SECONDS", 0.05)
    address = database.url.render_as_string(hide_password=False)
    refusing = open_database(address, name="victim")

    @event.listens_for(refusing.sync_engine, "begin")
    def refuse(connection: Connection) -> None:
        if not_yet:
            not_yet.append(True)
            connection.exec_driver_sql("SET TRANSACTION READ ONLY")

    not_yet = [True]

    async def refused_again_and_again() -> bool:
        return len(not_yet) > 5

    child, claimed = await DecodingChild.start(), await claim(worker_deps)
    victim = replace(worker_deps, database=refusing, heartbeat_seconds=0.2)
    working = asyncio.create_task(perform(claimed, child, victim, asyncio.Event(), lambda: None))
    await until(refused_again_and_again)
    assert not working.done()
    not_yet.clear()
    assert await asyncio.wait_for(working, 30) is TaskOutcome.PUBLISHED
    assert (await database_rows.fetch_task(database, accepted.task_id)).attempt == 1
    await refusing.dispose()


def text_outage() -> OperationalError:
    return OperationalError("COMMIT", {}, ConnectionResetError("the answer was lost"))


async def test_worker_runs_all_tasks_and_stops_on_request(
    database: AsyncEngine, store: ObjectStore, worker_deps: WorkerDeps, clips: ClipByName
) -> None:
    accepted = [await submit_video(database, store, clips(name)[0]) for name in ("h264", "h264_vfr", "hevc")]
    worker = Worker(worker_deps, Cache(None), name="w1")
    working = asyncio.create_task(worker.run())

    async def all_done() -> bool:
        statuses = [(await database_rows.fetch_extraction(database, a.extraction_id)).status for a in accepted]
        return statuses == ["succeeded"] * 3

    await until(all_done, 60)
    worker.check()
    worker.stop()
    await asyncio.wait_for(working, 10)
    async with database.connect() as connection:
        leased = await connection.execute(text("SELECT count(*) FROM tasks WHERE state = 'leased'"))
        assert leased.scalar_one() == 0


async def test_worker_without_object_store_claims_nothing(
    database: AsyncEngine, worker_deps: WorkerDeps, clips: ClipByName, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    good = FolderStore(tmp_path / "good")
    accepted = await submit_video(database, good, clips("h264")[0])
    (tmp_path / "file").write_text("not a folder")
    broken = replace(worker_deps, objects=FolderStore(tmp_path / "file"))
    worker = Worker(broken, Cache(None), name="w1")
    working = asyncio.create_task(worker.run())
    checked = asyncio.Event()
    check = broken.objects.check

    async def told() -> None:
        checked.set()
        await check()

    monkeypatch.setattr(broken.objects, "check", told)
    await asyncio.wait_for(checked.wait(), 10)
    worker.stop()
    await asyncio.wait_for(working, 10)
    assert (await database_rows.fetch_task(database, accepted.task_id)).attempt == 0


async def test_worker_without_disk_space_claims_nothing(
    database: AsyncEngine,
    worker_deps: WorkerDeps,
    store: ObjectStore,
    clips: ClipByName,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("actors.worker.scratch_folder.DISK_RESERVE_BYTES", 1 << 60)
    monkeypatch.setattr("actors.worker.worker_loop.PAUSE_SECONDS", 0.1)
    accepted = await submit_video(database, store, clips("h264")[0])
    worker = Worker(worker_deps, Cache(None), name="w1")
    with capture_logs() as logs:
        working = asyncio.create_task(worker.run())

        async def told() -> bool:
            return [line.get("event_name") for line in logs].count("worker.paused") > 1

        await until(told)
        worker.stop()
        await asyncio.wait_for(working, 10)
    assert (await database_rows.fetch_task(database, accepted.task_id)).attempt == 0


async def test_claim_with_a_lost_response_is_released_and_counts_nothing(
    database: AsyncEngine,
    worker_deps: WorkerDeps,
    store: ObjectStore,
    clips: ClipByName,
    server_folder: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("actors.worker.worker_loop.PAUSE_SECONDS", 0.1)
    accepted = await submit_video(database, store, clips("h264")[0])
    proxy, folder = AnswerProxy(Path(str(database.url.query["host"]))), server_folder / uuid7().hex[-8:]
    async with proxy.listening(folder):
        address = database.url.set(query={"host": str(folder)})
        faulty = open_database(address.render_as_string(hide_password=False), name="victim")
        worker = Worker(replace(worker_deps, database=faulty), Cache(None), name="w1")
        proxy.drop_after(0)
        working = asyncio.create_task(worker.run())

        async def done() -> bool:
            return bool((await database_rows.fetch_extraction(database, accepted.extraction_id)).status == "succeeded")

        await until(done, 30)
        worker.stop()
        await asyncio.wait_for(working, 10)
        await faulty.dispose()
    assert proxy.dropped == 1
    task = await database_rows.fetch_task(database, accepted.task_id)
    assert (task.attempt, task.losses, task.service_errors) == (2, 0, 0)
    assert await database_rows.event_kinds(database, accepted.extraction_id) == [
        "accepted",
        "claimed",
        "released",
        "claimed",
        "published",
    ]
