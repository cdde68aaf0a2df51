"""The requests of tus 1.0.0 and what their responses say. Source: https://tus.io/protocols/resumable-upload. Pure."""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from email.utils import parsedate_to_datetime
from urllib.parse import quote

from cluster.client.effects import Reply, Request
from cluster.client.errors import UnexpectedAnswer
from cluster.client.local_files.local_file import FilePiece

PATH = "/v1/uploads"
PIECE_BYTES = 16 << 20
"""The largest body that is sent in one request to a service that tells no limit."""
MAX_PIECE_BYTES = 64 << 20
"""The largest body that is sent in one request. The service answers a request only when its bytes are durable; with
larger bodies the client waits less often. Usual proxies for large files accept it.
"""
MIN_PIECE_BYTES = 1 << 18
ONE_REQUEST_BYTES = 8 << 20
"""A file up to this size is sent with the request that creates its upload."""
MAX_HEADER_SPEC_BYTES = 4096

_JSON: Mapping[str, str] = {"Content-Type": "application/json"}
_VERSION: Mapping[str, str] = {"Tus-Resumable": "1.0.0"}


@dataclass(frozen=True, slots=True)
class UploadPosition:
    """How far an upload is. offset: None when the response has none. video_id: None until the upload is complete.

    expires_at: None when the upload does not expire. is_resumed: an earlier request has created the upload.
    max_piece_bytes: the most that the service takes in one request; None when it does not tell it.
    """

    path: str
    offset: int | None
    video_id: str | None = None
    expires_at: datetime | None = None
    is_resumed: bool = False
    max_piece_bytes: int | None = None


def creation_request(
    size: int, metadata: Mapping[str, str | None], key: str, spec: str | None, content: FilePiece | None = None
) -> Request:
    """Creates an upload. spec: JSON text. content: the whole file, when it comes with this request.

    A long specification takes the place of the body; then `content` must be None.
    """
    spec_in_body = needs_body_for_spec(spec)
    values = metadata if spec_in_body else {**metadata, "spec": spec}
    headers = {"Idempotency-Key": key, "Upload-Length": str(size), "Upload-Metadata": metadata_header(values)}
    body = f'{{"spec":{spec}}}'.encode() if spec_in_body else content
    return Request("POST", PATH, headers={**_VERSION, **headers, **(_JSON if spec_in_body else {})}, body=body)


def needs_body_for_spec(spec: str | None) -> bool:
    """Whether a specification is too long for a header: proxies accept 8 KiB of headers in all."""
    return spec is not None and len(spec.encode()) > MAX_HEADER_SPEC_BYTES


def position_request(path: str) -> Request:
    """Asks how many bytes the service has."""
    return Request("HEAD", path, headers=_VERSION)


def piece_request(path: str, content: FilePiece) -> Request:
    """Sends bytes. Not repeatable: the service may have taken a part of them."""
    return Request("PATCH", path, headers={**_VERSION, "Upload-Offset": str(content.start)}, body=content)


def termination_request(path: str) -> Request:
    """Discards an upload."""
    return Request("DELETE", path, headers=_VERSION)


def metadata_header(values: Mapping[str, str | None]) -> str:
    """Returns `Upload-Metadata`. Values that are None are left out."""
    encoded = {key: base64.b64encode(value.encode("utf-8", "replace")) for key, value in values.items() if value}
    return ",".join(f"{key} {value.decode()}" for key, value in encoded.items())


def upload_path(reply: Reply) -> str:
    """Returns the path of the upload that was created. Raises UnexpectedAnswer."""
    return f"{PATH}/{quote(_last_segment(reply.headers.get('location', '')), safe='')}"


def position_of(path: str, reply: Reply, size: int) -> UploadPosition:
    """Reads the response of any request to an upload of `size` bytes. Raises UnexpectedAnswer."""
    text, location = reply.headers.get("upload-offset"), reply.headers.get("video-location")
    if text is not None and not (text.isascii() and text.isdigit() and int(text) <= size):
        raise UnexpectedAnswer(f"The server names the offset {text} of an upload of {size} bytes.")
    offset = None if text is None else int(text)
    video_id = None if location is None else _last_segment(location)
    if offset == size and video_id is None:
        raise UnexpectedAnswer("The server has all bytes of an upload, and names no video.")
    is_resumed = reply.headers.get("idempotency-replayed") == "true"
    expires_at = _date(reply.headers.get("upload-expires"))
    return UploadPosition(path, offset, video_id, expires_at, is_resumed, _append_limit(reply.headers))


def _append_limit(headers: Mapping[str, str]) -> int | None:
    """Reads `max-append-size` of `Upload-Limit`. Source: draft-ietf-httpbis-resumable-upload."""
    found = re.search(r"(?:^|[,;\s])max-append-size=([0-9]{1,18})(?![0-9])", headers.get("upload-limit", ""))
    return int(found[1]) if found and int(found[1]) else None


def _last_segment(location: str) -> str:
    segment = location.rpartition("/")[2]
    if not segment:
        raise UnexpectedAnswer("The server created an upload and did not say where.")
    return segment


def _date(text: str | None) -> datetime | None:
    try:
        return None if text is None else parsedate_to_datetime(text)
    except ValueError:
        return None
