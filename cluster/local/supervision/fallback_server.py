"""The server that answers while no replica of the API listens: 503 for every request, with what is being started."""

from __future__ import annotations

import json
import socket
import socketserver
import threading
import uuid
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from db.values.error_catalogue import CatalogueError

RETRY_AFTER_SECONDS = 2
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
SERVER = "fotograma-fallback"
"""The header `Server` of its answers."""


class FallbackServer:
    """Listens on a Unix socket, behind HAProxy.

    path: of the socket. parts: returns the state of each part by its name, for the body; called for each request.
    """

    def __init__(self, path: Path, parts: Callable[[], Mapping[str, str]]) -> None:
        self.path, self._parts = path, parts
        self._server: ThreadingHTTPServer | None = None

    def open(self) -> None:
        """Starts to listen."""
        server = _Server(str(self.path), _handler(self._parts))  # type: ignore[arg-type]  # typed for IP only
        threading.Thread(target=server.serve_forever, args=[0.05], name="fallback", daemon=True).start()
        self._server = server

    def close(self) -> None:
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
        self._server = None


class _Server(ThreadingHTTPServer):
    address_family = socket.AF_UNIX
    daemon_threads = True
    request_queue_size = 128

    def server_bind(self) -> None:
        # HTTPServer's own method expects a host and a port.
        socketserver.TCPServer.server_bind(self)

    def get_request(self) -> tuple[socket.socket, tuple[str, int]]:
        # The client of a Unix socket has no address, but the handler needs one.
        connection, _ = self.socket.accept()
        return connection, ("", 0)


def _handler(parts: Callable[[], Mapping[str, str]]) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        timeout = 10.0
        protocol_version = "HTTP/1.1"
        server_version, sys_version = SERVER, ""

        def answer(self) -> None:
            request_id = uuid.uuid4().hex
            body = json.dumps(problem(without_api(parts()), request_id)).encode()
            self.send_response(503)
            self.send_header("Content-Type", "application/problem+json")
            self.send_header("Content-Length", str(len(body)))
            self.send_header("Retry-After", str(RETRY_AFTER_SECONDS))
            self.send_header("X-Request-Id", request_id)
            self.send_header("Connection", "close")
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            """Logs nothing: a waiting client asks every second."""

    for method in METHODS:
        setattr(Handler, f"do_{method}", Handler.answer)
    return Handler


def without_api(parts: Mapping[str, str]) -> Mapping[str, str]:
    """Returns the parts with `api` away, even when its processes run: no replica listens."""
    return {**parts, "api": "away"} if parts.get("api") == "ok" else parts


def problem(parts: Mapping[str, str], request_id: str) -> Mapping[str, object]:
    """The body, in the form of the API (`serve_app.http.problem_details`)."""
    not_ready = ", ".join(f"{name} ({state})" for name, state in parts.items() if state != "ok")
    error = CatalogueError("unavailable", f"Nothing can be accepted now: {not_ready}.")
    return {
        "type": f"urn:fotograma:problem:{error.code}",
        "title": error.entry.en.title,
        "status": 503,
        "detail": error.detail,
        "code": error.code,
        "request_id": request_id,
        "fault": error.fault.value,
        "remedy": error.remedy,
        "parts": dict(parts),
    }
