"""SQL that answers an extraction with a stored result: of the same bytes, specification, reader and engine version.

These fragments follow a CTE `asked` (user_id, video_id, sha256, spec), of one row. :engine is the name of reader and
engine version that would extract now; :retention_seconds is null for ever.
"""

EXPIRY = "clock_timestamp() + make_interval(secs => CAST(:retention_seconds AS double precision))"

RESULT_COLUMNS = "result_engine, result_key, result_frames, result_bytes, result_sha256, result_warnings"

# `shared` is empty when maintenance or a deletion has removed the result meanwhile.
FIND_STORED_RESULT = f"""
    existing AS (
        SELECT extractions.*, videos.media
        FROM asked
        JOIN videos ON videos.user_id = asked.user_id AND (videos.id = asked.video_id OR videos.sha256 = asked.sha256)
        JOIN extractions ON extractions.video_id = videos.id
        JOIN results ON results.key = extractions.result_key
        WHERE extractions.status = 'succeeded' AND extractions.spec = asked.spec AND result_engine = :engine
          AND results.removed_at IS NULL AND (results.expires_at IS NULL OR results.expires_at > clock_timestamp())
        ORDER BY extractions.id LIMIT 1
    ), shared AS (
        UPDATE results SET expires_at = CASE WHEN results.expires_at IS NOT NULL
            THEN CASE WHEN {EXPIRY} IS NOT NULL THEN greatest(results.expires_at, {EXPIRY}) END END
        FROM existing WHERE results.key = existing.result_key AND removed_at IS NULL RETURNING results.key
    )
"""
