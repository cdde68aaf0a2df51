"""Requests with authorization and retries, and the translation of error responses to exceptions."""

from __future__ import annotations

import json
import random
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from itertools import count
from typing import Any

from cluster.client.api_types import Tokens
from cluster.client.credentials.token_store import TokenStore
from cluster.client.effects import ConnectionLost, ContentSink, Flow, Reply, Request, RunExclusively, Send, Sleep
from cluster.client.error_families import error_class
from cluster.client.errors import ApiError, ConnectionFailed, UnexpectedAnswer
from cluster.client.json_decoding import decode
from cluster.client.live.live_extractions import LiveExtractions
from cluster.client.local_files.upload_state_file import UploadStateFile
from cluster.client.retry_policy import IN_PROGRESS, Attempt, RetryPolicy, retry_after_seconds, wait_seconds

PROBLEM = "application/problem+json"
BAD_CREDENTIALS = "bad_credentials"
"""The code of a wrong password; other responses with status 401 are about the token."""
_CODES_WITHOUT_BODY = {404: "not_found", 410: "upload_gone"}
"""Codes by status, for the response to a HEAD request: its problem object does not arrive."""


def new_key() -> str:
    """Returns a unique text of 32 characters."""
    return uuid.uuid4().hex


@dataclass(slots=True)
class LearntLimits:
    """Limits that the server has told. page_limit: items of one page; None when the server does not tell it."""

    is_page_limit_known: bool = False
    page_limit: int | None = None


@dataclass(frozen=True, slots=True)
class Session:
    """What every call needs.

    upload_state: the file that records unfinished uploads. extract_state: that of `extract`, without an upload_state.
    live: what the server's stream of events has told. monotonic: seconds of a clock that never goes back. random:
    in [0, 1). new_key: unique text.
    """

    base_url: str
    store: TokenStore
    policy: RetryPolicy = field(default_factory=RetryPolicy)
    upload_state: UploadStateFile | None = None
    extract_state: UploadStateFile | None = None
    learnt: LearntLimits = field(default_factory=LearntLimits)
    live: LiveExtractions = field(default_factory=LiveExtractions)
    monotonic: Callable[[], float] = time.monotonic
    random: Callable[[], float] = random.random
    new_key: Callable[[], str] = new_key


def json_request(method: str, path: str, document: Any, *, key: str | None = None, repeatable: bool = False) -> Request:
    headers = {"Content-Type": "application/json"} | ({"Idempotency-Key": key} if key else {})
    return Request(method, path, headers=headers, body=json.dumps(document).encode(), repeatable=repeatable)


def anonymous(session: Session, request: Request) -> Flow[Reply]:
    """Sends without a token. Raises ApiError, ConnectionFailed."""
    reply = yield from _send_with_retries(session, lambda: request, None)
    return raise_for_error(reply)


def authorized(session: Session, request: Request, into: ContentSink | None = None) -> Flow[Reply]:
    """Sends with the access token, and renews it once when it has expired. Raises ApiError, ConnectionFailed."""
    used: Tokens | None = None

    def with_current_token() -> Request:
        nonlocal used
        used = session.store.tokens
        prepared = request
        for name, value in into.headers().items() if into else ():
            prepared = prepared.with_header(name, value)
        return prepared.with_header("Authorization", f"Bearer {used.access_token}") if used else prepared

    reply = yield from _send_with_retries(session, with_current_token, into)
    is_refused = reply.status == 401 and _api_error(reply).code != BAD_CREDENTIALS
    if is_refused and used is not None and used.refresh_token is not None:
        yield RunExclusively(renew_tokens(session, used))
        reply = yield from _send_with_retries(session, with_current_token, into)
    return raise_for_error(reply)


def delete_once(session: Session, path: str) -> Flow[None]:
    """Deletes a resource. Raises NotFound only when the first try found none."""
    try:
        yield from authorized(session, Request("DELETE", path))
    except ApiError as error:
        # A later try finds nothing when the first one has deleted it and its response was lost.
        if error.status != 404 or error.tries == 1:
            raise


