"""The first schema: one file of SQL a subject, with its tables, their rules, their indexes and their triggers."""

from pathlib import Path

from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

FOLDER = Path(__file__).with_name("first_schema")
# A table stands after those that its foreign keys name.
STEPS = (
    "accounts",
    "api_keys",
    "account_quotas",
    "presets",
    "videos",
    "uploads",
    "extractions",
    "quota_minutes",
    "tasks",
    "task_indexes",
    "fair_shares",
    "running_limit",
    "worker_kinds",
    "events",
    "notifications",
    "reservations_and_garbage",
    "acceptances_and_tombstones",
    "idempotency_keys",
    "operator_controls",
)


def upgrade() -> None:
    for step in STEPS:
        op.execute((FOLDER / f"{step}.sql").read_text(encoding="utf-8"))
