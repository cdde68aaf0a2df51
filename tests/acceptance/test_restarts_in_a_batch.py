"""`fotograma extract FOLDER` while the whole service is killed and restarted."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import threading
import time
import zipfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from fotograma import Client, Extraction, Status
from tests.support.servers.running_service import FOTOGRAMA, Service
from tests.support.videos.clips import ClipByName

FULL = os.environ.get("FOTOGRAMA_FAULTS") == "full"
FILES = 1000 if FULL else 40
KILLS_AFTER = (0.2, 0.6) if FULL else (0.3,)
"""Everything is killed when the archives of these shares of the files exist."""
MAX_SECONDS = 300 + FILES


@pytest.fixture
def folder(clips: ClipByName, tmp_path: Path) -> Path:
    """A folder of different clips, so that no result is reused for another clip."""
    clip, _ = clips("h264")
    videos = tmp_path / "videos"
    videos.mkdir()
    for number in range(FILES):
        # A `free` box at the end, which players skip, makes the bytes of each clip different.
        copy = Path(shutil.copy(clip, videos / f"clip{number:04d}.mp4"))
        with copy.open("ab") as file:
            file.write(b"\0\0\0\x10free" + number.to_bytes(8))
    return videos


def start_extract(service: Service, folder: Path, into: Path) -> subprocess.Popen[str]:
    command = [FOTOGRAMA, "extract", str(folder), "-o", str(into), "--json"]
    environment = {
        **os.environ,
        "FOTOGRAMA_URL": service.url,
        "XDG_CONFIG_HOME": str(service.data_dir.parent / "config"),
        "XDG_STATE_HOME": str(service.data_dir.parent / "state"),
    }
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def wait_for_archives(into: Path, min_count: float, command: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + MAX_SECONDS
    while len(list(into.glob("*.zip"))) < min_count:
        assert command.poll() is None, command.communicate()
        assert time.monotonic() < deadline, f"{len(list(into.glob('*.zip')))} archives"
        time.sleep(0.1)


@contextmanager
def followed(client: Client, clip: Path, n: int) -> Iterator[None]:
    """While the block runs, an extraction is followed. Afterwards it has succeeded, and nothing was raised.

    n: of its specification, so that no result is reused.
    """
    has_begun = threading.Event()

    def report(latest: Extraction) -> None:
        # On a fast machine the first news may be that it has ended.
        if latest.status is not Status.QUEUED:
            has_begun.set()

    with ThreadPoolExecutor(1) as thread:
        extraction = client.upload(clip, spec={"sample": {"mode": "every_nth", "n": n}}).extraction
        waiting = thread.submit(client.wait, extraction, timeout_seconds=MAX_SECONDS, on_progress=report)
        assert has_begun.wait(MAX_SECONDS)
        yield
        assert waiting.result(MAX_SECONDS).status is Status.SUCCEEDED


def test_folder_is_complete_although_all_processes_are_killed(
    service: Service, clips: ClipByName, folder: Path, tmp_path: Path
) -> None:
    service.log_in_cli()
    before, into = count_accepted(service), tmp_path / "frames"
    command = start_extract(service, folder, into)
    with service.client() as client:
        for number, share in enumerate(KILLS_AFTER, 1):
            wait_for_archives(into, share * FILES, command)
            with followed(client, clips("h264_long")[0], number):
                service.kill_everything()
                service.start()
    output, errors = command.communicate(timeout=MAX_SECONDS)
    assert command.returncode == 0, errors[-3000:]
    assert {item["status"] for item in json.loads(output)["items"]} == {"succeeded"}
    archives = sorted(into.glob("*.zip"))
    assert [archive.stem for archive in archives] == [f"clip{number:04d}" for number in range(FILES)]
    assert all(zipfile.ZipFile(archive).testzip() is None for archive in archives)
    accepted = FILES + len(KILLS_AFTER)
    assert count_accepted(service, before) == (accepted, accepted)


def test_repeated_command_continues_with_the_uploads_of_a_killed_run(
    service: Service, folder: Path, tmp_path: Path
) -> None:
    service.log_in_cli()
    for clip in sorted(folder.iterdir())[12:]:
        clip.unlink()
    before, into = count_accepted(service), tmp_path / "frames"
    first = start_extract(service, folder, into)
    wait_for_archives(into, 2, first)
    first.kill()
    first.communicate()
    second = start_extract(service, folder, into)
    _, errors = second.communicate(timeout=MAX_SECONDS)
    assert second.returncode == 0, errors[-3000:]
    assert len(list(into.glob("*.zip"))) == 12
    assert count_accepted(service, before) == (12, 12)


def count_accepted(service: Service, before: tuple[int, int] = (0, 0)) -> tuple[int, int]:
    """Counts videos and acceptances, less the earlier counts in `before`, and without the demonstration's."""
    others = "user_id NOT IN (SELECT id FROM users WHERE email = 'demo@example.org')"
    videos = service.fetch_count(f"SELECT count(*) FROM videos WHERE {others}")
    acceptances = service.fetch_count(f"SELECT count(*) FROM acceptances WHERE {others}")
    return videos - before[0], acceptances - before[1]
