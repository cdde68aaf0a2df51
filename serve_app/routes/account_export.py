"""The export of an account: all that is stored about it, as a zip that is made while it is sent.

Neither files nor rows are held as a whole, so an account of any size needs little memory. A file that the rows name and
that is gone when its turn comes is noted in `missing.txt`. After any other failure the archive has no end.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import PurePath
from typing import Any
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncEngine
from starlette.requests import Request
from starlette.responses import Response

from db import videos
from db.acceptance import resumable_uploads
from db.acceptance.resumable_uploads import is_chunked
from db.accounts import account_export, accounts, api_keys, presets
from db.accounts.account_export import VideoRow
from db.accounts.accounts import Principal
from db.accounts.api_keys import MAX_API_KEYS
from db.extraction_json import extraction_representation
from db.notification import event_timeline, webhook_deliveries, webhooks
from db.notification.webhooks import MAX_WEBHOOKS
from db.object_store.object_keys import chunks_prefix, id_of_chunks
from db.object_store.object_store import ObjectNotFound, blocks_of
from serve_app.concurrent_exports import EndingResponse
from serve_app.deps import Deps, deps_of
from serve_app.export_file_list import FileList, ListedFile
from serve_app.http.json_response import encode_json
from serve_app.http.streamed_zip import ZIP32_BYTES, ZipEntry, stream_zip
from serve_app.routes.accounts import account_json
from serve_app.routes.api_keys import api_key_json
from serve_app.routes.downloads import attachment
from serve_app.routes.presets import preset_json
from serve_app.routes.webhooks import delivery_json, webhook_json

PAGE_ROWS = 200
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
    end = deps.exports.begin(principal.user_id)
    response = EndingResponse(stream_zip(_Export(deps, principal.user_id).entries(account), now), headers=headers)
    response.on_end = end
    return response


@dataclass(slots=True)
class _Export:
    """files: those that the rows name. missing: the lines of `missing.txt`, one for each missing file."""

    deps: Deps
    user_id: UUID
    files: FileList = field(default_factory=FileList)
    missing: list[str] = field(default_factory=list)

    async def entries(self, account: dict[str, Any]) -> AsyncIterator[ZipEntry]:
        """Yields the entries: first the rows, then the files that they name."""
        try:
            async for entry in self._row_entries(account):
                yield entry
            for file in self.files:
                async for entry in self._file_entries(file):
                    yield entry
            if self.missing:
                yield ZipEntry("missing.txt", _single_chunk("".join(self.missing).encode()), ZIP32_BYTES)
        finally:
            self.files.close()

    async def _row_entries(self, account: dict[str, Any]) -> AsyncIterator[ZipEntry]:
        database = self.deps.database
        yield ZipEntry("account.json", _single_chunk(encode_json(account)), ZIP32_BYTES)
        for name, items in (
            ("sessions.json", _as_dicts(account_export.sessions(database, self.user_id))),
            ("api_keys.json", self._api_keys()),
            ("presets.json", self._presets()),
            ("webhooks.json", self._webhooks()),
            ("deliveries.json", self._deliveries()),
            ("uploads.json", self._uploads()),
            ("videos.json", self._videos()),
            ("extractions.json", self._extractions()),
        ):
            yield ZipEntry(name, blocks_of(_json_array(items)))

    async def _api_keys(self) -> AsyncIterator[dict[str, Any]]:
        for api_key in await api_keys.list_api_keys(self.deps.database, self.user_id, limit=MAX_API_KEYS):
            yield api_key_json(api_key)

    async def _presets(self) -> AsyncIterator[dict[str, Any]]:
        for preset in await presets.list_presets(self.deps.database, self.user_id):
            yield preset_json(preset)

    async def _webhooks(self) -> AsyncIterator[dict[str, Any]]:
        for webhook in await webhooks.list_webhooks(self.deps.database, self.user_id, limit=MAX_WEBHOOKS):
            yield webhook_json(webhook)

    async def _deliveries(self) -> AsyncIterator[dict[str, Any]]:
        database = self.deps.database
        for webhook in await webhooks.list_webhooks(database, self.user_id, limit=MAX_WEBHOOKS):
            before: UUID | None = None
            while page := await webhook_deliveries.list_deliveries(
                database, webhook.id, limit=PAGE_ROWS, before=before
            ):
                for delivery in page:
                    yield {"webhook_id": webhook.id, **delivery_json(delivery)}
                before = page[-1].id

    async def _uploads(self) -> AsyncIterator[dict[str, Any]]:
        async for upload in account_export.open_uploads(self.deps.database, self.user_id):
            name = f"uploads/{upload.id}"
            self.files.add(ListedFile(name, chunks_prefix(upload.id), upload.received, upload.size))
            yield {**asdict(upload), "file": name}

    async def _videos(self) -> AsyncIterator[dict[str, Any]]:
        async for video in account_export.videos(self.deps.database, self.user_id):
            row = asdict(video)
            del row["object_key"]
            name = None if video.object_key is None else _archive_name(video)
            if name is not None and video.object_key is not None:
                self.files.add(ListedFile(name, video.object_key, video.size, video.size))
            yield {**row, "file": name}

    async def _extractions(self) -> AsyncIterator[dict[str, Any]]:
        database = self.deps.database
        async for video in account_export.videos(database, self.user_id):
            async for extraction_id in account_export.extraction_ids(database, self.user_id, video.id):
                rows = await videos.read_rows(database, [extraction_id])
                for row in rows.values():
                    files = None if row.extraction.result_has_expired else row.extraction.result_key
                    if files is not None:
                        size = row.extraction.result_bytes or 0
                        self.files.add(ListedFile(files, f"{files}/frames.zip", size, size))
                    yield {
                        **extraction_representation(row.extraction),
                        "files": files,
                        "timeline": [event async for event in _timeline(database, extraction_id)],
                    }

    async def _file_entries(self, file: ListedFile) -> AsyncIterator[ZipEntry]:
        objects = self.deps.objects
        if is_chunked(file.object_key):
            content = self._chunks(id_of_chunks(file.object_key))
        else:
            content = objects.read(file.object_key)
        # The name of a file of a result is the key of its object: `files` of the extractions leads to it.
        is_result = file.object_key.startswith(f"{file.name}/")
        archive = replace(file, name=file.object_key) if is_result else file
        async for entry in self._entry_if_exists(archive, content):
            yield entry
        for key in await objects.keys(file.name) if is_result else ():
            if key != archive.name:
                async for entry in self._entry_if_exists(ListedFile(key, key, 0, ZIP32_BYTES), objects.read(key)):
                    yield entry

    async def _entry_if_exists(self, file: ListedFile, content: AsyncIterator[bytes]) -> AsyncIterator[ZipEntry]:
        """Yields the entry of a file, or nothing when its object is missing."""
        try:
            first = await anext(content, b"")
        except ObjectNotFound:
            first = b""
            is_there = False
        else:
            is_there = bool(first) or not file.size
        if is_there:
            yield ZipEntry(file.name, self._read_rest(file, first, content), file.max_bytes)
        else:
            self.missing.append(f"{file.name}\n")

    async def _read_rest(self, file: ListedFile, first: bytes, rest: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        yield first
        sent, is_whole = len(first), True
        try:
            async for block in rest:
                yield block
                sent += len(block)
        except ObjectNotFound:
            is_whole = False
        if not is_whole or sent < file.size:
            self.missing.append(f"{file.name} (from byte {sent} on)\n")

    async def _chunks(self, upload_id: UUID) -> AsyncIterator[bytes]:
        for chunk in await resumable_uploads.chunks_of(self.deps.database, upload_id):
            async for block in self.deps.objects.read(chunk.object_key):
                yield block


def _archive_name(video: VideoRow) -> str:
    """Returns the name of the video's file in the archive: its id, with the suffix of the user's file name."""
    suffix = PurePath(video.filename).suffix
    return f"videos/{video.id}{suffix if _SUFFIX.fullmatch(suffix) else ''}"


async def _timeline(database: AsyncEngine, extraction_id: UUID) -> AsyncIterator[dict[str, Any]]:
    after = 0
    while page := await event_timeline.read(database, extraction_id, after=after, limit=PAGE_ROWS):
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


async def _single_chunk(content: bytes) -> AsyncIterator[bytes]:
    yield content
