-- The named frame specifications of an account.

CREATE TABLE presets (
    user_id uuid NOT NULL REFERENCES users ON DELETE CASCADE,
    name text NOT NULL,
    -- Canonical JSON, as in extractions: a jsonb number would lose digits.
    spec text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (user_id, name),
    CONSTRAINT presets_name_bounded CHECK (char_length(name) BETWEEN 1 AND 60)
);
