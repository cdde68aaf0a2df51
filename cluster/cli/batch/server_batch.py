"""Uploads, extracts and downloads many videos concurrently through the server. A failure stops no other video."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from cluster.cli.batch.batch_options import deadline_after, timeout_failure
from cluster.cli.batch.equal_files import EqualFiles
from cluster.cli.batch.output_paths import OutputPath
from cluster.cli.batch.video_outcome import VideoOutcome
from cluster.cli.failures import failure_of
from cluster.cli.option_types import Unpacking
from cluster.client.api_types import Extraction, Status, Video
from cluster.client.batch.reuse_or_upload import is_damaged, is_retryable
from cluster.client.errors import (
    ApiError,
    ExtractionFailed,
    FotogramaError,
)
from cluster.client.retry_policy import RetryPolicy
from cluster.unpack_archive import Run, image_prefix, is_unpacked, unpack

if TYPE_CHECKING:
    from cluster.client.async_client import AsyncClient

BATCH_RETRY_POLICY = RetryPolicy(
    attempts=None, patience_seconds=900.0, retry_after_seconds=600.0, in_progress_seconds=300.0
)
"""Long enough for restarts of the server."""
MAX_UPLOADS = 4
MAX_DOWNLOADS = 4
MAX_IN_PROGRESS = 64
"""Videos between the start of the upload and the end of the download. Each of them polls its status."""


class Stage(StrEnum):
    """The stage that a video has reached."""

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


@dataclass(slots=True)
class _ItemState:
    """The state of one video while the batch runs. first_sent: bytes that the server had before this run."""

    video: Video | None
    extraction: Extraction | None
    archive: Path | None = None
    folder: Path | None = None
    first_sent: int | None = None
    sent_bytes: int = 0
    is_downloaded: bool = False
    is_extracted_again: bool = False


@dataclass(slots=True)
class ServerBatch:
    """spec: JSON text for uploaded files. timeout: seconds for all videos. pending: extractions that the server has
    accepted and that are not downloaded.
    """

    client: AsyncClient
    observer: BatchObserver
    spec: str | None = None
    unpack: Unpacking | None = None
    timeout: float | None = None
    pending: dict[int, Extraction] = field(default_factory=dict)
    _in_progress: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(MAX_IN_PROGRESS))
    _uploads: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(MAX_UPLOADS))
    _equal_files: EqualFiles = field(default_factory=EqualFiles)
    _downloads: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(MAX_DOWNLOADS))

    async def run(self, items: Iterable[BatchItem], first_index: int = 0) -> list[VideoOutcome]:
        """Runs all items. A failure stops no other item. Returns outcomes in the order of the items.

        first_index: of the items, when other items of the batch run already.
        """
        batch = list(items)
        await asyncio.to_thread(self._equal_files.count, [item.source for item in batch if item.source is not None])
        deadline = deadline_after(self.timeout)
        async with asyncio.TaskGroup() as group:
            tasks = [
                group.create_task(self._run_item(index, item, deadline))
                for index, item in enumerate(batch, first_index)
            ]
        return [task.result() for task in tasks]

    async def _run_item(self, index: int, item: BatchItem, deadline: float | None) -> VideoOutcome:
        state = _ItemState(item.video, item.extraction)
        failure = None
        limit = asyncio.timeout_at(deadline)
        try:
            async with limit, self._in_progress:
                await self._run_stages(index, item, state)
        except (FotogramaError, OSError) as error:
            failure = failure_of(error)
            if limit.expired():
                failure = timeout_failure(self.timeout, state.extraction.id if state.extraction else None)
            if isinstance(error, ExtractionFailed):
                state.extraction = error.extraction
                self.pending.pop(index, None)
        result = state.extraction.result if state.extraction else None
        outcome = VideoOutcome(
            item.name,
            state.video,
            state.extraction,
            state.archive,
            state.folder,
            failure,
            result,
            state.sent_bytes,
            is_unchanged=failure is None and not state.is_downloaded,
        )
        self.observer.end(index, outcome)
        return outcome

    async def _run_stages(self, index: int, item: BatchItem, state: _ItemState) -> None:
        on_stage = partial(self.observer.stage, index, item.name)
        if item.source is not None:
            on_stage(Stage.WAITING)
            async with self._equal_files.turn(item.source, self._uploads, partial(on_stage, Stage.READING)):
                state.video, state.extraction = await self._upload(item.source, on_stage, state)
        await self._fetch_result(index, item, on_stage, state)
        del self.pending[index]
        if self.unpack:
            on_stage(Stage.UNPACKING)
            await asyncio.to_thread(self._unpack, state, item, self.unpack)

    async def _fetch_result(self, index: int, item: BatchItem, on_stage: _OnStage, state: _ItemState) -> None:
        """Waits for the result and downloads it. Extracts again when the result of an earlier run has expired."""

        def report_received(received: int, total: int | None) -> None:
            state.is_downloaded = True
            on_stage(Stage.DOWNLOADING, received, total)

        while state.archive is None:
            assert state.extraction is not None
            self.pending[index] = state.extraction
            state.extraction = await self.client.wait(
                state.extraction, on_progress=lambda latest: _report_progress(on_stage, latest)
            )
            target = item.target.archive
            try:
                async with self._downloads:
                    state.archive = await self.client.download(state.extraction, target, on_received=report_received)
            except ApiError as error:
                if error.code != "expired" or item.source is None or state.is_extracted_again:
                    raise
                state.is_extracted_again = True
                state.video, state.extraction = await self._extract_again(item.source, on_stage, state)

    async def _extract_again(self, source: Path, on_stage: _OnStage, state: _ItemState) -> tuple[Video, Extraction]:
        """Extracts a video whose result has expired."""
        assert state.video is not None
        assert state.extraction is not None
        key = f"again-{state.extraction.id}"
        try:
            return state.video, await self.client.extract_again(state.video, self.spec or "{}", idempotency_key=key)
        except ApiError as error:
            if error.code != "video_expired":
                raise
        async with self._uploads:
            return await self._upload_again(source, on_stage, state, key)

    async def _upload_again(
        self, source: Path, on_stage: _OnStage, state: _ItemState, key: str
    ) -> tuple[Video, Extraction]:
        """Uploads a file whose bytes the server has removed or never got right."""
        sent = partial(_report_sent, on_stage, state)
        video = await self.client.upload(source, self.spec, idempotency_key=key, on_sent=sent)
        return video, video.extraction

    def _unpack(self, state: _ItemState, item: BatchItem, unpacking: Unpacking) -> None:
        video, extraction, target = state.video, state.extraction, item.target
        assert video is not None
        assert extraction is not None
        run = Run(
            video.filename if item.source is None else item.source.name,
            image_prefix(target.folder.name) if unpacking.prefix else "",
            video.id,
            extraction.id,
            extraction.created_at,
            extraction.started_at,
            extraction.finished_at,
        )
        if state.is_downloaded or not is_unpacked(target.archive, target.folder, run):
            unpack(target.archive, target.folder, run)
        state.folder = target.folder

    async def _upload(self, source: Path, on_stage: _OnStage, state: _ItemState) -> tuple[Video, Extraction]:
        """Uploads a file, or finds the video that an earlier run of the same command has uploaded."""
        sent, read = partial(_report_sent, on_stage, state), partial(on_stage, Stage.READING)
        read()
        video = await self.client.upload(source, self.spec, by_content=True, on_sent=sent, on_read=read)
        extraction = video.extraction
        while is_retryable(extraction):
            key = f"retry-{extraction.id}"
            if is_damaged(extraction):
                video, extraction = await self._upload_again(source, on_stage, state, key)
                continue
            try:
                retried = await self.client.retry(extraction, idempotency_key=key)
            except ApiError as error:
                if error.code != "video_expired":
                    raise
                return await self._upload_again(source, on_stage, state, key)
            extraction = await self.client.extraction(retried.id)
        return video, extraction


class _OnStage(Protocol):
    def __call__(self, stage: Stage, done: int = 0, total: int | None = None) -> None: ...


def _report_sent(on_stage: _OnStage, state: _ItemState, sent: int, total: int) -> None:
    # The first report has the bytes that the server has already.
    state.first_sent = sent if state.first_sent is None else state.first_sent
    state.sent_bytes = max(state.sent_bytes, sent - state.first_sent)
    on_stage(Stage.UPLOADING, sent, total)


def _report_progress(on_stage: _OnStage, extraction: Extraction) -> None:
    if extraction.status is Status.QUEUED:
        on_stage(Stage.QUEUED)
    else:
        on_stage(Stage.RUNNING, extraction.progress.frames_done, extraction.progress.frames_total)
