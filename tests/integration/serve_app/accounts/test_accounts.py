"""Accounts and sessions over HTTP."""

from __future__ import annotations

from dataclasses import replace
from email.headerregistry import Address
from email.message import EmailMessage
from pathlib import Path

import httpx
import pytest
from structlog.testing import capture_logs

from cluster.wiring import api as wiring
from db.values.error_catalogue import CatalogueError
from serve_app.app import create_app
from serve_app.deps import Deps
from serve_app.security.rate_limit import RateLimit, RateLimiter
from serve_app.security.signed_tokens import Audience, Claims
from tests.support.clients.api_client import PASSWORD, SECRET, log_in, open_client, status_and_code, upload_video

ANA = {"email": "ana@example.org", "password": PASSWORD}


async def test_account_is_created_once_for_any_letter_case_of_its_email(visitor: httpx.AsyncClient) -> None:
    created = await visitor.post("/v1/users", json={**ANA, "email": " Ana@Example.ORG ", "name": "Ana"})
    assert created.status_code == 201
    assert created.json() == {"id": created.json()["id"], "email": "ana@example.org", "name": "Ana", "role": "user"}
    assert status_and_code(await visitor.post("/v1/users", json=ANA)) == (409, "email_taken")
    assert (await visitor.post("/v1/tokens", json={**ANA, "email": "ANA@example.org"})).status_code == 200


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"email": "ana"}, "email"),
        ({"email": "a b@example.org"}, "email"),
        ({"email": "a\r\nBcc: x@example.org"}, "email"),
        ({"email": "x" * 250 + "@example.org"}, "email"),
        ({"email": 5}, "email"),
        ({"email": "aná@example.org"}, "email"),
        ({"email": "ana\u200b@example.org"}, "email"),
        ({"email": "ana@example\u200b.org"}, "email"),
        ({"email": "=?utf-8?q?x?=@example.org"}, "email"),
        ({"email": "=?utf-8?b?!!?=@example.org"}, "email"),
        ({"email": "=?nothing?q?x?=@example.org"}, "email"),
        ({"email": "ana@=?utf-8?q?x?="}, "email"),
        ({"password": "seven77"}, "password"),
        ({"password": "x" * 1025}, "password"),
        ({"name": "a\0b"}, "name"),
        ({"locale": "../x"}, "locale"),
        ({"role": "admin"}, "role"),
    ],
)
async def test_registration_names_the_invalid_field(
    visitor: httpx.AsyncClient, change: dict[str, object], field: str
) -> None:
    answer = await visitor.post("/v1/users", json=ANA | change)
    assert status_and_code(answer) == (422, "invalid_field")
    assert answer.json()["detail"].startswith(field)


async def test_internationalized_domain_is_stored_as_punycode(visitor: httpx.AsyncClient) -> None:
    created = await visitor.post("/v1/users", json=ANA | {"email": "Ana@Exämple.org"})
    assert (created.status_code, created.json()["email"]) == (201, "ana@xn--exmple-cua.org")
    for spelling in ("ana@exa\u0308mple.org", "ana@EXÄMPLE.org", "ana@xn--exmple-cua.org"):
        assert status_and_code(await visitor.post("/v1/users", json=ANA | {"email": spelling})) == (409, "email_taken")
        assert (await visitor.post("/v1/tokens", json=ANA | {"email": spelling})).status_code == 200


@pytest.mark.parametrize("email", ["ana", "a\0@example.org", "", "@"])
async def test_login_with_a_malformed_email_is_bad_credentials(visitor: httpx.AsyncClient, email: str) -> None:
    assert status_and_code(await visitor.post("/v1/tokens", json=ANA | {"email": email})) == (401, "bad_credentials")


@pytest.mark.parametrize(
    "email", ["ana+tag@example.org", "o'brien@example.org", "a!#$%&*/=?^_`{|}~-@x", "root@localhost"]
)
async def test_valid_email_is_stored_unchanged(visitor: httpx.AsyncClient, email: str) -> None:
    created = await visitor.post("/v1/users", json=ANA | {"email": email})
    assert (created.status_code, created.json()["email"]) == (201, email)
    message = EmailMessage()
    message["To"] = Address(addr_spec=email)
    assert str(message["To"]) == email


