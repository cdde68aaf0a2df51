-- Whose task comes next: start-time fair queueing. db.queue.fair_queueing explains the terms.

-- One row: what holds for the whole queue.
CREATE TABLE queue_state (
    id boolean PRIMARY KEY DEFAULT true CONSTRAINT queue_state_one_row CHECK (id),
    running_limit integer NOT NULL DEFAULT 32 CONSTRAINT queue_state_limit_positive CHECK (running_limit > 0),
    virtual_time double precision NOT NULL DEFAULT 0,
    gpu_virtual_time double precision NOT NULL DEFAULT 0
);
INSERT INTO queue_state DEFAULT VALUES;

CREATE TABLE shares (
    user_id uuid PRIMARY KEY REFERENCES users ON DELETE CASCADE,
    -- The cost of a task is divided by it.
    weight double precision NOT NULL DEFAULT 1 CONSTRAINT shares_weight_positive CHECK (weight > 0),
    -- With a limit of 0 an account's tasks would wait for ever.
    running_limit integer CONSTRAINT shares_limit_positive CHECK (running_limit > 0),
    last_finish double precision NOT NULL DEFAULT 0,
    owed bigint NOT NULL DEFAULT 0,
    -- Its tasks that are ready or leased. A count below 0 is refused where it happens, so that it is found.
    open integer NOT NULL DEFAULT 0 CONSTRAINT shares_open_counted CHECK (open >= 0)
)
-- A row is written at every acceptance and end of its account: free room keeps these writes on its page.
WITH (fillfactor = 50);

-- Every account has a share, whoever makes the account.
CREATE FUNCTION users_share() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO shares (user_id) VALUES (NEW.id);
    RETURN NULL;
END $$;
CREATE TRIGGER users_share AFTER INSERT ON users FOR EACH ROW EXECUTE FUNCTION users_share();

-- The virtual time of a kind is the tag of its latest claim. It must not fall when that task is deleted: new tasks would
-- pass those that wait.
CREATE FUNCTION tasks_virtual_time_kept() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF OLD.prefers = 'gpu' THEN
        UPDATE queue_state SET gpu_virtual_time = OLD.virtual_finish WHERE gpu_virtual_time < OLD.virtual_finish;
    ELSE
        UPDATE queue_state SET virtual_time = OLD.virtual_finish WHERE virtual_time < OLD.virtual_finish;
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER tasks_virtual_time_kept AFTER DELETE ON tasks FOR EACH ROW
    WHEN (OLD.kind = 'extract' AND OLD.claimed_at IS NOT NULL) EXECUTE FUNCTION tasks_virtual_time_kept();
