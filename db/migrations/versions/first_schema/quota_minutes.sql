-- How much video was extracted for each account: one row for each extraction that a worker has planned, for a day.

-- No foreign key to extractions: a deletion must not give the minutes back. The primary key finds an account's rows; those
-- of days before are removed.
CREATE TABLE planned_durations (
    user_id uuid REFERENCES users ON DELETE CASCADE,
    extraction_id uuid,
    -- Of the whole video. Not a double: the sum of any durations must not overflow.
    seconds numeric NOT NULL CONSTRAINT planned_durations_not_negative CHECK (seconds >= 0),
    planned_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (user_id, extraction_id)
);