@pytest.mark.parametrize(
    ("content", "kind", "expected"),
    [
        (b"{", "application/json", (400, "malformed_request")),
        (b'{"email":"a","email":"b","password":"x"}', "application/json", (422, "invalid_field")),
        (b'{"email":1e999,"password":"x"}', "application/json", (422, "invalid_field")),
        (b'{"email":"\\ud800","password":"x"}', "application/json", (400, "malformed_request")),
        (b"[]", "application/json", (422, "invalid_field")),
        (b"email=a", "application/x-www-form-urlencoded", (415, "unsupported_media_type")),
        (b"{}", "", (415, "unsupported_media_type")),
        (b'{"email":"' + b"x" * 70_000 + b'"}', "application/json", (413, "too_large")),
    ],
)
async def test_unreadable_body_is_refused(
    visitor: httpx.AsyncClient, content: bytes, kind: str, expected: tuple[int, str]
) -> None:
    assert status_and_code(await visitor.post("/v1/users", content=content, headers={"Content-Type": kind})) == expected


async def test_registration_can_be_closed(deps: Deps) -> None:
    async with open_client(create_app(replace(deps, registration_open=False))) as client:
        assert status_and_code(await client.post("/v1/users", json=ANA)) == (403, "registration_closed")


async def test_bad_credentials_do_not_reveal_whether_the_account_exists(ana: httpx.AsyncClient) -> None:
    wrong = await ana.post("/v1/tokens", json={**ANA, "password": "wrong horse"})
    unknown = await ana.post("/v1/tokens", json={**ANA, "email": "nobody@example.org"})
    assert status_and_code(wrong) == status_and_code(unknown) == (401, "bad_credentials")
    assert {**wrong.json(), "request_id": ""} == {**unknown.json(), "request_id": ""}


@pytest.mark.parametrize(
    "call",
    [
        ("GET", "/v1/me"),
        ("PATCH", "/v1/me"),
        ("POST", "/v1/me/password"),
        ("DELETE", "/v1/tokens"),
        ("GET", "/v1/videos"),
        ("POST", "/v1/videos"),
        ("GET", "/v1/videos/x"),
        ("DELETE", "/v1/videos/x"),
        ("POST", "/v1/videos/x/extractions"),
        ("GET", "/v1/extractions/x"),
        ("POST", "/v1/extractions/x/cancel"),
        ("POST", "/v1/extractions/x/retry"),
        ("GET", "/v1/extractions/x/frames.zip"),
        ("GET", "/v1/extractions/x/frames/1"),
    ],
)
async def test_every_other_route_needs_a_token(visitor: httpx.AsyncClient, call: tuple[str, str]) -> None:
    answer = await visitor.request(*call)
    assert status_and_code(answer) == (401, "unauthenticated")
    assert answer.headers["www-authenticate"].startswith("Bearer")


async def test_only_an_access_token_of_an_open_session_is_accepted(visitor: httpx.AsyncClient, deps: Deps) -> None:
    tokens = await log_in(visitor)
    claims = deps.token_signer.verify(Audience.ACCESS, tokens["access_token"])
    wrong = [
        tokens["refresh_token"],
        deps.token_signer.issue(Audience.ACCESS, Claims(claims.user_id, claims.user_id, 0), 60),
        deps.token_signer.issue(Audience.ACCESS, Claims(claims.session_id, claims.session_id, 0), 60),
        "rubbish",
    ]
    for token in wrong:
        answer = await visitor.get("/v1/me", headers={"Authorization": f"Bearer {token}"})
        assert status_and_code(answer) == (401, "unauthenticated")
        assert 'error="invalid_token"' in answer.headers["www-authenticate"]
    assert (await visitor.get("/v1/me", headers={"Authorization": "Basic YTpi"})).status_code == 401
    assert (await visitor.get("/v1/me")).status_code == 200


async def test_expired_token_is_told_apart_from_an_invalid_one_and_from_none(
    visitor: httpx.AsyncClient, deps: Deps
) -> None:
    tokens = await log_in(visitor)
    claims = deps.token_signer.verify(Audience.ACCESS, tokens["access_token"])
    expired = deps.token_signer.issue(Audience.ACCESS, claims, -1)
    answers = {}
    for name, header in (("expired", f"Bearer {expired}"), ("invalid", "Bearer rubbish"), ("none", "Basic YTpi")):
        answer = await visitor.get("/v1/me", headers={"Authorization": header})
        answers[name] = (status_and_code(answer), "invalid_token" in answer.headers["www-authenticate"])
    assert answers == {
        "expired": ((401, "token_expired"), True),
        "invalid": ((401, "unauthenticated"), True),
        "none": ((401, "unauthenticated"), False),
    }
    refresh = deps.token_signer.issue(Audience.REFRESH, claims, -1)
    ended = await visitor.post("/v1/tokens/refresh", json={"refresh_token": refresh})
    assert status_and_code(ended) == (401, "token_expired")


