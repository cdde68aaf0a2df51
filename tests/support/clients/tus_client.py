"""Requests of the protocol tus, one function for each."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import AsyncIterable
from uuid import UUID

import httpx
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from db.acceptance import resumable_uploads
from db.object_store.object_store import ObjectStore

CHUNK = "application/offset+octet-stream"
TUS = {"Tus-Resumable": "1.0.0"}


def id_of(path: str) -> str:
    """The id of an upload from its path. Its video has the same id."""
    return path.rpartition("/")[2]


async def chunk_keys(objects: ObjectStore, path: str) -> list[str]:
    """The keys of an upload's chunk objects."""
    return await objects.keys(f"videos/{id_of(path)}")


async def upload_ids(database: AsyncEngine, client: httpx.AsyncClient) -> set[UUID]:
    """The ids of all uploads of the client's account."""
    me = (await client.get("/v1/me")).json()["id"]
    async with database.connect() as connection:
        result = await connection.execute(text("SELECT id FROM uploads WHERE user_id = :me"), {"me": UUID(me)})
        return set(result.scalars())


async def expire(database: AsyncEngine, path: str) -> None:
    """Makes an upload expire."""
    statement = "UPDATE uploads SET expires_at = now() - interval '1 s' WHERE id = :id"
    async with database.begin() as connection:
        assert (await connection.execute(text(statement), {"id": UUID(id_of(path))})).rowcount == 1


async def stored_bytes(database: AsyncEngine, objects: ObjectStore, video_id: str) -> bytes:
    """The bytes of all committed chunks of an upload."""
    chunks = await resumable_uploads.chunks_of(database, UUID(video_id))
    return b"".join([block for chunk in chunks async for block in objects.read(chunk.object_key)])


def metadata(**values: str | bytes) -> str:
    """The header Upload-Metadata."""
    encoded = {
        key: base64.b64encode(value.encode() if isinstance(value, str) else value) for key, value in values.items()
    }
    # An empty value has no space after its key, because HTTP allows none at the end of a header.
    return ",".join(f"{key} {value.decode()}".rstrip() for key, value in encoded.items())


def checksum(content: bytes, algorithm: str = "sha256") -> dict[str, str]:
    """The header Upload-Checksum."""
    digest = hashlib.new(algorithm, content).digest()
    return {"Upload-Checksum": f"{algorithm} {base64.b64encode(digest).decode()}"}


async def create(
    client: httpx.AsyncClient,
    size: int | None,
    content: bytes | None = None,
    *,
    filename: str = "clip.mp4",
    headers: dict[str, str] | None = None,
    **more: str,
) -> httpx.Response:
    """POST /v1/uploads. size: None defers it. more: further metadata."""
    length = {"Upload-Defer-Length": "1"} if size is None else {"Upload-Length": str(size)}
    metadata_header = {"Upload-Metadata": metadata(filename=filename, **more)}
    content_type = {} if content is None else {"Content-Type": CHUNK}
    return await client.post(
        "/v1/uploads", content=content, headers=TUS | length | metadata_header | content_type | (headers or {})
    )


async def open_upload(client: httpx.AsyncClient, size: int | None, *, filename: str = "clip.mp4", **more: str) -> str:
    """Creates an upload. Returns its path."""
    answer = await create(client, size, None, filename=filename, headers=None, **more)
    assert answer.status_code == 201, answer.text
    return answer.headers["location"]


async def patch(
    client: httpx.AsyncClient,
    path: str,
    offset: int,
    content: bytes | AsyncIterable[bytes],
    headers: dict[str, str] | None = None,
) -> httpx.Response:
    """PATCH of an upload."""
    fixed = TUS | {"Upload-Offset": str(offset), "Content-Type": CHUNK}
    return await client.patch(path, content=content, headers=fixed | (headers or {}))


async def committed_offset(client: httpx.AsyncClient, path: str) -> int:
    """The committed offset, by HEAD."""
    answer = await client.head(path, headers=TUS)
    assert answer.status_code == 200
    return int(answer.headers["upload-offset"])
