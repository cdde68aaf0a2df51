"""The page `/docs`: the OpenAPI document to read. It needs no script, and loads its style from this service alone."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup, escape
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from serve_app.openapi.openapi_document import openapi_document

Schema = Mapping[str, Any]
CONTENT_SECURITY_POLICY = "; ".join(
    ["default-src 'none'", "style-src 'self'", "img-src 'self'", "base-uri 'none'", "frame-ancestors 'none'"]
)
_BOUNDS = {
    "minimum": "≥ {}",
    "exclusiveMinimum": "> {}",
    "maximum": "≤ {}",
    "exclusiveMaximum": "< {}",
    "minLength": "at least {} characters",
    "maxLength": "at most {} characters",
    "minItems": "at least {} items",
    "maxItems": "at most {} items",
    "pattern": "like {}",
}


async def show(_request: Request) -> Response:
    """GET /docs"""
    return HTMLResponse(page(), headers={"Content-Security-Policy": CONTENT_SECURITY_POLICY})


@cache
def page() -> str:
    """The whole page as HTML."""
    loader = jinja2.FileSystemLoader(Path(__file__).parent)
    environment = jinja2.Environment(loader=loader, autoescape=True, trim_blocks=True, lstrip_blocks=True)
    environment.filters |= {"type": type_of, "default": default_of}
    document = openapi_document()
    return environment.get_template("document_page.html").render(
        document=document, operations_of=_operations_by_tag(document), schemas=document["components"]["schemas"]
    )


def type_of(schema: Schema) -> Markup:
    """Returns a schema in words, as HTML: its type with its bounds. Another named schema is a link."""
    if "$ref" in schema:
        name = escape(schema["$ref"].rpartition("/")[2])
        return Markup('<a href="#schema-{0}">{0}</a>').format(name)
    for key in ("anyOf", "oneOf"):
        if key in schema:
            return Markup(" or ").join(type_of(each) for each in schema[key])
    if "enum" in schema:
        return Markup(", ").join(_code(each) for each in schema["enum"])
    if "const" in schema:
        return _code(schema["const"])
    words = [_kind(schema), *(escape(text.format(schema[key])) for key, text in _BOUNDS.items() if key in schema)]
    return Markup(", ").join(words)


def default_of(schema: Schema) -> Markup:
    """Returns the default as HTML, or nothing when there is none."""
    return _code(schema["default"]) if "default" in schema else Markup("")


def _kind(schema: Schema) -> Markup:
    kind = schema.get("type", "any value")
    if kind == "array":
        return Markup("array of ") + type_of(schema.get("items", {}))
    return escape(f"{kind} ({schema['format']})" if "format" in schema else kind)


def _code(value: object) -> Markup:
    return Markup("<code>{}</code>").format(json.dumps(value, ensure_ascii=False))


def _operations_by_tag(document: Schema) -> dict[str, list[tuple[str, str, Schema]]]:
    found: dict[str, list[tuple[str, str, Schema]]] = {tag["name"]: [] for tag in document["tags"]}
    for method, path, operation in _operations(document):
        found[operation["tags"][0]].append((method, path, operation))
    return found


def _operations(document: Schema) -> Iterator[tuple[str, str, Schema]]:
    for path, item in document["paths"].items():
        for method, operation in item.items():
            yield method.upper(), path, operation
