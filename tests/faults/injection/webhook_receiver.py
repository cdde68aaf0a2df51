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

from tests.faults.injection.failing_receiver import SLOW_SECONDS, Failures, Reaction


class UnreliableHook:
    """failures: how its tries fail, and how often. invalid_signatures: messages without a valid signature."""

    def __init__(self) -> None:
        self.failures = Failures()
        self.invalid_signatures = 0
        self._secrets: dict[str, str] = {}
        self._successes: list[tuple[str, str]] = []
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True

    def new_url(self) -> str:
        """A new address of this receiver."""
        return f"http://127.0.0.1:{self._server.server_port}/{uuid.uuid4().hex}"

    def expect(self, url: str, secret: str) -> None:
        """Sets the secret with which messages to this address must be signed."""
        self._secrets[f"/{url.rpartition('/')[2]}"] = secret

    def received_ids(self) -> dict[str, list[str]]:
        """The webhook-ids of the received successes of each file, by the file's name without its suffix."""
        ids: dict[str, list[str]] = {}
        for name, message_id in list(self._successes):
            ids.setdefault(name, []).append(message_id)
        return ids

    def __enter__(self) -> UnreliableHook:
        threading.Thread(target=self._server.serve_forever, name="hook", daemon=True).start()
        return self

    def __exit__(self, *error: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def _respond(self, path: str, headers: Mapping[str, str], body: bytes) -> HTTPStatus | None:
        """The status to answer with; None: close the connection without an answer."""
        try:
            message: Any = Webhook(self._secrets[path]).verify(body, dict(headers))
        except (KeyError, WebhookVerificationError):
            self.invalid_signatures += 1
            return HTTPStatus.UNAUTHORIZED
        reaction = self.failures.react(headers["webhook-id"])
        if reaction is Reaction.REFUSED:
            return HTTPStatus.INTERNAL_SERVER_ERROR
        if reaction is Reaction.SLOW:
            time.sleep(SLOW_SECONDS)
            return HTTPStatus.SERVICE_UNAVAILABLE
        if message["type"] == "extraction.succeeded":
            name = message["data"]["video"]["filename"].removesuffix(".mp4")
            self._successes.append((name, headers["webhook-id"]))
        return None if reaction is Reaction.UNANSWERED else HTTPStatus.NO_CONTENT

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        respond = self._respond

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                answer = respond(self.path, {name.lower(): value for name, value in self.headers.items()}, body)
                if answer is not None:
                    self.send_response(answer)
                    self.end_headers()
                self.close_connection = True

            def log_message(self, *_words: object) -> None:
                """Logs nothing."""

        return Handler
