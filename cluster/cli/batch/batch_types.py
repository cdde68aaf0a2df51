"""The videos of a batch, on a service or on this machine, and who is told how far they are."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Protocol

from cluster.cli.batch.output_paths import OutputPath
from cluster.cli.batch.video_outcome import VideoOutcome
from cluster.client.api_types import Extraction, Video


class Stage(StrEnum):
    """The stage that a video has reached. Those of the SDK have its values (`ExtractStage`)."""

    WAITING = "waiting"
    READING = "reading"
    UPLOADING = "uploading"
    QUEUED = "queued"
    RUNNING = "extracting"
    DOWNLOADING = "downloading"
    UNPACKING = "unpacking"


class BatchObserver(Protocol):
    """Receives the progress of a batch. index: of the video in the batch. Another thread may call it."""

    def stage(self, index: int, name: str, stage: Stage, done: int = 0, total: int | None = None) -> None: ...

    def end(self, index: int, outcome: VideoOutcome) -> None: ...


@dataclass(frozen=True, slots=True)
class BatchItem:
    """One video of a batch: a local file, or a video or extraction on the server."""

    name: str
    target: OutputPath
    source: Path | None = None
    video: Video | None = None
    extraction: Extraction | None = None
