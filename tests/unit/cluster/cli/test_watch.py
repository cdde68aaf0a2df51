"""A watched folder: each video is extracted once it is complete, and again when it changes or the service was away."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from cluster.cli.batch import watch_folder
from cluster.cli.batch.video_outcome import VideoOutcome
from cluster.cli.batch.watch_folder import FileState, FolderWatch, file_states, ready_files
from cluster.client.api_types import Failure, Result

A, B = Path("a.mp4"), Path("b.mp4")
HALF, WHOLE, CHANGED = FileState(5, 1), FileState(9, 2), FileState(9, 3)
AWAY = Failure("connection_failed", "Away.", "service")


def test_file_is_ready_when_it_stopped_growing_and_is_not_handled_in_this_state() -> None:
    assert ready_files({}, {A: WHOLE}, {}) == []
    assert ready_files({A: HALF}, {A: WHOLE}, {}) == []
    assert ready_files({A: WHOLE}, {A: WHOLE}, {}) == [A]
    assert ready_files({A: WHOLE}, {A: WHOLE}, {A: WHOLE}) == []
    assert ready_files({A: WHOLE}, {A: CHANGED}, {A: WHOLE}) == []
    assert ready_files({A: CHANGED, B: FileState(0, 1)}, {A: CHANGED, B: FileState(0, 1)}, {A: WHOLE}) == [A]


def test_file_that_was_removed_meanwhile_has_no_state(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").write_bytes(b"video")
    states = file_states([tmp_path / "a.mp4", tmp_path / "gone.mp4"])
    assert [(path.name, state.size) for path, state in states.items()] == [("a.mp4", 5)]


async def test_changed_file_is_extracted_again_and_an_unchanged_one_is_not(tmp_path: Path) -> None:
    path, extracted = tmp_path / "a.mp4", list[bytes]()
    path.write_bytes(b"video")

    async def extract(paths: list[Path]) -> list[VideoOutcome]:
        extracted.extend(path.read_bytes() for path in paths)
        if len(extracted) == 1:
            path.write_bytes(b"other")
            os.utime(path, ns=(1, 1))
        return [VideoOutcome(str(path), result=Result(1, 1, "ab")) for path in paths]

    watch = FolderWatch(lambda: [path], extract, idle_seconds=0.05, poll_seconds=0.01)
    await watch.run()
    assert extracted == [b"video", b"other"]
    assert [*watch.outcomes] == [path]


async def test_change_is_seen_when_the_extraction_ends_during_a_look(tmp_path: Path) -> None:
    path, extracted = tmp_path / "a.mp4", list[bytes]()
    path.write_bytes(b"video")
    has_looked, has_ended = threading.Event(), threading.Event()

    def scan() -> Iterator[Path]:
        yield path
        # The state has been read.
        if extracted:
            has_looked.set()
            has_ended.wait(30)

    async def extract(paths: list[Path]) -> list[VideoOutcome]:
        extracted.append(path.read_bytes())
        if len(extracted) == 1:
            await asyncio.to_thread(has_looked.wait, 30)
            path.write_bytes(b"other")
            os.utime(path, ns=(1, 1))
            has_ended.set()
        return [VideoOutcome(str(path), result=Result(1, 1, "ab")) for path in paths]

    await FolderWatch(scan, extract, idle_seconds=0.0, poll_seconds=0.01).run()
    assert extracted == [b"video", b"other"]


async def test_video_that_the_service_could_not_take_is_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch_folder, "AGAIN_SECONDS", 0.03)
    path, tries = tmp_path / "a.mp4", list[VideoOutcome]()
    path.write_bytes(b"video")

    async def extract(paths: list[Path]) -> list[VideoOutcome]:
        tries.append(VideoOutcome("a.mp4", failure=None if tries else AWAY))
        return tries[-1:]

    watch = FolderWatch(lambda: [path], extract, idle_seconds=0.05, poll_seconds=0.01)
    await watch.run()
    assert [outcome.failure for outcome in tries] == [AWAY, None]
    assert watch.outcomes == {path: tries[1]}


async def test_refused_video_is_not_tried_again(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    path.write_bytes(b"dear diary")

    tries = []

    async def extract(paths: list[Path]) -> list[VideoOutcome]:
        tries.append(paths)
        return [VideoOutcome("a.mp4", failure=Failure("not_a_video", "It is text.", "file"))]

    watch = FolderWatch(lambda: [path], extract, idle_seconds=0.05, poll_seconds=0.01)
    await watch.run()
    assert tries == [[path]]
