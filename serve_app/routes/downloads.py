"""Downloads of a result: archive, shards, manifests, report, contact sheet, single images; with ranges and ETags.

While an extraction runs, its contact sheet is a preview: of the images so far.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import PurePath
from typing import Annotated
from urllib.parse import quote
from uuid import UUID

import structlog
from pydantic import Field
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from db import videos
from db.accounts.accounts import Principal
from db.object_store.object_store import ObjectNotFound
from db.values.error_catalogue import CatalogueError
from db.values.lifecycle import ExtractionStatus
from db.videos import ExtractionRow, VideoRow
from serve_app import image_renditions, webdataset_shards
from serve_app.archive_index import ImageLocation
from serve_app.deps import Deps, deps_of
from serve_app.http import byte_ranges, pagination
from serve_app.http.conditional_requests import client_has
from serve_app.http.json_request_body import RequestModel
from serve_app.http.pagination import WHOLE_NUMBER
from serve_app.http.path_params import path_id, path_number
from serve_app.http.problem_details import ProblemError
from serve_app.image_renditions import DamagedImageError

log = structlog.get_logger(__name__)

_NOT_ENDED = {ExtractionStatus.QUEUED, ExtractionStatus.RUNNING}
# Private to the account, and immutable: an extraction's bytes never change. A day, because deleted images must not stay
# in a browser for long.
_CACHING = {"Cache-Control": "private, max-age=86400, immutable", "Vary": "Authorization, Cookie"}
_NO_CACHING = {"Cache-Control": "no-store"}
PREVIEW_HEADER = "Preview-Frames"
"""Only on a preview: the number of images that it is made of."""


class FrameQuery(RequestModel):
    """The query of one image."""

    width: Annotated[int, Field(ge=16, le=image_renditions.MAX_WIDTH), WHOLE_NUMBER] | None = None


class ShardQuery(RequestModel):
    """The query of the shards."""

    shard: Annotated[int, Field(ge=0), WHOLE_NUMBER] = 0


async def download_archive(request: Request, principal: Principal) -> Response:
    """GET /v1/extractions/{id}/frames.zip"""
    deps = deps_of(request)
    video = await succeeded_extraction(deps, principal.user_id, path_id(request))
    row = video.extraction
    if deps.signed_url_seconds is not None and request.method == "GET":
        url = await deps.objects.signed_url(f"{row.result_key}/frames.zip", deps.signed_url_seconds)
        if url is not None:
            return Response(status_code=307, headers={"Location": url, "Cache-Control": "no-store"})
    headers = {
        "Content-Type": "application/zip",
        "ETag": f'"{row.result_sha256}"',
        "Content-Disposition": attachment(f"{PurePath(video.filename).stem}.zip"),
    }
    assert row.result_bytes is not None
    return await _send(request, _object_content(deps, f"{row.result_key}/frames.zip", row.result_bytes, headers))


async def download_shard(request: Request, principal: Principal) -> Response:
    """GET /v1/extractions/{id}/frames.tar"""
    deps = deps_of(request)
    video = await succeeded_extraction(deps, principal.user_id, path_id(request))
    row, number = video.extraction, pagination.read_query(ShardQuery, request).shard
    assert row.result_key is not None
    # The manifest may be cached: a missing archive must give an error response.
    await deps.objects.size(f"{row.result_key}/frames.zip")
    shards = await deps.archive_indexes.shards(deps.objects, f"{row.result_key}/manifest.csv")
    if number >= len(shards):
        raise CatalogueError("not_found", f"The archive has {len(shards)} shards; the first is 0.")
    headers = {
        "Content-Type": "application/x-tar",
        "ETag": f'"{row.result_sha256}.{webdataset_shards.LAYOUT}.{number}.tar"',
        "Content-Disposition": attachment(f"{PurePath(video.filename).stem}-{number:06d}.tar"),
    }
    if number + 1 < len(shards):
        headers["Link"] = f'<{request.url.path}?shard={number + 1}>; rel="next"'
    read = partial(webdataset_shards.read_shard, deps.objects, row.result_key, shards[number])
    return await _send(request, _Content(shards[number].size, headers, read))


async def download_manifest_json(request: Request, principal: Principal) -> Response:
    """GET /v1/extractions/{id}/manifest.json"""
    return await _send_file(request, principal, "manifest.json", "application/json")


async def download_manifest_csv(request: Request, principal: Principal) -> Response:
    """GET /v1/extractions/{id}/manifest.csv"""
    return await _send_file(request, principal, "manifest.csv", "text/csv; charset=utf-8")


async def download_report(request: Request, principal: Principal) -> Response:
    """GET /v1/extractions/{id}/report.json"""
    return await _send_file(request, principal, "report.json", "application/json")


async def download_sheet(request: Request, principal: Principal) -> Response:
    """GET /v1/extractions/{id}/sheet.jpg"""
    return await _send_sheet(request, principal, ".jpg", "image/jpeg")


async def download_sheet_index(request: Request, principal: Principal) -> Response:
    """GET /v1/extractions/{id}/sheet.vtt"""
    return await _send_sheet(request, principal, ".vtt", "text/vtt; charset=utf-8")


async def download_frame(request: Request, principal: Principal) -> Response:
    """GET /v1/extractions/{id}/frames/{n}"""
    deps = deps_of(request)
    row = (await succeeded_extraction(deps, principal.user_id, path_id(request))).extraction
    n = path_number(request)
    width = pagination.read_query(FrameQuery, request).width
    assert row.result_frames is not None
    if n > row.result_frames:
        raise CatalogueError("not_found", f"The archive has {row.result_frames} images.")
    location = await deps.archive_indexes.locate(deps.objects, f"{row.result_key}/manifest.csv", n)
    etag = f"{row.result_sha256}.{n}"
    if width is not None:
        return await _send_rendition(request, row, location, width, f'"{etag}.{width}"')
    headers = {"Content-Type": location.media_type, "ETag": f'"{etag}"'}
    content = _object_content(deps, f"{row.result_key}/frames.zip", location.size, headers, location.offset)
    return await _send(request, content)


def attachment(filename: str) -> str:
    """Content-Disposition (RFC 6266): an ASCII name for old clients, and the real name in UTF-8."""
    plain = "".join(c if c.isascii() and (c.isalnum() or c in " ._-()") else "_" for c in filename)
    return f"attachment; filename=\"{plain}\"; filename*=UTF-8''{quote(filename, safe='')}"


async def _send_rendition(
    request: Request, row: ExtractionRow, location: ImageLocation, width: int, etag: str
) -> Response:
    headers = {"ETag": etag, **_CACHING}
    if client_has(request.headers, etag):
        return Response(status_code=304, headers=headers)
    deps = deps_of(request)
    chunks = deps.objects.read(f"{row.result_key}/frames.zip", location.offset, location.size)
    image = b"".join([chunk async for chunk in chunks])
    try:
        rendition = await deps.image_renditions.render(image, width)
    except DamagedImageError as error:
        extraction_id = str(row.id)
        log.error(
            "A stored image is damaged.", event_name="result.damaged", extraction_id=extraction_id, error=str(error)
        )
        raise CatalogueError("damaged_result", "The stored image can't be decoded.") from error
    if rendition is None:
        return Response(image, headers=headers, media_type=location.media_type)
    return Response(rendition, headers=headers, media_type=image_renditions.MEDIA_TYPE)


async def _send_sheet(request: Request, principal: Principal, suffix: str, media_type: str) -> Response:
    row = (await _own_extraction(deps_of(request), principal.user_id, path_id(request))).extraction
    if row.preview_key is not None:
        return await _send_preview(request, row, suffix, media_type)
    return await _send_file_of(request, row, f"sheet{suffix}", media_type)


async def _send_preview(request: Request, row: ExtractionRow, suffix: str, media_type: str) -> Response:
    deps, key = deps_of(request), f"{row.preview_key}{suffix}"
    headers = {"Content-Type": media_type, "ETag": f'"{key}"', PREVIEW_HEADER: str(row.preview_frames)}
    try:
        size = await deps.objects.size(key)
        return await _send(request, _object_content(deps, key, size, headers), _NO_CACHING)
    except ObjectNotFound as error:
        # Its attempt has ended, or newer ones have replaced it.
        raise CatalogueError("not_ready", "The preview is being replaced.", retry_after=2) from error


async def _send_file(request: Request, principal: Principal, name: str, media_type: str) -> Response:
    row = (await _own_extraction(deps_of(request), principal.user_id, path_id(request))).extraction
    return await _send_file_of(request, row, name, media_type)


async def _send_file_of(request: Request, row: ExtractionRow, name: str, media_type: str) -> Response:
    _refuse_without_result(row)
    deps = deps_of(request)
    key = f"{row.result_key}/{name}"
    size = await deps.objects.size(key)
    # The archive's digest covers its manifests. The report is written once, together with the archive.
    headers = {"Content-Type": media_type, "ETag": f'"{row.result_sha256}.{row.id.hex}.{name}"'}
    return await _send(request, _object_content(deps, key, size, headers))


async def succeeded_extraction(deps: Deps, user_id: UUID, extraction_id: UUID) -> VideoRow:
    """The account's succeeded extraction with its video.

    Raises CatalogueError `not_found`, `not_ready`, `no_result` or `expired`.
    """
    video = await _own_extraction(deps, user_id, extraction_id)
    _refuse_without_result(video.extraction)
    return video


async def _own_extraction(deps: Deps, user_id: UUID, extraction_id: UUID) -> VideoRow:
    """The account's extraction with its video. Raises CatalogueError `not_found`."""
    key = await videos.extraction_key_of(deps.database, user_id, extraction_id)
    rows = await videos.read_rows(deps.database, [extraction_id]) if key is not None else {}
    if extraction_id not in rows:
        raise CatalogueError("not_found")
    return rows[extraction_id]


