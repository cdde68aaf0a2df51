"""Conditional requests: a client that has the present document gets 304, and every other one gets the document."""

from __future__ import annotations

from dataclasses import replace

import httpx
import pytest

from db.cache import open_cache
from serve_app.app import create_app
from serve_app.deps import Deps
from serve_app.openapi.openapi_document import OPERATIONS, openapi_document
from tests.support.clients.api_client import make_result, open_client, publish_next_task, status_and_code, upload_video
from tests.support.clients.image_archive import png

OTHER = '"other"'
DOCUMENTS = [
    path for (method, path), operation in OPERATIONS.items() if method == "GET" and operation.has_etag
]  # fmt: skip
DOWNLOADS = [path for (method, path), operation in OPERATIONS.items() if operation.is_download]


@pytest.fixture
async def addresses(ana: httpx.AsyncClient, deps: Deps) -> dict[str, str]:
    """An address of a finished extraction, of its video or of the account, by the path in the document."""
    video = await upload_video(ana)
    await publish_next_task(deps, make_result([png((9, 9, 9))], "png"))
    ids = {"/v1/videos": video["id"], "/v1/extractions": video["extraction"]["id"]}
    return {
        path: path.replace("{id}", ids.get("/".join(path.split("/")[:3]), "")).replace("{n}", "1")
        for path in (*DOCUMENTS, *DOWNLOADS)
    }


@pytest.mark.parametrize("path", [*DOCUMENTS, *DOWNLOADS])
async def test_client_that_has_the_content_gets_304_and_another_gets_the_content(
    ana: httpx.AsyncClient, addresses: dict[str, str], path: str
) -> None:
    address = addresses[path]
    shown = await ana.get(address)
    etag = shown.headers["etag"]
    for tags in (etag, f"W/{etag}", f"{OTHER}, {etag}", "*"):
        for method in ("GET", "HEAD"):
            same = await ana.request(method, address, headers={"If-None-Match": tags})
            assert (same.status_code, same.content, same.headers["etag"]) == (304, b"", etag)
            assert same.headers["cache-control"] == shown.headers["cache-control"]
    changed = await ana.get(address, headers={"If-None-Match": OTHER})
    assert (changed.status_code, changed.content) == (200, shown.content)


@pytest.mark.parametrize("path", [*DOCUMENTS, *DOWNLOADS])
async def test_if_match_is_compared_before_if_none_match(
    ana: httpx.AsyncClient, addresses: dict[str, str], path: str
) -> None:
    address = addresses[path]
    etag = (await ana.get(address)).headers["etag"]
    assert (await ana.get(address, headers={"If-Match": etag})).status_code == 200
    refused = await ana.get(address, headers={"If-Match": OTHER, "If-None-Match": etag})
    assert status_and_code(refused) == (412, "precondition_failed")


async def test_what_changes_by_itself_changes_the_etag_but_no_condition_of_a_change(
    ana: httpx.AsyncClient, deps: Deps
) -> None:
    # A cached place in the queue may be two seconds old.
    async with open_client(create_app(replace(deps, cache=open_cache(None))), headers=ana.headers) as uncached:
        await check_what_changes_by_itself(uncached)


async def check_what_changes_by_itself(ana: httpx.AsyncClient) -> None:
    first, second = await upload_video(ana, "first.mp4"), await upload_video(ana, "second.mp4")
    addresses = [f"/v1/videos/{second['id']}", f"/v1/extractions/{second['extraction']['id']}"]
    etags = [(await ana.get(address)).headers["etag"] for address in addresses]
    account = (await ana.get("/v1/me")).headers["etag"]
    assert (await ana.delete(f"/v1/videos/{first['id']}")).status_code == 204
    for address, etag in zip(addresses, etags, strict=True):
        moved = await ana.get(address, headers={"If-None-Match": etag})
        assert moved.status_code == 200
        document = moved.json()
        assert document.get("extraction", document)["progress"]["queue_position"] == 1
    assert (await ana.get("/v1/me", headers={"If-None-Match": account})).json()["use"]["videos"] == 1
    assert (await ana.patch("/v1/me", json={"name": "Ana"}, headers={"If-Match": account})).status_code == 200
    assert (await ana.delete(addresses[0], headers={"If-Match": etags[0]})).status_code == 204


def test_document_names_the_conditions_of_each_content_with_an_etag() -> None:
    assert {"/v1/me", "/v1/videos/{id}", "/v1/extractions/{id}"} <= set(DOCUMENTS)
    for path in (*DOCUMENTS, *DOWNLOADS):
        operation = openapi_document()["paths"][path]["get"]
        assert {"200", "304", "412"} <= set(operation["responses"])
        assert "ETag" in operation["responses"]["304"]["headers"]
        assert {"If-Match", "If-None-Match"} <= {parameter["name"] for parameter in operation["parameters"]}
