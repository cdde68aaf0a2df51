"""The JSON representation of an extraction, for the API and for webhooks. Pure."""

from __future__ import annotations

from typing import Any

import orjson

from db.values.error_catalogue import CATALOGUE
from db.values.lifecycle import ExtractionStatus
from db.videos import ExtractionRow


def extraction_representation(row: ExtractionRow) -> dict[str, Any]:
    """Returns the `extraction` object. The specification is inserted as its canonical text: decimals stay exact."""
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
        "preview": _preview(row),
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


def _preview(row: ExtractionRow) -> dict[str, Any] | None:
    if row.preview_key is None:
        return None
    return {"frames": row.preview_frames, "segment": row.preview_segment}


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
        "expires_at": row.result_expires_at,
    }