async def test_reused_refresh_token_ends_its_session(visitor: httpx.AsyncClient) -> None:
    first = await log_in(visitor)
    second = (await visitor.post("/v1/tokens/refresh", json={"refresh_token": first["refresh_token"]})).json()
    third = await visitor.post("/v1/tokens/refresh", json={"refresh_token": second["refresh_token"]})
    assert third.status_code == 200
    again = await visitor.post("/v1/tokens/refresh", json={"refresh_token": first["refresh_token"]})
    assert status_and_code(again) == (401, "refresh_token_reused")
    headers = {"Authorization": f"Bearer {third.json()['access_token']}"}
    assert (await visitor.get("/v1/me", headers=headers)).status_code == 401
    after_reuse = await visitor.post("/v1/tokens/refresh", json={"refresh_token": third.json()["refresh_token"]})
    assert status_and_code(after_reuse) == (401, "unauthenticated")


async def test_logout_ends_the_session_at_once(visitor: httpx.AsyncClient) -> None:
    tokens = await log_in(visitor)
    assert (await visitor.delete("/v1/tokens")).status_code == 204
    assert (await visitor.get("/v1/me")).status_code == 401
    answer = await visitor.post("/v1/tokens/refresh", json={"refresh_token": tokens["refresh_token"]})
    assert status_and_code(answer) == (401, "unauthenticated")


async def test_account_can_be_read_and_changed(ana: httpx.AsyncClient) -> None:
    changed = await ana.patch("/v1/me", json={"name": "Ana Maria", "locale": "pt-BR", "notify": "failures"})
    assert changed.status_code == 200
    shown = (await ana.get("/v1/me")).json()
    assert changed.json() == shown
    assert (shown["name"], shown["locale"], shown["notify"]) == ("Ana Maria", "pt-BR", "failures")
    assert shown["use"] == {"videos": 0, "waiting": 0, "stored_bytes": 0, "minutes_per_day": 0.0}
    assert status_and_code(await ana.patch("/v1/me", json={"notify": "sometimes"})) == (422, "invalid_field")
    assert status_and_code(await ana.patch("/v1/me", json={"email": "x@example.org"})) == (422, "invalid_field")


async def test_account_is_changed_only_from_the_state_that_the_request_names(ana: httpx.AsyncClient) -> None:
    etag = (await ana.get("/v1/me")).headers["etag"]
    await upload_video(ana)
    # The use of quotas is no part of what can be changed.
    first = await ana.patch("/v1/me", json={"name": "Ana"}, headers={"If-Match": etag})
    assert (first.status_code, first.json()["name"]) == (200, "Ana")
    second = await ana.patch("/v1/me", json={"name": "Eva"}, headers={"If-Match": etag})
    assert status_and_code(second) == (412, "precondition_failed")
    assert (await ana.get("/v1/me")).json()["name"] == "Ana"
    newer = await ana.patch("/v1/me", json={"name": "Eva"}, headers={"If-Match": first.headers["etag"]})
    assert newer.json()["name"] == "Eva"


async def test_new_password_ends_every_other_session(ana: httpx.AsyncClient, deps: Deps) -> None:
    async with open_client(create_app(deps)) as other:
        await log_in(other)
        wrong = await ana.post("/v1/me/password", json={"current": "wrong horse", "new": "battery staple"})
        assert status_and_code(wrong) == (401, "bad_credentials")
        right = await ana.post("/v1/me/password", json={"current": PASSWORD, "new": "battery staple"})
        assert right.status_code == 204
        assert (await ana.get("/v1/me")).status_code == 200
        assert (await other.get("/v1/me")).status_code == 401
    assert status_and_code(await ana.post("/v1/tokens", json=ANA)) == (401, "bad_credentials")
    assert (await ana.post("/v1/tokens", json={**ANA, "password": "battery staple"})).status_code == 200


async def test_login_attempts_are_limited_per_email_and_per_address(deps: Deps) -> None:
    limited = replace(
        deps, email_rate_limiter=RateLimiter(RateLimit(3, 60)), address_rate_limiter=RateLimiter(RateLimit(6, 60))
    )
    async with open_client(create_app(limited)) as client:
        await client.post("/v1/users", json=ANA)
        answers = [await client.post("/v1/tokens", json={**ANA, "password": "guess"}) for _ in range(4)]
        assert [answer.status_code for answer in answers] == [401, 401, 401, 429]
        assert 1 <= int(answers[-1].headers["retry-after"]) <= 60
        # The right password is refused as well now, and so is every other account from this address.
        assert status_and_code(await client.post("/v1/tokens", json=ANA)) == (429, "too_many_requests")
        other = await client.post("/v1/tokens", json={**ANA, "email": "bob@example.org"})
        assert status_and_code(other) == (429, "too_many_requests")


