"""The webhook resource: create, list, delete; list deliveries and repeat them."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from typing import Annotated, Any, Literal, get_args
from uuid import UUID

import structlog
from pydantic import Field
from starlette.requests import Request
from starlette.responses import Response
from uuid_utils.compat import uuid7

from db.acceptance.idempotency_keys import OwnedKey
from db.accounts.accounts import Principal
from db.notification import webhook_deliveries, webhook_url_policy, webhooks
from db.notification.webhook_deliveries import Delivery
from db.notification.webhooks import SECRET_BYTES, Webhook
from db.run_to_completion import run_to_completion
from db.values.error_catalogue import CatalogueError
from serve_app.deps import Deps, deps_of
from serve_app.http import json_request_body, pagination
from serve_app.http.json_response import JsonResponse, encode_json
from serve_app.http.pagination import PageQuery
from serve_app.http.path_params import path_id
from serve_app.submission.idempotent_requests import (
    claim_key,
    idempotency_key,
    replay,
    request_fingerprint,
    store_response,
)

EventType = Literal["extraction.succeeded", "extraction.failed", "extraction.cancelled"]

log = structlog.get_logger(__name__)


class WebhookRequest(json_request_body.RequestModel):
    """events: what the webhook receives; all events by default."""

    url: Annotated[str, Field(min_length=1, max_length=webhook_url_policy.MAX_URL_CHARACTERS)]
    events: list[EventType] = Field(
        default_factory=lambda: list(get_args(EventType)), min_length=1, max_length=len(webhooks.EVENTS)
    )


async def create(request: Request, principal: Principal) -> Response:
    """POST /v1/webhooks"""
    deps = deps_of(request)
    key = idempotency_key(request.headers, principal.user_id, "POST /v1/webhooks")
    requested = await json_request_body.read_model(request, WebhookRequest)
    webhook_url_policy.check_url(requested.url, deps.webhook_reach)
    fingerprint = request_fingerprint([requested.url, sorted(set(requested.events))])
    async with claim_key(deps.database, key) as stored:
        if stored is not None:
            return replay(stored, fingerprint)
        body = await run_to_completion(_create(deps, principal.user_id, requested, key, fingerprint))
    return Response(body, 201, media_type="application/json")


async def list_webhooks(request: Request, principal: Principal) -> Response:
    """GET /v1/webhooks"""
    query = pagination.read_query(PageQuery, request)
    found = await webhooks.list_webhooks(
        deps_of(request).database, principal.user_id, limit=query.limit + 1, before=query.before
    )
    return _page_response([webhook_json(webhook) for webhook in found], query.limit)


async def delete(request: Request, principal: Principal) -> Response:
    """DELETE /v1/webhooks/{id}"""
    if not await run_to_completion(webhooks.delete(deps_of(request).database, principal.user_id, path_id(request))):
        raise CatalogueError("not_found")
    return Response(status_code=204)


async def list_deliveries(request: Request, principal: Principal) -> Response:
    """GET /v1/webhooks/{id}/deliveries"""
    query = pagination.read_query(PageQuery, request)
    webhook = await _get_webhook(request, principal)
    found = await webhook_deliveries.list_deliveries(
        deps_of(request).database, webhook.id, limit=query.limit + 1, before=query.before
    )
    return _page_response([delivery_json(delivery) for delivery in found], query.limit)


async def redeliver(request: Request, principal: Principal) -> Response:
    """POST /v1/webhooks/{id}/deliveries/{delivery_id}/redeliver"""
    delivery_id = path_id(request, "delivery_id")
    webhook = await _get_webhook(request, principal)
    if webhook.disabled_at is not None:
        raise CatalogueError("webhook_off")
    delivery = await run_to_completion(webhook_deliveries.redeliver(deps_of(request).database, webhook.id, delivery_id))
    if delivery is None:
        raise CatalogueError("not_found")
    return JsonResponse(delivery_json(delivery), 202)


async def _create(
    deps: Deps, user_id: UUID, requested: WebhookRequest, key: OwnedKey | None, fingerprint: str
) -> bytes:
    async with deps.database.begin() as connection:
        webhook = await webhooks.create(
            connection,
            webhook_id=uuid7(),
            user_id=user_id,
            url=requested.url,
            secret=webhooks.secret_of(secrets.token_bytes(SECRET_BYTES)),
            events=sorted(set(requested.events)),
        )
        body = encode_json(webhook_json(webhook) | {"secret": webhook.secret})
        await store_response(connection, key, fingerprint, 201, body)
    log.info("A webhook was created.", event_name="webhook.created", webhook_id=str(webhook.id), user_id=str(user_id))
    return body


async def _get_webhook(request: Request, principal: Principal) -> Webhook:
    webhook = await webhooks.get_of_user(deps_of(request).database, principal.user_id, path_id(request))
    if webhook is None:
        raise CatalogueError("not_found")
    return webhook


def _page_response(representations: Sequence[dict[str, Any]], limit: int) -> Response:
    """representations: one more than the limit when there are more."""
    page, next_cursor = pagination.paginate(representations, limit, lambda item: pagination.encode_cursor(item["id"]))
    return JsonResponse({"items": page, "next_cursor": next_cursor})


def webhook_json(webhook: Webhook) -> dict[str, Any]:
    return {
        "id": webhook.id,
        "url": webhook.url,
        "events": webhook.events,
        "created_at": webhook.created_at,
        "disabled_at": webhook.disabled_at,
    }


def delivery_json(delivery: Delivery) -> dict[str, Any]:
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
