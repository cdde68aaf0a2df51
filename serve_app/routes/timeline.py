"""The time line of an extraction."""

from __future__ import annotations

import re

from starlette.requests import Request
from starlette.responses import Response

from db import videos
from db.accounts.accounts import Principal
from db.notification import event_timeline
from db.values.error_catalogue import CatalogueError
from serve_app.deps import deps_of
from serve_app.http import pagination
from serve_app.http.json_response import JsonResponse
from serve_app.http.pagination import PageQuery
from serve_app.http.path_params import path_id

_CURSOR = re.compile(r"[0-9]{1,18}")


async def show(request: Request, principal: Principal) -> Response:
    """GET /v1/extractions/{id}/timeline: oldest first."""
    deps = deps_of(request)
    extraction_id = path_id(request)
    query = pagination.read_query(PageQuery, request)
    if query.cursor is not None and not _CURSOR.fullmatch(query.cursor):
        raise pagination.invalid_cursor_error()
    if await videos.extraction_key_of(deps.database, principal.user_id, extraction_id) is None:
        raise CatalogueError("not_found")
    after = int(query.cursor or 0)
    events = await event_timeline.read(deps.database, extraction_id, after=after, limit=query.limit + 1)
    page, next_cursor = pagination.paginate(events, query.limit, lambda event: str(event.id))
    items = [{"at": event.at, "kind": event.kind, **event.facts} for event in page]
    return JsonResponse({"items": items, "next_cursor": next_cursor})
