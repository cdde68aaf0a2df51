"""The calls for extractions as flows. Each raises ApiError, ConnectionFailed or UnexpectedAnswer."""

from __future__ import annotations

from collections.abc import Callable

from cluster.client.api_types import Extraction, Status
from cluster.client.authorized_requests import Session, authorized
from cluster.client.calls.resource_paths import extraction_path, id_of
from cluster.client.effects import Flow, Request, Sleep, WaitForNews
from cluster.client.errors import ApiError, ConnectionFailed, ExtractionFailed, WaitTimeout
from cluster.client.json_decoding import decode
from cluster.client.live.follow_events import is_offered
from cluster.client.retry_policy import is_transient

OnProgress = Callable[[Extraction], None]

POLL_FIRST_SECONDS = 0.2
POLL_GROWTH = 1.4
POLL_MAX_SECONDS = 3.0
LIVE_POLL_SECONDS = 30.0
"""While events come. It finds what no event has told."""
OUTAGE_SECONDS = 300.0
"""How long `wait` continues while the server does not answer: a restart only delays the result."""


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
        latest = yield from extraction(session, id_of(extraction_or_id))
        if latest.status is not Status.CANCELLED:
            raise
        return latest
    return decode(Extraction, reply.content)


def retry(session: Session, extraction: Extraction | str, key: str | None) -> Flow[Extraction]:
    headers = {"Idempotency-Key": key or session.new_key()}
    reply = yield from authorized(session, Request("POST", f"{extraction_path(extraction)}/retry", headers=headers))
    return decode(Extraction, reply.content)


def wait(
    session: Session, extraction_or_id: Extraction | str, timeout_seconds: float | None, on_progress: OnProgress | None
) -> Flow[Extraction]:
    """Follows the extraction until it has succeeded, by the events of the server and by polling.

    Also raises ExtractionFailed, WaitTimeout.
    """
    started_at = session.monotonic()
    latest = extraction_or_id
    if isinstance(latest, str):
        latest = yield from extraction(session, latest)
    with session.live.following(latest.id):
        latest = yield from _follow(session, latest, started_at, timeout_seconds, on_progress)
    if latest.status is not Status.SUCCEEDED:
        raise ExtractionFailed(latest)
    return latest


def _follow(
    session: Session,
    latest: Extraction,
    started_at: float,
    timeout_seconds: float | None,
    on_progress: OnProgress | None,
) -> Flow[Extraction]:
    """Returns the extraction when it has ended."""
    live, interval, answered_at = session.live, POLL_FIRST_SECONDS, session.monotonic()
    # The stream tells only what changes after its beginning, so the state is read once more then.
    epoch = -1 if live.is_open else live.epoch
    while True:
        if on_progress is not None:
            on_progress(latest)
        if latest.status.ended:
            return latest
        remaining = float("inf") if timeout_seconds is None else started_at + timeout_seconds - session.monotonic()
        if remaining <= 0:
            raise WaitTimeout(latest, timeout_seconds or 0)
        seconds = LIVE_POLL_SECONDS if live.is_open else interval * (0.75 + session.random() / 2)
        interval = min(interval * POLL_GROWTH, POLL_MAX_SECONDS)
        if (yield from is_offered(session)):
            yield WaitForNews(live, latest, epoch, min(remaining, seconds))
        else:
            yield Sleep(min(remaining, seconds))
        told = live.newer(latest)
        if told is not None:
            latest, answered_at = told, session.monotonic()
            continue
        epoch = live.epoch
        try:
            latest = yield from extraction(session, latest.id)
            answered_at = session.monotonic()
        except (ConnectionFailed, ApiError) as error:
            if not _is_outage(error) or session.monotonic() - answered_at > OUTAGE_SECONDS:
                raise


def _is_outage(error: ConnectionFailed | ApiError) -> bool:
    return isinstance(error, ConnectionFailed) or is_transient(error.status, error.code)
