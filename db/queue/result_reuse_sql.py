"""SQL that reuses a stored result: one of the same bytes, specification, reader and engine version.

These fragments follow a CTE `requested` (user_id, video_id, sha256, spec) of one row. :engine names the reader and
engine version that would extract the video. With :retention_seconds null, results are kept for ever.
"""

EXPIRY = "clock_timestamp() + make_interval(secs => CAST(:retention_seconds AS double precision))"

RESULT_COLUMNS = "result_engine, result_key, result_frames, result_bytes, result_sha256, result_warnings"

# `extended` is empty when maintenance or a deletion has removed the result meanwhile.
FIND_STORED_RESULT = f"""
    existing AS (
        SELECT extractions.*, videos.media
        FROM requested
        JOIN videos ON videos.user_id = requested.user_id
          AND (videos.id = requested.video_id OR videos.sha256 = requested.sha256)
        JOIN extractions ON extractions.video_id = videos.id
        JOIN results ON results.key = extractions.result_key
        WHERE extractions.status = 'succeeded' AND extractions.spec = requested.spec AND result_engine = :engine
          AND results.removed_at IS NULL AND (results.expires_at IS NULL OR results.expires_at > clock_timestamp())
        ORDER BY extractions.id LIMIT 1
    ), extended AS (
        UPDATE results SET expires_at = CASE WHEN results.expires_at IS NOT NULL
            THEN CASE WHEN {EXPIRY} IS NOT NULL THEN greatest(results.expires_at, {EXPIRY}) END END
        FROM existing WHERE results.key = existing.result_key AND removed_at IS NULL RETURNING results.key
    )
"""
