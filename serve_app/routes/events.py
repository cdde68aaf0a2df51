"""The live events of an account's extractions, as server-sent events."""

from __future__ import annotations

import math
from datetime import UTC, datetime

from starlette.requests import Request
from starlette.responses import Response

from db.accounts.accounts import Principal
from serve_app.deps import deps_of
from serve_app.live import event_stream


async def stream(request: Request, principal: Principal) -> Response:
    """GET /v1/events"""
    if request.method == "HEAD":
        return Response(headers=event_stream.HEADERS)
    feed = deps_of(request).extraction_feed
    last_event_id = event_stream.parse_last_event_id(request.headers.get("last-event-id"))
    ends_at = principal.expires_at
    seconds = math.inf if ends_at is None else (ends_at - datetime.now(UTC)).total_seconds()
    subscription = await feed.open(principal)
    response = event_stream.EventStreamResponse(
        event_stream.write_stream(feed, subscription, last_event_id, seconds), headers=event_stream.HEADERS
    )
    response.on_end = lambda: feed.end(subscription)
    return response
