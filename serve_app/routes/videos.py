"""Videos: accept, list, show, delete."""

from __future__ import annotations

from contextlib import AsyncExitStack
from functools import partial
from typing import Annotated

import structlog
from pydantic import Field
from starlette.requests import Request
from starlette.responses import Response

from db import videos
from db.accounts import Principal
from db.values.error_catalogue import CatalogueError
from db.values.lifecycle import ExtractionStatus
from serve_app import cached_representations
from serve_app.deps import deps_of
from serve_app.http import pagination
from serve_app.http.cancellation import run_to_completion
from serve_app.http.json_response import JsonResponse
from serve_app.http.multipart_parser import MultipartReader, boundary_of
from serve_app.http.pagination import PageQuery
from serve_app.http.path_params import path_id
from serve_app.submission.group_commit import AcceptCall
from serve_app.submission.idempotent_requests import idempotent_call
from serve_app.submission.receive_files import FileReceiver, declared_size

log = structlog.get_logger(__name__)


class VideoQuery(PageQuery):
    """The query of the list of videos."""

    status: Annotated[ExtractionStatus | None, Field(strict=False)] = None
    q: str | None = Field(None, max_length=255)
    sha256: str | None = Field(None, pattern=r"^[0-9A-Fa-f]{64}$")


async def accept(request: Request, who: Principal) -> Response:
    """POST /v1/videos"""
    deps = deps_of(request)
    boundary = boundary_of(request.headers.get("content-type"))
    size = declared_size(request.headers, deps.request_max_bytes)
    async with AsyncExitStack() as stack:
        admit = partial(stack.enter_async_context, deps.admission.upload(who.user_id, size))
        idempotent = await stack.enter_async_context(
            idempotent_call(request, deps.database, who, "POST /v1/videos", admit)
        )
        if idempotent.known is not None:
            stack.enter_context(deps.admission.repeated())
        intake = FileReceiver(deps, who.user_id, store=idempotent.known is None)
        try:
            taken = await intake.take(MultipartReader(request.stream(), boundary, deps.request_max_bytes))
            if idempotent.known is not None:
                return idempotent.replay(taken.fingerprint())
            call = AcceptCall(taken.uploads(who.user_id), idempotent, taken.fingerprint())
            body = await run_to_completion(deps.group_commit.accept(call))
        except BaseException:
            await run_to_completion(intake.undo())
            raise
    await deps.cache.announce()
    log.info("Videos were accepted.", event_name="videos.accepted", user_id=str(who.user_id), files=len(taken.files))
    return Response(body, 201, media_type="application/json")


async def list_(request: Request, who: Principal) -> Response:
    """GET /v1/videos"""
    deps = deps_of(request)
    query = pagination.read_query(VideoQuery, request)
    keys = await videos.list_keys(
        deps.database,
        who.user_id,
        limit=query.limit + 1,
        before=query.before,
        status=query.status,
        # Postgres knows no zero character, so no file name has one.
        words=query.q.replace("\0", "\ufffd") if query.q else None,
        sha256=query.sha256.lower() if query.sha256 else None,
    )
    page, next_cursor = pagination.page_of(keys, query.limit, lambda key: pagination.encode(key.video_id))
    items = [document.video for document in await cached_representations.read(deps.database, deps.cache, page)]
    return JsonResponse({"items": items, "next_cursor": next_cursor})


async def show(request: Request, who: Principal) -> Response:
    """GET /v1/videos/{id}"""
    deps = deps_of(request)
    key = await videos.video_key_of(deps.database, who.user_id, path_id(request))
    found = await cached_representations.read(deps.database, deps.cache, [key]) if key is not None else []
    if not found:
        raise CatalogueError("not_found")
    return JsonResponse(found[0].video)


async def delete(request: Request, who: Principal) -> Response:
    """DELETE /v1/videos/{id}"""
    deps = deps_of(request)
    video_id = path_id(request)
    if not await run_to_completion(videos.delete(deps.database, who.user_id, video_id)):
        raise CatalogueError("not_found")
    log.info("A video was deleted.", event_name="video.deleted", user_id=str(who.user_id), video_id=str(video_id))
    return Response(status_code=204)
