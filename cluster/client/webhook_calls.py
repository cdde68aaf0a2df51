"""The API calls for webhooks as flows. Each raises ApiError, ConnectionFailed or UnexpectedAnswer."""

from __future__ import annotations

from collections.abc import Sequence

from cluster.client.api_calls import path_segment
from cluster.client.api_types import Delivery, Page, Webhook
from cluster.client.authorized_requests import Session, authorized, json_request
from cluster.client.effects import Flow, Request
from cluster.client.errors import ApiError
from cluster.client.json_decoding import T, decode

_PATH = "/v1/webhooks"
_LIMIT = "200"


def list_webhooks(session: Session) -> Flow[tuple[Webhook, ...]]:
    return (yield from _all_pages(session, _PATH, Page[Webhook]))


def add_webhook(session: Session, url: str, events: Sequence[str] | None, key: str | None) -> Flow[Webhook]:
    """events: None for all of them."""
    body = {"url": url} | ({} if events is None else {"events": list(events)})
    reply = yield from authorized(session, json_request("POST", _PATH, body, key=key or session.new_key()))
    return decode(Webhook, reply.content)


def delete_webhook(session: Session, webhook: Webhook | str) -> Flow[None]:
    try:
        yield from authorized(session, Request("DELETE", _webhook_path(webhook)))
    except ApiError as error:
        # The second try finds no webhook: the first try has deleted it, and its response was lost.
        if error.status != 404 or error.tries == 1:
            raise


def deliveries(session: Session, webhook: Webhook | str) -> Flow[tuple[Delivery, ...]]:
    return (yield from _all_pages(session, f"{_webhook_path(webhook)}/deliveries", Page[Delivery]))


def redeliver(session: Session, webhook: Webhook | str, delivery: Delivery | str) -> Flow[Delivery]:
    path = f"{_webhook_path(webhook)}/deliveries/{path_segment(delivery)}/redeliver"
    # Repeatable: the delivery is queued once, under its own id, also when the request arrives twice.
    reply = yield from authorized(session, Request("POST", path, repeatable=True))
    return decode(Delivery, reply.content)


def _all_pages(session: Session, path: str, kind: type[Page[T]]) -> Flow[tuple[T, ...]]:
    items: tuple[T, ...] = ()
    cursor: str | None = None
    while True:
        params = {"limit": _LIMIT} | ({"cursor": cursor} if cursor is not None else {})
        page = decode(kind, (yield from authorized(session, Request("GET", path, params))).content)
        items += page.items
        if (cursor := page.next_cursor) is None:
            return items


def _webhook_path(webhook: Webhook | str) -> str:
    return f"{_PATH}/{path_segment(webhook)}"
