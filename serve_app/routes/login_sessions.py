"""Log-in sessions: log in, refresh, log out; with tokens for programs and a cookie for the web page."""

from __future__ import annotations

from uuid import UUID

import structlog
from pydantic import Field
from starlette.requests import Request
from starlette.responses import Response
from uuid_utils.compat import uuid7

from db.accounts import accounts
from db.accounts.accounts import Principal
from db.values.email_address import normal_email
from db.values.error_catalogue import CatalogueError
from serve_app import authentication
from serve_app.deps import Deps, deps_of
from serve_app.http import json_request_body
from serve_app.http.json_response import JsonResponse
from serve_app.routes.accounts import MAX_PASSWORD_CHARACTERS
from serve_app.security.signed_tokens import Audience, Claims

log = structlog.get_logger(__name__)


class Credentials(json_request_body.RequestModel):
    email: str = Field(max_length=254)
    password: str = Field(max_length=MAX_PASSWORD_CHARACTERS)


class Refresh(json_request_body.RequestModel):
    refresh_token: str = Field(max_length=4096)


async def log_in(request: Request) -> Response:
    """POST /v1/tokens"""
    deps = deps_of(request)
    return _token_response(deps, await _log_in(request, deps))


async def refresh(request: Request) -> Response:
    """POST /v1/tokens/refresh"""
    deps = deps_of(request)
    body = await json_request_body.read_model(request, Refresh)
    claims = deps.token_signer.verify(Audience.REFRESH, body.refresh_token)
    try:
        generation = await accounts.rotate(deps.database, claims.session_id, claims.generation)
    except CatalogueError as error:
        if error.code == "refresh_token_reused":
            log.warning(
                "A refresh token was used twice.", event_name="refresh_token.reused", session_id=str(claims.session_id)
            )
        raise
    return _token_response(deps, Claims(claims.user_id, claims.session_id, generation))


async def log_out(request: Request, principal: Principal) -> Response:
    """DELETE /v1/tokens"""
    await accounts.revoke(deps_of(request).database, principal.require_session())
    return Response(status_code=204)


async def create_page_session(request: Request) -> Response:
    """POST /session"""
    authentication.refuse_cross_site(request)
    deps = deps_of(request)
    claims = await _log_in(request, deps)
    response = Response(status_code=204)
    response.set_cookie(
        authentication.SESSION_COOKIE,
        deps.token_signer.issue(Audience.PAGE, claims, deps.session_seconds),
        max_age=int(deps.session_seconds),
        path="/",
        secure=deps.https,
        httponly=True,
        samesite="strict",
    )
    return response


async def delete_page_session(request: Request) -> Response:
    """DELETE /session: succeeds without a session too, so that the cookie is deleted."""
    authentication.refuse_cross_site(request)
    deps = deps_of(request)
    principal = await authentication.authenticate(request)
    if principal is not None:
        await accounts.revoke(deps.database, principal.require_session())
    response = Response(status_code=204)
    response.delete_cookie(authentication.SESSION_COOKIE, path="/", secure=deps.https, httponly=True, samesite="strict")
    return response


async def _log_in(request: Request, deps: Deps) -> Claims:
    """Opens a session for valid credentials.

    Raises CatalogueError `bad_credentials`, after the same time whether the account exists or not, `account_disabled`
    or `too_many_requests`.
    """
    body = await json_request_body.read_model(request, Credentials)
    # Text that is not an address has no account, and gets the same answer as an address without one.
    email = normal_email(body.email) or ""
    deps.address_rate_limiter.take(authentication.client_address(request))
    deps.email_rate_limiter.take(email)
    account = await accounts.credentials(deps.database, email)
    password_hash = account.password_hash if account else None
    if not await deps.password_hasher.matches(body.password, password_hash) or account is None:
        log.info("Wrong credentials.", event_name="session.refused", user_id=str(account.user_id) if account else None)
        raise CatalogueError("bad_credentials")
    deps.email_rate_limiter.reset(email)
    # Only who has the password is told.
    if account.is_disabled:
        raise CatalogueError("account_disabled")
    return await _create_session(deps, account.user_id)


async def _create_session(deps: Deps, user_id: UUID) -> Claims:
    session_id = uuid7()
    await accounts.open_session(deps.database, session_id=session_id, user_id=user_id, seconds=deps.session_seconds)
    log.info("A session was opened.", event_name="session.opened", user_id=str(user_id), session_id=str(session_id))
    return Claims(user_id, session_id, 0)


def _token_response(deps: Deps, claims: Claims) -> Response:
    access = Claims(claims.user_id, claims.session_id, 0)
    return JsonResponse(
        {
            "access_token": deps.token_signer.issue(Audience.ACCESS, access, deps.access_seconds),
            "token_type": "Bearer",
            "expires_in": int(deps.access_seconds),
            "refresh_token": deps.token_signer.issue(Audience.REFRESH, claims, deps.session_seconds),
        }
    )
