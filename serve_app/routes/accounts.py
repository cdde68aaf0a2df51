"""The account resource: register, show, change, change the password, erase."""

from __future__ import annotations

import hashlib
from dataclasses import asdict
from typing import Annotated, Any, Literal
from uuid import UUID

import structlog
from pydantic import Field
from starlette.requests import Request
from starlette.responses import Response
from uuid_utils.compat import uuid7

from db import account_erasure
from db.acceptance import quotas
from db.accounts import accounts
from db.accounts.accounts import Account, Principal
from db.run_to_completion import run_to_completion
from db.values.email_address import normal_email
from db.values.error_catalogue import CatalogueError
from serve_app import authentication
from serve_app.deps import Deps, deps_of
from serve_app.http import conditional_requests, json_request_body
from serve_app.http.conditional_requests import is_match_of_state, json_document
from serve_app.http.json_response import JsonResponse, encode_json

MAX_PASSWORD_CHARACTERS = 1024
ERASED_AT_ONCE = 100
"""Videos that are deleted before an erasure is answered. Maintenance deletes the others."""

Name = Annotated[str, Field(max_length=200, pattern=r"^[^\x00-\x1f\x7f]*$")]
Locale = Annotated[str, Field(max_length=35, pattern=r"^[A-Za-z]{2,3}(-[A-Za-z0-9]{2,8})*$")]
Password = Annotated[str, Field(min_length=1, max_length=MAX_PASSWORD_CHARACTERS)]

log = structlog.get_logger(__name__)


class Registration(json_request_body.RequestModel):
    email: str = Field(max_length=254)
    password: Password
    name: Name = ""
    locale: Locale = "en"


class Changes(json_request_body.RequestModel):
    name: Name | None = None
    locale: Locale | None = None
    notify: Literal["all", "failures", "none"] | None = None


class Erasure(json_request_body.RequestModel):
    password: Password


class PasswordChange(json_request_body.RequestModel):
    current: Password
    new: Password


async def register(request: Request) -> Response:
    """POST /v1/users"""
    deps = deps_of(request)
    if not deps.registration_open:
        raise CatalogueError("registration_closed")
    body = await json_request_body.read_model(request, Registration)
    email = normal_email(body.email)
    if email is None:
        raise CatalogueError("invalid_field", "email: This is not an e-mail address.")
    _check_length(deps, "password", body.password)
    deps.address_rate_limiter.take(authentication.client_address(request))
    account = await accounts.create(
        deps.database,
        user_id=uuid7(),
        email=email,
        password_hash=await deps.password_hasher.hash(body.password),
        name=body.name,
        locale=body.locale,
    )
    log.info("An account was created.", event_name="account.created", user_id=str(account.id))
    return JsonResponse({"id": account.id, "email": account.email, "name": account.name, "role": account.role}, 201)


async def show(request: Request, principal: Principal) -> Response:
    """GET /v1/me"""
    deps = deps_of(request)
    content, etag = await _account_document(deps, await accounts.get(deps.database, principal.user_id))
    return json_document(request, content, etag)


async def change(request: Request, principal: Principal) -> Response:
    """PATCH /v1/me"""
    deps = deps_of(request)
    body = await json_request_body.read_model(request, Changes)
    if_match = request.headers.get("if-match")

    def may_change(account: Account) -> bool:
        return is_match_of_state(if_match, _state_of(account))

    changed = await accounts.update(deps.database, principal.user_id, body.model_dump(), may_change)
    content, etag = await _account_document(deps, changed)
    return JsonResponse(content, headers={"ETag": etag})


async def change_password(request: Request, principal: Principal) -> Response:
    """POST /v1/me/password"""
    deps, session_id = deps_of(request), principal.require_session()
    body = await json_request_body.read_model(request, PasswordChange)
    _check_length(deps, "new", body.new)
    await _check_password(deps, principal, body.current)
    hashed = await deps.password_hasher.hash(body.new)
    await accounts.set_password(deps.database, principal.user_id, hashed, kept=session_id)
    deps.email_rate_limiter.reset(principal.email)
    log.info("A password was changed.", event_name="account.password_changed", user_id=str(principal.user_id))
    return Response(status_code=204)


async def erase(request: Request, principal: Principal) -> Response:
    """DELETE /v1/me"""
    principal.require_session()
    deps = deps_of(request)
    body = await json_request_body.read_model(request, Erasure)
    deps.address_rate_limiter.take(authentication.client_address(request))
    await _check_password(deps, principal, body.password)
    await run_to_completion(_erase(deps, principal.user_id))
    deps.email_rate_limiter.reset(principal.email)
    return Response(status_code=204)


async def _erase(deps: Deps, user_id: UUID) -> None:
    if not await account_erasure.mark(deps.database, user_id):
        return
    log.info("An account was erased.", event_name="account.deleted", user_id=str(user_id))
    try:
        await account_erasure.erase(deps.database, user_id, max_videos=ERASED_AT_ONCE)
    except Exception:
        # The account has ended: the answer is the same, and maintenance deletes what is left.
        log.exception("An erasure is left to maintenance.", event_name="account.abandoned", user_id=str(user_id))


async def _check_password(deps: Deps, principal: Principal, password: str) -> None:
    """Raises CatalogueError `bad_credentials`, or `too_many_requests` after too many tries."""
    deps.email_rate_limiter.take(principal.email)
    stored = await accounts.password_hash(deps.database, principal.user_id)
    if not await deps.password_hasher.matches(password, stored):
        raise CatalogueError("bad_credentials", "The current password is wrong.")


async def _account_document(deps: Deps, account: Account | None) -> tuple[dict[str, Any], str]:
    """The account with its ETag. Raises CatalogueError `unauthenticated` for None."""
    content = await account_json(deps, account)
    assert account is not None
    return content, conditional_requests.etag_of(_state_of(account), encode_json(content))


def _state_of(account: Account) -> str:
    """What can be changed of an account, as a digest. Its use of quotas changes too often to be a condition."""
    fields = [account.name, account.locale, account.notify, account.role]
    return hashlib.sha256(encode_json(fields)).hexdigest()[:32]


async def account_json(deps: Deps, account: Account | None) -> dict[str, Any]:
    if account is None:
        raise CatalogueError("unauthenticated")
    limits = (await quotas.account_limits(deps.database, [account.id], deps.limits.quotas))[account.id]
    return {
        "id": account.id,
        "email": account.email,
        "name": account.name,
        "role": account.role,
        "locale": account.locale,
        "notify": account.notify,
        "created_at": account.created_at,
        "quotas": asdict(limits.quotas),
        "use": asdict(limits.usage),
    }


def _check_length(deps: Deps, field: str, password: str) -> None:
    if len(password) < deps.password_min_length:
        min_length = deps.password_min_length
        raise CatalogueError("invalid_field", f"{field}: A password has at least {min_length} characters.")
