"""Errors as `application/problem+json` (RFC 9457), and the HTTP status of each error code."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson
import structlog
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from db.connection import is_account_gone, is_outage
from db.object_store.object_store import ObjectNotFound
from db.values.error_catalogue import CatalogueError

TYPE_PREFIX = "urn:fotograma:problem:"
OUTAGE_RETRY_SECONDS = 5
_ENDING = "cannot schedule new futures after"
"""How `concurrent.futures` begins its error in a process that is ending, while a thread still answers requests."""
RETRY_SECONDS: Mapping[int, int] = {413: 3600, 429: 60, 503: OUTAGE_RETRY_SECONDS, 507: 60}
"""Retry-After by status, for errors without a time of their own. 413: until the limit may have been raised."""
CLIENT_CLOSED_REQUEST = 499
"""The client has disconnected. The status is only logged (nginx uses the same number)."""

HTTP_STATUS: Mapping[str, int] = {
    "malformed_request": 400,
    "invalid_field": 422,
    "invalid_spec": 422,
    "unsupported_media_type": 415,
    "no_file": 422,
    "too_large": 413,
    "too_many_files": 413,
    "length_required": 411,
    "request_timeout": 408,
    "empty_selection": 422,
    "too_many_frames": 422,
    "idempotency_key_reused": 422,
    "idempotency_in_progress": 409,
    "precondition_failed": 412,
    "bad_range": 416,
    "tus_unsupported": 412,
    "upload_conflict": 409,
    # Of tus: Checksum Mismatch.
    "chunk_checksum_mismatch": 460,
    "too_many_chunks": 422,
    "upload_gone": 410,
    "unauthenticated": 401,
    "token_expired": 401,
    "bad_credentials": 401,
    "refresh_token_reused": 401,
    "email_taken": 409,
    "registration_closed": 403,
    "account_disabled": 403,
    "cross_site": 403,
    "session_required": 403,
    "too_many_requests": 429,
    "too_many_waiting": 429,
    "quota_exceeded": 429,
    "minutes_exceeded": 429,
    "too_many_webhooks": 429,
    "too_many_api_keys": 429,
    "too_many_presets": 429,
    "too_many_streams": 429,
    "not_found": 404,
    "method_not_allowed": 405,
    "not_ready": 409,
    "not_probed": 409,
    "no_result": 409,
    "expired": 410,
    "damaged_result": 410,
    "video_expired": 410,
    "wrong_state": 409,
    "webhook_off": 409,
    "empty_file": 422,
    "playlist": 422,
    "not_a_video": 422,
    "paused": 503,
    "queue_full": 503,
    "busy": 503,
    "streams_full": 503,
    "storage_full": 507,
    "unavailable": 503,
    "internal": 500,
}

EXTRACTION_ONLY_CODES = frozenset(
    {
        "checksum_mismatch",
        "unreadable_container",
        "no_video_stream",
        "no_frames",
        "no_timestamps",
        "encrypted",
        "unsupported_codec",
        "undecodable",
        "picture_too_large",
        "reader_disagrees",
        "gave_up",
        "workers_lost",
        "service_failed",
    }
)
"""Codes of decoding and of the queue. They occur in an extraction's `error`, never as the error of a request."""

_TOKEN_ERRORS: Mapping[str, str] = {"token_expired": "invalid_token", "session_required": "insufficient_scope"}
"""The error codes of RFC 6750, 3.1, for codes that say what is wrong with the token of the request."""

_ROUTER_CODES = {404: "not_found", 405: "method_not_allowed"}

log = structlog.get_logger(__name__)


class ProblemError(CatalogueError):
    """An error with additional response headers and extension members (RFC 9457, 3.2), such as `errors`."""

    def __init__(
        self,
        code: str,
        detail: str = "",
        *,
        retry_after: int | None = None,
        headers: Mapping[str, str] | None = None,
        extensions: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(code, detail, retry_after=retry_after)
        self.headers = dict(headers or {})
        self.extensions = dict(extensions or {})


def problem_response(error: CatalogueError, request_id: str) -> Response:
    """Returns the problem response for an error."""
    body: dict[str, Any] = {
        "type": f"{TYPE_PREFIX}{error.code}",
        "title": error.entry.en.title,
        "status": HTTP_STATUS.get(error.code, 500),
        "detail": error.detail,
        "code": error.code,
        "request_id": request_id,
        "fault": error.fault.value,
        "remedy": error.remedy,
    }
    headers: dict[str, str] = {}
    retry_after = RETRY_SECONDS.get(body["status"]) if error.retry_after is None else error.retry_after
    if retry_after is not None:
        headers["Retry-After"] = str(max(1, retry_after))
    if body["status"] == 401 or error.code in _TOKEN_ERRORS:
        headers["WWW-Authenticate"] = challenge(_TOKEN_ERRORS.get(error.code), error.entry.en.title)
    if body["status"] == 408:
        # RFC 9110, 15.5.9: the rest of the body is not waited for.
        headers["Connection"] = "close"
    if isinstance(error, ProblemError):
        body |= error.extensions
        headers |= error.headers
    return Response(orjson.dumps(body), body["status"], headers, media_type="application/problem+json")


def challenge(error: str | None, description: str = "") -> str:
    """Returns the value of WWW-Authenticate (RFC 6750, 3). error: one of RFC 6750, None for a request without a token.

    description: a sentence without quotes.
    """
    what = "" if error is None else f', error="{error}", error_description="{description}"'
    return f'Bearer realm="fotograma"{what}'


def to_catalogue_error(error: Exception) -> CatalogueError:
    """Converts any exception to an error of the catalogue. An unexpected exception becomes `internal`."""
    match error:
        case CatalogueError():
            return error
        case HTTPException():
            return _router_error(error)
        case ObjectNotFound():
            return CatalogueError("expired")
        case _ if is_account_gone(error):
            return CatalogueError("unauthenticated", "The account was erased.")
        case _ if is_outage(error):
            return CatalogueError("unavailable", "The database is not available.", retry_after=OUTAGE_RETRY_SECONDS)
        case RuntimeError() if str(error).startswith(_ENDING):
            return CatalogueError("unavailable", "This replica is ending.", retry_after=OUTAGE_RETRY_SECONDS)
        case _:
            return CatalogueError("internal")


def error_response(error: Exception, request_id: str) -> Response:
    """Returns the response for any exception. Logs unexpected exceptions with their stack trace."""
    if isinstance(error, ClientDisconnect):
        return Response(status_code=CLIENT_CLOSED_REQUEST)
    catalogue_error = to_catalogue_error(error)
    if catalogue_error.code == "internal":
        log.error("A request failed unexpectedly.", event_name="request.failed", exc_info=error)
    elif catalogue_error.code == "unavailable":
        log.warning("A dependency is unavailable.", event_name="request.refused", detail=catalogue_error.detail)
    return problem_response(catalogue_error, request_id)


async def http_exception_handler(request: Request, error: Exception) -> Response:
    """`error_response` as an exception handler of Starlette."""
    return error_response(error, request.scope["state"]["request_id"])


def _router_error(error: HTTPException) -> CatalogueError:
    code = _ROUTER_CODES.get(error.status_code)
    if code is None:
        return CatalogueError("malformed_request" if error.status_code < 500 else "internal")
    return ProblemError(code, headers=error.headers)
