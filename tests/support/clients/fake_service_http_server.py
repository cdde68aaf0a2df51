"""Serves the fake service over HTTP on a real socket of this machine."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from urllib.parse import parse_qsl, urlsplit

from tests.support.clients.fake_messages import ApiRequest, ConnectionDropped
from tests.support.clients.fake_service import FakeService
from tests.support.servers.quiet_http_server import QuietHTTPServer


@contextmanager
def serve_fake_service(service: FakeService) -> Iterator[str]:
    """Yields the address. The server ends with the block."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def handle_request(self) -> None:
            address = urlsplit(self.path)
            headers = {name.lower(): value for name, value in self.headers.items()}
            body = self.rfile.read(int(headers.get("content-length", 0)))
            request = ApiRequest(self.command, address.path, dict(parse_qsl(address.query)), headers, body)
            try:
                response = service.respond(request)
            except ConnectionDropped:
                self.drop_connection()
                return
            self.send_response(response.status)
            length = {"Content-Length": str(len(response.body))} if response.chunks is None else {"Connection": "close"}
            for name, value in (length | response.headers).items():
                self.send_header(name, value)
            self.end_headers()
            if self.command == "HEAD":
                return
            self.wfile.write(response.body if response.truncated_at is None else response.body[: response.truncated_at])
            for chunk in response.chunks or ():
                self.wfile.write(chunk)
                self.wfile.flush()
            if response.truncated_at is not None or response.chunks is not None:
                self.drop_connection()

        do_GET = do_POST = do_DELETE = do_PATCH = do_PUT = do_HEAD = handle_request

        def drop_connection(self) -> None:
            self.wfile.flush()
            self.connection.shutdown(socket.SHUT_RDWR)
            self.close_connection = True

        def log_message(self, format: str, *args: object) -> None:
            """Logs nothing."""

    server = QuietHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
