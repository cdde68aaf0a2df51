"""The OpenAPI document (`/openapi.json`), made from the models that validate requests."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib.metadata import version
from typing import Any

from pydantic.json_schema import models_json_schema
from starlette.requests import Request
from starlette.responses import Response

from serve_app.http.json_response import JsonResponse
from serve_app.http.pagination import PageQuery
from serve_app.openapi import admin_schemas, preset_schemas, response_schemas
from serve_app.openapi.frame_spec_schema import FrameSpec
from serve_app.openapi.operation_document import NAMED_SCHEMAS, TAGS, Operation, operation_document
from serve_app.routes import accounts, admin_accounts, api_keys, login_sessions, webhooks
from serve_app.routes.downloads import FrameQuery, ShardQuery
from serve_app.routes.videos import VideoQuery

_ZIP, _CSV, _IMAGE = "application/zip", "text/csv", "image/*"


OPERATIONS: Mapping[tuple[str, str], Operation] = {
    ("POST", "/v1/users"): Operation(
        "Create an account",
        201,
        response_schemas.NewAccount,
        body=accounts.Registration,
        is_public=True,
        problems=(403, 409, 429),
    ),
    ("POST", "/v1/tokens"): Operation(
        "Log in",
        200,
        response_schemas.Tokens,
        body=login_sessions.Credentials,
        is_public=True,
        problems=(401, 403, 429),
    ),
    ("DELETE", "/v1/tokens"): Operation("Log out: end this session at once", 204, needs_session=True),
    ("POST", "/v1/tokens/refresh"): Operation(
        "Exchange a refresh token for new tokens; each works once",
        200,
        response_schemas.Tokens,
        body=login_sessions.Refresh,
        is_public=True,
        problems=(401,),
    ),
    ("GET", "/v1/me"): Operation("Show the account", 200, response_schemas.Account, has_etag=True),
    ("PATCH", "/v1/me"): Operation(
        "Change the account",
        200,
        response_schemas.Account,
        body=accounts.Changes,
        headers=("If-Match",),
        problems=(412,),
        has_etag=True,
    ),
    ("DELETE", "/v1/me"): Operation(
        "Erase the account and all that it owns, at once",
        204,
        body=accounts.Erasure,
        needs_session=True,
        problems=(429,),
    ),
    ("GET", "/v1/me/export"): Operation("Download all that is stored about the account", 200, _ZIP, problems=(429,)),
    ("POST", "/v1/me/password"): Operation(
        "Change the password and end every other session",
        204,
        body=accounts.PasswordChange,
        needs_session=True,
        problems=(429,),
    ),
    ("GET", "/v1/api-keys"): Operation(
        "List API keys, newest first", 200, response_schemas.ApiKeyPage, query=PageQuery
    ),
    ("POST", "/v1/api-keys"): Operation(
        "Create an API key; its secret is shown only once",
        201,
        response_schemas.NewApiKey,
        body=api_keys.ApiKeyRequest,
        needs_session=True,
        problems=(429,),
    ),
    ("DELETE", "/v1/api-keys/{id}"): Operation("Delete an API key: it ends at once", 204, needs_session=True),
    ("GET", "/v1/presets"): Operation("List presets, by name", 200, preset_schemas.Presets),
    ("PUT", "/v1/presets/{name}"): Operation(
        "Save a specification under a name, or replace the one of this name",
        200,
        preset_schemas.Preset,
        body=preset_schemas.NewPreset,
        problems=(429,),
        creates=True,
    ),
    ("DELETE", "/v1/presets/{name}"): Operation("Delete a preset", 204, problems=(422,)),
    ("GET", "/v1/videos"): Operation("List videos, newest first", 200, response_schemas.VideoPage, query=VideoQuery),
    ("POST", "/v1/videos"): Operation(
        "Upload videos and queue an extraction of each; all or none",
        201,
        response_schemas.Videos,
        has_idempotency_key=True,
        is_multipart=True,
        problems=(411, 429, 507),
    ),
    ("GET", "/v1/videos/{id}"): Operation("Show a video", 200, response_schemas.Video, has_etag=True),
    ("DELETE", "/v1/videos/{id}"): Operation(
        "Delete a video, its extractions and their results", 204, headers=("If-Match",), problems=(412,)
    ),
    ("POST", "/v1/videos/{id}/extractions"): Operation(
        "Extract from a stored video again",
        201,
        response_schemas.Extraction,
        body=response_schemas.NewExtraction,
        has_idempotency_key=True,
        problems=(410, 429, 507),
    ),
    ("POST", "/v1/estimates"): Operation(
        "Estimate frames, bytes and seconds of an extraction, before anything is queued",
        200,
        response_schemas.Estimate,
        body=response_schemas.NewEstimate,
        problems=(404, 409),
    ),
    ("OPTIONS", "/v1/uploads"): Operation("Discover the tus extensions and the largest size", 204, is_public=True),
    ("POST", "/v1/uploads"): Operation(
        "Create a resumable upload (tus 1.0.0); its Location is the upload", 201, has_idempotency_key=True
    ),
    ("GET", "/v1/uploads/{id}"): Operation("Show an upload's offset in headers, as HEAD does", 200),
    ("PATCH", "/v1/uploads/{id}"): Operation("Append bytes at Upload-Offset (tus 1.0.0)", 204),
    ("DELETE", "/v1/uploads/{id}"): Operation("Terminate an upload (tus 1.0.0)", 204),
    ("POST", "/v1/uploads/{id}"): Operation("The method that X-HTTP-Method-Override names (tus 1.0.0)", 204),
    ("OPTIONS", "/v1/uploads/{id}"): Operation("Discover tus, as at /v1/uploads", 204, is_public=True),
    ("GET", "/v1/extractions/{id}"): Operation("Show an extraction", 200, response_schemas.Extraction, has_etag=True),
    ("POST", "/v1/extractions/{id}/cancel"): Operation(
        "Cancel an extraction", 202, response_schemas.Extraction, problems=(409,), has_etag=True
    ),
    ("POST", "/v1/extractions/{id}/retry"): Operation(
        "Retry a failed or cancelled extraction, as a new extraction",
        201,
        response_schemas.Extraction,
        has_idempotency_key=True,
        problems=(410, 429, 507),
    ),
    ("GET", "/v1/extractions/{id}/frames.zip"): Operation(
        "Download the archive; supports Range", 200, _ZIP, is_download=True, problems=(307,)
    ),
    ("GET", "/v1/extractions/{id}/frames.tar"): Operation(
        "Download a WebDataset shard of the images, from 0; supports Range",
        200,
        "application/x-tar",
        query=ShardQuery,
        is_download=True,
    ),
    ("GET", "/v1/extractions/{id}/manifest.json"): Operation(
        "Download the manifest", 200, "application/json", is_download=True
    ),
    ("GET", "/v1/extractions/{id}/manifest.csv"): Operation(
        "Download the manifest as CSV", 200, _CSV, is_download=True
    ),
    ("GET", "/v1/extractions/{id}/report.json"): Operation(
        "Show how the archive was made", 200, "application/json", is_download=True
    ),
    ("GET", "/v1/extractions/{id}/sheet.jpg"): Operation(
        "Download the contact sheet; while the extraction runs, a preview of the images so far",
        200,
        "image/jpeg",
        is_download=True,
        has_preview=True,
    ),
    ("GET", "/v1/extractions/{id}/sheet.vtt"): Operation(
        "Download the WebVTT index of the contact sheet or of its preview",
        200,
        "text/vtt",
        is_download=True,
        has_preview=True,
    ),
    ("GET", "/v1/extractions/{id}/frames/{n}"): Operation(
        "Download image n, from 1; with a width, a JPEG of at most this width",
        200,
        _IMAGE,
        query=FrameQuery,
        is_download=True,
    ),
    ("GET", "/v1/extractions/{id}/timeline"): Operation(
        "List the events of an extraction, oldest first", 200, response_schemas.Timeline, query=PageQuery
    ),
    ("GET", "/v1/events"): Operation(
        "Follow the account's extractions live: server-sent events of the type `extraction`, whose data is an "
        "Extraction; keep the one with the highest version. After `reset`, which follows a Last-Event-ID that is "
        "unknown or too old, only what has not ended is sent again: read the list of videos",
        200,
        "text/event-stream",
        headers=("Last-Event-ID",),
        problems=(429,),
    ),
    ("GET", "/v1/webhooks"): Operation(
        "List webhooks, newest first", 200, response_schemas.WebhookPage, query=PageQuery
    ),
    ("POST", "/v1/webhooks"): Operation(
        "Add a webhook; its secret is shown only once",
        201,
        response_schemas.NewWebhook,
        body=webhooks.WebhookRequest,
        has_idempotency_key=True,
        problems=(429,),
    ),
    ("DELETE", "/v1/webhooks/{id}"): Operation("Delete a webhook and its pending deliveries", 204),
    ("GET", "/v1/webhooks/{id}/deliveries"): Operation(
        "List a webhook's deliveries with their tries, newest first",
        200,
        response_schemas.DeliveryPage,
        query=PageQuery,
    ),
    ("POST", "/v1/webhooks/{id}/deliveries/{delivery_id}/redeliver"): Operation(
        "Send a delivery again, under the same id", 202, response_schemas.Delivery, problems=(409,)
    ),
    ("GET", "/v1/admin/ledger"): Operation(
        "Compare every acceptance with its extraction; for admins", 200, response_schemas.Ledger, problems=(404,)
    ),
    ("GET", "/v1/admin/queue"): Operation(
        "Show what waits, runs and was given up; for admins", 200, admin_schemas.Queue, problems=(404,)
    ),
    ("GET", "/v1/admin/workers"): Operation(
        "List workers that hold a task, or asked for one in the last minute; for admins",
        200,
        admin_schemas.Workers,
        problems=(404,),
    ),
    ("GET", "/v1/admin/users"): Operation(
        "List accounts with their use and quotas, newest first; for admins",
        200,
        admin_schemas.ManagedAccountPage,
        query=admin_accounts.AccountQuery,
        problems=(404,),
    ),
    ("GET", "/v1/admin/users/{id}"): Operation("Show an account; for admins", 200, admin_schemas.ManagedAccount),
    ("PATCH", "/v1/admin/users/{id}"): Operation(
        "Give an account quotas of its own, disable or enable it; for admins",
        200,
        admin_schemas.ManagedAccount,
        body=admin_accounts.AccountChanges,
    ),
    ("GET", "/healthz"): Operation("Whether this process runs", 200, response_schemas.Liveness, is_public=True),
    ("GET", "/readyz"): Operation(
        "Whether the service can accept requests", 200, response_schemas.Readiness, is_public=True
    ),
}

UNDOCUMENTED = {"/", "/docs", "/session", "/openapi.json", "/static", "/texts/{file}"}
"""The paths of the web page, and of this document and its page."""


async def show(_request: Request) -> Response:
    """GET /openapi.json"""
    return JsonResponse(openapi_document())


@cache
def openapi_document() -> dict[str, Any]:
    """The OpenAPI 3.1 document."""
    models = {model for operation in OPERATIONS.values() for model in (operation.response, operation.body)}
    named = [model for model in models if isinstance(model, type)] + [
        response_schemas.Problem,
        response_schemas.UploadSpec,
        FrameSpec,
    ]
    _, definitions = models_json_schema(
        [(model, "validation") for model in sorted(named, key=lambda model: model.__name__)],
        ref_template="#/components/schemas/{model}",
    )
    paths: dict[str, Any] = {}
    for (method, path), operation in OPERATIONS.items():
        paths.setdefault(path, {})[method.lower()] = operation_document(method, path, operation)
    return {
        "openapi": "3.1.0",
        "info": {"title": "Fotograma", "version": version("fotograma"), "description": _DESCRIPTION},
        # Relative to this document: the service that answers it.
        "servers": [{"url": "/"}],
        "tags": [{"name": name, "description": description} for name, description in TAGS.items()],
        "paths": paths,
        "components": {
            "schemas": definitions["$defs"] | NAMED_SCHEMAS,
            "securitySchemes": {"bearer": {"type": "http", "scheme": "bearer", "description": _BEARER}},
        },
        "security": [{"bearer": []}],
    }


_DESCRIPTION = (
    "Videos become exact, timestamped frames. Each error is a problem object (RFC 9457) with a stable `code`. Every "
    "path answers OPTIONS with its methods in Allow, and another method with 405."
)
_BEARER = (
    "The access token of a session, or an API key (`fg_…`). A key may do all that a session may, but not create or "
    "delete API keys, log out, change the password or erase the account. It works until it is deleted."
)
