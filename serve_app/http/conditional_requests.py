"""Conditional requests (RFC 9110, 13): If-Match and If-None-Match. Pure, except for the response.

The ETag of a JSON document has two parts, `"state-digest"`: the state that a request can change, and a digest of the
content, which also has what changes by itself, such as a place in the queue. If-None-Match compares both, If-Match of
a change only the state.
"""

from __future__ import annotations

from typing import Any
from zlib import crc32

from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import Response

from db.values.error_catalogue import CatalogueError
from serve_app.http.json_response import JsonResponse


def is_not_modified(if_none_match: str | None, etag: str) -> bool:
    """Whether the client already has this content (weak comparison)."""
    if if_none_match is None:
        return False
    tags = {tag.removeprefix("W/") for tag in _tags(if_none_match)}
    return not {"*", etag}.isdisjoint(tags)


def is_match(if_match: str | None, etag: str) -> bool:
    """Whether a request with this If-Match may be carried out (strong comparison)."""
    return if_match is None or not {"*", etag}.isdisjoint(_tags(if_match))


def is_match_of_state(if_match: str | None, state: str) -> bool:
    """The same for a change: whether one of the ETags has this state, with any digest of the content."""
    return if_match is None or any(tag == "*" or state_of(tag) == state for tag in _tags(if_match))


def etag_of(state: str, content: bytes) -> str:
    """Returns the ETag of a content in this state. state: without a hyphen."""
    return f'"{state}-{crc32(content):08x}"'


def state_of(etag: str) -> str | None:
    """Returns the state in an ETag of `etag_of`; None for a weak one."""
    return etag[1:-1].partition("-")[0] if etag.startswith('"') and etag.endswith('"') else None


def client_has(headers: Headers, etag: str) -> bool:
    """Whether GET is answered by 304. Raises CatalogueError `precondition_failed`."""
    if not is_match(headers.get("if-match"), etag):
        raise CatalogueError("precondition_failed")
    return is_not_modified(headers.get("if-none-match"), etag)


def json_document(request: Request, content: Any, etag: str) -> Response:
    """The response to GET: the document, or 304. Raises CatalogueError `precondition_failed`."""
    if client_has(request.headers, etag):
        return Response(status_code=304, headers={"ETag": etag})
    return JsonResponse(content, headers={"ETag": etag})


def _tags(header: str) -> list[str]:
    return [tag.strip() for tag in header.split(",")]
