"""The middleware of every request: its id and span, security headers, access log, the handler of unexpected errors."""

from __future__ import annotations

import re
import time
from collections.abc import Callable

import structlog
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uuid_utils.compat import uuid7

from db.tracing_api import Span
from serve_app.http import problem_details, request_tracing
from serve_app.http.request_metrics import SUBMISSIONS, ApiMetrics, method_of, route_of

# Ray Serve's proxy obeys these headers of a client. Nothing behind the proxy may see them.
_STRIPPED_HEADERS = {b"x-request-timeout-seconds", b"x-request-disconnect-disabled"}
_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")

SECURITY_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Cache-Control": "no-store",
}
"""Defaults of every response."""
STRICT_TRANSPORT_SECURITY = "max-age=31536000; includeSubDomains"

log = structlog.get_logger(__name__)


class RequestMiddleware:
    """Pure ASGI, so that responses stream unchanged. An endpoint may add to `request.state.default_headers`, which are
    those of its error responses too.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = _request_id(Headers(scope=scope).get("x-request-id"))
        headers = [(name, value) for name, value in scope["headers"] if name.lower() not in _STRIPPED_HEADERS]
        default_headers = _default_headers(scope, request_id)
        state = {**scope.get("state", {}), "request_id": request_id, "default_headers": default_headers}
        span = scope["app"].state.deps.tracing.start(scope, request_id)
        with request_tracing.entered_request(span, request_id):
            await self._run(
                {**scope, "headers": headers, "state": state}, receive, _HeaderSender(send, default_headers), span
            )

    async def _run(self, scope: Scope, receive: Receive, sender: _HeaderSender, span: Span) -> None:
        started = time.perf_counter()
        try:
            await self._app(scope, receive, sender)
        except Exception as error:
            self._count_refusal(scope, error)
            response = problem_details.error_response(error, scope["state"]["request_id"])
            if sender.status is not None:
                # The status is sent. Only a broken connection tells the client that the body is incomplete.
                raise
            await response(scope, receive, sender)
        finally:
            seconds = time.perf_counter() - started
            self._log(scope, sender.status, seconds)
            request_tracing.finish(span, scope, sender.status)
            if sender.status is not None:
                begun = seconds if sender.begun_at is None else sender.begun_at - started
                _metrics(scope).answered(method_of(scope), route_of(scope), sender.status, begun)

    def _count_refusal(self, scope: Scope, error: Exception) -> None:
        if (scope["method"], route_of(scope)) in SUBMISSIONS and not isinstance(error, ClientDisconnect):
            _metrics(scope).refused(problem_details.to_catalogue_error(error).code)

    def _log(self, scope: Scope, status: int | None, seconds: float) -> None:
        write: Callable[..., None] = log.debug if scope["path"] in request_tracing.PROBES else log.info
        write(
            "A request was answered.",
            event_name="request.answered",
            method=scope["method"],
            path=scope["path"],
            status=status,
            seconds=round(seconds, 4),
        )


class _HeaderSender:
    """An ASGI `send` that adds default headers to the response. status, begun_at: None until the response starts."""

    def __init__(self, send: Send, headers: dict[str, str]) -> None:
        self._send, self._headers = send, headers
        self.status: int | None = None
        self.begun_at: float | None = None

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status, self.begun_at = message["status"], time.perf_counter()
            headers = MutableHeaders(scope=message)
            for name, value in self._headers.items():
                headers.setdefault(name, value)
        await self._send(message)


class SingleRequestId:
    """Leaves X-Request-Id to the server around the application. Serve's adds it to every response, with the same id."""

    def __init__(self, app: ASGIApp) -> None:
        self.wrapped = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_without_id(message: Message) -> None:
            if message["type"] == "http.response.start":
                del MutableHeaders(scope=message)["x-request-id"]
            await send(message)

        await self.wrapped(scope, receive, send_without_id)


def _metrics(scope: Scope) -> ApiMetrics:
    metrics: ApiMetrics = scope["app"].state.deps.metrics
    return metrics


def _default_headers(scope: Scope, request_id: str) -> dict[str, str]:
    secure = {"Strict-Transport-Security": STRICT_TRANSPORT_SECURITY} if scope["app"].state.deps.https else {}
    return {**SECURITY_HEADERS, **secure, "X-Request-Id": request_id}


def _request_id(header: str | None) -> str:
    return header if header and _REQUEST_ID.fullmatch(header) else uuid7().hex
