"""The first schema"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

EXTRACTION_STATUS = postgresql.ENUM(
    "queued", "running", "succeeded", "failed", "cancelled", name="extraction_status", create_type=False
)
TASK_STATE = postgresql.ENUM("ready", "leased", "done", "failed", "cancelled", name="task_state", create_type=False)

# A CHECK sees only the new row; what may follow what needs a trigger.
EXTRACTION_TRANSITION = """
    CREATE FUNCTION extractions_transition() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        IF OLD.status = NEW.status AND OLD.status IN ('queued', 'running')
            OR OLD.status = 'queued' AND NEW.status IN ('running', 'succeeded', 'failed', 'cancelled')
            OR OLD.status = 'running' AND NEW.status IN ('queued', 'succeeded', 'failed', 'cancelled')
            OR OLD.status = NEW.status AND to_jsonb(OLD) - 'swept' = to_jsonb(NEW) - 'swept'
        THEN
            RETURN NEW;
        END IF;
        RAISE EXCEPTION 'extraction %: % can not follow %', OLD.id, NEW.status, OLD.status USING ERRCODE = '23514';
    END $$
"""
TASK_TRANSITION = """
    CREATE FUNCTION tasks_transition() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        IF NEW.attempt < OLD.attempt THEN
            RAISE EXCEPTION 'task %: the attempt never falls', OLD.id USING ERRCODE = '23514';
        END IF;
        IF OLD.state = NEW.state AND OLD.state IN ('ready', 'leased')
            OR OLD.state = 'ready' AND NEW.state IN ('leased', 'cancelled')
            OR OLD.state = 'leased' AND NEW.state IN ('ready', 'done', 'failed', 'cancelled')
        THEN
            RETURN NEW;
        END IF;
        RAISE EXCEPTION 'task %: % can not follow %', OLD.id, NEW.state, OLD.state USING ERRCODE = '23514';
    END $$
"""
APPEND_ONLY = """
    CREATE FUNCTION append_only() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        RAISE EXCEPTION '% is append-only', TG_TABLE_NAME USING ERRCODE = '23514';
    END $$
