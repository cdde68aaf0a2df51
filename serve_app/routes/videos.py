"""The video resource: accept uploads, list, show, delete."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

import structlog
from pydantic import Field
from starlette.requests import Request
from starlette.responses import Response

from db import videos
from db.acceptance.idempotency_keys import OwnedKey
from db.accounts.accounts import Principal
from db.run_to_completion import run_to_completion
from db.values.error_catalogue import CatalogueError
from db.values.lifecycle import ExtractionStatus
from db.videos import RepresentationKey
from serve_app import cached_representations
from serve_app.deps import Deps, deps_of
from serve_app.http import pagination
from serve_app.http.conditional_requests import is_match_of_state, json_document
from serve_app.http.json_response import JsonResponse
from serve_app.http.multipart_parser import MultipartReader, boundary_of
from serve_app.http.pagination import PageQuery
from serve_app.http.path_params import path_id
from serve_app.http.server.slow_clients import enforce_min_rate
from serve_app.submission.group_commit import AcceptRequest
from serve_app.submission.idempotent_requests import (
    claim_key,
    find_response,
    idempotency_key,
    replay,
    request_fingerprint,
)
from serve_app.submission.receive_files import declared_size

log = structlog.get_logger(__name__)


class VideoQuery(PageQuery):
    """The query of the list of videos."""

    status: Annotated[ExtractionStatus | None, Field(strict=False)] = None
    warned: Annotated[
        bool, Field(strict=False, description="true: only videos whose newest extraction succeeded with warnings")
    ] = False
    q: str | None = Field(None, max_length=255)
    sha256: str | None = Field(None, pattern=r"^[0-9A-Fa-f]{64}$")


async def accept(request: Request, principal: Principal) -> Response:
    """POST /v1/videos"""
    deps = deps_of(request)
    boundary = boundary_of(request.headers.get("content-type"))
    size = declared_size(request.headers, deps.request_max_bytes)
    key = idempotency_key(request.headers, principal.user_id, "POST /v1/videos")
    body = MultipartReader(enforce_min_rate(request.stream()), boundary, deps.request_max_bytes)
    stored = await find_response(deps.database, key)
    if stored is None:
        async with deps.admission.admit_upload(principal.user_id, size), claim_key(deps.database, key) as stored:
            if stored is None:
                return await _accept(deps, principal.user_id, body, key)
    with deps.admission.admit_replay(principal.user_id):
        received = await deps.file_receiver.digest(body)
    return replay(stored, request_fingerprint(received.identity))


async def _accept(deps: Deps, user_id: UUID, body: MultipartReader, key: OwnedKey | None) -> Response:
    async with deps.file_receiver.store(body, user_id) as received:
        accepted = AcceptRequest(received.uploads(user_id), key, request_fingerprint(received.identity))
        return await accept_stored(deps, accepted)


async def accept_stored(deps: Deps, request: AcceptRequest) -> Response:
    """Accepts files that are in the store, and responds with their videos. Raises as `GroupCommit.accept`."""
    content = await deps.group_commit.accept(request)
    await deps.cache.announce()
    user_id, files = str(request.uploads[0].user_id), len(request.uploads)
    log.info("Videos were accepted.", event_name="video.accepted", user_id=user_id, files=files)
    return Response(content, 201, media_type="application/json")


async def list_videos(request: Request, principal: Principal) -> Response:
    """GET /v1/videos"""
    deps = deps_of(request)
    query = pagination.read_query(VideoQuery, request)
    keys = await videos.list_keys(
        deps.database,
        principal.user_id,
        limit=query.limit + 1,
        before=query.before,
        status=query.status,
        warned=query.warned,
        words=pagination.words_of(query.q),
        sha256=query.sha256.lower() if query.sha256 else None,
    )
    page, next_cursor = pagination.paginate(keys, query.limit, lambda key: pagination.encode_cursor(key.video_id))
    items = [
        representation.video for representation in await cached_representations.read(deps.database, deps.cache, page)
    ]
    return JsonResponse({"items": items, "next_cursor": next_cursor})


async def show(request: Request, principal: Principal) -> Response:
    """GET /v1/videos/{id}"""
    deps = deps_of(request)
    key = await videos.video_key_of(deps.database, principal.user_id, path_id(request))
    found = await cached_representations.read(deps.database, deps.cache, [key]) if key is not None else []
    if key is None or not found:
        raise CatalogueError("not_found")
    return json_document(request, found[0].video, cached_representations.etag_of(key, found[0]))


async def delete(request: Request, principal: Principal) -> Response:
    """DELETE /v1/videos/{id}"""
    deps = deps_of(request)
    video_id = path_id(request)
    if_match = request.headers.get("if-match")

    def may_delete(key: RepresentationKey) -> bool:
        return is_match_of_state(if_match, cached_representations.state_of(key))

    if not await run_to_completion(videos.delete(deps.database, principal.user_id, video_id, may_delete)):
        raise CatalogueError("not_found")
    log.info("A video was deleted.", event_name="video.deleted", user_id=str(principal.user_id), video_id=str(video_id))
    return Response(status_code=204)
