"""The headers of tus 1.0.0, parsed and checked. Source: https://tus.io/protocols/resumable-upload. Pure."""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Any

from starlette.datastructures import Headers

from db.values import frame_spec
from db.values.error_catalogue import CatalogueError
from db.values.frame_spec import FrameSpec
from serve_app.http.json_request_body import MAX_SPEC_BYTES, parse_json
from serve_app.http.multipart_parser import clean_filename
from serve_app.http.problem_details import ProblemError

VERSION = "1.0.0"
EXTENSIONS = ("creation", "creation-defer-length", "creation-with-upload", "checksum", "expiration", "termination")
CHUNK_TYPE = "application/offset+octet-stream"
MAX_METADATA_BYTES = 60 << 10
"""HEAD answers it, and HAProxy takes 64 KiB of headers in all."""
MAX_SIZE = (1 << 63) - 1
"""The largest length or offset: the greatest value of a bigint column."""

_ALGORITHMS: Mapping[str, Callable[[], Any]] = {
    "sha1": lambda: hashlib.sha1(usedforsecurity=False),
    "sha256": hashlib.sha256,
}
_DIGITS = re.compile(r"[0-9]{1,40}")
_SHA256 = re.compile(r"[0-9A-Fa-f]{64}")


@dataclass(frozen=True, slots=True)
class Checksum:
    """The content of `Upload-Checksum`. algorithm: sha1 or sha256."""

    algorithm: str
    digest: bytes

    def hasher(self) -> Any:
        """Returns a new hash object of the algorithm."""
        return _ALGORITHMS[self.algorithm]()


@dataclass(frozen=True, slots=True)
class Metadata:
    """The content of `Upload-Metadata`. text: the header unchanged. sha256: of the whole file, lower-case hex."""

    text: str
    filename: str
    spec: FrameSpec
    sha256: str | None


def discovery_headers(max_size: int) -> dict[str, str]:
    """Returns the headers of the response to OPTIONS."""
    return {
        "Tus-Version": VERSION,
        "Tus-Extension": ",".join(EXTENSIONS),
        "Tus-Max-Size": str(max_size),
        "Tus-Checksum-Algorithm": ",".join(_ALGORITHMS),
    }


def append_limit(max_request_bytes: int) -> dict[str, str]:
    """Returns the header that tells how many bytes one request may bring.

    Source: draft-ietf-httpbis-resumable-upload, "Upload-Limit".
    """
    return {"Upload-Limit": f"max-append-size={max_request_bytes}"}


def check_version(headers: Headers) -> None:
    """Raises CatalogueError `tus_unsupported` unless the client speaks version 1.0.0."""
    if headers.get("tus-resumable") != VERSION:
        detail = f"The header Tus-Resumable must be {VERSION}."
        raise ProblemError("tus_unsupported", detail, headers={"Tus-Version": VERSION})


def upload_length(headers: Headers, max_size: int) -> int | None:
    """Returns the size of a new upload in bytes; None when it is deferred.

    Raises CatalogueError `tus_unsupported` for the extension `concatenation`, `malformed_request`, `empty_file`,
    `too_large`.
    """
    if "upload-concat" in headers:
        raise CatalogueError("tus_unsupported", "The extension concatenation is not supported.")
    deferred = _value(headers, "Upload-Defer-Length")
    if deferred is not None:
        if deferred != "1" or "upload-length" in headers:
            raise CatalogueError("malformed_request", "Upload-Defer-Length must be 1, without Upload-Length.")
        return None
    length = declared_length(headers, max_size)
    if length is None:
        raise CatalogueError("malformed_request", "The header Upload-Length is missing.")
    return length


def declared_length(headers: Headers, max_size: int) -> int | None:
    """Returns `Upload-Length`, if present. Raises CatalogueError `malformed_request`, `empty_file`, `too_large`."""
    if "upload-length" not in headers:
        return None
    length = _number(headers, "Upload-Length")
    if length == 0:
        raise CatalogueError("empty_file")
    if length > max_size:
        raise CatalogueError("too_large", f"A video may have at most {max_size} bytes.")
    return length


def upload_offset(headers: Headers) -> int:
    """Returns `Upload-Offset`. Raises CatalogueError `malformed_request`."""
    return _number(headers, "Upload-Offset")


