-- How many tasks of an account are open (ready or leased): shares.open counts them, up to the account's limit.

-- Admits throttled tasks of an account while it has slots free. A function, because each of its statements then sees
-- what was committed before the share was locked: it finds a task that was throttled meanwhile. SKIP LOCKED, so that no
-- transaction waits with the share locked: the transaction that has locked such a task calls this function later.
CREATE FUNCTION fill_slots(owner uuid) RETURNS integer LANGUAGE plpgsql AS $$
DECLARE
    free integer;
    filled integer;
BEGIN
    SELECT coalesce(running_limit, (SELECT queue_state.running_limit FROM queue_state)) - open INTO free
    FROM shares WHERE user_id = owner FOR UPDATE;
    IF free IS NULL OR free <= 0 THEN
        RETURN 0;
    END IF;
    WITH next AS MATERIALIZED (
        SELECT id FROM tasks WHERE user_id = owner AND state = 'throttled'
        ORDER BY priority DESC, virtual_finish, id LIMIT free FOR UPDATE SKIP LOCKED
    )
    UPDATE tasks SET state = 'ready', ready_at = clock_timestamp() FROM next WHERE tasks.id = next.id;
    GET DIAGNOSTICS filled = ROW_COUNT;
    IF filled > 0 THEN
        UPDATE shares SET open = open + filled WHERE user_id = owner;
    END IF;
    RETURN filled;
END $$;

-- A task that ends or is deleted gives its slot to the next one. In triggers, so that no way to end a task forgets it.
CREATE FUNCTION tasks_slot_freed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE shares SET open = open - 1 WHERE user_id = OLD.user_id;
    PERFORM fill_slots(OLD.user_id);
    RETURN NULL;
END $$;
CREATE TRIGGER tasks_slot_freed AFTER UPDATE ON tasks FOR EACH ROW
    WHEN (OLD.state IN ('ready', 'leased') AND NEW.state NOT IN ('ready', 'leased'))
    EXECUTE FUNCTION tasks_slot_freed();
CREATE TRIGGER tasks_slot_freed_by_delete AFTER DELETE ON tasks FOR EACH ROW
    WHEN (OLD.state IN ('ready', 'leased')) EXECUTE FUNCTION tasks_slot_freed();
