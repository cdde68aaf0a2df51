"""API keys over HTTP: what they open, what they do not, and what is stored of them."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from structlog.testing import capture_logs
from uuid_utils.compat import uuid7

from db.accounts import api_keys
from serve_app.app import create_app
from serve_app.deps import Deps
from serve_app.openapi import response_schemas
from serve_app.openapi.openapi_document import OPERATIONS
from serve_app.security.api_key_secrets import RANDOM_BYTES, secret_of
from tests.support.clients.api_client import PASSWORD, log_in, open_client, status_and_code, upload_video
from tests.support.clients.event_stream_client import open_stream
from tests.support.state import database_rows, whole_account

NEW_PASSWORD = "battery staple"


async def create_key(client: httpx.AsyncClient, name: str = "a notebook") -> dict[str, Any]:
    answer = await client.post("/v1/api-keys", json={"name": name})
    assert answer.status_code == 201, answer.text
    response_schemas.NewApiKey.model_validate_json(answer.content)
    api_key: dict[str, Any] = answer.json()
    return api_key


def bearer(secret: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {secret}"}


async def last_use(deps: Deps) -> Any:
    return (await database_rows.fetch_one(deps.database, "SELECT last_used_at FROM api_keys")).last_used_at


@pytest.fixture
async def script(ana: httpx.AsyncClient, deps: Deps) -> AsyncIterator[httpx.AsyncClient]:
    """A client that authenticates by an API key of Ana's."""
    async with open_client(create_app(deps), headers=bearer((await create_key(ana))["secret"])) as client:
        yield client


async def test_secret_is_shown_once_and_only_its_hash_is_stored(ana: httpx.AsyncClient, deps: Deps) -> None:
    with capture_logs() as logs:
        api_key = await create_key(ana)
        assert (await ana.get("/v1/me", headers=bearer(api_key["secret"]))).status_code == 200
    assert "api_key.created" in repr(logs)
    listed = await ana.get("/v1/api-keys")
    page = response_schemas.ApiKeyPage.model_validate_json(listed.content)
    assert [(str(key.id), key.name) for key in page.items] == [(api_key["id"], "a notebook")]
    rows = repr(await whole_account.all_rows(deps.database))
    assert hashlib.sha256(api_key["secret"].encode()).hexdigest() in rows
    for text in (listed.text, rows, repr(logs)):
        assert api_key["secret"][-43:] not in text
    assert (await create_key(ana))["secret"] != api_key["secret"]


async def test_key_acts_as_its_account_beside_the_session_until_it_is_deleted(
    ana: httpx.AsyncClient, bob: httpx.AsyncClient
) -> None:
    api_key = await create_key(ana)
    key = bearer(api_key["secret"])
    video = await upload_video(ana)
    assert (await bob.get(f"/v1/videos/{video['id']}", headers=key)).json()["id"] == video["id"]
    assert status_and_code(await bob.delete(f"/v1/api-keys/{api_key['id']}")) == (404, "not_found")
    assert (await bob.get("/v1/api-keys")).json() == {"items": [], "next_cursor": None}
    assert (await ana.delete(f"/v1/api-keys/{api_key['id']}")).status_code == 204
    assert status_and_code(await bob.get(f"/v1/videos/{video['id']}", headers=key)) == (401, "unauthenticated")
    assert status_and_code(await ana.delete(f"/v1/api-keys/{api_key['id']}")) == (404, "not_found")
    assert (await ana.get(f"/v1/videos/{video['id']}")).status_code == 200


async def test_text_that_is_not_the_whole_secret_is_refused(ana: httpx.AsyncClient) -> None:
    secret = (await create_key(ana))["secret"]
    other_end = secret[:-1] + ("A" if secret[-1] != "A" else "B")
    unknown = secret_of(uuid7(), bytes(RANDOM_BYTES))
    for wrong in (
        other_end,
        unknown,
        secret[:-1],
        secret + "A",
        secret.upper(),
        secret.removeprefix("fg_"),
        "fg_",
        "fg_é",
    ):
        header = {b"Authorization": f"Bearer {wrong}".encode()}
        assert status_and_code(await ana.get("/v1/me", headers=header)) == (401, "unauthenticated"), wrong
    assert (await ana.get("/v1/me", headers=bearer(secret))).status_code == 200


async def test_key_is_refused_exactly_where_the_document_says_so(script: httpx.AsyncClient) -> None:
    refused = set()
    for method, path in OPERATIONS:
        # The stream of events would not end.
        sent = "HEAD" if path == "/v1/events" else method
        url = path.format(id=uuid7(), delivery_id=uuid7(), n=1, name="slides")
        answer = await script.request(sent, url, headers={"Tus-Resumable": "1.0.0"}, json={})
        assert answer.status_code not in {401, 500}, (method, path)
        if answer.status_code == 403 and answer.json()["code"] == "session_required":
            refused.add((method, path))
    assert refused == {call for call, operation in OPERATIONS.items() if operation.needs_session}
    assert len(refused) == 5


