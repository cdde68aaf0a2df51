-- What a worker claims.

CREATE TYPE task_state AS ENUM ('throttled', 'ready', 'leased', 'done', 'failed', 'cancelled');
CREATE TABLE tasks (
    id uuid PRIMARY KEY,
    extraction_id uuid NOT NULL REFERENCES extractions ON DELETE CASCADE,
    -- Of the extraction: what the queue reads of an account stands in this table alone.
    user_id uuid NOT NULL,
    kind text NOT NULL DEFAULT 'extract',
    -- The kind of workers that the task is left to for a while: db.values.worker_kind.
    prefers text NOT NULL DEFAULT 'cpu',
    state task_state NOT NULL DEFAULT 'ready',
    priority smallint NOT NULL DEFAULT 0, virtual_finish double precision NOT NULL DEFAULT 0,
    cost bigint NOT NULL DEFAULT 0, work bigint,
    ready_at timestamptz NOT NULL DEFAULT now(), claimed_at timestamptz,
    attempt integer NOT NULL DEFAULT 0, leased_by text, lease_expires_at timestamptz,
    frames_done integer NOT NULL DEFAULT 0,
    crashes integer NOT NULL DEFAULT 0,
    losses integer NOT NULL DEFAULT 0,
    service_errors integer NOT NULL DEFAULT 0, first_service_error_at timestamptz,
    segment_number integer, segment_first integer, segment_stop integer, segment_key text,
    preview_key text, preview_frames integer,
    created_at timestamptz NOT NULL DEFAULT now(),
    -- The span that a segment or assemble task belongs to; the extraction has that of the others.
    traceparent text,
    -- The queue's statements compare these words: a task of another kind would end as if it were a whole video.
    CONSTRAINT tasks_kind_known CHECK (kind IN ('extract', 'segment', 'assemble')),
    CONSTRAINT tasks_prefers_known CHECK (prefers IN ('cpu', 'gpu')),
    -- A lease is whole: who has it and until when. Nobody could rescue one without an end.
    CONSTRAINT tasks_owner_when_leased CHECK ((state = 'leased') = (leased_by IS NOT NULL)),
    CONSTRAINT tasks_expiry_when_leased CHECK ((state = 'leased') = (lease_expires_at IS NOT NULL)),
    -- They only ever count up, except that new work starts from 0.
    CONSTRAINT tasks_counters_rise CHECK (attempt >= 0 AND crashes >= 0 AND losses >= 0 AND service_errors >= 0),
    CONSTRAINT tasks_progress_not_negative CHECK (frames_done >= 0),
    -- A segment is the targets [segment_first, segment_stop) of the plan. Once it is published, segment_key says where
    -- its images are.
    CONSTRAINT tasks_segment_whole CHECK (
        (kind = 'segment') = (segment_number IS NOT NULL AND segment_first IS NOT NULL AND segment_stop IS NOT NULL)),
    CONSTRAINT tasks_segment_not_empty CHECK (segment_first >= 0 AND segment_stop > segment_first),
    CONSTRAINT tasks_segment_key_when_done CHECK ((segment_key IS NOT NULL) = (kind = 'segment' AND state = 'done')),
    -- A preview shows images of this attempt: a task that waits again, or has ended without images, has none.
    CONSTRAINT tasks_preview_whole CHECK (
        (preview_key IS NULL) = (preview_frames IS NULL) AND preview_frames > 0),
    CONSTRAINT tasks_preview_of_images CHECK (
        preview_key IS NULL OR state = 'leased' OR kind = 'segment' AND state = 'done')
)
-- A row is written at its claim, at each heartbeat and at its end: free room keeps these writes on its page.
WITH (fillfactor = 70);

-- An end is final, and `attempt` never falls: it is the fence in every write of a worker. The same table of transitions
-- stands in db.values.lifecycle, and a test compares them.
CREATE FUNCTION tasks_transition() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.attempt < OLD.attempt THEN
        RAISE EXCEPTION 'task %: the attempt never falls', OLD.id USING ERRCODE = '23514';
    END IF;
    IF OLD.state = NEW.state AND OLD.state IN ('throttled', 'ready', 'leased')
        OR OLD.state = 'throttled' AND NEW.state IN ('ready', 'cancelled')
        OR OLD.state = 'ready' AND NEW.state IN ('leased', 'cancelled')
        OR OLD.state = 'leased' AND NEW.state IN ('ready', 'done', 'failed', 'cancelled')
    THEN
        RETURN NEW;
    END IF;
    RAISE EXCEPTION 'task %: % can not follow %', OLD.id, NEW.state, OLD.state USING ERRCODE = '23514';
END $$;
CREATE TRIGGER tasks_transition BEFORE UPDATE ON tasks FOR EACH ROW EXECUTE FUNCTION tasks_transition();
