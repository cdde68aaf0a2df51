-- One run of a frame specification over a video, and its result.

-- The files of a result. Extractions of one account whose videos have the same bytes share it.
CREATE TABLE results (
    -- The prefix of its objects.
    key text PRIMARY KEY,
    -- The one whose worker made it. No foreign key: the result outlives it while another one refers to it.
    extraction_id uuid NOT NULL UNIQUE,
    user_id uuid NOT NULL REFERENCES users ON DELETE CASCADE,
    bytes bigint NOT NULL,
    -- The latest time of those that refer to it; null for ever.
    expires_at timestamptz,
    -- When its objects were given to maintenance.
    removed_at timestamptz
);

-- What an account stores.
CREATE INDEX results_user_id_idx ON results (user_id) WHERE removed_at IS NULL;
-- What has expired.
CREATE INDEX results_expires_at_idx ON results (expires_at) WHERE removed_at IS NULL;

CREATE TYPE extraction_status AS ENUM ('queued', 'running', 'succeeded', 'failed', 'cancelled');
CREATE TABLE extractions (
    id uuid PRIMARY KEY,
    video_id uuid NOT NULL REFERENCES videos ON DELETE CASCADE,
    user_id uuid NOT NULL REFERENCES users ON DELETE CASCADE,
    spec text NOT NULL,
    status extraction_status NOT NULL DEFAULT 'queued',
    reused boolean NOT NULL DEFAULT false,
    attempt integer NOT NULL DEFAULT 0,
    version integer NOT NULL DEFAULT 1,
    frames_done integer NOT NULL DEFAULT 0, frames_total integer,
    plan_key text, segments_left integer,
    error_code text, error_detail text,
    result_engine text, result_key text, result_sha256 text, result_warnings jsonb,
    result_frames integer, result_bytes bigint, result_expires_at timestamptz,
    swept boolean NOT NULL DEFAULT false,
    created_at timestamptz NOT NULL DEFAULT now(), started_at timestamptz, finished_at timestamptz,
    request_id text, traceparent text,
    -- An end is whole: it has its time, and its error or its result, and nothing else has one of them.
    CONSTRAINT extractions_finished_at_when_ended CHECK (
        (finished_at IS NOT NULL) = (status IN ('succeeded', 'failed', 'cancelled'))),
    CONSTRAINT extractions_error_when_failed CHECK ((error_code IS NOT NULL) = (status = 'failed')),
    CONSTRAINT extractions_result_when_succeeded CHECK ((result_key IS NOT NULL) = (status = 'succeeded')),
    -- Whoever downloads an archive can check it.
    CONSTRAINT extractions_result_whole CHECK ((result_key IS NULL) = (result_sha256 IS NULL)),
    -- A result that is referred to stays. Checked at the end, because a video is deleted with its results.
    CONSTRAINT extractions_result_key_fkey FOREIGN KEY (result_key) REFERENCES results DEFERRABLE INITIALLY DEFERRED,
    -- Only a worker can run it, and only a worker or an earlier result can make it succeed.
    CONSTRAINT extractions_started_when_running CHECK (
        started_at IS NOT NULL OR status IN ('queued', 'cancelled', 'failed') OR reused),
    -- Users are shown a fraction between 0 and 1.
    CONSTRAINT extractions_progress_within_total CHECK (
        frames_done >= 0 AND (frames_total IS NULL OR frames_done <= frames_total)),
    -- The segment that takes the last one off adds the assembling task: one taken off twice must not pass 0.
    CONSTRAINT extractions_segments_counted CHECK (segments_left >= 0),
    -- A segment can't be made without its plan.
    CONSTRAINT extractions_split_whole CHECK ((plan_key IS NULL) = (segments_left IS NULL)),
    -- Both stand in logs and in headers to others. The request id may be the client's own.
    CONSTRAINT extractions_request_id_is_word CHECK (request_id ~ '^[A-Za-z0-9._-]{1,64}$'),
    CONSTRAINT extractions_traceparent_is_w3c CHECK (
        traceparent ~ '^[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$')
);

-- The newest extraction of a video is what its owner sees first.
CREATE INDEX extractions_video_id_id_idx ON extractions (video_id, id DESC);
-- Who refers to a result.
CREATE INDEX extractions_result_key_idx ON extractions (result_key) WHERE result_key IS NOT NULL;
-- The list of an account's videos of one status, newest first. Quotas count those that have not ended.
CREATE INDEX extractions_user_id_status_video_id_idx ON extractions (user_id, status, video_id DESC);
-- The list of an account's videos whose result has warnings.
CREATE INDEX extractions_warned_idx ON extractions (user_id, video_id DESC)
    WHERE status = 'succeeded' AND result_warnings <> '[]';
-- Maintenance looks for what lost attempts left behind, once for each ended extraction.
CREATE INDEX extractions_unswept_idx ON extractions (finished_at) WHERE finished_at IS NOT NULL AND NOT swept;
-- What was given up after too many tries, for the admins.
CREATE INDEX extractions_given_up_idx ON extractions (finished_at)
    WHERE error_code IN ('gave_up', 'workers_lost', 'service_failed');

-- An end is final; only the mark `swept` may change after it. A CHECK sees only the new row, so this needs a trigger.
-- The same table of transitions stands in db.values.lifecycle, and a test compares them.
CREATE FUNCTION extractions_transition() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF OLD.status = NEW.status AND OLD.status IN ('queued', 'running')
        OR OLD.status = 'queued' AND NEW.status IN ('running', 'succeeded', 'failed', 'cancelled')
        OR OLD.status = 'running' AND NEW.status IN ('queued', 'succeeded', 'failed', 'cancelled')
        OR OLD.status = NEW.status AND to_jsonb(OLD) - 'swept' = to_jsonb(NEW) - 'swept'
    THEN
        RETURN NEW;
    END IF;
    RAISE EXCEPTION 'extraction %: % can not follow %', OLD.id, NEW.status, OLD.status USING ERRCODE = '23514';
END $$;
CREATE TRIGGER extractions_transition BEFORE UPDATE ON extractions
    FOR EACH ROW EXECUTE FUNCTION extractions_transition();
