"""The SQL of the task queue: one statement for each verb. `db.queue.task_queue` documents them.

Data-modifying CTEs make each verb one round trip and one transaction. Times are the database's.
"""

from sqlalchemy import text

from db.notification.outbox_insert_sql import INSERT_NOTIFICATIONS
from db.queue.result_reuse_sql import EXPIRY, FIND_STORED_RESULT, RESULT_COLUMNS
from db.queue.worker_kinds import IS_LEFT_TO_GPU
from db.values.worker_kind import WorkerKind

_FENCE = "tasks.id = :task_id AND attempt = :attempt AND leased_by = :worker AND state = 'leased'"
_UNLEASED = "leased_by = NULL, lease_expires_at = NULL, preview_key = NULL, preview_frames = NULL"
# The images of a published segment are not shown otherwise until the extraction ends.
_UNLEASED_SEGMENT = "leased_by = NULL, lease_expires_at = NULL"

# The CTE is materialized so that only the rows within the limit are locked, once; with SKIP LOCKED, concurrent claims
# don't wait for each other. Extractions are locked by id, because several tasks may belong to one. Whether an operator
# has paused claiming is read once.
_CLAIM = """
    WITH next AS MATERIALIZED (
        SELECT id FROM tasks
        WHERE state = 'ready' AND ready_at <= clock_timestamp() AND {condition}
          AND NOT EXISTS (SELECT FROM operator_controls WHERE claiming_paused_at IS NOT NULL)
        ORDER BY priority DESC, virtual_finish, id
        LIMIT :limit
        FOR UPDATE SKIP LOCKED
    ), claimed AS MATERIALIZED (
        UPDATE tasks
        SET state = 'leased', attempt = attempt + 1, leased_by = :worker,
            claimed_at = coalesce(claimed_at, clock_timestamp()),
            lease_expires_at = clock_timestamp() + make_interval(secs => :lease_seconds)
        FROM next WHERE tasks.id = next.id
        RETURNING tasks.id, tasks.extraction_id, tasks.kind, tasks.prefers, tasks.attempt, tasks.crashes,
            tasks.service_errors, tasks.cost, tasks.segment_number, tasks.segment_first, tasks.segment_stop,
            tasks.traceparent,
            extract(epoch FROM clock_timestamp() - tasks.ready_at) AS waited_seconds
    ), theirs AS MATERIALIZED (
        SELECT id FROM extractions WHERE id IN (SELECT extraction_id FROM claimed) ORDER BY id FOR NO KEY UPDATE
    ), running AS (
        UPDATE extractions
        SET status = 'running', version = version + 1, started_at = coalesce(started_at, clock_timestamp()),
            attempt = greatest(attempt, (SELECT max(attempt) FROM claimed WHERE extraction_id = extractions.id))
        FROM theirs WHERE extractions.id = theirs.id
        RETURNING extractions.id, extractions.video_id, extractions.spec, extractions.plan_key, extractions.request_id,
            extractions.traceparent
    ), noted AS (
        INSERT INTO events (extraction_id, kind, data)
        SELECT extraction_id, 'claimed', jsonb_strip_nulls(
            jsonb_build_object('attempt', attempt, 'worker', :worker, 'segment', segment_number))
        FROM claimed
    )
    SELECT claimed.id AS task_id, claimed.attempt, claimed.kind, claimed.prefers, claimed.crashes,
        claimed.service_errors, claimed.cost, claimed.segment_number, claimed.segment_first, claimed.segment_stop,
        claimed.waited_seconds,
        running.id AS extraction_id, running.spec, running.plan_key, running.request_id,
        coalesce(claimed.traceparent, running.traceparent) AS traceparent,
        videos.id AS video_id, videos.object_key, videos.sha256,
        CASE claimed.kind WHEN 'assemble' THEN (
            SELECT array_agg(segments.segment_key ORDER BY segments.segment_number) FROM tasks AS segments
            WHERE segments.extraction_id = claimed.extraction_id AND segments.kind = 'segment'
        ) END AS segment_keys
    FROM claimed JOIN running ON running.id = claimed.extraction_id JOIN videos ON videos.id = running.video_id
    ORDER BY claimed.id
"""
CLAIM = text(_CLAIM.format(condition=f"NOT {IS_LEFT_TO_GPU}"))
# A worker with a GPU: the first is for its own work, which has an index of its own, and the second for all other work.
CLAIM_GPU_WORK = text(_CLAIM.format(condition=f"prefers = '{WorkerKind.GPU}'"))
CLAIM_ANY = text(_CLAIM.format(condition="true"))

