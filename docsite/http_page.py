"""`docs/reference/http.md`: the operations and schemas of the HTTP API, from its OpenAPI document."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from docsite.json_schema import default_of, type_of
from docsite.markdown import code, page, table
from serve_app.openapi.openapi_document import openapi_document

_INTRO = """# HTTP API

What the service's own `/openapi.json` says. [HTTP](../clients.md#http) shows it with curl. Every error is a problem
object with a `code` of the [catalogue](errors.md).
"""
_METHODS = ("get", "head", "post", "put", "patch", "delete", "options")


def http_page() -> str:
    """The whole document, in Markdown."""
    document = openapi_document()
    schemas = document["components"]["schemas"]
    operations = [
        (method.upper(), path, item[method])
        for path, item in document["paths"].items()
        for method in _METHODS
        if method in item
    ]
    index = [
        (f"[{_title(method, path)}](#{_anchor(method, path)})", each["summary"]) for method, path, each in operations
    ]
    return page(
        _INTRO,
        "## Operations",
        table(("operation", "what it does"), index),
        *(_operation(method, path, each) for method, path, each in operations),
        "## Schemas",
        *(_schema(name, schema, schemas) for name, schema in sorted(schemas.items()) if "enum" not in schema),
    )


def _title(method: str, path: str) -> str:
    return f"{method} {path}"


def _anchor(method: str, path: str) -> str:
    return "".join(sign for sign in _title(method, path).lower().replace(" ", "-") if sign.isalnum() or sign in "-_")


def _operation(method: str, path: str, operation: Mapping[str, Any]) -> str:
    schemas = openapi_document()["components"]["schemas"]
    parameters = [
        (
            code(each["name"]),
            each["in"],
            type_of(each["schema"], schemas) + (", required" if each["required"] else ""),
            each.get("description", ""),
        )
        for each in operation.get("parameters", ())
    ]
    return page(
        f"### {_title(method, path)}",
        f"{operation['summary']}." + ("" if operation.get("security", True) else " Needs no account."),
        str(operation.get("description", "")),
        table(("parameter", "in", "type", "meaning"), parameters),
        *(f"Body: {each}." for each in _contents(operation.get("requestBody", {}), schemas)),
        table(("status", "body"), _responses(operation, schemas)),
    )


def _responses(operation: Mapping[str, Any], schemas: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for status, response in operation["responses"].items():
        bodies = " or ".join(_contents(response, schemas))
        headers = ", ".join(code(name) for name in response.get("headers", ()))
        yield (
            status,
            ". ".join(text for text in (bodies or response["description"], headers and f"Headers: {headers}") if text),
        )


def _contents(holder: Mapping[str, Any], schemas: Mapping[str, Any]) -> Iterator[str]:
    for media_type, content in holder.get("content", {}).items():
        schema = content.get("schema")
        yield code(media_type) + (f" {type_of(schema, schemas)}" if schema else "")


def _schema(name: str, schema: Mapping[str, Any], schemas: Mapping[str, Any]) -> str:
    required = set(schema.get("required", ()))
    rows = [
        (
            code(field),
            type_of(each, schemas) + ("" if field in required else ", optional"),
            default_of(each),
            each.get("description", ""),
        )
        for field, each in schema.get("properties", {}).items()
    ]
    return page(f"### {name}", schema.get("description", ""), table(("field", "type", "default", "meaning"), rows))
