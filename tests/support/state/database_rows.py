"""Rows that integration tests start from, written by the functions of the product."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncEngine
from uuid_utils.compat import uuid7

from db.acceptance.accept import Reextraction, Upload, accept, extract_again, reuse
from db.acceptance.object_reservations import reserve
from db.accounts import accounts
from db.object_store.object_keys import video_key
from db.values.frame_spec import FrameSpec, canonical


@dataclass(frozen=True)
class Accepted:
    user_id: UUID
    video_id: UUID
    extraction_id: UUID
    task_id: UUID


async def create_user(database: AsyncEngine, email: str = "ana@example.com") -> UUID:
    user_id = uuid7()
    await accounts.create(database, user_id=user_id, email=email, password_hash="x", name="Ana", locale="en")
    return user_id


def make_upload(user_id: UUID, filename: str = "clip.mp4", size: int = 1000) -> Upload:
    """A stored file that is about to be accepted."""
    video_id = uuid7()
    return Upload(
        user_id=user_id,
        video_id=video_id,
        extraction_id=uuid7(),
        task_id=uuid7(),
        filename=filename,
        size=size,
        sha256="0" * 64,
        object_key=video_key(video_id),
        spec=canonical(FrameSpec()),
    )


async def accept_video(
    database: AsyncEngine, user_id: UUID | None = None, filename: str = "clip.mp4", size: int = 1000
) -> Accepted:
    owner = user_id or await create_user(database, f"{uuid7()}@example.com")
    stored = make_upload(owner, filename, size)
    await reserve(database, owner, stored.object_key)
    async with database.begin() as connection:
        await accept(connection, [stored])
    return Accepted(owner, stored.video_id, stored.extraction_id, stored.task_id)


def make_reextraction(accepted: Accepted, spec: str | None = None) -> Reextraction:
    return Reextraction(accepted.user_id, accepted.video_id, uuid7(), uuid7(), spec or canonical(FrameSpec()))


async def accept_reextraction(
    database: AsyncEngine, accepted: Accepted, spec: str | None = None, engine_name: str = "auto/1"
) -> UUID:
    """Another extraction of the video, queued or with an existing result."""
    reextraction = make_reextraction(accepted, spec)
    async with database.begin() as connection:
        if not await reuse(connection, reextraction, engine_name):
            await extract_again(connection, reextraction)
    return reextraction.extraction_id


async def fetch_one(database: AsyncEngine, statement: str, **values: object) -> Row[Any]:
    async with database.connect() as connection:
        return (await connection.execute(text(statement), values)).one()


async def fetch_extraction(database: AsyncEngine, extraction_id: UUID) -> Row[Any]:
    return await fetch_one(database, "SELECT * FROM extractions WHERE id = :id", id=extraction_id)


async def fetch_task(database: AsyncEngine, task_id: UUID) -> Row[Any]:
    return await fetch_one(database, "SELECT * FROM tasks WHERE id = :id", id=task_id)


async def event_kinds(database: AsyncEngine, extraction_id: UUID) -> list[str]:
    async with database.connect() as connection:
        statement = text("SELECT kind FROM events WHERE extraction_id = :id ORDER BY id")
        return list((await connection.execute(statement, {"id": extraction_id})).scalars())


async def execute(database: AsyncEngine, statement: str, **values: object) -> None:
    async with database.begin() as connection:
        await connection.execute(text(statement), values)
