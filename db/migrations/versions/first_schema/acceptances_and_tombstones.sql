-- What was promised and what was deleted. No foreign keys: the ledger must be able to disagree with the other tables.

CREATE TABLE acceptances (
    extraction_id uuid PRIMARY KEY,
    video_id uuid NOT NULL,
    user_id uuid NOT NULL,
    accepted_at timestamptz NOT NULL DEFAULT now()
);

-- A promise that could be changed or deleted would prove nothing.
CREATE FUNCTION append_only() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% is append-only', TG_TABLE_NAME USING ERRCODE = '23514';
END $$;
CREATE TRIGGER acceptances_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON acceptances
    FOR EACH STATEMENT EXECUTE FUNCTION append_only();

-- What a deletion leaves: that the extraction was deleted, and in which status.
CREATE TABLE tombstones (
    extraction_id uuid PRIMARY KEY,
    user_id uuid NOT NULL,
    status extraction_status NOT NULL,
    deleted_at timestamptz NOT NULL DEFAULT now()
);

-- One row: what the last comparison of these tables found. An operator reads it without comparing millions of rows.
CREATE TABLE last_audit (
    id boolean PRIMARY KEY DEFAULT true CONSTRAINT last_audit_one_row CHECK (id),
    audited_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    accepted bigint NOT NULL,
    difference_count bigint NOT NULL
);
