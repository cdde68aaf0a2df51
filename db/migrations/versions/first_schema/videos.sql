-- What was uploaded.

CREATE TABLE videos (
    id uuid PRIMARY KEY,
    user_id uuid NOT NULL REFERENCES users ON DELETE CASCADE,
    filename text NOT NULL,
    -- For the search: lower() of each name would take longer than the search itself.
    filename_lower text GENERATED ALWAYS AS (lower(filename)) STORED,
    size bigint NOT NULL,
    sha256 text,
    -- Two videos never share an object: deleting one would take the other's bytes away.
    object_key text NOT NULL UNIQUE,
    -- Null until the probe.
    media jsonb,
    created_at timestamptz NOT NULL DEFAULT now(),
    -- When its bytes were given to maintenance, because their time was over.
    removed_at timestamptz,
    -- An empty file is refused before it is accepted, and the size is what an account is charged for.
    CONSTRAINT videos_size_positive CHECK (size > 0)
);

-- The list of an account's videos, newest first. With the names, so that a search reads no table.
CREATE INDEX videos_user_id_id_idx ON videos (user_id, id DESC) INCLUDE (filename_lower);
-- Videos whose time is over.
CREATE INDEX videos_created_at_idx ON videos (created_at) WHERE removed_at IS NULL;
-- The same list, asked for by digest.
CREATE INDEX videos_user_id_sha256_idx ON videos (user_id, sha256);
