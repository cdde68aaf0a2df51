"""Authenticates a request by its bearer token, an access token or an API key, or by its session cookie.

The session or the API key is looked up for every request.
"""

from __future__ import annotations

from dataclasses import replace

from starlette.requests import Request

from db.accounts import accounts, api_keys
from db.accounts.accounts import Principal
from db.values.error_catalogue import CatalogueError
from serve_app.deps import Deps, deps_of
from serve_app.http.problem_details import ProblemError, challenge
from serve_app.security import api_key_secrets
from serve_app.security.signed_tokens import Audience, Claims

SESSION_COOKIE = "fotograma_session"
PAGE_HEADER = "x-fotograma-page"
_SAFE_METHODS = {"GET", "HEAD", "OPTIONS"}
_SAME_SITE = {"same-origin", "none"}
_INVALID_TOKEN = challenge("invalid_token", "The token is malformed, unknown or revoked.")


async def require_principal(request: Request) -> Principal:
    """The account of the request. An Authorization header wins over a cookie.

    Raises CatalogueError `unauthenticated`, `token_expired` for an access token, and `cross_site` for a cookie on a
    request that another site's page may have sent.
    """
    token, audience = _credential(request)
    if token is None:
        raise CatalogueError("unauthenticated")
    deps = deps_of(request)
    if audience is Audience.PAGE:
        return await _principal_of_page(request, deps, token)
    is_api_key = token.startswith(api_key_secrets.PREFIX)
    found = await (_principal_of_api_key(deps, token) if is_api_key else _principal_of_access_token(deps, token))
    if found is None:
        raise ProblemError("unauthenticated", headers={"WWW-Authenticate": _INVALID_TOKEN})
    return found


async def authenticate(request: Request) -> Principal | None:
    """The account of the request, or None. Raises CatalogueError `cross_site`."""
    try:
        return await require_principal(request)
    except CatalogueError as error:
        if error.code in {"unauthenticated", "token_expired"}:
            return None
        raise


async def _principal_of_page(request: Request, deps: Deps, cookie: str) -> Principal:
    try:
        claims = deps.token_signer.verify(Audience.PAGE, cookie)
    except CatalogueError as error:
        # Whether a cookie has expired or is missing is one thing to the page.
        raise CatalogueError("unauthenticated") from error
    refuse_cross_site(request)
    _refuse_without_page_header(request)
    principal = await _principal_of_claims(deps, claims)
    if principal is None:
        raise CatalogueError("unauthenticated")
    return principal


async def _principal_of_access_token(deps: Deps, token: str) -> Principal | None:
    """Raises CatalogueError `token_expired`."""
    try:
        claims = deps.token_signer.verify(Audience.ACCESS, token)
    except CatalogueError as error:
        if error.code == "token_expired":
            raise
        return None
    return await _principal_of_claims(deps, claims)


async def _principal_of_claims(deps: Deps, claims: Claims) -> Principal | None:
    principal = await accounts.principal(deps.database, claims.session_id)
    if principal is None or principal.user_id != claims.user_id or claims.expires_at is None:
        return None
    assert principal.expires_at is not None
    return replace(principal, expires_at=min(principal.expires_at, claims.expires_at))


async def _principal_of_api_key(deps: Deps, secret: str) -> Principal | None:
    api_key_id = api_key_secrets.id_in_secret(secret)
    if api_key_id is None:
        return None
    return await api_keys.principal(deps.database, api_key_id, api_key_secrets.secret_hash(secret))


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
