"""What code in the cluster asks of an API replica by a Serve handle: the account's name takes the place of a token.

Whoever reaches a handle is an operator of the cluster. A call answers as the HTTP API does, so that its errors and
values are the same.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any
from uuid import UUID

from starlette.responses import Response
from uuid_utils.compat import uuid7

from db.acceptance.idempotency_keys import OwnedKey
from db.accounts import accounts
from db.accounts.accounts import Account
from db.object_store.object_sources import SourceObject
from db.tracing_api import SpanKind
from db.values import frame_spec
from db.values.email_address import normal_email
from db.values.error_catalogue import CatalogueError
from db.values.frame_spec import FrameSpec
from serve_app.deps import Deps
from serve_app.http.json_request_body import parse_json
from serve_app.http.json_response import JsonResponse
from serve_app.http.problem_details import error_response, to_catalogue_error
from serve_app.http.request_tracing import entered_request
from serve_app.routes import downloads, extractions
from serve_app.routes.videos import accept_stored
from serve_app.submission.group_commit import AcceptRequest
from serve_app.submission.idempotent_requests import claim_key, find_response, replay, request_fingerprint

Reply = tuple[int, dict[str, str], bytes]
"""Status, headers and body of HTTP."""

ROUTE = "in-cluster submit"
"""Of the idempotency keys. HTTP has no such route."""
MAX_PAGE_OBJECTS = 1000
MAX_READ_BYTES = 8 << 20


def source_key(source: SourceObject, canonical_spec: str) -> str:
    """The idempotency key of a source: the same object, unchanged and with the same specification, has the same key."""
    return request_fingerprint([source.url, source.version, source.size, canonical_spec])


class InClusterCalls:
    """The calls. account: the e-mail of an account. spec: JSON text; None for the defaults."""

    def __init__(self, deps: Deps) -> None:
        self._deps = deps

    async def answer(self, name: str, arguments: Mapping[str, Any]) -> Reply:
        """Answers one call. An error is a problem object, as over HTTP."""
        calls: Mapping[str, Callable[..., Awaitable[Response]]] = {
            "check": self.check,
            "list_sources": self.list_sources,
            "submit": self.submit,
            "show_extraction": self.show_extraction,
            "read_archive": self.read_archive,
        }
        request_id = uuid7().hex
        span = self._deps.tracing.tracer.start(f"call {name}", kind=SpanKind.SERVER)
        with entered_request(span, request_id):
            try:
                response = await calls[name](**arguments)
            except Exception as error:  # noqa: BLE001 - becomes a problem object, and is logged if it is unexpected
                code = to_catalogue_error(error).code
                span.fail(code)
                if name == "submit":
                    self._deps.metrics.refused(code)
                response = error_response(error, request_id)
        return response.status_code, dict(response.headers), bytes(response.body)

    async def check(self, *, account: str, spec: str | None) -> Response:
        """Whether `submit` can take these arguments. Raises CatalogueError `invalid_field` or `invalid_spec`."""
        await self._account(account)
        _parse_spec(spec)
        return Response(status_code=204)

    async def list_sources(self, *, url: str, after: str | None) -> Response:
        """The URLs of the next objects below the prefix `url`, after the URL `after`; an empty list at the end."""
        page = await self._deps.sources.list_page(url, after, MAX_PAGE_OBJECTS)
        return JsonResponse([source.url for source in page])

    async def submit(self, *, account: str, url: str, spec: str | None) -> Response:
        """Copies the object at `url` and accepts it as a video of the account, once as long as the video is stored.

        The response is that of `POST /v1/videos`. Raises CatalogueError as that route does.
        """
        deps, user_id, parsed = self._deps, (await self._account(account)).id, _parse_spec(spec)
        source = await deps.sources.find(url)
        if source.size > deps.uploads.max_bytes:
            raise CatalogueError("too_large", f"A video may have {deps.uploads.max_bytes:,} bytes.")
        key = OwnedKey(user_id, ROUTE, source_key(source, frame_spec.canonical(parsed)), uuid7())
        stored = await find_response(deps.database, key)
        if stored is None:
            async with deps.admission.admit_upload(user_id, source.size), claim_key(deps.database, key) as stored:
                if stored is None:
                    return await self._accept(user_id, source, parsed, key)
        return replay(stored, key.key)

    async def show_extraction(self, *, account: str, extraction_id: str) -> Response:
        """As `GET /v1/extractions/{id}`."""
        user_id = (await self._account(account)).id
        return await extractions.extraction_response(self._deps, user_id, _parse_id(extraction_id), 200)

    async def read_archive(self, *, account: str, extraction_id: str, start: int) -> Response:
        """At most MAX_READ_BYTES of `GET /v1/extractions/{id}/frames.zip`, from the byte `start` on."""
        user_id = (await self._account(account)).id
        row = (await downloads.succeeded_extraction(self._deps, user_id, _parse_id(extraction_id))).extraction
        chunks = self._deps.objects.read(f"{row.result_key}/frames.zip", start, MAX_READ_BYTES)
        return Response(b"".join([chunk async for chunk in chunks]), media_type="application/zip")

    async def _account(self, email: str) -> Account:
        normal = normal_email(email)
        account = None if normal is None else await accounts.get_by_email(self._deps.database, normal)
        if account is None:
            raise CatalogueError("invalid_field", f"account: There is no account {email[:100]}.")
        return account

    async def _accept(self, user_id: UUID, source: SourceObject, spec: FrameSpec, key: OwnedKey) -> Response:
        deps = self._deps
        async with deps.file_receiver.copy(source.url, deps.sources.read(source), user_id, spec) as received:
            return await accept_stored(deps, AcceptRequest(received.uploads(user_id), key, key.key, keeps_key=True))


def _parse_spec(spec: str | None) -> FrameSpec:
    return frame_spec.from_document({} if spec is None else parse_json(spec.encode(), "The specification"))


def _parse_id(text: str) -> UUID:
    try:
        return UUID(text)
    except ValueError as error:
        raise CatalogueError("not_found") from error
