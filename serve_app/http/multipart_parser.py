"""Parses `multipart/form-data` (RFC 7578) part by part as it arrives. A body is never in memory as a whole."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import AsyncGenerator, AsyncIterator
from dataclasses import dataclass
from typing import Any

from multipart import MultipartError, MultipartSegment, PushMultipartParser, parse_options_header

from db.values.error_catalogue import CatalogueError

PARSE_CHUNK_BYTES = 1 << 16
FRAMING_BYTES = 1 << 16
"""The most bytes that boundaries and headers may add to the content."""
MAX_FILENAME_CHARACTERS = 255
_DIRECTION_OVERRIDES = re.compile("[\u202a-\u202e\u2066-\u2069]")


class BodyError(CatalogueError):
    """The rest of the body can't be read: `malformed_request` or `too_large`."""


@dataclass(frozen=True, slots=True)
class PartHeaders:
    """The headers of a part. filename: cleaned; None when the part has none."""

    name: str
    filename: str | None


def boundary_of(content_type: str | None) -> bytes:
    """The boundary. Raises CatalogueError `unsupported_media_type` or `malformed_request`."""
    kind, options = parse_options_header(content_type or "")
    if kind != "multipart/form-data":
        raise CatalogueError("unsupported_media_type", "This route takes multipart/form-data.")
    boundary: bytes = options.get("boundary", "").encode("latin-1")
    if not 1 <= len(boundary) <= 70:
        raise CatalogueError("malformed_request", "The Content-Type has no valid boundary.")
    return boundary


class Part:
    """One part. Its unread content is skipped when the next part is read."""

    def __init__(self, headers: PartHeaders, events: AsyncGenerator[bytes | None, None]) -> None:
        self.headers = headers
        self._events = events
        self._ended = False
        self._pending = bytearray()

    async def peek(self, size: int) -> bytes:
        """The first `size` bytes, or all when there are fewer, without consuming them."""
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

    async def read(self, max_bytes: int) -> bytes:
        """The whole content. Raises CatalogueError `too_large` above `max_bytes` bytes."""
        content = bytearray()
        async for chunk in self.chunks():
            content += chunk
            if len(content) > max_bytes:
                raise CatalogueError("too_large", f"Part {self.headers.name!r:.40} is larger than {max_bytes} bytes.")
        return bytes(content)

    async def skip(self) -> None:
        async for _ in self.chunks():
            pass

    async def _next(self) -> bytes | None:
        if self._ended:
            return None
        event = await anext(self._events)
        self._ended = event is None
        return event


class MultipartReader:
    """Reads a body. max_bytes: the most bytes of all parts together, without their headers."""

    def __init__(self, body: AsyncIterator[bytes], boundary: bytes, max_bytes: int) -> None:
        self._body, self._boundary, self._max = body, boundary, max_bytes

    async def parts(self) -> AsyncGenerator[Part, None]:
        """The parts in their order.

        Raises BodyError: `malformed_request`, or `too_large` as soon as the sum is beyond its limit.
        """
        events = self._events()
        async for event in events:
            part = Part(_parse_headers(event), events)
            yield part
            await part.skip()

    async def _events(self) -> AsyncGenerator[Any, None]:
        """For each part: its MultipartSegment, its content as chunks of bytes, and None at its end."""
        # Latin-1 decodes any bytes. The encoding of a file name is tested later.
        parser = PushMultipartParser(self._boundary, header_charset="latin-1")
        content_bytes = body_bytes = 0
        try:
            async for chunk in self._body:
                body_bytes += len(chunk)
                if body_bytes > self._max + FRAMING_BYTES:
                    raise too_large_error(self._max)
                # In slices: a proxy may pass the whole body as one chunk, and the parser copies what it gets.
                for start in range(0, len(chunk), PARSE_CHUNK_BYTES):
                    for event in parser.parse(chunk[start : start + PARSE_CHUNK_BYTES]):
                        content_bytes += len(event) if isinstance(event, bytes) else 0
                        if content_bytes > self._max:
                            raise too_large_error(self._max)
                        yield event
            parser.close()
        except MultipartError as error:
            raise BodyError("malformed_request", f"The multipart body is not well-formed: {error}.") from error


def too_large_error(max_bytes: int) -> BodyError:
    """The refusal of a body whose files sum up to more than the limit."""
    return BodyError("too_large", f"The files of one request may sum up to {max_bytes} bytes.")


def clean_filename(name: str) -> str:
    """The file name without folders, control and direction characters, in NFC, of at most 255 characters."""
    last = re.split(r"[/\\]", name)[-1]
    shown = "".join(character for character in last if unicodedata.category(character) not in {"Cc", "Cs"})
    text = unicodedata.normalize("NFC", _DIRECTION_OVERRIDES.sub("", shown)).strip()
    if len(text) > MAX_FILENAME_CHARACTERS:
        stem, dot, suffix = text.rpartition(".")
        keep = f"{dot}{suffix}" if stem and len(suffix) <= 10 else ""
        text = text[: MAX_FILENAME_CHARACTERS - len(keep)] + keep
    return text if text.strip(".") else "video"


def _parse_headers(segment: MultipartSegment) -> PartHeaders:
    if not segment.name:
        raise BodyError("malformed_request", "A part has no name.")
    filename = segment.filename
    return PartHeaders(_utf8(segment.name), None if filename is None else clean_filename(_utf8(filename)))


def _utf8(header: str) -> str:
    return header.encode("latin-1").decode("utf-8", "replace")
