"""The queue's statements: one a verb, run by `db.queue`, which says what they promise.

Data-modifying CTEs keep each verb one round trip and one transaction. Times are the database's own.
"""

from sqlalchemy import text

# Whoever ends an extraction owes its owner a notification, one row a channel, in the same transaction.
_TELL = """
    outbox_rows AS (
        INSERT INTO outbox (id, extraction_id, channel)
        SELECT gen_random_uuid(), ended.id, 'email'
        FROM ended JOIN users ON users.id = ended.user_id
        WHERE users.notify = 'all' OR (users.notify = 'failures' AND ended.status = 'failed')
    )
"""
_FENCE = "id = :task_id AND attempt = :attempt AND leased_by = :worker AND state = 'leased'"
_UNLEASED = "leased_by = NULL, lease_expires_at = NULL"

# The CTE is materialized so that the lock is taken once, on the rows that the limit chose; SKIP LOCKED lets
# claimers pass one another.
CLAIM = text("""
    WITH next AS MATERIALIZED (
        SELECT id FROM tasks
        WHERE state = 'ready' AND worker_kind = :worker_kind AND ready_at <= clock_timestamp()
        ORDER BY priority DESC, virtual_finish, id
        LIMIT :limit
        FOR UPDATE SKIP LOCKED
    ), claimed AS (
        UPDATE tasks
        SET state = 'leased', attempt = attempt + 1, leased_by = :worker,
            lease_expires_at = clock_timestamp() + make_interval(secs => :lease_seconds)
        FROM next WHERE tasks.id = next.id
        RETURNING tasks.id, tasks.extraction_id, tasks.kind, tasks.attempt, tasks.crashes
    ), running AS (
        UPDATE extractions
        SET status = 'running', attempt = greatest(extractions.attempt, claimed.attempt), version = version + 1,
            started_at = coalesce(started_at, clock_timestamp()), frames_done = 0
        FROM claimed WHERE extractions.id = claimed.extraction_id
        RETURNING extractions.id, extractions.video_id, extractions.spec
    ), noted AS (
        INSERT INTO events (extraction_id, kind, data)
        SELECT extraction_id, 'claimed', jsonb_build_object('attempt', attempt, 'worker', :worker) FROM claimed
    )
    SELECT claimed.id AS task_id, claimed.attempt, claimed.kind, claimed.crashes, running.id AS extraction_id,
           running.spec, videos.id AS video_id, videos.object_key
    FROM claimed JOIN running ON running.id = claimed.extraction_id JOIN videos ON videos.id = running.video_id
    ORDER BY claimed.id
""")

HEARTBEAT = text(f"""
    WITH beat AS (
        UPDATE tasks SET lease_expires_at = clock_timestamp() + make_interval(secs => :lease_seconds)
        WHERE {_FENCE} RETURNING extraction_id
    ), progress AS (
        UPDATE extractions SET frames_done = :frames_done, version = version + 1
        FROM beat WHERE extractions.id = beat.extraction_id AND frames_done < :frames_done
    )
    SELECT extraction_id FROM beat
""")

PLAN = text(f"""
    WITH held AS (
        SELECT extraction_id FROM tasks WHERE {_FENCE} FOR UPDATE
    ), planned AS (
        UPDATE extractions SET frames_total = :frames_total, frames_done = 0, version = version + 1
        FROM held WHERE extractions.id = held.extraction_id RETURNING video_id
    ), probed AS (
        UPDATE videos SET media = CAST(:media AS jsonb) FROM planned WHERE videos.id = planned.video_id
    )
    SELECT extraction_id FROM held
""")

PUBLISH = text(f"""
    WITH task AS (
        UPDATE tasks SET state = 'done', {_UNLEASED} WHERE {_FENCE} RETURNING extraction_id, attempt
    ), ended AS (
        UPDATE extractions
        SET status = 'succeeded', finished_at = clock_timestamp(), version = version + 1,
            frames_done = :frames, frames_total = :frames, result_frames = :frames, result_key = :key,
            result_engine = :engine, result_bytes = :size, result_sha256 = :sha256,
            result_warnings = CAST(:warnings AS jsonb)
        FROM task WHERE extractions.id = task.extraction_id
        RETURNING extractions.id, extractions.user_id, extractions.status
    ), noted AS (
        INSERT INTO events (extraction_id, kind, data)
        SELECT extraction_id, 'published', jsonb_build_object('attempt', attempt) FROM task
    ), {_TELL}
    SELECT id FROM ended
""")

