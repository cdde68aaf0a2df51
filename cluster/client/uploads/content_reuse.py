"""Flows that reuse the stored videos of an account: content that the service has is not sent again."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Callable
from dataclasses import replace
from typing import TypeVar

from cluster.client.api_types import Video
from cluster.client.authorized_requests import Session
from cluster.client.calls.account_calls import me
from cluster.client.calls.extraction_calls import extraction
from cluster.client.calls.video_calls import extract, video, video_page
from cluster.client.effects import Flow, RunInThread
from cluster.client.errors import ApiError
from cluster.client.extraction_spec import is_same_spec
from cluster.client.local_files.sent_videos import content_identity
from cluster.client.retry_policy import PROXY_CODES

CHECKSUM_MISMATCH = "checksum_mismatch"
T = TypeVar("T")
log = logging.getLogger(__name__)


def content_key(name: str, spec: str | None, content: str) -> str:
    """Returns an Idempotency-Key for these three values."""
    return "extract-" + hashlib.sha256(json.dumps([name, spec, content]).encode()).hexdigest()


def find_by_content(session: Session, sha256: str) -> Flow[Video | None]:
    """Returns the account's newest video of this content, by the service's digest or by this client's own record."""
    page = yield from video_page(session, status=None, q=None, sha256=sha256, limit=1)
    state = session.upload_state
    if page.items or state is None:
        return page.items[0] if page.items else None
    identity = content_identity(session.base_url, (yield from account_id(session)), sha256)
    sent = yield from use_state_file(lambda: state.sent_videos.find(identity))
    return None if sent is None else (yield from _find_sent(session, sent, sha256))


def _find_sent(session: Session, video_id: str, sha256: str) -> Flow[Video | None]:
    try:
        stored = yield from video(session, video_id)
    except ApiError as error:
        if not is_gone(error):
            raise
        return None
    is_damaged = stored.extraction.error is not None and stored.extraction.error.code == CHECKSUM_MISMATCH
    return None if is_damaged or stored.sha256 not in {None, sha256} else stored


def record_sent(session: Session, sha256: str, video_id: str) -> Flow[None]:
    """Records which video was uploaded with this content."""
    state = session.upload_state
    if state is not None:
        identity = content_identity(session.base_url, (yield from account_id(session)), sha256)
        yield from use_state_file(lambda: state.sent_videos.record(identity, video_id))


def extract_by_spec(session: Session, stored: Video, spec: str | None) -> Flow[Video]:
    """Extracts a stored video, unless its newest extraction has this specification."""
    if is_same_spec(spec, stored.extraction.spec):
        return stored
    key = content_key(stored.id, spec, stored.extraction.id)
    requested = yield from extract(session, stored, spec or "{}", key)
    # The response may be a stored one, with an old state of the extraction.
    latest = yield from extraction(session, requested.id)
    return replace(stored, extraction=latest, status=latest.status)


def account_id(session: Session) -> Flow[str]:
    """Returns the id of the account that the tokens belong to. Asks the service for it once."""
    if session.store.account_id is None:
        session.store.account_id = (yield from me(session)).id
    return session.store.account_id


def use_state_file(call: Callable[[], T]) -> Flow[T | None]:
    """Reads or writes a state file. An error of the disk is only logged: the upload itself does not need the file."""
    try:
        result: T = yield RunInThread(call)
    except OSError as error:
        log.warning("An upload can't go on after a crash of this program: %s", error)
        return None
    return result


def is_gone(error: ApiError) -> bool:
    """Whether the service itself, not a proxy, answered that the upload or video does not exist."""
    return error.status in {404, 410} and error.code not in PROXY_CODES
