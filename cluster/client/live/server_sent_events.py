"""Reads a stream of server-sent events (WHATWG HTML, 9.2), as its bytes arrive."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple


class ServerSentEvent(NamedTuple):
    type: str
    data: bytes


class EventParser:
    """last_event_id: what a client sends when it connects again; empty before the first one."""

    def __init__(self) -> None:
        self.last_event_id = ""
        self._rest = b""
        self._type, self._data = "", list[bytes]()

    def restart(self) -> None:
        """Forgets the event that a broken connection has left incomplete."""
        self._rest, self._type, self._data = b"", "", []

    def feed(self, chunk: bytes) -> Iterator[ServerSentEvent]:
        """Yields the events that are complete."""
        *lines, self._rest = (self._rest + chunk).split(b"\n")
        for line in lines:
            event = self._read_line(line.removesuffix(b"\r"))
            if event is not None:
                yield event

    def _read_line(self, line: bytes) -> ServerSentEvent | None:
        if not line:
            event = ServerSentEvent(self._type or "message", b"\n".join(self._data)) if self._data else None
            self._type, self._data = "", []
            return event
        name, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if name == b"id":
            self.last_event_id = value.decode(errors="replace")
        elif name == b"event":
            self._type = value.decode(errors="replace")
        elif name == b"data":
            self._data.append(value)
        return None
