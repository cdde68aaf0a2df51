-- Who uses the service.

CREATE TABLE users (
    id uuid PRIMARY KEY,
    -- The e-mail address is the user name.
    email text NOT NULL UNIQUE,
    password_hash text NOT NULL,
    name text NOT NULL DEFAULT '',
    locale text NOT NULL DEFAULT 'en',
    notify text NOT NULL DEFAULT 'all',
    role text NOT NULL DEFAULT 'user',
    created_at timestamptz NOT NULL DEFAULT now(),
    -- Authorization and notification compare these words: another word would silently give no rights and no e-mail.
    CONSTRAINT users_role_known CHECK (role IN ('user', 'admin')),
    CONSTRAINT users_notify_known CHECK (notify IN ('all', 'failures', 'none'))
);

-- One login: a family of refresh tokens. `generation` is the one that the next refresh must carry.
CREATE TABLE sessions (
    id uuid PRIMARY KEY,
    user_id uuid NOT NULL REFERENCES users ON DELETE CASCADE,
    generation integer NOT NULL DEFAULT 0,
    created_at timestamptz NOT NULL DEFAULT now(),
    expires_at timestamptz NOT NULL,
    revoked_at timestamptz
);

-- A new password ends the other sessions of its account.
CREATE INDEX sessions_user_id_idx ON sessions (user_id);