# After the answer to a COMMIT was lost: done by this attempt counts as done.
WAS_PUBLISHED = text("SELECT 1 FROM tasks WHERE id = :task_id AND attempt = :attempt AND state = 'done'")

RELEASE = text(f"""
    WITH task AS (
        UPDATE tasks SET state = 'ready', ready_at = clock_timestamp(), {_UNLEASED}
        WHERE {_FENCE} RETURNING extraction_id, attempt
    ), waiting AS (
        UPDATE extractions SET status = 'queued', frames_done = 0, version = version + 1
        FROM task WHERE extractions.id = task.extraction_id
    ), noted AS (
        INSERT INTO events (extraction_id, kind, data)
        SELECT extraction_id, 'released', jsonb_build_object('attempt', attempt) FROM task
    )
    SELECT extraction_id FROM task
""")

_COUNTERS = """id, attempt, crashes, losses, service_errors,
           coalesce(extract(epoch FROM clock_timestamp() - first_service_error_at), 0) AS service_error_seconds"""

HELD = text(f"SELECT {_COUNTERS} FROM tasks WHERE {_FENCE} FOR UPDATE")

# A lease is rescued only when it is late and its holder had a whole lease of a reachable database to renew it.
EXPIRED = text(f"""
    SELECT {_COUNTERS} FROM tasks
    WHERE state = 'leased' AND lease_expires_at < clock_timestamp()
      AND pg_postmaster_start_time() < clock_timestamp() - make_interval(secs => :lease_seconds)
    ORDER BY lease_expires_at LIMIT :limit FOR UPDATE SKIP LOCKED
""")

RETRY = text(f"""
    WITH task AS (
        UPDATE tasks
        SET state = 'ready', {_UNLEASED}, ready_at = clock_timestamp() + make_interval(secs => :delay_seconds),
            crashes = crashes + :crash, losses = losses + :loss, service_errors = service_errors + :service_error,
            first_service_error_at = CASE WHEN :service_error = 1
                THEN coalesce(first_service_error_at, clock_timestamp()) END
        WHERE id = :task_id RETURNING extraction_id, attempt
    ), waiting AS (
        UPDATE extractions SET status = 'queued', frames_done = 0, version = version + 1
        FROM task WHERE extractions.id = task.extraction_id
    )
    INSERT INTO events (extraction_id, kind, data)
    SELECT extraction_id, 'retried', jsonb_build_object('attempt', attempt, 'blame', CAST(:blame AS text),
        'detail', CAST(:detail AS text)) FROM task
""")

FAIL = text(f"""
    WITH task AS (
        UPDATE tasks
        SET state = 'failed', {_UNLEASED},
            crashes = crashes + :crash, losses = losses + :loss, service_errors = service_errors + :service_error
        WHERE id = :task_id RETURNING extraction_id, attempt
    ), ended AS (
        UPDATE extractions
        SET status = 'failed', finished_at = clock_timestamp(), version = version + 1,
            error_code = :code, error_detail = :detail
        FROM task WHERE extractions.id = task.extraction_id
        RETURNING extractions.id, extractions.user_id, extractions.status
    ), noted AS (
        INSERT INTO events (extraction_id, kind, data)
        SELECT extraction_id, 'failed', jsonb_build_object('attempt', attempt, 'code', CAST(:code AS text)) FROM task
    ), {_TELL}
    SELECT id FROM ended
""")

LOCK_TASKS = text("SELECT id FROM tasks WHERE extraction_id = :extraction_id ORDER BY id FOR UPDATE")
CANCEL_TASKS = text(f"""
    UPDATE tasks SET state = 'cancelled', {_UNLEASED}
    WHERE extraction_id = :extraction_id AND state IN ('ready', 'leased')
""")
CANCEL = text("""
    WITH ended AS (
        UPDATE extractions SET status = 'cancelled', finished_at = clock_timestamp(), version = version + 1
        WHERE id = :extraction_id AND status IN ('queued', 'running') RETURNING id
    ), noted AS (
        INSERT INTO events (extraction_id, kind) SELECT id, 'cancelled' FROM ended
    )
    SELECT id FROM ended
""")
