"""What the event stream of one client has told of the extractions that it waits for."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Protocol

from cluster.client.api_types import Extraction
from cluster.client.errors import UnexpectedAnswer
from cluster.client.json_decoding import decode
from cluster.client.live.server_sent_events import EventParser


class Waiter(Protocol):
    """An event of `threading` or `asyncio`."""

    def set(self) -> None: ...


class NobodyFollows(Exception):
    """Ends a stream that nobody needs."""


class LiveExtractions:
    """The place where one stream tells the newest states to all who wait. Threads may share it.

    is_offered: whether the server has such a stream; None until that is known. is_open: whether one tells states now.
    epoch: rises when a stream begins or ends. What changed before it began is not told, so whoever waits reads anew.
    """

    def __init__(self) -> None:
        self.is_offered: bool | None = None
        self.is_open, self.epoch = False, 0
        self._lock = threading.Lock()
        self._followers: Counter[str] = Counter()
        self._newest: dict[str, Extraction] = {}
        self._waiters: dict[Waiter, str] = {}

    @property
    def is_followed(self) -> bool:
        """Whether anybody follows an extraction."""
        return bool(self._followers)

    @contextmanager
    def following(self, extraction_id: str) -> Iterator[None]:
        """Inside the block, what the stream tells of the extraction is kept."""
        with self._lock:
            self._followers[extraction_id] += 1
        try:
            yield
        finally:
            with self._lock:
                self._followers[extraction_id] -= 1
                if not self._followers[extraction_id]:
                    del self._followers[extraction_id]
                    self._newest.pop(extraction_id, None)

    @contextmanager
    def waiting(self, extraction: Extraction, epoch: int, waiter: Waiter) -> Iterator[None]:
        """Inside the block, the waiter is woken when there is a newer state, or another epoch."""
        with self._lock:
            self._waiters[waiter] = extraction.id
            if self.epoch != epoch or self._newer(extraction) is not None:
                waiter.set()
        try:
            yield
        finally:
            with self._lock:
                del self._waiters[waiter]

    def newer(self, extraction: Extraction) -> Extraction | None:
        """Returns a newer state; None when none has been told."""
        with self._lock:
            return self._newer(extraction)

    def tell(self, extraction: Extraction) -> None:
        """Takes a state from the stream. It may be older than another one, or that of an extraction nobody follows."""
        with self._lock:
            known = self._newest.get(extraction.id)
            if extraction.id in self._followers and (known is None or known.version < extraction.version):
                self._newest[extraction.id] = extraction
                self._wake(extraction.id)

    def change_open(self, is_open: bool) -> None:
        """Says whether a stream tells states now."""
        with self._lock:
            if self.is_open is not is_open:
                self.is_open = is_open
                self.epoch += 1
                self._wake(None)

    def wake_all(self) -> None:
        """Wakes all who wait."""
        with self._lock:
            self._wake(None)

    def _newer(self, extraction: Extraction) -> Extraction | None:
        told = self._newest.get(extraction.id)
        return told if told is not None and told.version > extraction.version else None

    def _wake(self, extraction_id: str | None) -> None:
        for waiter, awaited in self._waiters.items():
            if extraction_id in {None, awaited}:
                waiter.set()


class EventSink:
    """Receives the bytes of the stream, as a `ContentSink`. size: bytes of this connection."""

    def __init__(self, live: LiveExtractions) -> None:
        self._live, self._parser = live, EventParser()
        self.size = 0

    def headers(self) -> Mapping[str, str]:
        last = {"Last-Event-ID": self._parser.last_event_id} if self._parser.last_event_id else {}
        return {"Accept": "text/event-stream", "Accept-Encoding": "identity", **last}

    def begin(self, status: int, headers: Mapping[str, str]) -> None:
        """Raises UnexpectedAnswer when the answer is no stream of events."""
        if not headers.get("content-type", "").startswith("text/event-stream"):
            raise UnexpectedAnswer("The server answered the request for events with something else.")
        self.size = 0
        self._parser.restart()

    def write(self, chunk: bytes) -> None:
        """Raises NobodyFollows."""
        self.size += len(chunk)
        # The first bytes come when the server has subscribed the stream to the changes.
        self._live.change_open(True)
        for event in self._parser.feed(chunk):
            if event.type == "extraction":
                self._live.tell(decode(Extraction, event.data))
        if not self._live.is_followed:
            raise NobodyFollows
