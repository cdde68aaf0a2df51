"""What every request and answer meets first and last: the request id, headers, the log line, and the last catch."""

from __future__ import annotations

import re
import time
from collections.abc import Callable

import structlog
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uuid_utils.compat import uuid7

from serve_app.http import problem_details

# Serve's proxy obeys these when a client sends them; nothing behind it may.
_STRIPPED = {b"x-request-timeout-seconds", b"x-request-disconnect-disabled"}
_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
_QUIET = {"/healthz", "/readyz"}

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
"""Set on every answer that does not say otherwise itself."""
STRICT_TRANSPORT = "max-age=31536000; includeSubDomains"

log = structlog.get_logger(__name__)


class RequestMiddleware:
    """The outermost middleware of our own."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = _request_id(Headers(scope=scope).get("x-request-id"))
        headers = [(name, value) for name, value in scope["headers"] if name.lower() not in _STRIPPED]
        scope = {**scope, "headers": headers, "state": {**scope.get("state", {}), "request_id": request_id}}
        with structlog.contextvars.bound_contextvars(request_id=request_id):
            await self._run(scope, receive, _Answer(send, _headers(scope, request_id)))

    async def _run(self, scope: Scope, receive: Receive, answer: _Answer) -> None:
        started = time.perf_counter()
        try:
            await self._app(scope, receive, answer)
        except Exception as error:
            response = problem_details.error_response(error, scope["state"]["request_id"])
            if answer.status is not None:
                # The head is out: only breaking off tells the client that the body is not whole.
                raise
            await response(scope, receive, answer)
        finally:
            self._log(scope, answer.status, time.perf_counter() - started)

    def _log(self, scope: Scope, status: int | None, seconds: float) -> None:
        tell: Callable[..., None] = log.debug if scope["path"] in _QUIET else log.info
        tell(
            "A request was answered.",
            event_name="http.answered",
            method=scope["method"],
            path=scope["path"],
            status=status,
            seconds=round(seconds, 4),
        )


class _Answer:
    """`send`, with our headers on the head."""

    def __init__(self, send: Send, headers: dict[str, str]) -> None:
        self._send, self._headers = send, headers
        self.status: int | None = None

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            headers = MutableHeaders(scope=message)
            for name, value in self._headers.items():
                headers.setdefault(name, value)
        await self._send(message)


def _headers(scope: Scope, request_id: str) -> dict[str, str]:
    secure = {"Strict-Transport-Security": STRICT_TRANSPORT} if scope["app"].state.deps.https else {}
    return {**SECURITY_HEADERS, **secure, "X-Request-Id": request_id}


def _request_id(given: str | None) -> str:
    return given if given and _REQUEST_ID.fullmatch(given) else uuid7().hex
