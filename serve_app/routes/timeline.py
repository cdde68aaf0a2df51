"""What happened to an extraction."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import BeforeValidator, Field
from starlette.requests import Request
from starlette.responses import Response

from db import videos
from db.accounts import Principal
from db.notification import event_timeline
from db.values.error_catalogue import CatalogueError
from serve_app.deps import deps_of
from serve_app.http import request_body
from serve_app.http.json_response import JsonResponse
from serve_app.http.path_params import path_id
from serve_app.routes.videos import DEFAULT_LIMIT, MAX_LIMIT, single, whole

_CURSOR = re.compile(r"[0-9]{1,18}")


class Query(request_body.RequestModel):
    """The time line's query."""

    limit: Annotated[int, BeforeValidator(whole), Field(ge=1, le=MAX_LIMIT)] = DEFAULT_LIMIT
    cursor: str | None = Field(None, max_length=200)


async def show(request: Request, who: Principal) -> Response:
    """GET /v1/extractions/{id}/timeline: oldest first."""
    deps = deps_of(request)
    extraction_id = path_id(request)
    query = request_body.validate(Query, single(request.query_params.multi_items()))
    if query.cursor is not None and not _CURSOR.fullmatch(query.cursor):
        raise CatalogueError("invalid_field", "cursor: This is not a cursor of this list.")
    if await videos.extraction_key_of(deps.database, who.user_id, extraction_id) is None:
        raise CatalogueError("not_found")
    after = int(query.cursor or 0)
    moments = await event_timeline.read(deps.database, extraction_id, after=after, limit=query.limit + 1)
    page = moments[: query.limit]
    more = str(page[-1].id) if len(moments) > len(page) else None
    items = [{"at": moment.at, "kind": moment.kind, **moment.facts} for moment in page]
    return JsonResponse({"items": items, "next_cursor": more})
