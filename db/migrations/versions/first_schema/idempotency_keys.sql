-- Calls with an Idempotency-Key. Without a response a row is a lease of the call that runs; with one it is the answer.

CREATE TABLE idempotency_keys (
    user_id uuid REFERENCES users ON DELETE CASCADE,
    route text,
    key text,
    owner uuid NOT NULL,
    lease_expires_at timestamptz NOT NULL,
    fingerprint text,
    status smallint,
    response text,
    -- A key with a video is kept as long as the video; the others for a day.
    video_id uuid REFERENCES videos ON DELETE CASCADE,
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (user_id, route, key),
    -- An answer is given again only to the same request, so it needs the fingerprint of its own.
    CONSTRAINT idempotency_keys_answered_whole CHECK ((response IS NULL) = (fingerprint IS NULL))
);

-- Keys past their time are removed.
CREATE INDEX idempotency_keys_created_at_idx ON idempotency_keys (created_at) WHERE video_id IS NULL;
-- A deleted video finds its keys.
CREATE INDEX idempotency_keys_video_id_idx ON idempotency_keys (video_id) WHERE video_id IS NOT NULL;
