"""Tokens, keys and passwords."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from uuid import UUID

import jwt
import pytest

from db.values.error_catalogue import CatalogueError
from serve_app.security.key_derivation import SigningKey, derive_key, signing_key
from serve_app.security.password_hashing import MAX_WAITING, ROUNDS, THREADS, PasswordHasher, queue_seconds
from serve_app.security.signed_tokens import Audience, Claims, TokenSigner

CLAIMS = Claims(UUID(int=1), UUID(int=2), 3)
KEY = signing_key("a" * 32)


def refusal(signer: TokenSigner, token: str, audience: Audience = Audience.ACCESS) -> str:
    """The code of the error that the token gets."""
    with pytest.raises(CatalogueError) as error:
        signer.verify(audience, token)
    return error.value.code


def is_refused(signer: TokenSigner, token: str, audience: Audience = Audience.ACCESS) -> bool:
    return refusal(signer, token, audience) == "unauthenticated"


def test_verified_token_has_the_signed_claims() -> None:
    signer = TokenSigner([KEY])
    assert signer.verify(Audience.REFRESH, signer.issue(Audience.REFRESH, CLAIMS, 60)) == CLAIMS


@pytest.mark.parametrize("issued", list(Audience))
@pytest.mark.parametrize("verified", list(Audience))
def test_token_is_valid_for_its_own_audience_only(issued: Audience, verified: Audience) -> None:
    signer = TokenSigner([KEY])
    token = signer.issue(issued, CLAIMS, 60)
    if issued is verified:
        assert signer.verify(verified, token) == CLAIMS
    else:
        assert is_refused(signer, token, verified)


def test_token_expires() -> None:
    signer = TokenSigner([KEY])
    assert refusal(signer, signer.issue(Audience.ACCESS, CLAIMS, -1)) == "token_expired"
    forged = TokenSigner([signing_key("b" * 32)]).issue(Audience.ACCESS, CLAIMS, -1)
    assert is_refused(signer, forged)


def test_foreign_key_altered_token_and_garbage_are_refused() -> None:
    signer = TokenSigner([KEY])
    assert is_refused(signer, TokenSigner([signing_key("b" * 32)]).issue(Audience.ACCESS, CLAIMS, 60))
    assert is_refused(signer, signer.issue(Audience.ACCESS, CLAIMS, 60)[:-4] + "AAAA")
    assert is_refused(signer, "")
    assert is_refused(signer, "a.b.c")


def test_key_id_determines_the_algorithm() -> None:
    def part(value: object) -> str:
        return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")

    payload = jwt.decode(
        TokenSigner([KEY]).issue(Audience.ACCESS, CLAIMS, 60), options={"verify_signature": False}, algorithms=["HS256"]
    )
    unsigned = f"{part({'alg': 'none', 'kid': KEY.id})}.{part(payload)}."
    other = jwt.encode(payload, KEY.secret * 2, "HS512", headers={"kid": KEY.id})
    assert is_refused(TokenSigner([KEY]), unsigned)
    assert is_refused(TokenSigner([KEY]), other)


@pytest.mark.parametrize("claim", ["exp", "iat", "iss", "aud", "sub", "jti", "sid"])
def test_every_claim_is_required(claim: str) -> None:
    payload = jwt.decode(
        TokenSigner([KEY]).issue(Audience.ACCESS, CLAIMS, 60), options={"verify_signature": False}, algorithms=["HS256"]
    )
    del payload[claim]
    assert is_refused(TokenSigner([KEY]), jwt.encode(payload, KEY.secret, "HS256", headers={"kid": KEY.id}))


def test_rotated_key_still_verifies() -> None:
    old = TokenSigner([KEY]).issue(Audience.ACCESS, CLAIMS, 60)
    assert TokenSigner([SigningKey("new", b"n" * 32), KEY]).verify(Audience.ACCESS, old) == CLAIMS


def test_each_purpose_derives_its_own_secret_and_a_short_key_is_refused() -> None:
    assert derive_key("a" * 32, "tokens") != derive_key("a" * 32, "passwords")
    with pytest.raises(ValueError, match="32 characters"):
        derive_key("a" * 31, "tokens")


@pytest.fixture
async def passwords() -> AsyncIterator[PasswordHasher]:
    hasher = PasswordHasher(b"pepper", rounds=4, threads=1, max_waiting=1)
    yield hasher
    hasher.close()


async def test_password_matches_its_own_hash_only(passwords: PasswordHasher) -> None:
    stored = await passwords.hash("correct horse")
    assert await passwords.matches("correct horse", stored)
    assert not await passwords.matches("correct horsf", stored)
    assert stored != await passwords.hash("correct horse")


async def test_every_byte_of_a_long_password_counts_also_after_a_zero_byte(passwords: PasswordHasher) -> None:
    stored = await passwords.hash("x" * 1000 + "\0a")
    assert not await passwords.matches("x" * 1000 + "\0b", stored)
    assert not await passwords.matches("x" * 999 + "\0a", stored)


async def test_unicode_normal_forms_are_one_password(passwords: PasswordHasher) -> None:
    assert await passwords.matches("cafe\u0301 com leite", await passwords.hash("café com leite"))


async def test_password_does_not_match_without_the_pepper(passwords: PasswordHasher) -> None:
    other = PasswordHasher(b"other", rounds=4)
    assert not await passwords.matches("correct horse", await other.hash("correct horse"))
    other.close()


async def test_unknown_account_costs_the_same_hash_and_never_matches(passwords: PasswordHasher) -> None:
    assert not await passwords.matches("anything", None)


async def test_login_is_refused_when_the_hashing_queue_is_full(passwords: PasswordHasher) -> None:
    first, second = (asyncio.ensure_future(passwords.hash("correct horse")) for _ in range(2))
    await asyncio.sleep(0)
    with pytest.raises(CatalogueError) as error:
        await passwords.hash("correct horse")
    assert (error.value.code, error.value.retry_after) == ("too_many_requests", 1)
    await asyncio.gather(first, second)
    await passwords.hash("correct horse")


def test_full_hashing_queue_takes_under_half_a_minute_and_refusal_says_when_to_retry() -> None:
    assert 20 <= queue_seconds(THREADS + MAX_WAITING, threads=THREADS, rounds=ROUNDS) <= 30
