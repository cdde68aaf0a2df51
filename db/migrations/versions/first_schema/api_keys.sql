-- Long-lived secrets with which an account's programs authenticate.

CREATE TABLE api_keys (
    id uuid PRIMARY KEY,
    user_id uuid NOT NULL REFERENCES users ON DELETE CASCADE,
    name text NOT NULL,
    -- SHA-256 of the secret. A secret has 256 random bits: a slow hash, as of a password, would not make it safer.
    secret_hash bytea NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    -- To some minutes, so that not each request writes.
    last_used_at timestamptz,
    CONSTRAINT api_keys_secret_is_hashed CHECK (octet_length(secret_hash) = 32)
);

-- An account lists its keys, newest first.
CREATE INDEX api_keys_user_id_id_idx ON api_keys (user_id, id);