async def test_rate_limit_per_address_is_a_setting(
    database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    values = {"DATABASE_URL": database_url, "OBJECTS_URL": f"file://{tmp_path}/objects", "SECRET_KEY": SECRET}
    for name, value in {**values, "ADDRESS_BURST": "2", "ADDRESS_PER_SECOND": "0.1"}.items():
        monkeypatch.setenv(f"FOTOGRAMA_{name}", value)
    monkeypatch.setattr(wiring, "log_as_json", lambda: None)
    async with wiring.open_api() as deps:
        # The time between the calls would shorten the wait.
        monkeypatch.setattr(deps.address_rate_limiter, "_clock", lambda: 1000.0)
        for _ in range(2):
            deps.address_rate_limiter.take("192.0.2.1")
        with pytest.raises(CatalogueError) as refused:
            deps.address_rate_limiter.take("192.0.2.1")
        assert refused.value.retry_after == 10
        deps.address_rate_limiter.take("192.0.2.2")


class TestPageSession:
    """The session cookie of the web page."""

    async def test_cookie_session_is_created_used_and_ended(self, visitor: httpx.AsyncClient) -> None:
        await visitor.post("/v1/users", json=ANA)
        created = await visitor.post("/session", json=ANA)
        assert created.status_code == 204
        cookie = created.headers["set-cookie"].lower()
        assert cookie.startswith("fotograma_session=")
        assert "httponly" in cookie
        assert "samesite=strict" in cookie
        assert "secure" not in cookie
        assert (await visitor.get("/v1/me")).json()["email"] == "ana@example.org"
        session_cookie = visitor.cookies["fotograma_session"]
        assert (await visitor.delete("/session", headers={"X-Fotograma-Page": "1"})).status_code == 204
        assert "fotograma_session" not in visitor.cookies
        visitor.cookies.set("fotograma_session", session_cookie)
        assert (await visitor.get("/v1/me")).status_code == 401

    async def test_cookie_is_secure_over_https(self, deps: Deps) -> None:
        async with open_client(create_app(replace(deps, https=True))) as client:
            await client.post("/v1/users", json=ANA)
            created = await client.post("/session", json=ANA)
            assert "secure" in created.headers["set-cookie"].lower()
            assert "max-age" in created.headers["strict-transport-security"]

    async def test_cross_site_request_is_refused(self, visitor: httpx.AsyncClient) -> None:
        await visitor.post("/v1/users", json=ANA)
        await visitor.post("/session", json=ANA)
        page = {"X-Fotograma-Page": "1"}
        assert status_and_code(await visitor.patch("/v1/me", json={"name": "x"})) == (403, "cross_site")
        for site in ("cross-site", "same-site"):
            headers = {**page, "Sec-Fetch-Site": site}
            assert status_and_code(await visitor.patch("/v1/me", json={"name": "x"}, headers=headers)) == (
                403,
                "cross_site",
            )
            refused = await visitor.post("/session", json=ANA, headers={"Sec-Fetch-Site": site})
            assert status_and_code(refused) == (403, "cross_site")
        headers = {**page, "Sec-Fetch-Site": "same-origin"}
        assert (await visitor.patch("/v1/me", json={"name": "x"}, headers=headers)).status_code == 200

    async def test_cookie_token_is_not_a_bearer_token(self, visitor: httpx.AsyncClient) -> None:
        await visitor.post("/v1/users", json=ANA)
        await visitor.post("/session", json=ANA)
        token = visitor.cookies["fotograma_session"]
        visitor.cookies.clear()
        answer = await visitor.get("/v1/me", headers={"Authorization": f"Bearer {token}"})
        assert status_and_code(answer) == (401, "unauthenticated")


async def test_neither_passwords_nor_tokens_are_logged(visitor: httpx.AsyncClient) -> None:
    with capture_logs() as logs:
        tokens = await log_in(visitor)
        await visitor.post("/v1/tokens/refresh", json={"refresh_token": tokens["refresh_token"]})
        await visitor.post("/v1/tokens/refresh", json={"refresh_token": tokens["refresh_token"]})
        await visitor.post("/v1/tokens", json={**ANA, "password": "wrong horse"})
    written = repr(logs)
    assert "session.opened" in written
    assert "refresh_token.reused" in written
    for secret in (PASSWORD, "wrong horse", tokens["access_token"], tokens["refresh_token"], "ana@example.org"):
        assert secret not in written