def renew_tokens(session: Session, used: Tokens | None) -> Flow[None]:
    """Renews the tokens, unless another flow or process has done so since `used` was read. Runs exclusively."""
    tokens = session.store.tokens
    if tokens is None or tokens.refresh_token is None or (used and tokens.access_token != used.access_token):
        return
    # Repeatable: when the response is lost, the old token is lost as well, so a second request can only help.
    request = json_request("POST", "/v1/tokens/refresh", {"refresh_token": tokens.refresh_token}, repeatable=True)
    reply = yield from anonymous(session, request)
    session.store.change(decode(Tokens, reply.content))


def raise_for_error(reply: Reply) -> Reply:
    """Returns a reply with status 2xx. Raises ApiError for an error, UnexpectedAnswer for a redirect."""
    if 200 <= reply.status < 300:
        return reply
    if reply.status < 400:
        target = reply.headers.get("location", "nowhere")
        raise UnexpectedAnswer(f"The server redirects to {target}; use that address if you trust it.")
    raise _api_error(reply)


def _send_with_retries(session: Session, request: Callable[[], Request], into: ContentSink | None) -> Flow[Reply]:
    """Repeats a request as the retry policy says. After progress of a download, its tries are counted from one again.

    Raises ConnectionFailed.
    """
    received_bytes, tries_before_progress = into.size if into else 0, 0
    first_failed_at = in_progress_since = 0.0
    was_in_progress = False
    for sent in count(1):
        prepared = request()
        outcome = yield from _send_once(prepared, into)
        if into is not None and into.size > received_bytes:
            received_bytes, tries_before_progress = into.size, sent - 1
        now = session.monotonic()
        if sent == 1:
            # The policy's patience begins with the first failure: one upload alone may take longer.
            first_failed_at = now
        code = _api_error(outcome).code if isinstance(outcome, Reply) and outcome.status >= 400 else ""
        if code != IN_PROGRESS or not was_in_progress:
            in_progress_since = now
        was_in_progress = code == IN_PROGRESS
        attempt = Attempt(
            sent - tries_before_progress, now - first_failed_at, prepared.repeatable, now - in_progress_since
        )
        seconds = wait_seconds(session.policy, attempt, outcome, code, session.random())
        if seconds is None:
            break
        yield Sleep(seconds)
    if isinstance(outcome, ConnectionLost):
        raise ConnectionFailed(session.base_url, str(outcome)) from outcome
    return replace(outcome, tries=sent)


def _send_once(request: Request, into: ContentSink | None) -> Flow[Reply | ConnectionLost]:
    try:
        reply: Reply = yield Send(request, into)
    except ConnectionLost as lost:
        return lost
    return reply


def _api_error(reply: Reply) -> ApiError:
    """Returns the problem object (RFC 9457) as an error. A response without one, as from a proxy, gets
    `http_<status>`.
    """
    try:
        problem = json.loads(reply.content)
    except ValueError:
        problem = None
    fields: dict[str, Any] = problem if isinstance(problem, dict) else {}

    def text(name: str, default: str) -> str:
        return fields[name] if isinstance(fields.get(name), str) else default

    fault = text("fault", "service" if reply.status >= 500 else "request")
    return error_class(reply.status, fault)(
        status=reply.status,
        code=text("code", _code_without_body(reply)),
        detail=text("detail", text("title", f"The server answered {reply.status}.")),
        fault=fault,
        remedy=text("remedy", _default_remedy(fault)),
        request_id=text("request_id", reply.headers.get("x-request-id", "")) or None,
        retry_after=retry_after_seconds(reply.headers),
        tries=reply.tries,
    )


def _default_remedy(fault: str) -> str:
    """For a response that names none, as from a proxy."""
    return "Try again later." if fault == "service" else "Check the address of the server and the request."


def _code_without_body(reply: Reply) -> str:
    default = f"http_{reply.status}"
    is_problem = reply.headers.get("content-type", "").startswith(PROBLEM)
    return _CODES_WITHOUT_BODY.get(reply.status, default) if is_problem else default
