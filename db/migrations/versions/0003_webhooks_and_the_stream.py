"""Webhooks, their deliveries, and the stream of events"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

_UNDELIVERED = sa.text("delivered_at IS NULL AND given_up_at IS NULL")

# RFC 9562 §5.7: milliseconds in front, the version's bits set over those of a random UUID.
UUID_V7 = """
    CREATE FUNCTION uuid_v7() RETURNS uuid LANGUAGE sql VOLATILE AS $$
        SELECT encode(set_bit(set_bit(overlay(
            uuid_send(gen_random_uuid())
            PLACING substring(int8send((extract(epoch FROM clock_timestamp()) * 1000)::bigint) FROM 3) FROM 1 FOR 6
        ), 52, 1), 53, 1), 'hex')::uuid
    $$
"""


def upgrade() -> None:
    op.execute(UUID_V7)
    _outbox()
    _webhooks()
    _stream()


def _outbox() -> None:
    op.add_column(
        "outbox",
        sa.Column("owed_since", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
    )
    op.execute("UPDATE outbox SET owed_since = created_at")
    op.create_check_constraint(op.f("outbox_one_end"), "outbox", "delivered_at IS NULL OR given_up_at IS NULL")
    op.drop_index("outbox_due_idx", "outbox")
    op.create_index("outbox_due_idx", "outbox", ["channel", "due_at"], unique=False, postgresql_where=_UNDELIVERED)
    op.create_index(
        "outbox_channel_id_idx",
        "outbox",
        ["channel", sa.literal_column("id DESC")],
        unique=False,
        postgresql_where=sa.text("channel <> 'email'"),
    )


def _webhooks() -> None:
    op.create_table(
        "webhooks",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("url", sa.Text(), nullable=False),
        sa.Column("secret", sa.Text(), nullable=False),
        sa.Column("events", postgresql.ARRAY(sa.Text()), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("disabled_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("cardinality(events) > 0", name=op.f("webhooks_events_given")),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("webhooks_user_id_fkey"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name=op.f("webhooks_pkey")),
    )
    op.create_index("webhooks_user_id_id_idx", "webhooks", ["user_id", sa.literal_column("id DESC")], unique=False)
    op.create_table(
        "deliveries",
        sa.Column("id", sa.Uuid(), server_default=sa.text("uuid_v7()"), nullable=False),
        sa.Column("outbox_id", sa.Uuid(), nullable=False),
        sa.Column("status", sa.SmallInteger(), nullable=True),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("milliseconds", sa.Integer(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(
            ["outbox_id"], ["outbox.id"], name=op.f("deliveries_outbox_id_fkey"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("deliveries_pkey")),
    )
    op.create_index("deliveries_outbox_id_id_idx", "deliveries", ["outbox_id", "id"], unique=False)


def _stream() -> None:
    op.add_column(
        "events",
        sa.Column(
            "transaction_id",
            sa.BigInteger(),
            server_default=sa.text("((pg_current_xact_id())::text)::bigint"),
            nullable=False,
        ),
    )
    op.create_index("events_transaction_id_idx", "events", ["transaction_id"], unique=False)
    op.create_table(
        "stream_cursor",
        sa.Column("id", sa.Boolean(), server_default="true", nullable=False),
        sa.Column("low", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("high", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("after_id", sa.BigInteger(), server_default="0", nullable=False),
        sa.CheckConstraint("id", name=op.f("stream_cursor_one_row")),
        sa.CheckConstraint("low <= high", name=op.f("stream_cursor_window_forward")),
        sa.PrimaryKeyConstraint("id", name=op.f("stream_cursor_pkey")),
    )
    op.execute("INSERT INTO stream_cursor DEFAULT VALUES")
