"""The main job on the running service: real clips give exact frames, whichever process dies."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from fotograma import ApiError, Client, Video
from tests.support.servers.running_service import Inbox, Service
from tests.support.videos.clips import (
    ClipByName,
    ClipTruth,
    truncated_copy,
    write_audio_only,
    write_hls_playlist,
    write_text_file,
)
from tests.support.videos.result_archives import numbers_in, read_archive

TEN_CLIPS = (
    "h264",
    "h264_b_frames",
    "h264_vfr",
    "h264_rotated_90",
    "h264_edit_list",
    "h264_anamorphic",
    "hevc",
    "vp9_webm",
    "mpeg4_avi",
    "mpegts",
)
SLOW = {"sample": {"mode": "all"}, "image": {"quality": 100}}


@pytest.fixture
def client(service: Service) -> Iterator[Client]:
    with service.client() as client:
        yield client


def wait_until(condition: Callable[[], bool], seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"the condition was not true within {seconds:.0f} s"
        time.sleep(0.05)


def expected_numbers(truth: ClipTruth, fps: int) -> list[int]:
    """The frame numbers that mode `fps` selects, computed without the product: for each k, the last frame shown."""
    numbers: list[int] = []
    tick = min(truth.time_base / 2, type(truth.time_base)(1, 2000))
    k = 0
    while type(truth.time_base)(k, fps) < truth.duration:
        started = [shown.number for shown in truth.shown if shown.pts <= type(truth.time_base)(k, fps) + tick]
        if started[-1:] != numbers[-1:]:
            numbers.append(started[-1])
        k += 1
    return numbers


def extract(service: Service, paths: list[Path], out: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """`fotograma extract` as a user calls it."""
    return service.run_command("extract", *map(str, paths), "-o", str(out), *options)


def test_ten_clips_in_one_command_give_exactly_the_specified_frames(
    service: Service, clips: ClipByName, tmp_path: Path
) -> None:
    service.log_in_cli()
    paths = [clips(name)[0] for name in TEN_CLIPS]
    completed = extract(service, paths, tmp_path / "first", "--fps", "5")
    assert completed.returncode == 0, completed.stderr
    for name, path in zip(TEN_CLIPS, paths, strict=True):
        manifest, images = read_archive(tmp_path / "first" / f"{path.stem}.zip")
        assert numbers_in(images) == expected_numbers(clips(name)[1], 5), name
        assert [frame["index"] for frame in manifest["frames"]] == sorted(f["index"] for f in manifest["frames"])
        assert manifest["warnings"] == []
    again = extract(service, paths, tmp_path / "second", "--fps", "5")
    assert again.returncode == 0, again.stderr
    for path in paths:
        first, second = (tmp_path / run / f"{path.stem}.zip" for run in ("first", "second"))
        assert first.read_bytes() == second.read_bytes()


def test_each_worker_runs_one_video_at_a_time(service: Service, client: Client, clips: ClipByName) -> None:
    path, _ = clips("h264_long")
    videos = [client.upload(path, spec=SLOW) for _ in range(service.workers + 2)]
    # In one answer: a video may end between two of them.
    at_once = {"running": service.workers, "queued": 2}
    wait_until(lambda: Counter(video.status for video in client.videos()) == at_once)
    for video in videos:
        client.delete(video)


def stop_after_first_frames(service: Service, client: Client, video: Video) -> tuple[int, int]:
    """Stops the child that decodes the video, when the service tells of its first frames; returns worker and child.

    Meanwhile the child runs only for moments: otherwise it could end before anybody is told.
    """
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        for worker in service.replica_pids("pool"):
            if (child := service.decoding_child(worker)) is None:
                continue
            os.kill(child, signal.SIGSTOP)
            if client.video(video.id).extraction.progress.frames_done > 0:
                return worker, child
            os.kill(child, signal.SIGCONT)
        time.sleep(0.02)
    raise AssertionError(client.video(video.id))


def test_task_of_a_killed_worker_is_published_once_by_another_worker(
    service: Service, client: Client, clips: ClipByName, tmp_path: Path
) -> None:
    path, truth = clips("h264_long")
    # A video that an earlier test has deleted may still be decoded.
    wait_until(lambda: not any(map(service.decoding_child, service.replica_pids("pool"))))
    video = client.upload(path, spec={"sample": {"mode": "every_nth", "n": 2}})
    worker, child = stop_after_first_frames(service, client, video)
    os.kill(worker, signal.SIGKILL)
    wait_until(lambda: not Path(f"/proc/{child}").exists())
    extraction = client.wait(video.extraction, timeout_seconds=120)
    assert extraction.attempt == 2
    assert service.event_kinds(extraction.id).count("published") == 1
    archive = client.download(extraction, tmp_path / "frames.zip")
    assert numbers_in(read_archive(archive)[1]) == [shown.number for shown in truth.shown][::2]


def test_non_video_is_refused_with_code_fault_and_remedy_and_nothing_is_stored(
    service: Service, client: Client, tmp_path: Path
) -> None:
    before = service.object_files()
    write_text_file(tmp_path / "text.mp4")
    write_hls_playlist(tmp_path / "playlist.mp4")
    (tmp_path / "empty.mp4").touch()
    for name, code in (("text", "not_a_video"), ("playlist", "playlist"), ("empty", "empty_file")):
        with pytest.raises(ApiError) as refused:
            client.upload(tmp_path / f"{name}.mp4")
        assert (refused.value.status, refused.value.code, refused.value.fault) == (422, code, "file")
        assert refused.value.remedy
    assert list(client.videos()) == []
    # The service may delete what earlier tests left.
    assert service.object_files() <= before
    assert service.fetch_count("SELECT count(*) FROM reservations") == 0


def test_broken_video_fails_and_its_owner_is_notified_while_other_videos_succeed(
    service: Service, client: Client, clips: ClipByName, tmp_path: Path, inbox: Inbox
) -> None:
    good, _ = clips("h264")
    write_audio_only(tmp_path / "sound.mp4")
    cut = truncated_copy(clips("h264_vfr")[0])
    videos = {path.name: client.upload(path) for path in (tmp_path / "sound.mp4", cut, good)}
    wait_until(lambda: all(client.video(video.id).status.ended for video in videos.values()))
    ends = {name: client.video(video.id).extraction for name, video in videos.items()}
    assert ends.pop(good.name).status == "succeeded"
    codes = {name: (end.error.code, end.error.fault, bool(end.error.remedy)) for name, end in ends.items() if end.error}
    assert codes == {
        "sound.mp4": ("no_video_stream", "file", True),
        cut.name: ("unreadable_container", "file", True),
    }
    me = client.me().email
    wait_until(lambda: len(inbox.messages_to(me)) == 3)
    subjects = {message["subject"] for message in inbox.messages_to(me)}
    assert {"Your video failed: sound.mp4", f"Your video failed: {cut.name}"} <= subjects


def test_every_accepted_video_ends_after_all_processes_were_killed(
    service: Service, clips: ClipByName, tmp_path: Path
) -> None:
    path, truth = clips("h264_long")
    with service.client() as client:
        spec = {"sample": {"mode": "every_nth", "n": 20}}
        with ThreadPoolExecutor(4) as pool:
            videos = list(pool.map(lambda _: client.upload(path, spec=spec), range(6)))
        wait_until(lambda: any(client.video(video.id).extraction.progress.frames_done for video in videos))
        service.kill_everything()
        service.start()
        for video in videos:
            extraction = client.wait(video.extraction, timeout_seconds=180)
            archive = client.download(extraction, tmp_path / f"{video.id}.zip")
            assert numbers_in(read_archive(archive)[1]) == [shown.number for shown in truth.shown][::20]


def test_statuses_are_read_without_redis(service: Service, client: Client, clips: ClipByName) -> None:
    video = client.upload(clips("h264")[0])
    service.send_signal("valkey-server", signal.SIGSTOP)
    try:
        assert client.wait(video.extraction, timeout_seconds=60).status == "succeeded"
        assert [video.id for video in client.videos()] == [video.id]
    finally:
        service.send_signal("valkey-server", signal.SIGCONT)
