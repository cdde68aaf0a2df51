"""Upload and download of files as flows. Both raise ApiError, ConnectionFailed, UnexpectedAnswer, OSError."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from os import PathLike
from pathlib import Path
from typing import Any

from cluster.client.api_calls import extraction, extraction_path
from cluster.client.api_types import Extraction, Video
from cluster.client.authorized_requests import Session, authorized
from cluster.client.effects import Flow, Request, RunInThread, RunTogether
from cluster.client.errors import FotogramaError
from cluster.client.extraction_spec import Spec, spec_text
from cluster.client.local_files.local_file import LocalFile, OnRead, OnSent, has_content, stat_file
from cluster.client.local_files.resumable_download import OnReceived, ResumableDownload
from cluster.client.resumable_upload import WantedUpload, upload

AnyPath = str | PathLike[str]
UPLOADS_AT_ONCE = 4


def submit(
    session: Session,
    paths: Iterable[AnyPath],
    spec: Spec | None,
    *,
    key: str | None,
    by_content: bool,
    on_sent: OnSent | None,
    on_read: OnRead | None = None,
) -> Flow[list[Video]]:
    """Uploads files, several at once where the client can. The videos are in the order of the files.

    When one fails, the error's `submitted` holds the videos of the others. Raises UnsendableFile and OSError before
    anything is sent when a file can't be read at all.
    """
    text = None if spec is None else spec_text(spec)
    files: list[LocalFile] = yield RunInThread(lambda: [stat_file(Path(path)) for path in paths])
    total = sum(file.size for file in files)
    sent, read = (None if one is None else _Progress(one, total) for one in (on_sent, on_read))
    wanted = [
        WantedUpload(
            file,
            text,
            _numbered(key, number),
            by_content,
            on_sent=sent.part() if sent else None,
            on_read=read.part() if read else None,
        )
        for number, file in enumerate(files)
    ]
    outcomes: list[Any] = yield RunTogether([upload(session, one) for one in wanted], UPLOADS_AT_ONCE)
    for file, outcome in zip(files, outcomes, strict=True):
        if isinstance(outcome, Exception):
            if isinstance(outcome, FotogramaError):
                outcome.submitted = tuple(one for one in outcomes if isinstance(one, Video))
                outcome.failed_file = file.path
            raise outcome
    return outcomes


def _numbered(key: str | None, number: int) -> str | None:
    return key if key is None or number == 0 else f"{key}-{number}"


class _Progress:
    """Adds up what several files have sent, or what was read of them. Other threads may report at the same time."""

    def __init__(self, on_sent: OnSent, total: int) -> None:
        self._on_sent, self._total = on_sent, total
        self._sent, self._lock = 0, threading.Lock()

    def part(self) -> OnSent:
        """Returns what one file reports to."""
        before = 0

        def report(sent: int, _: int) -> None:
            nonlocal before
            with self._lock:
                self._sent += sent - before
                before = sent
                self._on_sent(self._sent, self._total)

        return report


def download(session: Session, wanted: Extraction | str, path: AnyPath, on_received: OnReceived | None) -> Flow[Path]:
    """Downloads an archive to the file `path`, whole or not at all, unless it is there. Resumes after a broken
    connection.

    Raises DownloadCorrupt, and ApiError `not_ready`, `no_result` or `expired` when there is no archive.
    """
    known = wanted
    if isinstance(known, str) or known.result is None:
        known = yield from extraction(session, known if isinstance(known, str) else known.id)
    result, target = known.result, Path(path)
    if result is not None and (yield RunInThread(lambda: has_content(target, result.bytes, result.sha256))):
        return target
    sha256 = None if result is None else result.sha256
    with ResumableDownload(target, on_received) as download_part:
        yield from authorized(session, Request("GET", f"{extraction_path(known)}/frames.zip"), download_part)
        archive: Path = yield RunInThread(lambda: download_part.finish(sha256))
        return archive
