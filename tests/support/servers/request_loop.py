"""An HTTP client without retries. It records every response that a client should never get."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Sequence

import httpx

TIMEOUT_SECONDS = 30.0
PAUSE_SECONDS = 0.05
"""The pause after each response: servers that start again need the processor."""
CLOSED = "closed"


class RequestLoop:
    """Sends each request again and again, in a thread of its own, while the block runs.

    requests: each with the expected status. statuses: how often each status was received, and CLOSED. unexpected:
    responses that had neither the expected status nor 503 with `Retry-After`.
    """

    def __init__(self, requests: Sequence[tuple[httpx.Request, int]]) -> None:
        self._requests = requests
        self._stop, self._changed = threading.Event(), threading.Condition()
        self._threads = [threading.Thread(target=self._send, args=request) for request in requests]
        self._expected_counts: Counter[str] = Counter()
        self.statuses: Counter[str] = Counter()
        self.unexpected: list[str] = []

    def __enter__(self) -> RequestLoop:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def wait_for_expected_responses(self, count: int, seconds: float) -> None:
        """Waits until each request has got `count` more expected responses."""
        with self._changed:
            targets = {
                str(request.url): self._expected_counts[str(request.url)] + count for request, _ in self._requests
            }
            is_reached = self._changed.wait_for(
                lambda: all(self._expected_counts[url] >= target for url, target in targets.items()), timeout=seconds
            )
        assert is_reached, f"too few expected responses: {self.statuses}"

    def _send(self, request: httpx.Request, expected_status: int) -> None:
        with httpx.Client(timeout=TIMEOUT_SECONDS, verify=False) as http:
            while not self._stop.is_set():
                self._record(request, expected_status, self._response_to(http, request))
                self._stop.wait(PAUSE_SECONDS)

    def _response_to(self, http: httpx.Client, request: httpx.Request) -> httpx.Response | None:
        try:
            return http.send(request)
        except httpx.TransportError:
            return None

    def _record(self, request: httpx.Request, expected_status: int, response: httpx.Response | None) -> None:
        with self._changed:
            if response is None:
                self.statuses[CLOSED] += 1
            elif response.status_code == expected_status:
                self.statuses[str(expected_status)] += 1
                self._expected_counts[str(request.url)] += 1
                self._changed.notify_all()
            else:
                self.statuses[str(response.status_code)] += 1
                if response.status_code != 503 or "retry-after" not in response.headers:
                    self.unexpected.append(
                        f"{request.method} {request.url.path}: {response.status_code} {response.text[:200]}"
                    )
