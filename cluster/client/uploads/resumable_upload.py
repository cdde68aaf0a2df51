"""The upload of one file by tus, as a flow. An interrupted upload continues at the offset that the service has.

It tries in this order: the upload that the state file names, the upload of the same Idempotency-Key, a new upload.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from cluster.client.api_types import Video
from cluster.client.authorized_requests import Session, authorized
from cluster.client.calls.video_calls import video
from cluster.client.effects import Flow, RunInThread, Sleep
from cluster.client.errors import ApiError, ConnectionFailed, FotogramaError, UnexpectedAnswer, UnsendableFile
from cluster.client.local_files.local_file import FilePiece, LocalFile, OnRead, OnSent, sha256_of
from cluster.client.local_files.upload_state_file import RecordedUpload, UploadStateFile, upload_identity
from cluster.client.retry_policy import Attempt, resume_seconds
from cluster.client.uploads import tus_protocol
from cluster.client.uploads.content_reuse import (
    account_id,
    content_key,
    extract_by_spec,
    find_by_content,
    is_gone,
    record_sent,
    use_state_file,
)
from cluster.client.uploads.tus_protocol import (
    MAX_PIECE_BYTES,
    MIN_PIECE_BYTES,
    ONE_REQUEST_BYTES,
    PIECE_BYTES,
    UploadPosition,
)

RECORD_STEP = timedelta(hours=1)
"""Each byte postpones the expiry of an upload. The state file is written again when the expiry has moved by this."""
_CONTENT_REFUSED_CODES = frozenset({"upload_conflict", "too_large", "length_required"})
"""Codes with which the service refuses a creation with content, though one without content may succeed."""


@dataclass(frozen=True, slots=True)
class FileUpload:
    """What to upload. spec: JSON text. key: the caller's Idempotency-Key. by_content: as in `Client.upload`."""

    file: LocalFile
    spec: str | None = None
    key: str | None = None
    by_content: bool = False
    on_sent: OnSent | None = None
    on_read: OnRead | None = None

    def piece(self, start: int, max_bytes: int) -> FilePiece:
        return FilePiece(self.file, start, min(max_bytes, self.file.size - start), self.on_sent)

    def report(self, sent: int) -> None:
        if self.on_sent is not None:
            self.on_sent(sent, self.file.size)


@dataclass(slots=True)
class _StateEntry:
    """The entry of one upload in the state file. sha256: of the local file. expires_at: None before the first write."""

    state: UploadStateFile
    identity: str
    sha256: str
    expires_at: datetime | None = None


def upload(session: Session, file_upload: FileUpload) -> Flow[Video]:
    """Uploads a file, or continues its upload.

    Raises ApiError, ConnectionFailed, UnexpectedAnswer, UnsendableFile, OSError.
    """
    sha256, key = None, file_upload.key
    is_recorded = session.upload_state is not None and file_upload.file.size > ONE_REQUEST_BYTES
    if file_upload.by_content or file_upload.key is not None or is_recorded:
        # Only the digest shows that a later call continues with the same content; size and time do not.
        sha256 = yield RunInThread(lambda: sha256_of(file_upload.file, file_upload.on_read))
    entry = None
    if is_recorded and sha256 is not None:
        entry = yield from _state_entry(session, file_upload, sha256)
        resumed = yield from _resume(session, file_upload, entry)
        if resumed is not None:
            return resumed
    if file_upload.by_content and sha256 is not None:
        found = yield from _find_extracted(session, sha256, file_upload.spec)
        if found is not None:
            return found
        key = key or content_key(file_upload.file.path.name, file_upload.spec, sha256)
    created = yield from _create_and_send_with_retry(session, file_upload, sha256, key, entry)
    if file_upload.by_content and sha256 is not None:
        yield from record_sent(session, sha256, created.id)
    return created


