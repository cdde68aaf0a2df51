"""Accounts as admins see them: list, quotas of their own, disable and enable."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from db.acceptance.quotas import Quotas
from db.accounts import accounts
from serve_app.app import create_app
from serve_app.deps import Deps
from serve_app.openapi import admin_schemas
from tests.support.clients import tus_client
from tests.support.clients.api_client import (
    MP4,
    PASSWORD,
    log_in,
    make_result,
    open_client,
    publish_next_task,
    status_and_code,
    upload_video,
    upload_videos,
)
from tests.support.clients.limited_api import open_limited_api

ADMIN_PATHS = ("ledger", "queue", "workers", "users", "users/01890000-0000-7000-8000-000000000000", "users/x")
NO_LIMIT = {"waiting": None, "stored_bytes": None, "minutes_per_day": None}
UNKNOWN_ID = "01890000-0000-7000-8000-000000000000"


@pytest.fixture
async def admin(ana: httpx.AsyncClient, deps: Deps) -> httpx.AsyncClient:
    """Ana's client, after she was promoted."""
    await accounts.set_role(deps.database, "ana@example.org", accounts.ADMIN)
    return ana


@pytest.fixture
async def bob(deps: Deps) -> AsyncIterator[httpx.AsyncClient]:
    async with open_client(create_app(deps)) as client:
        await log_in(client, "bob@example.org")
        yield client


async def id_of(client: httpx.AsyncClient) -> str:
    return str((await client.get("/v1/me")).json()["id"])


@pytest.mark.parametrize("path", ADMIN_PATHS)
async def test_ordinary_accounts_and_visitors_are_refused(ana: httpx.AsyncClient, deps: Deps, path: str) -> None:
    assert status_and_code(await ana.get(f"/v1/admin/{path}")) == (404, "not_found")
    async with open_client(create_app(deps)) as visitor:
        assert status_and_code(await visitor.get(f"/v1/admin/{path}")) == (401, "unauthenticated")


async def test_ordinary_account_can_not_change_its_own_quotas(ana: httpx.AsyncClient) -> None:
    path = f"/v1/admin/users/{await id_of(ana)}"
    assert status_and_code(await ana.patch(path, json={"quotas": NO_LIMIT})) == (404, "not_found")


async def test_search_with_a_zero_character_finds_nothing(admin: httpx.AsyncClient) -> None:
    assert (await admin.get("/v1/admin/users", params={"q": "an\0a"})).json()["items"] == []
    assert len((await admin.get("/v1/admin/users", params={"q": "an"})).json()["items"]) == 1


async def test_list_has_each_account_with_its_use(admin: httpx.AsyncClient, bob: httpx.AsyncClient, deps: Deps) -> None:
    await upload_video(bob)
    result = make_result([b"one"])
    await publish_next_task(deps, result)
    await upload_video(bob, "second.mp4")
    answer = await admin.get("/v1/admin/users")
    page = admin_schemas.ManagedAccountPage.model_validate_json(answer.content)
    assert [(account.email, account.role) for account in page.items] == [
        ("bob@example.org", "user"),
        ("ana@example.org", "admin"),
    ]
    used = page.items[0].use
    stored = 2 * len(MP4) + len(result.archive)
    assert (used.videos, used.waiting, used.stored_bytes) == (2, 1, stored)
    assert used.minutes_per_day == round(2.0 / 60, 2)
    assert (page.items[1].use.videos, page.items[1].use.stored_bytes, page.next_cursor) == (0, 0, None)


async def test_list_is_paged_and_searched_in_email_and_name(admin: httpx.AsyncClient, bob: httpx.AsyncClient) -> None:
    await bob.patch("/v1/me", json={"name": "Bob_the 100% Builder"})
    first = (await admin.get("/v1/admin/users", params={"limit": "1"})).json()
    query = {"limit": "1", "cursor": first["next_cursor"]}
    second = (await admin.get("/v1/admin/users", params=query)).json()
    assert [page["items"][0]["email"] for page in (first, second)] == ["bob@example.org", "ana@example.org"]
    assert second["next_cursor"] is None
    for words, emails in (
        ("BOB@", ["bob@example.org"]),
        ("100% b", ["bob@example.org"]),
        ("_", ["bob@example.org"]),
        ("nobody", []),
        ("", ["bob@example.org", "ana@example.org"]),
    ):
        found = (await admin.get("/v1/admin/users", params={"q": words})).json()["items"]
        assert [account["email"] for account in found] == emails, words
    for wrong in ({"cursor": "x"}, {"limit": "0"}, {"q": "x" * 255}, {"more": "1"}):
        assert status_and_code(await admin.get("/v1/admin/users", params=wrong)) == (422, "invalid_field")


