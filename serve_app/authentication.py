"""Authenticates a request by its bearer token or its session cookie. The session is looked up for every request."""

from __future__ import annotations

from dataclasses import replace

from starlette.requests import Request

from db import accounts
from db.accounts import Principal
from db.values.error_catalogue import CatalogueError
from serve_app.deps import deps_of
from serve_app.security.signed_tokens import Audience

SESSION_COOKIE = "fotograma_session"
PAGE_HEADER = "x-fotograma-page"
_SAFE_METHODS = {"GET", "HEAD", "OPTIONS"}
_SAME_SITE = {"same-origin", "none"}


async def authenticate(request: Request) -> Principal | None:
    """The account of the request, or None.

    An Authorization header wins over a cookie. Raises CatalogueError `cross_site` for a cookie on a request that
    another site's page may have sent.
    """
    token, audience = _credential(request)
    if token is None:
        return None
    deps = deps_of(request)
    try:
        claims = deps.token_signer.verify(audience, token)
    except CatalogueError:
        return None
    if audience is Audience.PAGE:
        refuse_cross_site(request)
        _refuse_without_page_header(request)
    principal = await accounts.principal(deps.database, claims.session_id)
    if principal is None or principal.user_id != claims.user_id or claims.expires_at is None:
        return None
    return replace(principal, expires_at=min(principal.expires_at, claims.expires_at))


def refuse_cross_site(request: Request) -> None:
    """Raises CatalogueError `cross_site` when the browser names another site as the origin of an unsafe request."""
    if request.method not in _SAFE_METHODS and request.headers.get("sec-fetch-site", "none") not in _SAME_SITE:
        raise CatalogueError("cross_site")


def _refuse_without_page_header(request: Request) -> None:
    # Another origin can send the header only after a preflight, which is never granted.
    if request.method not in _SAFE_METHODS and request.headers.get(PAGE_HEADER) != "1":
        raise CatalogueError("cross_site", "A request with a session cookie needs the header X-Fotograma-Page: 1.")


def client_address(request: Request) -> str:
    """The network address of the client."""
    return request.client.host if request.client else "unknown"


def _credential(request: Request) -> tuple[str | None, Audience]:
    header = request.headers.get("authorization")
    if header is None:
        return request.cookies.get(SESSION_COOKIE), Audience.PAGE
    scheme, _, token = header.partition(" ")
    return (token.strip() if scheme.lower() == "bearer" else None), Audience.ACCESS
