"""Many videos at once, from the disk to their archives: each goes its own way, and one that fails stops no other."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from cluster.cli.output_paths import Target
from cluster.client.api_types import Extraction, Failure, Result, ResultWarning, Status, Video
from cluster.client.errors import (
    ApiError,
    ConnectionFailed,
    DownloadCorrupt,
    ExtractionFailed,
    FotogramaError,
    UnsendableFile,
)
from cluster.client.multipart_body import stat_file
from cluster.client.retry_policy import RetryPolicy
from cluster.unpack_archive import BadArchive, FolderTaken, unpack

if TYPE_CHECKING:
    from cluster.client.async_client import AsyncClient

PATIENCE = RetryPolicy(attempts=None, patience_seconds=900.0, retry_after_seconds=600.0, in_progress_seconds=300.0)
"""A batch outlives restarts of the server."""
UPLOADS = 4
DOWNLOADS = 4
UNDER_WAY = 64
"""Videos between the beginning of their upload and the end of their download; each of them asks how it stands."""


class Stage(StrEnum):
    """Where one video is."""

    WAITING = "waiting"
    UPLOADING = "uploading"
    QUEUED = "queued"
    RUNNING = "extracting"
    DOWNLOADING = "downloading"
    UNPACKING = "unpacking"


@dataclass(frozen=True, slots=True)
class VideoOutcome:
    """What became of one video. archive, folder: what was written, else None. failure: None at success, as result is
    at failure. video, extraction: on the server."""

    name: str
    video: Video | None = None
    extraction: Extraction | None = None
    archive: Path | None = None
    folder: Path | None = None
    failure: Failure | None = None
    result: Result | None = None

    @property
    def warnings(self) -> tuple[ResultWarning, ...]:
        return self.result.warnings if self.result else ()


class BatchObserver(Protocol):
    """Is told how a batch goes. index: of the video in the batch. Calls may come from another thread."""

    def stage(self, index: int, name: str, stage: Stage, done: int = 0, total: int | None = None) -> None: ...

    def end(self, index: int, outcome: VideoOutcome) -> None: ...


@dataclass(frozen=True, slots=True)
class BatchItem:
    """One video of a batch: a file to be sent, or what the server has already."""

    name: str
    target: Target
    source: Path | None = None
    video: Video | None = None
    extraction: Extraction | None = None


@dataclass(slots=True)
class _Way:
    """How far one video has come."""

    video: Video | None
    extraction: Extraction | None
    archive: Path | None = None
    folder: Path | None = None


@dataclass(slots=True)
class ServerBatch:
    """spec: JSON text for the files that are sent. pending: extractions accepted by the server and not fetched yet."""

    client: AsyncClient
    watcher: BatchObserver
    spec: str | None = None
    unpack: bool = False
    pending: dict[int, Extraction] = field(default_factory=dict)
    _under_way: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(UNDER_WAY))
    _uploads: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(UPLOADS))
    _downloads: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(DOWNLOADS))

    async def run(self, wanted: Iterable[BatchItem]) -> list[VideoOutcome]:
        """Brings every video as far as it gets; the outcomes are in the order of `wanted`."""
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(self._one(index, one)) for index, one in enumerate(wanted)]
        return [task.result() for task in tasks]

    async def _one(self, index: int, wanted: BatchItem) -> VideoOutcome:
        way = _Way(wanted.video, wanted.extraction)
        failure = None
        try:
            async with self._under_way:
                await self._go(index, wanted, way)
        except (FotogramaError, OSError) as error:
            failure = failure_of(error)
            if isinstance(error, ExtractionFailed):
                way.extraction = error.extraction
                self.pending.pop(index, None)
        result = way.extraction.result if way.extraction else None
        outcome = VideoOutcome(wanted.name, way.video, way.extraction, way.archive, way.folder, failure, result)
        self.watcher.end(index, outcome)
        return outcome

    async def _go(self, index: int, wanted: BatchItem, way: _Way) -> None:
        tell = partial(self.watcher.stage, index, wanted.name)
        if wanted.source is not None:
            tell(Stage.WAITING)
            async with self._uploads:
                way.video, way.extraction = await self._place(wanted.source, tell)
        assert way.extraction is not None
        self.pending[index] = way.extraction
        way.extraction = await self.client.wait(way.extraction, on_progress=lambda seen: _tell_progress(tell, seen))
        async with self._downloads:
            received = partial(tell, Stage.DOWNLOADING)
            way.archive = await self.client.download(way.extraction, wanted.target.archive, on_received=received)
        del self.pending[index]
        if self.unpack:
            tell(Stage.UNPACKING)
            await asyncio.to_thread(unpack, way.archive, wanted.target.folder)
            way.folder = wanted.target.folder

    async def _place(self, source: Path, tell: _Tell) -> tuple[Video, Extraction]:
        """Sends a file, or finds what an earlier run of the same command has sent."""
        key = await asyncio.to_thread(content_key, source, self.spec)
        sent = partial(tell, Stage.UPLOADING)
        video = await self.client.upload(source, self.spec, idempotency_key=key, on_sent=sent)
        try:
            extraction = await self.client.extraction(video.extraction.id)
            while _is_worth_another_try(extraction):
                again = await self.client.retry(extraction, idempotency_key=f"retry-{extraction.id}")
                extraction = await self.client.extraction(again.id)
        except ApiError as error:
            if error.code != "not_found":
                raise
            # It was deleted after the earlier run: this is a new one.
            video = await self.client.upload(source, self.spec, on_sent=sent)
            extraction = video.extraction
        return video, extraction


def content_key(source: Path, spec: str | None) -> str:
    """The Idempotency-Key of a file by its name, content and specification, so that a run that was broken off can be
    repeated. Raises OSError, UnsendableFile."""
    with stat_file(source).path.open("rb") as file:
        content = hashlib.file_digest(file, "sha256").hexdigest()
    return "extract-" + hashlib.sha256(json.dumps([source.name, spec, content]).encode()).hexdigest()


def _is_worth_another_try(extraction: Extraction) -> bool:
    """Whether it ended without a result by no fault of the file or the request."""
    by_service = extraction.error is not None and extraction.error.fault == "service"
    return extraction.status is Status.CANCELLED or (extraction.status is Status.FAILED and by_service)


async def look_up(client: AsyncClient, ids: Sequence[str]) -> list[tuple[Video, Extraction]]:
    """What the ids name: a video with its newest extraction, or one extraction. Raises ApiError `not_found`."""

    async def one(id_: str) -> tuple[Video, Extraction]:
        try:
            video = await client.video(id_)
        except ApiError as error:
            if error.status != 404:
                raise
            extraction = await client.extraction(id_)
            return await client.video(extraction.video_id), extraction
        return video, video.extraction

    return list(await asyncio.gather(*map(one, ids)))


def failure_of(error: FotogramaError | OSError) -> Failure:
    """Any failure in the words of the catalogue: what, whose fault, what to do."""
    match error:
        case ApiError(status=401) if error.code != "bad_credentials":
            return Failure(error.code, error.detail, error.fault, "Log in again: fotograma login")
        case ApiError():
            return Failure(error.code, error.detail, error.fault, error.remedy)
        case ExtractionFailed() if error.extraction.error is not None:
            return error.extraction.error
        case ExtractionFailed():
            return Failure("cancelled", "The extraction was cancelled.", "request", "Extract the video again.")
        case ConnectionFailed():
            remedy = "Check the address and the network; what the server accepted goes on: fotograma list"
            return Failure("connection_failed", str(error), "service", remedy)
        case UnsendableFile():
            return Failure("unsendable_file", str(error), "request", "Correct the file and send it again.")
        case DownloadCorrupt() | BadArchive():
            remedy = "Fetch it again: fotograma download ID -o DIR"
            return Failure("corrupt_archive", str(error), "service", remedy)
        case FolderTaken():
            return Failure("folder_taken", str(error), "request", "Choose another folder with -o.")
        case OSError():
            return Failure("local_file", str(error), "request", "Check the path, its permissions and the free space.")
        case _:
            return Failure("unexpected_answer", str(error), "service", "Check the server's address and version.")


class _Tell(Protocol):
    def __call__(self, stage: Stage, done: int = 0, total: int | None = None) -> None: ...


def _tell_progress(tell: _Tell, extraction: Extraction) -> None:
    if extraction.status is Status.QUEUED:
        tell(Stage.QUEUED)
    else:
        tell(Stage.RUNNING, extraction.progress.frames_done, extraction.progress.frames_total)
