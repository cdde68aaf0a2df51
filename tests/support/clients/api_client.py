"""The application in this process on real servers, and the requests that many API tests make."""

from __future__ import annotations

import asyncio
import hashlib
import re
import socket
import zipfile
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from fractions import Fraction
from io import BytesIO
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import uvicorn
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine
from starlette.types import ASGIApp

from actors.engine.archive_writer import image_name
from db.acceptance.quotas import UNLIMITED
from db.cache import Cache
from db.notification.webhook_url_policy import Reach
from db.object_store.folder_store import FolderStore
from db.object_store.object_keys import preview_key
from db.object_store.object_sources import ObjectSources
from db.object_store.object_store import ObjectStore
from db.queue import task_queue
from db.queue.task_queue import Claim, Preview, Publication
from db.values.frame_spec import ImageNames
from db.values.manifest import CSV_HEAD, ManifestRow
from serve_app.deps import Deps
from serve_app.openapi.openapi_document import openapi_document
from serve_app.security.key_derivation import derive_key, signing_key
from serve_app.security.password_hashing import PasswordHasher
from serve_app.security.rate_limit import RateLimit, RateLimiter
from serve_app.security.signed_tokens import TokenSigner
from serve_app.submission.admission_control import AdmissionLimits
from serve_app.submission.receive_chunks import UploadPolicy

SECRET = "an integration test's own secret key"
PASSWORD = "correct horse"
MP4 = b"\0\0\0\x18ftypisom" + bytes(range(256)) * 40
WEBM = b"\x1a\x45\xdf\xa3" + b"webm" * 500


def make_deps(database: AsyncEngine, folder: Path, cache: Cache, **more: Any) -> Deps:
    """Real parts, with a cheap password hash."""
    values: dict[str, Any] = {
        "database": database,
        "objects": FolderStore(folder),
        "sources": ObjectSources(folder.as_uri()),
        "cache": cache,
        "token_signer": TokenSigner([signing_key(SECRET)]),
        "password_hasher": PasswordHasher(derive_key(SECRET, "passwords"), rounds=4),
        "engine_name": "auto/test",
        "https": False,
        "registration_open": True,
        "password_min_length": 8,
        "request_max_bytes": 64 << 20,
        "request_max_files": 100,
        "access_seconds": 600.0,
        "session_seconds": 30 * 24 * 3600.0,
        "limits": make_limits(),
        "uploads": UploadPolicy(max_bytes=1 << 40, max_request_bytes=None, expiry_seconds=3600.0),
        "signed_url_seconds": None,
        "result_retention_seconds": None,
        "webhook_reach": Reach.PUBLIC,
        "supervisor_state": None,
        "address_rate_limiter": RateLimiter(RateLimit(300, 0.2)),
    }
    return Deps(**values | more)


def make_limits(**more: Any) -> AdmissionLimits:
    """Limits that no test reaches, except those that are given."""
    values: dict[str, Any] = {
        "rate": RateLimit(2000, 0.01),
        "quotas": UNLIMITED,
        "max_queued_tasks": 1_000_000,
        "max_concurrent_uploads": 64,
        "min_free_bytes": 0,
    }
    return AdmissionLimits(**values | more)


def open_client(app: ASGIApp, **more: Any) -> httpx.AsyncClient:
    """A client whose responses must have a status that the OpenAPI document names."""
    hooks: dict[str, list[Any]] = {"response": [check_documented_status]}
    transport = httpx.ASGITransport(app)
    return httpx.AsyncClient(transport=transport, base_url="http://fotograma.test", event_hooks=hooks, **more)


async def check_documented_status(answer: httpx.Response) -> None:
    method = {"HEAD": "get"}.get(answer.request.method, answer.request.method.lower())
    operation = _documented_path(answer.request.url.path).get(method)
    if operation is not None:
        assert str(answer.status_code) in operation["responses"], (method, answer.request.url.path, answer.status_code)


def _documented_path(path: str) -> dict[str, Any]:
    """The operations of a path by their methods. A path without a parameter is preferred."""
    paths: dict[str, dict[str, Any]] = openapi_document()["paths"]
    if path in paths:
        return paths[path]
    matching = (item for template, item in paths.items() if re.fullmatch(re.sub(r"{\w+}", "[^/]+", template), path))
    return next(matching, {})


