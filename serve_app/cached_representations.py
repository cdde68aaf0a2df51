"""Representations of videos and extractions, read through the cache.

A cache key contains the row's version, so an old representation is never read again. Access is always decided in
Postgres.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import orjson
from sqlalchemy.ext.asyncio import AsyncEngine

from db import videos
from db.cache import Cache
from db.extraction_json import extraction_representation
from db.values.lifecycle import is_terminal
from db.values.media_info import public_media
from db.videos import RepresentationKey, VideoRow
from serve_app.http import conditional_requests
from serve_app.http.json_response import encode_json

_FORMAT = 1
"""Rises when the JSON changes, because replicas of two releases share one cache."""


@dataclass(frozen=True, slots=True)
class Representation:
    """A video with one of its extractions, both as JSON text. text: of the video, which has the extraction in it."""

    text: bytes
    video: orjson.Fragment
    extraction: orjson.Fragment


async def read(database: AsyncEngine, cache: Cache, keys: Sequence[RepresentationKey]) -> list[Representation]:
    """The representations in the order of `keys`. A row that was deleted meanwhile is left out."""
    found = await read_by_id(database, cache, keys)
    return [found[key.extraction_id] for key in keys if key.extraction_id in found]


async def read_by_id(
    database: AsyncEngine, cache: Cache, keys: Sequence[RepresentationKey]
) -> dict[UUID, Representation]:
    """The representations by the id of the extraction, in the versions of `keys` or newer ones."""
    names = {key.extraction_id: _cache_key(key) for key in keys}
    cached = await cache.get(list(names.values()))
    rows = await videos.read_rows(
        database, [extraction_id for extraction_id, name in names.items() if name not in cached]
    )
    encoded = {extraction_id: encode_entry(row) for extraction_id, row in rows.items()}
    await cache.put(dict(_cache_entries(rows.values(), encoded)))
    texts = {extraction_id: cached.get(name) or encoded.get(extraction_id) for extraction_id, name in names.items()}
    return {extraction_id: _decode_entry(text) for extraction_id, text in texts.items() if text is not None}


def encode_entry(row: VideoRow) -> bytes:
    """Both representations as a cache entry: the length of the extraction in decimal, a newline, extraction, video."""
    extraction = encode_json(extraction_representation(row.extraction))
    video = encode_json(video_json(row, extraction))
    return b"%d\n%b%b" % (len(extraction), extraction, video)


def representation_of(row: VideoRow) -> Representation:
    """The representation of a row, without the cache."""
    return _decode_entry(encode_entry(row))


def video_json(row: VideoRow, extraction: bytes) -> dict[str, Any]:
    """The video's JSON values. extraction: the JSON text of its extraction."""
    return {
        "id": row.id,
        "filename": row.filename,
        "size": row.size,
        "sha256": row.sha256,
        "status": row.extraction.status.value,
        "created_at": row.created_at,
        "media": row.media and public_media(row.media),
        "extraction": orjson.Fragment(extraction),
    }


def state_of(key: RepresentationKey) -> str:
    """The state of an extraction, and of a video with this newest extraction, for its ETag."""
    return f"{key.extraction_id.hex}.{key.version}"


def etag_of(key: RepresentationKey, representation: Representation) -> str:
    """The ETag of both representations."""
    return conditional_requests.etag_of(state_of(key), representation.text)


def _cache_key(key: RepresentationKey) -> str:
    return f"fotograma:representation:{_FORMAT}:{key.extraction_id.hex}:{key.version}"


def _cache_entries(rows: Iterable[VideoRow], encoded: dict[UUID, bytes]) -> Iterable[tuple[str, tuple[bytes, bool]]]:
    for row in rows:
        extraction = row.extraction
        key = RepresentationKey(row.id, extraction.id, extraction.version, extraction.status)
        yield _cache_key(key), (encoded[extraction.id], is_terminal(extraction.status))


def _decode_entry(text: bytes) -> Representation:
    length, _, both = text.partition(b"\n")
    extraction, video = both[: int(length)], both[int(length) :]
    return Representation(video, video=orjson.Fragment(video), extraction=orjson.Fragment(extraction))
