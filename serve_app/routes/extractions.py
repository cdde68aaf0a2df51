"""The extraction resource: create for a stored video, show, cancel, retry."""

from __future__ import annotations

from uuid import UUID

import orjson
import structlog
from sqlalchemy.ext.asyncio import AsyncConnection
from starlette.requests import Request
from starlette.responses import Response
from uuid_utils.compat import uuid7

from db import videos
from db.acceptance import accept, quotas
from db.acceptance.accept import Reextraction
from db.acceptance.idempotency_keys import OwnedKey
from db.accounts.accounts import Principal
from db.queue import task_queue
from db.run_to_completion import run_to_completion
from db.tracing_api import current_origin
from db.values import frame_spec
from db.values.error_catalogue import CatalogueError
from db.values.lifecycle import ExtractionStatus
from db.videos import ExtractionRow
from serve_app import cached_representations
from serve_app.deps import Deps, deps_of
from serve_app.http import json_request_body
from serve_app.http.conditional_requests import json_document
from serve_app.http.json_response import JsonResponse, encode_json
from serve_app.http.path_params import path_id
from serve_app.http.problem_details import ProblemError
from serve_app.http.request_tracing import note_ids
from serve_app.submission.idempotent_requests import (
    claim_key,
    find_response,
    idempotency_key,
    replay,
    request_fingerprint,
    store_response,
)

_RETRYABLE = {ExtractionStatus.FAILED, ExtractionStatus.CANCELLED}

log = structlog.get_logger(__name__)


async def create(request: Request, principal: Principal) -> Response:
    """POST /v1/videos/{id}/extractions"""
    deps, video_id = deps_of(request), path_id(request)
    key = idempotency_key(request.headers, principal.user_id, "POST /v1/videos/{id}/extractions")
    stored = await find_response(deps.database, key)
    if stored is None:
        await deps.admission.check_accepting()
        await deps.admission.check_rate(principal.user_id)
    spec = await json_request_body.read_spec(request)
    requested = _new_extraction(principal, video_id, frame_spec.canonical(spec))
    fingerprint = request_fingerprint([str(video_id), requested.spec])
    return replay(stored, fingerprint) if stored is not None else await _extract(deps, requested, key, fingerprint)


async def retry(request: Request, principal: Principal) -> Response:
    """POST /v1/extractions/{id}/retry"""
    deps, extraction_id = deps_of(request), path_id(request)
    key = idempotency_key(request.headers, principal.user_id, "POST /v1/extractions/{id}/retry")
    stored = await find_response(deps.database, key)
    if stored is None:
        await deps.admission.check_accepting()
        await deps.admission.check_rate(principal.user_id)
    row = await _get_extraction(deps, principal, extraction_id)
    fingerprint = request_fingerprint([str(row.id)])
    if stored is not None:
        return replay(stored, fingerprint)
    if row.status not in _RETRYABLE:
        raise _wrong_state_error(row.status, "only a failed or cancelled one can be retried")
    return await _extract(deps, _new_extraction(principal, row.video_id, row.spec), key, fingerprint)


async def show(request: Request, principal: Principal) -> Response:
    """GET /v1/extractions/{id}"""
    representation, etag = await _representation(deps_of(request), principal.user_id, path_id(request))
    return json_document(request, representation, etag)


async def cancel(request: Request, principal: Principal) -> Response:
    """POST /v1/extractions/{id}/cancel"""
    deps = deps_of(request)
    row = await _get_extraction(deps, principal, path_id(request))
    if not await run_to_completion(_cancel(deps, row.id)):
        # Read again, because it may have ended just now.
        row = await _get_extraction(deps, principal, row.id)
        raise _wrong_state_error(row.status, "one that has ended can't be cancelled")
    log.info("An extraction was cancelled.", event_name="extraction.cancelled")
    return await extraction_response(deps, principal.user_id, row.id, 202)


def _wrong_state_error(status: ExtractionStatus, rule: str) -> ProblemError:
    return ProblemError(
        "wrong_state", f"The extraction is {status}; {rule}.", extensions={"current_status": ExtractionStatus(status)}
    )