async def test_own_quotas_hold_from_the_next_request_on_and_are_taken_away_again(deps: Deps, tmp_path: Path) -> None:
    async with open_limited_api(deps, tmp_path, quotas=Quotas(waiting=2)) as (limited, bob):
        await accounts.set_role(limited.database, "ana@example.org", accounts.ADMIN)
        path = f"/v1/admin/users/{await id_of(bob)}"
        two = [("a.mp4", MP4), ("b.mp4", MP4)]

        async def change(quotas: object) -> dict[str, object]:
            answer = await bob.patch(path, json={"quotas": quotas})
            assert answer.status_code == 200, answer.text
            account = admin_schemas.ManagedAccount.model_validate_json(answer.content)
            shown = (await bob.get("/v1/me")).json()["quotas"]
            assert shown == account.quotas.model_dump()
            return {"own": account.has_own_quotas, **shown}

        one = NO_LIMIT | {"waiting": 1}
        assert await change(one) == {"own": True, **one}
        assert status_and_code(await upload_videos(bob, *two)) == (429, "too_many_waiting")
        await tus_client.open_upload(bob, len(MP4))
        assert status_and_code(await tus_client.create(bob, len(MP4))) == (429, "too_many_waiting")
        assert await change(NO_LIMIT) == {"own": True, **NO_LIMIT}
        accepted = await upload_videos(bob, *two, ("c.mp4", MP4))
        assert accepted.status_code == 201
        stored = NO_LIMIT | {"stored_bytes": 4 * len(MP4)}
        assert await change(stored) == {"own": True, **stored}
        assert status_and_code(await upload_videos(bob, ("d.mp4", MP4))) == (429, "quota_exceeded")
        assert await change(None) == {"own": False, **NO_LIMIT, "waiting": 2}
        again = f"/v1/videos/{accepted.json()['items'][0]['id']}/extractions"
        spec = {"spec": {"sample": {"mode": "all"}}}
        assert status_and_code(await bob.post(again, json=spec)) == (429, "too_many_waiting")


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"quotas": {"waiting": 1}}, "quotas.stored_bytes"),
        ({"quotas": NO_LIMIT | {"waiting": 0}}, "quotas.waiting"),
        ({"quotas": NO_LIMIT | {"stored_bytes": 2**53}}, "quotas.stored_bytes"),
        ({"quotas": NO_LIMIT | {"minutes_per_day": 1.5}}, "quotas.minutes_per_day"),
        ({"quotas": NO_LIMIT | {"frames": 1}}, "quotas.frames"),
        ({"disabled": "yes"}, "disabled"),
        ({"role": "admin"}, "role"),
    ],
)
async def test_wrong_changes_are_refused_with_the_name_of_the_field(
    admin: httpx.AsyncClient, changes: dict[str, object], field: str
) -> None:
    path = f"/v1/admin/users/{await id_of(admin)}"
    answer = await admin.patch(path, json=changes)
    assert status_and_code(answer) == (422, "invalid_field")
    assert answer.json()["detail"].startswith(f"{field}:")
    assert (await admin.get(path)).json()["has_own_quotas"] is False


async def test_disabled_account_is_kept_out_until_it_is_enabled(
    admin: httpx.AsyncClient, bob: httpx.AsyncClient, deps: Deps
) -> None:
    secret = (await bob.post("/v1/api-keys", json={"name": "a script"})).json()["secret"]
    tokens = await log_in(bob, "bob@example.org")
    path = f"/v1/admin/users/{await id_of(bob)}"
    disabled = (await admin.patch(path, json={"disabled": True})).json()
    assert disabled["disabled_at"] is not None
    assert (await admin.patch(path, json={"disabled": True})).json()["disabled_at"] == disabled["disabled_at"]
    assert status_and_code(await bob.get("/v1/me")) == (401, "unauthenticated")
    refresh = {"refresh_token": tokens["refresh_token"]}
    assert status_and_code(await bob.post("/v1/tokens/refresh", json=refresh)) == (401, "unauthenticated")
    async with open_client(create_app(deps), headers={"Authorization": f"Bearer {secret}"}) as script:
        assert status_and_code(await script.get("/v1/me")) == (401, "unauthenticated")
        login = {"email": "bob@example.org", "password": PASSWORD}
        for address in ("/v1/tokens", "/session"):
            assert status_and_code(await script.post(address, json=login)) == (403, "account_disabled")
        wrong = await script.post("/v1/tokens", json=login | {"password": "wrong horse"})
        assert status_and_code(wrong) == (401, "bad_credentials")
        enabled = (await admin.patch(path, json={"disabled": False})).json()
        assert enabled["disabled_at"] is None
        assert (await script.get("/v1/me")).status_code == 200
    assert (await bob.get("/v1/me")).status_code == 200


async def test_admin_can_not_disable_the_own_account_nor_change_an_unknown_one(admin: httpx.AsyncClient) -> None:
    own = f"/v1/admin/users/{await id_of(admin)}"
    assert status_and_code(await admin.patch(own, json={"disabled": True})) == (422, "invalid_field")
    assert (await admin.get(own)).json()["disabled_at"] is None
    for unknown in (UNKNOWN_ID, "x"):
        path = f"/v1/admin/users/{unknown}"
        assert status_and_code(await admin.get(path)) == (404, "not_found")
        assert status_and_code(await admin.patch(path, json={"disabled": True})) == (404, "not_found")
        assert status_and_code(await admin.patch(path, json={"quotas": NO_LIMIT})) == (404, "not_found")
