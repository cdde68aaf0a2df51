"""Segments, fair shares and the limit of running tasks"""

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

TASK_STATE = postgresql.ENUM(
    "held", "ready", "leased", "done", "failed", "cancelled", name="task_state", create_type=False
)

TASK_TRANSITION = """
    CREATE OR REPLACE FUNCTION tasks_transition() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        IF NEW.attempt < OLD.attempt THEN
            RAISE EXCEPTION 'task %: the attempt never falls', OLD.id USING ERRCODE = '23514';
        END IF;
        IF OLD.state = NEW.state AND OLD.state IN ('held', 'ready', 'leased')
            OR OLD.state = 'held' AND NEW.state IN ('ready', 'cancelled')
            OR OLD.state = 'ready' AND NEW.state IN ('leased', 'cancelled')
            OR OLD.state = 'leased' AND NEW.state IN ('ready', 'done', 'failed', 'cancelled')
        THEN
            RETURN NEW;
        END IF;
        RAISE EXCEPTION 'task %: % can not follow %', OLD.id, NEW.state, OLD.state USING ERRCODE = '23514';
    END $$
"""
# In a function of its own so that each statement sees what was committed before the share was locked: a task that was
# held meanwhile is found. SKIP LOCKED never waits with the share in hand; whoever has such a task comes here later.
FILL_SLOTS = """
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
            SELECT id FROM tasks WHERE user_id = owner AND state = 'held'
            ORDER BY priority DESC, virtual_finish, id LIMIT free FOR UPDATE SKIP LOCKED
        )
        UPDATE tasks SET state = 'ready', ready_at = clock_timestamp() FROM next WHERE tasks.id = next.id;
        GET DIAGNOSTICS filled = ROW_COUNT;
        IF filled > 0 THEN
            UPDATE shares SET open = open + filled WHERE user_id = owner;
        END IF;
        RETURN filled;
    END $$
"""
SLOT_TAKEN = """
    CREATE FUNCTION tasks_slot_taken() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        UPDATE shares SET open = open + 1 WHERE user_id = NEW.user_id;
        RETURN NULL;
    END $$
"""
SLOT_FREED = """
    CREATE FUNCTION tasks_slot_freed() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        UPDATE shares SET open = open - 1 WHERE user_id = OLD.user_id;
        PERFORM fill_slots(OLD.user_id);
        RETURN NULL;
    END $$
"""
# The queue's virtual time is the tag of the latest claim; it must not fall when that task is deleted.
VIRTUAL_TIME_KEPT = """
    CREATE FUNCTION tasks_virtual_time_kept() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        UPDATE queue_state SET virtual_time = OLD.virtual_finish WHERE virtual_time < OLD.virtual_finish;
        RETURN NULL;
    END $$
"""
SHARE_OF_A_USER = """
    CREATE FUNCTION users_share() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        INSERT INTO shares (user_id) VALUES (NEW.id);
        RETURN NULL;
    END $$
"""
TRIGGERS = (
    "CREATE TRIGGER users_share AFTER INSERT ON users FOR EACH ROW EXECUTE FUNCTION users_share()",
    "CREATE TRIGGER tasks_slot_taken AFTER INSERT ON tasks FOR EACH ROW "
    "WHEN (NEW.state IN ('ready', 'leased')) EXECUTE FUNCTION tasks_slot_taken()",
    "CREATE TRIGGER tasks_slot_freed AFTER UPDATE ON tasks FOR EACH ROW "
    "WHEN (OLD.state IN ('ready', 'leased') AND NEW.state NOT IN ('ready', 'leased')) "
    "EXECUTE FUNCTION tasks_slot_freed()",
    "CREATE TRIGGER tasks_slot_freed_by_delete AFTER DELETE ON tasks FOR EACH ROW "
    "WHEN (OLD.state IN ('ready', 'leased')) EXECUTE FUNCTION tasks_slot_freed()",
    "CREATE TRIGGER tasks_virtual_time_kept AFTER DELETE ON tasks FOR EACH ROW "
    "WHEN (OLD.kind = 'extract' AND OLD.claimed_at IS NOT NULL) EXECUTE FUNCTION tasks_virtual_time_kept()",
)


def upgrade() -> None:
    _shares()
    _held_state()
    _columns()
    _indexes()
    for statement in (TASK_TRANSITION, FILL_SLOTS, SLOT_TAKEN, SLOT_FREED, VIRTUAL_TIME_KEPT, SHARE_OF_A_USER):
        op.execute(statement)
    for statement in TRIGGERS:
        op.execute(statement)
    # Rows that are rewritten at every claim and end: room beside them keeps the writes on their page.
    op.execute("ALTER TABLE shares SET (fillfactor = 50)")
    op.execute("ALTER TABLE tasks SET (fillfactor = 70)")


