"""Webhooks: add, list, remove; what was sent to them, and again."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from typing import Annotated, Any, Literal, get_args

import structlog
from pydantic import Field
from starlette.requests import Request
from starlette.responses import Response
from uuid_utils.compat import uuid7

from db.acceptance import idempotency_keys
from db.accounts import Principal
from db.notification import webhook_deliveries, webhook_url_policy, webhooks
from db.notification.webhook_deliveries import Delivery
from db.notification.webhooks import SECRET_BYTES, Webhook
from db.values.error_catalogue import CatalogueError
from serve_app.deps import Deps, deps_of
from serve_app.http import pagination, request_body
from serve_app.http.cancellation import run_to_completion
from serve_app.http.json_response import JsonResponse, encode_json
from serve_app.http.pagination import PageQuery
from serve_app.http.path_params import path_id
from serve_app.submission.idempotent_requests import IdempotentCall, fingerprint, idempotent_call

EventType = Literal["extraction.succeeded", "extraction.failed", "extraction.cancelled"]

log = structlog.get_logger(__name__)


class Wanted(request_body.RequestModel):
    """A new webhook. events: what it is told, everything when they are left out."""

    url: Annotated[str, Field(min_length=1, max_length=webhook_url_policy.MAX_URL_CHARACTERS)]
    events: list[EventType] = Field(
        default_factory=lambda: list(get_args(EventType)), min_length=1, max_length=len(webhooks.EVENTS)
    )


async def create(request: Request, who: Principal) -> Response:
    """POST /v1/webhooks"""
    deps = deps_of(request)
    async with idempotent_call(request, deps.database, who, "POST /v1/webhooks") as idempotent:
        wanted = await request_body.read_model(request, Wanted)
        webhook_url_policy.check_url(wanted.url, deps.webhook_reach)
        if idempotent.known is not None:
            return idempotent.replay(_fingerprint(wanted))
        body = await run_to_completion(_commit(deps, who, idempotent, wanted))
    return Response(body, 201, media_type="application/json")


async def list_(request: Request, who: Principal) -> Response:
    """GET /v1/webhooks"""
    query = pagination.read_query(PageQuery, request)
    found = await webhooks.list_webhooks(
        deps_of(request).database, who.user_id, limit=query.limit + 1, before=query.before
    )
    return _page([_document(webhook) for webhook in found], query.limit)


async def delete(request: Request, who: Principal) -> Response:
    """DELETE /v1/webhooks/{id}"""
    if not await run_to_completion(webhooks.delete(deps_of(request).database, who.user_id, path_id(request))):
        raise CatalogueError("not_found")
    return Response(status_code=204)


async def deliveries_of(request: Request, who: Principal) -> Response:
    """GET /v1/webhooks/{id}/deliveries"""
    query = pagination.read_query(PageQuery, request)
    webhook = await _own(request, who)
    found = await webhook_deliveries.list_deliveries(
        deps_of(request).database, webhook.id, limit=query.limit + 1, before=query.before
    )
    return _page([_delivery_document(delivery) for delivery in found], query.limit)


async def redeliver(request: Request, who: Principal) -> Response:
    """POST /v1/webhooks/{id}/deliveries/{delivery_id}/redeliver"""
    delivery_id = path_id(request, "delivery_id")
    webhook = await _own(request, who)
    if webhook.disabled_at is not None:
        raise CatalogueError("webhook_off")
    delivery = await run_to_completion(webhook_deliveries.redeliver(deps_of(request).database, webhook.id, delivery_id))
    if delivery is None:
        raise CatalogueError("not_found")
    return JsonResponse(_delivery_document(delivery), 202)


async def _commit(deps: Deps, who: Principal, idempotent: IdempotentCall, wanted: Wanted) -> bytes:
    async with deps.database.begin() as connection:
        webhook = await webhooks.create(
            connection,
            webhook_id=uuid7(),
            user_id=who.user_id,
            url=wanted.url,
            secret=webhooks.secret_of(secrets.token_bytes(SECRET_BYTES)),
            events=sorted(set(wanted.events)),
        )
        body = encode_json(_document(webhook) | {"secret": webhook.secret})
        await idempotency_keys.finish(connection, idempotent.answer(_fingerprint(wanted), 201, body))
    log.info("A webhook was added.", event_name="webhook.added", webhook_id=str(webhook.id), user_id=str(who.user_id))
    return body


def _fingerprint(wanted: Wanted) -> str:
    return fingerprint([wanted.url, sorted(set(wanted.events))])


async def _own(request: Request, who: Principal) -> Webhook:
    webhook = await webhooks.get_own(deps_of(request).database, who.user_id, path_id(request))
    if webhook is None:
        raise CatalogueError("not_found")
    return webhook


def _page(documents: Sequence[dict[str, Any]], limit: int) -> Response:
    """documents: one more than the limit when there are more."""
    items, next_cursor = pagination.page_of(documents, limit, lambda document: pagination.encode(document["id"]))
    return JsonResponse({"items": items, "next_cursor": next_cursor})


def _document(webhook: Webhook) -> dict[str, Any]:
    return {
        "id": webhook.id,
        "url": webhook.url,
        "events": webhook.events,
        "created_at": webhook.created_at,
        "disabled_at": webhook.disabled_at,
    }


def _delivery_document(delivery: Delivery) -> dict[str, Any]:
    return {
        "id": delivery.id,
        "type": f"extraction.{delivery.extraction_status}",
        "extraction_id": delivery.extraction_id,
        "status": delivery.status.value,
        "created_at": delivery.created_at,
        "due_at": delivery.due_at,
        "delivered_at": delivery.delivered_at,
        "tries": list(delivery.tries),
    }
