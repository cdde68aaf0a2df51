"""The HTTP API as a Ray Serve deployment. The only module of this package that imports Ray."""

from __future__ import annotations

import gc
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ray import serve
from ray.util.metrics import Counter, Histogram

if TYPE_CHECKING:
    from starlette.applications import Starlette
    from starlette.types import ASGIApp

    from serve_app.deps import Deps
    from serve_app.http.request_metrics import ApiMetrics

    OpenDeps = Callable[[ApiMetrics], AbstractAsyncContextManager[Deps]]

NAME = "Api"
MAX_ONGOING_REQUESTS = 700
"""A download counts as one request until it ends, and so does a stream of events, of which 500 may be open. Serve's own
default is 5.
"""

CLOSE_SECONDS = 5.0
"""The part of the drain that is left for closing the database and the store."""

ALLOCATOR_ENV = {"MALLOC_ARENA_MAX": "2", "MALLOC_MMAP_THRESHOLD_": "1048576", "MALLOC_TRIM_THRESHOLD_": "8388608"}
"""Returns the memory of request bodies to the system. By default glibc keeps freed blocks of up to 32 MiB."""


RESPONSE_SECONDS = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0]


class RayApiMetrics:
    """The figures of an API replica as Ray metrics, for Prometheus. Ray adds `_total` to the names of counters."""

    def __init__(self) -> None:
        self._requests = Counter(
            "fotograma_http_requests", "Requests that the API answered.", tag_keys=("method", "route", "status")
        )
        self._seconds = Histogram(
            "fotograma_http_response_seconds",
            "From the start of a request until its response began.",
            boundaries=RESPONSE_SECONDS,
            tag_keys=("route",),
        )
        self._accepted = Counter("fotograma_submissions_accepted", "Extractions that were accepted.")
        self._refused = Counter(
            "fotograma_submissions_refused", "Submissions that were refused, by error code.", tag_keys=("reason",)
        )
        # Prometheus sees no increase in a series that begins with its first refusal, and Ray refuses to add 0.
        self._refused.inc(sys.float_info.min, tags={"reason": "storage_full"})

    def answered(self, method: str, route: str, status: int, seconds: float) -> None:
        self._requests.inc(tags={"method": method, "route": route, "status": str(status)})
        self._seconds.observe(seconds, tags={"route": route})

    def accepted(self, count: int) -> None:
        self._accepted.inc(count)

    def refused(self, reason: str) -> None:
        self._refused.inc(tags={"reason": reason})


class ApiReplica:
    """What code in the cluster calls by a handle of this deployment, beside the HTTP API."""

    app: Any  # what `build` returned, by `serve.ingress`

    async def call(self, name: str, arguments: dict[str, Any]) -> tuple[int, dict[str, str], bytes]:
        """Calls a method of `InClusterCalls`. Returns status, headers and body, as over HTTP."""
        from serve_app.in_cluster_calls import InClusterCalls  # noqa: PLC0415 - in the replica alone

        return await InClusterCalls(self.app.wrapped.state.deps).answer(name, arguments)


def application(
    open_deps: OpenDeps,
    *,
    replicas: int = 1,
    num_cpus: float = 0,
    resources: dict[str, float] | None = None,
    drain_seconds: float = 20.0,
    sockets: Path | None = None,
) -> serve.Application:
    """The application that `serve.run` takes.

    open_deps: called in each replica on its event loop; closed with the replica. resources: custom resources that a
    replica needs. drain_seconds: how long running requests may continue at shutdown. sockets: a folder in which each
    replica listens on a Unix socket as well, for a proxy that is not Serve's (`serve_app.http.server.replica_sockets`).
    """

    def listen(app: Starlette) -> AbstractAsyncContextManager[None]:
        return nullcontext() if sockets is None else _listening(app, sockets, replicas, drain_seconds - CLOSE_SECONDS)

    def build() -> ASGIApp:
        from serve_app.app import create_app  # noqa: PLC0415 - in the replica alone
        from serve_app.http.middleware import SingleRequestId  # noqa: PLC0415

        # The socket of the replica serves the application itself, which its lifespan gets.
        open_counted = partial(open_deps, RayApiMetrics())
        return SingleRequestId(create_app(lifespan=replica_lifespan(open_counted, listen)))

    options = serve.deployment(
        name=NAME,
        num_replicas=replicas,
        max_ongoing_requests=MAX_ONGOING_REQUESTS,
        graceful_shutdown_timeout_s=drain_seconds,
        ray_actor_options={
            "num_cpus": num_cpus,
            "resources": resources or {},
            "runtime_env": {"env_vars": dict(ALLOCATOR_ENV)},
        },
    )
    return options(serve.ingress(build)(ApiReplica)).bind()


def replica_lifespan(
    open_deps: Callable[[], AbstractAsyncContextManager[Deps]],
    listen: Callable[[Starlette], AbstractAsyncContextManager[None]],
) -> Callable[[Starlette], AbstractAsyncContextManager[None]]:
    """The lifespan of a replica. listen: serves the application on a socket as well, until its block ends."""

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        # Serve does not pass the lifespan's state to requests, so the application carries it.
        async with open_deps() as deps:
            app.state.deps = deps
            # The imports made 180,000 objects. A full collection would look at them for 0.12 s, in which no request is
            # answered; without them it takes 1 ms.
            gc.collect()
            gc.freeze()
            async with listen(app):
                try:
                    yield
                finally:
                    # Otherwise the server would wait for the streams of events until the time of the drain is over.
                    await deps.extraction_feed.close()

    return lifespan


@asynccontextmanager
async def _listening(app: Starlette, folder: Path, replicas: int, drain_seconds: float) -> AsyncIterator[None]:
    # In the replica alone.
    from serve_app.http.server.replica_sockets import bound_socket, socket_paths  # noqa: PLC0415
    from serve_app.http.server.socket_server import serve_on_socket  # noqa: PLC0415

    with bound_socket(socket_paths(folder, replicas)) as bound:
        async with serve_on_socket(app, bound, drain_seconds=drain_seconds):
            yield
