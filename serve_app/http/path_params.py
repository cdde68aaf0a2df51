"""Parses ids and numbers in a path. The id of a resource stands in the log and in the span of the request."""

from __future__ import annotations

import re
from uuid import UUID

from starlette.requests import Request

from db.values.error_catalogue import CatalogueError
from serve_app.http.request_tracing import note_ids

_ID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_ID_NAMES = {
    "videos": "video_id",
    # An upload has the id of its video.
    "uploads": "video_id",
    "extractions": "extraction_id",
    "webhooks": "webhook_id",
    "api-keys": "api_key_id",
}
_NUMBER = re.compile(r"[1-9][0-9]{0,8}")


def path_id(request: Request, name: str = "id") -> UUID:
    """An id in the path. Raises CatalogueError `not_found` for a malformed id, as for an unknown one."""
    text = request.path_params[name]
    if not _ID.fullmatch(text):
        raise CatalogueError("not_found")
    if name == "id":
        resource = request.url.path.split("/")[2]
        if resource in _ID_NAMES:
            note_ids(**{_ID_NAMES[resource]: text.lower()})
    return UUID(text)


def path_number(request: Request) -> int:
    """The path parameter `n`, from 1. Raises CatalogueError `not_found`."""
    text = request.path_params["n"]
    if not _NUMBER.fullmatch(text):
        raise CatalogueError("not_found")
    return int(text)
