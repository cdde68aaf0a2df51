-- How tasks are found: each index holds only the rows that its statement can want, however long the history is.

-- The claim takes the first ones.
CREATE INDEX tasks_ready_idx ON tasks (priority DESC, virtual_finish, id) WHERE state = 'ready';
-- What a worker with a GPU takes before all others.
CREATE INDEX tasks_ready_gpu_idx ON tasks (priority DESC, virtual_finish, id) WHERE state = 'ready' AND prefers = 'gpu';
-- The same order of the throttled ones: a user is told the place in the queue, which counts both.
CREATE INDEX tasks_throttled_idx ON tasks (priority DESC, virtual_finish, id) WHERE state = 'throttled';
-- Which task of an account is admitted next.
CREATE INDEX tasks_throttled_user_idx ON tasks (user_id, priority DESC, virtual_finish, id) WHERE state = 'throttled';
-- Leases that are late.
CREATE INDEX tasks_lease_idx ON tasks (lease_expires_at) WHERE state = 'leased';
-- The last entry of a kind is its latest claim, whose tag is the virtual time of that kind.
CREATE INDEX tasks_claimed_idx ON tasks (prefers, claimed_at) WHERE kind = 'extract' AND claimed_at IS NOT NULL;
-- All tasks of an extraction are locked together before one of them ends.
CREATE INDEX tasks_extraction_id_idx ON tasks (extraction_id);
-- A segment is made once, and the segments are assembled once.
CREATE UNIQUE INDEX tasks_segment_number_key ON tasks (extraction_id, segment_number) WHERE kind = 'segment';
CREATE UNIQUE INDEX tasks_assemble_key ON tasks (extraction_id) WHERE kind = 'assemble';
