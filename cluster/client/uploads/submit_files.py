"""The upload of several files, as a flow."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from cluster.client.api_types import Video
from cluster.client.authorized_requests import Session
from cluster.client.effects import Flow, RunConcurrently, RunInThread
from cluster.client.errors import FotogramaError
from cluster.client.extraction_spec import Spec, spec_text
from cluster.client.local_files.local_file import AnyPath, LocalFile, OnRead, OnSent, stat_file
from cluster.client.uploads.resumable_upload import FileUpload, upload

MAX_UPLOADS = 4


def submit(
    session: Session,
    paths: AnyPath | Iterable[AnyPath],
    spec: Spec | None,
    *,
    key: str | None,
    by_content: bool,
    on_sent: OnSent | None,
    on_read: OnRead | None = None,
) -> Flow[list[Video]]:
    """Uploads files, several at once. The videos are in the order of the files.

    When an upload fails, the error's `submitted` has the videos of the others. Raises UnsendableFile and OSError before
    anything is sent when a file can't be read at all.
    """
    text = None if spec is None else spec_text(spec)
    named = [paths] if isinstance(paths, str | os.PathLike) else list(paths)
    files: list[LocalFile] = yield RunInThread(lambda: [stat_file(Path(path)) for path in named])
    total = sum(file.size for file in files)
    sent, read = (None if callback is None else _Progress(callback, total) for callback in (on_sent, on_read))
    file_uploads = [
        FileUpload(
            file,
            text,
            _key_of_file(key, number),
            by_content,
            on_sent=sent.of_file() if sent else None,
            on_read=read.of_file() if read else None,
        )
        for number, file in enumerate(files)
    ]
    flows = [upload(session, file_upload) for file_upload in file_uploads]
    outcomes: list[Any] = yield RunConcurrently(flows, MAX_UPLOADS)
    for file, outcome in zip(files, outcomes, strict=True):
        if isinstance(outcome, Exception):
            if isinstance(outcome, FotogramaError):
                outcome.submitted = tuple(video for video in outcomes if isinstance(video, Video))
                outcome.failed_file = file.path
            raise outcome
    return outcomes


def _key_of_file(key: str | None, number: int) -> str | None:
    return key if key is None or number == 0 else f"{key}-{number}"


class _Progress:
    """Sums up the bytes that were sent or read of several files. Threads may report at the same time."""

    def __init__(self, on_sent: OnSent, total: int) -> None:
        self._on_sent, self._total = on_sent, total
        self._sent, self._lock = 0, threading.Lock()

    def of_file(self) -> OnSent:
        """Returns the callback for one file."""
        sent_before = 0

        def report(sent: int, _: int) -> None:
            nonlocal sent_before
            with self._lock:
                self._sent += sent - sent_before
                sent_before = sent
                self._on_sent(self._sent, self._total)

        return report
