"""A batch of videos as flows: each is uploaded or found, extracted, and downloaded if wanted. A failure stops no other.

`Client.extract` and the command line run the same flows.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from cluster.client.api_types import Extraction, Status, Video
from cluster.client.authorized_requests import Session
from cluster.client.batch.outcome import ExtractOutcome, ExtractProgress, ExtractStage, OnExtractProgress
from cluster.client.batch.reuse_or_upload import check_result, extract_expired_again, reuse_or_upload
from cluster.client.batch.sources import NamedSource, Source, on_disk, size_of
from cluster.client.calls.extraction_calls import wait
from cluster.client.calls.result_calls import download
from cluster.client.effects import Flow, RunInSlot, RunInThread, Slots
from cluster.client.errors import ExtractionFailed, FotogramaError, Gone, local_file_error
from cluster.client.local_files.local_file import sha256_of, stat_file
from cluster.client.local_files.resumable_download import OnReceived
from cluster.client.uploads.resumable_upload import FileUpload

MAX_UPLOADS = 4
MAX_DOWNLOADS = 4
MAX_IN_PROGRESS = 64
"""Videos between the start of the upload and the end of the extraction or download. Each of them follows its status."""


@dataclass(frozen=True, slots=True)
class BatchVideo:
    """source: None for a video that the service has; then the video and the extraction that is meant are given.

    archive: the file to which the result is downloaded; None: it is not downloaded.
    """

    name: str
    source: Source | None = None
    video: Video | None = None
    extraction: Extraction | None = None
    archive: Path | None = None
    on_received: OnReceived | None = None


@dataclass(slots=True)
class VideoBatch:
    """spec: JSON text. folder: where sources that are not on the disk are written.

    unfinished: how far the videos are that have not ended, by their index. A video whose flow is cancelled stays there.
    """

    session: Session
    spec: str | None = None
    on_progress: OnExtractProgress | None = None
    folder: Path = Path()
    unfinished: dict[int, ExtractOutcome] = field(default_factory=dict)
    _sizes: Counter[int | None] = field(default_factory=Counter)
    _in_progress: Slots = field(default_factory=lambda: Slots(MAX_IN_PROGRESS))
    _uploads: Slots = field(default_factory=lambda: Slots(MAX_UPLOADS))
    _downloads: Slots = field(default_factory=lambda: Slots(MAX_DOWNLOADS))
    _contents: dict[str, Slots] = field(default_factory=dict)

    def count(self, sources: Iterable[Source]) -> None:
        """Counts sources by their size, before they are extracted: equal ones may have the same content."""
        self._sizes.update(map(size_of, sources))

    def extract(self, index: int, video: BatchVideo) -> Flow[ExtractOutcome]:
        """Returns what became of a video, with the error if there was one. index: of the video in the batch."""
        outcome: ExtractOutcome = yield RunInSlot(self._in_progress, self._extract(index, video))
        return outcome

    def _extract(self, index: int, video: BatchVideo) -> Flow[ExtractOutcome]:
        self.unfinished[index] = ExtractOutcome(video.name, video.video, video.extraction)
        try:
            yield from self._upload_and_fetch(index, video)
        except (FotogramaError, OSError) as error:
            self.unfinished[index] = _failed(self.unfinished[index], error)
        outcome = self.unfinished.pop(index)
        self._report(index, video.name, ExtractStage.SUCCEEDED if outcome.error is None else ExtractStage.FAILED)
        return outcome

    def _upload_and_fetch(self, index: int, video: BatchVideo) -> Flow[None]:
        if video.source is None:
            yield from self._fetch(index, video)
            return
        file_upload = yield from self._file_upload(index, NamedSource(video.name, video.source))
        stored = yield from self._upload_in_turn(file_upload)
        self._record(index, stored, stored.extraction)
        try:
            yield from self._fetch(index, video)
        except Gone:
            # It is the result of an earlier call, and has expired.
            again: Video = yield RunInSlot(self._uploads, extract_expired_again(self.session, file_upload, stored))
            self._record(index, again, again.extraction)
            yield from self._fetch(index, video)

    def _file_upload(self, index: int, named: NamedSource) -> Flow[FileUpload]:
        report = partial(self._report, index, named.name)
        file = yield RunInThread(lambda: stat_file(on_disk(named, self.folder / str(index))))
        on_sent, on_read = partial(report, ExtractStage.UPLOADING), partial(report, ExtractStage.READING)
        return FileUpload(file, self.spec, on_sent=on_sent, on_read=on_read)

    def _upload_in_turn(self, file_upload: FileUpload) -> Flow[Video]:
        """Files of one content wait for each other: it is sent once, and the others find it on the service."""
        uploaded = RunInSlot(self._uploads, reuse_or_upload(self.session, file_upload))
        if self._sizes[file_upload.file.size] + self._sizes[None] < 2:
            video: Video = yield uploaded
            return video
        reading = RunInThread(lambda: sha256_of(file_upload.file, file_upload.on_read))
        sha256 = yield RunInSlot(self._uploads, _perform(reading))
        # A file that waits for another one takes no slot of the uploads.
        found: Video = yield RunInSlot(self._contents.setdefault(sha256, Slots(1)), _perform(uploaded))
        return found

    def _fetch(self, index: int, video: BatchVideo) -> Flow[None]:
        """Waits for the result, and downloads it if wanted. Raises Gone when it has expired."""
        known = self.unfinished[index]
        assert known.extraction is not None
        was_there = known.extraction.status.ended
        on_state = partial(self._report_state, index, video.name)
        ended = yield from wait(self.session, known.extraction, None, on_state)
        self._record(index, known.video, ended)
        if video.archive is not None:
            downloading = download(self.session, ended, video.archive, video.on_received)
            yield RunInSlot(self._downloads, downloading)
        elif was_there:
            yield from check_result(self.session, ended)

    def _record(self, index: int, video: Video | None, latest: Extraction) -> None:
        if video is not None and video.extraction.id == latest.id:
            video = replace(video, extraction=latest, status=latest.status)
        self.unfinished[index] = replace(self.unfinished[index], video=video, extraction=latest)

    def _report_state(self, index: int, name: str, latest: Extraction) -> None:
        if latest.status is Status.QUEUED:
            self._report(index, name, ExtractStage.QUEUED)
        elif latest.status is Status.RUNNING:
            progress = latest.progress
            self._report(index, name, ExtractStage.EXTRACTING, progress.frames_done, progress.frames_total)

    def _report(self, index: int, name: str, stage: ExtractStage, done: int = 0, total: int | None = None) -> None:
        if self.on_progress is not None:
            self.on_progress(ExtractProgress(index, name, stage, done, total))


def _perform(effect: RunInSlot | RunInThread) -> Flow[Any]:
    return (yield effect)


def _failed(outcome: ExtractOutcome, error: FotogramaError | OSError) -> ExtractOutcome:
    explained = error if isinstance(error, FotogramaError) else local_file_error(error)
    extraction = error.extraction if isinstance(error, ExtractionFailed) else outcome.extraction
    return replace(outcome, extraction=extraction, error=explained)
