"""The upload resource: resumable uploads by the protocol tus 1.0.0 (https://tus.io/protocols/resumable-upload)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from uuid import UUID

import orjson
import structlog
from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import Response
from uuid_utils.compat import uuid7

from db.acceptance import quotas, resumable_uploads
from db.acceptance.idempotency_keys import OwnedKey
from db.acceptance.resumable_uploads import NewUpload, UploadState
from db.accounts.accounts import Principal
from db.run_to_completion import run_to_completion
from db.values import frame_spec
from db.values.error_catalogue import CatalogueError, Fault
from serve_app.deps import Deps, deps_of
from serve_app.http import json_request_body, tus_headers
from serve_app.http.path_params import path_id
from serve_app.submission.idempotent_requests import (
    REPLAYED,
    claim_key,
    find_response,
    idempotency_key,
    replay,
    request_fingerprint,
    store_response,
)

log = structlog.get_logger(__name__)
Endpoint = Callable[[Request], Awaitable[Response]]


def tus_endpoint(endpoint: Endpoint) -> Endpoint:
    """Wraps an endpoint: checks the version of the protocol, and adds it to every response."""

    async def checked(request: Request) -> Response:
        request.state.default_headers["Tus-Resumable"] = tus_headers.VERSION
        tus_headers.check_version(request.headers)
        return await endpoint(request)

    return checked


async def discover(request: Request) -> Response:
    """OPTIONS /v1/uploads"""
    deps = deps_of(request)
    headers = tus_headers.discovery_headers(await deps.admission.max_video_bytes(deps.uploads.max_bytes))
    headers |= tus_headers.append_limit(deps.uploads.max_append_bytes)
    return Response(status_code=204, headers={"Tus-Resumable": tus_headers.VERSION} | headers)


async def create(request: Request, principal: Principal) -> Response:
    """POST /v1/uploads"""
    deps, headers = deps_of(request), request.headers
    size = tus_headers.upload_length(headers, deps.uploads.max_bytes)
    metadata = tus_headers.metadata(headers)
    key = idempotency_key(headers, principal.user_id, "POST /v1/uploads")
    if tus_headers.has_chunk(headers):
        _check_request_size(headers, deps, room=size)
    stored = await find_response(deps.database, key)
    if stored is None:
        await deps.admission.admit_new_upload(principal.user_id, size or 0)
    spec = await json_request_body.read_spec(request) if json_request_body.has_json(headers) else metadata.spec
    new = NewUpload(
        id=uuid7(),
        user_id=principal.user_id,
        filename=metadata.filename,
        spec=frame_spec.canonical(spec),
        metadata=metadata.text,
        size=size,
        sha256=metadata.sha256,
    )
    fingerprint = request_fingerprint([new.spec, new.filename, new.size, new.sha256])
    if stored is None:
        async with claim_key(deps.database, key) as stored:
            if stored is None:
                upload = await run_to_completion(_create(deps, new, key, fingerprint))
                log.info("An upload was created.", event_name="upload.created", user_id=str(principal.user_id))
    if stored is not None:
        replay(stored, fingerprint)
        upload = await resumable_uploads.find(deps.database, principal.user_id, UUID(orjson.loads(stored.response)))
        return await _creation_response(request, upload, REPLAYED)
    return await _creation_response(request, upload, {})


async def _create(deps: Deps, new: NewUpload, key: OwnedKey | None, fingerprint: str) -> UploadState:
    async with deps.database.begin() as connection:
        allowances = await quotas.lock_allowances(connection, [new.user_id], deps.limits.quotas)
        allowances[new.user_id].check(files=1, size=new.size or 0)
        await deps.admission.admit_announced(connection, new.size or 0)
        upload = await resumable_uploads.create(connection, new, expiry_seconds=deps.uploads.expiry_seconds)
        await store_response(connection, key, fingerprint, 201, orjson.dumps(str(upload.id)))
        return upload


async def _creation_response(request: Request, upload: UploadState, more: dict[str, str]) -> Response:
    """Returns the response to a creation. Receives the bytes in its body, unless an earlier request has sent bytes."""
    with_bytes = tus_headers.has_chunk(request.headers)
    location = {"Location": f"/v1/uploads/{upload.id}"}
    # An error has it too: without it the client could neither continue nor end the upload.
    request.state.default_headers.update(location)
    if with_bytes and upload.received == 0:
        upload = await _receive(request, upload)
    headers = location | _position_headers(deps_of(request), upload, with_offset=with_bytes)
    return Response(status_code=201, headers=headers | more)


async def override_method(request: Request, principal: Principal) -> Response:
    """POST /v1/uploads/{id}, from a client whose network blocks other methods (X-HTTP-Method-Override)."""
    match request.headers.get("x-http-method-override", "").upper():
        case "PATCH":
            return await append(request, principal)
        case "DELETE":
            return await terminate(request, principal)
        case "HEAD":
            return await show(request, principal)
        case _:
            raise CatalogueError("method_not_allowed")


async def show(request: Request, principal: Principal) -> Response:
    """HEAD /v1/uploads/{id}"""
    upload = await resumable_uploads.find(deps_of(request).database, principal.user_id, path_id(request))
    length = {"Upload-Defer-Length": "1"} if upload.size is None else {"Upload-Length": str(upload.size)}
    metadata = {"Upload-Metadata": upload.metadata} if upload.metadata else {}
    return Response(status_code=200, headers=_position_headers(deps_of(request), upload) | length | metadata)


async def append(request: Request, principal: Principal) -> Response:
    """PATCH /v1/uploads/{id}"""
    deps, headers = deps_of(request), request.headers
    tus_headers.check_chunk_type(headers)
    offset = tus_headers.upload_offset(headers)
    upload = await resumable_uploads.find(deps.database, principal.user_id, path_id(request))
    if offset != upload.received:
        raise CatalogueError("upload_conflict", f"{upload.received} bytes have arrived, not {offset}.")
    size = tus_headers.declared_length(headers, deps.uploads.max_bytes)
    if size is not None and size != upload.size:
        if upload.size is not None:
            raise CatalogueError("upload_conflict", f"The upload's length is {upload.size}, not {size}.")
        # The size alone may complete the upload.
        await deps.admission.check_accepting()
        upload = await run_to_completion(deps.chunk_receiver.set_size(upload, size))
    if not upload.is_complete:
        _check_request_size(headers, deps, room=None if upload.size is None else upload.size - offset)
        upload = await _receive(request, upload)
    return Response(status_code=204, headers=_position_headers(deps_of(request), upload))


async def terminate(request: Request, principal: Principal) -> Response:
    """DELETE /v1/uploads/{id}"""
    deps = deps_of(request)
    upload = await resumable_uploads.find(deps.database, principal.user_id, path_id(request))
    if upload.is_complete:
        raise CatalogueError("upload_conflict", "The upload is complete; delete its video.")
    if not await run_to_completion(resumable_uploads.terminate(deps.database, principal.user_id, upload.id)):
        raise CatalogueError("upload_conflict", "The upload has ended meanwhile.")
    log.info("An upload was deleted.", event_name="upload.deleted", user_id=str(principal.user_id))
    return Response(status_code=204)


async def _receive(request: Request, upload: UploadState) -> UploadState:
    deps = deps_of(request)
    checksum = tus_headers.checksum(request.headers)
    async with deps.admission.admit_chunks(upload):
        try:
            received = await deps.chunk_receiver.receive(upload, request.stream(), checksum)
        except CatalogueError as error:
            if error.fault is Fault.FILE and await resumable_uploads.is_kept(deps.database, upload.id):
                detail = "Another request has sent the first bytes of this upload."
                raise CatalogueError("upload_conflict", detail) from error
            raise
    if received.is_complete:
        await deps.cache.announce()
        log.info(
            "A video was accepted.", event_name="video.accepted", user_id=str(upload.user_id), video_id=str(upload.id)
        )
    return received


def _check_request_size(headers: Headers, deps: Deps, *, room: int | None) -> None:
    """room: the most bytes that the upload can still take. Raises CatalogueError `too_large`, `length_required`."""
    length, max_bytes = _content_length(headers), deps.uploads.max_request_bytes
    if length is None:
        if max_bytes is not None:
            raise CatalogueError("length_required")
        return
    if max_bytes is not None and length > max_bytes:
        raise CatalogueError("too_large", f"One request may bring at most {max_bytes} bytes; send the rest in others.")
    if room is not None and length > room:
        raise CatalogueError("too_large", f"The request brings {length} bytes; {room} are missing.")


def _content_length(headers: Headers) -> int | None:
    text = headers.get("content-length")
    if text is None:
        return None
    if not (text.isascii() and text.isdigit()):
        raise CatalogueError("malformed_request", "The Content-Length is not a number.")
    return int(text)


def _position_headers(deps: Deps, upload: UploadState, *, with_offset: bool = True) -> dict[str, str]:
    """Returns the offset, the expiry and the limit of an upload; of a complete one, the path of its video."""
    offset = {"Upload-Offset": str(upload.received)} if with_offset else {}
    if upload.is_complete:
        return offset | {"Video-Location": f"/v1/videos/{upload.id}"}
    expiry = {"Upload-Expires": tus_headers.http_date(upload.expires_at)}
    return offset | expiry | tus_headers.append_limit(deps.uploads.max_append_bytes)