async def test_key_can_neither_multiply_nor_take_the_account_over(
    script: httpx.AsyncClient, ana: httpx.AsyncClient
) -> None:
    (listed,) = (await script.get("/v1/api-keys")).json()["items"]
    for method, path, body in (
        ("POST", "/v1/api-keys", {"name": "second"}),
        ("DELETE", f"/v1/api-keys/{listed['id']}", None),
        ("POST", "/v1/me/password", {"current": PASSWORD, "new": NEW_PASSWORD}),
        ("DELETE", "/v1/me", {"password": PASSWORD}),
        ("DELETE", "/v1/tokens", None),
    ):
        assert status_and_code(await script.request(method, path, json=body)) == (403, "session_required")
    assert len((await ana.get("/v1/api-keys")).json()["items"]) == 1
    await log_in(ana)


async def test_new_password_keeps_the_keys(script: httpx.AsyncClient, ana: httpx.AsyncClient) -> None:
    changed = await ana.post("/v1/me/password", json={"current": PASSWORD, "new": NEW_PASSWORD})
    assert changed.status_code == 204
    assert (await script.get("/v1/me")).status_code == 200


async def test_keys_end_with_their_account(script: httpx.AsyncClient, ana: httpx.AsyncClient, deps: Deps) -> None:
    assert (await script.get("/v1/me")).status_code == 200
    assert (await ana.request("DELETE", "/v1/me", json={"password": PASSWORD})).status_code == 204
    assert status_and_code(await script.get("/v1/me")) == (401, "unauthenticated")
    assert (await database_rows.fetch_one(deps.database, "SELECT count(*) AS n FROM api_keys")).n == 0


async def test_use_is_recorded_once_in_some_minutes(script: httpx.AsyncClient, deps: Deps) -> None:
    assert await last_use(deps) is None
    await asyncio.gather(*(script.get("/v1/me") for _ in range(5)))
    first = await last_use(deps)
    assert first is not None
    (listed,) = (await script.get("/v1/api-keys")).json()["items"]
    assert listed["last_used_at"] == first.isoformat().replace("+00:00", "Z")
    assert await last_use(deps) == first
    minutes = api_keys.USE_MINUTES + 1
    earlier = f"UPDATE api_keys SET last_used_at = now() - interval '{minutes} minutes'"
    await database_rows.execute(deps.database, earlier)
    await script.get("/v1/me")
    assert await last_use(deps) > first


async def test_wrong_secret_does_not_count_as_a_use(ana: httpx.AsyncClient, deps: Deps) -> None:
    secret = (await create_key(ana))["secret"]
    await ana.get("/v1/me", headers=bearer(secret[:-4] + "AAAA"))
    assert await last_use(deps) is None


async def test_keys_are_listed_newest_first_in_pages(ana: httpx.AsyncClient) -> None:
    ids = [(await create_key(ana))["id"] for _ in range(3)]
    first = (await ana.get("/v1/api-keys", params={"limit": "2"})).json()
    second = (await ana.get("/v1/api-keys", params={"limit": "2", "cursor": first["next_cursor"]})).json()
    assert [key["id"] for key in first["items"] + second["items"]] == ids[::-1]
    assert second["next_cursor"] is None


async def test_keys_per_account_are_limited(
    ana: httpx.AsyncClient, bob: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(api_keys, "MAX_API_KEYS", 2)
    answers = await asyncio.gather(*(ana.post("/v1/api-keys", json={"name": "n"}) for _ in range(4)))
    assert sorted(answer.status_code for answer in answers) == [201, 201, 429, 429]
    refused = await ana.post("/v1/api-keys", json={"name": "n"})
    assert status_and_code(refused) == (429, "too_many_api_keys")
    assert int(refused.headers["retry-after"]) > 0
    await create_key(bob)
    created = next(answer.json() for answer in answers if answer.status_code == 201)
    assert (await ana.delete(f"/v1/api-keys/{created['id']}")).status_code == 204
    await create_key(ana)


@pytest.mark.parametrize(
    "body", [{}, {"name": ""}, {"name": "x" * 201}, {"name": "a\nb"}, {"name": 5}, {"name": "n", "secret": "mine"}]
)
async def test_invalid_key_is_refused(ana: httpx.AsyncClient, body: dict[str, Any]) -> None:
    assert status_and_code(await ana.post("/v1/api-keys", json=body)) == (422, "invalid_field")
    assert (await ana.get("/v1/api-keys")).json()["items"] == []


async def test_stream_of_events_ends_when_its_key_is_deleted(ana: httpx.AsyncClient, port: int) -> None:
    api_key = await create_key(ana)
    async with open_stream(port, bearer(api_key["secret"])) as stream:
        await stream.wait_for_id()
        video = await upload_video(ana)
        assert (await stream.next_extraction())["id"] == video["extraction"]["id"]
        await ana.delete(f"/v1/api-keys/{api_key['id']}")
        await stream.wait_for_end()