_LEASED = """
    leased AS MATERIALIZED (
        SELECT id, extraction_id, user_id, kind, frames_done, preview_key, cost, work
        FROM tasks WHERE {which} ORDER BY id FOR UPDATE
    )
"""
_FENCED = _LEASED.format(which=_FENCE)
# The first plan of a task tells its real cost; the difference to the charged cost goes to the account. The first plan
# of an extraction counts for its account's minutes.
_PLANNED = """
    charged AS (
        UPDATE shares SET owed = shares.owed + CAST(:work AS bigint) - planned.cost
        FROM planned WHERE shares.user_id = planned.user_id AND planned.work IS NULL
    ), counted_minutes AS (
        INSERT INTO planned_durations (user_id, extraction_id, seconds)
        SELECT user_id, id, coalesce(CAST(CAST(:media AS jsonb) ->> 'duration' AS numeric), 0) FROM planned
        ON CONFLICT DO NOTHING
    )
"""

HEARTBEAT = text(f"""
    WITH {_FENCED}, beat AS (
        UPDATE tasks SET lease_expires_at = clock_timestamp() + make_interval(secs => :lease_seconds),
            frames_done = greatest(tasks.frames_done, :frames_done),
            preview_key = coalesce(CAST(:preview_key AS text), tasks.preview_key),
            preview_frames = coalesce(CAST(:preview_frames AS integer), tasks.preview_frames)
        FROM leased WHERE tasks.id = leased.id
        RETURNING tasks.extraction_id, tasks.frames_done - leased.frames_done AS more,
            tasks.preview_key IS DISTINCT FROM leased.preview_key AS has_new_preview
    ), progress AS (
        UPDATE extractions SET frames_done = frames_done + beat.more, version = version + 1
        FROM beat WHERE extractions.id = beat.extraction_id AND (beat.more > 0 OR beat.has_new_preview)
    )
    SELECT extraction_id FROM beat
""")

PLAN = text(f"""
    WITH {_FENCED}, task AS (
        UPDATE tasks SET frames_done = 0, work = coalesce(tasks.work, :work) FROM leased WHERE tasks.id = leased.id
        RETURNING tasks.extraction_id, tasks.user_id, leased.cost, leased.work
    ), planned AS (
        UPDATE extractions SET frames_total = :frames_total, frames_done = 0, version = version + 1
        FROM task WHERE extractions.id = task.extraction_id
        RETURNING extractions.id, extractions.video_id, task.user_id, task.cost, task.work
    ), probed AS (
        UPDATE videos SET media = CAST(:media AS jsonb) FROM planned WHERE videos.id = planned.video_id
    ), {_PLANNED}
    SELECT extraction_id FROM leased
""")

