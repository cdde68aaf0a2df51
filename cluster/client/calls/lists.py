"""Lists of the API, page by page. The size of a page is that of the server."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from cluster.client.api_types import Page
from cluster.client.authorized_requests import Session, anonymous, authorized
from cluster.client.effects import Flow, Request
from cluster.client.errors import FotogramaError
from cluster.client.json_decoding import T, decode


def all_pages(session: Session, path: str, kind: type[Page[T]]) -> Flow[tuple[T, ...]]:
    """Returns the items of all pages."""
    items: tuple[T, ...] = ()
    cursor: str | None = None
    while True:
        page = yield from next_page(session, path, kind, {}, cursor)
        items += page.items
        if (cursor := page.next_cursor) is None:
            return items


def next_page(
    session: Session, path: str, kind: type[Page[T]], filters: Mapping[str, str], cursor: str | None
) -> Flow[Page[T]]:
    """Returns the first page (cursor: None), or one that follows it. Pages that follow are as large as can be."""
    params = dict(filters)
    if cursor is not None:
        params["cursor"] = cursor
        largest = yield from _largest_page(session)
        params |= {} if largest is None else {"limit": str(largest)}
    return decode(kind, (yield from authorized(session, Request("GET", path, params))).content)


def _largest_page(session: Session) -> Flow[int | None]:
    """Returns the most items of one page, as the server's OpenAPI document tells; None when it does not tell it."""
    if session.learnt.is_page_limit_known:
        return session.learnt.page_limit
    try:
        reply = yield from anonymous(session, Request("GET", "/openapi.json"))
        session.learnt.page_limit = largest_page_of(json.loads(reply.content))
    except (FotogramaError, ValueError):
        session.learnt.page_limit = None
    session.learnt.is_page_limit_known = True
    return session.learnt.page_limit


def largest_page_of(document: Any) -> int | None:
    """Returns the maximum of `limit` of GET /v1/videos in an OpenAPI document. Pure."""
    try:
        parameters = document["paths"]["/v1/videos"]["get"]["parameters"]
        (limit,) = (entry["schema"]["maximum"] for entry in parameters if entry.get("name") == "limit")
    except (KeyError, TypeError, ValueError):
        return None
    return limit if isinstance(limit, int) and limit > 0 else None
