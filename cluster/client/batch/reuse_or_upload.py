"""A file becomes an extraction that may succeed: what an earlier call has uploaded or extracted is used again."""

from __future__ import annotations

from dataclasses import replace

from cluster.client.api_types import Extraction, Status, Video
from cluster.client.authorized_requests import Session, authorized
from cluster.client.calls.extraction_calls import extraction, retry
from cluster.client.calls.resource_paths import extraction_path
from cluster.client.calls.video_calls import extract
from cluster.client.effects import Flow, Request
from cluster.client.errors import ApiError
from cluster.client.uploads.content_reuse import CHECKSUM_MISMATCH
from cluster.client.uploads.resumable_upload import FileUpload, upload

VIDEO_EXPIRED = "video_expired"


def reuse_or_upload(session: Session, file_upload: FileUpload) -> Flow[Video]:
    """Uploads a file by its content, or returns the video of an earlier call.

    An extraction that failed by the service is tried again.
    """
    video = yield from upload(session, replace(file_upload, by_content=True))
    while is_retryable(video.extraction):
        key = f"retry-{video.extraction.id}"
        if is_damaged(video.extraction):
            video = yield from _upload_anew(session, file_upload, key)
            continue
        try:
            retried = yield from retry(session, video.extraction, key)
        except ApiError as error:
            if error.code != VIDEO_EXPIRED:
                raise
            return (yield from _upload_anew(session, file_upload, key))
        # The response may be a stored one, with an old state of the extraction.
        latest = yield from extraction(session, retried.id)
        video = replace(video, extraction=latest, status=latest.status)
    return video


def extract_expired_again(session: Session, file_upload: FileUpload, video: Video) -> Flow[Video]:
    """Extracts a video whose result has expired. Uploads it when its bytes have expired as well."""
    key = f"again-{video.extraction.id}"
    try:
        again = yield from extract(session, video, file_upload.spec or "{}", key)
    except ApiError as error:
        if error.code != VIDEO_EXPIRED:
            raise
        return (yield from _upload_anew(session, file_upload, key))
    return replace(video, extraction=again, status=again.status)


def check_result(session: Session, ended: Extraction) -> Flow[None]:
    """Raises Gone when the files of a result have expired."""
    yield from authorized(session, Request("HEAD", f"{extraction_path(ended)}/frames.zip"))


def is_retryable(latest: Extraction) -> bool:
    """Whether the extraction ended for another reason than the file or the request. Pure."""
    by_service = latest.error is not None and latest.error.fault == "service"
    may_succeed = by_service or is_damaged(latest)
    return latest.status is Status.CANCELLED or (latest.status is Status.FAILED and may_succeed)


def is_damaged(latest: Extraction) -> bool:
    """Whether the service got other bytes than those of the file. Pure."""
    return latest.error is not None and latest.error.code == CHECKSUM_MISMATCH


def _upload_anew(session: Session, file_upload: FileUpload, key: str) -> Flow[Video]:
    """Uploads a file whose bytes the service has removed or never got right."""
    return (yield from upload(session, replace(file_upload, key=key, by_content=False)))
