-- Objects on their way in and out of the store: what is neither reserved nor accepted is garbage.

-- Committed before the first byte is written, so that maintenance can tell an upload that goes on from a lost one.
CREATE TABLE reservations (
    object_key text PRIMARY KEY,
    user_id uuid NOT NULL REFERENCES users ON DELETE CASCADE,
    created_at timestamptz NOT NULL DEFAULT now(),
    -- Marked first, then the object is deleted, then the row: an upload that was given up can't be accepted meanwhile.
    abandoned_at timestamptz
);

-- Maintenance looks for old ones.
CREATE INDEX reservations_created_at_idx ON reservations (created_at);

-- Keys of deleted rows, or prefixes that end with a slash. No foreign key: it outlives the rows.
CREATE TABLE garbage (
    object_key text PRIMARY KEY,
    created_at timestamptz NOT NULL DEFAULT now()
);