def check_chunk_type(headers: Headers) -> None:
    """Raises CatalogueError `unsupported_media_type` when the body is not bytes of an upload."""
    if not has_chunk(headers):
        raise CatalogueError("unsupported_media_type", f"A PATCH must have the Content-Type {CHUNK_TYPE}.")


def has_chunk(headers: Headers) -> bool:
    """Whether the body is bytes of an upload."""
    return headers.get("content-type", "").partition(";")[0].strip().lower() == CHUNK_TYPE


def checksum(headers: Headers) -> Checksum | None:
    """Returns `Upload-Checksum`, if present. Raises CatalogueError `malformed_request`."""
    header = _value(headers, "Upload-Checksum")
    if header is None:
        return None
    algorithm, _, encoded = header.partition(" ")
    if algorithm not in _ALGORITHMS:
        names = " or ".join(_ALGORITHMS)
        raise CatalogueError("malformed_request", f"Upload-Checksum: The algorithm must be {names}.")
    parsed = Checksum(algorithm, _base64(encoded, "Upload-Checksum"))
    if len(parsed.digest) != parsed.hasher().digest_size:
        raise CatalogueError("malformed_request", f"Upload-Checksum: This is no {algorithm} digest.")
    return parsed


def metadata(headers: Headers) -> Metadata:
    """Returns `Upload-Metadata`: the keys `filename`, `spec` and `sha256`. Other keys are the client's own.

    Raises CatalogueError `malformed_request`, `invalid_field`, `invalid_spec`, `too_large`.
    """
    # A list may come in several lines (RFC 9110, 5.3).
    text = ",".join(headers.getlist("upload-metadata"))
    if len(text) > MAX_METADATA_BYTES:
        raise CatalogueError("too_large", f"Upload-Metadata may have at most {MAX_METADATA_BYTES} bytes.")
    values: dict[str, bytes] = {}
    for pair in filter(None, (pair.strip() for pair in text.split(","))):
        key, _, encoded = pair.partition(" ")
        if key in values:
            raise CatalogueError("malformed_request", f"Upload-Metadata: The key {key[:40]} comes twice.")
        values[key] = _base64(encoded, "Upload-Metadata")
    return Metadata(
        text=text,
        filename=clean_filename(values.get("filename", b"").decode("utf-8", "replace")),
        spec=_spec(values.get("spec")),
        sha256=_sha256(values.get("sha256")),
    )


def http_date(time: datetime) -> str:
    """Returns a time in the format of HTTP headers (RFC 9110, 5.6.7)."""
    return format_datetime(time.astimezone(UTC), usegmt=True)


def _spec(text: bytes | None) -> FrameSpec:
    if text is None:
        return FrameSpec()
    if len(text) > MAX_SPEC_BYTES:
        raise CatalogueError("too_large", f"The specification may have at most {MAX_SPEC_BYTES} bytes.")
    return frame_spec.from_document(parse_json(text, "The specification"))


def _sha256(value: bytes | None) -> str | None:
    if value is None:
        return None
    text = value.decode("ascii", "replace")
    if not _SHA256.fullmatch(text):
        raise CatalogueError("invalid_field", "sha256: Must be 64 hexadecimal digits.")
    return text.lower()


def _value(headers: Headers, name: str) -> str | None:
    """Returns a header that has one value, if present. Raises CatalogueError `malformed_request` for two."""
    values = set(headers.getlist(name))
    if len(values) > 1:
        raise CatalogueError("malformed_request", f"The header {name} comes twice, with different values.")
    return values.pop() if values else None


def _number(headers: Headers, name: str) -> int:
    text = _value(headers, name)
    if text is None:
        raise CatalogueError("malformed_request", f"The header {name} is missing.")
    if not _DIGITS.fullmatch(text) or int(text) > MAX_SIZE:
        raise CatalogueError("malformed_request", f"{name} must be a number from 0 to {MAX_SIZE}.")
    return int(text)


def _base64(text: str, header: str) -> bytes:
    try:
        return base64.b64decode(text.strip(), validate=True)
    except (binascii.Error, ValueError) as error:
        raise CatalogueError("malformed_request", f"{header}: A value is not in Base64.") from error
