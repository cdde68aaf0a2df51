"""The API key resource: create, list, delete. Only a session creates and deletes keys, so that a key can't multiply."""

from __future__ import annotations

import secrets
from typing import Annotated, Any

import structlog
from pydantic import Field
from starlette.requests import Request
from starlette.responses import Response
from uuid_utils.compat import uuid7

from db.accounts import api_keys
from db.accounts.accounts import Principal
from db.accounts.api_keys import ApiKey
from db.run_to_completion import run_to_completion
from db.values.error_catalogue import CatalogueError
from serve_app.deps import deps_of
from serve_app.http import json_request_body, pagination
from serve_app.http.json_response import JsonResponse
from serve_app.http.pagination import PageQuery
from serve_app.http.path_params import path_id
from serve_app.routes.accounts import Name
from serve_app.security import api_key_secrets

log = structlog.get_logger(__name__)


class ApiKeyRequest(json_request_body.RequestModel):
    """name: what the key is for."""

    name: Annotated[Name, Field(min_length=1)]


async def create(request: Request, principal: Principal) -> Response:
    """POST /v1/api-keys"""
    principal.require_session()
    requested = await json_request_body.read_model(request, ApiKeyRequest)
    api_key_id = uuid7()
    secret = api_key_secrets.secret_of(api_key_id, secrets.token_bytes(api_key_secrets.RANDOM_BYTES))
    creation = api_keys.create(
        deps_of(request).database,
        api_key_id=api_key_id,
        user_id=principal.user_id,
        name=requested.name,
        secret_hash=api_key_secrets.secret_hash(secret),
    )
    api_key = await run_to_completion(creation)
    log.info(
        "An API key was created.",
        event_name="api_key.created",
        api_key_id=str(api_key.id),
        user_id=str(principal.user_id),
    )
    return JsonResponse(api_key_json(api_key) | {"secret": secret}, 201)


async def list_api_keys(request: Request, principal: Principal) -> Response:
    """GET /v1/api-keys"""
    query = pagination.read_query(PageQuery, request)
    found = await api_keys.list_api_keys(
        deps_of(request).database, principal.user_id, limit=query.limit + 1, before=query.before
    )
    page, next_cursor = pagination.paginate(found, query.limit, lambda key: pagination.encode_cursor(key.id))
    return JsonResponse({"items": [api_key_json(key) for key in page], "next_cursor": next_cursor})


async def delete(request: Request, principal: Principal) -> Response:
    """DELETE /v1/api-keys/{id}"""
    principal.require_session()
    api_key_id = path_id(request)
    if not await run_to_completion(api_keys.delete(deps_of(request).database, principal.user_id, api_key_id)):
        raise CatalogueError("not_found")
    log.info(
        "An API key was deleted.",
        event_name="api_key.deleted",
        api_key_id=str(api_key_id),
        user_id=str(principal.user_id),
    )
    return Response(status_code=204)


def api_key_json(api_key: ApiKey) -> dict[str, Any]:
    return {
        "id": api_key.id,
        "name": api_key.name,
        "created_at": api_key.created_at,
        "last_used_at": api_key.last_used_at,
    }
