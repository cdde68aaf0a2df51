"""The API calls for webhooks as flows. Each raises ApiError, ConnectionFailed or UnexpectedAnswer."""

from __future__ import annotations

from collections.abc import Sequence

from cluster.client.account_types import Delivery, Webhook
from cluster.client.api_types import Page
from cluster.client.authorized_requests import Session, authorized, delete_once, json_request
from cluster.client.calls.lists import all_pages
from cluster.client.calls.resource_paths import path_segment
from cluster.client.effects import Flow, Request
from cluster.client.json_decoding import decode

_PATH = "/v1/webhooks"


def list_webhooks(session: Session) -> Flow[tuple[Webhook, ...]]:
    return (yield from all_pages(session, _PATH, Page[Webhook]))


def add_webhook(session: Session, url: str, events: Sequence[str] | None, key: str | None) -> Flow[Webhook]:
    """events: None for all of them."""
    body = {"url": url} | ({} if events is None else {"events": list(events)})
    reply = yield from authorized(session, json_request("POST", _PATH, body, key=key or session.new_key()))
    return decode(Webhook, reply.content)


def delete_webhook(session: Session, webhook: Webhook | str) -> Flow[None]:
    yield from delete_once(session, _webhook_path(webhook))


def deliveries(session: Session, webhook: Webhook | str) -> Flow[tuple[Delivery, ...]]:
    return (yield from all_pages(session, f"{_webhook_path(webhook)}/deliveries", Page[Delivery]))


def redeliver(session: Session, webhook: Webhook | str, delivery: Delivery | str) -> Flow[Delivery]:
    path = f"{_webhook_path(webhook)}/deliveries/{path_segment(delivery)}/redeliver"
    # Repeatable: the delivery is queued once, under its own id, also when the request arrives twice.
    reply = yield from authorized(session, Request("POST", path, repeatable=True))
    return decode(Delivery, reply.content)


def _webhook_path(webhook: Webhook | str) -> str:
    return f"{_PATH}/{path_segment(webhook)}"
