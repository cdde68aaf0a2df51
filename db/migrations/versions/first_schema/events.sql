-- What happened to an extraction, one row for each transition, and how far these rows were copied to the Redis Stream.

CREATE TABLE events (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    extraction_id uuid NOT NULL REFERENCES extractions ON DELETE CASCADE,
    kind text NOT NULL,
    data jsonb NOT NULL DEFAULT '{}',
    at timestamptz NOT NULL DEFAULT clock_timestamp(),
    -- Of the writer. Ids are given before the commit: an event with a smaller id can still appear while its transaction
    -- runs. The stream reads up to the oldest running transaction.
    transaction_id bigint NOT NULL DEFAULT pg_current_xact_id()::text::bigint
);

-- The time line of one extraction.
CREATE INDEX events_extraction_id_id_idx ON events (extraction_id, id);
-- What the stream has not had.
CREATE INDEX events_transaction_id_idx ON events (transaction_id);

-- One row. Events of the transactions [low, high) are being sent, those up to the event after_id have been.
CREATE TABLE stream_cursor (
    id boolean PRIMARY KEY DEFAULT true CONSTRAINT stream_cursor_one_row CHECK (id),
    low bigint NOT NULL DEFAULT 0,
    high bigint NOT NULL DEFAULT 0,
    after_id bigint NOT NULL DEFAULT 0,
    CONSTRAINT stream_cursor_window_forward CHECK (low <= high)
);
INSERT INTO stream_cursor DEFAULT VALUES;
