"""The calls for videos as flows. Each raises ApiError, ConnectionFailed or UnexpectedAnswer."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from cluster.client.api_types import Estimate, Extraction, Media, Page, Status, Video
from cluster.client.authorized_requests import Session, authorized, delete_once
from cluster.client.calls.lists import next_page
from cluster.client.calls.resource_paths import id_of, video_path
from cluster.client.effects import Flow, Request
from cluster.client.json_decoding import decode

VIDEOS = "/v1/videos"


def video_page(
    session: Session,
    *,
    status: Status | str | None,
    q: str | None,
    sha256: str | None,
    limit: int | None = None,
    cursor: str | None = None,
) -> Flow[Page[Video]]:
    """limit: None for the size that the server chooses."""
    options = {"limit": limit, "cursor": cursor}
    params = video_filters(status, q, sha256) | {
        name: str(value) for name, value in options.items() if value is not None
    }
    reply = yield from authorized(session, Request("GET", VIDEOS, params))
    return decode(Page[Video], reply.content)


def next_video_page(session: Session, filters: Mapping[str, str], cursor: str | None) -> Flow[Page[Video]]:
    """Returns the first page (cursor: None), or one that follows it, as large as can be."""
    return (yield from next_page(session, VIDEOS, Page[Video], filters, cursor))


def video_filters(status: Status | str | None, q: str | None, sha256: str | None) -> dict[str, str]:
    filters = {"status": status, "q": q, "sha256": sha256}
    return {name: str(value) for name, value in filters.items() if value is not None}


def video(session: Session, video_id: str) -> Flow[Video]:
    reply = yield from authorized(session, Request("GET", video_path(video_id)))
    return decode(Video, reply.content)


def delete(session: Session, video: Video | str) -> Flow[None]:
    yield from delete_once(session, video_path(video))


def extract(session: Session, video: Video | str, spec: str, key: str | None) -> Flow[Extraction]:
    """spec: JSON text."""
    headers = {"Content-Type": "application/json", "Idempotency-Key": key or session.new_key()}
    body = f'{{"spec":{spec}}}'.encode()
    request = Request("POST", f"{video_path(video)}/extractions", headers=headers, body=body)
    reply = yield from authorized(session, request)
    return decode(Extraction, reply.content)


def estimate(session: Session, video: Video | str | Media | Mapping[str, Any], spec: str | None) -> Flow[Estimate]:
    """spec: JSON text."""
    subject = {"video_id": id_of(video)} if isinstance(video, Video | str) else {"media": _media_facts(video)}
    body = f'{json.dumps(subject)[:-1]}, "spec": {spec or "{}"}}}'.encode()
    headers = {"Content-Type": "application/json"}
    reply = yield from authorized(
        session, Request("POST", "/v1/estimates", headers=headers, body=body, repeatable=True)
    )
    return decode(Estimate, reply.content)


def _media_facts(media: Media | Mapping[str, Any]) -> Mapping[str, Any]:
    if isinstance(media, Mapping):
        return media
    return {name: getattr(media, name) for name in ("codec", "width", "height", "duration", "fps_average")}
