"""The upload of one file by tus, as a flow: what breaks off goes on where the service is.

Tried in this order: the upload that the state file knows, the upload of the same Idempotency-Key, a new upload.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from cluster.client import tus_protocol
from cluster.client.api_calls import video
from cluster.client.api_types import Video
from cluster.client.authorized_requests import Session, authorized
from cluster.client.content_reuse import (
    account_id,
    content_key,
    extracted_by_spec,
    find_by_content,
    is_gone,
    record_sent,
    remembered,
)
from cluster.client.effects import Flow, RunInThread, Sleep
from cluster.client.errors import ApiError, ConnectionFailed, FotogramaError, UnexpectedAnswer, UnsendableFile
from cluster.client.local_files.local_file import FilePiece, LocalFile, OnRead, OnSent, sha256_of
from cluster.client.local_files.upload_state_file import RecordedUpload, UploadStateFile, upload_identity
from cluster.client.retry_policy import Attempt, resume_seconds
from cluster.client.tus_protocol import MIN_PIECE_BYTES, ONE_REQUEST_BYTES, PIECE_BYTES, UploadPosition

RECORD_STEP = timedelta(hours=1)
"""Each byte moves the time at which an upload expires. The state file is written again after so much."""
_REFUSALS_OF_BYTES = frozenset({"upload_conflict", "too_large", "length_required"})
"""Codes with which a creation that brings the file is refused, while one without it may succeed."""


@dataclass(frozen=True, slots=True)
class WantedUpload:
    """spec: JSON text. key: the caller's Idempotency-Key. by_content: as in `Client.upload`."""

    file: LocalFile
    spec: str | None = None
    key: str | None = None
    by_content: bool = False
    on_sent: OnSent | None = None
    on_read: OnRead | None = None

    def piece(self, start: int, most: int) -> FilePiece:
        return FilePiece(self.file, start, min(most, self.file.size - start), self.on_sent)

    def report(self, sent: int) -> None:
        if self.on_sent is not None:
            self.on_sent(sent, self.file.size)


@dataclass(slots=True)
class _StateEntry:
    """The entry of one upload in the state file. sha256: of the file now. expires_at: as it was written last."""

    state: UploadStateFile
    identity: str
    sha256: str
    expires_at: datetime | None = None


def upload(session: Session, wanted: WantedUpload) -> Flow[Video]:
    """Raises ApiError, ConnectionFailed, UnexpectedAnswer, UnsendableFile, OSError."""
    sha256, key = None, wanted.key
    is_remembered = session.upload_state is not None and wanted.file.size > ONE_REQUEST_BYTES
    if wanted.by_content or wanted.key is not None or is_remembered:
        # What a later call goes on with must be the same content: neither size nor time tell so.
        sha256 = yield RunInThread(lambda: sha256_of(wanted.file, wanted.on_read))
    entry = None
    if is_remembered and sha256 is not None:
        entry = yield from _state_entry(session, wanted, sha256)
        resumed = yield from _resume(session, wanted, entry)
        if resumed is not None:
            return resumed
    if wanted.by_content and sha256 is not None:
        found = yield from _find_extracted(session, sha256, wanted.spec)
        if found is not None:
            return found
        key = key or content_key(wanted.file.path.name, wanted.spec, sha256)
    placed = yield from _begin_once_more(session, wanted, sha256, key, entry)
    if wanted.by_content and sha256 is not None:
        yield from record_sent(session, sha256, placed.id)
    return placed


def _resume(session: Session, wanted: WantedUpload, entry: _StateEntry) -> Flow[Video | None]:
    """Goes on with the upload that the state file knows. None when there is none, it is gone, or of another content."""
    recorded = yield from remembered(lambda: entry.state.find(entry.identity))
    if recorded is None:
        return None
    if recorded.sha256 != entry.sha256:
        yield from _terminate(session, recorded.upload_path)
        yield from _forget(entry)
        return None
    try:
        return (yield from _finish(session, wanted, UploadPosition(recorded.upload_path, None, is_earlier=True), entry))
    except ApiError as error:
        if not is_gone(error):
            raise
    return None


def _find_extracted(session: Session, sha256: str, spec: str | None) -> Flow[Video | None]:
    """Returns a video of this content, extracted by `spec`. None when its bytes are gone."""
    found = yield from find_by_content(session, sha256)
    try:
        return None if found is None else (yield from extracted_by_spec(session, found, spec))
    except ApiError as error:
        if not is_gone(error):
            raise
        return None


def _begin_once_more(
    session: Session, wanted: WantedUpload, sha256: str | None, key: str | None, entry: _StateEntry | None
) -> Flow[Video]:
    """Begins an upload, and once more when the earlier one of this key is gone."""
    try:
        return (yield from _begin(session, wanted, sha256, key, entry))
    except ApiError as error:
        # A caller's own key stands for one video, also when that was deleted.
        if not is_gone(error) or (error.status == 404 and wanted.key is not None):
            raise
    return (yield from _begin(session, wanted, sha256, None, entry))


