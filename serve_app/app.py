"""The Starlette application: every route and its endpoints."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Mount, Route

from db.accounts.accounts import ADMIN, Principal
from db.values.error_catalogue import CatalogueError
from serve_app.authentication import require_principal
from serve_app.deps import Deps
from serve_app.http import problem_details
from serve_app.http.middleware import RequestMiddleware
from serve_app.openapi import document_page, openapi_document
from serve_app.routes import (
    account_export,
    accounts,
    admin_acceptance_ledger,
    admin_accounts,
    admin_queue,
    api_keys,
    downloads,
    estimates,
    events,
    extractions,
    health,
    login_sessions,
    presets,
    timeline,
    uploads,
    videos,
    webhooks,
)
from serve_app.web_ui import page
from serve_app.web_ui.static_assets import StaticAssets

Endpoint = Callable[[Request], Awaitable[Response]]
AuthenticatedEndpoint = Callable[[Request, Principal], Awaitable[Response]]
Lifespan = Callable[[Starlette], AbstractAsyncContextManager[None]]


def create_app(deps: Deps | None = None, *, lifespan: Lifespan | None = None) -> Starlette:
    """The HTTP API and the web page. Without `deps`, the lifespan sets `app.state.deps` before the first request."""
    app = Starlette(
        routes=routes(),
        middleware=[Middleware(RequestMiddleware)],
        exception_handlers={HTTPException: problem_details.http_exception_handler},
        lifespan=lifespan,
    )
    if deps is not None:
        app.state.deps = deps
    return app


def routes() -> Sequence[BaseRoute]:
    return [
        public_route("/v1/users", POST=accounts.register),
        public_route("/v1/tokens", POST=login_sessions.log_in, DELETE=authenticated_endpoint(login_sessions.log_out)),
        public_route("/v1/tokens/refresh", POST=login_sessions.refresh),
        authenticated_route("/v1/me", GET=accounts.show, PATCH=accounts.change, DELETE=accounts.erase),
        authenticated_route("/v1/me/export", GET=account_export.download),
        authenticated_route("/v1/me/password", POST=accounts.change_password),
        authenticated_route("/v1/api-keys", GET=api_keys.list_api_keys, POST=api_keys.create),
        authenticated_route("/v1/api-keys/{id}", DELETE=api_keys.delete),
        authenticated_route("/v1/presets", GET=presets.list_presets),
        # A path, so that a name with a slash is told as such.
        authenticated_route("/v1/presets/{name:path}", PUT=presets.save, DELETE=presets.delete),
        authenticated_route("/v1/videos", GET=videos.list_videos, POST=videos.accept),
        authenticated_route("/v1/videos/{id}", GET=videos.show, DELETE=videos.delete),
        authenticated_route("/v1/videos/{id}/extractions", POST=extractions.create),
        authenticated_route("/v1/estimates", POST=estimates.create),
        tus_route("/v1/uploads", POST=uploads.create),
        tus_route(
            "/v1/uploads/{id}",
            GET=uploads.show,
            PATCH=uploads.append,
            DELETE=uploads.terminate,
            POST=uploads.override_method,
        ),
        authenticated_route("/v1/extractions/{id}", GET=extractions.show),
        authenticated_route("/v1/extractions/{id}/cancel", POST=extractions.cancel),
        authenticated_route("/v1/extractions/{id}/retry", POST=extractions.retry),
        authenticated_route("/v1/extractions/{id}/frames.zip", GET=downloads.download_archive),
        authenticated_route("/v1/extractions/{id}/frames.tar", GET=downloads.download_shard),
        authenticated_route("/v1/extractions/{id}/manifest.json", GET=downloads.download_manifest_json),
        authenticated_route("/v1/extractions/{id}/manifest.csv", GET=downloads.download_manifest_csv),
        authenticated_route("/v1/extractions/{id}/report.json", GET=downloads.download_report),
        authenticated_route("/v1/extractions/{id}/sheet.jpg", GET=downloads.download_sheet),
        authenticated_route("/v1/extractions/{id}/sheet.vtt", GET=downloads.download_sheet_index),
        authenticated_route("/v1/extractions/{id}/frames/{n}", GET=downloads.download_frame),
        authenticated_route("/v1/extractions/{id}/timeline", GET=timeline.show),
        authenticated_route("/v1/events", GET=events.stream),
        authenticated_route("/v1/webhooks", GET=webhooks.list_webhooks, POST=webhooks.create),
        authenticated_route("/v1/webhooks/{id}", DELETE=webhooks.delete),
        authenticated_route("/v1/webhooks/{id}/deliveries", GET=webhooks.list_deliveries),
        authenticated_route("/v1/webhooks/{id}/deliveries/{delivery_id}/redeliver", POST=webhooks.redeliver),
        admin_route("/v1/admin/ledger", GET=admin_acceptance_ledger.show),
        admin_route("/v1/admin/queue", GET=admin_queue.show),
        admin_route("/v1/admin/workers", GET=admin_queue.list_workers),
        admin_route("/v1/admin/users", GET=admin_accounts.list_accounts),
        admin_route("/v1/admin/users/{id}", GET=admin_accounts.show, PATCH=admin_accounts.change),
        public_route("/session", POST=login_sessions.create_page_session, DELETE=login_sessions.delete_page_session),
        public_route("/healthz", GET=health.show_liveness),
        public_route("/readyz", GET=health.show_readiness),
        public_route("/openapi.json", GET=openapi_document.show),
        public_route("/docs", GET=document_page.show),
        public_route("/", GET=page.show),
        public_route("/texts/{file}", GET=page.show_texts),
        Mount("/static", StaticAssets()),
    ]


def public_route(path: str, **endpoints: Endpoint) -> Route:
    """A route that needs no account: one endpoint for each method. OPTIONS answers with the methods in Allow."""

    methods = sorted({*endpoints, "OPTIONS", *(["HEAD"] if "GET" in endpoints else [])})
    allow = ", ".join(methods)

    async def endpoint(request: Request) -> Response:
        if request.method == "OPTIONS":
            request.state.default_headers["Allow"] = allow
        method = "GET" if request.method == "HEAD" else request.method
        return await endpoints[method](request) if method in endpoints else Response(status_code=204)

    return Route(path, endpoint, methods=methods)


def authenticated_route(path: str, **endpoints: AuthenticatedEndpoint) -> Route:
    """A route that needs an account."""
    return public_route(path, **{method: authenticated_endpoint(endpoint) for method, endpoint in endpoints.items()})


def admin_route(path: str, **endpoints: AuthenticatedEndpoint) -> Route:
    """A route for admins. Other accounts get `not_found`, as at an address that does not exist."""
    return authenticated_route(path, **{method: _admin_endpoint(endpoint) for method, endpoint in endpoints.items()})


def _admin_endpoint(endpoint: AuthenticatedEndpoint) -> AuthenticatedEndpoint:
    async def check_role_first(request: Request, principal: Principal) -> Response:
        if principal.role != ADMIN:
            raise CatalogueError("not_found")
        return await endpoint(request, principal)

    return check_role_first


def tus_route(path: str, **endpoints: AuthenticatedEndpoint) -> Route:
    """A route of the protocol tus. OPTIONS needs no account."""
    of_accounts = {
        method: uploads.tus_endpoint(authenticated_endpoint(endpoint)) for method, endpoint in endpoints.items()
    }
    return public_route(path, OPTIONS=uploads.discover, **of_accounts)


def authenticated_endpoint(endpoint: AuthenticatedEndpoint) -> Endpoint:
    """Authenticates before calling the endpoint. Raises as `require_principal`."""

    async def authenticate_first(request: Request) -> Response:
        return await endpoint(request, await require_principal(request))

    return authenticate_first
