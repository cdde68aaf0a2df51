"""A real webhook receiver that checks signatures and fails as often as configured."""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Mapping
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from standardwebhooks import Webhook, WebhookVerificationError

from tests.faults.injection.failing_receiver import SLOW_SECONDS, Failures, Way


class UnreliableHook:
    """fails: how, and how often. forged: messages without a signature that holds."""

    def __init__(self) -> None:
        self.fails = Failures()
        self.forged = 0
        self._secrets: dict[str, str] = {}
        self._taken: list[tuple[str, str]] = []
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True

    def new_url(self) -> str:
        """An address that nobody else is given."""
        return f"http://127.0.0.1:{self._server.server_port}/{uuid.uuid4().hex}"

    def expect(self, url: str, secret: str) -> None:
        """What comes to this address is signed with this secret."""
        self._secrets[f"/{url.rpartition('/')[2]}"] = secret

    def told(self) -> dict[str, list[str]]:
        """The webhook-ids that told of each file's success, by its name without the suffix."""
        found: dict[str, list[str]] = {}
        for name, message_id in list(self._taken):
            found.setdefault(name, []).append(message_id)
        return found

    def __enter__(self) -> UnreliableHook:
        threading.Thread(target=self._server.serve_forever, name="hook", daemon=True).start()
        return self

    def __exit__(self, *error: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def _take(self, path: str, headers: Mapping[str, str], body: bytes) -> HTTPStatus | None:
        """The answer; None cuts the line."""
        try:
            message: Any = Webhook(self._secrets[path]).verify(body, dict(headers))
        except (KeyError, WebhookVerificationError):
            self.forged += 1
            return HTTPStatus.UNAUTHORIZED
        way = self.fails.meet(headers["webhook-id"])
        if way is Way.REFUSED:
            return HTTPStatus.INTERNAL_SERVER_ERROR
        if way is Way.SLOW:
            time.sleep(SLOW_SECONDS)
            return HTTPStatus.SERVICE_UNAVAILABLE
        if message["type"] == "extraction.succeeded":
            name = message["data"]["video"]["filename"].removesuffix(".mp4")
            self._taken.append((name, headers["webhook-id"]))
        return None if way is Way.UNANSWERED else HTTPStatus.NO_CONTENT

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        take = self._take

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                answer = take(self.path, {name.lower(): value for name, value in self.headers.items()}, body)
                if answer is not None:
                    self.send_response(answer)
                    self.end_headers()
                self.close_connection = True

            def log_message(self, *_words: object) -> None:
                """Says nothing."""

        return Handler
