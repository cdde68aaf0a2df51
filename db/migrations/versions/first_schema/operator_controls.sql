-- What operators have set while the service runs: `fotograma ops pause`, `backup` and `scale`.

-- One row.
CREATE TABLE operator_controls (
    id boolean PRIMARY KEY DEFAULT true CONSTRAINT operator_controls_one_row CHECK (id),
    -- Since when nothing new is accepted, and since when no task is claimed. Null: it is not paused.
    accepting_paused_at timestamptz,
    claiming_paused_at timestamptz,
    -- No object is deleted before this time: a backup needs the objects of its dump. It passes by itself, so that a
    -- backup that dies holds nothing for long.
    deletion_held_until timestamptz
);
INSERT INTO operator_controls DEFAULT VALUES;

-- How many workers of a kind autoscaling may ask for. Null, or no row: the bound of the deployment holds.
CREATE TABLE worker_limits (
    kind text PRIMARY KEY,
    min_workers integer,
    max_workers integer,
    CONSTRAINT worker_limits_not_negative CHECK (min_workers >= 0 AND max_workers >= 0),
    CONSTRAINT worker_limits_in_order CHECK (min_workers <= max_workers)
);