async def _get_extraction(deps: Deps, principal: Principal, extraction_id: UUID) -> ExtractionRow:
    """The account's own extraction, read from Postgres. Raises CatalogueError `not_found`."""
    key = await videos.extraction_key_of(deps.database, principal.user_id, extraction_id)
    rows = await videos.read_rows(deps.database, [key.extraction_id]) if key is not None else {}
    if extraction_id not in rows:
        raise CatalogueError("not_found")
    return rows[extraction_id].extraction


async def extraction_response(deps: Deps, user_id: UUID, extraction_id: UUID, status: int) -> Response:
    """The account's own extraction. Raises CatalogueError `not_found`."""
    representation, etag = await _representation(deps, user_id, extraction_id)
    return JsonResponse(representation, status, {"ETag": etag})


async def _representation(deps: Deps, user_id: UUID, extraction_id: UUID) -> tuple[orjson.Fragment, str]:
    """The account's own extraction with its ETag. Raises CatalogueError `not_found`."""
    key = await videos.extraction_key_of(deps.database, user_id, extraction_id)
    found = await cached_representations.read(deps.database, deps.cache, [key]) if key is not None else []
    if key is None or not found:
        raise CatalogueError("not_found")
    return found[0].extraction, cached_representations.etag_of(key, found[0])


def _new_extraction(principal: Principal, video_id: UUID, canonical_spec: str) -> Reextraction:
    origin = current_origin()
    return Reextraction(
        principal.user_id,
        video_id,
        extraction_id=uuid7(),
        task_id=uuid7(),
        spec=canonical_spec,
        request_id=origin.request_id,
        traceparent=origin.traceparent,
    )


async def _extract(deps: Deps, requested: Reextraction, key: OwnedKey | None, fingerprint: str) -> Response:
    """Accepts the extraction, or replays the response to the same request."""
    async with claim_key(deps.database, key) as stored:
        if stored is not None:
            return replay(stored, fingerprint)
        body = await run_to_completion(_commit(deps, requested, key, fingerprint))
    await deps.cache.announce()
    return Response(body, 201, media_type="application/json")


async def _commit(deps: Deps, requested: Reextraction, key: OwnedKey | None, fingerprint: str) -> bytes:
    body = await _reuse(deps, requested, key, fingerprint) or await _queue(deps, requested, key, fingerprint)
    note_ids(extraction_id=str(requested.extraction_id), video_id=str(requested.video_id))
    deps.metrics.accepted(1)
    log.info("An extraction was accepted.", event_name="extraction.accepted")
    return body


async def _reuse(deps: Deps, requested: Reextraction, key: OwnedKey | None, fingerprint: str) -> bytes | None:
    """Answers with an existing result, or returns None. A result adds nothing that waits, so no quota is checked."""
    async with deps.database.begin() as connection:
        if await accept.reuse(connection, requested, deps.engine_name, retention_seconds=deps.result_retention_seconds):
            return await _respond(connection, requested.extraction_id, key, fingerprint)
        return None


async def _queue(deps: Deps, requested: Reextraction, key: OwnedKey | None, fingerprint: str) -> bytes:
    await deps.admission.check_capacity(requested.user_id)
    async with deps.database.begin() as connection:
        allowances = await quotas.lock_allowances(connection, [requested.user_id], deps.limits.quotas)
        allowances[requested.user_id].check(files=1, size=0)
        await accept.extract_again(connection, requested)
        return await _respond(connection, requested.extraction_id, key, fingerprint)


async def _respond(connection: AsyncConnection, extraction_id: UUID, key: OwnedKey | None, fingerprint: str) -> bytes:
    """The response's JSON. It is stored for a repeated request in the same transaction."""
    rows = await videos.read_rows_within(connection, [extraction_id])
    body = encode_json(cached_representations.representation_of(rows[extraction_id]).extraction)
    await store_response(connection, key, fingerprint, 201, body)
    return body


async def _cancel(deps: Deps, extraction_id: UUID) -> bool:
    async with deps.database.begin() as connection:
        return await task_queue.cancel(connection, extraction_id)
