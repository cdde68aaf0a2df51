"""Presets over HTTP: saved, replaced, listed and deleted by their account, under names that are checked."""

from __future__ import annotations

import asyncio
from typing import Any
from urllib.parse import quote

import httpx
import pytest

from db.accounts import presets
from serve_app.deps import Deps
from serve_app.openapi import preset_schemas
from tests.support.clients.api_client import PASSWORD, status_and_code
from tests.support.state import database_rows

KEYFRAMES: dict[str, Any] = {"sample": {"mode": "keyframes"}}
COMPLETE = {
    "sample": {"mode": "keyframes"},
    "range": {"start": 0, "end": None},
    "image": {"format": "jpeg", "quality": 90, "max_side": None, "names": "time"},
    "snap": "exact",
    "max_frames": None,
}


async def save(client: httpx.AsyncClient, name: str, spec: Any = KEYFRAMES) -> httpx.Response:
    return await client.put(f"/v1/presets/{quote(name, safe='')}", json={"spec": spec})


async def names(client: httpx.AsyncClient) -> list[str]:
    answer = await client.get("/v1/presets")
    return [preset.name for preset in preset_schemas.Presets.model_validate_json(answer.content).items]


async def test_preset_is_created_then_replaced_and_deleted_once(ana: httpx.AsyncClient) -> None:
    created = await save(ana, "Só as chaves, 100%?")
    assert created.status_code == 201, created.text
    assert (created.json()["name"], created.json()["spec"]) == ("Só as chaves, 100%?", COMPLETE)
    replaced = await save(ana, "Só as chaves, 100%?", {"sample": {"mode": "all"}})
    assert replaced.status_code == 200
    assert replaced.json()["created_at"] == created.json()["created_at"]
    assert replaced.json()["updated_at"] > created.json()["updated_at"]
    assert (await ana.get("/v1/presets")).json() == {"items": [replaced.json()]}
    path = f"/v1/presets/{quote('Só as chaves, 100%?', safe='')}"
    assert (await ana.delete(path)).status_code == 204
    assert status_and_code(await ana.delete(path)) == (404, "not_found")
    assert await names(ana) == []


async def test_decimals_of_a_preset_keep_every_digit(ana: httpx.AsyncClient) -> None:
    body = '{"spec": {"sample": {"mode": "fps", "fps": 29.970029970029970029}}}'
    headers = {"Content-Type": "application/json"}
    assert '"fps":29.970029970029970029}' in (await ana.put("/v1/presets/exact", content=body, headers=headers)).text
    assert '"fps":29.970029970029970029}' in (await ana.get("/v1/presets")).text


async def test_account_neither_sees_nor_changes_the_presets_of_another(
    ana: httpx.AsyncClient, bob: httpx.AsyncClient
) -> None:
    await save(ana, "slides")
    assert await names(bob) == []
    assert status_and_code(await bob.delete("/v1/presets/slides")) == (404, "not_found")
    assert (await save(bob, "slides", {})).status_code == 201
    (preset,) = (await ana.get("/v1/presets")).json()["items"]
    assert preset["spec"] == COMPLETE
    del ana.headers["authorization"]
    assert status_and_code(await save(ana, "slides")) == (401, "unauthenticated")


@pytest.mark.parametrize(
    ("name", "rule"),
    [
        ("x" * 61, "1 to 60 characters"),
        ("", "1 to 60 characters"),
        ("-x", "begin with a letter or a digit"),
        (" x", "begin with a letter or a digit"),
        ("%2e%2e", "begin with a letter or a digit"),
        ("a/b", "no slash"),
        ("a\tb", "no control character"),
        ("a\x00", "no control character"),
        ("a\u202eb", "no control character"),
        ("a ", "not end with a space"),
    ],
)
async def test_wrong_name_is_refused_with_the_rule_that_it_breaks(ana: httpx.AsyncClient, name: str, rule: str) -> None:
    for answer in (await save(ana, name), await ana.delete(f"/v1/presets/{quote(name, safe='')}")):
        assert status_and_code(answer) == (422, "invalid_field")
        assert answer.json()["detail"].startswith("name: ")
        assert rule in answer.json()["detail"]
    assert await names(ana) == []


async def test_name_of_60_characters_is_the_same_however_its_accents_are_written(ana: httpx.AsyncClient) -> None:
    assert (await save(ana, "e\u0301" * 60)).status_code == 201
    assert (await save(ana, "\u00e9" * 60)).status_code == 200
    assert await names(ana) == ["\u00e9" * 60]


@pytest.mark.parametrize(
    ("body", "status", "code", "detail"),
    [
        ({}, 422, "invalid_field", "spec: Field required."),
        ([], 422, "invalid_field", "body: Must be an object."),
        ({"spec": {}, "name": "x"}, 422, "invalid_field", "name: Unknown field."),
        ({"spec": {"sample": {"mode": "fps", "fps": 0}}}, 422, "invalid_spec", "sample.fps must be greater than 0"),
        ({"spec": None}, 422, "invalid_spec", "spec"),
        ({"spec": {"sample": {"mode": "timestamps", "at": list(range(9000))}}}, 413, "too_large", "40000 bytes"),
    ],
)
async def test_wrong_specification_is_refused_as_that_of_a_submission(
    ana: httpx.AsyncClient, body: Any, status: int, code: str, detail: str
) -> None:
    answer = await ana.put("/v1/presets/slides", json=body)
    assert status_and_code(answer) == (status, code)
    assert detail in answer.json()["detail"]
    assert await names(ana) == []


async def test_presets_per_account_are_limited_and_a_full_account_still_replaces_its_own(
    ana: httpx.AsyncClient, bob: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(presets, "MAX_PRESETS", 2)
    answers = await asyncio.gather(*(save(ana, name) for name in ("a", "b", "c", "d")))
    assert sorted(answer.status_code for answer in answers) == [201, 201, 429, 429]
    refused = next(answer for answer in answers if answer.status_code == 429)
    assert status_and_code(refused) == (429, "too_many_presets")
    first, _ = await names(ana)
    assert (await save(ana, first, {})).status_code == 200
    assert (await save(bob, "a")).status_code == 201
    await ana.delete(f"/v1/presets/{first}")
    assert (await save(ana, "e")).status_code == 201


async def test_presets_are_erased_with_their_account(ana: httpx.AsyncClient, deps: Deps) -> None:
    await save(ana, "slides")
    assert (await ana.request("DELETE", "/v1/me", json={"password": PASSWORD})).status_code == 204
    assert (await database_rows.fetch_one(deps.database, "SELECT count(*) AS n FROM presets")).n == 0