# The segments inherit the place in the queue. The trigger on the end of the planning task frees its slot and admits
# them.
SPLIT = text(f"""
    WITH {_FENCED}, task AS (
        UPDATE tasks SET state = 'done', frames_done = 0, work = coalesce(tasks.work, :work), {_UNLEASED}
        FROM leased WHERE tasks.id = leased.id AND leased.kind = 'extract'
        RETURNING tasks.extraction_id, tasks.user_id, tasks.priority, tasks.virtual_finish,
            tasks.attempt, leased.cost, leased.work
    ), planned AS (
        UPDATE extractions
        SET frames_total = :frames_total, frames_done = 0, version = version + 1,
            plan_key = :plan_key, segments_left = cardinality(CAST(:ids AS uuid[]))
        FROM task WHERE extractions.id = task.extraction_id
        RETURNING extractions.id, extractions.video_id, task.user_id, task.cost, task.work
    ), probed AS (
        UPDATE videos SET media = CAST(:media AS jsonb) FROM planned WHERE videos.id = planned.video_id
    ), segments AS (
        INSERT INTO tasks (id, extraction_id, user_id, kind, state, priority, virtual_finish,
            cost, segment_number, segment_first, segment_stop, traceparent)
        SELECT segment.id, task.extraction_id, task.user_id, 'segment', 'throttled', task.priority,
            task.virtual_finish, segment.cost, segment.number, segment.first, segment.stop, :traceparent
        FROM task, unnest(CAST(:ids AS uuid[]), CAST(:costs AS bigint[]), CAST(:numbers AS integer[]),
            CAST(:firsts AS integer[]), CAST(:stops AS integer[])) AS segment (id, cost, number, first, stop)
    ), noted AS (
        INSERT INTO events (extraction_id, kind, data)
        SELECT extraction_id, 'split',
            jsonb_build_object('attempt', attempt, 'segments', cardinality(CAST(:ids AS uuid[])))
        FROM task
    ), {_PLANNED}
    SELECT extraction_id FROM task
""")

# The transaction that takes the last segment off adds the assemble task. If two last ones only read the count, each
# would
# see the other unfinished.
PUBLISH_SEGMENT = text(f"""
    WITH {_FENCED}, task AS (
        UPDATE tasks SET state = 'done', segment_key = :key, frames_done = :frames, {_UNLEASED_SEGMENT}
        FROM leased WHERE tasks.id = leased.id AND leased.kind = 'segment'
        RETURNING tasks.extraction_id, tasks.user_id, tasks.priority, tasks.virtual_finish, tasks.traceparent,
            tasks.attempt, tasks.segment_number, tasks.frames_done - leased.frames_done AS more
    ), counted AS (
        UPDATE extractions
        SET segments_left = segments_left - 1, frames_done = frames_done + task.more, version = version + 1
        FROM task WHERE extractions.id = task.extraction_id
        RETURNING extractions.id, extractions.segments_left
    ), assembling AS (
        INSERT INTO tasks (id, extraction_id, user_id, kind, state, priority, virtual_finish, traceparent)
        SELECT :assemble_id, task.extraction_id, task.user_id, 'assemble', 'throttled', task.priority,
            task.virtual_finish, task.traceparent
        FROM task JOIN counted ON counted.id = task.extraction_id WHERE counted.segments_left = 0
    ), noted AS (
        INSERT INTO events (extraction_id, kind, data)
        SELECT extraction_id, 'segment_published',
            jsonb_build_object('attempt', attempt, 'segment', segment_number, 'frames', CAST(:frames AS integer))
        FROM task
    )
    SELECT extraction_id FROM task
""")

PUBLISH = text(f"""
    WITH task AS (
        UPDATE tasks SET state = 'done', frames_done = :frames, {_UNLEASED}
        WHERE {_FENCE} AND kind <> 'segment' RETURNING extraction_id, attempt
    ), ended AS (
        UPDATE extractions
        SET status = 'succeeded', finished_at = clock_timestamp(), version = version + 1,
            frames_done = :frames, frames_total = :frames, result_frames = :frames, result_key = :key,
            result_engine = :engine, result_bytes = :size, result_sha256 = :sha256,
            result_warnings = CAST(:warnings AS jsonb), result_expires_at = {EXPIRY}
        FROM task WHERE extractions.id = task.extraction_id
        RETURNING extractions.id, extractions.user_id, extractions.status, extractions.result_expires_at
    ), result AS (
        INSERT INTO results (key, extraction_id, user_id, bytes, expires_at)
        SELECT CAST(:key AS text), id, user_id, CAST(:size AS bigint), result_expires_at FROM ended
    ), noted AS (
        INSERT INTO events (extraction_id, kind, data)
        SELECT extraction_id, 'published', jsonb_build_object('attempt', attempt) FROM task
    ), {INSERT_NOTIFICATIONS}
    SELECT id FROM ended
""")

