"""The API calls as flows (`cluster.client.effects`). Each raises ApiError, ConnectionFailed or UnexpectedAnswer."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any, Protocol
from urllib.parse import quote

from cluster.client.api_types import (
    Account,
    Estimate,
    Extraction,
    Ledger,
    Manifest,
    Media,
    Page,
    Status,
    TimelineEvent,
    Tokens,
    Video,
)
from cluster.client.authorized_requests import (
    BAD_CREDENTIALS,
    Session,
    anonymous,
    authorized,
    json_request,
    renew_tokens,
)
from cluster.client.effects import Flow, Request, RunExclusively, Sleep
from cluster.client.errors import ApiError, ConnectionFailed, ExtractionFailed, WaitTimeout
from cluster.client.json_decoding import decode
from cluster.client.retry_policy import is_transient

OnProgress = Callable[[Extraction], None]

POLL_FIRST_SECONDS = 0.2
POLL_GROWTH = 1.4
POLL_MAX_SECONDS = 3.0
OUTAGE_SECONDS = 300.0
"""How long `wait` continues while the server does not answer: a restart only delays the result."""


def register(session: Session, email: str, password: str, name: str | None, locale: str | None) -> Flow[Account]:
    fields = {"email": email, "password": password, "name": name, "locale": locale}
    body = {field: value for field, value in fields.items() if value is not None}
    reply = yield from anonymous(session, json_request("POST", "/v1/users", body))
    return decode(Account, reply.content)


def login(session: Session, email: str, password: str) -> Flow[Tokens]:
    fields = {"email": email, "password": password}
    # Repeatable: a session whose tokens were lost does no harm and expires.
    reply = yield from anonymous(session, json_request("POST", "/v1/tokens", fields, repeatable=True))
    tokens = decode(Tokens, reply.content)
    session.store.account_id = None
    session.store.change(tokens)
    return tokens


def refresh(session: Session) -> Flow[Tokens | None]:
    yield RunExclusively(renew_tokens(session, session.store.tokens))
    return session.store.tokens


def logout(session: Session) -> Flow[None]:
    """Ends the session. A session that has ended already is no error."""
    if session.store.tokens is None:
        return
    try:
        yield from authorized(session, Request("DELETE", "/v1/tokens"))
    except ApiError as error:
        if error.status != 401:
            raise
    session.store.account_id = None
    session.store.change(None)


def me(session: Session) -> Flow[Account]:
    reply = yield from authorized(session, Request("GET", "/v1/me"))
    return decode(Account, reply.content)


def delete_account(session: Session, password: str) -> Flow[None]:
    """The tokens are forgotten with it."""
    # Renews the tokens if they have expired. Otherwise the session can only have ended by the erasure.
    yield from me(session)
    try:
        yield from authorized(session, json_request("DELETE", "/v1/me", {"password": password}))
    except ApiError as error:
        # The second try: the first one erased the account, and its response was lost.
        if error.status != 401 or error.code == BAD_CREDENTIALS:
            raise
    session.store.account_id = None
    session.store.change(None)


def video_page(
    session: Session,
    *,
    status: Status | str | None,
    q: str | None,
    sha256: str | None,
    limit: int,
    cursor: str | None,
) -> Flow[Page[Video]]:
    filters = {"status": status, "q": q, "sha256": sha256, "cursor": cursor}
    params = {"limit": str(limit)} | {name: str(value) for name, value in filters.items() if value is not None}
    reply = yield from authorized(session, Request("GET", "/v1/videos", params))
    return decode(Page[Video], reply.content)


def video(session: Session, video_id: str) -> Flow[Video]:
    reply = yield from authorized(session, Request("GET", _video_path(video_id)))
    return decode(Video, reply.content)


def delete(session: Session, video: Video | str) -> Flow[None]:
    try:
        yield from authorized(session, Request("DELETE", _video_path(video)))
    except ApiError as error:
        # The second try finds no video: the first try has deleted it, and its response was lost.
        if error.status != 404 or error.tries == 1:
            raise


def extract(session: Session, video: Video | str, spec: str, key: str | None) -> Flow[Extraction]:
    """spec: JSON text."""
    headers = {"Content-Type": "application/json", "Idempotency-Key": key or session.new_key()}
    body = f'{{"spec":{spec}}}'.encode()
    request = Request("POST", f"{_video_path(video)}/extractions", headers=headers, body=body)
    reply = yield from authorized(session, request)
    return decode(Extraction, reply.content)


def estimate(session: Session, video: Video | str | Media | Mapping[str, Any], spec: str | None) -> Flow[Estimate]:
    """spec: JSON text."""
    subject = {"video_id": _id(video)} if isinstance(video, Video | str) else {"media": _media_facts(video)}
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


def extraction(session: Session, extraction_id: str) -> Flow[Extraction]:
    reply = yield from authorized(session, Request("GET", extraction_path(extraction_id)))
    return decode(Extraction, reply.content)


def cancel(session: Session, extraction_or_id: Extraction | str) -> Flow[Extraction]:
    request = Request("POST", f"{extraction_path(extraction_or_id)}/cancel", repeatable=True)
    try:
        reply = yield from authorized(session, request)
    except ApiError as error:
        # The second try finds it ended: the first try may have cancelled it, and its response was lost.
        if error.status != 409 or error.tries == 1:
            raise
        latest = yield from extraction(session, _id(extraction_or_id))
        if latest.status is not Status.CANCELLED:
            raise
        return latest
    return decode(Extraction, reply.content)


def retry(session: Session, extraction: Extraction | str, key: str | None) -> Flow[Extraction]:
    headers = {"Idempotency-Key": key or session.new_key()}
    reply = yield from authorized(session, Request("POST", f"{extraction_path(extraction)}/retry", headers=headers))
    return decode(Extraction, reply.content)


def manifest(session: Session, extraction: Extraction | str) -> Flow[Manifest]:
    reply = yield from authorized(session, Request("GET", f"{extraction_path(extraction)}/manifest.json"))
    return decode(Manifest, reply.content)


def timeline_page(session: Session, extraction: Extraction | str, cursor: str | None) -> Flow[Page[TimelineEvent]]:
    params = {"limit": "200"} | ({"cursor": cursor} if cursor is not None else {})
    reply = yield from authorized(session, Request("GET", f"{extraction_path(extraction)}/timeline", params))
    return decode(Page[TimelineEvent], reply.content)


def timeline(session: Session, extraction: Extraction | str) -> Flow[tuple[TimelineEvent, ...]]:
    page = yield from timeline_page(session, extraction, None)
    events = page.items
    while page.next_cursor is not None:
        page = yield from timeline_page(session, extraction, page.next_cursor)
        events += page.items
    return events


def ledger(session: Session) -> Flow[Ledger]:
    reply = yield from authorized(session, Request("GET", "/v1/admin/ledger"))
    return decode(Ledger, reply.content)


def wait(
    session: Session, extraction_or_id: Extraction | str, timeout_seconds: float | None, on_progress: OnProgress | None
) -> Flow[Extraction]:
    """Polls at growing intervals until the extraction has succeeded. Also raises ExtractionFailed, WaitTimeout."""
    started_at = answered_at = session.monotonic()
    latest = extraction_or_id
    if isinstance(latest, str):
        latest = yield from extraction(session, latest)
    interval = POLL_FIRST_SECONDS
    while True:
        if on_progress is not None:
            on_progress(latest)
        if latest.status.ended:
            break
        remaining = float("inf") if timeout_seconds is None else started_at + timeout_seconds - session.monotonic()
        if remaining <= 0:
            raise WaitTimeout(latest, timeout_seconds or 0)
        yield Sleep(min(remaining, interval * (0.75 + session.random() / 2)))
        interval = min(interval * POLL_GROWTH, POLL_MAX_SECONDS)
        try:
            latest = yield from extraction(session, latest.id)
            answered_at = session.monotonic()
        except (ConnectionFailed, ApiError) as error:
            if not _is_outage(error) or session.monotonic() - answered_at > OUTAGE_SECONDS:
                raise
    if latest.status is not Status.SUCCEEDED:
        raise ExtractionFailed(latest)
    return latest


def extraction_path(extraction: Extraction | str) -> str:
    return f"/v1/extractions/{path_segment(extraction)}"


def _video_path(video: Video | str) -> str:
    return f"/v1/videos/{path_segment(video)}"


class HasId(Protocol):
    @property
    def id(self) -> str: ...


def path_segment(resource: HasId | str) -> str:
    """Returns the id of a resource as one segment of a path; every reserved character is quoted."""
    return quote(_id(resource), safe="")


def _id(resource: HasId | str) -> str:
    return resource if isinstance(resource, str) else resource.id


def _is_outage(error: ConnectionFailed | ApiError) -> bool:
    return isinstance(error, ConnectionFailed) or is_transient(error.status, error.code)
