-- Who uses the service.

CREATE TABLE users (
    id uuid PRIMARY KEY,
    -- The e-mail address is the user name. Null in an account that is being erased.
    email text UNIQUE,
    password_hash text NOT NULL,
    name text NOT NULL DEFAULT '',
    locale text NOT NULL DEFAULT 'en',
    notify text NOT NULL DEFAULT 'all',
    role text NOT NULL DEFAULT 'user',
    created_at timestamptz NOT NULL DEFAULT now(),
    -- When its user had it erased. The row stays until all that it owns is deleted.
    erased_at timestamptz,
    -- Since when an admin keeps its user out. What was accepted before is still done.
    disabled_at timestamptz,
    -- From that moment on nobody can log in, and nothing here is about a person.
    CONSTRAINT users_email_until_erased CHECK ((email IS NULL) = (erased_at IS NOT NULL)),
    CONSTRAINT users_anonymous_when_erased CHECK (erased_at IS NULL OR name = '' AND password_hash = ''),
    -- Authorization and notification compare these words: another word would silently give no rights and no e-mail.
    CONSTRAINT users_role_known CHECK (role IN ('user', 'admin')),
    CONSTRAINT users_notify_known CHECK (notify IN ('all', 'failures', 'none'))
);

-- Maintenance goes on with erasures that were interrupted.
CREATE INDEX users_erased_at_idx ON users (erased_at) WHERE erased_at IS NOT NULL;

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
