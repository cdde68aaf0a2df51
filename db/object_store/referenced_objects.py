"""The objects that rows refer to, in one snapshot of the database: what a backup needs beside the dump."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

PAGE_ROWS = 1000


@dataclass(frozen=True, slots=True)
class Reference:
    """What a row refers to. key: of one object, or a prefix that ends with a slash. size, sha256: of one object, where
    the row knows them. archive_sha256: of a result's archive, below its prefix.
    """

    key: str
    size: int | None
    sha256: str | None
    archive_sha256: str | None

    @property
    def is_prefix(self) -> bool:
        return self.key.endswith("/")


# Chunks of discarded uploads are garbage. An extraction that is split needs the objects of its plan and of the segments
# that are done until it ends.
REFERENCES = text("""
    SELECT object_key AS key, size, sha256, NULL AS archive_sha256 FROM videos
    WHERE removed_at IS NULL AND right(object_key, 1) <> '/'
    UNION ALL
    SELECT object_key, upload_chunks.size, upload_chunks.sha256, NULL
    FROM upload_chunks JOIN uploads ON uploads.id = upload_id WHERE discarded_at IS NULL
    UNION ALL
    SELECT key || '/', NULL, NULL, (
        SELECT result_sha256 FROM extractions WHERE result_key = results.key LIMIT 1
    ) FROM results WHERE removed_at IS NULL
    UNION ALL
    SELECT rtrim(plan_key, '/') || '/', NULL, NULL, NULL FROM extractions
    WHERE status IN ('queued', 'running') AND plan_key IS NOT NULL
    UNION ALL
    SELECT rtrim(segment_key, '/') || '/', NULL, NULL, NULL
    FROM tasks JOIN extractions ON extractions.id = extraction_id
    WHERE segment_key IS NOT NULL AND extractions.status IN ('queued', 'running')
""")
# A dump of a large database takes hours, in which this connection waits.
TAKE_SNAPSHOT = (
    "SET LOCAL idle_in_transaction_session_timeout = 0",
    "SET LOCAL statement_timeout = 0",
    "SELECT pg_export_snapshot()",
)


async def export_snapshot(connection: AsyncConnection) -> str:
    """Returns the name by which a dump sees the same rows as this transaction, as long as it is open.

    connection: at the beginning of a transaction at the level REPEATABLE READ.
    """
    *settings, export = TAKE_SNAPSHOT
    for setting in settings:
        await connection.execute(text(setting))
    return str((await connection.execute(text(export))).scalar_one())


async def references(connection: AsyncConnection) -> AsyncIterator[Reference]:
    """Yields what the rows in the snapshot of this transaction refer to."""
    rows = await connection.stream(REFERENCES, execution_options={"yield_per": PAGE_ROWS})
    async for row in rows:
        yield Reference(row.key, row.size, row.sha256, row.archive_sha256)
