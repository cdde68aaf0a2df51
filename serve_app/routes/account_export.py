"""The export of an account: all that is stored about it, as a zip that is made while it is sent.

Neither files nor rows are held as a whole, so an account of any size needs little memory. An object that is missing is
noted in `missing.txt`.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import PurePath
from typing import Any
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncEngine
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from db import account_export, accounts, videos
from db.acceptance import resumable_uploads
from db.account_export import ResultRow, VideoRow
from db.accounts import Principal
from db.extraction_json import extraction_representation
from db.notification import event_timeline, webhook_deliveries, webhooks
from db.notification.webhooks import MAX_WEBHOOKS
from db.object_store.object_store import ObjectNotFound, blocks_of
from serve_app.deps import Deps, deps_of
from serve_app.http.json_response import encode_json
from serve_app.http.streamed_zip import ZIP32_BYTES, ZipEntry, stream_zip
from serve_app.routes.accounts import account_json
from serve_app.routes.downloads import attachment
from serve_app.routes.webhooks import delivery_json, webhook_json

PAGE = 200
_SUFFIX = re.compile(r"\.[A-Za-z0-9]{1,10}")


async def download(request: Request, principal: Principal) -> Response:
    """GET /v1/me/export"""
    deps, now = deps_of(request), datetime.now(UTC)
    headers = {
        "Content-Type": "application/zip",
        "Content-Disposition": attachment(f"fotograma-{now:%Y-%m-%d}.zip"),
        "Cache-Control": "no-store",
    }
    if request.method == "HEAD":
        return Response(headers=headers)
    account = await account_json(deps, await accounts.get(deps.database, principal.user_id))
    return StreamingResponse(stream_zip(_Export(deps, principal.user_id).entries(account), now), headers=headers)


@dataclass(slots=True)
class _Export:
    """missing: what is noted of objects that are not there, one line each."""

    deps: Deps
    user_id: UUID
    missing: list[str] = field(default_factory=list)

    async def entries(self, account: dict[str, Any]) -> AsyncIterator[ZipEntry]:
        """The rows first, then the files."""
        database = self.deps.database
        yield ZipEntry("account.json", _one(encode_json(account)), ZIP32_BYTES)
        for name, items in (
            ("sessions.json", _as_dicts(account_export.sessions(database, self.user_id))),
            ("webhooks.json", self._webhooks()),
            ("deliveries.json", self._deliveries()),
            ("uploads.json", self._uploads()),
            ("videos.json", self._videos()),
            ("extractions.json", self._extractions()),
        ):
            yield ZipEntry(name, blocks_of(_json_array(items)))
        async for entry in self._files():
            yield entry
        if self.missing:
            yield ZipEntry("missing.txt", _one("".join(self.missing).encode()), ZIP32_BYTES)

    async def _webhooks(self) -> AsyncIterator[dict[str, Any]]:
        for webhook in await webhooks.list_webhooks(self.deps.database, self.user_id, limit=MAX_WEBHOOKS):
            yield webhook_json(webhook)

    async def _deliveries(self) -> AsyncIterator[dict[str, Any]]:
        database = self.deps.database
        for webhook in await webhooks.list_webhooks(database, self.user_id, limit=MAX_WEBHOOKS):
            before: UUID | None = None
            while page := await webhook_deliveries.list_deliveries(database, webhook.id, limit=PAGE, before=before):
                for delivery in page:
                    yield {"webhook_id": webhook.id, **delivery_json(delivery)}
                before = page[-1].id

    async def _uploads(self) -> AsyncIterator[dict[str, Any]]:
        async for upload in account_export.open_uploads(self.deps.database, self.user_id):
            yield {**asdict(upload), "file": f"uploads/{upload.id}"}

    async def _videos(self) -> AsyncIterator[dict[str, Any]]:
        async for video in account_export.videos(self.deps.database, self.user_id):
            row = asdict(video)
            del row["object_key"]
            yield {**row, "file": None if video.object_key is None else _name_of(video)}

    async def _extractions(self) -> AsyncIterator[dict[str, Any]]:
        database = self.deps.database
        async for video in account_export.videos(database, self.user_id):
            async for extraction_id in account_export.extraction_ids(database, self.user_id, video.id):
                rows = await videos.read_rows(database, [extraction_id])
                for row in rows.values():
                    yield {
                        **extraction_representation(row.extraction),
                        "files": None if row.extraction.result_has_expired else row.extraction.result_key,
                        "timeline": [event async for event in _timeline(database, extraction_id)],
                    }

    async def _files(self) -> AsyncIterator[ZipEntry]:
        database = self.deps.database
        async for video in account_export.videos(database, self.user_id):
            if video.object_key is not None:
                content = self._video_content(video.id, video.object_key)
                async for entry in self._existing(_name_of(video), content, video.size):
                    yield entry
        async for upload in account_export.open_uploads(database, self.user_id):
            content = self._chunks(upload.id)
            async for entry in self._existing(f"uploads/{upload.id}", content, upload.size):
                yield entry
        async for result in account_export.results(database, self.user_id):
            async for entry in self._result(result):
                yield entry

    async def _result(self, result: ResultRow) -> AsyncIterator[ZipEntry]:
        # The name of a file in the archive is the key of its object: `files` of the extractions leads to it.
        archive = f"{result.key}/frames.zip"
        for key in sorted({archive, *await self.deps.objects.keys(result.key)}):
            max_bytes = result.bytes if key == archive else ZIP32_BYTES
            async for entry in self._existing(key, self.deps.objects.read(key), max_bytes):
                yield entry

    async def _existing(
        self, name: str, content: AsyncIterator[bytes], max_bytes: int | None
    ) -> AsyncIterator[ZipEntry]:
        """Yields the entry of a file, or nothing when its first byte is missing already."""
        try:
            first = await anext(content, b"")
        except ObjectNotFound:
            self.missing.append(f"{name}\n")
        else:
            yield ZipEntry(name, self._noted(name, first, content), max_bytes)

    async def _noted(self, name: str, first: bytes, rest: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        yield first
        sent = len(first)
        try:
            async for block in rest:
                yield block
                sent += len(block)
        except ObjectNotFound:
            self.missing.append(f"{name} (from byte {sent} on)\n")

    def _video_content(self, video_id: UUID, object_key: str) -> AsyncIterator[bytes]:
        if resumable_uploads.is_chunked(object_key):
            return self._chunks(video_id)
        return self.deps.objects.read(object_key)

    async def _chunks(self, upload_id: UUID) -> AsyncIterator[bytes]:
        for chunk in await resumable_uploads.chunks_of(self.deps.database, upload_id):
            async for block in self.deps.objects.read(chunk.object_key):
                yield block


def _name_of(video: VideoRow) -> str:
    """The video's file in the archive. Of the user's own name only an ordinary suffix is used."""
    suffix = PurePath(video.filename).suffix
    return f"videos/{video.id}{suffix if _SUFFIX.fullmatch(suffix) else ''}"


async def _timeline(database: AsyncEngine, extraction_id: UUID) -> AsyncIterator[dict[str, Any]]:
    after = 0
    while page := await event_timeline.read(database, extraction_id, after=after, limit=PAGE):
        for event in page:
            yield {"at": event.at, "kind": event.kind, **event.facts}
        after = page[-1].id


async def _as_dicts(rows: AsyncIterator[Any]) -> AsyncIterator[dict[str, Any]]:
    async for row in rows:
        yield asdict(row)


async def _json_array(items: AsyncIterator[dict[str, Any]]) -> AsyncIterator[bytes]:
    before = b"[\n"
    async for item in items:
        yield before + encode_json(item)
        before = b",\n"
    yield b"[]\n" if before == b"[\n" else b"\n]\n"


async def _one(content: bytes) -> AsyncIterator[bytes]:
    yield content
