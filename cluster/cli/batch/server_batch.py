"""Uploads, extracts, downloads and unpacks many videos by the service. The SDK does all but the unpacking."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from cluster.cli.batch.batch_client import BatchClient
from cluster.cli.batch.batch_options import deadline_after, timeout_failure
from cluster.cli.batch.batch_types import BatchItem, BatchObserver, Stage
from cluster.cli.batch.video_outcome import OutcomeKind, VideoOutcome
from cluster.cli.failures import failure_of
from cluster.cli.shared_options import Unpacking
from cluster.client.api_types import Extraction
from cluster.client.batch.outcome import ExtractOutcome, ExtractProgress, ExtractStage
from cluster.client.batch.video_batch import BatchVideo, VideoBatch
from cluster.client.errors import FotogramaError
from cluster.unpack_archive import Run, image_prefix, is_unpacked, unpack

_ENDS = frozenset({ExtractStage.SUCCEEDED, ExtractStage.FAILED})


@dataclass(slots=True)
class _Transfer:
    """What was sent and received of one video. first_sent: bytes that the server had before this run."""

    first_sent: int | None = None
    sent_bytes: int = 0
    is_downloaded: bool = False

    def report_sent(self, sent: int) -> None:
        # The first report has the bytes that the server has already.
        self.first_sent = sent if self.first_sent is None else self.first_sent
        self.sent_bytes = max(self.sent_bytes, sent - self.first_sent)


@dataclass(slots=True)
class ServerBatch:
    """spec: JSON text for uploaded files. timeout: seconds for all videos."""

    client: BatchClient
    observer: BatchObserver
    spec: str | None = None
    unpack: Unpacking | None = None
    timeout: float | None = None
    _batch: VideoBatch = field(init=False)
    _transfers: dict[int, _Transfer] = field(default_factory=dict)
    _left: list[Extraction] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._batch = self.client.new_batch(self.spec, self._show)

    def pending(self) -> list[Extraction]:
        """Returns the extractions with which the server goes on, and whose results are not here."""
        known = [outcome.extraction for outcome in self._batch.unfinished.values()]
        return [*self._left, *(extraction for extraction in known if extraction is not None)]

    async def run(self, items: Iterable[BatchItem], first_index: int = 0) -> list[VideoOutcome]:
        """Runs all items. A failure stops no other item. Returns outcomes in the order of the items.

        first_index: of the items, when other items of the batch run already.
        """
        batch = list(items)
        await asyncio.to_thread(self._batch.count, [item.source for item in batch if item.source is not None])
        deadline = deadline_after(self.timeout)
        async with asyncio.TaskGroup() as group:
            tasks = [
                group.create_task(self._run_item(index, item, deadline))
                for index, item in enumerate(batch, first_index)
            ]
        return [task.result() for task in tasks]

    async def _run_item(self, index: int, item: BatchItem, deadline: float | None) -> VideoOutcome:
        transfer = self._transfers[index] = _Transfer()
        found = ExtractOutcome(item.name, item.video, item.extraction)
        archive = folder = failure = None
        limit = asyncio.timeout_at(deadline)
        try:
            async with limit:
                found = await self._extract(index, item, transfer)
                if found.error is not None:
                    raise found.error
                archive = item.target.archive
                folder = await self._unpack(index, item, found, is_new=transfer.is_downloaded)
        except (FotogramaError, OSError) as error:
            failure = failure_of(error)
            if limit.expired():
                found = self._batch.unfinished.pop(index, found)
                failure = timeout_failure(self.timeout, found.extraction.id if found.extraction else None)
        outcome = VideoOutcome(
            item.name,
            found.video,
            found.extraction,
            archive,
            folder,
            failure,
            found.extraction.result if found.extraction else None,
            transfer.sent_bytes,
            is_unchanged=failure is None and not transfer.is_downloaded,
        )
        if outcome.kind is OutcomeKind.UNFINISHED and outcome.extraction is not None:
            self._left.append(outcome.extraction)
        del self._transfers[index]
        self.observer.end(index, outcome)
        return outcome

    async def _extract(self, index: int, item: BatchItem, transfer: _Transfer) -> ExtractOutcome:
        def report_received(received: int, total: int | None) -> None:
            transfer.is_downloaded = True
            self.observer.stage(index, item.name, Stage.DOWNLOADING, received, total)

        if item.source is not None:
            self.observer.stage(index, item.name, Stage.WAITING)
        video = BatchVideo(
            item.name, item.source, item.video, item.extraction, item.target.archive, on_received=report_received
        )
        return await self.client.extract_one(self._batch, index, video)

    def _show(self, progress: ExtractProgress) -> None:
        transfer = self._transfers.get(progress.index)
        if transfer is None or progress.stage in _ENDS:
            # A thread may still report of a video whose time is over.
            return
        if progress.stage is ExtractStage.UPLOADING:
            transfer.report_sent(progress.done)
        stage = Stage(progress.stage.value)
        self.observer.stage(progress.index, progress.name, stage, progress.done, progress.total)

    async def _unpack(self, index: int, item: BatchItem, found: ExtractOutcome, *, is_new: bool) -> Path | None:
        """Returns the folder of the images; None when they are not wanted. Raises FotogramaError, OSError."""
        if self.unpack is None:
            return None
        self.observer.stage(index, item.name, Stage.UNPACKING)
        target, run = item.target, run_of(item, found, self.unpack)

        def write_images() -> None:
            if is_new or not is_unpacked(target.archive, target.folder, run):
                unpack(target.archive, target.folder, run)

        await asyncio.to_thread(write_images)
        return target.folder


def run_of(item: BatchItem, found: ExtractOutcome, unpacking: Unpacking) -> Run:
    """What video.json tells about a result."""
    video, extraction = found.video, found.extraction
    assert video is not None
    assert extraction is not None
    return Run(
        video.filename if item.source is None else item.source.name,
        image_prefix(item.target.folder.name) if unpacking.prefix else "",
        video.id,
        extraction.id,
        extraction.created_at,
        extraction.started_at,
        extraction.finished_at,
    )
