"""Receives the files of one request: all of them are stored, or nothing of any is left."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import structlog
from sqlalchemy.ext.asyncio import AsyncEngine
from starlette.datastructures import Headers
from uuid_utils.compat import uuid7

from db.acceptance import object_reservations
from db.acceptance.accept import Upload
from db.connection import is_outage
from db.object_store.object_keys import video_key
from db.object_store.object_store import ObjectStore, StoredObject
from db.run_to_completion import run_to_completion
from db.tracing_api import current_origin
from db.values import frame_spec
from db.values.error_catalogue import CatalogueError
from db.values.file_type import HEAD_BYTES, sniff
from db.values.frame_spec import FrameSpec
from serve_app.http.json_request_body import MAX_SPEC_BYTES, parse_json
from serve_app.http.multipart_parser import (
    FRAMING_BYTES,
    BodyError,
    MultipartReader,
    Part,
    clean_filename,
    too_large_error,
)
from serve_app.http.problem_details import ProblemError

_PART_CODES = {
    "empty_file",
    "invalid_field",
    "invalid_spec",
    "malformed_request",
    "not_a_video",
    "playlist",
}
"""Errors of a single part. The parts after it are still checked, so that one response names every refused part."""

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class ReceivedFile:
    """video_id: None for a file that was only digested, to compare a repeated request with the first one."""

    filename: str
    content: StoredObject
    video_id: UUID | None


@dataclass(slots=True)
class ReceivedFiles:
    """What one request contains. errors: its refused parts, as a problem's member `errors` names them."""

    files: list[ReceivedFile] = field(default_factory=list)
    spec: FrameSpec | None = None
    errors: list[dict[str, Any]] = field(default_factory=list)

    @property
    def canonical_spec(self) -> str:
        return frame_spec.canonical(self.spec or FrameSpec())

    @property
    def identity(self) -> list[Any]:
        """JSON values that are equal for the same specification, file names and contents in the same order."""
        return [self.canonical_spec, [[file.filename, file.content.sha256] for file in self.files]]

    def uploads(self, user_id: UUID) -> list[Upload]:
        """The rows to accept for this account."""
        return [_upload(user_id, file, self.canonical_spec) for file in self.files]


def declared_size(headers: Headers, max_bytes: int) -> int:
    """The least size of a body's files in bytes, before the body is read; `max_bytes` without a Content-Length.

    Raises CatalogueError `too_large`, `length_required` or `malformed_request`.
    """
    declared = headers.get("content-length")
    if declared is None:
        if "chunked" not in headers.get("transfer-encoding", "").lower():
            raise CatalogueError("length_required")
        return max_bytes
    if not declared.isascii() or not declared.isdigit():
        raise CatalogueError("malformed_request", "The Content-Length is not a number.")
    if int(declared) > max_bytes + FRAMING_BYTES:
        raise too_large_error(max_bytes)
    return max(1, int(declared) - FRAMING_BYTES)


class FileReceiver:
    """Reads multipart bodies to their end, and copies single files.

    max_files: of one multipart body.

    `store` and `digest` raise ProblemError with the code of the first refused part and with all refused parts in
    `errors`, and CatalogueError as the body and the object store do.
    """

    def __init__(self, database: AsyncEngine, objects: ObjectStore, max_files: int) -> None:
        self._database, self._objects, self._max_files = database, objects, max_files

    @asynccontextmanager
    async def store(self, body: MultipartReader, user_id: UUID) -> AsyncIterator[ReceivedFiles]:
        """Stores the files. They are removed again when reading the body or the block raises."""
        async with self._reserved_objects(user_id) as objects:
            yield await self._receive(body, objects.put)

    @asynccontextmanager
    async def copy(
        self, filename: str, blocks: AsyncGenerator[bytes, None], user_id: UUID, spec: FrameSpec
    ) -> AsyncIterator[ReceivedFiles]:
        """Stores one file. It is removed again when reading the blocks or the block of the caller raises.

        blocks: the first one has HEAD_BYTES, or the whole file. Raises CatalogueError as `sniff`, the blocks and the
        object store do.
        """
        async with self._reserved_objects(user_id) as objects, aclosing(blocks):
            first = await anext(blocks, b"")
            sniff(first[:HEAD_BYTES])
            file = await objects.put(clean_filename(filename), _joined(first, blocks))
            yield ReceivedFiles([file], spec)

    async def digest(self, body: MultipartReader) -> ReceivedFiles:
        """Reads the files without storing them."""
        return await self._receive(body, _digest)

    @asynccontextmanager
    async def _reserved_objects(self, user_id: UUID) -> AsyncIterator[_ReservedObjects]:
        objects = _ReservedObjects(self._database, self._objects, user_id)
        try:
            yield objects
        except BaseException:
            await run_to_completion(objects.remove())
            raise

    async def _receive(self, body: MultipartReader, take_file: _TakeFile) -> ReceivedFiles:
        received, index = ReceivedFiles(), 0
        async for part in body.parts():
            try:
                await self._receive_part(part, received, take_file)
            except CatalogueError as error:
                if isinstance(error, BodyError) or error.code not in _PART_CODES:
                    raise
                received.errors.append(_part_error(part, index, error))
            index += 1
        if received.errors:
            raise _refusal(received.errors)
        if not received.files:
            raise CatalogueError("no_file")
        return received

    async def _receive_part(self, part: Part, received: ReceivedFiles, take_file: _TakeFile) -> None:
        match part.headers.name:
            case "file":
                if len(received.files) + len(received.errors) >= self._max_files:
                    raise CatalogueError("too_many_files", f"One request may have {self._max_files} files.")
                sniff(await part.peek(HEAD_BYTES))
                # After a refused part nothing of this request is kept: the other files are only checked.
                if not received.errors:
                    received.files.append(await take_file(part.headers.filename or "video", part.chunks()))
            case "spec" if received.spec is None:
                spec = parse_json(await part.read(MAX_SPEC_BYTES), "The specification")
                received.spec = frame_spec.from_document(spec)
            case "spec":
                raise CatalogueError("invalid_field", "spec: There is more than one part of this name.")
            case name:
                raise CatalogueError("invalid_field", f"{name[:40]}: Unknown part; the known parts are file and spec.")


