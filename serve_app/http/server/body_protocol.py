"""uvicorn's HTTP protocol with two copies of a request body fewer.

uvicorn takes what the event loop has read, at most 250 KB in new memory, copies it into a growing array, and from
there into a message. Here the event loop reads into one buffer, and the parser's copy of it is the message.
"""

from __future__ import annotations

import asyncio
from typing import Any

from uvicorn.protocols.http.flow_control import HIGH_WATER_LIMIT
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

READ_BYTES = 1 << 18
"""The most that is read at once. HAProxy passes on as much."""
_buffer = memoryview(bytearray(READ_BYTES))
"""All connections of a process share it: an event loop fills it and hands it over in one step."""


class BodyProtocol(asyncio.BufferedProtocol):
    """Gives what arrives to an HTTP protocol. A protocol has a buffer or gets bytes, so these are two classes."""

    def __init__(self, **arguments: Any) -> None:
        self._http = _HttpProtocol(**arguments)
        self.connection_made = self._http.connection_made  # type: ignore[assignment, method-assign]
        self.connection_lost = self._http.connection_lost  # type: ignore[method-assign]
        self.eof_received = self._http.eof_received  # type: ignore[method-assign]
        self.pause_writing = self._http.pause_writing  # type: ignore[method-assign]
        self.resume_writing = self._http.resume_writing  # type: ignore[method-assign]

    def get_buffer(self, sizehint: int) -> memoryview:
        return _buffer

    def buffer_updated(self, nbytes: int) -> None:
        self._http.data_received(_buffer[:nbytes])  # type: ignore[arg-type]  # the parser takes any buffer


class _HttpProtocol(HttpToolsProtocol):
    def on_body(self, body: bytes) -> None:
        cycle = self.cycle
        if cycle.response_complete:
            return
        # The cycle makes `bytes` of it, which is no copy when it is bytes already.
        cycle.body = bytes(cycle.body) + body if cycle.body else body  # type: ignore[assignment]
        if len(cycle.body) > HIGH_WATER_LIMIT:
            self.flow.pause_reading()
        cycle.message_event.set()
