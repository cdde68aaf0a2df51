"""One operation as an object of the OpenAPI document: parameters, body, and every status that can come."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from pydantic import BaseModel

from serve_app.openapi import response_schemas
from serve_app.openapi.preset_schemas import NAME_PARAMETER
from serve_app.openapi.tus_operations import TUS_OPERATIONS, add_tus

_ETAG = {"ETag": {"schema": {"type": "string"}}}
_PREVIEW_FRAMES: Mapping[str, Any] = {"Preview-Frames": {"schema": {"type": "integer", "minimum": 1}}}
_STATUS_HEADERS: Mapping[int, Mapping[str, Any]] = {
    206: {"Content-Range": {"schema": {"type": "string"}}, **_ETAG},
    304: _ETAG,
    307: {"Location": {"schema": {"type": "string", "format": "uri"}}},
    401: {"WWW-Authenticate": {"schema": {"type": "string"}}},
    413: {"Retry-After": {"schema": {"type": "integer", "minimum": 1}}},
    416: {"Content-Range": {"schema": {"type": "string"}}},
    429: {"Retry-After": {"schema": {"type": "integer", "minimum": 1}}},
    503: {"Retry-After": {"schema": {"type": "integer", "minimum": 1}}},
    507: {"Retry-After": {"schema": {"type": "integer", "minimum": 1}}},
}
_WITHOUT_PROBLEM = {304: "What the client has is current", 307: "The content is at Location, for a while"}
_OF_A_BODY = (400, 408, 413, 415, 422)
_OF_A_DOWNLOAD = (304, 409, 410, 412, 416)
_CONDITIONS = ("If-Match", "If-None-Match")
_DOWNLOAD_HEADERS = ("Range", "If-Range", *_CONDITIONS)
_NEEDS_SESSION = "Needs a session: an API key is answered with 403 `session_required`."
_UNSAFE = {"POST", "PUT", "PATCH", "DELETE"}
_TAG_OF_PREFIX: Mapping[str, str] = {
    "/v1/users": "Account",
    "/v1/me": "Account",
    "/v1/tokens": "Sessions",
    "/v1/api-keys": "API keys",
    "/v1/presets": "Presets",
    "/v1/videos": "Videos",
    "/v1/uploads": "Uploads",
    "/v1/estimates": "Extractions",
    "/v1/extractions": "Extractions",
    "/v1/events": "Live",
    "/v1/webhooks": "Webhooks",
    "/v1/admin": "Administration",
    "/": "Operations",
}
TAGS: Mapping[str, str] = {
    "Account": "The account, its export and its erasure.",
    "Sessions": "Log in, stay logged in, log out.",
    "API keys": "Long-lived secrets for scripts.",
    "Presets": "Frame specifications under names.",
    "Videos": "Uploaded videos.",
    "Uploads": "Resumable uploads by tus 1.0.0.",
    "Extractions": "Runs of a frame specification over a video.",
    "Results": "The images of an extraction, and what tells about them.",
    "Live": "Changes as they happen.",
    "Webhooks": "Where notifications go.",
    "Administration": "For accounts with the role `admin`.",
    "Operations": "Whether the service works.",
}


@dataclass(frozen=True, slots=True)
class Operation:
    """One method of one path.

    status, response: of success; the response is a model, a media type, or empty. body: the model of a JSON body.
    headers: optional headers that it reads. problems: the statuses of its errors beside those that follow from the
    other fields. is_download: whether it sends a range of a content with an ETag. has_etag: whether its success has an
    ETag, which GET compares with If-Match and If-None-Match. has_idempotency_key: whether it reads Idempotency-Key.
    creates: whether its success is 201 when the resource is new. has_preview: whether Preview-Frames may tell that its
    content is a preview. is_public: whether it needs no account. needs_session: whether it refuses an API key.
    """

    summary: str
    status: int
    response: type[BaseModel] | str | None = None
    body: type[BaseModel] | None = None
    query: type[BaseModel] | None = None
    headers: Sequence[str] = ()
    problems: Sequence[int] = ()
    is_download: bool = False
    has_etag: bool = False
    has_idempotency_key: bool = False
    creates: bool = False
    has_preview: bool = False
    is_public: bool = False
    needs_session: bool = False
    is_multipart: bool = False


def tag_of(path: str, operation: Operation) -> str:
    """Returns the heading under which an operation is shown."""
    if operation.is_download or path.endswith("/timeline"):
        return "Results"
    return next(tag for prefix, tag in _TAG_OF_PREFIX.items() if path.startswith(prefix))


def operation_document(method: str, path: str, operation: Operation) -> dict[str, Any]:
    """Returns the Operation Object of OpenAPI 3.1."""
    document: dict[str, Any] = {
        "operationId": f"{method.lower()}{path.replace('/', '_').replace('{', '').replace('}', '').replace('.', '_')}",
        "summary": operation.summary,
        "tags": [tag_of(path, operation)],
        "parameters": _parameters(method, path, operation),
        "responses": _responses(method, path, operation),
    }
    if (tus := TUS_OPERATIONS.get((method, path))) is not None:
        add_tus(document, tus, _schema(response_schemas.UploadSpec), _problem)
    if operation.is_public:
        document["security"] = []
    if operation.needs_session:
        document["description"] = _NEEDS_SESSION
    if operation.is_multipart:
        document["requestBody"] = {"required": True, "content": {"multipart/form-data": {"schema": _VIDEO_UPLOAD}}}
    if operation.body is not None:
        document["requestBody"] = {"required": True, "content": _content(operation.body, "application/json")}
    return document


def _responses(method: str, path: str, operation: Operation) -> dict[str, Any]:
    responses = {str(operation.status): _success(operation)}
    if operation.is_download:
        responses["206"] = {**responses["200"], "description": "The range", "headers": dict(_STATUS_HEADERS[206])}
    if operation.creates:
        responses["201"] = {**responses["200"], "description": "Created"}
    if (method, path) not in TUS_OPERATIONS:
        for status in sorted(set(_other_statuses(method, path, operation))):
            responses[str(status)] = _problem(status)
    return responses


def _other_statuses(method: str, path: str, operation: Operation) -> Iterator[int]:
    yield from (500, 503, *operation.problems)
    if not operation.is_public:
        yield 401
        # A cookie on a request of another site's page.
        yield from (403,) if method in _UNSAFE else ()
    if "{" in path:
        yield 404
    if operation.query is not None:
        yield 422
    if operation.body is not None or operation.is_multipart:
        yield from _OF_A_BODY
    if operation.has_idempotency_key:
        yield from (409, 422)
    if operation.is_download:
        yield from _OF_A_DOWNLOAD
    if _is_conditional_document(method, operation):
        yield from (304, 412)


def _is_conditional_document(method: str, operation: Operation) -> bool:
    return method == "GET" and operation.has_etag


def _problem(status: int) -> dict[str, Any]:
    """The Response Object of a status other than success."""
    if status in _WITHOUT_PROBLEM:
        return {"description": _WITHOUT_PROBLEM[status], "headers": dict(_STATUS_HEADERS[status])}
    names = {460: "Checksum Mismatch", 507: "Insufficient Storage"}
    document = {
        "description": names.get(status) or HTTPStatus(status).phrase,
        "content": _content(response_schemas.Problem, "application/problem+json"),
    }
    return document | ({"headers": dict(_STATUS_HEADERS[status])} if status in _STATUS_HEADERS else {})


def _parameters(method: str, path: str, operation: Operation) -> list[dict[str, Any]]:
    ids = [name for name in ("id", "delivery_id") if f"{{{name}}}" in path]
    parameters = [_parameter(name, "path", {"type": "string", "format": "uuid"}) for name in ids]
    if "{name}" in path:
        parameters.append(_parameter("name", "path", NAME_PARAMETER))
    if "{n}" in path:
        parameters.append(_parameter("n", "path", {"type": "integer", "minimum": 1, "maximum": 999_999_999}))
    if operation.has_idempotency_key:
        key = {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[!-~]+$"}
        parameters.append(_parameter("Idempotency-Key", "header", key))
    headers = (*operation.headers, *(_DOWNLOAD_HEADERS if operation.is_download else ()))
    headers += _CONDITIONS if _is_conditional_document(method, operation) else ()
    parameters += [_parameter(name, "header", {"type": "string"}) for name in headers]
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
    sent = {
        **(_ETAG if operation.has_etag or operation.is_download else {}),
        **(_PREVIEW_FRAMES if operation.has_preview else {}),
    }
    headers = {"headers": sent} if sent else {}
    if operation.response is None:
        return {"description": "Done", **headers}
    if isinstance(operation.response, str):
        return {"description": "The content", "content": {operation.response: {}}, **headers}
    return {"description": "Success", "content": _content(operation.response, "application/json"), **headers}


def _content(model: type[BaseModel], media_type: str) -> dict[str, Any]:
    return {media_type: {"schema": _schema(model)}}


def _schema(model: type[BaseModel]) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{model.__name__}"}


_VIDEO_UPLOAD = {"$ref": "#/components/schemas/VideoUpload"}
NAMED_SCHEMAS: Mapping[str, Mapping[str, Any]] = {
    "VideoUpload": {
        "type": "object",
        "description": "The parts of POST /v1/videos.",
        "required": ["file"],
        "properties": {
            "file": {"type": "array", "items": {"type": "string", "format": "binary"}, "minItems": 1},
            "spec": {"$ref": "#/components/schemas/FrameSpec"},
        },
        "additionalProperties": False,
    },
}
"""Schemas of bodies that no model describes."""
