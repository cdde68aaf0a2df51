"""Orphaned objects: objects that no row refers to.

A crash between the store and the database leaves them, or a worker that was frozen until long after its extraction
ended. They get a garbage row first; then they are deleted like all garbage.
"""

from __future__ import annotations

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from db.object_store.object_keys import Candidates

# An extraction that is running, or not swept yet, may have objects that no row refers to.
DISOWN = text("""
    WITH orphans AS (
        SELECT key FROM unnest(CAST(:videos AS text[])) AS key
        WHERE NOT EXISTS (SELECT 1 FROM videos WHERE object_key = key)
          AND NOT EXISTS (SELECT 1 FROM reservations WHERE object_key = key)
        UNION ALL
        SELECT key FROM unnest(CAST(:chunks AS text[])) AS key
        WHERE NOT EXISTS (SELECT 1 FROM upload_chunks WHERE object_key = key)
        UNION ALL
        SELECT key FROM unnest(CAST(:results AS text[]), CAST(:ids AS uuid[])) AS made (key, extraction_id)
        WHERE NOT EXISTS (
            SELECT 1 FROM extractions
            WHERE id = made.extraction_id
              AND (NOT swept OR result_key IS NOT NULL AND starts_with(key, result_key || '/'))
        ) AND NOT EXISTS (
            SELECT 1 FROM results
            WHERE results.extraction_id = made.extraction_id AND removed_at IS NULL
              AND starts_with(made.key, results.key || '/')
        ) AND NOT EXISTS (SELECT 1 FROM garbage WHERE object_key = 'results/' || made.extraction_id || '/')
    )
    INSERT INTO garbage (object_key) SELECT key FROM orphans ON CONFLICT DO NOTHING RETURNING object_key
""")


async def disown(database: AsyncEngine, found: Candidates) -> list[str]:
    """Adds a garbage row for each candidate that no row refers to; returns their keys."""
    values = {
        "videos": list(found.videos),
        "chunks": list(found.chunks),
        "results": [key for key, _ in found.results],
        "ids": [extraction_id for _, extraction_id in found.results],
    }
    async with database.begin() as connection:
        return list((await connection.execute(DISOWN, values)).scalars())
