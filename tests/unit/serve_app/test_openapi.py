"""The OpenAPI document matches the routes."""

from __future__ import annotations

import json
from typing import Any

from starlette.routing import Mount, Route

from serve_app.app import routes
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
        (method, route.path)
        for route in routes()
        if isinstance(route, Route) and route.path not in UNDOCUMENTED
        for method in route.methods or ()
        if method != "HEAD"
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
