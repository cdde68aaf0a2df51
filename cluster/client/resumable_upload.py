"""The upload of one file by tus, as a flow: what breaks off goes on where the service is.

Tried in this order: the upload that the state file knows, the upload of the same Idempotency-Key, a new upload.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from cluster.client import tus_protocol
from cluster.client.api_calls import extract, extraction, me, video, video_page
from cluster.client.api_types import Video
from cluster.client.authorized_requests import Session, authorized
from cluster.client.effects import Flow, RunInThread, Sleep
from cluster.client.errors import ApiError, ConnectionFailed, FotogramaError, UnexpectedAnswer, UnsendableFile
from cluster.client.extraction_spec import is_same_spec
from cluster.client.local_files.local_file import FilePiece, LocalFile, OnSent, sha256_of
from cluster.client.local_files.upload_state_file import UploadStateFile, upload_identity
from cluster.client.retry_policy import PROXY_CODES, Attempt, resume_seconds
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

    def piece(self, start: int, most: int) -> FilePiece:
        return FilePiece(self.file, start, min(most, self.file.size - start), self.on_sent)

    def report(self, sent: int) -> None:
        if self.on_sent is not None:
            self.on_sent(sent, self.file.size)


@dataclass(slots=True)
class _StateEntry:
    """The entry of one upload in the state file. expires_at: as it was written last."""

    state: UploadStateFile
    identity: str
    expires_at: datetime | None = None


def upload(session: Session, wanted: WantedUpload) -> Flow[Video]:
    """Raises ApiError, ConnectionFailed, UnexpectedAnswer, UnsendableFile, OSError."""
    entry = yield from _state_entry(session, wanted)
    recorded_path = None
    if entry is not None:
        recorded_path = yield RunInThread(lambda: entry.state.find(entry.identity))
    if recorded_path is not None:
        try:
            return (yield from _finish(session, wanted, UploadPosition(recorded_path, None, is_earlier=True), entry))
        except ApiError as error:
            if not _is_gone(error):
                raise
    sha256, key = None, wanted.key
    if wanted.by_content:
        sha256 = yield RunInThread(lambda: sha256_of(wanted.file))
        found = yield from _find_by_content(session, sha256, wanted.spec)
        if found is not None:
            return found
        key = key or content_key(wanted.file.path.name, wanted.spec, sha256)
    try:
        return (yield from _begin(session, wanted, sha256, key, entry))
    except ApiError as error:
        # A caller's own key stands for one video, also when that was deleted.
        if not _is_gone(error) or (error.status == 404 and wanted.key is not None):
            raise
    return (yield from _begin(session, wanted, sha256, None, entry))


def content_key(name: str, spec: str | None, content: str) -> str:
    """Returns an Idempotency-Key that stands for these three."""
    return "extract-" + hashlib.sha256(json.dumps([name, spec, content]).encode()).hexdigest()


def _find_by_content(session: Session, sha256: str, spec: str | None) -> Flow[Video | None]:
    """Returns the account's newest video of this content, extracted by `spec`. None when its bytes are gone."""
    page = yield from video_page(session, status=None, q=None, sha256=sha256, limit=1, cursor=None)
    try:
        return (yield from _extracted_by_spec(session, page.items[0], spec)) if page.items else None
    except ApiError as error:
        if not _is_gone(error):
            raise
        return None


def _extracted_by_spec(session: Session, known: Video, spec: str | None) -> Flow[Video]:
    """Extracts a video that the service has, unless its newest extraction is by this specification."""
    if is_same_spec(spec, known.extraction.spec):
        return known
    key = content_key(known.id, spec, known.extraction.id)
    placed = yield from extract(session, known, spec or "{}", key)
    # The response to a repeated request is that of the first one.
    latest = yield from extraction(session, placed.id)
    return replace(known, extraction=latest, status=latest.status)


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
        if _is_gone(error) or error.fault == "file":
            yield from _forget(entry)
        raise
    wanted.report(wanted.file.size)
    placed = yield from video(session, video_id)
    # An earlier upload's video may have been extracted by another specification since.
    return (yield from _extracted_by_spec(session, placed, wanted.spec)) if is_earlier else placed


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


def _state_entry(session: Session, wanted: WantedUpload) -> Flow[_StateEntry | None]:
    """A file that is sent in one request has none: there is nothing to go on with."""
    if session.upload_state is None or wanted.file.size <= ONE_REQUEST_BYTES:
        return None
    if session.store.account_id is None:
        session.store.account_id = (yield from me(session)).id
    account_id = session.store.account_id
    identity = upload_identity(session.base_url, account_id, wanted.file, wanted.spec, wanted.key)
    return _StateEntry(session.upload_state, identity)


def _record_position(wanted: WantedUpload, at: UploadPosition, entry: _StateEntry | None) -> Flow[None]:
    expires_at = at.expires_at
    if entry is None or expires_at is None or (entry.expires_at and expires_at - entry.expires_at < RECORD_STEP):
        return
    entry.expires_at = expires_at
    yield RunInThread(lambda: entry.state.record(entry.identity, wanted.file, at.path, expires_at))


def _forget(entry: _StateEntry | None) -> Flow[None]:
    if entry is not None:
        yield RunInThread(lambda: entry.state.forget(entry.identity))


def _is_gone(error: ApiError) -> bool:
    """Whether the service has no such upload or video any more, by its own word and not a proxy's."""
    return error.status in {404, 410} and error.code not in PROXY_CODES
