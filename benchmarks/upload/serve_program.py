"""Runs the body reader, or the API, on Serve until standard input ends: `MODE PORT FOLDER`.

Prints a line when it accepts requests.
"""

from __future__ import annotations

import logging
import os
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from enum import StrEnum
from pathlib import Path

import ray
from ray import serve
from starlette.applications import Starlette

from cluster.local.ray_head import OBJECT_STORE_BYTES
from tests.support.servers.running_service import free_port

ROUTES_SECONDS = 5.0


class Mode(StrEnum):
    """What listens: Serve's proxy, Serve's HAProxy, or only the replica, on a Unix socket.

    API: Serve's proxy, with the API behind it. The environment has its settings.
    """

    PROXY = "proxy"
    HAPROXY = "haproxy"
    SOCKETS = "sockets"
    API = "api"


def environment(mode: Mode, folder: Path) -> dict[str, str]:
    """The environment of the program. Ray reads it when it is imported. folder: with a short path, for the sockets."""
    variables = {
        **os.environ,
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
        "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0",
        "RAY_worker_niceness": "0",
    }
    if mode is not Mode.HAPROXY:
        return variables
    return variables | {
        "RAY_SERVE_ENABLE_HA_PROXY": "1",
        "RAY_SERVE_DIRECT_INGRESS_MIN_DRAINING_PERIOD_S": "0",
        "RAY_SERVE_HAPROXY_CONFIG_FILE_LOC": str(folder / "haproxy.cfg"),
        "RAY_SERVE_HAPROXY_SOCKET_PATH": str(folder / "a.sock"),
        "RAY_SERVE_HAPROXY_METRICS_SOCKET_PATH": str(folder / "m.sock"),
        "RAY_SERVE_HAPROXY_SERVER_STATE_BASE": str(folder),
        "RAY_SERVE_HAPROXY_SERVER_STATE_FILE": str(folder / "state"),
        "RAY_SERVE_HAPROXY_STATS_PORT": str(free_port()),
        "RAY_SERVE_HAPROXY_METRICS_PORT": str(free_port()),
        "RAY_SERVE_FALLBACK_PROXY_HTTP_PORT": str(free_port()),
    }


def run(mode: Mode, port: int, folder: Path) -> None:
    """Serves until standard input ends."""
    ray.init(
        address="local",
        num_cpus=1,
        object_store_memory=OBJECT_STORE_BYTES,
        include_dashboard=False,
        log_to_driver=False,
        logging_level=logging.ERROR,
        _node_ip_address="127.0.0.1",
        _temp_dir=str(folder / "ray"),
    )
    logging.getLogger("ray.serve").setLevel(logging.WARNING)
    location = "Disabled" if mode is Mode.SOCKETS else "HeadOnly"
    serve.start(proxy_location=location, http_options={"host": "127.0.0.1", "port": port})

    serve.run(_api() if mode is Mode.API else _body_reader(mode, folder), route_prefix="/")
    if mode is Mode.HAPROXY:
        # Until Serve's HAProxy knows the replica, it sends requests to Serve's proxy. It does not report the change.
        time.sleep(ROUTES_SECONDS)
    print("ready", flush=True)
    sys.stdin.read()
    serve.shutdown()  # type: ignore[no-untyped-call]  # Serve leaves it untyped
    ray.shutdown()


def _api() -> serve.Application:
    from cluster.serve_applications import Placement, api  # noqa: PLC0415 - it needs the settings

    return api(Placement())


def _body_reader(mode: Mode, folder: Path) -> serve.Application:
    def build() -> Starlette:
        from benchmarks.upload.body_sink import body_reader  # noqa: PLC0415 - only in the replica

        return body_reader(lifespan=_listening_in(folder)) if mode is Mode.SOCKETS else body_reader()

    deployment = serve.deployment(name="BodyReader", ray_actor_options={"num_cpus": 0})
    return deployment(serve.ingress(build)()).bind()


def _listening_in(folder: Path) -> object:
    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        from serve_app.http.server.replica_sockets import bound_socket, socket_paths  # noqa: PLC0415 - only in the replica
        from serve_app.http.server.socket_server import serve_on_socket  # noqa: PLC0415

        with bound_socket(socket_paths(folder, 1)) as bound:
            async with serve_on_socket(app, bound, drain_seconds=1):
                yield

    return lifespan


def main() -> None:
    run(Mode(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]))


if __name__ == "__main__":
    main()