_TakeFile = Callable[[str, AsyncIterator[bytes]], Awaitable[ReceivedFile]]


class _ReservedObjects:
    """The objects of one request. Each is reserved before its first byte."""

    def __init__(self, database: AsyncEngine, objects: ObjectStore, user_id: UUID) -> None:
        self._database, self._objects, self._user_id = database, objects, user_id
        self._keys: list[str] = []
        self._unsettled: set[str] = set()

    async def put(self, filename: str, chunks: AsyncIterator[bytes]) -> ReceivedFile:
        video_id = uuid7()
        key = video_key(video_id)
        self._keys.append(key)
        await object_reservations.reserve(self._database, self._user_id, key)
        try:
            return ReceivedFile(filename, await self._objects.put(key, chunks), video_id)
        except asyncio.CancelledError:
            # A thread of the store may still write after this. The reservation stays, for maintenance.
            self._unsettled.add(key)
            raise

    async def remove(self) -> None:
        """Removes what was stored. What can't be removed now stays reserved, and maintenance finds it."""
        if not self._keys:
            return
        try:
            # Marked first: an object whose reservation was consumed meanwhile is accepted, and stays.
            for key in await object_reservations.abandon(self._database, self._keys):
                await self._objects.delete(key)
            settled = [key for key in self._keys if key not in self._unsettled]
            await object_reservations.delete_abandoned(self._database, settled)
        except Exception as error:
            if not (isinstance(error, CatalogueError) or is_outage(error)):
                raise
            log.warning("An upload is left to maintenance.", event_name="upload.abandoned", object_keys=self._keys)


async def _joined(first: bytes, others: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    yield first
    async for block in others:
        yield block


async def _digest(filename: str, chunks: AsyncIterator[bytes]) -> ReceivedFile:
    digest, size = hashlib.sha256(), 0
    async for chunk in chunks:
        digest.update(chunk)
        size += len(chunk)
    return ReceivedFile(filename, StoredObject(size, digest.hexdigest()), None)


def _part_error(part: Part, index: int, error: CatalogueError) -> dict[str, Any]:
    return {
        "part": part.headers.name[:40],
        "index": index,
        "filename": part.headers.filename,
        "code": error.code,
        "detail": error.detail,
        "fault": error.fault.value,
        "remedy": error.remedy,
    }


def _refusal(errors: Sequence[dict[str, Any]]) -> ProblemError:
    first = errors[0]
    where = f"{first['filename']}: " if first["filename"] else ""
    more = "" if len(errors) == 1 else f" Refused parts: {len(errors)}."
    return ProblemError(first["code"], f"{where}{first['detail']}{more}", extensions={"errors": list(errors)})


def _upload(user_id: UUID, file: ReceivedFile, canonical_spec: str) -> Upload:
    assert file.video_id is not None
    origin = current_origin()
    return Upload(
        user_id=user_id,
        video_id=file.video_id,
        extraction_id=uuid7(),
        task_id=uuid7(),
        filename=file.filename,
        size=file.content.size,
        sha256=file.content.sha256,
        object_key=video_key(file.video_id),
        spec=canonical_spec,
        request_id=origin.request_id,
        traceparent=origin.traceparent,
    )
