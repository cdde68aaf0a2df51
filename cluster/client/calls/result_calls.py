"""The calls for the result of an extraction as flows. Each raises ApiError, ConnectionFailed or UnexpectedAnswer."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cluster.client.api_types import Extraction, Page, TimelineEvent
from cluster.client.authorized_requests import Session, authorized
from cluster.client.calls.extraction_calls import extraction
from cluster.client.calls.lists import all_pages
from cluster.client.calls.resource_paths import extraction_path
from cluster.client.effects import Flow, Request, RunInThread
from cluster.client.json_decoding import decode
from cluster.client.local_files.local_file import AnyPath, has_content
from cluster.client.local_files.resumable_download import OnReceived, ResumableDownload
from cluster.client.result_types import ContactSheet, Manifest


def manifest(session: Session, extraction: Extraction | str) -> Flow[Manifest]:
    reply = yield from authorized(session, Request("GET", f"{extraction_path(extraction)}/manifest.json"))
    return decode(Manifest, reply.content)


def report(session: Session, extraction: Extraction | str) -> Flow[Mapping[str, Any]]:
    reply = yield from authorized(session, Request("GET", f"{extraction_path(extraction)}/report.json"))
    return decode(dict[str, Any], reply.content)


def sheet(session: Session, extraction: Extraction | str) -> Flow[ContactSheet]:
    path = extraction_path(extraction)
    # Of two previews the later one has all pictures of the earlier one, in the same places.
    index = yield from authorized(session, Request("GET", f"{path}/sheet.vtt"))
    image = yield from authorized(session, Request("GET", f"{path}/sheet.jpg"))
    return ContactSheet(image.content, index.content.decode())


def timeline(session: Session, extraction: Extraction | str) -> Flow[tuple[TimelineEvent, ...]]:
    return (yield from all_pages(session, f"{extraction_path(extraction)}/timeline", Page[TimelineEvent]))


def download(
    session: Session, extraction_or_id: Extraction | str, path: AnyPath, on_received: OnReceived | None
) -> Flow[Path]:
    """Downloads an archive to the file `path`, whole or not at all. A file with the same bytes is not downloaded again.
    Resumes after a broken connection.

    Raises DownloadCorrupt, and ApiError `not_ready`, `no_result` or `expired` when there is no archive.
    """
    latest = extraction_or_id
    if isinstance(latest, str) or latest.result is None:
        latest = yield from extraction(session, latest if isinstance(latest, str) else latest.id)
    result, target = latest.result, Path(path)
    if result is not None and (yield RunInThread(lambda: has_content(target, result.bytes, result.sha256))):
        return target
    sha256 = None if result is None else result.sha256
    with ResumableDownload(target, on_received) as received:
        yield from authorized(session, Request("GET", f"{extraction_path(latest)}/frames.zip"), received)
        archive: Path = yield RunInThread(lambda: received.finish(sha256))
        return archive
