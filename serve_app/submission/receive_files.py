"""Taking the files of one multipart request: all of them, or nothing is left of any."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import structlog
from starlette.datastructures import Headers
from uuid_utils.compat import uuid7

from db.acceptance import reservations
from db.acceptance.accept import Upload
from db.connection import is_outage
from db.object_store.object_keys import video_key
from db.object_store.object_store import StoredObject
from db.values import frame_spec
from db.values.error_catalogue import CatalogueError
from db.values.file_type import HEAD_BYTES, sniff
from db.values.frame_spec import FrameSpec
from serve_app.deps import Deps
from serve_app.http.multipart_parser import FRAMING_BYTES, BodyError, MultipartReader, Part, too_large
from serve_app.http.problem_details import ProblemError
from serve_app.http.request_body import MAX_SPEC_BYTES, parse_json
from serve_app.submission import idempotent_requests

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class ReceivedFile:
    """video_id: None when it was only looked at, for comparing with an earlier call."""

    filename: str
    stored: StoredObject
    video_id: UUID | None


@dataclass(slots=True)
class ReceivedFiles:
    """What a body said."""

    files: list[ReceivedFile] = field(default_factory=list)
    spec: FrameSpec | None = None
    errors: list[dict[str, Any]] = field(default_factory=list)

    @property
    def canonical(self) -> str:
        return frame_spec.canonical(self.spec or FrameSpec())

    def fingerprint(self) -> str:
        """The same for the same specification, file names and contents in the same order."""
        return idempotent_requests.fingerprint(
            [self.canonical, [[file.filename, file.stored.sha256] for file in self.files]]
        )

    def uploads(self, user_id: UUID) -> list[Upload]:
        """What is to be accepted for that account."""
        return [_upload(user_id, file, self.canonical) for file in self.files]


def declared_size(headers: Headers, max_bytes: int) -> int:
    """What a body that is not read yet brings at least, in bytes; one of no declared length may bring the most.

    Raises CatalogueError `too_large` or `length_required`.
    """
    declared = headers.get("content-length")
    if declared is None:
        if "chunked" not in headers.get("transfer-encoding", "").lower():
            raise CatalogueError("length_required")
        return max_bytes
    if not declared.isascii() or not declared.isdigit():
        raise CatalogueError("malformed_request", "The Content-Length is not a number.")
    if int(declared) > max_bytes + FRAMING_BYTES:
        raise too_large(max_bytes)
    return max(1, int(declared) - FRAMING_BYTES)


class FileReceiver:
    """One request's files on their way in. store: False only digests them, for a repeated call."""

    def __init__(self, deps: Deps, user_id: UUID, *, store: bool = True) -> None:
        self._deps, self._user_id, self._store = deps, user_id, store
        self._reserved: list[str] = []
        self._unsettled: set[str] = set()
        self._taken = ReceivedFiles()
        self._index = -1

    async def take(self, reader: MultipartReader) -> ReceivedFiles:
        """Reads the body to its end.

        Raises ProblemError with the code of the first part that can't be taken and all of them in `errors`;
        CatalogueError as the reader and the store do. Whatever it raises, `undo` is then to be called.
        """
        async for part in reader.parts():
            self._index += 1
            try:
                await self._take_part(part)
            except CatalogueError as error:
                if isinstance(error, BodyError) or error.code not in _OF_A_PART:
                    raise
                self._refuse(part, error)
        if self._taken.errors:
            raise _refusal(self._taken.errors)
        if not self._taken.files:
            raise CatalogueError("no_file")
        return self._taken

    async def undo(self) -> None:
        """Removes what was stored. What can't be removed now is reserved still, and the keeper finds it."""
        if not self._reserved:
            return
        try:
            # Marked first: an object whose reservation was consumed meanwhile is accepted, and stays.
            for key in await reservations.abandon(self._deps.database, self._reserved):
                await self._deps.objects.delete(key)
            settled = [key for key in self._reserved if key not in self._unsettled]
            await reservations.delete_abandoned(self._deps.database, settled)
        except Exception as error:
            if not (isinstance(error, CatalogueError) or is_outage(error)):
                raise
            log.warning("An abandoned upload is left to the keeper.", event_name="intake.left", keys=self._reserved)

    async def _take_part(self, part: Part) -> None:
        match part.head.name:
            case "file":
                await self._take_file(part)
            case "spec" if self._taken.spec is None:
                asked = parse_json(await part.read(MAX_SPEC_BYTES), "The specification")
                self._taken.spec = frame_spec.from_document(asked)
            case "spec":
                raise CatalogueError("invalid_field", "spec: There is more than one part of this name.")
            case name:
                raise CatalogueError("invalid_field", f"{name[:40]}: This is not a known part; they are file and spec.")

    async def _take_file(self, part: Part) -> None:
        if len(self._taken.files) + len(self._taken.errors) >= self._deps.request_max_files:
            most = self._deps.request_max_files
            raise CatalogueError("too_many_files", f"One request may have {most} files.")
        sniff(await part.peek(HEAD_BYTES))
        filename = part.head.filename or "video"
        if not self._store:
            self._taken.files.append(ReceivedFile(filename, await _digest(part.chunks()), None))
        elif not self._taken.errors:
            # After a refused part the others are only looked at: nothing of this request will be kept.
            self._taken.files.append(await self._put(filename, part))

    async def _put(self, filename: str, part: Part) -> ReceivedFile:
        video_id = uuid7()
        key = video_key(video_id)
        self._reserved.append(key)
        await reservations.reserve(self._deps.database, self._user_id, key)
        try:
            return ReceivedFile(filename, await self._deps.objects.put(key, part.chunks()), video_id)
        except asyncio.CancelledError:
            # A thread of the store may finish its step after this: its reservation stays for the keeper.
            self._unsettled.add(key)
            raise

    def _refuse(self, part: Part, error: CatalogueError) -> None:
        self._taken.errors.append(
            {
                "part": part.head.name[:40],
                "index": self._index,
                "filename": part.head.filename,
                "code": error.code,
                "detail": error.detail,
                "fault": error.fault.value,
                "remedy": error.remedy,
            }
        )


_OF_A_PART = {
    "empty_file",
    "invalid_field",
    "invalid_spec",
    "malformed_request",
    "not_a_video",
    "playlist",
}
"""What speaks of one part and lets the next ones be looked at."""


def _refusal(errors: Sequence[dict[str, Any]]) -> ProblemError:
    first = errors[0]
    where = f"{first['filename']}: " if first["filename"] else ""
    more = "" if len(errors) == 1 else f" Parts that can't be taken: {len(errors)}."
    return ProblemError(first["code"], f"{where}{first['detail']}{more}", members={"errors": list(errors)})


async def _digest(chunks: AsyncIterator[bytes]) -> StoredObject:
    digest, size = hashlib.sha256(), 0
    async for chunk in chunks:
        digest.update(chunk)
        size += len(chunk)
    return StoredObject(size, digest.hexdigest())


def _upload(user_id: UUID, file: ReceivedFile, canonical: str) -> Upload:
    assert file.video_id is not None
    return Upload(
        user_id=user_id,
        video_id=file.video_id,
        extraction_id=uuid7(),
        task_id=uuid7(),
        filename=file.filename,
        size=file.stored.size,
        sha256=file.stored.sha256,
        object_key=video_key(file.video_id),
        spec=canonical,
    )
