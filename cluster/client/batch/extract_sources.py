"""`Client.extract` as a flow: many videos at a time, and a failure stops no other one."""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from cluster.client.api_types import Extraction, Status, Video
from cluster.client.authorized_requests import Session
from cluster.client.batch.outcome import ExtractOutcome, ExtractProgress, ExtractStage, OnExtractProgress
from cluster.client.batch.reuse_or_upload import extract_expired_again, has_expired, reuse_or_upload
from cluster.client.batch.sources import NamedSource, on_disk, size_of
from cluster.client.calls.extraction_calls import wait
from cluster.client.effects import Flow, RunConcurrently, RunInSlot, RunInThread, Slots
from cluster.client.errors import ExtractionFailed, FotogramaError, local_file_error
from cluster.client.local_files.local_file import LocalFile, sha256_of, stat_file
from cluster.client.uploads.resumable_upload import FileUpload

MAX_UPLOADS = 4
MAX_IN_PROGRESS = 64
"""Videos between the start of the upload and the end of the extraction. Each of them polls its status."""


def extract_sources(
    session: Session, sources: Sequence[NamedSource], spec: str | None, on_progress: OnExtractProgress | None
) -> Flow[list[ExtractOutcome]]:
    """Returns an outcome for each source, in their order. spec: JSON text. Raises OSError: no temporary folder."""
    session = replace(session, upload_state=session.upload_state or session.extract_state)
    with tempfile.TemporaryDirectory(prefix="fotograma-", ignore_cleanup_errors=True) as folder:
        sizes: Counter[int | None] = yield RunInThread(lambda: Counter(size_of(named.source) for named in sources))
        batch = _Batch(session, spec, on_progress, Path(folder), sizes)
        flows = [batch.extract(index, named) for index, named in enumerate(sources)]
        outcomes: list[Any] = yield RunConcurrently(flows, MAX_IN_PROGRESS)
    for outcome in outcomes:
        if isinstance(outcome, Exception):
            # From a callback of the caller; all errors of a video are in its outcome.
            raise outcome
    return outcomes


@dataclass(slots=True)
class _Batch:
    """folder: for sources that are not on the disk. sizes: of the sources in bytes, None where it is not known."""

    session: Session
    spec: str | None
    on_progress: OnExtractProgress | None
    folder: Path
    sizes: Counter[int | None]
    uploads: Slots = field(default_factory=lambda: Slots(MAX_UPLOADS))
    contents: dict[str, Slots] = field(default_factory=dict)

    def extract(self, index: int, named: NamedSource) -> Flow[ExtractOutcome]:
        report = partial(self._report, index, named.name)
        outcome = ExtractOutcome(named.name)
        try:
            file = yield from self._file(index, named)
            file_upload = FileUpload(
                file,
                self.spec,
                on_sent=partial(report, ExtractStage.UPLOADING),
                on_read=partial(report, ExtractStage.READING),
            )
            video: Video = yield from self._upload_in_turn(file_upload)
            outcome = replace(outcome, video=video, extraction=video.extraction)
            ended = yield from self._wait(index, named.name, video.extraction)
            if video.extraction.status.ended and (yield from has_expired(self.session, ended)):
                video = yield RunInSlot(self.uploads, extract_expired_again(self.session, file_upload, video))
                ended = yield from self._wait(index, named.name, video.extraction)
            outcome = replace(outcome, video=replace(video, extraction=ended, status=ended.status), extraction=ended)
        except (FotogramaError, OSError) as error:
            outcome = _failed(outcome, error)
        report(ExtractStage.SUCCEEDED if outcome.error is None else ExtractStage.FAILED)
        return outcome

    def _file(self, index: int, named: NamedSource) -> Flow[LocalFile]:
        def put_on_disk() -> LocalFile:
            return stat_file(on_disk(named, self.folder / str(index)))

        file: LocalFile = yield RunInThread(put_on_disk)
        return file

    def _upload_in_turn(self, file_upload: FileUpload) -> Flow[Video]:
        """Files of one content wait for each other: it is sent once, and the others find it on the service."""
        uploaded = RunInSlot(self.uploads, reuse_or_upload(self.session, file_upload))
        if self.sizes[file_upload.file.size] + self.sizes[None] < 2:
            video: Video = yield uploaded
            return video
        reading = RunInThread(lambda: sha256_of(file_upload.file, file_upload.on_read))
        sha256 = yield RunInSlot(self.uploads, _perform(reading))
        found: Video = yield RunInSlot(self.contents.setdefault(sha256, Slots(1)), _perform(uploaded))
        return found

    def _wait(self, index: int, name: str, latest: Extraction) -> Flow[Extraction]:
        def report(latest: Extraction) -> None:
            if latest.status is Status.QUEUED:
                self._report(index, name, ExtractStage.QUEUED)
            elif latest.status is Status.RUNNING:
                progress = latest.progress
                self._report(index, name, ExtractStage.EXTRACTING, progress.frames_done, progress.frames_total)

        return (yield from wait(self.session, latest, None, report))

    def _report(self, index: int, name: str, stage: ExtractStage, done: int = 0, total: int | None = None) -> None:
        if self.on_progress is not None:
            self.on_progress(ExtractProgress(index, name, stage, done, total))


def _perform(effect: RunInSlot | RunInThread) -> Flow[Any]:
    return (yield effect)


def _failed(outcome: ExtractOutcome, error: FotogramaError | OSError) -> ExtractOutcome:
    explained = error if isinstance(error, FotogramaError) else local_file_error(error)
    extraction = error.extraction if isinstance(error, ExtractionFailed) else outcome.extraction
    return replace(outcome, extraction=extraction, error=explained)
