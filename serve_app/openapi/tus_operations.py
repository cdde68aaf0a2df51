"""What the operations of tus have beside those with JSON: headers, bytes as bodies, and the status of every problem."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from serve_app.http.tus_headers import CHUNK_TYPE, EXTENSIONS, VERSION

_NUMBER = {"type": "integer", "minimum": 0}
_TEXT = {"type": "string"}
_SCHEMAS: Mapping[str, Mapping[str, Any]] = {
    "Tus-Resumable": {"const": VERSION},
    "Tus-Version": _TEXT,
    "Tus-Extension": {"const": ",".join(EXTENSIONS)},
    "Tus-Max-Size": _NUMBER,
    "Tus-Checksum-Algorithm": _TEXT,
    "Upload-Length": _NUMBER,
    "Upload-Defer-Length": {"type": "string", "pattern": "^1$"},
    "Upload-Offset": _NUMBER,
    "Upload-Metadata": _TEXT,
    "Upload-Checksum": _TEXT,
    "Upload-Expires": _TEXT,
    "Upload-Limit": {"type": "string", "pattern": "^max-append-size=[0-9]+$"},
    "X-HTTP-Method-Override": {"enum": ["PATCH", "DELETE", "HEAD"]},
    "Location": {"type": "string", "format": "uri-reference"},
    "Video-Location": {"type": "string", "format": "uri-reference"},
}
_PROBLEMS_OF_ALL = (401, 403, 412, 500, 503)
_PROBLEMS_OF_ONE = (*_PROBLEMS_OF_ALL, 404, 410)
_PROBLEMS_OF_BYTES = (400, 408, 409, 411, 413, 422, 429, 460, 507)


@dataclass(frozen=True, slots=True)
class TusOperation:
    """required, optional: headers of the request. answered: headers of its success. problems: statuses of its errors.

    bodies: what may be sent, as content types. other_success: a second status of success.
    """

    required: Sequence[str] = ("Tus-Resumable",)
    optional: Sequence[str] = ()
    answered: Sequence[str] = ()
    problems: Sequence[int] = _PROBLEMS_OF_ALL
    bodies: Sequence[str] = ()
    other_success: int | None = None


_POSITION = ("Tus-Resumable", "Upload-Offset", "Upload-Expires", "Upload-Limit", "Video-Location")
_DISCOVERY = TusOperation(
    required=(),
    answered=(
        "Tus-Resumable",
        "Tus-Version",
        "Tus-Extension",
        "Tus-Max-Size",
        "Tus-Checksum-Algorithm",
        "Upload-Limit",
    ),
    problems=(500, 503),
)
_APPEND = TusOperation(
    required=("Tus-Resumable", "Upload-Offset"),
    optional=("Upload-Checksum", "Upload-Length"),
    answered=_POSITION,
    problems=(*_PROBLEMS_OF_ONE, *_PROBLEMS_OF_BYTES, 415),
    bodies=(CHUNK_TYPE,),
)

TUS_OPERATIONS: Mapping[tuple[str, str], TusOperation] = {
    ("OPTIONS", "/v1/uploads"): _DISCOVERY,
    ("OPTIONS", "/v1/uploads/{id}"): _DISCOVERY,
    ("POST", "/v1/uploads"): TusOperation(
        optional=("Upload-Length", "Upload-Defer-Length", "Upload-Metadata", "Upload-Checksum"),
        answered=("Location", *_POSITION),
        problems=(*_PROBLEMS_OF_ALL, *_PROBLEMS_OF_BYTES, 410),
        bodies=("application/json", CHUNK_TYPE),
    ),
    ("GET", "/v1/uploads/{id}"): TusOperation(
        answered=(*_POSITION, "Upload-Length", "Upload-Defer-Length", "Upload-Metadata"), problems=_PROBLEMS_OF_ONE
    ),
    ("PATCH", "/v1/uploads/{id}"): _APPEND,
    ("DELETE", "/v1/uploads/{id}"): TusOperation(answered=("Tus-Resumable",), problems=(*_PROBLEMS_OF_ONE, 409)),
    ("POST", "/v1/uploads/{id}"): TusOperation(
        required=("Tus-Resumable", "X-HTTP-Method-Override"),
        optional=("Upload-Offset", "Upload-Checksum", "Upload-Length"),
        answered=_POSITION,
        problems=(*_APPEND.problems, 405),
        bodies=(CHUNK_TYPE,),
        other_success=200,
    ),
}


def add_tus(
    document: dict[str, Any],
    operation: TusOperation,
    json_body: Mapping[str, Any],
    problem: Callable[[int], dict[str, Any]],
) -> None:
    """Adds it to the OpenAPI document of an operation.

    json_body: the schema of a body in JSON. problem: returns the response of an error by its status.
    """
    for names, required in ((operation.required, True), (operation.optional, False)):
        document["parameters"] += [
            {"name": name, "in": "header", "required": required, "schema": dict(_SCHEMAS[name])} for name in names
        ]
    responses = document["responses"]
    for success in [status for status in responses if status.startswith("2")]:
        responses[success]["headers"] = {name: {"schema": dict(_SCHEMAS[name])} for name in operation.answered}
        if operation.other_success is not None:
            responses[str(operation.other_success)] = responses[success]
    for status in sorted(set(operation.problems)):
        responses[str(status)] = problem(status)
    if operation.bodies:
        bytes_schema = {"type": "string", "format": "binary"}
        document["requestBody"] = {
            "required": operation.bodies == (CHUNK_TYPE,),
            "content": {
                name: {"schema": dict(json_body if name == "application/json" else bytes_schema)}
                for name in operation.bodies
            },
        }
