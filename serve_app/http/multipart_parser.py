"""`multipart/form-data` (RFC 7578) part by part as it arrives, pulled by its reader: a body is never in memory."""

from __future__ import annotations

import re
import unicodedata
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator
from dataclasses import dataclass

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from db.values.error_catalogue import CatalogueError

FEED_BYTES = 1 << 16
FRAMING_BYTES = 1 << 16
"""What boundaries and headers may add to the content."""
MAX_FILENAME_CHARACTERS = 255
_DIRECTION_OVERRIDES = re.compile("[\u202a-\u202e\u2066-\u2069]")


class BodyError(CatalogueError):
    """The body as a whole can't be read on: `malformed_request` or `too_large`."""


@dataclass(frozen=True, slots=True)
class Head:
    """What a part says of itself. filename: cleaned, None when the part names none."""

    name: str
    filename: str | None


class _End:
    """A part is over."""


_END = _End()
_Event = Head | bytes | _End


def boundary_of(content_type: str | None) -> bytes:
    """The boundary. Raises CatalogueError `unsupported_media_type` or `malformed_request`."""
    kind, options = parse_options_header(content_type)
    if kind != b"multipart/form-data":
        raise CatalogueError("unsupported_media_type", "This route takes multipart/form-data.")
    boundary = options.get(b"boundary", b"")
    if not 1 <= len(boundary) <= 70:
        raise CatalogueError("malformed_request", "The Content-Type has no valid boundary.")
    return boundary


class Part:
    """One part; what is left unread of it is skipped when the next one is asked for."""

    def __init__(self, head: Head, source: MultipartReader) -> None:
        self.head = head
        self._source = source
        self._ended = False
        self._pending = bytearray()

    async def peek(self, size: int) -> bytes:
        """The first `size` bytes, or all when there are fewer; they stay to be read."""
        while len(self._pending) < size and (chunk := await self._next()) is not None:
            self._pending += chunk
        return bytes(self._pending[:size])

    async def chunks(self) -> AsyncIterator[bytes]:
        """The content from its beginning, once."""
        if self._pending:
            first, self._pending = bytes(self._pending), bytearray()
            yield first
        while (chunk := await self._next()) is not None:
            yield chunk

    async def read(self, most: int) -> bytes:
        """The whole content. Raises CatalogueError `too_large` above `most` bytes."""
        content = bytearray()
        async for chunk in self.chunks():
            content += chunk
            if len(content) > most:
                raise CatalogueError("too_large", f"The part {self.head.name!r:.40} is larger than {most} bytes.")
        return bytes(content)

    async def skip(self) -> None:
        async for _ in self.chunks():
            pass

    async def _next(self) -> bytes | None:
        if self._ended:
            return None
        event = await self._source.event()
        if isinstance(event, bytes):
            return event
        self._ended = True
        return None


class MultipartReader:
    """Reads a body. most_bytes: what the contents of all parts may sum up to."""

    def __init__(self, body: AsyncIterator[bytes], boundary: bytes, max_bytes: int) -> None:
        self._body, self._most = body, max_bytes
        self._content_bytes = self._body_bytes = 0
        self._unfed = memoryview(b"")
        self._events: deque[_Event] = deque()
        self._headers: dict[bytes, bytes] = {}
        self._field, self._value = bytearray(), bytearray()
        self._finished = False
        self._parser = MultipartParser(
            boundary,
            {
                "on_part_begin": self._headers.clear,
                "on_part_data": self._on_data,
                "on_part_end": lambda: self._events.append(_END),
                "on_header_field": lambda data, start, end: self._field.extend(data[start:end]),
                "on_header_value": lambda data, start, end: self._value.extend(data[start:end]),
                "on_header_end": self._on_header,
                "on_headers_finished": self._on_head,
                "on_end": self._on_end,
            },
        )

    async def parts(self) -> AsyncGenerator[Part, None]:
        """The parts in their order.

        Raises BodyError: `malformed_request`, or `too_large` as soon as the sum is beyond its limit.
        """
        while (event := await self.event()) is not None:
            if isinstance(event, Head):
                part = Part(event, self)
                yield part
                await part.skip()

    async def event(self) -> _Event | None:
        """The next thing that the body says, None at its end."""
        while not self._events:
            if self._unfed:
                self._feed()
                continue
            chunk = await anext(self._body, None)
            if chunk is None:
                if not self._finished:
                    raise BodyError("malformed_request", "The multipart body ends before its last boundary.")
                return None
            self._body_bytes += len(chunk)
            self._unfed = memoryview(chunk)
        return self._events.popleft()

    def _feed(self) -> None:
        # In slices: a proxy may hand over the whole body as one chunk, and each event is a copy.
        piece, self._unfed = bytes(self._unfed[:FEED_BYTES]), self._unfed[FEED_BYTES:]
        try:
            self._parser.write(piece)
        except FormParserError as error:
            raise BodyError("malformed_request", "The multipart body is not well-formed.") from error
        if self._content_bytes > self._most or self._body_bytes > self._most + FRAMING_BYTES:
            raise too_large(self._most)

    def _on_data(self, data: bytes, start: int, end: int) -> None:
        self._content_bytes += end - start
        self._events.append(data[start:end])

    def _on_header(self) -> None:
        self._headers[bytes(self._field).lower()] = bytes(self._value)
        self._field.clear()
        self._value.clear()

    def _on_head(self) -> None:
        self._events.append(_head(self._headers.get(b"content-disposition", b"")))

    def _on_end(self) -> None:
        self._finished = True


def too_large(max_bytes: int) -> BodyError:
    """The refusal of a body whose files sum up to more than the limit."""
    return BodyError("too_large", f"The files of one request may sum up to {max_bytes} bytes.")


def clean_filename(name: str) -> str:
    """What is kept of a sent file name: no folders, no control or direction characters, NFC, at most 255 characters."""
    last = re.split(r"[/\\]", name)[-1]
    shown = "".join(character for character in last if unicodedata.category(character) not in {"Cc", "Cs"})
    text = unicodedata.normalize("NFC", _DIRECTION_OVERRIDES.sub("", shown)).strip()
    if len(text) > MAX_FILENAME_CHARACTERS:
        stem, dot, suffix = text.rpartition(".")
        keep = f"{dot}{suffix}" if stem and len(suffix) <= 10 else ""
        text = text[: MAX_FILENAME_CHARACTERS - len(keep)] + keep
    return text if text.strip(".") else "video"


def _head(disposition: bytes) -> Head:
    kind, options = parse_options_header(disposition.decode("latin-1"))
    name = options.get(b"name")
    if kind != b"form-data" or name is None:
        raise BodyError("malformed_request", "A part has no Content-Disposition: form-data with a name.")
    filename = options.get(b"filename")
    return Head(
        name.decode("utf-8", "replace"),
        # Browsers send a quotation mark as %22, and no other character so (WHATWG HTML, multipart/form-data encoding).
        None if filename is None else clean_filename(filename.decode("utf-8", "replace").replace("%22", '"')),
    )