# Gives the cost of the work that was not needed back to the account.
PUBLISH_STORED_RESULT = text(f"""
    WITH {_FENCED}, requested AS MATERIALIZED (
        SELECT extractions.user_id, extractions.video_id, extractions.spec, videos.sha256
        FROM leased JOIN extractions ON extractions.id = leased.extraction_id
        JOIN videos ON videos.id = extractions.video_id WHERE leased.kind = 'extract'
    ), {FIND_STORED_RESULT}, task AS (
        UPDATE tasks SET state = 'done', frames_done = 0, work = coalesce(tasks.work, 0), {_UNLEASED}
        FROM leased, extended WHERE tasks.id = leased.id
        RETURNING tasks.extraction_id, tasks.attempt, tasks.user_id, leased.cost, leased.work
    ), ended AS (
        UPDATE extractions
        SET status = 'succeeded', reused = true, finished_at = clock_timestamp(), version = extractions.version + 1,
            frames_done = existing.frames_done, frames_total = existing.frames_total,
            ({RESULT_COLUMNS}) = (SELECT {RESULT_COLUMNS} FROM existing), result_expires_at = {EXPIRY}
        FROM task, existing WHERE extractions.id = task.extraction_id
        RETURNING extractions.id, extractions.user_id, extractions.status, extractions.video_id
    ), probed AS (
        UPDATE videos SET media = coalesce(videos.media, existing.media) FROM ended, existing
        WHERE videos.id = ended.video_id
    ), spared AS (
        UPDATE shares SET owed = shares.owed - task.cost FROM task
        WHERE shares.user_id = task.user_id AND task.work IS NULL
    ), event AS (
        INSERT INTO events (extraction_id, kind, data)
        SELECT task.extraction_id, 'reused', jsonb_build_object('from', existing.id) FROM task, existing
    ), {INSERT_NOTIFICATIONS}
    SELECT id FROM ended
""")

# For the case that the answer to a COMMIT was lost: done by this attempt counts as done.
WAS_PUBLISHED = text("SELECT 1 FROM tasks WHERE id = :task_id AND attempt = :attempt AND state = 'done'")

# The state of the extraction when one of its tasks waits again: a split one goes on with its other tasks.
_WAITING = """
    waiting AS (
        UPDATE extractions
        SET status = CASE task.kind WHEN 'extract' THEN CAST('queued' AS extraction_status)
                ELSE extractions.status END,
            frames_done = extractions.frames_done - task.taken_back, version = version + 1
        FROM task WHERE extractions.id = task.extraction_id
    )
"""
_TAKEN_BACK = "tasks.extraction_id, tasks.attempt, tasks.kind, tasks.segment_number, leased.frames_done AS taken_back"

_RELEASED = f"""
    task AS (
        UPDATE tasks SET state = 'ready', ready_at = clock_timestamp(), frames_done = 0, {_UNLEASED}
        FROM leased WHERE tasks.id = leased.id RETURNING {_TAKEN_BACK}
    ), {_WAITING}, noted AS (
        INSERT INTO events (extraction_id, kind, data)
        SELECT extraction_id, 'released',
            jsonb_strip_nulls(jsonb_build_object('attempt', attempt, 'segment', segment_number))
        FROM task
    )
    SELECT extraction_id FROM task
"""
# The claim's next write tells the new version of the extraction.
RECORD_SHA256 = text(f"""
    WITH fenced AS (SELECT extraction_id FROM tasks WHERE {_FENCE})
    UPDATE videos SET sha256 = :sha256 FROM fenced JOIN extractions ON extractions.id = fenced.extraction_id
    WHERE videos.id = extractions.video_id RETURNING videos.id
""")
RELEASE = text(f"WITH {_FENCED}, {_RELEASED}")
_LEASED_BY_WORKER = _LEASED.format(which="leased_by = :worker AND state = 'leased'")
RELEASE_ALL = text(f"WITH {_LEASED_BY_WORKER}, {_RELEASED}")

# Locks all tasks of the extraction, by id, before one of them is settled: its end may end the others too.
_SIBLINGS = """
    SELECT id, attempt, crashes, losses, service_errors,
        coalesce(extract(epoch FROM clock_timestamp() - first_service_error_at), 0) AS service_error_seconds,
        {condition} AS is_meant
    FROM tasks
    WHERE extraction_id = (SELECT extraction_id FROM tasks WHERE id = :task_id)
    ORDER BY tasks.id FOR UPDATE
"""
LOCK_FENCED = text(_SIBLINGS.format(condition=f"({_FENCE}) IS TRUE"))