def _refuse_without_result(row: ExtractionRow) -> None:
    if row.status in _NOT_ENDED:
        raise CatalogueError("not_ready", f"The extraction is {row.status}.", retry_after=2)
    if row.status is not ExtractionStatus.SUCCEEDED:
        raise CatalogueError("no_result", f"The extraction is {row.status}.")
    if row.result_has_expired:
        raise CatalogueError("expired")


@dataclass(frozen=True, slots=True)
class _Content:
    """headers: with Content-Type and a strong ETag. read: yields so many bytes from a position on."""

    size: int
    headers: Mapping[str, str]
    read: Callable[[int, int], AsyncIterator[bytes]]


def _object_content(deps: Deps, key: str, size: int, headers: Mapping[str, str], offset: int = 0) -> _Content:
    """`size` bytes of an object, from `offset` on."""
    return _Content(size, headers, lambda start, length: deps.objects.read(key, offset + start, length))


async def _send(request: Request, content: _Content, caching: Mapping[str, str] = _CACHING) -> Response:
    """Sends the content, or the range of it that the request asks for."""
    headers = {**content.headers, **caching, "Accept-Ranges": "bytes"}
    if client_has(request.headers, headers["ETag"]):
        return Response(status_code=304, headers={name: headers[name] for name in ("ETag", *caching)})
    byte_range = _requested_range(request, headers["ETag"], content.size)
    sent = byte_range or byte_ranges.ByteRange(0, content.size)
    headers["Content-Length"] = str(sent.length)
    if byte_range is not None:
        headers["Content-Range"] = byte_range.content_range(content.size)
    status = 200 if byte_range is None else 206
    if request.method == "HEAD" or not sent.length:
        return Response(status_code=status, headers=headers)
    chunks = await _read_first_chunk(content.read(sent.start, sent.length))
    return StreamingResponse(chunks, status, headers)


def _requested_range(request: Request, etag: str, size: int) -> byte_ranges.ByteRange | None:
    try:
        return byte_ranges.parse_range(request.headers.get("range"), request.headers.get("if-range"), etag, size)
    except byte_ranges.RangeNotSatisfiable as error:
        raise ProblemError("bad_range", headers={"Content-Range": f"bytes */{size}"}) from error


async def _read_first_chunk(chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """The same chunks, with the first already read, so that a missing object gives an error response."""
    first = await anext(chunks)

    async def all_chunks() -> AsyncIterator[bytes]:
        yield first
        async for chunk in chunks:
            yield chunk

    return all_chunks()
