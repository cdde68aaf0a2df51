"""Reuse of what the service has: a content that it knows is not sent again. Flows."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Callable
from dataclasses import replace
from typing import TypeVar

from cluster.client.api_calls import extract, extraction, me, video, video_page
from cluster.client.api_types import Video
from cluster.client.authorized_requests import Session
from cluster.client.effects import Flow, RunInThread
from cluster.client.errors import ApiError
from cluster.client.extraction_spec import is_same_spec
from cluster.client.local_files.sent_videos import content_identity
from cluster.client.retry_policy import PROXY_CODES

CHECKSUM_MISMATCH = "checksum_mismatch"
T = TypeVar("T")
log = logging.getLogger(__name__)


def content_key(name: str, spec: str | None, content: str) -> str:
    """Returns an Idempotency-Key that stands for these three."""
    return "extract-" + hashlib.sha256(json.dumps([name, spec, content]).encode()).hexdigest()


def find_by_content(session: Session, sha256: str) -> Flow[Video | None]:
    """Returns the account's newest video of this content: as the service knows it, or as this client has sent it."""
    page = yield from video_page(session, status=None, q=None, sha256=sha256, limit=1, cursor=None)
    state = session.upload_state
    if page.items or state is None:
        return page.items[0] if page.items else None
    identity = content_identity(session.base_url, (yield from account_id(session)), sha256)
    sent = yield from remembered(lambda: state.sent_videos.find(identity))
    return None if sent is None else (yield from _find_sent(session, sent, sha256))


def _find_sent(session: Session, video_id: str, sha256: str) -> Flow[Video | None]:
    try:
        known = yield from video(session, video_id)
    except ApiError as error:
        if not is_gone(error):
            raise
        return None
    is_damaged = known.extraction.error is not None and known.extraction.error.code == CHECKSUM_MISMATCH
    return None if is_damaged or known.sha256 not in {None, sha256} else known


def record_sent(session: Session, sha256: str, video_id: str) -> Flow[None]:
    """Remembers which video was made of a content."""
    state = session.upload_state
    if state is not None:
        identity = content_identity(session.base_url, (yield from account_id(session)), sha256)
        yield from remembered(lambda: state.sent_videos.record(identity, video_id))


def extracted_by_spec(session: Session, known: Video, spec: str | None) -> Flow[Video]:
    """Extracts a video that the service has, unless its newest extraction is by this specification."""
    if is_same_spec(spec, known.extraction.spec):
        return known
    key = content_key(known.id, spec, known.extraction.id)
    placed = yield from extract(session, known, spec or "{}", key)
    # The response to a repeated request is that of the first one.
    latest = yield from extraction(session, placed.id)
    return replace(known, extraction=latest, status=latest.status)


def account_id(session: Session) -> Flow[str]:
    if session.store.account_id is None:
        session.store.account_id = (yield from me(session)).id
    return session.store.account_id


def remembered(call: Callable[[], T]) -> Flow[T | None]:
    """What the state files say. One that can't be read or written costs time, and no upload."""
    try:
        found: T = yield RunInThread(call)
    except OSError as error:
        log.warning("An upload can't go on after a crash of this program: %s", error)
        return None
    return found


def is_gone(error: ApiError) -> bool:
    """Whether the service has no such upload or video any more, by its own word and not a proxy's."""
    return error.status in {404, 410} and error.code not in PROXY_CODES