def _resume(session: Session, file_upload: FileUpload, entry: _StateEntry) -> Flow[Video | None]:
    """Continues the upload that the state file names. None when there is none, or it is gone or has other content."""
    recorded = yield from use_state_file(lambda: entry.state.find(entry.identity))
    if recorded is None:
        return None
    if recorded.sha256 != entry.sha256:
        yield from _terminate(session, recorded.upload_path)
        yield from _delete_entry(entry)
        return None
    try:
        position = UploadPosition(recorded.upload_path, None, is_resumed=True)
        return (yield from _send_rest(session, file_upload, position, entry))
    except ApiError as error:
        if not is_gone(error):
            raise
    return None


def _find_extracted(session: Session, sha256: str, spec: str | None) -> Flow[Video | None]:
    """Returns a video of this content, extracted by `spec`. None when its bytes are gone."""
    found = yield from find_by_content(session, sha256)
    try:
        return None if found is None else (yield from extract_by_spec(session, found, spec))
    except ApiError as error:
        if not is_gone(error):
            raise
        return None


def _create_and_send_with_retry(
    session: Session, file_upload: FileUpload, sha256: str | None, key: str | None, entry: _StateEntry | None
) -> Flow[Video]:
    """Creates an upload; creates another one when the earlier upload of the same key is gone."""
    try:
        return (yield from _create_and_send(session, file_upload, sha256, key, entry))
    except ApiError as error:
        # The caller's own key stands for one video, even when that video was deleted.
        if not is_gone(error) or (error.status == 404 and file_upload.key is not None):
            raise
    return (yield from _create_and_send(session, file_upload, sha256, None, entry))


def _create_and_send(
    session: Session, file_upload: FileUpload, sha256: str | None, key: str | None, entry: _StateEntry | None
) -> Flow[Video]:
    metadata = {"filename": file_upload.file.path.name, "sha256": sha256}
    used_key, size = key or session.new_key(), file_upload.file.size
    if size <= ONE_REQUEST_BYTES and not tus_protocol.needs_body_for_spec(file_upload.spec):
        file_upload.report(0)
        content = file_upload.piece(0, size)
        request = tus_protocol.creation_request(size, metadata, used_key, file_upload.spec, content)
        try:
            reply = yield from authorized(session, request)
        except ApiError as error:
            if error.code not in _CONTENT_REFUSED_CODES:
                raise
        else:
            path = tus_protocol.upload_path(reply)
            return (yield from _send_rest(session, file_upload, tus_protocol.position_of(path, reply, size), None))
    reply = yield from authorized(session, tus_protocol.creation_request(size, metadata, used_key, file_upload.spec))
    created = tus_protocol.position_of(tus_protocol.upload_path(reply), reply, size)
    if key is None:
        # The key is new, so no bytes have been sent yet.
        created = replace(created, offset=0)
    yield from _record_position(file_upload, created, entry)
    return (yield from _send_rest(session, file_upload, created, entry))


def _send_rest(
    session: Session, file_upload: FileUpload, position: UploadPosition, entry: _StateEntry | None
) -> Flow[Video]:
    """Sends the bytes that the service does not have, and returns the video."""
    is_resumed = position.is_resumed
    try:
        if position.offset is None and position.video_id is None:
            position = yield from _fetch_position(session, file_upload, position.path)
        file_upload.report(position.offset or 0)
        video_id = yield from _send_pieces(session, file_upload, position, entry)
    except UnsendableFile:
        yield from _terminate(session, position.path)
        yield from _delete_entry(entry)
        raise
    except ApiError as error:
        if is_gone(error) or error.fault == "file":
            yield from _delete_entry(entry)
        raise
    file_upload.report(file_upload.file.size)
    stored = yield from video(session, video_id)
    # The video of a resumed upload may have been extracted by another specification in the meantime.
    return (yield from extract_by_spec(session, stored, file_upload.spec)) if is_resumed else stored


