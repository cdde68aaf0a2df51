"""A client that is not our SDK: it repeats nothing, and writes down each answer that it should never get."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Sequence

import httpx

TIMEOUT_SECONDS = 30.0
PAUSE_SECONDS = 0.05
"""After every other answer than the right one: what starts again needs the processor."""
CLOSED = "closed"


class RequestLoop:
    """Sends each request again and again, in a thread of its own, for as long as the block lasts.

    requests: each with the status of its right answer. seen: how often each status came, and CLOSED. wrong: answers
    that were neither right nor 503 with `Retry-After`.
    """

    def __init__(self, requests: Sequence[tuple[httpx.Request, int]]) -> None:
        self._requests = requests
        self._ends, self._answered = threading.Event(), threading.Condition()
        self._threads = [threading.Thread(target=self._send, args=request) for request in requests]
        self._right: Counter[str] = Counter()
        self.seen: Counter[str] = Counter()
        self.wrong: list[str] = []

    def __enter__(self) -> RequestLoop:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._ends.set()
        for thread in self._threads:
            thread.join()

    def wait_for_right_answers(self, count: int, seconds: float) -> None:
        """Until each request has had so many more right answers."""
        with self._answered:
            wanted = {str(request.url): self._right[str(request.url)] + count for request, _ in self._requests}
            came = self._answered.wait_for(
                lambda: all(self._right[url] >= number for url, number in wanted.items()), timeout=seconds
            )
        assert came, f"no right answers any more: {self.seen}"

    def _send(self, request: httpx.Request, right: int) -> None:
        with httpx.Client(timeout=TIMEOUT_SECONDS) as http:
            while not self._ends.is_set():
                if not self._record(request, right, self._answer(http, request)):
                    self._ends.wait(PAUSE_SECONDS)

    def _answer(self, http: httpx.Client, request: httpx.Request) -> httpx.Response | None:
        try:
            return http.send(request)
        except httpx.TransportError:
            return None

    def _record(self, request: httpx.Request, right: int, answer: httpx.Response | None) -> bool:
        """Returns whether the answer was right."""
        with self._answered:
            if answer is None:
                self.seen[CLOSED] += 1
            elif answer.status_code == right:
                self.seen[str(right)] += 1
                self._right[str(request.url)] += 1
                self._answered.notify_all()
            else:
                self.seen[str(answer.status_code)] += 1
                if answer.status_code != 503 or "retry-after" not in answer.headers:
                    self.wrong.append(f"{request.method} {request.url.path}: {answer.status_code} {answer.text[:200]}")
            return answer is not None and answer.status_code == right
