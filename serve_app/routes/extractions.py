"""Extractions: again, show, cancel, retry."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any
from uuid import UUID

import structlog
from sqlalchemy.ext.asyncio import AsyncConnection
from starlette.requests import Request
from starlette.responses import Response
from uuid_utils.compat import uuid7

from db import videos
from db.acceptance import accept, idempotency_keys, quotas
from db.acceptance.accept import Reextraction
from db.accounts import Principal
from db.queue import task_queue
from db.values import frame_spec
from db.values.error_catalogue import CatalogueError
from db.values.frame_spec import FrameSpec
from db.values.lifecycle import ExtractionStatus
from db.videos import ExtractionRow
from serve_app import cached_representations
from serve_app.deps import Deps, deps_of
from serve_app.http import request_body
from serve_app.http.cancellation import run_to_completion
from serve_app.http.json_response import JsonResponse, encode_json
from serve_app.http.path_params import path_id
from serve_app.http.problem_details import ProblemError
from serve_app.submission.idempotent_requests import IdempotentCall, fingerprint, idempotent_call

_RETRIABLE = {ExtractionStatus.FAILED, ExtractionStatus.CANCELLED}

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class _Wanted:
    """canonical: the specification's text. fingerprint: of the request, for its Idempotency-Key."""

    video_id: UUID
    canonical: str
    fingerprint: str


async def create(request: Request, who: Principal) -> Response:
    """POST /v1/videos/{id}/extractions"""
    deps = deps_of(request)
    video_id = path_id(request)
    admit = partial(deps.admission.take_turn, who.user_id)
    async with idempotent_call(request, deps.database, who, "POST /v1/videos/{id}/extractions", admit) as idempotent:
        asked = _asked(await request_body.read_json(request, request_body.MAX_SPEC_BYTES))
        canonical = frame_spec.canonical(asked)
        return await _extract(
            deps, who, idempotent, _Wanted(video_id, canonical, fingerprint([str(video_id), canonical]))
        )


async def retry(request: Request, who: Principal) -> Response:
    """POST /v1/extractions/{id}/retry"""
    deps = deps_of(request)
    admit = partial(deps.admission.take_turn, who.user_id)
    async with idempotent_call(request, deps.database, who, "POST /v1/extractions/{id}/retry", admit) as idempotent:
        row = await own_row(deps, who, path_id(request))
        if idempotent.known is None and row.status not in _RETRIABLE:
            raise _wrong_state(row.status, "only a failed or cancelled one can be retried")
        return await _extract(deps, who, idempotent, _Wanted(row.video_id, row.spec, fingerprint([str(row.id)])))


async def show(request: Request, who: Principal) -> Response:
    """GET /v1/extractions/{id}"""
    return await _shown(deps_of(request), who, path_id(request), 200)


async def cancel(request: Request, who: Principal) -> Response:
    """POST /v1/extractions/{id}/cancel"""
    deps = deps_of(request)
    row = await own_row(deps, who, path_id(request))
    if not await run_to_completion(_cancel(deps, row.id)):
        # Read again: it may have ended just now.
        row = await own_row(deps, who, row.id)
        raise _wrong_state(row.status, "one that has ended can't be cancelled")
    log.info("An extraction was cancelled.", event_name="extraction.cancelled", extraction_id=str(row.id))
    return await _shown(deps, who, row.id, 202)


def _wrong_state(status: ExtractionStatus, rule: str) -> ProblemError:
    return ProblemError(
        "wrong_state", f"The extraction is {status}; {rule}.", members={"current_status": ExtractionStatus(status)}
    )


async def own_row(deps: Deps, who: Principal, extraction_id: UUID) -> ExtractionRow:
    """An extraction of the caller's, from Postgres. Raises CatalogueError `not_found`."""
    key = await videos.extraction_key_of(deps.database, who.user_id, extraction_id)
    rows = await videos.documents(deps.database, [key.extraction_id]) if key is not None else {}
    if extraction_id not in rows:
        raise CatalogueError("not_found")
    return rows[extraction_id].extraction


async def _shown(deps: Deps, who: Principal, extraction_id: UUID, status: int) -> Response:
    key = await videos.extraction_key_of(deps.database, who.user_id, extraction_id)
    found = await cached_representations.read(deps.database, deps.cache, [key]) if key is not None else []
    if not found:
        raise CatalogueError("not_found")
    return JsonResponse(found[0].extraction, status)


async def _extract(deps: Deps, who: Principal, idempotent: IdempotentCall, wanted: _Wanted) -> Response:
    if idempotent.known is not None:
        return idempotent.replay(wanted.fingerprint)
    body = await run_to_completion(_commit(deps, who, idempotent, wanted))
    await deps.cache.announce()
    return Response(body, 201, media_type="application/json")


async def _commit(deps: Deps, who: Principal, idempotent: IdempotentCall, wanted: _Wanted) -> bytes:
    again = Reextraction(who.user_id, wanted.video_id, uuid7(), uuid7(), wanted.canonical)
    body = await _reused(deps, idempotent, wanted, again) or await _queued(deps, idempotent, wanted, again)
    log.info("An extraction was accepted.", event_name="extraction.accepted", extraction_id=str(again.extraction_id))
    return body


async def _reused(deps: Deps, idempotent: IdempotentCall, wanted: _Wanted, again: Reextraction) -> bytes | None:
    """By a stored result, if there is one: it adds nothing to what waits, so that no quota is asked."""
    async with deps.database.begin() as connection:
        if await accept.reuse(connection, again, deps.engine_name):
            return await _answered(connection, idempotent, wanted, again.extraction_id)
        return None


async def _queued(deps: Deps, idempotent: IdempotentCall, wanted: _Wanted, again: Reextraction) -> bytes:
    await deps.admission.check_room(again.user_id)
    limits = deps.limits.quotas
    async with deps.database.begin() as connection:
        usage = (await quotas.lock_usage(connection, [again.user_id], limits))[again.user_id]
        quotas.check(limits, usage, files=1, size=0)
        await accept.extract_again(connection, again)
        return await _answered(connection, idempotent, wanted, again.extraction_id)


async def _answered(
    connection: AsyncConnection, idempotent: IdempotentCall, wanted: _Wanted, extraction_id: UUID
) -> bytes:
    """The answer's JSON, kept for a repeated call in the same transaction."""
    rows = await videos.documents_within(connection, [extraction_id])
    body = encode_json(cached_representations.representation_of(rows[extraction_id]).extraction)
    await idempotency_keys.finish(connection, idempotent.answer(wanted.fingerprint, 201, body))
    return body


async def _cancel(deps: Deps, extraction_id: UUID) -> bool:
    async with deps.database.begin() as connection:
        return await task_queue.cancel(connection, extraction_id)


def _asked(body: Any) -> FrameSpec:
    """The body's `spec`; none given: the defaults. Raises CatalogueError `invalid_field` or `invalid_spec`."""
    if not isinstance(body, dict):
        raise CatalogueError("invalid_field", "body: Must be an object.")
    unknown = next((name for name in body if name != "spec"), None)
    if unknown is not None:
        raise CatalogueError("invalid_field", f"{unknown[:40]}: This is not a known field.")
    return frame_spec.from_document(body.get("spec", {}))