def _send_pieces(
    session: Session, file_upload: FileUpload, position: UploadPosition, entry: _StateEntry | None
) -> Flow[str]:
    """Sends all bytes from the offset on. Returns the id of the video. After a failure it asks for the offset."""
    max_bytes, failures = min(position.max_piece_bytes or PIECE_BYTES, MAX_PIECE_BYTES), _Failures()
    while position.video_id is None:
        assert position.offset is not None
        try:
            new_position = yield from _send_piece(session, file_upload, position, max_bytes)
        except (ApiError, ConnectionFailed) as error:
            if isinstance(error, ApiError) and error.status == 413 and max_bytes > MIN_PIECE_BYTES:
                max_bytes //= 2
                continue
            # A proxy that collects whole bodies, or a network that breaks off, loses less of a smaller one.
            max_bytes = min(max_bytes, PIECE_BYTES)
            seconds = failures.wait_seconds(session, error)
            if seconds is None:
                raise
            yield Sleep(seconds)
            new_position = yield from _fetch_position(session, file_upload, position.path)
            file_upload.report(new_position.offset or 0)
        if new_position.offset != position.offset:
            failures = _Failures()
        position = new_position
        yield from _record_position(file_upload, position, entry)
    return position.video_id


@dataclass(slots=True)
class _Failures:
    """Failures since the last progress of the offset."""

    count: int = 0
    first_at: float = 0.0

    def wait_seconds(self, session: Session, error: ApiError | ConnectionFailed) -> float | None:
        now = session.monotonic()
        self.first_at = self.first_at if self.count else now
        self.count += 1
        attempt = Attempt(self.count, now - self.first_at, repeatable=True)
        return resume_seconds(session.policy, attempt, error, session.random())


def _send_piece(
    session: Session, file_upload: FileUpload, position: UploadPosition, max_bytes: int
) -> Flow[UploadPosition]:
    start = position.offset or 0
    content = file_upload.piece(start, max_bytes)
    reply = yield from authorized(session, tus_protocol.piece_request(position.path, content))
    new_position = tus_protocol.position_of(position.path, reply, file_upload.file.size)
    if new_position.video_id is None and (new_position.offset is None or new_position.offset <= start):
        raise UnexpectedAnswer("The server took bytes of an upload, and its offset has not moved.")
    return new_position


def _fetch_position(session: Session, file_upload: FileUpload, path: str) -> Flow[UploadPosition]:
    reply = yield from authorized(session, tus_protocol.position_request(path))
    position = tus_protocol.position_of(path, reply, file_upload.file.size)
    if position.video_id is None and position.offset is None:
        raise UnexpectedAnswer("The server does not tell the offset of an upload.")
    return position


def _terminate(session: Session, path: str) -> Flow[None]:
    """Discards an upload that can't be completed, so that it takes no quota. If this fails, the upload expires."""
    try:
        yield from authorized(session, tus_protocol.termination_request(path))
    except FotogramaError:
        return


def _state_entry(session: Session, file_upload: FileUpload, sha256: str) -> Flow[_StateEntry]:
    assert session.upload_state is not None
    owner = yield from account_id(session)
    identity = upload_identity(session.base_url, owner, file_upload.file.path, file_upload.spec, file_upload.key)
    return _StateEntry(session.upload_state, identity, sha256)


def _record_position(file_upload: FileUpload, position: UploadPosition, entry: _StateEntry | None) -> Flow[None]:
    expires_at = position.expires_at
    if entry is None or expires_at is None or (entry.expires_at and expires_at - entry.expires_at < RECORD_STEP):
        return
    entry.expires_at = expires_at
    known = RecordedUpload(position.path, entry.sha256)
    yield from use_state_file(lambda: entry.state.record(entry.identity, file_upload.file.path, known, expires_at))


def _delete_entry(entry: _StateEntry | None) -> Flow[None]:
    if entry is not None:
        yield from use_state_file(lambda: entry.state.delete(entry.identity))
