-- Videos on their way in by tus: how many bytes have arrived, and in which objects they are.

-- The row announces all objects below videos/{id}/. Once the upload is complete, it belongs to the video of the same id.
CREATE TABLE uploads (
    id uuid PRIMARY KEY,
    user_id uuid NOT NULL REFERENCES users ON DELETE CASCADE,
    filename text NOT NULL,
    -- Canonical, of the extraction that the video will get.
    spec text NOT NULL,
    -- As the client sent it, because HEAD answers it.
    metadata text NOT NULL,
    -- Null until a client that deferred it tells it.
    size bigint,
    received bigint NOT NULL DEFAULT 0,
    -- Counted here, because it is bounded.
    chunk_count integer NOT NULL DEFAULT 0,
    -- Of the whole, as the client promised it.
    sha256 text,
    created_at timestamptz NOT NULL DEFAULT now(),
    expires_at timestamptz NOT NULL,
    completed_at timestamptz,
    -- Terminated by its client, or expired. The row stays for a while, so that the client is told.
    discarded_at timestamptz,
    CONSTRAINT uploads_size_positive CHECK (size > 0),
    CONSTRAINT uploads_received_within_size CHECK (received >= 0 AND (size IS NULL OR received <= size)),
    -- Completion comes with the last bytes, and in one transaction with the video: a client that has seen its last
    -- offset has a video.
    CONSTRAINT uploads_complete_when_received CHECK (
        (completed_at IS NOT NULL) = (size IS NOT NULL AND received = size)),
    CONSTRAINT uploads_one_end CHECK (completed_at IS NULL OR discarded_at IS NULL)
);

-- An account's open uploads count as used.
CREATE INDEX uploads_open_idx ON uploads (user_id) WHERE completed_at IS NULL AND discarded_at IS NULL;
-- Maintenance looks for expired ones, and for discarded ones that nobody asks for any more.
CREATE INDEX uploads_expiry_idx ON uploads (expires_at) WHERE completed_at IS NULL AND discarded_at IS NULL;
CREATE INDEX uploads_discarded_idx ON uploads (discarded_at) WHERE discarded_at IS NOT NULL;

-- The bytes of an upload, later of its video, are its chunks in the order of `start`.
CREATE TABLE upload_chunks (
    upload_id uuid REFERENCES uploads ON DELETE CASCADE,
    start bigint,
    size bigint NOT NULL,
    sha256 text NOT NULL,
    -- Also how maintenance tells an orphaned object from a chunk.
    object_key text NOT NULL UNIQUE,
    PRIMARY KEY (upload_id, start),
    CONSTRAINT upload_chunks_place_valid CHECK (start >= 0 AND size > 0)
);
