"""The OpenAPI document (`/openapi.json`), made from the models that validate requests."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.metadata import version
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema
from starlette.requests import Request
from starlette.responses import Response

from serve_app.http.json_response import JsonResponse
from serve_app.http.pagination import PageQuery
from serve_app.openapi import response_schemas
from serve_app.openapi.frame_spec_schema import FrameSpec
from serve_app.openapi.tus_operations import TUS_OPERATIONS, add_tus
from serve_app.routes import accounts, login_sessions, webhooks
from serve_app.routes.downloads import FrameQuery, ShardQuery
from serve_app.routes.videos import VideoQuery

_ZIP, _CSV, _IMAGE = "application/zip", "text/csv", "image/*"


@dataclass(frozen=True, slots=True)
class Operation:
    """One method of one path.

    status, response: of success; the response is a model, a media type, or empty. body: the model of a JSON body.
    header: an optional header that it reads.
    has_idempotency_key: whether it reads Idempotency-Key. is_public: whether it needs no account.
    """

    summary: str
    status: int
    response: type[BaseModel] | str | None = None
    body: type[BaseModel] | None = None
    query: type[BaseModel] | None = None
    header: str | None = None
    has_idempotency_key: bool = False
    is_public: bool = False
    is_multipart: bool = False


OPERATIONS: Mapping[tuple[str, str], Operation] = {
    ("POST", "/v1/users"): Operation(
        "Create an account", 201, response_schemas.NewAccount, body=accounts.Registration, is_public=True
    ),
    ("POST", "/v1/tokens"): Operation(
        "Log in", 200, response_schemas.Tokens, body=login_sessions.Credentials, is_public=True
    ),
    ("DELETE", "/v1/tokens"): Operation("Log out: end this session at once", 204),
    ("POST", "/v1/tokens/refresh"): Operation(
        "Exchange a refresh token for new tokens; each works once",
        200,
        response_schemas.Tokens,
        body=login_sessions.Refresh,
        is_public=True,
    ),
    ("GET", "/v1/me"): Operation("Show the account", 200, response_schemas.Account),
    ("PATCH", "/v1/me"): Operation("Change the account", 200, response_schemas.Account, body=accounts.Changes),
    ("DELETE", "/v1/me"): Operation("Erase the account and all that it owns, at once", 204, body=accounts.Erasure),
    ("GET", "/v1/me/export"): Operation("Download all that is stored about the account", 200, _ZIP),
    ("POST", "/v1/me/password"): Operation(
        "Change the password and end every other session", 204, body=accounts.PasswordChange
    ),
    ("GET", "/v1/videos"): Operation("List videos, newest first", 200, response_schemas.VideoPage, query=VideoQuery),
    ("POST", "/v1/videos"): Operation(
        "Upload videos and queue an extraction of each; all or none",
        201,
        response_schemas.Videos,
        has_idempotency_key=True,
        is_multipart=True,
    ),
    ("GET", "/v1/videos/{id}"): Operation("Show a video", 200, response_schemas.Video),
    ("DELETE", "/v1/videos/{id}"): Operation("Delete a video, its extractions and their results", 204),
    ("POST", "/v1/videos/{id}/extractions"): Operation(
        "Extract from a stored video again",
        201,
        response_schemas.Extraction,
        body=response_schemas.NewExtraction,
        has_idempotency_key=True,
    ),
    ("POST", "/v1/estimates"): Operation(
        "Estimate frames, bytes and seconds of an extraction, before anything is queued",
        200,
        response_schemas.Estimate,
        body=response_schemas.NewEstimate,
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
    ("GET", "/v1/extractions/{id}"): Operation("Show an extraction", 200, response_schemas.Extraction),
    ("POST", "/v1/extractions/{id}/cancel"): Operation("Cancel an extraction", 202, response_schemas.Extraction),
    ("POST", "/v1/extractions/{id}/retry"): Operation(
        "Retry a failed or cancelled extraction, as a new extraction",
        201,
        response_schemas.Extraction,
        has_idempotency_key=True,
    ),
    ("GET", "/v1/extractions/{id}/frames.zip"): Operation("Download the archive; supports Range", 200, _ZIP),
    ("GET", "/v1/extractions/{id}/frames.tar"): Operation(
        "Download a WebDataset shard of the images, from 0; supports Range", 200, "application/x-tar", query=ShardQuery
    ),
    ("GET", "/v1/extractions/{id}/manifest.json"): Operation("Download the manifest", 200, "application/json"),
    ("GET", "/v1/extractions/{id}/manifest.csv"): Operation("Download the manifest as CSV", 200, _CSV),
    ("GET", "/v1/extractions/{id}/report.json"): Operation("Show how the archive was made", 200, "application/json"),
    ("GET", "/v1/extractions/{id}/sheet.jpg"): Operation("Download the contact sheet", 200, "image/jpeg"),
    ("GET", "/v1/extractions/{id}/sheet.vtt"): Operation(
        "Download the WebVTT index of the contact sheet", 200, "text/vtt"
    ),
    ("GET", "/v1/extractions/{id}/frames/{n}"): Operation(
        "Download image n, from 1; with a width, a JPEG of at most this width", 200, _IMAGE, query=FrameQuery
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
        header="Last-Event-ID",
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
    ),
    ("DELETE", "/v1/webhooks/{id}"): Operation("Delete a webhook and its pending deliveries", 204),
    ("GET", "/v1/webhooks/{id}/deliveries"): Operation(
        "List a webhook's deliveries with their tries, newest first",
        200,
        response_schemas.DeliveryPage,
        query=PageQuery,
    ),
    ("POST", "/v1/webhooks/{id}/deliveries/{delivery_id}/redeliver"): Operation(
        "Send a delivery again, under the same id", 202, response_schemas.Delivery
    ),
    ("GET", "/v1/admin/ledger"): Operation(
        "Compare every acceptance with its extraction; for admins", 200, response_schemas.Ledger
    ),
    ("GET", "/healthz"): Operation("Whether this process runs", 200, response_schemas.Liveness, is_public=True),
    ("GET", "/readyz"): Operation(
        "Whether the service can accept requests", 200, response_schemas.Readiness, is_public=True
    ),
}

UNDOCUMENTED = {"/", "/session", "/openapi.json", "/static", "/texts/{file}"}
"""The paths of the web page, and of this document."""


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
        paths.setdefault(path, {})[method.lower()] = _operation(method, path, operation)
    return {
        "openapi": "3.1.0",
        "info": {"title": "Fotograma", "version": version("fotograma")},
        "paths": paths,
        "components": {
            "schemas": definitions["$defs"],
            "securitySchemes": {"bearer": {"type": "http", "scheme": "bearer"}},
        },
        "security": [{"bearer": []}],
    }


def _operation(method: str, path: str, operation: Operation) -> dict[str, Any]:
    document: dict[str, Any] = {
        "operationId": f"{method.lower()}{path.replace('/', '_').replace('{', '').replace('}', '').replace('.', '_')}",
        "summary": operation.summary,
        "parameters": _parameters(path, operation),
        "responses": {
            str(operation.status): _success(operation),
            "default": {
                "description": "A problem",
                "content": _content(response_schemas.Problem, "application/problem+json"),
            },
        },
    }
    if (tus := TUS_OPERATIONS.get((method, path))) is not None:
        add_tus(document, tus, _schema(response_schemas.UploadSpec))
    if operation.is_public:
        document["security"] = []
    if operation.is_multipart:
        document["requestBody"] = {"required": True, "content": {"multipart/form-data": {"schema": _FORM}}}
    if operation.body is not None:
        document["requestBody"] = {"required": True, "content": _content(operation.body, "application/json")}
    return document


def _parameters(path: str, operation: Operation) -> list[dict[str, Any]]:
    ids = [name for name in ("id", "delivery_id") if f"{{{name}}}" in path]
    parameters = [_parameter(name, "path", {"type": "string", "format": "uuid"}) for name in ids]
    if "{n}" in path:
        parameters.append(_parameter("n", "path", {"type": "integer", "minimum": 1}))
    if operation.has_idempotency_key:
        parameters.append(_parameter("Idempotency-Key", "header", {"type": "string", "maxLength": 255}))
    if operation.header is not None:
        parameters.append(_parameter(operation.header, "header", {"type": "string"}))
    if operation.query is not None:
        schema = operation.query.model_json_schema()
        named = schema.get("$defs", {})
        inlined = {"status": {"enum": named["ExtractionStatus"]["enum"], "type": "string"}} if named else {}
        parameters += [
            _parameter(name, "query", inlined.get(name, field)) for name, field in schema["properties"].items()
        ]
    return parameters


def _parameter(name: str, where: str, schema: Any) -> dict[str, Any]:
    return {"name": name, "in": where, "required": where == "path", "schema": schema}


def _success(operation: Operation) -> dict[str, Any]:
    if operation.response is None:
        return {"description": "Done"}
    if isinstance(operation.response, str):
        return {"description": "The content", "content": {operation.response: {}}}
    return {"description": "Success", "content": _content(operation.response, "application/json")}


def _content(model: type[BaseModel], media_type: str) -> dict[str, Any]:
    return {media_type: {"schema": _schema(model)}}


def _schema(model: type[BaseModel]) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{model.__name__}"}


_FORM: Mapping[str, Any] = {
    "type": "object",
    "required": ["file"],
    "properties": {
        "file": {"type": "array", "items": {"type": "string", "format": "binary"}, "minItems": 1},
        "spec": {"$ref": "#/components/schemas/FrameSpec"},
    },
    "additionalProperties": False,
}
