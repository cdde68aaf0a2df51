"""What an API replica counts. The HTTP layer and the submissions call it; `serve_app.deployment` gives it to Ray."""

from __future__ import annotations

from typing import Protocol

from starlette.routing import Route
from starlette.types import Scope

UNMATCHED = "unmatched"
"""The route of a request that no route of the API serves: its path could be anything."""
SUBMISSIONS = frozenset(
    {
        ("POST", "/v1/videos"),
        ("POST", "/v1/uploads"),
        ("PATCH", "/v1/uploads/{id}"),
        ("POST", "/v1/videos/{id}/extractions"),
        ("POST", "/v1/extractions/{id}/retry"),
    }
)
"""Requests whose error means that a submission was refused."""
_METHODS = frozenset({"GET", "HEAD", "POST", "PATCH", "DELETE", "OPTIONS"})


class ApiMetrics(Protocol):
    """Receives the figures of one replica. No label names an account, a video or a task."""

    def answered(self, method: str, route: str, status: int, seconds: float) -> None:
        """A request was answered. route: its pattern. seconds: until the response began."""

    def accepted(self, count: int) -> None:
        """So many extractions were accepted."""

    def refused(self, reason: str) -> None:
        """A submission was refused. reason: a code of the error catalogue."""


class NoApiMetrics:
    """Discards the figures."""

    def answered(self, method: str, route: str, status: int, seconds: float) -> None: ...

    def accepted(self, count: int) -> None: ...

    def refused(self, reason: str) -> None: ...


NO_API_METRICS = NoApiMetrics()


def route_of(scope: Scope) -> str:
    """Returns the pattern of the route that the router has chosen, such as `/v1/videos/{id}`."""
    route = scope.get("route")
    if isinstance(route, Route):
        return route.path
    return "/static" if getattr(route, "path", None) == "/static" else UNMATCHED


def method_of(scope: Scope) -> str:
    """Returns the method; `other` for one that no route has, because a client may send any word."""
    method = str(scope["method"])
    return method if method in _METHODS else "other"