def _begin(
    session: Session, wanted: WantedUpload, sha256: str | None, key: str | None, entry: _StateEntry | None
) -> Flow[Video]:
    metadata = {"filename": wanted.file.path.name, "sha256": sha256}
    used, size = key or session.new_key(), wanted.file.size
    if size <= ONE_REQUEST_BYTES and not tus_protocol.comes_as_body(wanted.spec):
        wanted.report(0)
        whole = tus_protocol.creation(size, metadata, used, wanted.spec, wanted.piece(0, size))
        try:
            reply = yield from authorized(session, whole)
        except ApiError as error:
            if error.code not in _REFUSALS_OF_BYTES:
                raise
        else:
            path = tus_protocol.upload_path(reply)
            return (yield from _finish(session, wanted, tus_protocol.position_of(path, reply, size), None))
    reply = yield from authorized(session, tus_protocol.creation(size, metadata, used, wanted.spec))
    created = tus_protocol.position_of(tus_protocol.upload_path(reply), reply, size)
    if key is None:
        # Nobody knows this key, so nobody has sent anything yet.
        created = replace(created, offset=0)
    yield from _record_position(wanted, created, entry)
    return (yield from _finish(session, wanted, created, entry))


def _finish(session: Session, wanted: WantedUpload, at: UploadPosition, entry: _StateEntry | None) -> Flow[Video]:
    """Sends what is missing, and returns the video."""
    is_earlier = at.is_earlier
    try:
        if at.offset is None and at.video_id is None:
            at = yield from _fetch_position(session, wanted, at.path)
        wanted.report(at.offset or 0)
        video_id = yield from _send_pieces(session, wanted, at, entry)
    except UnsendableFile:
        yield from _terminate(session, at.path)
        yield from _forget(entry)
        raise
    except ApiError as error:
        if is_gone(error) or error.fault == "file":
            yield from _forget(entry)
        raise
    wanted.report(wanted.file.size)
    placed = yield from video(session, video_id)
    # An earlier upload's video may have been extracted by another specification since.
    return (yield from extracted_by_spec(session, placed, wanted.spec)) if is_earlier else placed


def _send_pieces(session: Session, wanted: WantedUpload, at: UploadPosition, entry: _StateEntry | None) -> Flow[str]:
    """Sends all bytes from the offset on. Returns the id of the video. After a failure the service tells its offset."""
    most, failures = PIECE_BYTES, _Failures()
    while at.video_id is None:
        assert at.offset is not None
        try:
            moved = yield from _send_piece(session, wanted, at, most)
        except (ApiError, ConnectionFailed) as error:
            if isinstance(error, ApiError) and error.status == 413 and most > MIN_PIECE_BYTES:
                most //= 2
                continue
            seconds = failures.wait_seconds(session, error)
            if seconds is None:
                raise
            yield Sleep(seconds)
            moved = yield from _fetch_position(session, wanted, at.path)
            wanted.report(moved.offset or 0)
        if moved.offset != at.offset:
            failures = _Failures()
        at = moved
        yield from _record_position(wanted, at, entry)
    return at.video_id


@dataclass(slots=True)
class _Failures:
    """Failures since the offset has moved last."""

    count: int = 0
    first_at: float = 0.0

    def wait_seconds(self, session: Session, error: ApiError | ConnectionFailed) -> float | None:
        now = session.monotonic()
        self.first_at = self.first_at if self.count else now
        self.count += 1
        attempt = Attempt(self.count, now - self.first_at, repeatable=True)
        return resume_seconds(session.policy, attempt, error, session.random())


def _send_piece(session: Session, wanted: WantedUpload, at: UploadPosition, most: int) -> Flow[UploadPosition]:
    start = at.offset or 0
    reply = yield from authorized(session, tus_protocol.piece(at.path, wanted.piece(start, most)))
    moved = tus_protocol.position_of(at.path, reply, wanted.file.size)
    if moved.video_id is None and (moved.offset is None or moved.offset <= start):
        raise UnexpectedAnswer("The server took bytes of an upload, and its offset has not moved.")
    return moved


def _fetch_position(session: Session, wanted: WantedUpload, path: str) -> Flow[UploadPosition]:
    reply = yield from authorized(session, tus_protocol.position(path))
    found = tus_protocol.position_of(path, reply, wanted.file.size)
    if found.video_id is None and found.offset is None:
        raise UnexpectedAnswer("The server does not tell the offset of an upload.")
    return found


def _terminate(session: Session, path: str) -> Flow[None]:
    """Frees the room of an upload that will not end. It expires by itself when this fails."""
    try:
        yield from authorized(session, tus_protocol.termination(path))
    except FotogramaError:
        return


def _state_entry(session: Session, wanted: WantedUpload, sha256: str) -> Flow[_StateEntry]:
    assert session.upload_state is not None
    owner = yield from account_id(session)
    identity = upload_identity(session.base_url, owner, wanted.file.path, wanted.spec, wanted.key)
    return _StateEntry(session.upload_state, identity, sha256)


def _record_position(wanted: WantedUpload, at: UploadPosition, entry: _StateEntry | None) -> Flow[None]:
    expires_at = at.expires_at
    if entry is None or expires_at is None or (entry.expires_at and expires_at - entry.expires_at < RECORD_STEP):
        return
    entry.expires_at = expires_at
    known = RecordedUpload(at.path, entry.sha256)
    yield from remembered(lambda: entry.state.record(entry.identity, wanted.file.path, known, expires_at))


def _forget(entry: _StateEntry | None) -> Flow[None]:
    if entry is not None:
        yield from remembered(lambda: entry.state.forget(entry.identity))
