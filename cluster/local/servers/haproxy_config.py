"""The configuration of the HAProxy in front of the API's replicas on one machine. Pure.

HAProxy listens on the loopback interface only. It has no statistics page, no metrics and no administration socket. A
request that it can't pass on gets 503 with `Retry-After`, or a closed connection.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from cluster.local.cores_and_ports import LOCALHOST
from cluster.local.supervision.fallback_server import RETRY_AFTER_SECONDS, problem

MAX_REQUESTS_PER_REPLICA = 200
"""The most requests that a replica gets at a time. A download counts until it ends. The others wait."""
MAX_STREAMS_PER_REPLICA = 600
"""The same of streams of events, which stay open. A replica refuses some of them itself, with a problem."""
HEADER_BYTES = 64 * 1024
"""Room for the headers of a request. `Upload-Metadata` may hold a specification with many time stamps."""

_TEMPLATE = """\
global
    nbthread 2
    # HAProxy makes its tables as large as the limit of open files, which may be a billion.
    fd-hard-limit 8192
    tune.bufsize {header_bytes}

defaults
    mode http
    timeout connect 5s
    timeout client 1h
    timeout server 1h
    timeout http-request 30s
    timeout http-keep-alive 75s
    timeout queue 30s
    # Each connection to a replica carries one request, so none is sent on a connection that the replica is closing.
    option http-server-close
    option http-no-delay
    # The kernel moves the bodies from socket to socket.
    option splice-request
    option splice-response
    option abortonclose
    option forwardfor if-none
    # A request that no replica has received is sent to another replica, or to the fallback server.
    option redispatch 1
    retries 3
    retry-on conn-failure empty-response
    http-error status 503 content-type application/problem+json lf-string {unavailable} hdr Retry-After {retry_after}
    # The replica ended after it had received the request, which may have had its effect. So the connection closes.
    errorfile 502 /dev/null
    errorfile 504 /dev/null

frontend service
    bind {host}:{port}
    use_backend events if {{ path /v1/events }}
    default_backend api

backend api
    # HAProxy may repeat a GET only. Another request may have had its effect already.
    http-request disable-l7-retry if !METH_GET
    # The check is whether the replica listens. A replica that answers late is busy, not dead.
    default-server check inter 1s fastinter 100ms downinter 100ms fall 1 rise 1 maxconn {max_requests}
    default-server observe layer4 error-limit 1 on-error mark-down
{replicas}
    server fallback unix@{fallback} backup no-check maxconn {max_requests}

# Streams of events have their own number of connections: many open streams must not keep other requests waiting.
backend events
    timeout queue 1s
{streams}
    server fallback unix@{fallback} backup no-check maxconn {max_requests}
"""


def haproxy_config(port: int, replicas: Sequence[Path], fallback: Path) -> str:
    """port: on 127.0.0.1. replicas: the Unix sockets on which replicas may listen. fallback: the socket of the
    fallback server, which answers while no replica listens.
    """
    return _TEMPLATE.format(
        host=LOCALHOST,
        port=port,
        header_bytes=HEADER_BYTES,
        # The response of HAProxy itself, for the time when the supervisor has ended as well.
        unavailable=_format_string(json.dumps(problem({"supervisor": "away"}, "")), request_id="%[uuid]"),
        retry_after=RETRY_AFTER_SECONDS,
        max_requests=MAX_REQUESTS_PER_REPLICA,
        replicas="\n".join(f"    server {path.stem} unix@{path}" for path in replicas),
        streams="\n".join(
            f"    server {path.stem} unix@{path} track api/{path.stem} maxconn {MAX_STREAMS_PER_REPLICA}"
            for path in replicas
        ),
        fallback=fallback,
    )


def _format_string(document: str, *, request_id: str) -> str:
    """Returns a JSON document as one word of the configuration. request_id: a format, for the empty id in it."""
    text = document.replace("%", "%%").replace("'", "\\u0027")
    return "'" + text.replace('"request_id": ""', f'"request_id": "{request_id}"') + "'"
