"""The OpenAPI document matches the routes."""

from __future__ import annotations

import json
import re
from typing import Any

from starlette.routing import Mount, Route

from serve_app.app import routes
from serve_app.openapi.document_page import CONTENT_SECURITY_POLICY, default_of, page, type_of
from serve_app.openapi.openapi_document import OPERATIONS, UNDOCUMENTED, openapi_document


def references(value: Any) -> set[str]:
    if isinstance(value, dict):
        own = {value["$ref"]} if isinstance(value.get("$ref"), str) else set()
        return own.union(*map(references, value.values()))
    if isinstance(value, list):
        return set().union(*map(references, value))
    return set()


def test_openapi_describes_exactly_the_routes() -> None:
    route_operations = {
        (method, route.path_format)
        for route in routes()
        if isinstance(route, Route) and route.path not in UNDOCUMENTED
        for method in route.methods or ()
        # HEAD is GET without content. OPTIONS answers the same at every path but those of tus.
        if method != "HEAD" and (method != "OPTIONS" or route.path.startswith("/v1/uploads"))
    }
    assert route_operations == set(OPERATIONS)
    assert {route.path for route in routes() if isinstance(route, Mount)} <= UNDOCUMENTED


def test_every_reference_has_a_target() -> None:
    schemas = openapi_document()["components"]["schemas"]
    missing = {
        ref for ref in references(openapi_document()) if ref.removeprefix("#/components/schemas/") not in schemas
    }
    assert not missing
    json.dumps(openapi_document())


def test_operation_ids_are_unique() -> None:
    ids = [operation["operationId"] for path in openapi_document()["paths"].values() for operation in path.values()]
    assert len(ids) == len(set(ids))


def test_long_specification_of_an_upload_is_documented_as_its_json_body() -> None:
    content = openapi_document()["paths"]["/v1/uploads"]["post"]["requestBody"]["content"]
    assert set(content) == {"application/json", "application/offset+octet-stream"}
    reference = content["application/json"]["schema"]["$ref"]
    body = openapi_document()["components"]["schemas"][reference.rpartition("/")[2]]
    assert list(body["properties"]) == ["spec"]
    assert body["additionalProperties"] is False


def test_every_operation_of_tus_names_its_headers_and_the_statuses_of_its_problems() -> None:
    for (method, path), operation in OPERATIONS.items():
        if not path.startswith("/v1/uploads"):
            continue
        document = openapi_document()["paths"][path][method.lower()]
        headers = {parameter["name"] for parameter in document["parameters"] if parameter["in"] == "header"}
        assert ("Tus-Resumable" in headers) is (method != "OPTIONS")
        assert "Tus-Resumable" in document["responses"][str(operation.status)]["headers"]
        assert {"500", "503"} <= set(document["responses"])


def test_document_names_its_server_its_tags_and_every_status() -> None:
    document = openapi_document()
    assert document["openapi"].startswith("3.1.")
    assert document["servers"] == [{"url": "/"}]
    tags = {tag["name"] for tag in document["tags"]}
    for path, item in document["paths"].items():
        for method, operation in item.items():
            assert set(operation["tags"]) <= tags, (method, path)
            assert "default" not in operation["responses"], (method, path)
            assert {"500", "503"} <= set(operation["responses"]), (method, path)
    assert {tag for item in document["paths"].values() for op in item.values() for tag in op["tags"]} == tags
    archive = document["paths"]["/v1/extractions/{id}/frames.zip"]["get"]["responses"]
    assert {"200", "206", "304", "307", "401", "404", "409", "410", "412", "416", "500", "503"} == set(archive)


def test_numbers_of_requests_have_their_bounds() -> None:
    schemas = openapi_document()["components"]["schemas"]
    image = schemas["Image"]["properties"]
    assert (image["quality"]["minimum"], image["quality"]["maximum"]) == (1, 100)
    (limit,) = (
        parameter["schema"]
        for parameter in openapi_document()["paths"]["/v1/videos"]["get"]["parameters"]
        if parameter["name"] == "limit"
    )
    assert (limit["minimum"], limit["maximum"]) == (1, 200)


def test_page_shows_every_operation_and_schema_and_every_link_has_its_target() -> None:
    html = page()
    targets, links = set(re.findall(r'id="([^"]+)"', html)), set(re.findall(r'href="#([^"]+)"', html))
    document = openapi_document()
    operations = {operation["operationId"] for item in document["paths"].values() for operation in item.values()}
    assert operations | {f"schema-{name}" for name in document["components"]["schemas"]} <= targets
    assert operations <= links <= targets


def test_page_needs_nothing_of_other_hosts_and_no_script() -> None:
    assert "script-src" not in CONTENT_SECURITY_POLICY
    assert "unsafe" not in CONTENT_SECURITY_POLICY
    assert not re.search(r"<script|style=|\son\w+=|https?://", page())
    assert len(page()) < 300_000


def test_schema_is_told_in_words_and_as_safe_html() -> None:
    assert type_of({"type": "integer", "minimum": 1, "maximum": 9}) == "integer, ≥ 1, ≤ 9"
    assert type_of({"anyOf": [{"$ref": "#/components/schemas/Range"}, {"type": "null"}]}) == (
        '<a href="#schema-Range">Range</a> or null'
    )
    assert type_of({"type": "array", "items": {"enum": ["<b>"]}}) == "array of <code>&#34;&lt;b&gt;&#34;</code>"
    assert (default_of({"default": "<i>"}), default_of({})) == ("<code>&#34;&lt;i&gt;&#34;</code>", "")
