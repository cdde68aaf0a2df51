"""The extraction resource: create for a stored video, show, cancel, retry."""

from __future__ import annotations

from uuid import UUID

import structlog
from sqlalchemy.ext.asyncio import AsyncConnection
from starlette.requests import Request
from starlette.responses import Response
from uuid_utils.compat import uuid7

from db import videos
from db.acceptance import accept, quotas
from db.acceptance.accept import Reextraction
from db.acceptance.idempotency_keys import OwnedKey
from db.accounts import Principal
from db.queue import task_queue
from db.values import frame_spec
from db.values.error_catalogue import CatalogueError
from db.values.lifecycle import ExtractionStatus
from db.videos import ExtractionRow
from serve_app import cached_representations
from serve_app.deps import Deps, deps_of
from serve_app.http import json_request_body
from serve_app.http.json_response import JsonResponse, encode_json
from serve_app.http.path_params import path_id
from serve_app.http.problem_details import ProblemError
from serve_app.http.run_to_completion import run_to_completion
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
    return await _extraction_response(deps_of(request), principal, path_id(request), 200)


async def cancel(request: Request, principal: Principal) -> Response:
    """POST /v1/extractions/{id}/cancel"""
    deps = deps_of(request)
    row = await _get_extraction(deps, principal, path_id(request))
    if not await run_to_completion(_cancel(deps, row.id)):
        # Read again, because it may have ended just now.
        row = await _get_extraction(deps, principal, row.id)
        raise _wrong_state_error(row.status, "one that has ended can't be cancelled")
    log.info("An extraction was cancelled.", event_name="extraction.cancelled", extraction_id=str(row.id))
    return await _extraction_response(deps, principal, row.id, 202)


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


async def _extraction_response(deps: Deps, principal: Principal, extraction_id: UUID, status: int) -> Response:
    key = await videos.extraction_key_of(deps.database, principal.user_id, extraction_id)
    found = await cached_representations.read(deps.database, deps.cache, [key]) if key is not None else []
    if not found:
        raise CatalogueError("not_found")
    return JsonResponse(found[0].extraction, status)


def _new_extraction(principal: Principal, video_id: UUID, canonical_spec: str) -> Reextraction:
    return Reextraction(principal.user_id, video_id, extraction_id=uuid7(), task_id=uuid7(), spec=canonical_spec)


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
    log.info(
        "An extraction was accepted.", event_name="extraction.accepted", extraction_id=str(requested.extraction_id)
    )
    return body


async def _reuse(deps: Deps, requested: Reextraction, key: OwnedKey | None, fingerprint: str) -> bytes | None:
    """Answers with an existing result, or returns None. A result adds nothing that waits, so no quota is checked."""
    async with deps.database.begin() as connection:
        if await accept.reuse(connection, requested, deps.engine_name, retention_seconds=deps.result_retention_seconds):
            return await _respond(connection, requested.extraction_id, key, fingerprint)
        return None


async def _queue(deps: Deps, requested: Reextraction, key: OwnedKey | None, fingerprint: str) -> bytes:
    await deps.admission.check_capacity(requested.user_id)
    limits = deps.limits.quotas
    async with deps.database.begin() as connection:
        usage = (await quotas.lock_usage(connection, [requested.user_id], limits))[requested.user_id]
        quotas.check(limits, usage, files=1, size=0)
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