class _ListeningServer(uvicorn.Server):
    """Sets `ready` when it listens."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.ready = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.ready.set()


@asynccontextmanager
async def listen(app: ASGIApp, port: int = 0) -> AsyncIterator[int]:
    """Serves the application on this port, or on a free one, and yields the port."""
    with socket.socket() as listening:
        if port:
            # Connections to the application that had the port before may not have ended on both sides.
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(("127.0.0.1", port))
        server = _ListeningServer(uvicorn.Config(app, log_config=None, lifespan="off", ws="none"))
        serving = asyncio.create_task(server.serve([listening]))
        try:
            await server.ready.wait()
            yield listening.getsockname()[1]
        finally:
            server.should_exit = True
            while not serving.done():
                # uvicorn waits for a connection that it was accepting when it stopped, and a browser keeps it open.
                for connection in list(server.server_state.connections):
                    connection.shutdown()
                await asyncio.wait([serving], timeout=0.1)
            await serving


async def log_in(client: httpx.AsyncClient, email: str = "ana@example.org") -> dict[str, Any]:
    """Registers, logs in, and makes the client send the token with every later request."""
    await client.post("/v1/users", json={"email": email, "password": PASSWORD})
    answer = await client.post("/v1/tokens", json={"email": email, "password": PASSWORD})
    assert answer.status_code == 200, answer.text
    tokens: dict[str, Any] = answer.json()
    client.headers["Authorization"] = f"Bearer {tokens['access_token']}"
    return tokens


async def upload_videos(
    client: httpx.AsyncClient,
    *files: tuple[str, bytes],
    spec: str | None = None,
    headers: Mapping[str, str] | None = None,
) -> httpx.Response:
    """POST /v1/videos with these files."""
    parts: list[tuple[str, Any]] = [("file", file) for file in files]
    if spec is not None:
        parts.insert(min(1, len(parts)), ("spec", (None, spec.encode())))
    return await client.post("/v1/videos", files=parts, headers=headers)


async def upload_video(client: httpx.AsyncClient, name: str = "clip.mp4", content: bytes = MP4) -> dict[str, Any]:
    answer = await upload_videos(client, (name, content))
    assert answer.status_code == 201, answer.text
    video: dict[str, Any] = answer.json()["items"][0]
    return video


def status_and_code(answer: httpx.Response) -> tuple[int, str]:
    """The HTTP status and the error code of a problem response."""
    assert answer.headers["content-type"] == "application/problem+json", answer.text
    return answer.status_code, answer.json()["code"]


NOTHING_STORED: tuple[int, int, list[str]] = (0, 0, [])
"""What `stored_state` returns after a refused request."""


async def stored_state(database: AsyncEngine, objects: ObjectStore) -> tuple[int, int, list[str]]:
    """The number of videos, the number of reservations, and the keys of video objects."""
    statement = "SELECT (SELECT count(*) FROM videos), (SELECT count(*) FROM reservations)"
    async with database.connect() as connection:
        videos, reservations = (await connection.execute(text(statement))).one()
    return videos, reservations, await objects.keys("videos")


@dataclass(frozen=True)
class Result:
    """An archive like that of the engine. Its images are arbitrary bytes."""

    archive: bytes
    manifest_csv: bytes
    images: Sequence[bytes]
    sha256: str


def make_result(images: Sequence[bytes], suffix: str = "jpg", names: ImageNames = ImageNames.TIME) -> Result:
    archive, lines = BytesIO(), [CSV_HEAD]
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_STORED) as target:
        for n, image in enumerate(images, 1):
            name = image_name(names, n, 30 * n, Fraction(n - 1), suffix)
            target.writestr(name, image)
            offset, digest = archive.tell() - len(image), hashlib.sha256(image).hexdigest()
            row = ManifestRow(n, name, 30 * n, 0, f"{n - 1}.000000", True, 8, 8, len(image), digest, offset)
            lines.append(row.csv_line())
    content = archive.getvalue()
    return Result(content, "\r\n".join([*lines, ""]).encode(), images, hashlib.sha256(content).hexdigest())


async def publish_next_task(
    deps: Deps,
    result: Result,
    media: Mapping[str, Any] | None = None,
    *,
    warnings: Sequence[Mapping[str, str]] = (),
    files: Mapping[str, bytes] | None = None,
) -> UUID:
    """Claims the next task and publishes this result. Returns the id of the extraction.

    files: other contents of the files beside the archive, by their names.
    """
    (claim,) = await task_queue.claim(deps.database, worker="test-worker")
    prefix = f"results/{claim.extraction_id}/{claim.lease.task_id}/{claim.lease.attempt}"
    objects = {
        "frames.zip": result.archive,
        "manifest.json": b'{"version":2}',
        "manifest.csv": result.manifest_csv,
        "report.json": b'{"reader":"pyav"}',
        "sheet.jpg": b"\xff\xd8sheet",
        "sheet.vtt": b"WEBVTT\n",
        **(files or {}),
    }
    for name, content in objects.items():
        await deps.objects.put(f"{prefix}/{name}", one_chunk(content))
    await task_queue.plan(deps.database, claim.lease, media=dict(media or MEDIA), frames_total=len(result.images))
    publication = Publication(
        key=prefix,
        engine=deps.engine_name,
        frames=len(result.images),
        size=len(result.archive),
        sha256=result.sha256,
        warnings=list(warnings),
    )
    await task_queue.publish(deps.database, claim.lease, publication)
    return claim.extraction_id


PREVIEW_INDEX = b"WEBVTT\n"


async def tell_preview(deps: Deps, claim: Claim, frames: int, jpeg: bytes) -> None:
    """Stores a preview of so many images and tells it with a heartbeat, as a worker does."""
    key = preview_key(claim.extraction_id, claim.lease.task_id, claim.lease.attempt, frames)
    for suffix, content in ((".jpg", jpeg), (".vtt", PREVIEW_INDEX)):
        await deps.objects.put(f"{key}{suffix}", one_chunk(content))
    await task_queue.heartbeat(deps.database, claim.lease, frames_done=frames, preview=Preview(key, frames))


MEDIA = {
    "container": "mp4",
    "codec": "h264",
    "width": 64,
    "height": 48,
    "rotation": 0,
    "duration": 2.0,
    "frames": 50,
    "fps_average": 25.0,
    "variable_frame_rate": False,
    "key_frames": 5,
}
"""As it is stored."""


async def one_chunk(content: bytes) -> AsyncIterator[bytes]:
    yield content
