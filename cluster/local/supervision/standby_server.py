"""A server on the service's port while Ray does not run: answers 503 to each request, with the state of the parts."""

from __future__ import annotations

import json
import socket
import socketserver
import threading
import uuid
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from cluster.local import cores_and_ports
from db.values.error_catalogue import CatalogueError

RETRY_AFTER_SECONDS = 2
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")
LISTENING = "0A"
"""The state of a socket in /proc/net/tcp."""


class StandbyServer:
    """parts: returns the states for `/readyz` by name; called at each request. Threads may share it.

    Serve's proxy and this server set SO_REUSEPORT, so that the proxy can listen before this server closes the port.
    """

    def __init__(self, port: int, parts: Callable[[], Mapping[str, str]]) -> None:
        self._port, self._parts = port, parts
        self._lock = threading.Lock()
        self._server: ThreadingHTTPServer | None = None

    def open(self) -> None:
        """Starts to listen. Raises StartupError when another program listens on the port."""
        with self._lock:
            if self._server is not None:
                return
            cores_and_ports.check_port(self._port)
            server = _Server((cores_and_ports.LOCALHOST, self._port), _handler(self._parts))
            threading.Thread(target=server.serve_forever, args=[0.05], name="standby", daemon=True).start()
            self._server = server

    def close(self) -> None:
        with self._lock:
            if self._server is not None:
                self._server.shutdown()
                self._server.server_close()
            self._server = None

    def another_listens(self) -> bool:
        """Whether another socket listens on the port, or this server does not listen."""
        return self._server is None or listeners(self._port) > 1


def listeners(port: int) -> int:
    """Counts the sockets of this machine that listen on the port of the loopback address."""
    address = f"{_kernel_form(cores_and_ports.LOCALHOST)}:{port:04X}"
    with open("/proc/net/tcp") as table:
        return sum(line.split()[1:4:2] == [address, LISTENING] for line in table)


def _kernel_form(address: str) -> str:
    return f"{int.from_bytes(socket.inet_aton(address), 'little'):08X}"


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    allow_reuse_port = True

    def server_bind(self) -> None:
        # HTTPServer's method would also ask the name service for this machine's name.
        socketserver.TCPServer.server_bind(self)


def _handler(parts: Callable[[], Mapping[str, str]]) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        timeout = 10.0

        def answer(self) -> None:
            request_id = uuid.uuid4().hex
            body = json.dumps(problem(parts(), request_id)).encode()
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
