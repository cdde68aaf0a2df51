"""Videos and extractions as the contract's JSON, through the cache.

A cached document is named by the row's version, so it can't go back in time; whose it is was decided in Postgres.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import orjson

from db import videos
from db.errors import CATALOGUE
from db.lifecycle import ExtractionStatus, is_terminal
from db.videos import DocumentKey, ExtractionRow, VideoRow
from serve_app.answers import encode
from serve_app.deps import Deps

_SHAPE = 1
"""Rises when the documents' shape changes: replicas of two releases share one cache."""


@dataclass(frozen=True, slots=True)
class Document:
    """A video read with one of its extractions: both as JSON text."""

    video: orjson.Fragment
    extraction: orjson.Fragment


async def read(deps: Deps, keys: Sequence[DocumentKey]) -> list[Document]:
    """The documents in the order of `keys`; those whose rows are gone meanwhile are left out."""
    cached = await deps.cache.get([_name(key) for key in keys])
    missing = [key for key in keys if _name(key) not in cached]
    rows = await videos.documents(deps.engine, [key.extraction_id for key in missing])
    packed = {extraction_id: pack(row) for extraction_id, row in rows.items()}
    await deps.cache.put(dict(_entries(rows.values(), packed)))
    found = ((cached.get(_name(key)) or packed.get(key.extraction_id)) for key in keys)
    return [_unpack(text) for text in found if text is not None]


def pack(row: VideoRow) -> bytes:
    """Both documents as they stand in the cache: the length of the first in decimal, a newline, and the two."""
    extraction = encode(extraction_document(row.extraction))
    video = encode(video_document(row, extraction))
    return b"%d\n%b%b" % (len(extraction), extraction, video)


def document_of(row: VideoRow) -> Document:
    """The document of a row that was read just now."""
    return _unpack(pack(row))


def video_document(row: VideoRow, extraction: bytes) -> dict[str, Any]:
    """`video`; extraction: its JSON text."""
    return {
        "id": row.id,
        "filename": row.filename,
        "size": row.size,
        "sha256": row.sha256,
        "status": row.extraction.status.value,
        "created_at": row.created_at,
        "media": row.media,
        "extraction": orjson.Fragment(extraction),
    }


def extraction_document(row: ExtractionRow) -> dict[str, Any]:
    """`extraction`; the specification is spliced in as its canonical text, so that decimals stay exact."""
    return {
        "id": row.id,
        "video_id": row.video_id,
        "spec": orjson.Fragment(row.spec),
        "status": row.status.value,
        "reused": row.reused,
        "progress": _progress(row),
        "attempt": row.attempt,
        "error": _error(row),
        "result": _result(row),
        "version": row.version,
        "created_at": row.created_at,
        "started_at": row.started_at,
        "finished_at": row.finished_at,
    }


def _progress(row: ExtractionRow) -> dict[str, Any]:
    succeeded = row.status is ExtractionStatus.SUCCEEDED
    fraction = 1.0 if succeeded else round(row.frames_done / row.frames_total, 4) if row.frames_total else None
    return {
        "frames_done": row.frames_done,
        "frames_total": row.frames_total,
        "fraction": fraction,
        "queue_position": row.queue_position,
        "eta_seconds": _eta_seconds(row),
    }


def _eta_seconds(row: ExtractionRow) -> float | None:
    if row.status is not ExtractionStatus.RUNNING or not row.frames_total or not row.frames_done:
        return None
    if row.elapsed_seconds is None:
        return None
    return round(row.elapsed_seconds * (row.frames_total - row.frames_done) / row.frames_done, 1)


def _error(row: ExtractionRow) -> dict[str, Any] | None:
    if row.error_code is None:
        return None
    entry = CATALOGUE.get(row.error_code, CATALOGUE["internal"])
    detail = row.error_detail or entry.en.title
    return {"code": row.error_code, "detail": detail, "fault": entry.fault.value, "remedy": entry.en.remedy}


def _result(row: ExtractionRow) -> dict[str, Any] | None:
    if row.status is not ExtractionStatus.SUCCEEDED:
        return None
    return {
        "frames": row.result_frames,
        "bytes": row.result_bytes,
        "sha256": row.result_sha256,
        "warnings": row.result_warnings or [],
        "expires_at": None,
    }


def _name(key: DocumentKey) -> str:
    return f"fotograma:document:{_SHAPE}:{key.extraction_id}:{key.version}"


def _entries(rows: Iterable[VideoRow], packed: dict[UUID, bytes]) -> Iterable[tuple[str, tuple[bytes, bool]]]:
    for row in rows:
        extraction = row.extraction
        key = DocumentKey(row.id, extraction.id, extraction.version, extraction.status)
        yield _name(key), (packed[extraction.id], is_terminal(extraction.status))


def _unpack(text: bytes) -> Document:
    length, _, both = text.partition(b"\n")
    middle = int(length)
    return Document(video=orjson.Fragment(both[middle:]), extraction=orjson.Fragment(both[:middle]))
