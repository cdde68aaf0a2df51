-- What an account may have at most, when an admin gave it quotas of its own. Without a row, the service's settings hold.

-- The row counts as a whole: null is no limit, never the service's setting.
CREATE TABLE account_quotas (
    user_id uuid PRIMARY KEY REFERENCES users ON DELETE CASCADE,
    waiting bigint,
    stored_bytes bigint,
    minutes_per_day bigint,
    -- With a quota of 0 nothing would ever be accepted: for that an account is disabled.
    CONSTRAINT account_quotas_positive CHECK (waiting > 0 AND stored_bytes > 0 AND minutes_per_day > 0)
);