def _shares() -> None:
    op.create_table(
        "queue_state",
        sa.Column("id", sa.Boolean(), server_default="true", nullable=False),
        sa.Column("running_limit", sa.Integer(), server_default="32", nullable=False),
        sa.Column("virtual_time", sa.Double(), server_default="0", nullable=False),
        sa.CheckConstraint("id", name=op.f("queue_state_one_row")),
        sa.CheckConstraint("running_limit > 0", name=op.f("queue_state_limit_positive")),
        sa.PrimaryKeyConstraint("id", name=op.f("queue_state_pkey")),
    )
    op.execute("INSERT INTO queue_state DEFAULT VALUES")
    op.create_table(
        "shares",
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("weight", sa.Double(), server_default="1", nullable=False),
        sa.Column("running_limit", sa.Integer(), nullable=True),
        sa.Column("last_finish", sa.Double(), server_default="0", nullable=False),
        sa.Column("owed", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("open", sa.Integer(), server_default="0", nullable=False),
        sa.CheckConstraint("weight > 0", name=op.f("shares_weight_positive")),
        sa.CheckConstraint("running_limit > 0", name=op.f("shares_limit_positive")),
        sa.CheckConstraint("open >= 0", name=op.f("shares_open_counted")),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("shares_user_id_fkey"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("user_id", name=op.f("shares_pkey")),
    )
    op.execute("""
        INSERT INTO shares (user_id, open)
        SELECT users.id, count(tasks.id) FROM users
        LEFT JOIN extractions ON extractions.user_id = users.id
        LEFT JOIN tasks ON tasks.extraction_id = extractions.id AND tasks.state IN ('ready', 'leased')
        GROUP BY users.id
    """)


def _held_state() -> None:
    """A new type: a value that is added to an enum can't be used in the transaction that adds it."""
    op.drop_index("tasks_ready_idx", "tasks")
    op.drop_index("tasks_lease_idx", "tasks")
    op.drop_constraint("tasks_expiry_when_leased", "tasks")
    op.drop_constraint("tasks_owner_when_leased", "tasks")
    op.execute("ALTER TABLE tasks ALTER COLUMN state DROP DEFAULT")
    op.execute("ALTER TYPE task_state RENAME TO task_state_before")
    TASK_STATE.create(op.get_bind())
    op.execute("ALTER TABLE tasks ALTER COLUMN state TYPE task_state USING state::text::task_state")
    op.execute("ALTER TABLE tasks ALTER COLUMN state SET DEFAULT 'ready'")
    op.execute("DROP TYPE task_state_before")
    op.create_check_constraint(
        op.f("tasks_expiry_when_leased"), "tasks", "(state = 'leased') = (lease_expires_at IS NOT NULL)"
    )
    op.create_check_constraint(op.f("tasks_owner_when_leased"), "tasks", "(state = 'leased') = (leased_by IS NOT NULL)")


def _columns() -> None:
    op.add_column("extractions", sa.Column("plan_key", sa.Text(), nullable=True))
    op.add_column("extractions", sa.Column("segments_left", sa.Integer(), nullable=True))
    op.create_check_constraint(op.f("extractions_segments_counted"), "extractions", "segments_left >= 0")
    op.create_check_constraint(
        op.f("extractions_split_whole"), "extractions", "(plan_key IS NULL) = (segments_left IS NULL)"
    )
    op.add_column("tasks", sa.Column("user_id", sa.Uuid(), nullable=True))
    op.execute(
        "UPDATE tasks SET user_id = extractions.user_id FROM extractions WHERE extractions.id = tasks.extraction_id"
        " AND tasks.state IN ('ready', 'leased')"
    )
    # Ended tasks can't be written: what is left of them are the extractions themselves.
    op.execute("ALTER TABLE tasks DISABLE TRIGGER tasks_transition")
    op.execute(
        "UPDATE tasks SET user_id = extractions.user_id FROM extractions WHERE extractions.id = tasks.extraction_id"
        " AND tasks.user_id IS NULL"
    )
    op.execute("ALTER TABLE tasks ENABLE TRIGGER tasks_transition")
    op.alter_column("tasks", "user_id", nullable=False)
    for column in (
        sa.Column("work", sa.BigInteger(), nullable=True),
        sa.Column("claimed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("frames_done", sa.Integer(), server_default="0", nullable=False),
        sa.Column("part_number", sa.Integer(), nullable=True),
        sa.Column("part_first", sa.Integer(), nullable=True),
        sa.Column("part_stop", sa.Integer(), nullable=True),
        sa.Column("part_key", sa.Text(), nullable=True),
    ):
        op.add_column("tasks", column)
    op.create_check_constraint(op.f("tasks_kind_known"), "tasks", "kind IN ('extract', 'segment', 'assemble')")
    op.create_check_constraint(
        op.f("tasks_part_when_segment"),
        "tasks",
        "(kind = 'segment') = (part_number IS NOT NULL AND part_first IS NOT NULL AND part_stop IS NOT NULL)",
    )
    op.create_check_constraint(op.f("tasks_part_not_empty"), "tasks", "part_first >= 0 AND part_stop > part_first")
    op.create_check_constraint(
        op.f("tasks_part_key_when_done"), "tasks", "(part_key IS NOT NULL) = (kind = 'segment' AND state = 'done')"
    )
    op.create_check_constraint(op.f("tasks_progress_not_negative"), "tasks", "frames_done >= 0")


def _indexes() -> None:
    order: list[str | sa.ColumnElement[Any]] = [sa.literal_column("priority DESC"), "virtual_finish", "id"]
    indexes: tuple[tuple[str, list[str | sa.ColumnElement[Any]], str], ...] = (
        ("tasks_ready_idx", ["worker_kind", *order], "state = 'ready'"),
        ("tasks_held_idx", ["worker_kind", *order], "state = 'held'"),
        ("tasks_held_user_idx", ["user_id", *order], "state = 'held'"),
        ("tasks_lease_idx", ["lease_expires_at"], "state = 'leased'"),
        ("tasks_claimed_idx", ["claimed_at"], "kind = 'extract' AND claimed_at IS NOT NULL"),
    )
    for name, columns, where in indexes:
        op.create_index(name, "tasks", columns, unique=False, postgresql_where=sa.text(where))
    op.create_index(
        "tasks_segment_key",
        "tasks",
        ["extraction_id", "part_number"],
        unique=True,
        postgresql_where=sa.text("kind = 'segment'"),
    )
    op.create_index(
        "tasks_assemble_key", "tasks", ["extraction_id"], unique=True, postgresql_where=sa.text("kind = 'assemble'")
    )