# The process that has locked one of these rows may be frozen, so the wait is bounded.
WAIT_BRIEFLY = text("SET LOCAL lock_timeout = '1s'")
# Rescues a lease only when it has expired and its worker had a whole lease of a reachable database to renew it.
_LATE = "state = 'leased' AND lease_expires_at < clock_timestamp()"
EXPIRED = text(f"""
    SELECT id FROM tasks
    WHERE {_LATE} AND pg_postmaster_start_time() < clock_timestamp() - make_interval(secs => :lease_seconds)
    ORDER BY lease_expires_at LIMIT :limit
""")
LOCK_EXPIRED = text(_SIBLINGS.format(condition=f"(tasks.id = :task_id AND {_LATE}) IS TRUE"))

RETRY = text(f"""
    WITH leased AS MATERIALIZED (
        SELECT id, frames_done FROM tasks WHERE id = :task_id FOR UPDATE
    ), task AS (
        UPDATE tasks
        SET state = 'ready', {_UNLEASED}, ready_at = clock_timestamp() + make_interval(secs => :delay_seconds),
            frames_done = 0,
            crashes = crashes + :crash, losses = losses + :loss, service_errors = service_errors + :service_error,
            first_service_error_at = CASE WHEN :service_error = 1
                THEN coalesce(first_service_error_at, clock_timestamp()) END
        FROM leased WHERE tasks.id = leased.id RETURNING {_TAKEN_BACK}
    ), {_WAITING}
    INSERT INTO events (extraction_id, kind, data)
    SELECT extraction_id, 'retried', jsonb_strip_nulls(jsonb_build_object('attempt', attempt, 'segment', segment_number,
        'blame', CAST(:blame AS text), 'detail', CAST(:detail AS text))) FROM task
""")

FAIL = text(f"""
    WITH task AS (
        UPDATE tasks
        SET state = 'failed', {_UNLEASED},
            crashes = crashes + :crash, losses = losses + :loss, service_errors = service_errors + :service_error
        WHERE id = :task_id RETURNING extraction_id, attempt, segment_number
    ), siblings AS (
        UPDATE tasks SET state = 'cancelled', {_UNLEASED}
        FROM task WHERE tasks.extraction_id = task.extraction_id AND tasks.id <> :task_id
            AND tasks.state IN ('throttled', 'ready', 'leased')
    ), ended AS (
        UPDATE extractions
        SET status = 'failed', finished_at = clock_timestamp(), version = version + 1,
            error_code = :code, error_detail = :detail
        FROM task WHERE extractions.id = task.extraction_id
        RETURNING extractions.id, extractions.user_id, extractions.status
    ), noted AS (
        INSERT INTO events (extraction_id, kind, data)
        SELECT extraction_id, 'failed', jsonb_strip_nulls(
            jsonb_build_object('attempt', attempt, 'segment', segment_number, 'code', CAST(:code AS text)))
        FROM task
    ), {INSERT_NOTIFICATIONS}
    SELECT id FROM ended
""")

LOCK_TASKS = text("SELECT id FROM tasks WHERE extraction_id = :extraction_id ORDER BY id FOR UPDATE")
CANCEL_TASKS = text(f"""
    UPDATE tasks SET state = 'cancelled', {_UNLEASED}
    WHERE extraction_id = :extraction_id AND state IN ('throttled', 'ready', 'leased')
""")
CANCEL = text(f"""
    WITH ended AS (
        UPDATE extractions SET status = 'cancelled', finished_at = clock_timestamp(), version = version + 1
        WHERE id = :extraction_id AND status IN ('queued', 'running') RETURNING id, user_id, status
    ), noted AS (
        INSERT INTO events (extraction_id, kind) SELECT id, 'cancelled' FROM ended
    ), {INSERT_NOTIFICATIONS}
    SELECT id FROM ended
""")
