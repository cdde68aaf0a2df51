"""Upload and download of files as flows. Both raise ApiError, ConnectionFailed, UnexpectedAnswer, OSError."""

from __future__ import annotations

from collections.abc import Iterable
from os import PathLike
from pathlib import Path

from cluster.client.api_calls import extraction, extraction_path
from cluster.client.api_types import Extraction, Page, Video
from cluster.client.authorized_requests import Session, authorized
from cluster.client.effects import Flow, Request, RunInThread
from cluster.client.errors import FotogramaError
from cluster.client.extraction_spec import Spec, spec_text
from cluster.client.json_decoding import decode
from cluster.client.multipart_body import LocalFile, MultipartBody, OnSent, batches, stat_file
from cluster.client.resumable_download import OnReceived, ResumableDownload

AnyPath = str | PathLike[str]


def submit(
    session: Session, paths: Iterable[AnyPath], spec: Spec | None, key: str | None, on_sent: OnSent | None
) -> Flow[list[Video]]:
    """Uploads files in as few requests as the server's limits allow. The videos are in the order of the files.

    Each request is all or nothing. When one is refused, the error's `submitted` holds the videos of the earlier ones.
    Raises UnsendableFile before anything is sent when a file is too large for one request.
    """
    text = None if spec is None else spec_text(spec)
    room = session.request_bytes - len((text or "").encode())
    files: list[LocalFile] = yield RunInThread(lambda: [stat_file(Path(path)) for path in paths])
    chosen = key or session.new_key()
    placed: list[Video] = []
    try:
        for number, batch in enumerate(batches(files, room, session.request_files)):
            body = MultipartBody(batch, text, f"fotograma-{session.new_key()}", on_sent)
            headers = {"Idempotency-Key": chosen if number == 0 else f"{chosen}-{number}"}
            reply = yield from authorized(session, Request("POST", "/v1/videos", headers=headers, body=body))
            placed += decode(Page[Video], reply.content).items
    except FotogramaError as error:
        error.submitted = tuple(placed)
        raise
    return placed


def download(session: Session, wanted: Extraction | str, path: AnyPath, on_received: OnReceived | None) -> Flow[Path]:
    """Downloads an archive to the file `path`, whole or not at all. Resumes after a broken connection.

    Raises DownloadCorrupt, and ApiError `not_ready`, `no_result` or `expired` when there is no archive.
    """
    known = wanted
    if isinstance(known, str) or known.result is None:
        known = yield from extraction(session, known if isinstance(known, str) else known.id)
    sha256 = known.result.sha256 if known.result else None
    with ResumableDownload(Path(path), on_received) as landing:
        yield from authorized(session, Request("GET", f"{extraction_path(known)}/frames.zip"), landing)
        landed: Path = yield RunInThread(lambda: landing.finish(sha256))
        return landed