"""


def upgrade() -> None:
    for enum in (EXTRACTION_STATUS, TASK_STATE):
        enum.create(op.get_bind())
    op.create_table(
        "acceptances",
        sa.Column("extraction_id", sa.Uuid(), nullable=False),
        sa.Column("video_id", sa.Uuid(), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("accepted_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("extraction_id", name=op.f("acceptances_pkey")),
    )
    op.create_index(op.f("acceptances_user_id_idx"), "acceptances", ["user_id"], unique=False)
    op.create_table(
        "garbage",
        sa.Column("object_key", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("object_key", name=op.f("garbage_pkey")),
    )
    op.create_table(
        "tombstones",
        sa.Column("extraction_id", sa.Uuid(), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("status", EXTRACTION_STATUS, nullable=False),
        sa.Column("deleted_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("extraction_id", name=op.f("tombstones_pkey")),
    )
    op.create_table(
        "users",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("email", sa.Text(), nullable=False),
        sa.Column("password_hash", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), server_default="", nullable=False),
        sa.Column("locale", sa.Text(), server_default="en", nullable=False),
        sa.Column("notify", sa.Text(), server_default="all", nullable=False),
        sa.Column("role", sa.Text(), server_default="user", nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("role IN ('user', 'admin')", name=op.f("users_role_known")),
        sa.CheckConstraint("notify IN ('all', 'failures', 'none')", name=op.f("users_notify_known")),
        sa.PrimaryKeyConstraint("id", name=op.f("users_pkey")),
        sa.UniqueConstraint("email", name=op.f("users_email_key")),
    )
    op.create_table(
        "idempotency_keys",
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("route", sa.Text(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("owner", sa.Uuid(), nullable=False),
        sa.Column("lease_expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("fingerprint", sa.Text(), nullable=True),
        sa.Column("status", sa.SmallInteger(), nullable=True),
        sa.Column("response", sa.Text(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("(response IS NULL) = (fingerprint IS NULL)", name=op.f("idempotency_keys_answered_whole")),
        sa.ForeignKeyConstraint(
            ["user_id"], ["users.id"], name=op.f("idempotency_keys_user_id_fkey"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("user_id", "route", "key", name=op.f("idempotency_keys_pkey")),
    )
    op.create_index("idempotency_keys_created_at_idx", "idempotency_keys", ["created_at"], unique=False)
    op.create_table(
        "reservations",
        sa.Column("object_key", sa.Text(), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("abandoned_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("reservations_user_id_fkey"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("object_key", name=op.f("reservations_pkey")),
    )
    op.create_index(op.f("reservations_created_at_idx"), "reservations", ["created_at"], unique=False)
    op.create_table(
        "sessions",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("generation", sa.Integer(), server_default="0", nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("revoked_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("sessions_user_id_fkey"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name=op.f("sessions_pkey")),
    )
    op.create_index(op.f("sessions_user_id_idx"), "sessions", ["user_id"], unique=False)
    op.create_table(
        "videos",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("filename", sa.Text(), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("sha256", sa.Text(), nullable=True),
        sa.Column("object_key", sa.Text(), nullable=False),
        sa.Column("media", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("size > 0", name=op.f("videos_size_positive")),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("videos_user_id_fkey"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name=op.f("videos_pkey")),
        sa.UniqueConstraint("object_key", name=op.f("videos_object_key_key")),
    )
    op.create_index("videos_user_id_id_idx", "videos", ["user_id", sa.literal_column("id DESC")], unique=False)
    op.create_index("videos_user_id_sha256_idx", "videos", ["user_id", "sha256"], unique=False)
    op.create_table(
        "extractions",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("video_id", sa.Uuid(), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("spec", sa.Text(), nullable=False),
        sa.Column("status", EXTRACTION_STATUS, server_default="queued", nullable=False),
        sa.Column("reused", sa.Boolean(), server_default="false", nullable=False),
        sa.Column("attempt", sa.Integer(), server_default="0", nullable=False),
        sa.Column("version", sa.Integer(), server_default="1", nullable=False),
        sa.Column("frames_done", sa.Integer(), server_default="0", nullable=False),
        sa.Column("frames_total", sa.Integer(), nullable=True),
        sa.Column("error_code", sa.Text(), nullable=True),
        sa.Column("error_detail", sa.Text(), nullable=True),
        sa.Column("result_engine", sa.Text(), nullable=True),
        sa.Column("result_key", sa.Text(), nullable=True),
        sa.Column("result_frames", sa.Integer(), nullable=True),
        sa.Column("result_bytes", sa.BigInteger(), nullable=True),
        sa.Column("result_sha256", sa.Text(), nullable=True),
        sa.Column("result_warnings", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
        sa.Column("swept", sa.Boolean(), server_default="false", nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint(
            "(error_code IS NOT NULL) = (status = 'failed')", name=op.f("extractions_error_when_failed")
        ),
        sa.CheckConstraint(
            "(finished_at IS NOT NULL) = (status IN ('succeeded', 'failed', 'cancelled'))",
            name=op.f("extractions_finished_at_when_ended"),
        ),
        sa.CheckConstraint(
            "(result_key IS NOT NULL) = (status = 'succeeded')", name=op.f("extractions_result_when_succeeded")
        ),
        sa.CheckConstraint(
            "started_at IS NOT NULL OR status IN ('queued', 'cancelled', 'failed') OR reused",
            name=op.f("extractions_started_when_running"),
        ),
        sa.CheckConstraint("(result_key IS NULL) = (result_sha256 IS NULL)", name=op.f("extractions_result_whole")),
        sa.CheckConstraint(
            "frames_done >= 0 AND (frames_total IS NULL OR frames_done <= frames_total)",
            name=op.f("extractions_progress_within_total"),
        ),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("extractions_user_id_fkey"), ondelete="CASCADE"),
        sa.ForeignKeyConstraint(
            ["video_id"], ["videos.id"], name=op.f("extractions_video_id_fkey"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("extractions_pkey")),
    )
    op.create_index(
        "extractions_unswept_idx",
        "extractions",
        ["finished_at"],
        unique=False,
        postgresql_where=sa.text("finished_at IS NOT NULL AND NOT swept"),
    )
    op.create_index("extractions_user_id_status_idx", "extractions", ["user_id", "status"], unique=False)
    op.create_index(
        "extractions_video_id_id_idx", "extractions", ["video_id", sa.literal_column("id DESC")], unique=False
    )
    op.create_table(
        "events",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("extraction_id", sa.Uuid(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column(
            "data", postgresql.JSONB(astext_type=sa.Text()), server_default=sa.text("'{}'::jsonb"), nullable=False
        ),
        sa.Column("at", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False),
        sa.ForeignKeyConstraint(
            ["extraction_id"], ["extractions.id"], name=op.f("events_extraction_id_fkey"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("events_pkey")),
    )
    op.create_index("events_extraction_id_id_idx", "events", ["extraction_id", "id"], unique=False)
    op.create_table(
        "outbox",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("extraction_id", sa.Uuid(), nullable=False),
        sa.Column("channel", sa.Text(), nullable=False),
        sa.Column("tries", sa.Integer(), server_default="0", nullable=False),
        sa.Column("due_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("last_error", sa.Text(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("delivered_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("given_up_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(
            ["extraction_id"], ["extractions.id"], name=op.f("outbox_extraction_id_fkey"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("outbox_pkey")),
        sa.UniqueConstraint("extraction_id", "channel", name=op.f("outbox_extraction_id_channel_key")),
    )
    op.create_index(
        "outbox_due_idx",
        "outbox",
        ["due_at"],
        unique=False,
        postgresql_where=sa.text("delivered_at IS NULL AND given_up_at IS NULL"),
    )
    op.create_table(
        "tasks",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("extraction_id", sa.Uuid(), nullable=False),
        sa.Column("kind", sa.Text(), server_default="extract", nullable=False),
        sa.Column("worker_kind", sa.Text(), server_default="cpu", nullable=False),
        sa.Column("state", TASK_STATE, server_default="ready", nullable=False),
        sa.Column("priority", sa.SmallInteger(), server_default="0", nullable=False),
        sa.Column("virtual_finish", sa.Double(), server_default="0", nullable=False),
        sa.Column("cost", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("ready_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("attempt", sa.Integer(), server_default="0", nullable=False),
        sa.Column("leased_by", sa.Text(), nullable=True),
        sa.Column("lease_expires_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("crashes", sa.Integer(), server_default="0", nullable=False),
        sa.Column("losses", sa.Integer(), server_default="0", nullable=False),
        sa.Column("service_errors", sa.Integer(), server_default="0", nullable=False),
        sa.Column("first_service_error_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint(
            "(state = 'leased') = (lease_expires_at IS NOT NULL)", name=op.f("tasks_expiry_when_leased")
        ),
        sa.CheckConstraint("(state = 'leased') = (leased_by IS NOT NULL)", name=op.f("tasks_owner_when_leased")),
        sa.CheckConstraint(
            "attempt >= 0 AND crashes >= 0 AND losses >= 0 AND service_errors >= 0", name=op.f("tasks_counters_rise")
        ),
        sa.ForeignKeyConstraint(
            ["extraction_id"], ["extractions.id"], name=op.f("tasks_extraction_id_fkey"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("tasks_pkey")),
    )
    op.create_index("tasks_extraction_id_idx", "tasks", ["extraction_id"], unique=False)
    op.create_index(
        "tasks_lease_idx", "tasks", ["lease_expires_at"], unique=False, postgresql_where=sa.text("state = 'leased'")
    )
    op.create_index(
        "tasks_ready_idx",
        "tasks",
        ["worker_kind", sa.literal_column("priority DESC"), "virtual_finish", "id"],
        unique=False,
        postgresql_where=sa.text("state = 'ready'"),
    )
    for statement in (EXTRACTION_TRANSITION, TASK_TRANSITION, APPEND_ONLY):
        op.execute(statement)
    for table in ("extractions", "tasks"):
        op.execute(
            f"CREATE TRIGGER {table}_transition BEFORE UPDATE ON {table} "
            f"FOR EACH ROW EXECUTE FUNCTION {table}_transition()"
        )
    op.execute(
        "CREATE TRIGGER acceptances_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON acceptances "
        "FOR EACH STATEMENT EXECUTE FUNCTION append_only()"
    )
