"""The decoding child: its limits, its environment, and its end with its worker."""

import asyncio
import os
import signal
import subprocess
from pathlib import Path

import pytest

from actors.extraction_types import EngineOptions, Extracted
from actors.sandbox.child_process import ChildCrashed
from actors.sandbox.child_protocol import Job, Limits
from db.values.error_catalogue import CatalogueError
from tests.support.compromised_child import child_that_runs
from tests.support.decoding_children import start_child
from tests.support.own_process import command_of
from tests.support.programs import start_decoding_child
from tests.support.state.worker_setup import ALL_FRAMES
from tests.support.videos.clips import ClipByName
from tests.support.wait_conditions import process_ends, wait_until

GIB = 1 << 30


async def test_hanging_child_is_killed_at_its_deadline(clips: ClipByName, tmp_path: Path) -> None:
    child = await start_child()
    os.kill(child.pid, signal.SIGSTOP)
    job = Job(clips("h264")[0], "{}", tmp_path, EngineOptions(), Limits(4 * GIB, 60, GIB, 0.3, 60))

    async def on_progress(_progress: object) -> None:
        raise AssertionError("a stopped child reported progress")

    outcome = await child.run(job, on_progress)
    assert isinstance(outcome, ChildCrashed)
    assert "deadline" in outcome.detail
    assert process_ends(child.pid)


async def test_time_to_report_the_plan_does_not_count_for_the_deadline(
    clips: ClipByName, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("actors.sandbox.child_process.max_work_seconds", lambda _work: 2.0)
    child = await start_child()
    job = Job(clips("h264")[0], "{}", tmp_path, EngineOptions(), Limits(4 * GIB, 60, GIB, 20, 25))

    async def has_ended() -> bool:
        return not child.is_alive

    async def on_progress(_progress: object) -> None:
        # The child's own work counts for the deadline as soon as this returns, and may take longer on a busy machine.
        await wait_until(has_ended)
        await asyncio.sleep(3)

    assert isinstance(await child.run(job, on_progress), Extracted)


@pytest.mark.parametrize("uses_gpu", [False, True])
async def test_child_above_its_memory_limit_counts_as_crashed(
    clips: ClipByName, tmp_path: Path, uses_gpu: bool
) -> None:
    child = await start_child()
    # The sixth number is that of the writable pages, which are what is limited when CUDA reserves addresses.
    memory_bytes = int(Path(f"/proc/{child.pid}/statm").read_text().split()[5 if uses_gpu else 0]) * 4096
    limits = Limits(memory_bytes // 2, 60, GIB, 60, 60, uses_gpu=uses_gpu)
    job = Job(clips("h264")[0], ALL_FRAMES, tmp_path, EngineOptions(), limits)

    async def on_progress(_progress: object) -> None:
        pass

    assert isinstance(await child.run(job, on_progress), ChildCrashed)


async def test_child_without_disk_space_is_a_service_error(clips: ClipByName, tmp_path: Path) -> None:
    child = await start_child()
    job = Job(clips("h264")[0], ALL_FRAMES, tmp_path, EngineOptions(), Limits(4 * GIB, 60, 1000, 60, 60))

    async def on_progress(_progress: object) -> None:
        pass

    with pytest.raises(CatalogueError, match="storage_full"):
        await child.run(job, on_progress)


async def test_child_environment_has_no_secrets(
    monkeypatch: pytest.MonkeyPatch, clips: ClipByName, tmp_path: Path
) -> None:
    monkeypatch.setenv("FOTOGRAMA_SECRET_KEY", "do not tell")
    child = await child_that_runs("(out / 'environ').write_bytes(b' '.join([*os.environb, *os.environb.values()]))")
    job = Job(clips("h264")[0], "{}", tmp_path, EngineOptions(), Limits(4 * GIB, 60, GIB, 60, 60))

    async def on_progress(_progress: object) -> None:
        pass

    assert isinstance(await child.run(job, on_progress), Extracted)
    environment = (tmp_path / "environ").read_bytes()
    assert b"LANG" in environment
    assert b"FOTOGRAMA" not in environment
    assert b"do not tell" not in environment


def test_child_of_a_killed_worker_dies() -> None:
    with subprocess.Popen(command_of(start_decoding_child), stdout=subprocess.PIPE) as worker:
        assert worker.stdout is not None
        try:
            pid = int(worker.stdout.readline())
        finally:
            worker.kill()
    assert process_ends(pid)
